"""Where this laptop's notes on machines are (`journal` says what is in them): paths alone, for what has no time to load
more, as a shell that completes a name.

    instances/CLOUD/ACCOUNT/REGION/NAME    and, of older versions, instances/CLOUD/REGION/NAME
    instances/CLOUD/ACCOUNT/REGION/.late/LAUNCH    (`late` says what that is)
    instances/CLOUD/ACCOUNT/REGION/.kept/LAUNCH    (`kept_launches` does)
"""

import re
from pathlib import Path

from provision.settings import state_home

_ACCOUNT = re.compile(r"\d{12}")
LATE, KEPT = ".late", ".kept"  # no machine's name begins with a dot


def of_cloud(cloud: str) -> Path:
    """The folder of all notes on machines of that cloud (`aws`, `local:NAME`)."""
    return state_home() / "instances" / cloud.replace(":", "-")


def accounts(cloud: str) -> list[Path]:
    """The folders of the accounts that this laptop has notes of."""
    return [place for place in of_cloud(cloud).glob("*") if _ACCOUNT.fullmatch(place.name)]


def without_account(cloud: str, name: str = "*") -> list[Path]:
    """The folders of older versions with notes on machines (of that name), in any region."""
    places = [place for place in of_cloud(cloud).glob(f"*/{name}") if place.is_dir()]
    return [place for place in places if not _ACCOUNT.fullmatch(place.parent.name)]


def names(cloud: str) -> set[str]:
    """The names of all machines with notes here, in any account and region: AWS is not asked."""
    places = [place for account in accounts(cloud) for place in account.glob("*/*") if place.is_dir()]
    return {place.name for place in [*places, *without_account(cloud)] if not place.name.startswith(".")}


def launch_regions(account: Path, name: str = "*") -> set[str]:
    """The regions with a launch (of that name) that may still show up, or that a keeper may make."""
    token = "[0-9a-f]" * 8
    marks = [mark for place in (LATE, KEPT) for mark in account.glob(f"*/{place}/provision-{name}-{token}")]
    return {mark.parents[1].name for mark in marks}
