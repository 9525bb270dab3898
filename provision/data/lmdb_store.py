"""LMDB databases that grow as they are written (`provision.data.databases`)."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infra.errors import DiskError, UsageError
from provision.data.databases import Records
from provision.data.extras import extra

_ROOM = 1 << 28  # bytes of address space to begin with; doubled when full. The file is as large as its content


class LmdbWriter:
    """Each batch is a transaction, on disk when `put` returns."""

    def __init__(self, folder: Path) -> None:
        self._lmdb = extra("lmdb")
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._env: Any = self._lmdb.open(os.fsencode(folder), map_size=_ROOM, mode=0o644)

    def put(self, records: Records) -> None:
        while True:
            try:
                with self._env.begin(write=True) as txn:
                    for key, value in records:
                        txn.put(key, value, append=True)
                return
            except self._lmdb.MapFullError:
                self._env.set_mapsize(2 * self._env.info()["map_size"])
            except self._lmdb.Error as error:
                # a commit that the disk has no room for ends as "Input/output error": LMDB's write was cut short
                if not isinstance(error, self._lmdb.DiskError) and "Input/output error" not in str(error):
                    raise
                raise DiskError(
                    f"no room to write {self._folder}: {error}",
                    "free some disk space, then convert again with --resume",
                ) from error

    def last(self) -> bytes | None:
        with self._env.begin() as txn, txn.cursor() as cursor:
            return bytes(cursor.key()) if cursor.last() else None

    def trim(self, after: bytes | None) -> None:
        with self._env.begin(write=True) as txn, txn.cursor() as cursor:
            more = cursor.last()
            while more and (after is None or cursor.key() > after):
                cursor.delete()
                more = cursor.last()

    def close(self) -> None:
        """The lock file goes: one that belongs to another user would stop a reader (see lmdb_writer.write)."""
        self._env.close()
        (self._folder / "lock.mdb").unlink(missing_ok=True)


class LmdbReader:
    """Reads without a lock: a folder that may not be written is no trouble."""

    backend = "lmdb"

    def __init__(self, folder: Path) -> None:
        lmdb = extra("lmdb")
        try:
            self._env: Any = lmdb.open(os.fsencode(folder), readonly=True, lock=False)
        except lmdb.Error as error:
            raise UsageError(
                f"{folder} cannot be read as LMDB: {error}", "make it again: provision data lmdb"
            ) from error

    def __len__(self) -> int:
        return int(self._env.stat()["entries"])

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        with self._env.begin() as txn, txn.cursor() as cursor:
            yield from cursor.iternext()

    def keys(self) -> Iterator[bytes]:
        with self._env.begin() as txn, txn.cursor() as cursor:
            yield from cursor.iternext(values=False)

    def close(self) -> None:
        self._env.close()
