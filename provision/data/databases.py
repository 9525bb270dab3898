"""LMDB and LevelDB behind one seam: what is written in order, 1000 records at a time, and read back.

A `Writer` takes batches of records with rising keys; each batch is on disk whole or not at all. After a kill, `last`
is the key to go on after. A `Reader` knows which of the two a folder holds by its files.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from infra.errors import UsageError

BACKENDS = ("lmdb", "leveldb")
Records = Sequence[tuple[bytes, bytes]]


class Writer(Protocol):
    """A database that grows."""

    def put(self, records: Records) -> None:
        """Keep these, all or none; their keys rise, and are above all there are. DiskError where the disk is full."""

    def last(self) -> bytes | None:
        """The highest key; None where there is nothing."""

    def trim(self, after: bytes | None) -> None:
        """Forget all records with keys above this one; all of them, where it is None."""

    def close(self) -> None: ...


class Reader(Protocol):
    """A database that is there."""

    backend: str

    def __len__(self) -> int: ...

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values in the order in which Caffe reads them."""

    def keys(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...


def writer(folder: Path, backend: str) -> Writer:
    """The database in `folder`, made where there is none. MissingExtraError without the backend's library."""
    if backend == "leveldb":
        from provision.data.leveldb import LevelWriter

        return LevelWriter(folder)
    from provision.data.lmdb_store import LmdbWriter

    return LmdbWriter(folder)


def reader(folder: Path) -> Reader:
    """The database in `folder`. UsageError where there is none, or one that cannot be read."""
    found = backend_of(folder)
    if found == "lmdb":
        from provision.data.lmdb_store import LmdbReader

        return LmdbReader(folder)
    if found == "leveldb":
        from provision.data.leveldb import LevelReader

        return LevelReader(folder)
    if not folder.exists():
        raise UsageError(f"{folder} is not there", "make it: provision data lmdb LIST DIR")
    pairs = (
        [str(one) for one in sorted(folder.iterdir()) if one.is_dir() and backend_of(one)] if folder.is_dir() else []
    )
    mend = f"it holds some: {', '.join(pairs)}" if pairs else "make one: provision data lmdb LIST DIR"
    raise UsageError(f"{folder} holds no LMDB or LevelDB database", mend)


def backend_of(folder: Path) -> str | None:
    """Which database a folder holds: lmdb, leveldb or None."""
    if (folder / "data.mdb").is_file():
        return "lmdb"
    return "leveldb" if (folder / "CURRENT").is_file() else None
