"""Where a release's packages come from: its suites, found at mirrors, and the sources file that names them.

An image that is made here has the suites that the distribution's own images have: the release, its updates, and its
security fixes, without which everything in it and installed on it stays behind. Debian keeps the fixes in an archive of
their own: where this machine's apt has them, where PROVISION_DEBIAN_SECURITY says, or beside the mirror
(…/debian-security). Whether a suite is there is asked of the mirror by apt's own transport, with its proxies and
certificates.
PROVISION_DEBIAN_SNAPSHOT (…/archive) puts into the file the comments that official images have: the same suites at a
date, for the time when a release is past its end and its packages are gone from the mirrors.
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from infra.shell import Result, Shell

SECURITY, SNAPSHOT = "PROVISION_DEBIAN_SECURITY", "PROVISION_DEBIAN_SNAPSHOT"

CODENAMES = {
    "debian": {"10": "buster", "11": "bullseye", "12": "bookworm", "13": "trixie"},
    # 26.04: https://documentation.ubuntu.com/release-notes/26.04/, seen 2026-11-29
    "ubuntu": {
        "14.04": "trusty", "16.04": "xenial", "18.04": "bionic", "20.04": "focal", "22.04": "jammy",
        "24.04": "noble", "26.04": "resolute",
    },
}  # fmt: skip
_COMPONENTS = {"debian": "main", "ubuntu": "main universe"}
# releases whose official images have /etc/apt/sources.list; later ones have DISTRIBUTION.sources
_ONE_LINE = ("buster", "bullseye", "trusty", "xenial", "bionic", "focal", "jammy")
# the last day of Debian's long-term support; a test holds it equal to what images/distributions.yaml has from Debian
LAST_DAY = {"buster": "20240630", "bullseye": "20260831", "bookworm": "20280630", "trixie": "20300630"}

# Prints the fields of a suite's InRelease or, as old suites have, Release file.
_READ = r"""
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
for name in InRelease Release; do
    if [ -x /usr/lib/apt/apt-helper ]; then
        /usr/lib/apt/apt-helper -qq download-file "$1/$name" "$folder/$name" || continue
    else
        wget -q -O "$folder/$name" "$1/$name" || continue
    fi
    grep -E '^[A-Z][A-Za-z-]*: ' "$folder/$name" && exit 0
done
exit 1
"""


@dataclass(frozen=True)
class Release:
    """A distribution's release: debian, bullseye."""

    distribution: str
    codename: str

    @property
    def setting(self) -> str:
        """The environment variable that names a mirror for it."""
        return f"PROVISION_{self.distribution.upper()}_ARCHIVE"

    @property
    def name(self) -> str:
        return f"{self.distribution}:{self.codename}"

    @property
    def keyring(self) -> str:
        """The file with the distribution's keys, in images as on hosts."""
        return f"/usr/share/keyrings/{self.distribution}-archive-keyring.gpg"

    @property
    def security(self) -> str:
        """The suite with the fixes; Debian named it otherwise up to 10."""
        return f"{self.codename}/updates" if self.codename == "buster" else f"{self.codename}-security"


@dataclass(frozen=True)
class Own:
    """Where a machine's own apt finds its release, and the security fixes for it."""

    mirror: str | None = None
    security: str | None = None


@dataclass(frozen=True)
class Suite:
    """A suite found at `place`. `expired`: its Release file has expired, and the user's setting names that place."""

    place: str
    name: str
    expired: bool = False


def parse(reference: str) -> Release | None:
    """The release behind `debian:12`, `debian:bookworm`, `debian:bookworm-slim` or `ubuntu:22.04`; or None."""
    match = re.fullmatch(r"(debian|ubuntu):([a-z]+|[0-9.]+)(-slim)?", reference)
    if not match:
        return None
    names = CODENAMES[match[1]]
    codename = names.get(match[2], match[2])
    return Release(match[1], codename) if codename in names.values() else None


def own(distribution: str, shell: Shell) -> Own:
    """The mirrors in a machine's own apt sources; an empty Own where the machine runs another distribution."""
    facts = shell.run(["sh", "-c", '. /etc/os-release; echo "$ID $VERSION_CODENAME"'], check=False).out.split()
    if facts[:1] != [distribution] or len(facts) != 2:
        return Own()
    uris = shell.run(["apt-get", "update", "--print-uris"], check=False).out
    code = facts[1]
    return Own(place_of(uris, code), place_of(uris, f"{code}-security", f"{code}/updates"))


def place_of(uris: str, *suites: str) -> str | None:
    """Where the machine's own apt has one of the suites, out of what `apt-get update --print-uris` prints."""
    names = "|".join(re.escape(suite) for suite in suites)
    match = re.search(rf"^'(\S+?)/dists/(?:{names})/InRelease'", uris, re.MULTILINE)
    return match[1] if match else None


def security_places(release: Release, mirror: str, own: str | None) -> list[str]:
    """Where the fixes may be, best first. `own` is where this machine's apt has those of its release."""
    if release.distribution == "ubuntu":
        return [mirror]
    beside = f"{mirror.rstrip('/')}-security"
    return list(dict.fromkeys(place for place in (own, os.environ.get(SECURITY), beside) if place))


def named(release: Release) -> list[str]:
    """The places that the user's settings name. They may be archives, whose Release files have expired for good."""
    archive = os.environ.get(release.setting)
    places = (archive, archive and f"{archive.rstrip('/')}-security", os.environ.get(SECURITY))
    return [place for place in places if place]


def look(place: str, suite: str, shell: Shell, *, named: bool = False) -> Suite | str:
    """The suite if the place has it, else why it cannot be used. Only a place that was `named` may be out of date."""
    place = place.rstrip("/")
    result = shell.run(["sh", "-c", _READ, "read", f"{place}/dists/{suite}"], check=False)
    if not result.ok:
        return f"{place} {_reason(result)}"
    until = re.search(r"^Valid-Until: (.+)$", result.out, re.MULTILINE)
    expired = until is not None and parsedate_to_datetime(until[1]) < datetime.now(timezone.utc)
    if until is not None and expired and not named:
        return f"its list of contents at {place} expired on {until[1]}"
    return Suite(place, suite, expired)


def _reason(result: Result) -> str:
    lines = [line for line in result.err.splitlines() if line.startswith("E: Failed to fetch")]
    return "lacks it" if not lines or "404" in lines[-1] else f"does not give it ({lines[-1].split('  ', 1)[-1]})"


def first(places: Iterable[str], suite: str, shell: Shell, named: Sequence[str]) -> Suite | str:
    """The suite at the first place that has it, else why it is at none."""
    reasons = []
    for place in places:
        found = look(place, suite, shell, named=place in named)
        if isinstance(found, Suite):
            return found
        reasons.append(found)
    return "; ".join(reasons)


def lines(release: Release, suites: Iterable[Suite]) -> list[str]:
    """A line of sources.list for each suite."""
    return [f"deb {suite.place} {suite.name} {_COMPONENTS[release.distribution]}" for suite in suites]


def path(release: Release) -> str:
    """Where an image of the release has its sources."""
    if release.codename in _ONE_LINE:
        return "/etc/apt/sources.list"
    return f"/etc/apt/sources.list.d/{release.distribution}.sources"


def text(release: Release, suites: Sequence[Suite], now: datetime) -> str:
    """The image's sources, in the form that the official image has them."""
    return _one_line(release, suites, now) if release.codename in _ONE_LINE else _stanzas(release, suites, now)


def _one_line(release: Release, suites: Sequence[Suite], now: datetime) -> str:
    """Debian's comments name the fixes even where the mirror has dropped them: a snapshot has them still."""
    said = dict(zip((suite.name for suite in suites), lines(release, suites), strict=True))
    names = list(said)
    if release.security not in said and snapshot(release, release.security, now):
        names.append(release.security)
    written: list[str] = []
    for name in names:
        dated = snapshot(release, name, now)
        written += [f"# deb {dated} {name} main"] if dated else []
        written += [said[name]] if name in said else []
    return "".join(f"{line}\n" for line in written)


def _stanzas(release: Release, suites: Sequence[Suite], now: datetime) -> str:
    places: dict[str, list[str]] = {}
    for suite in suites:
        places.setdefault(suite.place, []).append(suite.name)
    return "\n".join(
        _stanza(release, place, names, snapshot(release, names[0], now)) for place, names in places.items()
    )


def _stanza(release: Release, place: str, names: Sequence[str], dated: str | None) -> str:
    comment = f"# {dated}\n" if dated else ""
    return (
        f"Types: deb\n{comment}URIs: {place}\nSuites: {' '.join(names)}\n"
        f"Components: {_COMPONENTS[release.distribution]}\nSigned-By: {release.keyring}\n"
    )


def snapshot(release: Release, suite: str, now: datetime) -> str | None:
    """The address of Debian's suite in a dated snapshot: of today, or of the release's last day if that is over.

    None where PROVISION_DEBIAN_SNAPSHOT is not set, or the release is not Debian's.
    """
    base = os.environ.get(SNAPSHOT)
    if release.distribution != "debian" or not base:
        return None
    folder = "debian-security" if suite == release.security else "debian"
    day = min(now.strftime("%Y%m%d"), LAST_DAY[release.codename])
    return f"{base.rstrip('/')}/{folder}/{day}T000000Z"
