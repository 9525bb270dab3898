"""Image records as Caffe's LMDB databases hold them.

A record's key is its number in eight digits (LMDB sorts by key, so the order is kept), its value a `Datum` of
caffe.proto. The message has five fields that we need, so it is encoded here by hand: the protobuf wire format is a
tag (field number << 3 | type) and a value for each field.
"""

import importlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.errors import MissingExtraError

_VARINT, _BYTES = 0, 2


@dataclass(frozen=True)
class Datum:
    """One image: `data` is channels x height x width bytes, `label` is its class from 0."""

    channels: int
    height: int
    width: int
    data: bytes
    label: int

    def encode(self) -> bytes:
        """The message `caffe.Datum`. The label is written even where it is 0, as Caffe's own tools do."""
        return b"".join(
            (
                _tag(1, _VARINT) + varint(self.channels),
                _tag(2, _VARINT) + varint(self.height),
                _tag(3, _VARINT) + varint(self.width),
                _tag(4, _BYTES) + varint(len(self.data)) + self.data,
                _tag(5, _VARINT) + varint(self.label),
            )
        )


def varint(value: int) -> bytes:
    """A non-negative number, seven bits a byte, lowest first (protobuf's base 128 varint)."""
    if value < 0:
        raise ValueError(f"{value} is negative")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def write(folder: Path, records: Sequence[Datum]) -> None:
    """A new LMDB database in `folder`; the folder appears when it is complete. Same records, same bytes.

    The lock file is taken away: a reader makes its own, or does without one where the folder is read-only; one
    that belongs to another user would stop it.
    """
    lmdb = extra("lmdb")
    with atomic_folder(folder) as part:
        # a page for each record, and some, is more than any tree of them needs; the file grows only as it is used
        room = sum(len(record.data) for record in records) * 2 + (len(records) + 256) * 4096
        with lmdb.open(str(part), map_size=room, mode=0o644) as env, env.begin(write=True) as txn:
            for key, value in encoded(records):
                txn.put(key, value, append=True)
        (part / "lock.mdb").unlink()


def encoded(records: Iterable[Datum]) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of each record, in order."""
    for number, record in enumerate(records):
        yield b"%08d" % number, record.encode()


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A folder to fill that becomes `target` at the end, or vanishes if anything fails.

    `target` must not hold files.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        yield part
        part.rename(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def extra(module: str) -> Any:
    """A module of the extra `data`, or MissingExtraError."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"preparing data needs {module.partition('.')[0]}", "pip install 'provision[data]'"
        ) from error


def _tag(field: int, kind: int) -> bytes:
    return varint(field << 3 | kind)
