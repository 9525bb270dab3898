"""Scores over iterations as a picture: one line for each metric, the best snapshot marked; classes thin behind it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.errors import MissingExtraError, RunError, UsageError
from provision.files.whole import atomic_file
from provision.tasks.score import Score, best, names

_COLOURS = ("#1f4e8c", "#c8541c", "#2b8a4b", "#7a4fa3", "#8c6d1f", "#a83a6d")
_BEHIND = "#b9c4d0"
_NAMED = 8  # more classes than these are drawn without their names

Line = list[tuple[int, float]]


def lines(scores: Sequence[Score]) -> tuple[dict[str, Line], dict[str, Line]]:
    """Points of the metrics, and of the members of groups; what was not measured is left out."""
    metrics = {name: _line([(score.iteration, score.numbers.get(name)) for score in scores]) for name in names(scores)}
    members = dict.fromkeys((group, name) for score in scores for group, part in score.groups.items() for name in part)
    classes = {
        name: _line([(score.iteration, score.groups.get(group, {}).get(name)) for score in scores])
        for group, name in members
    }
    return {k: v for k, v in metrics.items() if v}, {k: v for k, v in classes.items() if v}


def _line(points: Sequence[tuple[int, float | None]]) -> Line:
    return [(at, value) for at, value in points if value is not None]


def draw(scores: Sequence[Score], target: Path, title: str = "") -> None:
    """Draw into `target` (its suffix is the format; PNG is 1000 x 600 pixels), which appears whole or not at all.

    RunError where nothing was measured; UsageError if `target` is no place or format for a picture;
    MissingExtraError without the extra `plot`.
    """
    metrics, classes = lines(scores)
    if not metrics:
        raise RunError("nothing was measured that could be drawn", "see score.json of each snapshot")
    figure = _figure()
    axis = figure.add_subplot()
    _behind(axis, classes)
    for number, (name, line) in enumerate(metrics.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        axis.plot(*zip(*line, strict=True), color=colour, linewidth=2, marker="o", markersize=5, label=name, zorder=3)
    _mark_best(axis, scores)
    axis.set_xlabel("iteration")
    axis.set_ylabel("score")
    axis.grid(True, color="#e4e4e4", linewidth=0.8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.suptitle(title, x=0.01, ha="left", fontsize=13)
    try:
        with atomic_file(target) as part:
            figure.savefig(part, dpi=100, format=target.suffix[1:] or "png")
    except ValueError as error:
        raise UsageError(f"{target} cannot be drawn: {error}", "name a .png file") from error


def _behind(axis: Any, classes: dict[str, Line]) -> None:
    named = len(classes) <= _NAMED
    for number, (name, line) in enumerate(classes.items()):
        style = ("-", "--", "-.", ":")[number % 4] if named else "-"
        axis.plot(
            *zip(*line, strict=True), color=_BEHIND, linewidth=1.2, linestyle=style,
            label=name if named else "classes" if number == 0 else "_again",
        )  # fmt: skip


def _mark_best(axis: Any, scores: Sequence[Score]) -> None:
    if (found := best(scores)) is None:
        return
    name, score = found
    value = score.numbers[name]
    axis.annotate(
        f"best {name} {value:.4g} at {score.iteration}", (score.iteration, value), xytext=(0, 9), zorder=4,
        textcoords="offset points", ha="right" if score is scores[-1] else "center", fontsize=9, color="#222222",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
    )  # fmt: skip


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("plotting needs matplotlib", "pip install 'provision-spot[plot]'") from error
    return Figure(figsize=(10, 6), layout="constrained")  # without pyplot there is no display to look for
