"""Launches that were cut off and then ended before AWS showed a machine of them.

A client may be killed while CreateFleet is under way: nobody got the answer, and `down` finds no machine yet. AWS says
that its lists are eventually consistent, and not within what time: so no wait is the proof that nothing comes. The
launch is noted until the deadline that its machine would have; `ls`, `up`, `down` and `audit` end what shows up.

    instances/CLOUD/ACCOUNT/REGION/.late/LAUNCH: the deadline
"""

import contextlib
from collections.abc import Collection
from datetime import datetime, timezone
from pathlib import Path

from infra.aws.session import Cloud
from infra.keys import write_private
from provision.machines import note_folders, note_texts
from provision.offers import cache


def keep(place: Path, launches: Collection[str]) -> None:
    """Remember the launch that is noted in this folder, if it is one of these."""
    launch = note_texts.launch_of(place)
    if launch in launches:
        mark = place.with_name(note_folders.LATE) / launch
        write_private(mark, note_texts.deadline_of(place).isoformat())


def launches(cloud: Cloud) -> set[str]:
    """The remembered launches of this region whose deadline is to come; AWS is not asked where nothing is noted."""
    if not note_folders.accounts(cloud.name):
        return set()
    marks = list(_folder(cloud).glob("*"))
    for mark in marks:
        if _over(mark):
            forget(cloud, mark.name)
    return {mark.name for mark in marks if mark.exists()}


def forget(cloud: Cloud, launch: str) -> None:
    """The launch's machine has shown up and is ended, or cannot come any more."""
    mark = _folder(cloud) / launch
    mark.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # others are there
        mark.parent.rmdir()


def words(launch: str) -> str:
    """What is to be said of such a launch."""
    return (
        f"AWS has shown no machine of {launch}, which was cut off; should it still come, the next "
        "ls, up, down or audit of this laptop ends it, else its own deadline"
    )


def _folder(cloud: Cloud) -> Path:
    return note_folders.of_cloud(cloud.name) / cache.account(cloud) / cloud.region / note_folders.LATE


def _over(mark: Path) -> bool:
    try:
        return datetime.fromisoformat(mark.read_text()) < datetime.now(timezone.utc)
    except (OSError, ValueError, TypeError):  # spoiled, or another command has just removed it
        return True
