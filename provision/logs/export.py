"""A log's numbers for other programs: CSV, JSON, TensorBoard. All of them stream: memory does not grow with the log."""

import csv
import json
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from infra.errors import MissingExtraError, UsageError
from infra.harmless import cell
from provision.logs.caffe import Metric
from provision.logs.read import Log, Row, plain, rows

_FIXED = ("NumIters", "Seconds", "LearningRate")


class _Table:
    """A CSV table whose columns are known when its last row is: its body waits in a temporary file."""

    def __init__(self) -> None:
        self._body: IO[str] = tempfile.TemporaryFile("w+", newline="", encoding="utf-8")  # noqa: SIM115 closed in write
        self._writer = csv.writer(self._body, lineterminator="\n")
        self._names: dict[str, None] = {}

    def add(self, row: Row) -> None:
        self._names.update(dict.fromkeys(row.values))
        rate = "" if row.lr is None else repr(row.lr)
        cells = (cell(row.values.get(name, "")) for name in self._names)
        self._writer.writerow([row.iteration, f"{row.seconds:.6f}", rate, *cells])

    def write(self, target: IO[str]) -> None:
        csv.writer(target, lineterminator="\n").writerow(map(cell, [*_FIXED, *self._names]))
        self._body.seek(0)
        shutil.copyfileobj(self._body, target)
        self._body.close()


def _tables(log: Log) -> tuple[dict[str, _Table], int]:
    """Tables by name (train, test, test1 for the second test net …), and how many rows were lost."""
    tables: dict[str, _Table] = {}
    lost = 0
    for row in rows(log):
        row.values.pop("test loss", None)  # Caffe's own sum, no output of the net
        if row.lost or not row.values:
            lost += row.lost
            continue
        name = f"{row.phase}{row.net or ''}"
        if name not in tables:
            tables[name] = _Table()
        tables[name].add(row)
    return dict(sorted(tables.items(), key=lambda table: not table[0].startswith("train"))), lost


def write_csv(log: Log, target: Path | None) -> tuple[list[Path], int]:
    """Displays and tests as tables with the header of Caffe's parse_log: NumIters, Seconds (of training),
    LearningRate, the net's outputs; one that a spreadsheet would take for a formula has an apostrophe in front. The
    files are TARGET.train.csv, TARGET.test.csv …, or all goes to the standard output with an empty line between. Rows
    that a later attempt told again are left out; the second result is their number."""
    tables, lost = _tables(log)
    if target is None:
        for number, table in enumerate(tables.values()):
            sys.stdout.write("\n" * bool(number))
            table.write(sys.stdout)
        return [], lost
    stem = target.name.removesuffix(".csv")
    return [_put(table, target.with_name(f"{stem}.{name}.csv")) for name, table in tables.items()], lost


def _put(table: _Table, path: Path) -> Path:
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", newline="", encoding="utf-8") as file:
            table.write(file)
        return part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", "name a file in a folder that is there"
        ) from error


def write_json(logs: Iterable[Log]) -> None:
    """Every number of the logs, one object a line within one array; nan and inf are texts."""
    out = sys.stdout
    begin = "[\n"
    for row in _objects(logs):
        out.write(begin + json.dumps(row, sort_keys=True))
        begin = ",\n"
    out.write("\n]\n" if begin == ",\n" else "[]\n")
    out.flush()


def _objects(logs: Iterable[Log]) -> Iterator[dict[str, Any]]:
    for log in logs:
        for event in log.events():
            if isinstance(event, Metric):
                found = {key: plain(value) for key, value in msgspec.structs.asdict(event).items()}
                yield found | {"seconds": round(event.seconds, 6), "log": log.name}


def write_tensorboard(logs: Iterable[Log], target: Path) -> dict[str, int]:
    """TensorBoard's event files, a folder in `target` for each log: scalars train/NAME, test/NAME, lr over iterations;
    how many by log. Vectors and what was lost are left out. MissingExtraError without the extra `tensorboard`."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise MissingExtraError(
            "TensorBoard's files need tensorboardX", "pip install 'provision-spot[tensorboard]'"
        ) from error
    counts: dict[str, int] = {}
    for log in logs:
        begun = log.path.stat().st_mtime
        with SummaryWriter(str(target / log.name), flush_secs=3600) as writer:
            for tag, value, row in _scalars(log):
                writer.add_scalar(tag, value, row.iteration, walltime=begun + row.seconds)
                counts[log.name] = counts.get(log.name, 0) + 1
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
