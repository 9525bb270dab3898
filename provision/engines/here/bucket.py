"""A folder in the place of S3, as the guard's code writes and reads it."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from infra.folder import Folder
from infra.host.guard import files

_CHUNK = 1 << 20
_TIME = "%Y-%m-%dT%H:%M:%SZ"


class Bucket:
    """What `infra.host.guard.s3.Bucket` offers, without S3: nothing here expires, and nothing fails on its way."""

    last = 0.0  # the guard notes here when its machine ends

    def __init__(self, store: Folder) -> None:
        self._store = store

    def list(self, prefix: str) -> list[tuple[str, int, str]]:
        """Keys under `prefix` with their sizes and times."""
        return [
            (stored.key, stored.size, time.strftime(_TIME, time.gmtime(stored.modified)))
            for stored in self._store.objects(prefix)
        ]

    def ask(self, method: str, key: str) -> str:
        """The object's text (GET), or its end (DELETE). FileNotFoundError where there is none."""
        if method == "DELETE":
            self._store.delete([key])
            return ""
        raw = self._store.read(key)
        if raw is None:
            raise FileNotFoundError(key)
        return raw.decode()

    def put(self, key: str, data: bytes) -> None:
        self._store.write(key, data)

    def put_file(self, key: str, handle: int, going: Callable[[], object] = lambda: None) -> dict[str, Any]:
        """Copy an open file; name, size and sha256 of what was copied. `going` is asked now and then, and may raise."""
        digest, sent = hashlib.sha256(), 0

        def pieces() -> Iterator[bytes]:
            nonlocal sent
            while piece := os.pread(handle, _CHUNK, sent):
                going()
                digest.update(piece)
                sent += len(piece)
                yield piece

        self._store.write_pieces(key, pieces())
        return {"name": key.rpartition("/")[2], "size": sent, "sha256": digest.hexdigest()}

    def get_file(self, key: str, folder: str, path: str, clear: bool = False) -> None:
        """Copy the object to a file, which is whole or not there; no link is followed on the way to it."""
        target = files.written(folder, path, clear)
        with self._store.path(key).open("rb") as data, target as out:
            while piece := data.read(_CHUNK):
                out.write(piece)

    def renew(self, key: str, size: int) -> None:
        """Nothing expires here."""
