"""Curves of trainings as pictures: losses above, scores below, or one of the eight charts of Caffe's own plot tool.

Several logs share one picture. Attempts are joined: a curve goes on over a resume, which is marked, and what a later
attempt told again is drawn pale and dashed.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from infra.border import did_you_mean
from infra.errors import RunError, UsageError
from provision.logs.curves import Curve, Over, curves
from provision.logs.picture import Panel, draw
from provision.logs.read import Log

# by the numbers of Caffe's plot_training_log.py: name, title, what is drawn, over what
CHARTS: tuple[tuple[str, str, str, Over], ...] = (
    ("test-accuracy", "Test accuracy vs. Iters", "accuracy", "iteration"),
    ("test-accuracy-seconds", "Test accuracy vs. Seconds", "accuracy", "seconds"),
    ("test-loss", "Test loss vs. Iters", "test loss", "iteration"),
    ("test-loss-seconds", "Test loss vs. Seconds", "test loss", "seconds"),
    ("learning-rate", "Train learning rate vs. Iters", "learning rate", "iteration"),
    ("learning-rate-seconds", "Train learning rate vs. Seconds", "learning rate", "seconds"),
    ("train-loss", "Train loss vs. Iters", "train loss", "iteration"),
    ("train-loss-seconds", "Train loss vs. Seconds", "train loss", "seconds"),
)
_PANELS = {"loss": "loss", "score": "score", "measure": "other numbers"}


def chart_number(word: str) -> int:
    """The number of a chart by its number or name. UsageError for another word."""
    names = [name for name, *_ in CHARTS]
    if word.isdecimal() and int(word) < len(CHARTS):
        return int(word)
    if word in names:
        return names.index(word)
    raise UsageError(f"there is no chart {word!r}", did_you_mean(word, [*names, *map(str, range(len(CHARTS)))]))


def plot(
    logs: Sequence[Log], target: Path, chart: int | None = None,
    whole: Callable[[Path], AbstractContextManager[Path]] = nullcontext,
) -> None:  # fmt: skip
    """Draw the logs into `target` (its suffix is the format; PNG is 1000 pixels wide, and 700 high or more where the
    legend needs it); `whole` tells where to make the file, and puts it in its place.

    RunError if the logs have no such numbers; UsageError if `target` is no place or format for a picture;
    MissingExtraError without the extra `plot`.
    """
    _, heading, wanted, over = CHARTS[chart] if chart is not None else ("", "", "", "iteration")
    found = [curves(log, over) for log in logs]
    panels = _chart(found, heading, wanted) if heading else _panels(found)
    if not panels:
        raise _nothing(any(found), heading, wanted)
    resumed = [sorted(set(log.lost_from.values())) if over == "iteration" else [] for log in logs]
    title = heading or (logs[0].name if len(logs) == 1 else "")
    draw(panels, resumed, target, [log.name for log in logs], title, over, whole)


def _nothing(some: bool, heading: str, wanted: str) -> RunError:
    """The error where nothing can be drawn; `some`: there are curves of another kind."""
    if heading and some:
        mend = "wait for the first ones, or take another chart"
    elif some:
        mend = "its losses are no numbers; see why: provision diagnose FILE"
    else:
        mend = "wait for the first ones, or look at it: provision logs FILE | head"
    return RunError(f"the log has no {wanted or 'numbers'} to draw", mend)


def _panels(found: Sequence[Sequence[Curve]]) -> list[Panel]:
    panels = [
        Panel(
            name, [[curve for curve in part if curve.kind == kind and curve.label != "learning rate"] for part in found]
        )
        for kind, name in _PANELS.items()
    ]
    return [panel for panel in panels if any(panel.curves)]


def _chart(found: Sequence[Sequence[Curve]], heading: str, wanted: str) -> list[Panel]:
    panel = Panel(heading.partition(" vs.")[0].lower(), [[one for one in part if _is(one, wanted)] for part in found])
    return [panel] if any(panel.curves) else []


def _is(curve: Curve, wanted: str) -> bool:
    if wanted in ("train loss", "learning rate"):
        return curve.phase == "solver" and curve.label == wanted
    return curve.phase == "test" and curve.kind == ("score" if wanted == "accuracy" else "loss")
