"""A training's curves as a picture: loss above, accuracy below, over iterations; where it was resumed, a dashed line.

Each attempt is a line of its own, so that a run that stepped back to a snapshot is shown as it was.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from infra.errors import MissingExtraError, RunError, UsageError
from provision.logs import Event, Metric, Resumed

Points = list[tuple[int, float]]
Curves = dict[str, dict[int, Points]]

_COLOURS = {"train loss": "#8fb3d9", "test loss": "#1f4e8c", "accuracy": "#c8541c"}
_OTHERS = ("#2b8a4b", "#7a4fa3", "#8c6d1f", "#a83a6d")


def curves(events: Iterable[Event]) -> tuple[Curves, list[int]]:
    """Points by curve and attempt, and the iterations at which the training was resumed. nan and inf are left out."""
    found: Curves = {}
    resumed: list[int] = []
    for event in events:
        if isinstance(event, Resumed) and event.iteration is not None:
            resumed.append(event.iteration)
        if isinstance(event, Metric) and (label := _label(event)) and math.isfinite(event.value):
            found.setdefault(label, {}).setdefault(event.attempt, []).append((event.iteration, event.value))
    return found, resumed


def plot(events: Iterable[Event], target: Path, title: str = "") -> None:
    """Draw the curves into `target` (its suffix is the format; PNG is 1000 x 700 pixels).

    RunError if the log has no numbers; UsageError if `target` is no place or format for a picture;
    MissingExtraError without the extra `plot`.
    """
    found, resumed = curves(events)
    if not found:
        raise RunError("the log has no numbers to draw yet", "wait for the first iterations, then try again")
    figure = _figure()
    panels = [
        ("loss", {label: lines for label, lines in found.items() if "loss" in label}),
        ("accuracy", {label: lines for label, lines in found.items() if "accuracy" in label}),
    ]
    panels = [(name, part) for name, part in panels if part]
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (name, part) in zip(axes, panels, strict=True):
        _panel(axis, name, part)
        _mark(axis, resumed, named=axis is axes[0])
    axes[-1].set_xlabel("iteration")
    figure.suptitle(title, x=0.01, ha="left", fontsize=13)
    try:
        figure.savefig(target, dpi=100)
    except (OSError, ValueError) as error:
        raise UsageError(f"{target} cannot be drawn: {error}", "name a .png file in a folder that is there") from error


def _label(event: Metric) -> str | None:
    """The curve that a number belongs to. A vector's numbers are no curve."""
    net = f" (net {event.net})" if event.net else ""
    if event.phase == "solver":
        return "train loss" if event.name == "loss" else None
    if event.phase == "test" and ("loss" in event.name or "accuracy" in event.name):
        name = "test loss" if event.name == "loss" else event.name
        return name + net
    return None


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("plotting needs matplotlib", "pip install 'provision[plot]'") from error
    return Figure(figsize=(10, 7), layout="constrained")  # without pyplot there is no display to look for


def _panel(axis: Any, name: str, part: Curves) -> None:
    for number, label in enumerate(sorted(part, reverse=True)):
        colour = _COLOURS.get(label, _OTHERS[number % len(_OTHERS)])
        attempts = part[label]
        few = max(len(points) for points in attempts.values()) <= 30
        legend = f"{label}, last {attempts[max(attempts)][-1][1]:.4g}"
        for points in attempts.values():
            axis.plot(
                *zip(*points, strict=True), color=colour, label=legend, linewidth=1.6,
                marker="o" if few else None, markersize=5,
            )  # fmt: skip
            legend = "_again"  # matplotlib leaves names with an underscore out of the legend
    axis.set_ylabel(name)
    axis.grid(True, color="#e4e4e4", linewidth=0.8)
    axis.spines[["top", "right"]].set_visible(False)
    if name == "loss" and _spread(part) > 50:
        axis.set_yscale("log")
    axis.legend(frameon=False, loc="best")


def _mark(axis: Any, resumed: list[int], named: bool) -> None:
    for at in resumed:
        axis.axvline(at, color="#555555", linestyle="--", linewidth=1)
        if named:
            axis.annotate(
                f"resumed at {at}", (at, 1), xycoords=("data", "axes fraction"), xytext=(4, -4),
                textcoords="offset points", va="top", rotation=90 if len(resumed) > 3 else 0,
                fontsize=9, color="#333333",
            )  # fmt: skip


def _spread(part: Curves) -> float:
    """Largest by smallest value; 0 where a value is not positive, which a logarithmic axis cannot show."""
    values = [value for lines in part.values() for points in lines.values() for _, value in points]
    return max(values) / min(values) if min(values) > 0 else 0.0
