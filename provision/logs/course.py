"""The course of a training: every number of its log over iterations, its attempts joined, in constant memory.

A resumed attempt takes back what came after its snapshot; a start from iteration 0 without a snapshot is another
training, and the one before it is forgotten.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from provision.logs.events import Ended, Event, Metric, Planned, Resumed
from provision.logs.meaning import Kind, kind, main_score
from provision.logs.series import Series

_MOST_NAMES = 200
_DISPLAYS, _ITERATIONS = 20, 200  # fewer tell no course
# Of 34 nets of 1000 classes that learnt (public logs of 2015 to 2017: CaffeNet, ResNet, SqueezeNet and kin) the loss
# stood at ln 1000 for 0 to 1,500 iterations, of one for 2,700
_BEGUN, _SHARE, _LONG = 3_000, 0.2, 20_000
_SHAPES = re.compile(rb"Top shape: (\d{1,9}) (\d{1,9})(?: \d{1,9})* \(\d+\)|with loss weight ")
_WEIGHTS = (b"Finetuning from ", b"Copying source layer ")  # of caffe.cpp and of net.cpp


class Place(NamedTuple):
    """Where an output's numbers come from: phase (train, test), number of the test net, name."""

    phase: str
    net: int
    name: str


@dataclass
class Output:
    """An output's numbers; `weight` is its loss weight, where one was told; a `vector` tells several at once."""

    series: Series = field(default_factory=Series)
    weight: float | None = None
    vector: bool = False
    told: tuple[int, int] = (-1, -1)  # attempt and iteration of the last number
    lost: int = 0  # numbers in a row that were not finite
    lost_at: int = 0  # iteration of the first of them

    def take(self, metric: Metric) -> None:
        now = (metric.attempt, metric.iteration)
        self.vector |= now == self.told
        self.told = now
        self.weight = metric.weight if metric.weight is not None else self.weight
        if metric.value - metric.value == 0:
            self.lost = 0
        else:
            self.lost_at = self.lost_at if self.lost else metric.iteration
            self.lost += 1
        self.series.add(metric.iteration, metric.value)


@dataclass
class Course:
    """Feed it the events in order, and the text of the log's heads."""

    loss: Series = field(default_factory=Series)  # the solver's sum
    rate: Series = field(default_factory=Series)
    outputs: dict[Place, Output] = field(default_factory=dict)
    max_iter: int | None = None
    ended: bool = False  # at max_iter
    classes: int = 0  # channels of the last blob before the last loss: a softmax loss's classes; 0: not told
    from_weights: bool = False
    begun: int = 0  # iteration of the first display
    last: int = -1  # iteration of the last display
    attempt: int = 0
    _resumed: bool = False
    _channels: int = 0
    _back: bool = False  # a resumed attempt has told no number yet

    def head(self, text: bytes) -> None:
        """Take in what the log's head tells of the net and its weights. Costs little where there is no head."""
        self.from_weights |= any(word in text for word in _WEIGHTS)
        if b"Top shape: " in text:
            for batch, channels in _SHAPES.findall(text):
                if batch:
                    self._channels = int(channels)
                elif self._channels:
                    self.classes = self._channels

    def feed(self, event: Event) -> None:
        """Take one event in."""
        if event.attempt != self.attempt:
            self.attempt, self.ended = event.attempt, False
        if isinstance(event, Metric):
            self._metric(event)
        elif isinstance(event, Planned):
            self.max_iter = event.max_iter
        elif isinstance(event, Resumed):
            self._resumed = self._back = True
            if event.iteration is not None:
                self._cut(event.iteration)
        elif isinstance(event, Ended):
            self.ended = not event.early

    def _metric(self, metric: Metric) -> None:
        if metric.iteration < self.last:
            self._step_back(metric.iteration)
        self._back = False
        if metric.phase != "solver":
            self._output(metric)
        elif metric.name == "lr":
            self.rate.add(metric.iteration, metric.value)
        elif metric.name == "loss":
            self.begun = self.begun if self.loss.count else metric.iteration
            self.last = metric.iteration
            self.loss.add(metric.iteration, metric.value)

    def _output(self, metric: Metric) -> None:
        key: Any = (metric.phase, metric.net, metric.name)  # equal to the Place, and made more quickly
        output = self.outputs.get(key)
        if output is None:
            if len(self.outputs) >= _MOST_NAMES:
                return
            output = self.outputs[Place(*key)] = Output()
        output.take(metric)

    def _step_back(self, at: int) -> None:
        """Iterations went back: to a snapshot, or to the start of another training."""
        if self._back:
            self._cut(at)
        elif at == 0:
            self.loss, self.rate, self.outputs = Series(), Series(), {}
            self._resumed, self.last = False, -1

    def _cut(self, at: int) -> None:
        for series in (self.loss, self.rate, *(output.series for output in self.outputs.values())):
            series.cut(at)
        self.last = min(self.last, at - 1)

    @property
    def whole(self) -> bool:
        """Whether the log has the training from its first iteration on."""
        return self.begun == 0 and self.loss.count > 0

    @property
    def from_scratch(self) -> bool:
        """Whether it has the whole training, and that began with the fillers' weights."""
        return self.whole and not self.from_weights

    def judged(self, long: int = _LONG) -> bool:
        """Whether the training is so far that standing still means something: it has ended, or has done a fifth of its
        iterations, or `long`; and _BEGUN."""
        done = self.last - self.begun
        if self.loss.count < _DISPLAYS or done < _ITERATIONS:
            return False
        return self.ended or done >= max(_BEGUN, min(_SHARE * self.max_iter, long) if self.max_iter else long)

    def of_kind(self, wanted: Kind, phase: str) -> Iterator[tuple[str, Output]]:
        """Name and numbers of the outputs of a phase that are losses, scores or measures; no vectors."""
        told = any(output.weight is not None for output in self.outputs.values())
        for place, output in self.outputs.items():
            if place.phase != phase or output.vector or not output.series.count:
                continue
            if place.name == "test loss" and told:
                continue  # Caffe's own sum of what stands beside it
            whole = output.series.whole()
            if kind(place.name, output.weight, whole.low, whole.high, weights_told=told) == wanted:
                yield place.name + (f" (net {place.net})" if place.net else ""), output

    def main_loss(self, phase: str) -> tuple[str, Series] | None:
        """Name and numbers of the loss output with the largest weight, the last of several: the net's own head. Where
        no weights are told: of the output that is called loss."""
        found = list(self.of_kind("loss", phase))
        most = max((abs(output.weight or 0) for _, output in found), default=0)
        own = [
            (name, output.series)
            for name, output in found
            if abs(output.weight or 0) == most and (most or name == "loss")
        ]
        return own[-1] if own else None

    def main_score(self) -> tuple[str, Series] | None:
        """Name and numbers of the tests' score that stands for the training."""
        found = dict(self.of_kind("score", "test"))
        name = main_score(found)
        return (name, found[name].series) if found else None
