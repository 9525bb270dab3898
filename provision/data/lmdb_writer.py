"""Image records as Caffe's LMDB databases hold them.

A record's key is its number in eight digits (LMDB sorts by key, so the order is kept), its value a `Datum`. For what
is in memory; pictures in files become databases by `provision.data.convert`.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from provision.data.datum import Datum, varint
from provision.data.extras import extra
from provision.files.folders import atomic_folder

__all__ = ["Datum", "atomic_folder", "encoded", "extra", "varint", "write"]


def write(folder: Path, records: Sequence[Datum]) -> None:
    """A new LMDB database in `folder`; the folder appears when it is complete. Same records, same bytes.

    The lock file is taken away: a reader makes its own, or does without one where the folder is read-only; one
    that belongs to another user would stop it.
    """
    lmdb = extra("lmdb")
    with atomic_folder(folder) as part:
        # a page for each record, and some, is more than any tree of them needs; the file grows only as it is used
        room = sum(len(record.data) for record in records) * 2 + (len(records) + 256) * 4096
        with lmdb.open(os.fsencode(part), map_size=room, mode=0o644) as env, env.begin(write=True) as txn:
            for key, value in encoded(records):
                txn.put(key, value, append=True)
        (part / "lock.mdb").unlink()


def encoded(records: Iterable[Datum]) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of each record, in order."""
    for number, record in enumerate(records):
        yield b"%08d" % number, record.encode()
