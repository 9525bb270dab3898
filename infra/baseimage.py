"""Base images: at the engine, pulled, or made here from the distribution's own packages.

Sites without a way to a registry have a mirror of their distribution: the one that this machine's apt is set up
for. mmdebstrap (or debootstrap) makes a minimal root file system from it and `docker import` makes it an image of the
same name, with labels that say so. Manuals and translations stay out, as in the distribution's own slim images.
PROVISION_DEBIAN_ARCHIVE and PROVISION_UBUNTU_ARCHIVE name another mirror: for a release that the usual one
has dropped, or for the other distribution.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from infra import buildx
from infra.errors import ImageError
from infra.shell import LocalShell, OnLine, Shell

_CODENAMES = {
    "debian": {"10": "buster", "11": "bullseye", "12": "bookworm", "13": "trixie"},
    "ubuntu": {"16.04": "xenial", "18.04": "bionic", "20.04": "focal", "22.04": "jammy", "24.04": "noble"},
}
_SLIM = ("doc", "man", "info", "locale")
_PULL_SECONDS = 900.0


@dataclass(frozen=True)
class Release:
    """A distribution's release: debian, bullseye."""

    distribution: str
    codename: str

    @property
    def setting(self) -> str:
        """The environment variable that names a mirror for it."""
        return f"PROVISION_{self.distribution.upper()}_ARCHIVE"


def ensure(reference: str, shell: Shell | None = None, on_line: OnLine | None = None) -> str:
    """Make sure that the engine has the image (`debian:bullseye`); its id.

    `on_line` is called with what happens. ImageError with the mend where it can neither be pulled nor made.
    """
    shell = shell or LocalShell()
    say = on_line or (lambda line: None)
    found = buildx.inspect(shell, reference)
    if found is None:
        say(f"base image {reference}: pulling")
        pulled = shell.run(buildx.pull_words(reference), check=False, timeout=_PULL_SECONDS)
        if not pulled.ok:
            reason = (pulled.err.strip().splitlines() or ["no reason given"])[-1]
            say(f"base image {reference}: cannot be pulled ({reason})")
            make(reference, _release(reference), shell, say)
        found = buildx.inspect(shell, reference)
    if found is None:
        raise ImageError(f"the engine lost the base image {reference}", "try again")
    return found.id


def make(reference: str, release: Release, shell: Shell, say: OnLine) -> None:
    """Make an image of the release from the distribution's packages, and import it as `reference`."""
    mirrors = _mirrors(release, shell)
    folder = shell.run(["mktemp", "-d"]).out.strip()
    try:
        tar = str(PurePosixPath(folder) / "root.tar")
        mirror = _first_that_works(release, mirrors, tar, shell, say)
        labels = {"provision.base": f"made here by {release.distribution}'s packages", "provision.mirror": mirror}
        result = shell.run(buildx.import_words(tar, reference, labels), check=False)
        if not result.ok:
            raise buildx.failure(result, f"cannot import the base image {reference}")
    finally:
        shell.run(["rm", "-rf", folder], check=False)


def parse(reference: str) -> Release | None:
    """The release behind `debian:12`, `debian:bookworm`, `debian:bookworm-slim` or `ubuntu:22.04`; or None."""
    match = re.fullmatch(r"(debian|ubuntu):([a-z]+|[0-9.]+)(-slim)?", reference)
    if not match:
        return None
    names = _CODENAMES[match[1]]
    codename = names.get(match[2], match[2])
    return Release(match[1], codename) if codename in names.values() else None


def _release(reference: str) -> Release:
    release = parse(reference)
    if release is None:
        raise ImageError(
            f"the base image {reference} cannot be pulled, and only releases of Debian and Ubuntu can be made here",
            f"bring it by hand: docker save {reference} on a machine that has it, docker load here",
        )
    return release


def mirror_of(uris: str, codename: str) -> str | None:
    """The mirror of the machine's own release, out of what `apt-get update --print-uris` prints."""
    match = re.search(rf"^'(\S+?)/dists/{re.escape(codename)}/InRelease'", uris, re.MULTILINE)
    return match[1] if match else None


def make_words(program: str, release: Release, mirror: str, tar: str, keyring: str) -> list[str]:
    """The words that write a minimal root file system to `tar`."""
    if program == "mmdebstrap":
        slim = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in _SLIM]
        keep = "--dpkgopt=path-include=/usr/share/doc/*/copyright"
        # an archive's last Release file has long expired
        old = ['--aptopt=Acquire::Check-Valid-Until "false"'] if mirror == os.environ.get(release.setting) else []
        return ["mmdebstrap", "--quiet", "--variant=minbase", "--format=tar", f"--keyring={keyring}", *slim, keep, *old,
                release.codename, tar, mirror]  # fmt: skip
    script = (
        'set -e; root="$1.d"; debootstrap --variant=minbase --keyring="$2" "$3" "$root" "$4"; '
        'rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb; '
        'tar -C "$root" --numeric-owner -cf "$1" .'
    )
    return ["sh", "-c", script, "debootstrap", tar, keyring, release.codename, mirror]


def _mirrors(release: Release, shell: Shell) -> list[str]:
    """Where to look: the host's own mirror, if it is of this distribution; then the one that the setting names."""
    facts = shell.run(["sh", "-c", '. /etc/os-release; echo "$ID $VERSION_CODENAME"'], check=False).out.split()
    found = []
    if facts[:1] == [release.distribution] and len(facts) == 2:
        own = mirror_of(shell.run(["apt-get", "update", "--print-uris"], check=False).out, facts[1])
        found = [own] if own else []
    named = os.environ.get(release.setting)
    mirrors = [*found, *([named] if named else [])]
    if not mirrors:
        raise ImageError(
            f"no base image {release.distribution}:{release.codename}: it cannot be pulled, and this machine's apt"
            f" knows no mirror of {release.distribution}",
            f"set {release.setting} to the address of a mirror, and install {release.distribution}-archive-keyring"
            " or ubuntu-keyring",
        )
    return mirrors


def _first_that_works(release: Release, mirrors: Sequence[str], tar: str, shell: Shell, say: OnLine) -> str:
    program = _program(shell, release)
    keyring = _keyring(shell, release)
    said = ""
    for mirror in mirrors:
        say(f"base image {release.distribution}:{release.codename}: making it with {program} from {mirror}")
        result = shell.run(make_words(program, release, mirror, tar, keyring), check=False)
        if result.ok:
            return mirror
        said += "".join(f"\n    {line}" for line in (result.err or result.out).strip().splitlines()[-5:])
        shell.run(["rm", "-rf", tar, f"{tar}.d"], check=False)
    raise ImageError(
        f"the base image {release.distribution}:{release.codename} can be neither pulled nor made here{said}",
        _make_mend(said, release),
    )


def _make_mend(said: str, release: Release) -> str:
    if re.search("root|unshare|subuid|Operation not permitted", said) and "Release" not in said:
        return "run `provision image build` once as root, or install uidmap and give this user sub-uids (man subuid)"
    return (
        f"if the mirror no longer has {release.codename}, set {release.setting} to the address of an archive"
        " that does (this machine's own mirror is tried first)"
    )


def _program(shell: Shell, release: Release) -> str:
    if shell.run(["sh", "-c", "command -v mmdebstrap"], check=False).ok:
        return "mmdebstrap"
    root = shell.run(["id", "-u"]).out.strip() == "0"
    if root and shell.run(["sh", "-c", "command -v debootstrap"], check=False).ok:
        return "debootstrap"
    raise ImageError(
        f"no base image {release.distribution}:{release.codename}: it cannot be pulled, and mmdebstrap is not"
        " installed here",
        "apt-get install mmdebstrap (as root), then try again",
    )


def _keyring(shell: Shell, release: Release) -> str:
    """The file with the distribution's keys."""
    ring = f"/usr/share/keyrings/{release.distribution}-archive-keyring.gpg"
    if not shell.run(["test", "-e", ring], check=False).ok:
        package = "ubuntu-keyring" if release.distribution == "ubuntu" else "debian-archive-keyring"
        raise ImageError(f"this machine has no keys of {release.distribution} ({ring})", f"apt-get install {package}")
    return ring
