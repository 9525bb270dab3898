"""A log's numbers as curves, thinned as they are read: of some neighbours the lowest and the highest stay, so that a
picture of a very long log takes no more memory than one of a short log."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Literal, NamedTuple

from provision.logs.meaning import Kind, kind, named_loss
from provision.logs.read import Log, Row, rows

Point = tuple[float, float]
Points = list[Point]
Over = Literal["iteration", "seconds"]

_MANY = 500  # lowest and highest of two pixels of a picture; a jagged line of twice as many takes 10 MB to draw


@dataclass
class Curve:
    """Points of one number of one attempt; `lost` where a later attempt told them again. `phase` is train or test, or
    solver for the summed loss and the learning rate; `weight` is the loss weight, where one was told. Of each `per`
    neighbours the lowest and the highest are kept."""

    log: str
    label: str
    attempt: int
    lost: bool
    phase: str = "solver"
    name: str = ""
    weight: float | None = None
    kind: Kind = "loss"
    per: int = 1
    last: float = 0.0
    _pairs: list[tuple[Point, Point]] = field(default_factory=list)
    _in_last: int = 0

    @property
    def points(self) -> Points:
        """The kept points, in order."""
        return [point for pair in self._pairs for point in sorted(set(pair))]

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest value."""
        return min(low for (_, low), _ in self._pairs), max(high for _, (_, high) in self._pairs)

    def add(self, at: float, value: float) -> None:
        point, self.last = (at, value), value
        if self._in_last % self.per:
            self._pairs[-1] = _ends(*self._pairs[-1], point)
        else:
            if len(self._pairs) == _MANY:
                self._pairs = [
                    _ends(*pair, *other) for pair, other in zip(self._pairs[::2], self._pairs[1::2], strict=True)
                ]
                self.per *= 2
            self._pairs.append((point, point))
            self._in_last = 0
        self._in_last += 1


def _ends(*points: Point) -> tuple[Point, Point]:
    return min(points, key=itemgetter(1)), max(points, key=itemgetter(1))


class _Told(NamedTuple):
    """One number of a row, with what it belongs to."""

    label: str
    value: float
    phase: str = "solver"
    name: str = ""
    weight: float | None = None


def curves(log: Log, over: Over = "iteration") -> list[Curve]:
    """The log's curves, over `iteration` or `seconds` of training. nan and inf are left out, and so are the training's
    single losses: the sum that the solver displays stands for them."""
    found: dict[tuple[str, str, int, bool], Curve] = {}
    for row in rows(log):
        for told in _numbers(row):
            if math.isfinite(told.value):
                key = (told.phase, told.label, row.attempt, row.lost)
                curve = found.get(key)
                if curve is None:
                    curve = Curve(log.name, told.label, row.attempt, row.lost, told.phase, told.name, told.weight)
                    found[key] = curve
                curve.add(row.iteration if over == "iteration" else row.seconds, told.value)
    return [
        curve for curve in _with_kinds(list(found.values())) if not (curve.phase == "train" and curve.kind == "loss")
    ]


def _with_kinds(found: list[Curve]) -> Iterator[Curve]:
    """The curves with their kinds, which only all attempts of a number tell together."""
    told = any(curve.weight is not None for curve in found)
    for curve in found:
        if curve.phase != "solver":
            ends = [other.ends for other in found if (other.phase, other.label) == (curve.phase, curve.label)]
            low, high = min(low for low, _ in ends), max(high for _, high in ends)
            curve = replace(curve, kind=kind(curve.name, curve.weight, low, high, weights_told=told))
        yield curve


def _numbers(row: Row) -> Iterable[_Told]:
    """What a row tells. A vector's numbers are no curve."""
    if row.phase == "train":
        if row.loss is not None:
            yield _Told("train loss", row.loss)
        if row.lr is not None:
            yield _Told("learning rate", row.lr)
    losses = row.weights or {name for name in row.values if named_loss(name)}
    if any(math.isnan(row.values[name]) for name in losses):
        return  # Caffe calls a net whose output is nan right every time
    net = f" (net {row.net})" if row.net else ""
    for name, value in row.scalars().items():
        weight = row.weights.get(name)
        if name == "test loss":  # Caffe's own sum: worth a curve where it is one of several losses
            if len(row.weights) == 1 or "loss" in row.values:
                continue
            weight = 1.0 if row.weights else None
        yield _Told(_label(row.phase, name, weight) + net, value, row.phase, name, weight)


def _label(phase: str, name: str, weight: float | None) -> str:
    if phase == "train":
        return f"train {name}"
    return f"test {name}" if name == "loss" or (weight is not None and not name.startswith("test ")) else name
