"""A run's data and code straight from this laptop into the run's folder in S3, for machines that no laptop reaches.

What lies there in the end is what a machine that was given them over SSH copies there by itself, with the same index:
so nobody who goes on with the run sees a difference (`copies`). Only changed files cross the line; a file that was sent
in part is gone on with.
"""

import hashlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.aws import s3_parts
from infra.aws.s3 import Place
from infra.concurrency import pool, together
from infra.errors import RunError
from provision import console
from provision.console import Say
from provision.files import index, s3_folder
from provision.files.bar import Bar
from provision.files.s3_folder import Change
from provision.runs import copies, inputs
from provision.runs.manifest import Source
from provision.runs.store import Run

_FILES, _LINES = 10, 6  # at once; connections for the parts of large files


def bring(run: Run, say: Say) -> None:
    """Bring the run's data and code into its folder in S3, where they are not there already.

    What is the user's own prefix in S3 is read from there. UsageError for what cannot be read or has no name in S3,
    RunError where data or code is not on this laptop, or changes while it is sent.
    """
    for kind, source in (("data", run.manifest.data), ("project", run.manifest.project)):
        if source.kind in ("prepared", "folder"):
            _bring(run, kind, source, say)


def _bring(run: Run, kind: str, source: Source, say: Say) -> None:
    if copies.whole(run, kind) is not None:
        say(f"{kind}: in the run's folder in S3")
        return
    folder = inputs.local(run, kind, source)
    place = Place(run.store.bucket, run.key("inputs", kind) + "/")
    changes = s3_folder.plan(run.store, place, folder, up=True, delete=True)
    before = index.local_index(folder)
    run.store.delete([place.prefix + change.path for change in changes if change.action == "delete"])
    sent = _send(run, place, folder, [change for change in changes if change.action == "upload"])
    listed = [_entry(folder, path) for path in sorted(before)]
    if index.local_index(folder) != before:
        raise RunError(f"files in {folder} changed while they were sent", "run the same command again")
    run.store.write(run.key("inputs", f"{kind}.json"), json.dumps(listed).encode())
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
