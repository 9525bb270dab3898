"""Ends of life: which releases have reached theirs, and what that means for those who build on them.

The day is today's, or that of SOURCE_DATE_EPOCH (reproducible-builds.org), by which a choice can be made again later.
"""

import os
from collections.abc import Iterable
from datetime import date, datetime, timedelta, timezone

from images.distributions import Distribution, distribution
from images.matrix import Variant

_SOON = timedelta(days=180)
_WHERE = {
    "mirror": "its packages stay on the mirrors",
    "snapshot": "its packages come from a dated snapshot where the mirrors no longer have them",
}


def today() -> date:
    """The day by which releases live or have ended."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    return datetime.fromtimestamp(int(epoch), timezone.utc).date() if epoch.isdigit() else date.today()


def lives(row: Variant) -> bool:
    """Whether the row's release still gets security updates."""
    return not distribution(row.distribution).ended(today())


def caution(row: Variant) -> str:
    """A caution about the end of the row's release; empty where it lives for half a year or more."""
    release = distribution(row.distribution)
    if release.ended(today()):
        return f"{release.name} ended on {release.end_of_life}: no security updates since; {_WHERE[release.afterwards]}"
    if release.ended(today() + _SOON):
        return f"{release.name} ends on {release.end_of_life}"
    return ""


def ending(releases: Iterable[Distribution]) -> list[Distribution]:
    """The releases that have ended, or that end within half a year."""
    return [release for release in releases if release.ended(today() + _SOON)]
