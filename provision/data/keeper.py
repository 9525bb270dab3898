"""Records on their way into databases that grow together, and the list of the pictures that made none.

What must survive a kill: every record up to some number is in all databases, and every bad picture up to it is in
bad.txt. So bad.txt is written first, then one database after the other; who goes on takes the lowest last number, and
cuts off what is above it.
"""

import contextlib
import re
from pathlib import Path
from typing import NamedTuple

from infra.disk import writing
from infra.errors import UsageError
from provision.data.backends import writer
from provision.data.databases import Writer
from provision.data.lists import Entry

_BATCH, _BATCH_BYTES = 1000, 1 << 25


class Record(NamedTuple):
    """What an entry came to: a value for each database and the size of the picture, or why there is none."""

    entry: Entry
    values: tuple[bytes, ...] = ()
    size: tuple[int, int] = (0, 0)
    bad: str = ""


class Keeper:
    """Databases in `folder`, one for each name, and what goes into them next. A context manager."""

    def __init__(self, folder: Path, names: list[str], backend: str) -> None:
        self._sinks: list[Writer] = []
        with contextlib.ExitStack() as stack:
            for name in names:
                self._sinks.append(writer(folder / name, backend))
                stack.callback(self._sinks[-1].close)
            self._bad_file = folder / "bad.txt"
            self.done = self._agreed()
            self.bad = self._bad_before()
            self._close = stack.pop_all()
        self._batch: list[Record] = []
        self._bytes = 0
        self._new_bad: list[str] = []

    def __enter__(self) -> "Keeper":
        return self

    def __exit__(self, *_: object) -> None:
        self._close.close()

    def take(self, record: Record) -> None:
        """Keep this record, whose entry's number is above all before it."""
        if record.bad:
            words = (str(record.entry.number), record.entry.path, record.bad)
            self._new_bad.append("\t".join(re.sub(r"[\t\r\n]", " ", word) for word in words))
            return
        self._batch.append(record)
        self._bytes += sum(len(value) for value in record.values)
        if len(self._batch) >= _BATCH or self._bytes >= _BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._new_bad:
            with writing(self._bad_file), self._bad_file.open("a", encoding="utf-8", errors="surrogateescape") as file:
                file.writelines(f"{line}\n" for line in self._new_bad)
            self.bad += self._new_bad
        for place, sink in enumerate(self._sinks):
            sink.put([(record.entry.key, record.values[place]) for record in self._batch])
        if self._batch:
            self.done = self._batch[-1].entry.number
        self._batch, self._bytes, self._new_bad = [], 0, []

    def _agreed(self) -> int:
        """The highest number that is in all databases, -1 if none is; what is above it goes."""
        lasts = [sink.last() for sink in self._sinks]
        known = [last for last in lasts if last is not None]
        agreed = min(known) if len(known) == len(lasts) else None
        for sink in self._sinks:
            sink.trim(agreed)
        return -1 if agreed is None else number_of(agreed)

    def _bad_before(self) -> list[str]:
        if not self._bad_file.exists():
            return []
        lines = self._bad_file.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
        kept = [line for line in lines if line.count("\t") == 2 and int(line.split("\t")[0]) < self.done]
        self._bad_file.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8", errors="surrogateescape")
        return kept


def number_of(key: bytes) -> int:
    """The number in a record's key. UsageError where the key does not begin with one."""
    digits = key.partition(b"_")[0]
    if not digits.isdigit():
        raise UsageError(f"the key {key!r} does not begin with a number", "this database was not made by provision")
    return int(digits)
