"""LevelDB databases (`provision.data.databases`), with the block size that Caffe's own writer chooses.

Whoever opens a LevelDB, be it to read, takes a lock and writes into its folder: one process at a time, and never from
a read-only mount. LMDB has neither limit.

The library is plyvel. Its last wheels (1.5.1) are for Python 3.12; those of its fork plyvel-next (2.1, 2026-07) are for
3.12 to 3.14, with the same classes under another name. Newer Pythons have none.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.errors import DiskError, MissingExtraError, UsageError
from provision.data.databases import Records
from provision.data.extras import extra

_BLOCK, _BUFFER = 1 << 16, 1 << 26  # bytes
_PYTHON, _LAST = sys.version_info[:2], (3, 14)  # the one that runs; the newest with wheels of plyvel-next
_MODULE = "plyvel" if _PYTHON < (3, 13) else "plyvel_next"


class LevelWriter:
    """Each batch is one write, on disk when `put` returns."""

    def __init__(self, folder: Path) -> None:
        self._plyvel = library()
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._db: Any = self._plyvel.DB(
                os.fsencode(folder),
                create_if_missing=True,
                block_size=_BLOCK,
                write_buffer_size=_BUFFER,
                max_open_files=100,
            )
        except self._plyvel.Error as error:
            raise self._refused(error) from error

    def put(self, records: Records) -> None:
        try:
            with self._db.write_batch(transaction=True, sync=True) as batch:
                for key, value in records:
                    batch.put(key, value)
        except self._plyvel.Error as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> DiskError | UsageError:
        """LevelDB tells a full disk and a missing right by its words alone."""
        if isinstance(error, self._plyvel.IOError) and "ermission" not in _said(error) and "lock" not in _said(error):
            return DiskError(
                f"no room to write {self._folder}: {_said(error)}",
                "free some disk space, then give the same command again",
            )
        return UsageError(
            f"{self._folder} cannot be written as LevelDB: {_said(error)}", "name a folder that you may write to"
        )

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
        self._plyvel = plyvel = library()
        self._folder = folder
        try:
            self._db: Any = plyvel.DB(os.fsencode(folder), create_if_missing=False, max_open_files=100)
        except plyvel.Error as error:
            raise UsageError(
                f"{folder} cannot be opened as LevelDB: {_said(error)}",
                "copy it again, or make it again: provision data lmdb"
                if isinstance(error, plyvel.CorruptionError)
                else "end the program that has it open, and make its folder writable; else make the database again",
            ) from error

    def __len__(self) -> int:
        return sum(1 for _ in self.keys())

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        with self._told(), self._db.iterator(fill_cache=False, verify_checksums=True) as pairs:
            yield from pairs

    def keys(self) -> Iterator[bytes]:
        with self._told(), self._db.iterator(include_value=False, fill_cache=False) as keys:
            yield from keys

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What is damaged inside shows only when it is read: UsageError."""
        try:
            yield
        except self._plyvel.Error as error:
            what = f"{self._folder} is damaged: {_said(error)}"
            raise UsageError(what, "copy it again, or make it again: provision data lmdb") from error

    def close(self) -> None:
        self._db.close()


def library() -> Any:
    """plyvel, or MissingExtraError, which names the package and how one gets it."""
    try:
        return extra(_MODULE)
    except MissingExtraError as error:
        package = _MODULE.replace("_", "-")
        mend = f"pip install {package}, or all that data needs: pip install 'provision-spot[data]'; or take LMDB"
        if _PYTHON > _LAST:
            newest, this = (".".join(map(str, version)) for version in (_LAST, _PYTHON))
            mend = f"there is none for Python {this}: take Python 3.10 to {newest}, or LMDB"
        raise MissingExtraError(f"LevelDB needs the package {package}", mend) from error


def _said(error: Exception) -> str:
    """The error's text: plyvel gives it as bytes."""
    return " ".join(word.decode(errors="replace") if isinstance(word, bytes) else str(word) for word in error.args)
