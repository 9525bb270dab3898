"""Folders: with room on the disk, and nothing outside of them. Whole or not at all: `whole`."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from infra.errors import DiskError
from provision import console
from provision.files.whole import atomic_file, atomic_folder

__all__ = ["atomic_file", "atomic_folder", "check_room", "inside", "staging"]

_RESERVE = 50_000_000  # bytes


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """A folder inside `target`, which is made where it is not there, for files that are moved out once they are whole.

    What was not moved vanishes at the end.
    """
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def inside(folder: Path, name: str) -> Path | None:
    """The path `name` below `folder`; None where it would be elsewhere, or the folder itself."""
    pure = PurePosixPath(name)
    if not pure.parts or pure.is_absolute() or ".." in pure.parts or "\0" in name:
        return None
    return folder / pure


def check_room(target: Path, need: int, mend: str = "free some space, or name a folder on another disk") -> None:
    """DiskError with this mend where `need` bytes do not fit beside a small reserve. Nothing is made."""
    place = target.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if need + min(_RESERVE, need) > free:
        raise DiskError(f"no room in {target}: {console.size(need)} are needed and {console.size(free)} are free", mend)
