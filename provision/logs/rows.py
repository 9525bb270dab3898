"""A log's numbers as rows, each a display or a test; attempts are put together, with a clock that runs on."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from provision.logs.caffe import Metric
from provision.logs.log import Log


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
