"""A run's data and code straight from this laptop into the run's folder in S3, for machines that no laptop reaches.

What lies there in the end is what a machine that was given them over SSH copies there by itself, with the same index:
so nobody who goes on with the run sees a difference (`copies`). A copy is named by its content: one that is there is
never written into, an upload that broke off is gone on with, and of two laptops that resume the run at once each has
its own.
"""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from infra.aws import s3_parts
from infra.aws.s3 import Place
from infra.concurrency import pool, together
from infra.errors import BusyError, RunError
from provision import console
from provision.console import Say
from provision.files import index, s3_folder
from provision.files.bar import Bar
from provision.files.s3_folder import Change
from provision.runs import copies, inputs
from provision.runs.store import Run

_FILES, _LINES = 10, 6  # at once; connections for the parts of large files


def bring(run: Run, say: Say) -> tuple[str, ...]:
    """Bring the run's data and code into its folder in S3, where they are not there already; the names of the copies
    that this made. The run intends to go by them: whoever keeps it writes that down.

    What is the user's own prefix in S3 is read from there. UsageError for what cannot be read or has no name in S3,
    RunError where data or code is not on this laptop, or changes while it is sent.
    """
    made = [_bring(run, kind, say) for kind in copies.KINDS]
    return tuple(filter(None, made))


def _bring(run: Run, kind: str, say: Say) -> str:
    """The name of the copy that was made; "" where none had to be."""
    source = copies.source(run.manifest, kind)
    if source.kind not in ("prepared", "folder"):
        return ""
    if copies.whole(run, kind) is not None:
        say(f"{kind}: in the run's folder in S3")
        return ""
    folder = inputs.local(run, kind, source)
    before = index.local_index(folder)
    listed = json.dumps([_entry(folder, path) for path in sorted(before)]).encode()
    copy = copies.by_content(kind, listed)
    run.intend(copies.with_source(run.manifest, kind, replace(source, copy=copy)))
    if copies.whole(run, kind) is not None:
        say(f"{kind}: in the run's folder in S3")
        return ""
    _copy(run, kind, folder, before, listed, say)
    return copy


@contextmanager
def taken_back(run: Run, made: Sequence[str]) -> Iterator[None]:
    """Where somebody else turns out to keep the run, the copies that this made go, unless they are the other's, too."""
    try:
        yield
    except BusyError:
        theirs = run.keeping()
        copies.remove(run, set(made).difference(theirs.copies if theirs else ()))
        raise


def _copy(run: Run, kind: str, folder: Path, before: Mapping[str, Any], listed: bytes, say: Say) -> None:
    """Send what of the folder is not there yet, and last its index. RunError where it changes meanwhile."""
    place = Place(run.store.bucket, copies.below(run, kind))
    changes = s3_folder.plan(run.store, place, folder, up=True, delete=True)
    run.store.delete([place.prefix + change.path for change in changes if change.action == "delete"])
    sent = _send(run, place, folder, [change for change in changes if change.action == "upload"])
    if index.local_index(folder) != before:
        raise RunError(f"files in {folder} changed while they were sent", "run the same command again")
    copies.write_index(run, copies.name(run, kind), listed)
    say(f"{kind}: {len(changes)} changed files, {console.size(sent)}")


def _send(run: Run, place: Place, folder: Path, changes: Sequence[Change]) -> int:
    """Send these files, several at a time; the bytes that were sent."""
    total, lock, done = sum(change.size for change in changes), threading.Lock(), [0]
    with Bar(f"to {place}", total) as bar, pool(_LINES) as lines:

        def count(more: int) -> None:
            with lock:
                done[0] += more
                bar.at(done[0])

        def one(change: Change) -> int:
            try:
                return s3_parts.send(run.store, folder / change.path, place.prefix + change.path, lines, count)
            except OSError as error:
                raise index.unsent(folder / change.path, error) from error

        sent, errors = together([lambda change=change: one(change) for change in changes], _FILES)  # type: ignore[misc]
    if errors:
        raise errors[0]
    return sum(sent)


def _entry(folder: Path, path: str) -> dict[str, Any]:
    """The file's line in the index, as the guard writes it."""
    digest, size = hashlib.sha256(), 0
    try:
        with (folder / path).open("rb") as data:
            while chunk := data.read(1 << 20):
                digest.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise index.unsent(folder / path, error) from error
    return {"name": path.rsplit("/", 1)[-1], "size": size, "sha256": digest.hexdigest(), "path": path}
