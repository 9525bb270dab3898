"""Debian's source packages: the upstream tar of one, fetched and checked by apt itself.

apt runs in a throw-away container of the release that holds the package, with the mirror that the base image is set
up for; so signatures are checked by that release's own keys, and the host needs neither apt nor Debian. The tar is kept
on this machine, so its own engine fetches it, if it has one: another host may reach neither mirror nor registry.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from infra import apt, baseimage, buildsecrets, buildx
from infra.disk import writing
from infra.errors import ImageError
from infra.shell import LocalShell, OnLine, Shell

# apt.sh's settings come on standard input
_FETCH = r"""
fetch_source() {
    sed -i 's/^deb /deb-src /' /etc/apt/sources.list 2>/dev/null || true
    for file in /etc/apt/sources.list.d/*.sources; do
        if [ -e "$file" ]; then sed -i 's/^Types: deb$/Types: deb-src/' "$file"; fi
    done
    apt-get update -qq && apt-get source -qq --download-only "$1"
}
mkdir -p /out
cd /out
apt_somewhere fetch_source "$1=$2"
find . -type f ! -name '*.orig.tar.*' -delete
"""
_SCRIPT = "set -eu; cat > /tmp/places; apt_settings=/tmp/places; release_end=$3\n" + apt.SCRIPT + _FETCH


@dataclass(frozen=True)
class SourcePackage:
    """A source package: its name, its exact version, a base image of the release that has it, and the last day of that
    release's support (YYYY-MM-DD)."""

    name: str
    version: str
    base: str
    end_of_life: str


def fetch(package: SourcePackage, folder: Path, shell: Shell, on_line: OnLine | None = None) -> Path:
    """The path of the package's upstream tar in `folder` on this machine; it is fetched where it is not there yet.

    `shell` is a machine with an engine, used where this one has none. ImageError where the mirror no longer has the
    version, or cannot be reached.
    """
    stem = f"{package.name}_{package.version.rpartition('-')[0]}.orig.tar."
    if there := sorted(folder.glob(f"{stem}*[!t]")):
        return there[0]
    shell = LocalShell() if buildx.answers(LocalShell()) else shell
    baseimage.ensure(package.base, shell, on_line)
    say = on_line or (lambda line: None)
    say(f"source package {package.name} {package.version}: fetching")
    words = ["sh", "-c", _SCRIPT, "fetch", package.name, package.version, package.end_of_life]
    made = shell.run(["docker", "create", "--interactive", package.base, *words], check=False)
    if not made.ok:
        raise buildx.failure(made, f"cannot fetch the source package {package.name}")
    container = made.out.strip()
    try:
        return _taken(package, container, stem, folder, shell)
    finally:
        shell.run(["docker", "rm", "--force", "--volumes", container], check=False)


def _taken(package: SourcePackage, container: str, stem: str, folder: Path, shell: Shell) -> Path:
    places = buildsecrets.apt_places(os.environ).encode()
    ran = shell.run(["docker", "start", "--attach", "--interactive", container], check=False, stdin=places)
    if not ran.ok:
        said = "".join(f"\n    {line}" for line in (ran.err or ran.out).strip().splitlines()[-5:])
        raise ImageError(
            f"Debian's source package {package.name} {package.version} cannot be fetched{said}",
            "take the source from git (--source git) or from a copy (--source-mirror)",
        )
    there = shell.run(["mktemp", "-d"]).out.strip()
    try:
        shell.run(["docker", "cp", f"{container}:/out/.", there])
        names = [name for name in shell.run(["ls", there]).out.split() if name.startswith(stem)]
        if not names:
            raise ImageError(f"the source package {package.name} {package.version} holds no {stem}*")
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            part = folder / f"{names[0]}.{os.getpid()}.part"
            shell.get(f"{there}/{names[0]}", part)
            return part.replace(folder / names[0])
    finally:
        shell.run(["rm", "-rf", there], check=False)
