"""LMDB and LevelDB behind one seam: what is written in order, 1000 records at a time, and read back.

A `Writer` takes batches of records with rising keys; each batch is on disk whole or not at all. After a kill, `last`
is the key to go on after. A `Reader` knows which of the two a folder holds by its files.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

Records = Sequence[tuple[bytes, bytes]]


class Writer(Protocol):
    """A database that grows."""

    def put(self, records: Records) -> None:
        """Keep these records, all or none; keys rise above all that are there. DiskError where the disk is full."""

    def last(self) -> bytes | None:
        """The highest key; None where there is no record."""

    def trim(self, after: bytes | None) -> None:
        """Forget all records with keys above this one; all of them, where it is None."""

    def close(self) -> None: ...


class Reader(Protocol):
    """A database that is there, to be read."""

    backend: str

    def __len__(self) -> int: ...

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values in the order in which Caffe reads them."""

    def keys(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...
