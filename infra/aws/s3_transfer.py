"""Many files to or from S3: several at a time, large ones in parts, through AWS's own s3transfer.

A downloaded file gets its name when it is whole. An object's ETag depends on the size of the parts it was sent in:
`etag_fits` knows the sizes that are in use.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from infra.aws.errors import explained
from infra.aws.s3 import S3
from infra.aws.session import client
from infra.disk import writing

OnBytes = Callable[[int], None]
Pair = tuple[Path, str]

PART = 64 << 20
_MIB = 1 << 20
# sizes of parts in bytes: ours; the AWS CLI's; the guard's; then those of other programs
_PARTS = (PART, 8 * _MIB, 256 * _MIB, 5 * _MIB, 10 * _MIB, 15 * _MIB, 16 * _MIB, 32 * _MIB, 100 * _MIB, 128 * _MIB)
_CHUNK = 1 << 20


def upload(store: S3, pairs: Sequence[Pair], on_bytes: OnBytes, at_once: int) -> None:
    """Upload each file to its key. Several threads call `on_bytes`, each with the bytes just sent."""
    _transfer(store, at_once, on_bytes, [("upload", path, key) for path, key in pairs])


def download(store: S3, pairs: Sequence[Pair], on_bytes: OnBytes, at_once: int) -> None:
    """Download each key to its file; folders are made. DiskError where there is no room."""
    for path, _ in pairs:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
    _transfer(store, at_once, on_bytes, [("download", path, key) for path, key in pairs])


def _transfer(store: S3, at_once: int, on_bytes: OnBytes, jobs: Sequence[tuple[str, Path, str]]) -> None:
    """Copy all files; the first failure ends the other copies."""
    from s3transfer.manager import TransferConfig, TransferManager
    from s3transfer.subscribers import BaseSubscriber

    class Counted(BaseSubscriber):
        def on_progress(self, future: Any, bytes_transferred: int, **_: Any) -> None:
            on_bytes(bytes_transferred)

    config = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_request_concurrency=at_once)
    with TransferManager(client(store.cloud, "s3"), config) as manager:
        waiting = []
        for verb, path, key in jobs:
            if verb == "upload":
                future = manager.upload(str(path), store.bucket, key, store.expected, [Counted()])
            else:
                future = manager.download(store.bucket, key, str(path), store.expected, [Counted()])
            waiting.append((path, key, future))
        for path, key, future in waiting:
            with explained(f"copy s3://{store.bucket}/{key}"), writing(path):
                future.result()


def etag_fits(path: Path, etag: str) -> bool | None:
    """Whether the file has the content of an object with that ETag; None where the ETag does not tell.

    The ETag of an object that went in one piece is its md5; of one in parts the md5 of the parts' md5s, and how many
    they were. With a key of KMS's it is neither.
    """
    size = path.stat().st_size
    whole, dash, count = etag.partition("-")
    if not dash:
        return _md5(path, max(size, 1))[0].hex() == whole
    fitting = [part for part in _PARTS if -(-size // part) == int(count)]
    if not fitting:
        return None
    found = {hashlib.md5(b"".join(_md5(path, part)), usedforsecurity=False).hexdigest() for part in fitting}
    return True if whole in found else None


def _md5(path: Path, part: int) -> list[bytes]:
    """The md5 of each part of the file."""
    found: list[bytes] = []
    with path.open("rb") as data:
        while True:
            digest, left = hashlib.md5(usedforsecurity=False), part
            while left and (chunk := data.read(min(left, _CHUNK))):
                digest.update(chunk)
                left -= len(chunk)
            if left == part and found:
                return found
            found.append(digest.digest())
            if left:
                return found
