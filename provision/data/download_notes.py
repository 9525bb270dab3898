"""What was fetched: the user's pins, and what a folder has.

A file whose sum nobody publishes is pinned when it is first fetched, by https alone: its sha256 is noted in the user's
downloads.json, and another one under that address is refused from then on. What a folder has, with sums, is in its
.provision-get.json: a second run brings what is missing and no more.
"""

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from infra.disk import writing
from infra.errors import UsageError
from provision import settings

NOTES = ".provision-get.json"


class Have(msgspec.Struct, frozen=True):
    """A file that a folder has: its sum and size; the topmost names that came out of it where it was unpacked.
    `by_hand`: the user brought it, so that nobody else may remove it."""

    sha256: str
    size: int
    fetched: str
    unpacked: list[str] | None = None
    by_hand: bool = False


def seen(sha256: str, size: int) -> Have:
    """What is noted of a file that came now."""
    return Have(sha256, size, datetime.now(timezone.utc).isoformat(timespec="seconds"))


def pins_path() -> Path:
    """Where this user's pins are."""
    return settings.home() / "downloads.json"


def pins() -> dict[str, Have]:
    """What was pinned, by its address."""
    return _read(pins_path())


def pin(url: str, found: Have) -> None:
    _write(pins_path(), {**pins(), url: found})


def had(target: Path) -> dict[str, Have]:
    """What the folder has by its notes, by address."""
    return _read(target / NOTES)


def note(target: Path, url: str, found: Have | None) -> None:
    """Note that the folder has it; None: that it has it no longer."""
    left = {key: value for key, value in had(target).items() if key != url} | ({url: found} if found else {})
    if left:
        _write(target / NOTES, left)
    else:
        (target / NOTES).unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Have]:
    """The file's content; an empty dictionary where there is none."""
    try:
        # not by msgspec's own reader: names of files that are no UTF-8 are halves of a pair of surrogates
        return msgspec.convert(json.loads(path.read_bytes()), dict[str, Have])
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read: {error}", "remove it: it only notes what was fetched") from error


def _write(path: Path, value: dict[str, Have]) -> None:
    part = path.with_name(f"{path.name}.part")
    plain: Any = msgspec.to_builtins(value)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(plain, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        part.replace(path)
