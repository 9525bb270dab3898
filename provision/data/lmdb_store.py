"""LMDB databases that grow as they are written (`provision.data.databases`)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.errors import DiskError, UsageError
from provision.data import lmdb_pages
from provision.data.databases import Records
from provision.data.extras import extra

_ROOM = 1 << 28  # bytes of address space to begin with; doubled when full. The file is as large as its content


class LmdbWriter:
    """Each batch is a transaction, on disk when `put` returns.

    Who writes holds the folder alone (`files.whole`), so LMDB needs no lock file: it maps that into memory, and on a
    full disk is killed where it first touches it (SIGBUS). Nor may one stay: another user's would stop a reader.
    """

    def __init__(self, folder: Path) -> None:
        self._lmdb = extra("lmdb")
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)  # lmdb would make it with the files' mode, and nobody could enter
        try:
            self._env: Any = self._lmdb.open(os.fsencode(folder), map_size=_ROOM, mode=0o644, lock=False)
        except self._lmdb.Error as error:
            raise self._refused(error) from error

    def put(self, records: Records) -> None:
        try:
            while not self._put(records):
                self._env.set_mapsize(2 * self._env.info()["map_size"])
        except self._lmdb.Error as error:
            raise self._refused(error) from error

    def _put(self, records: Records) -> bool:
        """Whether the map had room."""
        try:
            with self._env.begin(write=True) as txn:
                for key, value in records:
                    txn.put(key, value, append=True)
            return True
        except self._lmdb.MapFullError:
            return False

    def _refused(self, error: Exception) -> DiskError | UsageError:
        # a commit that the disk has no room for ends as "Input/output error": LMDB's write was cut short
        if isinstance(error, self._lmdb.DiskError) or any(
            words in str(error) for words in ("Input/output error", "No space left", "quota")
        ):
            return DiskError(
                f"no room to write {self._folder}: {error}", "free some disk space, then give the same command again"
            )
        return UsageError(
            f"{self._folder} cannot be written as LMDB: {error}",
            "LMDB needs a local file system and address space (ulimit -v): name a folder on another disk",
        )

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
        """A lock file of an older version that was killed goes."""
        self._env.close()
        (self._folder / "lock.mdb").unlink(missing_ok=True)


class LmdbReader:
    """Reads without a lock: a folder that may not be written is no trouble."""

    backend = "lmdb"

    def __init__(self, folder: Path) -> None:
        self._lmdb = lmdb = extra("lmdb")
        self._folder = folder
        try:
            self._env: Any = lmdb.open(os.fsencode(folder), readonly=True, lock=False)
        except lmdb.Error as error:
            raise UsageError(
                f"{folder} cannot be read as LMDB: {error}", "make it again: provision data lmdb"
            ) from error
        held = (folder / "data.mdb").stat().st_size
        needed = lmdb_pages.needed(folder / "data.mdb", self._env.stat()["psize"], self._env.info()["last_pgno"])
        if held < needed:  # to read on is to be killed: SIGBUS
            self._env.close()
            what = f"{folder / 'data.mdb'} is cut off: it has {held:,} bytes, and {needed:,} are in use"
            raise UsageError(what, "copy it again, to its end; or make it again: provision data lmdb")

    def __len__(self) -> int:
        return int(self._env.stat()["entries"])

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        with self._told(), self._env.begin() as txn, txn.cursor() as cursor:
            yield from cursor.iternext()

    def keys(self) -> Iterator[bytes]:
        with self._told(), self._env.begin() as txn, txn.cursor() as cursor:
            yield from cursor.iternext(values=False)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What is damaged inside shows only when it is read: UsageError."""
        try:
            yield
        except self._lmdb.Error as error:
            what = f"{self._folder} is damaged: {error}"
            raise UsageError(what, "copy it again, or make it again: provision data lmdb") from error

    def close(self) -> None:
        self._env.close()
