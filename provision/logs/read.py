"""Logs as files: a run's (brought from S3 into a temporary file) or any of the user's own, read as often as needed.

A resumed training steps back to its snapshot: what an earlier attempt had told from that iteration on was lost with its
machine, and is told again. `rows` puts the attempts together: it knows from a first, quick reading where each resumed,
marks what was lost, and lets the clock of the training run on. What comes as a stream has that reading on its way in.
"""

import gzip
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from infra.errors import UsageError
from infra.harmless import Plain
from provision.logs import caffe
from provision.logs.caffe import Event, Metric, Resumed

_PIECE = 1 << 16  # larger ones cost page faults, not calls


@dataclass(frozen=True)
class Log:
    """A log on this machine's disk. `name` is what it is called in pictures and tables; `cuts` are its `lost_from`
    where they are known."""

    name: str
    path: Path
    cuts: Mapping[int, int] | None = None

    @cached_property
    def lost_from(self) -> Mapping[int, int]:
        """By attempt: the iteration from which on its numbers were lost. Read once."""
        return _cuts(self.pieces()) if self.cuts is None else self.cuts

    def pieces(self) -> Iterator[bytes]:
        """The log's bytes, unpacked if its name ends in .gz. UsageError where it cannot be read."""
        try:
            with gzip.open(self.path) if self.path.suffix == ".gz" else self.path.open("rb") as data:
                while piece := data.read(_PIECE):
                    yield piece
        except OSError as error:
            raise UsageError(f"{self.path} cannot be read: {error}", "name a log, or a run (provision runs)") from error

    def events(self) -> Iterator[Event]:
        """All events of the log, in order. UsageError where it cannot be read."""
        return caffe.events(self.pieces())


def is_file(word: str) -> bool:
    """Whether a word of the command line means a log file (a folder that `provision fetch` made has one; `-` is the
    standard input) and not a run."""
    return word == "-" or Path(word).is_file() or (Path(word) / "log.txt").is_file()


@contextmanager
def open_file(word: str) -> Iterator[Log]:
    """The log file that a word means."""
    path = Path(word)
    if word == "-":
        with spooled("stdin", iter(lambda: sys.stdin.buffer.read(_PIECE), b"")) as log:
            yield log
    elif path.is_dir():
        yield Log(path.resolve().name, path / "log.txt")
    else:
        yield Log(path.name.removesuffix(".gz").removesuffix(".log"), path)


@contextmanager
def spooled(name: str, pieces: Iterable[bytes]) -> Iterator[Log]:
    """Keep a stream, which can be read only once, in a temporary file for as long as the context lasts."""
    with tempfile.NamedTemporaryFile(prefix="provision-log-") as file:
        cuts = _cuts(_written(pieces, file))
        file.flush()
        yield Log(name, Path(file.name), cuts)


def _written(pieces: Iterable[bytes], file: IO[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        file.write(piece)
        yield piece


class Printer:
    """Writes a log to the standard output, without what a terminal would obey (`infra.harmless`); `raw`: as it is."""

    def __init__(self, raw: bool = False) -> None:
        self._plain = None if raw else Plain()

    def take(self, piece: bytes) -> None:
        """Write the next piece."""
        self._write(piece if self._plain is None else self._plain.take(piece))

    def end(self) -> None:
        """Write what waited for the rest of a character."""
        self._write(b"" if self._plain is None else self._plain.end())

    def _write(self, piece: bytes) -> None:
        sys.stdout.buffer.write(piece)
        sys.stdout.flush()


def copy_to_stdout(log: Log, raw: bool = False) -> None:
    """Write the log to the standard output; `raw`: with its control sequences. UsageError where it cannot be read."""
    printer = Printer(raw)
    for piece in log.pieces():
        printer.take(piece)
    printer.end()


@dataclass
class Row:
    """What was told of one display (phase `train`) or one test. `loss` is the smoothed one of a display. `seconds` of
    training, all attempts together; `lr` is the one in force. Of a vector `values` has the last number, and its name
    is in `vectors`; `weights` has the loss weight of each that is a loss. `lost`: a later attempt resumed from before
    it."""

    attempt: int
    seconds: float
    iteration: int
    phase: str
    net: int = 0
    lr: float | None = None
    loss: float | None = None
    lost: bool = False
    values: dict[str, float] = field(default_factory=dict)
    vectors: set[str] = field(default_factory=set)
    weights: dict[str, float] = field(default_factory=dict)

    def scalars(self) -> dict[str, float]:
        return {name: value for name, value in self.values.items() if name not in self.vectors}


def _cuts(pieces: Iterable[bytes]) -> dict[int, int]:
    """See Log.lost_from."""
    cuts: dict[int, int] = {}
    for event in caffe.starts(pieces):
        if isinstance(event, Resumed) and event.iteration is not None:
            for attempt in range(event.attempt):
                cuts[attempt] = min(cuts.get(attempt, event.iteration), event.iteration)
    return cuts


def rows(log: Log) -> Iterator[Row]:
    """Displays and tests in order, of all attempts put together. UsageError where the log cannot be read."""
    cuts = log.lost_from
    offset, last, attempt = 0.0, 0.0, 0
    for row in _gathered(event for event in log.events() if isinstance(event, Metric)):
        if row.attempt != attempt:
            attempt, offset = row.attempt, last
        row.seconds += offset
        row.lost = row.iteration >= cuts.get(row.attempt, sys.maxsize)
        last = last if row.lost else row.seconds
        yield row


def _gathered(metrics: Iterable[Metric]) -> Iterator[Row]:
    """Numbers that belong together as one row. A test before the first learning rate is told waits for it."""
    row: Row | None = None
    waiting: list[Row] = []
    rate: float | None = None
    for metric in metrics:
        if metric.phase == "solver" and metric.name == "lr":
            rate = metric.value
            if row is not None and _of(row, metric):
                row.lr = rate
            yield from (replace(test, lr=rate) for test in waiting)
            waiting = []
            continue
        if row is None or not _of(row, metric):
            if row is not None:
                if row.lr is None and rate is None:
                    waiting.append(row)
                else:
                    yield from [*waiting, row]
                    waiting = []
            row = Row(metric.attempt, metric.seconds, metric.iteration, _phase(metric), metric.net, rate)
        _add(row, metric)
    yield from waiting
    if row is not None:
        yield row


def _phase(metric: Metric) -> str:
    return "test" if metric.phase == "test" else "train"


def _of(row: Row, metric: Metric) -> bool:
    """Whether a number belongs to a row. Another `loss` of the solver's begins another display."""
    again = metric.phase == "solver" and metric.name == "loss" and row.loss is not None
    same = (row.attempt, row.iteration, row.phase, row.net)
    return not again and same == (metric.attempt, metric.iteration, _phase(metric), metric.net)


def _add(row: Row, metric: Metric) -> None:
    if metric.phase == "solver" and metric.name == "loss":
        row.loss = metric.value
        return
    if metric.name in row.values:
        row.vectors.add(metric.name)
    row.values[metric.name] = metric.value
    if metric.weight is not None:
        row.weights[metric.name] = metric.weight


def plain(value: Any) -> Any:
    """A number for JSON, which has no nan and no inf: those as the texts `nan`, `inf`, `-inf`."""
    odd = isinstance(value, float) and (value != value or value in (float("inf"), float("-inf")))
    return repr(value) if odd else value
