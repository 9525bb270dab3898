"""Image records as Caffe's LMDB databases hold them.

A record's key is its number in eight digits (LMDB sorts by key, so the order is kept), its value a `Datum`. For what
is in memory; pictures in files become databases by `provision.data.convert`.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from provision.data.datum import Datum, varint
from provision.data.lmdb_store import LmdbWriter
from provision.files.whole import atomic_folder

__all__ = ["Datum", "encoded", "varint", "write"]


def write(folder: Path, records: Sequence[Datum]) -> None:
    """A new LMDB database in `folder`; the folder appears when it is complete. Same records, same bytes."""
    with atomic_folder(folder) as part:
        writer = LmdbWriter(part)
        try:
            writer.put(list(encoded(records)))
        finally:
            writer.close()


def encoded(records: Iterable[Datum]) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of each record, in order."""
    for number, record in enumerate(records):
        yield b"%08d" % number, record.encode()
