"""Panels of curves drawn with matplotlib: one colour or line style for each curve, legends beside the panels."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from infra.errors import MissingExtraError, UsageError
from infra.harmless import plain
from provision.logs.curves import Curve, Points

# M. Okabe, K. Ito: Color Universal Design (2008), told apart by the colour-blind; without yellow, which fades on white
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#333333")
_STYLES: tuple[Any, ...] = ("-", (0, (6, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
_WIDTHS = (1.6, 3.0)
_LOST = (0, (2, 2))
_FIRST = {"score": 1}  # the first colour of a panel
_ENTRY, _PANEL, _LEAST = 0.2, 0.55, 7.0  # inches: a legend's line, what a panel has above and below, the picture
_WIDE, _SIGN = 10.0, 0.082  # inches: the picture, a letter of the legend
_LONGEST = 40  # letters of a name in the legend
_LETTER = 0.011  # width of a letter of the marks' labels, by that of a panel


@dataclass(frozen=True)
class Panel:
    """A panel's name, and its curves by log."""

    name: str
    curves: Sequence[Sequence[Curve]]

    def lines(self) -> dict[tuple[int, str], list[Curve]]:
        """The attempts of each line, by log and label; the training's own come first."""
        found: dict[tuple[int, str], list[Curve]] = {}
        for log, part in enumerate(self.curves):
            for curve in sorted(part, key=lambda curve: curve.phase != "solver"):
                found.setdefault((log, curve.label), []).append(curve)
        return found


def draw(panels: Sequence[Panel], resumed: Sequence[Sequence[int]], target: Path, names: Sequence[str], title: str,
         over: str, whole: Callable[[Path], AbstractContextManager[Path]] = nullcontext) -> None:  # fmt: skip
    """Draw panels with a common x axis. `resumed`: by log, the iterations that it was resumed at; `names`: the logs';
    `whole` tells where to make the file, and puts it in its place. UsageError if `target` is no place or format for a
    picture; MissingExtraError without the extra `plot`."""
    names = [_short(name) for name in _distinct(names)] if len(names) > 1 else []
    counts = [len(panel.lines()) for panel in panels]
    longest = max(len(_named(log, label, names)) for panel in panels for log, label in panel.lines())
    height = sum(max(_ENTRY * count, 2.2) + _PANEL for count in counts)
    figure = _figure(max(_WIDE, 6.8 + _SIGN * (longest + 14)), max(_LEAST, height))
    axes = figure.subplots(
        len(panels), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": [max(count, 8) for count in counts]}
    )[:, 0]
    for axis, panel in zip(axes, panels, strict=True):
        _draw_panel(axis, panel, names)
    _mark(axes, resumed, names)
    axes[-1].set_xlabel("iteration" if over == "iteration" else "seconds of training")
    figure.suptitle(_words(title[:100]), x=0.01, ha="left", fontsize=13)
    try:
        with whole(target) as part:
            figure.savefig(part, dpi=100, format=target.suffix.removeprefix(".") or "png")
    except (OSError, ValueError) as error:
        raise UsageError(f"{target} cannot be drawn: {error}", "name a .png file in a folder that is there") from error


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("plotting needs matplotlib", "pip install 'provision-spot[plot]'") from error
    return Figure(figsize=(width, height), layout="constrained")  # without pyplot there is no display to look for


def _draw_panel(axis: Any, panel: Panel, names: Sequence[str]) -> None:
    lines = panel.lines()
    looks = _looks(list(lines), 0 if names else _FIRST.get(panel.name, 0))
    for (log, label), attempts in lines.items():
        kept = [attempt for attempt in attempts if not attempt.lost] or attempts
        name = f"{_named(log, label, names)}, last {kept[-1].last:.4g}"
        few = sum(len(attempt.points) for attempt in attempts) <= 30
        style = looks[log, label] | {"marker": "o" if few else None, "markersize": 4}
        for points in _joined(kept):
            axis.plot(*zip(*points, strict=True), label=name, **style)
            name = "_again"  # not in the legend
        for attempt in attempts:
            if attempt.lost and attempt not in kept:
                before = [own.points[-1] for own in kept if own.attempt == attempt.attempt]
                style |= {"linestyle": _LOST, "linewidth": 1.0, "alpha": 0.5, "marker": None}
                axis.plot(*zip(*before, *attempt.points, strict=True), **style)
    axis.set_ylabel(panel.name)
    axis.grid(True, color="#e4e4e4", linewidth=0.8)
    axis.spines[["top", "right"]].set_visible(False)
    if panel.name != "score" and "accuracy" not in panel.name and _spread(panel) > 50:
        axis.set_yscale("log")
    axis.legend(
        frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0, fontsize=9, handlelength=2.6
    )


def _looks(lines: Sequence[tuple[int, str]], first: int) -> Mapping[tuple[int, str], dict[str, Any]]:
    """Colour, style and width of each line, all different. Of several logs each has its colour and each label its
    style, as long as there are enough of them."""
    logs, labels = sorted({log for log, _ in lines}), list(dict.fromkeys(label for _, label in lines))
    colours = [*_COLOURS[first:], *_COLOURS[:first]]
    if 1 < len(logs) <= len(colours) and len(labels) <= len(_STYLES):
        return {
            (log, label): {
                "color": colours[logs.index(log)],
                "linestyle": _STYLES[labels.index(label)],
                "linewidth": 1.6,
            }
            for log, label in lines
        }
    looks = [(colour, style, width) for width, style, colour in product(_WIDTHS, _STYLES, colours)]
    return {
        (log, label): dict(
            zip(
                ("color", "linestyle", "linewidth"),
                looks[(log * len(labels) + labels.index(label)) % len(looks)],
                strict=True,
            )
        )
        for log, label in lines
    }


def _joined(kept: Sequence[Curve]) -> list[Points]:
    """The attempts' points as lines: an attempt that goes on where the one before it stopped goes on its line."""
    lines: list[Points] = []
    for attempt in kept:
        points = attempt.points
        if lines and lines[-1][-1][0] <= points[0][0]:
            lines[-1] += points
        else:
            lines.append(points)
    return lines


def _mark(axes: Sequence[Any], resumed: Sequence[Sequence[int]], names: Sequence[str]) -> None:
    """A line in each panel where a log was resumed, and labels above the first; marks near each other share one."""
    marks = sorted((at, log) for log, places in enumerate(resumed) for at in places)
    for axis in axes:
        for at, _ in marks:
            axis.axvline(at, color="#777777", linestyle="--", linewidth=0.9, zorder=0)
    if not marks:
        return
    low, high = axes[0].get_xlim()
    groups: list[list[tuple[int, int]]] = []
    ends = [0.0]  # where the groups' labels end, by the panel's width
    for mark in marks:
        begin = (mark[0] - low) / (high - low)
        if groups and begin < ends[-1]:
            groups[-1].append(mark)
        else:
            groups.append([mark])
            ends.append(0.0)
        ends[-1] = (groups[-1][0][0] - low) / (high - low) + _LETTER * _width(_label(groups[-1], names))
    for group, end in zip(groups, ends[1:], strict=True):
        right = len(groups) == 1 and end > 1.3
        axes[0].annotate(
            _label(group, names), (group[-1 if right else 0][0], 1), xycoords=("data", "axes fraction"),
            xytext=(0, 3), textcoords="offset points", va="bottom", ha="right" if right else "left", fontsize=9,
            color="#333333",
        )  # fmt: skip


def _label(group: Sequence[tuple[int, int]], names: Sequence[str]) -> str:
    """What a group of marks is called: a line for each log, or one for many logs."""
    logs = list(dict.fromkeys(log for _, log in group))
    if len(logs) > 3:
        return f"{len(logs)} logs resumed at {_places(sorted({at for at, _ in group}))}"
    told = [(log, _places([at for at, other in group if other == log])) for log in logs]
    return "\n".join(f"{names[log]} resumed at {places}" if names else f"resumed at {places}" for log, places in told)


def _named(log: int, label: str, names: Sequence[str]) -> str:
    """A line's name in the legend, from which matplotlib leaves out names with an underscore in front."""
    return (f"{names[log]}: {_short(label)}" if names else _short(label)).lstrip("_")


def _places(places: Sequence[int]) -> str:
    return ", ".join(map(str, places)) if len(places) < 4 else f"{places[0]} … {places[-1]} ({len(places)} times)"


def _width(label: str) -> int:
    return max(map(len, label.splitlines()))


def _short(name: str) -> str:
    """A name as it is drawn; the middle of a very long one is left out."""
    return _words(name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2]}…{name[-_LONGEST // 2 :]}")


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, numbered where several are the same."""
    return [
        f"{name} ({names[: at + 1].count(name)})" if names.count(name) > 1 else name for at, name in enumerate(names)
    ]


def _words(text: str) -> str:
    """A name out of a log as matplotlib draws it: a `$` would begin a formula, which may be a wrong one."""
    return plain(text).replace("$", "\\$")


def _spread(panel: Panel) -> float:
    """Largest by smallest value; 0 where a value is not positive, which a logarithmic axis cannot show."""
    ends = [curve.ends for part in panel.curves for curve in part]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    return high / low if low > 0 else 0.0
