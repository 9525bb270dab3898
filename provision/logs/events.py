"""What a training's log tells, whoever wrote it: Caffe, its forks or Detectron.

Events are small immutable structs (millions of them are made), equal where their fields are. (attempt, iteration) is
the key of a number: iterations go back when a run is resumed from a snapshot. Numbers are C++'s: nan, -nan, inf and
1e-13 occur and are kept.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import Literal

import msgspec

Phase = Literal["solver", "train", "test"]
Step = Literal["forward", "backward", "update"]


class Event(msgspec.Struct, frozen=True, gc=False):
    """Something that a log tells. `attempt` counts starts of the program from 0; `seconds` since it began to train."""

    attempt: int
    seconds: float


class Planned(Event, frozen=True, gc=False):
    """The solver's settings were read: it will train until `max_iter`."""

    max_iter: int


class Metric(Event, frozen=True, gc=False):
    """A number. Phase `solver`: `loss` (smoothed over some iterations) and `lr`, of Detectron also `eta` (s), `time`
    (s an iteration) and `mem` (MB); `train`, `test`: the net's outputs by name, `output` being the index (a vector
    has many of one name), `net` the test net's number. All numbers of one display have its first line's
    time, all outputs of one test the first one's. `weight` is the loss weight of an output that is a loss
    (`(* 0.3 = 0.6 loss)`); None of any other number."""

    iteration: int
    phase: Phase
    name: str
    value: float
    net: int = 0
    output: int = 0
    weight: float | None = None


class Snapshot(Event, frozen=True, gc=False):
    """A snapshot is being written; `path` is what a resumed training takes. Whether it is whole, its files tell."""

    iteration: int
    path: str


class Resumed(Event, frozen=True, gc=False):
    """The training goes on from a snapshot; `iteration` is that in the snapshot's name, if there is one."""

    path: str
    iteration: int | None


class Ended(Event, frozen=True, gc=False):
    """The training ended by itself: at max_iter, or `early` because it was told to. `said`: by what, where no word of
    Caffe's does."""

    early: bool
    said: str = ""


class Failed(Event, frozen=True, gc=False):
    """The program printed a fatal line."""

    text: str


class DebugInfo(Event, frozen=True, gc=False):
    """A line of Caffe's debug_info: the mean absolute value of a blob's `data` or `diff` (an update has both).

    `iteration` is the one displayed last: the lines of `forward` and `backward` come before their own display.
    """

    iteration: int
    step: Step
    layer: str
    blob: str
    data: float | None = None
    diff: float | None = None


class LayerTime(Event, frozen=True, gc=False):
    """A line of `caffe time`: milliseconds of a layer (or, with no layer, of the whole net) in one direction: forward,
    backward, forward-backward, total."""

    layer: str
    direction: str
    ms: float


class Displays(msgspec.Struct, frozen=True, gc=False):
    """Displays with no other event between them, as columns: each had the smoothed loss, one output and the learning
    rate. The quick form of so many Metrics, for who takes a whole log."""

    attempt: int
    seconds: Sequence[float]
    iterations: Sequence[int]
    losses: Sequence[float]
    outputs: Sequence[int]
    names: Sequence[str]
    values: Sequence[float]
    rates: Sequence[float]
    weights: Sequence[float | None]

    def cut(self, attempt: int, seconds: Sequence[float], begin: int, end: int) -> "Displays":
        """The displays from `begin` to `end`, with their attempt and times."""
        return Displays(
            attempt, seconds, self.iterations[begin:end], self.losses[begin:end], self.outputs[begin:end],
            self.names[begin:end], self.values[begin:end], self.rates[begin:end],
            self.weights[begin:end],
        )  # fmt: skip

    def metrics(self) -> Iterator[Metric]:
        """Loss, output and learning rate of each display, in the order of the log."""
        attempt, seconds, at = repeat(self.attempt), self.seconds, self.iterations
        columns = (
            map(Metric, attempt, seconds, at, repeat("solver"), repeat("loss"), self.losses),
            map(
                Metric,
                attempt,
                seconds,
                at,
                repeat("train"),
                self.names,
                self.values,
                repeat(0),
                self.outputs,
                self.weights,
            ),
            map(Metric, attempt, seconds, at, repeat("solver"), repeat("lr"), self.rates),
        )
        return chain.from_iterable(zip(*columns, strict=True))
