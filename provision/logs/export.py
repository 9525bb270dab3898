"""A log's numbers for other programs: CSV, JSON, TensorBoard. All of them stream: memory does not grow with the log."""

import csv
import json
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import IO, Any

import msgspec

from infra.errors import MissingExtraError
from infra.harmless import cell
from provision.logs.caffe import Metric
from provision.logs.log import Log
from provision.logs.numbers import plain
from provision.logs.rows import Row, rows

_FIXED = ("NumIters", "Seconds", "LearningRate")


class _Table:
    """A CSV table whose columns are known when its last row is: its body waits in a temporary file."""

    def __init__(self) -> None:
        self._widths: list[tuple[int, int]] = []  # from this row on so many names are known
        self._rows = self._written = 0
        self._body: IO[str] = tempfile.TemporaryFile("w+", newline="", encoding="utf-8")  # noqa: SIM115 closed in write
        self._writer = csv.writer(self._body, lineterminator="\n")
        self._names: dict[str, None] = {}

    def add(self, row: Row) -> None:
        self._names.update(dict.fromkeys(row.values))
        if not self._widths or self._widths[-1][1] < len(self._names):
            self._widths.append((self._rows, len(self._names)))
        self._rows += 1
        rate = "" if row.lr is None else repr(row.lr)
        cells = (cell(row.values.get(name, "")) for name in self._names)
        self._writer.writerow([row.iteration, f"{row.seconds:.6f}", rate, *cells])

    def write(self, target: IO[str]) -> None:
        csv.writer(target, lineterminator="\n").writerow(map(cell, [*_FIXED, *self._names]))
        self._body.seek(0)
        for (_, width), (until, _) in pairwise(self._widths):  # rows before a column came have an empty cell in it
            for line in islice(self._body, until - self._written):
                target.write(line.rstrip("\n") + "," * (len(self._names) - width) + "\n")
            self._written = until
        shutil.copyfileobj(self._body, target)
        self._body.close()


@dataclass
class _Tables:
    """Tables by name (train, test, test1 for the second test net …). `bare` are those of displays and tests without
    outputs, as nets without any print them. `lost` rows a resumed attempt told again; `back` is the first iteration at
    which a display stepped back although nothing was resumed."""

    whole: defaultdict[str, _Table] = field(default_factory=lambda: defaultdict(_Table))
    bare: defaultdict[str, _Table] = field(default_factory=lambda: defaultdict(_Table))
    lost: int = 0
    back: int | None = None
    _last: tuple[int, int] = (-1, 0)

    def take(self, row: Row) -> None:
        if row.phase == "train":
            attempt, at = self._last
            if attempt == row.attempt and row.iteration < at and self.back is None:
                self.back = row.iteration
            self._last = row.attempt, row.iteration
        if row.lost:
            self.lost += 1
            return
        summed = row.values.pop("test loss", row.loss)  # Caffe's own sum, no output of the net
        tables = self.whole if row.values else self.bare
        if not row.values and summed is not None:
            row.values["loss"] = summed
        if row.values:
            tables[f"{row.phase}{row.net or ''}"].add(row)

    def all(self) -> dict[str, _Table]:
        found = {**self.bare, **self.whole}
        return dict(sorted(found.items(), key=lambda table: (not table[0].startswith("train"), table[0])))


@dataclass(frozen=True)
class Written:
    """Tables: their `files`, how many there were, how many rows were left out because a resumed attempt told them again
    (`lost`), and where iterations step `back` without a resume (two solvers write one log)."""

    files: list[Path]
    tables: int
    lost: int
    back: int | None


Whole = Callable[[Path], AbstractContextManager[Path]]  # where to make a file so that it appears whole or not at all


def write_csv(log: Log, target: Path | None, before: str = "", whole: Whole = nullcontext) -> Written:
    """Displays and tests as tables with the header of Caffe's parse_log: NumIters, Seconds (of training),
    LearningRate, the net's outputs; one that a spreadsheet would take for a formula has an apostrophe in front. The
    files are TARGET.train.csv, TARGET.test.csv …, or all goes to the standard output with an empty line between, and
    with `before` in front of them all. Errors are those of `whole`, which puts each file in its place."""
    made = _Tables()
    for row in rows(log):
        made.take(row)
    tables = made.all()
    files: list[Path] = []
    if target is None:
        for table in tables.values():
            sys.stdout.write(before)
            table.write(sys.stdout)
            before = "\n"
    else:
        stem = target.name.removesuffix(".csv")
        files = [_put(table, target.with_name(f"{stem}.{name}.csv"), whole) for name, table in tables.items()]
    return Written(files, len(tables), made.lost, made.back)


def _put(table: _Table, path: Path, whole: Whole) -> Path:
    with whole(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        table.write(file)
    return path


def write_json(logs: Iterable[Log]) -> None:
    """Every number of the logs, one object a line within one array; nan and inf are texts."""
    out = sys.stdout
    begin = "[\n"
    for log in logs:
        for row in _objects(log):
            out.write(begin + json.dumps(row, sort_keys=True))
            begin = ",\n"
    out.write("\n]\n" if begin == ",\n" else "[]\n")
    out.flush()


def _objects(log: Log) -> Iterator[dict[str, Any]]:
    for event in log.events():
        if isinstance(event, Metric):
            found = {key: plain(value) for key, value in msgspec.structs.asdict(event).items()}
            yield found | {"seconds": round(event.seconds, 6), "log": log.name}


def write_tensorboard(logs: Iterable[Log], target: Path) -> dict[str, int]:
    """TensorBoard's event files, a folder in `target` for each log: scalars train/NAME, test/NAME, lr over iterations;
    how many by log, of which one with none gets no folder. Vectors and what was lost are left out. MissingExtraError
    without the extra `tensorboard`."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise MissingExtraError(
            "TensorBoard's files need tensorboardX", "pip install 'provision-spot[tensorboard]'"
        ) from error
    counts: dict[str, int] = {}
    for log in logs:
        begun = log.path.stat().st_mtime
        counts[log.name] = 0
        scalars = _scalars(log)
        if (first := next(scalars, None)) is None:
            continue
        with SummaryWriter(str(target / log.name), flush_secs=3600) as writer:
            for tag, value, row in chain((first,), scalars):
                writer.add_scalar(tag, value, row.iteration, walltime=begun + row.seconds)
                counts[log.name] += 1
    return counts


def _scalars(log: Log) -> Iterator[tuple[str, float, Row]]:
    for row in rows(log):
        if row.lost:
            continue
        folder = f"{row.phase}{row.net or ''}"
        if row.phase == "train" and row.lr is not None:
            yield "lr", row.lr, row
        if row.loss is not None:
            yield f"{folder}/smoothed_loss", row.loss, row
        for name, value in row.scalars().items():
            yield f"{folder}/{name}", value, row
