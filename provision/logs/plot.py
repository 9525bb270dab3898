"""Curves of trainings as pictures: loss above, score below, or one of the eight charts of Caffe's own plot tool.

Several logs share one picture. Attempts are joined: what a later attempt told again is drawn dashed, and each resume is
marked. Curves are thinned as they are read (of some neighbours the lowest and the highest stay), so that a picture of a
very long log takes no more memory than one of a short log.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

from infra.border import did_you_mean
from infra.errors import MissingExtraError, RunError, UsageError
from infra.harmless import plain
from provision.logs.read import Log, Row, rows

Point = tuple[float, float]
Points = list[Point]

# by the numbers of Caffe's plot_training_log.py: name, title, what is drawn, over what
CHARTS = (
    ("test-accuracy", "Test accuracy vs. Iters", "accuracy", "iteration"),
    ("test-accuracy-seconds", "Test accuracy vs. Seconds", "accuracy", "seconds"),
    ("test-loss", "Test loss vs. Iters", "test loss", "iteration"),
    ("test-loss-seconds", "Test loss vs. Seconds", "test loss", "seconds"),
    ("learning-rate", "Train learning rate vs. Iters", "learning rate", "iteration"),
    ("learning-rate-seconds", "Train learning rate vs. Seconds", "learning rate", "seconds"),
    ("train-loss", "Train loss vs. Iters", "train loss", "iteration"),
    ("train-loss-seconds", "Train loss vs. Seconds", "train loss", "seconds"),
)
_COLOURS = {"train loss": "#8fb3d9", "test loss": "#1f4e8c", "accuracy": "#c8541c"}
_OTHERS = ("#1f4e8c", "#c8541c", "#2b8a4b", "#7a4fa3", "#8c6d1f", "#a83a6d", "#3b8ea5", "#555555")
_SCORES = ("accuracy", "detection_eval", "iou", " ap")
_MANY = 500  # lowest and highest of two pixels of a picture; a jagged line of twice as many takes 10 MB to draw


@dataclass
class Curve:
    """Points of one number of one attempt; `lost` where a later attempt told them again. Of each `per` neighbours the
    lowest and the highest are kept."""

    log: str
    label: str
    attempt: int
    lost: bool
    per: int = 1
    last: float = 0.0
    _pairs: list[tuple[Point, Point]] = field(default_factory=list)
    _in_last: int = 0

    @property
    def points(self) -> Points:
        """The kept points, in order."""
        return [point for pair in self._pairs for point in sorted(set(pair))]

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


def curves(log: Log, over: str = "iteration") -> list[Curve]:
    """The log's curves, over `iteration` or `seconds` of training. nan and inf are left out."""
    found: dict[tuple[str, int, bool], Curve] = {}
    for row in rows(log):
        for label, value in _numbers(row):
            if math.isfinite(value):
                key = (label, row.attempt, row.lost)
                curve = found.setdefault(key, Curve(log.name, label, row.attempt, row.lost))
                curve.add(row.iteration if over == "iteration" else row.seconds, value)
    return list(found.values())


def _numbers(row: Row) -> Iterable[tuple[str, float]]:
    """The curves that a row's numbers belong to. A vector's numbers are no curve."""
    if row.phase == "train":
        if row.loss is not None:
            yield "train loss", row.loss
        if row.lr is not None:
            yield "learning rate", row.lr
        return
    net = f" (net {row.net})" if row.net else ""
    if any(math.isnan(value) for value in row.values.values()):
        return  # Caffe calls a net whose output is nan right every time
    for name, value in row.scalars().items():
        if name == "loss" or (name == "test loss" and "loss" not in row.values):
            yield "test loss" + net, value
        elif name != "test loss" and ("loss" in name or _is_score(name)):
            yield name + net, value


def _is_score(label: str) -> bool:
    return any(word in label.lower() for word in _SCORES)


def chart_number(word: str) -> int:
    """The number of a chart by its number or name. UsageError for another word."""
    names = [name for name, *_ in CHARTS]
    if word.isdecimal() and int(word) < len(CHARTS):
        return int(word)
    if word in names:
        return names.index(word)
    raise UsageError(f"there is no chart {word!r}", did_you_mean(word, [*names, *map(str, range(len(CHARTS)))]))


def plot(logs: Sequence[Log], target: Path, chart: int | None = None) -> None:
    """Draw the logs into `target` (its suffix is the format; PNG is 1000 x 700 pixels).

    RunError if the logs have no such numbers; UsageError if `target` is no place or format for a picture;
    MissingExtraError without the extra `plot`.
    """
    _, heading, wanted, over = CHARTS[chart] if chart is not None else ("", "", "", "iteration")
    found = [curve for log in logs for curve in curves(log, over)]
    panels = _chart(found, heading, wanted) if chart is not None else _panels(found)
    if not panels:
        raise RunError(
            f"the log has no {wanted or 'numbers'} to draw", "wait for the first ones, or take another chart"
        )
    figure = _figure()
    resumed = {log.name: sorted(set(log.lost_from.values())) for log in logs} if over == "iteration" else {}
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (name, part) in zip(axes, panels.items(), strict=True):
        _panel(axis, name, part, several=len(logs) > 1)
        _mark(axis, resumed, named=axis is axes[0])
    axes[-1].set_xlabel("iteration" if over == "iteration" else "seconds of training")
    title = heading or (logs[0].name if len(logs) == 1 else "")
    figure.suptitle(_words(title), x=0.01, ha="left", fontsize=13)
    try:
        figure.savefig(target, dpi=100)
    except (OSError, ValueError) as error:
        raise UsageError(f"{target} cannot be drawn: {error}", "name a .png file in a folder that is there") from error


def _panels(found: Sequence[Curve]) -> dict[str, list[Curve]]:
    panels = {
        "loss": [curve for curve in found if "loss" in curve.label],
        "accuracy": [curve for curve in found if _is_score(curve.label) and "loss" not in curve.label],
    }
    return {name: curves for name, curves in panels.items() if curves}


def _chart(found: Sequence[Curve], heading: str, wanted: str) -> dict[str, list[Curve]]:
    scores = wanted == "accuracy"
    part = [curve for curve in found if (_is_score(curve.label) if scores else curve.label.startswith(wanted))]
    return {heading.partition(" vs.")[0].lower(): part} if part else {}


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("plotting needs matplotlib", "pip install 'provision-spot[plot]'") from error
    return Figure(figsize=(10, 7), layout="constrained")  # without pyplot there is no display to look for


def _panel(axis: Any, name: str, part: Sequence[Curve], several: bool) -> None:
    lines: dict[tuple[str, str], list[Curve]] = {}
    for curve in sorted(part, key=lambda curve: (curve.log, curve.label), reverse=not several):
        lines.setdefault((curve.log, curve.label), []).append(curve)
    few = max(len(curve.points) for curve in part) <= 30
    for number, ((log, label), attempts) in enumerate(lines.items()):
        colour = (
            _OTHERS[number % len(_OTHERS)] if several else _COLOURS.get(label, _OTHERS[(number + 2) % len(_OTHERS)])
        )
        kept = [attempt for attempt in attempts if not attempt.lost] or attempts
        legend = _words(f"{log}: {label}" if several else label).lstrip("_")
        legend += f", last {kept[-1].last:.4g}"
        for curve in [*kept, *(attempt for attempt in attempts if attempt.lost and attempt not in kept)]:
            axis.plot(
                *zip(*curve.points, strict=True), color=colour, label=legend, marker="o" if few else None, markersize=5,
                linewidth=1.6, linestyle=(0, (2, 2)) if curve.lost else "-", alpha=0.55 if curve.lost else 1.0,
            )  # fmt: skip
            legend = "_again"  # matplotlib leaves names with an underscore out of the legend
    axis.set_ylabel(name)
    axis.grid(True, color="#e4e4e4", linewidth=0.8)
    axis.spines[["top", "right"]].set_visible(False)
    if "loss" in name and _spread(part) > 50:
        axis.set_yscale("log")
    if len(lines) > 1 or name in ("loss", "accuracy"):
        axis.legend(frameon=False, loc="best")


def _words(text: str) -> str:
    """A name out of a log as matplotlib draws it: a `$` would begin a formula, which may be a wrong one."""
    return plain(text).replace("$", "\\$")


def _mark(axis: Any, resumed: Mapping[str, Sequence[int]], named: bool) -> None:
    marks = [(log, at) for log, places in resumed.items() for at in places]
    for log, at in marks:
        axis.axvline(at, color="#555555", linestyle="--", linewidth=1)
        if named:
            axis.annotate(
                _words(f"{log} resumed at {at}") if len(resumed) > 1 else f"resumed at {at}", (at, 1),
                xycoords=("data", "axes fraction"), xytext=(4, -4), textcoords="offset points", va="top",
                rotation=90 if len(marks) > 3 else 0, fontsize=9, color="#333333",
            )  # fmt: skip


def _spread(part: Sequence[Curve]) -> float:
    """Largest by smallest value; 0 where a value is not positive, which a logarithmic axis cannot show."""
    values = [value for curve in part for _, value in curve.points]
    return max(values) / min(values) if min(values) > 0 else 0.0
