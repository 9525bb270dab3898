"""Data and code of a run on the cluster: folders by what is in them, so that a data set crosses the line once.

data/HEX/       the files, HEX: sha256 of their names, sizes and sums
data/HEX.json   the list of them, written last: without it the folder is not whole
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from infra.errors import RunError, UsageError
from infra.ssh_folder import SshFolder
from provision import console
from provision.console import Say
from provision.files import index
from provision.files.bar import Bar

_BATCH = 8 << 20  # bytes of small files in one question
_MANY = 500
_CHUNK = 1 << 20


def bring(place: SshFolder, folder: Path, kind: str, say: Say) -> str:
    """Bring the folder's files; the key of their folder there. UsageError for what cannot be read, RunError where files
    change meanwhile, DiskError where there is no room."""
    before = index.local_index(folder)
    listed = [_entry(folder, path) for path in sorted(before)]
    text = json.dumps(listed, sort_keys=True).encode()
    key = f"data/{hashlib.sha256(text).hexdigest()}"
    if place.head(f"{key}.json") is None:
        sent = _send(place, folder, key, listed)
        if index.local_index(folder) != before:
            raise RunError(f"files in {folder} changed while they were sent", "run the same command again")
        place.write(f"{key}.json", text)
        say(f"{kind}: {len(listed)} files, {console.size(sent)} sent")
    else:
        say(f"{kind}: on {place.name} already")
    return key


def _send(place: SshFolder, folder: Path, key: str, listed: Sequence[dict[str, Any]]) -> int:
    """Send the files that are not there yet; the bytes that were sent."""
    there = {stored.key: stored.size for stored in place.objects(f"{key}/")}
    left = [one for one in listed if there.get(f"{key}/{one['path']}") != one["size"]]
    total, done = sum(one["size"] for one in left), 0
    with Bar(f"to {place.name}", total) as bar:
        for batch in _batches([one for one in left if one["size"] < _BATCH]):
            bodies = [_bytes(folder, one["path"]) for one in batch]
            rows = [[f"{key}/{one['path']}", len(body)] for one, body in zip(batch, bodies, strict=True)]
            place.door.ask("write_all", rows, data=b"".join(bodies))
            done += sum(map(len, bodies))
            bar.at(done)
        for one in left:
            if one["size"] >= _BATCH:
                place.upload(folder / one["path"], f"{key}/{one['path']}", one["sha256"])
                done += one["size"]
                bar.at(done)
    return done


def _batches(files: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size = 0
    for one in files:
        if batch and (size + one["size"] > _BATCH or len(batch) >= _MANY):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += one["size"]
    if batch:
        yield batch


def _bytes(folder: Path, path: str) -> bytes:
    try:
        return (folder / path).read_bytes()
    except OSError as error:
        raise UsageError(
            f"{folder / path} cannot be read: {error.strerror}", "make it readable, or move it away"
        ) from error


def _entry(folder: Path, path: str) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    try:
        with (folder / path).open("rb") as data:
            while chunk := data.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise UsageError(
            f"{folder / path} cannot be read: {error.strerror}", "make it readable, or move it away"
        ) from error
    return {"path": path, "size": size, "sha256": digest.hexdigest()}
