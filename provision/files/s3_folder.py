"""Folders to and from S3: what changed and no more, in place of a mounted bucket (s3fs).

A file that goes up counts as unchanged when the object is as large and not older; one that comes down when it is as
large and has the object's time, which it gets when it comes. Where size fits and time does not, the content is
compared with S3's ETag: what was only touched is not sent. `checksum` compares every content of equal size.

The folder's .provisionignore holds for both ways: what it leaves out is neither sent, nor fetched, nor deleted.
"""

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from infra.aws import s3_transfer
from infra.aws.s3 import S3, Place, Stored
from infra.disk import writing
from infra.errors import UsageError
from provision.files import index
from provision.files.bar import Bar
from provision.files.folders import check_room, inside

Action = Literal["upload", "download", "delete"]
AT_ONCE = 10
GONE, NOTHING_STAYS = "gone", "nothing of it is in the source"
_LONGEST_KEY = 1024  # bytes: S3's own limit


@dataclass(frozen=True)
class Change:
    """One thing to do, to the file `path` (relative); `size` in bytes, and why. `modified`: the object's time."""

    action: Action
    path: str
    size: int
    why: str
    modified: float = 0.0


def plan(store: S3, place: Place, folder: Path, up: bool, delete: bool = False, checksum: bool = False) -> list[Change]:
    """What would be done, by path. Where source and target have no file in common, and with `delete` all of the target
    would go, each deletion is for NOTHING_STAYS: the source may be a mistyped one.

    UsageError where the source has no file, where a key would lie outside of the folder, or cannot be one.
    """
    here = index.local_index(folder) if up or folder.is_dir() else {}
    patterns = index.patterns_of(folder)
    there = {
        name: stored
        for stored in store.objects(place.prefix)
        if (name := stored.key.removeprefix(place.prefix)) and not name.endswith("/")
        if not index.ignored(name, patterns)
    }
    source: Mapping[str, index.Entry | Stored] = here if up else there
    target: Mapping[str, index.Entry | Stored] = there if up else here
    _check_source(source, place, folder, up)
    changes = []
    for name in sorted(source):
        if inside(folder, name) is None:
            raise UsageError(f"{place} has a key that leads out of the folder: {name!r}", "nothing was copied")
        if why := _why(folder / name, here.get(name), there.get(name), up, checksum):
            modified = 0.0 if up else there[name].modified
            changes.append(Change("upload" if up else "download", name, source[name].size, why, modified))
    if delete:
        why = GONE if source.keys() & target.keys() else NOTHING_STAYS
        changes += [Change("delete", name, target[name].size, why) for name in sorted(target) if name not in source]
    return changes


def _check_source(source: Mapping[str, object], place: Place, folder: Path, up: bool) -> None:
    """UsageError for a source without a file, which would be copied as nothing, and for names that S3 cannot hold."""
    if not source:
        raise UsageError(
            f"{folder if up else place} has no file to copy",
            f"is it the right {'folder' if up else 'prefix'}? What {index.IGNORE_FILE} names is left out",
        )
    wrong = [name for name in source if up and not _may_be_key(place.prefix + name)]
    if wrong:
        raise UsageError(
            f"S3 cannot hold {len(wrong)} of the names of files in {folder}: they are no UTF-8, or longer than "
            f"{_LONGEST_KEY} bytes; the first is {wrong[0]!r}",
            f"rename them, or name them in {index.IGNORE_FILE}; nothing was copied",
        )


def _may_be_key(key: str) -> bool:
    try:
        return len(key.encode()) <= _LONGEST_KEY
    except UnicodeEncodeError:
        return False


def _why(path: Path, here: index.Entry | None, there: Stored | None, up: bool, checksum: bool) -> str:
    """Why a file has to be copied; empty where it has not to be."""
    if here is None or there is None:
        return "new"
    if here.size != there.size:
        return "size"
    same_time = here.time <= there.modified if up else here.time == int(there.modified)
    if same_time and not checksum:
        return ""
    fits = s3_transfer.etag_fits(path, there.etag)
    if fits is None:
        return "" if same_time else "time"
    return "" if fits else "content"


def apply(store: S3, place: Place, folder: Path, changes: Sequence[Change], up: bool) -> None:
    """Make the changes, deletions first, for a folder may have taken a file's name. DiskError, before the first byte,
    where the disk has no room."""
    copies = [change for change in changes if change.action != "delete"]
    gone = [change.path for change in changes if change.action == "delete"]
    total, done = sum(change.size for change in copies), [0]
    if up:
        store.delete([place.prefix + name for name in gone])
    else:
        check_room(folder, total)
        _remove(folder, gone)
    lock = threading.Lock()
    copy = s3_transfer.upload if up else s3_transfer.download
    with Bar(f"{'to' if up else 'from'} {place}", total) as bar:

        def count(more: int) -> None:
            with lock:
                done[0] += more
                bar.at(done[0])

        copy(store, [(folder / change.path, place.prefix + change.path) for change in copies], count, AT_ONCE)
    if not up:
        for change in copies:
            os.utime(folder / change.path, (change.modified, change.modified))


def _remove(folder: Path, names: Sequence[str]) -> None:
    """Files, and the folders that are empty without them."""
    for name in names:
        with writing(folder / name):
            (folder / name).unlink(missing_ok=True)
        for above in (folder / name).parents:
            if above == folder or any(above.iterdir()):
                break
            above.rmdir()
