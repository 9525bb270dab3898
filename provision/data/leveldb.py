"""LevelDB databases (`provision.data.databases`), with the block size that Caffe's own writer chooses.

Whoever opens a LevelDB, be it to read, takes a lock and writes into its folder: one process at a time, and never from
a read-only mount. LMDB has neither limit.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infra.errors import DiskError, UsageError
from provision.data.databases import Records
from provision.data.lmdb_writer import extra

_BLOCK, _BUFFER = 1 << 16, 1 << 26  # bytes


class LevelWriter:
    """Each batch is one write, on disk when `put` returns."""

    def __init__(self, folder: Path) -> None:
        self._plyvel = extra("plyvel")
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._db: Any = self._plyvel.DB(
            str(folder), create_if_missing=True, block_size=_BLOCK, write_buffer_size=_BUFFER, max_open_files=100
        )

    def put(self, records: Records) -> None:
        try:
            with self._db.write_batch(transaction=True, sync=True) as batch:
                for key, value in records:
                    batch.put(key, value)
        except self._plyvel.IOError as error:
            raise DiskError(
                f"no room to write {self._folder}: {_said(error)}", "free some disk, then --resume"
            ) from error

    def last(self) -> bytes | None:
        with self._db.iterator(reverse=True, include_value=False) as keys:
            return next(keys, None)

    def trim(self, after: bytes | None) -> None:
        above = {} if after is None else {"start": after, "include_start": False}
        with self._db.iterator(include_value=False, **above) as keys, self._db.write_batch(sync=True) as batch:
            for key in keys:
                batch.delete(key)

    def close(self) -> None:
        self._db.close()


class LevelReader:
    """The whole database is locked while this is open."""

    backend = "leveldb"

    def __init__(self, folder: Path) -> None:
        plyvel = extra("plyvel")
        try:
            self._db: Any = plyvel.DB(str(folder), create_if_missing=False, max_open_files=100)
        except plyvel.Error as error:
            raise UsageError(
                f"{folder} cannot be opened as LevelDB: {_said(error)}",
                "only one program can have it open, and its folder must be writable; else make it again",
            ) from error

    def __len__(self) -> int:
        return sum(1 for _ in self.keys())

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        with self._db.iterator(fill_cache=False) as pairs:
            yield from pairs

    def keys(self) -> Iterator[bytes]:
        with self._db.iterator(include_value=False, fill_cache=False) as keys:
            yield from keys

    def close(self) -> None:
        self._db.close()


def _said(error: Exception) -> str:
    """plyvel's words come as bytes."""
    return " ".join(word.decode(errors="replace") if isinstance(word, bytes) else str(word) for word in error.args)
