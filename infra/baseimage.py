"""Base images: at the engine, pulled, or made here from the distribution's own packages.

Sites that cannot reach a registry have a mirror of their distribution: the one that this machine's apt is set up
for. mmdebstrap (or debootstrap) makes a minimal root file system from it, with the updates and the security fixes, and
`docker import` makes it an image of the same name, with labels that say so. Manuals and translations stay out, as in
the distribution's own slim images.
PROVISION_DEBIAN_ARCHIVE and PROVISION_UBUNTU_ARCHIVE name another mirror: for a release that the usual one
has dropped, or for the other distribution. `infra.aptsources` says where the fixes are looked for.
"""

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath

from infra import aptsources, buildx
from infra.aptsources import Own, Release, Suite
from infra.buildsecrets import holds_password
from infra.buildx import Inspected
from infra.errors import ImageError, UsageError
from infra.shell import LocalShell, OnLine, Shell

MADE, SUITES = "provision.base", "provision.suites"
_SLIM = ("doc", "man", "info", "locale")
_PULL_SECONDS = 900.0

# words: tar, keyring, codename, mirror, where the sources go, packages to include, whether a Release file has expired
_DEBOOTSTRAP = r"""
set -e
root="$1.d"
debootstrap --variant=minbase --keyring="$2" ${6:+--include="$6"} "$3" "$root" "$4"
rm -f "$root/etc/apt/sources.list"
cp "$1.sources" "$root$5"
[ -z "$7" ] || echo 'Acquire::Check-Valid-Until "false";' > "$root/etc/apt/apt.conf.d/99archive"
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
chroot "$root" apt-get -qq update
DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get -qq -y dist-upgrade
rm -rf "$root"/usr/sbin/policy-rc.d "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin
rm -f "$root"/var/cache/apt/archives/*.deb
tar -C "$root" --numeric-owner -cf "$1" .
"""


def ensure(reference: str, shell: Shell | None = None, on_line: OnLine | None = None, *, pull: bool = False) -> str:
    """Make sure that the engine has the image (`debian:bullseye`); its id.

    With `pull` the registry is asked, or the image made, even where the engine has one. `on_line` is called with what
    happens. ImageError with the mend where it can neither be pulled nor made.
    """
    shell = shell or LocalShell()
    say = on_line or (lambda line: None)
    found = buildx.inspect(shell, reference)
    if found is None or pull or _lacks_fixes(found):
        with _alone():
            if buildx.inspect(shell, reference) == found:  # else somebody got it while we waited
                _renew(reference, found, shell, say, pull=pull)
        found = buildx.inspect(shell, reference)
    if found is None:
        raise ImageError(f"the engine lost the base image {reference}", "try again")
    return found.id


def _lacks_fixes(found: Inspected) -> bool:
    """Whether an earlier version of provision made the image, without updates and security fixes."""
    return MADE in found.labels and SUITES not in found.labels


@contextmanager
def _alone() -> Iterator[None]:
    """Holds a lock, so that one process at a time gets base images here: where a name moves to a second image, those
    built on the first look old."""
    path = Path(tempfile.gettempdir()) / f"provision-bases-{os.getuid()}.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _renew(reference: str, found: Inspected | None, shell: Shell, say: OnLine, *, pull: bool) -> None:
    """Get the image; one that lacks the fixes, and that nobody asked to pull, is made again."""
    if found is None or pull:
        _get(reference, shell, say)
    else:
        _make_again(reference, shell, say)


def _get(reference: str, shell: Shell, say: OnLine) -> None:
    """Pull the image or, where it cannot be pulled, make it."""
    say(f"base image {reference}: pulling")
    pulled = shell.run(buildx.pull_words(reference), check=False, timeout=_PULL_SECONDS)
    if pulled.ok:
        return
    reason = (pulled.err.strip().splitlines() or ["no reason given"])[-1]
    say(f"base image {reference}: cannot be pulled ({reason})")
    make(reference, _release(reference), shell, say)


def _make_again(reference: str, shell: Shell, say: OnLine) -> None:
    """Make the image again; where that fails, the old one is kept."""
    say(f"base image {reference}: was made here without security fixes, so it is made again")
    try:
        make(reference, _release(reference), shell, say)
    except ImageError as error:
        say(f"base image {reference}: kept as it is, without security fixes ({error.what.splitlines()[0]})")


def make(reference: str, release: Release, shell: Shell, say: OnLine) -> None:
    """Make an image of the release from the distribution's packages, and import it as `reference`."""
    _refuse_logins(release)
    own = aptsources.own(release.distribution, shell)
    mirrors = _mirrors(release, own)
    folder = shell.run(["mktemp", "-d"]).out.strip()
    try:
        tar = str(PurePosixPath(folder) / "root.tar")
        suites = _first_that_works(release, mirrors, own, tar, shell, say)
        labels = {
            MADE: f"made here by {release.distribution}'s packages",
            SUITES: " ".join(suite.name for suite in suites),
            "provision.mirror": suites[0].place,
        }
        result = shell.run(buildx.import_words(tar, reference, labels), check=False)
        if not result.ok:
            raise buildx.failure(result, f"cannot import the base image {reference}")
    finally:
        shell.run(["rm", "-rf", folder], check=False)


def _refuse_logins(release: Release) -> None:
    """UsageError where a setting's address holds a user or a password: the image's own sources would keep it."""
    for setting in (release.setting, aptsources.SECURITY, aptsources.SNAPSHOT):
        if holds_password(os.environ.get(setting, "")):
            raise UsageError(
                f"{setting} has a user or a password in its address, which every image built here would keep",
                "give the address without it, of a mirror that asks for none",
            )


def _release(reference: str) -> Release:
    release = aptsources.parse(reference)
    if release is None:
        known = "; ".join(f"{name} {', '.join(names)}" for name, names in aptsources.CODENAMES.items())
        raise ImageError(
            f"the base image {reference} cannot be pulled, and only these can be made here: {known}",
            f"bring it by hand: docker save {reference} on a machine that has it, docker load here",
        )
    return release


def make_words(program: str, release: Release, suites: Sequence[Suite], tar: str) -> list[str]:
    """The command that writes a minimal root file system to `tar`; TAR.sources holds the text of its apt sources."""
    expired = any(suite.expired for suite in suites)
    include = _for_https(release) if any(suite.place.startswith("https:") for suite in suites) else ""
    where = aptsources.path(release)
    if program == "mmdebstrap":
        slim = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in _SLIM]
        more = [f"--include={include}"] if include else []
        # an archive's last Release file has long expired
        more += ['--aptopt=Acquire::Check-Valid-Until "false"'] if expired else []
        return ["mmdebstrap", "--quiet", "--variant=minbase", "--format=tar", f"--keyring={release.keyring}", *slim,
                "--dpkgopt=path-include=/usr/share/doc/*/copyright", *more,
                '--customize-hook=rm -f "$1/etc/apt/sources.list"', f"--customize-hook=upload {tar}.sources {where}",
                release.codename, tar, *aptsources.lines(release, suites)]  # fmt: skip
    return ["sh", "-c", _DEBOOTSTRAP, "debootstrap", tar, release.keyring, release.codename, suites[0].place, where,
            include, "expired" if expired else ""]  # fmt: skip


def _for_https(release: Release) -> str:
    """What the image's own apt needs for a mirror behind TLS."""
    return "ca-certificates" + (",apt-transport-https" if release.codename in ("trusty", "xenial") else "")


def _mirrors(release: Release, own: Own) -> list[str]:
    """The mirrors to try: the host's own, if it runs this distribution; then the one that the setting names."""
    mirrors = [mirror for mirror in (own.mirror, os.environ.get(release.setting)) if mirror]
    if not mirrors:
        raise ImageError(
            f"no base image {release.name}: it cannot be pulled, and this machine's apt knows no mirror of"
            f" {release.distribution}",
            f"set {release.setting} to the address of a mirror, and install {release.distribution}-archive-keyring"
            " or ubuntu-keyring",
        )
    return mirrors


def _first_that_works(
    release: Release, mirrors: Sequence[str], own: Own, tar: str, shell: Shell, say: OnLine
) -> tuple[Suite, ...]:
    """Write the root file system; the suites that are in it. ImageError with what each mirror's attempt ended with."""
    program = _program(shell, release)
    _check_keyring(shell, release)
    said = ""
    for mirror in mirrors:
        main = aptsources.first([mirror], release.codename, shell, aptsources.named(release))
        if isinstance(main, str):
            said += f"\n    no {release.codename}: {main}"
            continue
        suites = (main, *_fixes(release, main.place, own, shell, say))
        say(f"base image {release.name}: making it with {program} from {main.place}")
        error = _write(program, release, suites, tar, shell)
        if error and suites[1:] and re.search(r"\b404\b|Failed to fetch", error):
            # the files of a release that is past its end go before its index does
            last = error.rpartition("\n")[2].strip()
            say(f"base image {release.name}: made without updates and fixes, whose packages are gone ({last})")
            suites = (main,)
            error = _write(program, release, suites, tar, shell)
        if not error:
            return suites
        said += error
    raise ImageError(
        f"the base image {release.name} can be neither pulled nor made here{said}", _make_mend(said, release)
    )


def _fixes(release: Release, mirror: str, own: Own, shell: Shell, say: OnLine) -> list[Suite]:
    """The updates and the security suite, each at the first place that has it. A suite found nowhere is left out, and
    `say` gets a line about it."""
    wanted = {
        f"{release.codename}-updates": [mirror],
        release.security: aptsources.security_places(release, mirror, own.security),
    }
    found = []
    for name, places in wanted.items():
        suite = aptsources.first(places, name, shell, aptsources.named(release))
        if isinstance(suite, Suite):
            found.append(suite)
        else:
            say(f"base image {release.name}: {name} is left out: {suite}")
    return found


def _write(program: str, release: Release, suites: Sequence[Suite], tar: str, shell: Shell) -> str:
    """Write TAR. Empty where that worked; else the last lines of the program's output."""
    text = aptsources.text(release, suites, datetime.now(timezone.utc))
    shell.run(["sh", "-c", 'cat > "$1"', "write", f"{tar}.sources"], stdin=text.encode())
    result = shell.run(make_words(program, release, suites, tar), check=False)
    if result.ok:
        return ""
    shell.run(["rm", "-rf", tar, f"{tar}.d"], check=False)
    last = (result.err or result.out).strip().splitlines()[-5:] or ["no reason given"]
    return "".join(f"\n    {line}" for line in last)


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
        f"no base image {release.name}: it cannot be pulled, and mmdebstrap is not installed here",
        "apt-get install mmdebstrap (as root), then try again",
    )


def _check_keyring(shell: Shell, release: Release) -> None:
    if not shell.run(["test", "-e", release.keyring], check=False).ok:
        package = "ubuntu-keyring" if release.distribution == "ubuntu" else "debian-archive-keyring"
        raise ImageError(
            f"this machine has no keys of {release.distribution} ({release.keyring})", f"apt-get install {package}"
        )
