"""What the notes in one folder tell (`journal` writes them): of which launch or machine they are, and for how long."""

import json
import time
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path

INTENT, KNOWN, USER_DATA, ASKED, INSTANCE = "intent.json", "known_hosts", "user-data", "asked", "instance"
ALL = (INTENT, KNOWN, USER_DATA, ASKED, INSTANCE)
# the note is written before the launch's calls, which may take a minute, and EC2 shows a machine seconds after its call
_FRESH_S = 120.0


def there(place: Path) -> bool:
    """Whether there is any note."""
    return any((place / note).exists() for note in ALL)


def begun_at(place: Path) -> tuple[str, datetime] | None:
    """The name of the noted launch, as `SpotRequest.launch` has it, and when it was noted.

    None where there is no note that can be read: a killed client left half of it, or one that lives just removed it.
    """
    try:
        note = json.loads((place / INTENT).read_text())
        request = note["request"]
        launch = f"provision-{request['name']}-{request['token'][:8]}"
        return launch, datetime.fromtimestamp(note["time"], timezone.utc)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_of(place: Path, resource: str) -> bool:
    """Whether the launch that is noted there is the one of this name."""
    launch = begun_at(place)
    return launch is not None and launch[0] == resource


def alias(known: Path) -> str:
    """Whose note it is: an instance's id, or the token of an older launch; "" where there is no such file."""
    try:
        return known.read_text().partition(" ")[0]
    except OSError:
        return ""


def about(place: Path) -> str:
    """What the notes in this folder are on: a launch without an answer, or the id of an instance; "" where they do not
    tell."""
    word = alias(place / INSTANCE) or alias(place / KNOWN)
    by_token = f"provision-{place.name}-{word[:8]}" if word else ""
    return launch_of(place) or (word if word.startswith("i-") else by_token)


def launch_of(place: Path) -> str:
    """The launch that is noted in this folder and has no answer yet; "" where there is none."""
    found = begun_at(place)
    return found[0] if found else ""


def deadline_of(place: Path) -> datetime:
    """When the machine of the launch that is noted in this folder would end; a day from now where that is not told."""
    try:
        note = json.loads((place / INTENT).read_text())
        return datetime.fromisoformat(note["request"]["tags"]["provision:deadline"])
    except (OSError, ValueError, KeyError, TypeError):
        return datetime.now(timezone.utc) + timedelta(days=1)


def unanswered(places: Iterable[Path]) -> set[str]:
    """The launches noted in these folders that AWS was asked for, without an answer, and whose deadline is to come."""
    begun = [place for place in places if (place / ASKED).exists() and launch_of(place)]
    return {launch_of(place) for place in begun if deadline_of(place) > datetime.now(timezone.utc)}


def fresh(place: Path) -> bool:
    """Whether AWS was asked so short a time ago for the launch noted in this folder that it may well show up yet."""
    try:
        return time.time() - (place / ASKED).stat().st_mtime < _FRESH_S
    except FileNotFoundError:
        return False


def forget(place: Path, which: Iterable[str] = ALL) -> None:
    """Remove the notes in this folder (or some of them), and the folder where nothing else is in it."""
    for note in which:
        (place / note).unlink(missing_ok=True)
    if place.is_dir() and not any(place.iterdir()):
        place.rmdir()
