"""How long an LMDB file has to be for all of its records to be in it.

LMDB maps the file, and who reads a page beyond its end gets the signal SIGBUS: no error can tell it. A file that is as
long as its last page says is whole. A shorter one may be whole, too, as pages at the end that a transaction made and
gave back are never written: so the tree is followed from its root, by the file's bytes, to the highest page that it
needs.

The layout is that of LMDB 0.9 (mdb.c: MDB_page, MDB_node, MDB_meta) with pointers of 64 bits, little-endian.
"""

import struct
from pathlib import Path
from typing import BinaryIO

_HEAD, _META_ROOT, _META_TXN = 16, 128, 144  # bytes; where the tree's root and the transaction stand in a meta page
_BRANCH, _LEAF, _BIG, _NONE = 0x01, 0x02, 0x01, (1 << 64) - 1


def needed(file: Path, page_size: int, last: int) -> int:
    """Bytes. `last` is the number of the last page that was ever in use."""
    whole = (last + 1) * page_size
    held = file.stat().st_size
    if held >= whole:
        return whole
    with file.open("rb") as opened:
        return (_highest(opened, page_size, held // page_size) + 1) * page_size


def _highest(file: BinaryIO, page_size: int, pages: int) -> int:
    """The highest page of the tree; the first one met that is not among the `pages` which are there ends the search."""
    highest, todo = 1, [_root(file, page_size)]
    while todo:
        page = todo.pop()
        if page == _NONE:
            continue
        highest = max(highest, page)
        if page >= pages:
            return page
        file.seek(page * page_size)
        inner, ends = _followed(file.read(page_size))
        todo += inner
        highest = max([highest, *ends])
    return highest


def _root(file: BinaryIO, page_size: int) -> int:
    """The root of the newer of the two meta pages."""
    found = []
    for number in (0, 1):
        file.seek(number * page_size)
        meta = file.read(_META_TXN + 8)
        if len(meta) == _META_TXN + 8:
            found.append((struct.unpack_from("<Q", meta, _META_TXN)[0], struct.unpack_from("<Q", meta, _META_ROOT)[0]))
    return int(max(found)[1]) if found else _NONE


def _followed(page: bytes) -> tuple[list[int], list[int]]:
    """The pages below a branch; the last pages of a leaf's large values."""
    flags, lower = struct.unpack_from("<HH", page, 10)
    inner, ends = [], []
    for at in struct.unpack_from(f"<{(lower - _HEAD) // 2}H", page, _HEAD):
        low, high, kind, size = struct.unpack_from("<HHHH", page, at)
        if flags & _BRANCH:
            inner.append(low | high << 16 | kind << 32)
        elif flags & _LEAF and kind & _BIG:
            (first,) = struct.unpack_from("<Q", page, at + 8 + size)
            ends.append(first + (_HEAD - 1 + (low | high << 16)) // len(page))
    return inner, ends
