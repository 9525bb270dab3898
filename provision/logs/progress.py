"""Where a training is, by its log: `Progress` is what a progress bar shows, folded from events of `logs.caffe`."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from provision.logs.caffe import Ended, Event, Failed, Metric, Planned, Resumed, Snapshot
from provision.logs.meaning import is_accuracy, kind, main_score


@dataclass(frozen=True)
class Score:
    """A score of the last test: its name, the output's index, its value; None where one name has several numbers."""

    name: str
    output: int
    value: float | None


@dataclass(frozen=True)
class Progress:
    """Where a training is. Values are None until the log has told them.

    `first_after_resume` is the iteration of the first number that the program printed after it last resumed.
    """

    attempt: int = 0
    iteration: int = 0
    max_iter: int | None = None
    loss: float | None = None
    lr: float | None = None
    test_losses: tuple[tuple[str, float], ...] = ()  # of the last test of the first test net, by name
    scores: tuple[Score, ...] = ()  # of the first test net
    weights_told: bool = False  # the log has loss weights, so that an output without one is no loss
    snapshot: int | None = None
    resumed_at: int | None = None
    first_after_resume: int | None = None
    ended: Ended | None = None
    failed: str = ""
    told: float | None = None  # seconds left, as the program says
    marks: tuple[tuple[int, float], ...] = ()  # the last (iteration, seconds) of this attempt

    @property
    def score(self) -> tuple[str, float] | None:
        """Name and value of the score that stands for the training; `accuracy` whatever the net calls that."""
        found = {score.name: score.value for score in self.scores if score.value is not None}
        name = main_score(found)
        return ("accuracy" if is_accuracy(name) else name, found[name]) if found else None

    @property
    def accuracy(self) -> float | None:
        """The share of right answers, if the last test told one."""
        name, value = self.score or ("", None)
        return value if name == "accuracy" else None

    @property
    def speed(self) -> float | None:
        """Iterations a second over the last marks, tests and snapshots included."""
        if len(self.marks) < 2:
            return None
        (first, begun), (last, now) = self.marks[0], self.marks[-1]
        return (last - first) / (now - begun) if now > begun else None

    @property
    def eta(self) -> float | None:
        """Seconds left, as the program says or at this speed."""
        if self.told is not None:
            return self.told
        if not self.speed or self.max_iter is None:
            return None
        return max(0, self.max_iter - self.iteration) / self.speed

    @property
    def diverged(self) -> bool:
        """Whether the last loss is nan or infinite: nothing good comes after it."""
        shown = () if self.loss is None else (self.loss,)
        return not all(math.isfinite(loss) for loss in (*shown, *(loss for _, loss in self.test_losses)))

    def words(self) -> str:
        """One line for people, without the iteration."""
        parts = [f"loss {self.loss:.4g}" + " (diverged)" * self.diverged] if self.loss is not None else []
        parts += [f"{self.score[0]} {self.score[1]:.4g}"] if self.score is not None else []
        parts += [f"lr {self.lr:.3g}"] if self.lr is not None else []
        parts += [f"{self.speed:.1f} it/s"] if self.speed else []
        parts += [f"{self.eta:.0f} s left"] if self.eta else []
        return "  ".join(parts)


def fold(progress: Progress, event: Event, window: int = 20) -> Progress:
    """The progress after one more event; the speed is that of the last `window` displayed iterations."""
    if event.attempt != progress.attempt:
        progress = replace(progress, attempt=event.attempt, ended=None, failed="", marks=(), resumed_at=None)
    match event:
        case Planned():
            return replace(progress, max_iter=event.max_iter)
        case Metric():
            if progress.resumed_at is not None and progress.first_after_resume is None:
                progress = replace(progress, first_after_resume=event.iteration)
            return _fold_metric(progress, event, window)
        case Snapshot():
            return replace(progress, snapshot=event.iteration, iteration=event.iteration)
        case Resumed(iteration=int(at)):
            return replace(progress, resumed_at=at, iteration=at, first_after_resume=None)
        case Ended():
            return replace(progress, ended=event)
        case Failed():
            return replace(progress, failed=progress.failed or event.text)
    return progress


def _fold_metric(progress: Progress, event: Metric, window: int) -> Progress:
    if event.phase == "solver" and event.name == "loss":
        marks = (*progress.marks, (event.iteration, event.seconds))[-window:]
        return _without_nan(replace(progress, iteration=event.iteration, loss=event.value, marks=marks))
    if event.phase == "solver":
        return _fold_setting(progress, event)
    if event.weight is not None and not progress.weights_told:
        progress = replace(progress, weights_told=True)
    if event.phase == "train" and event.iteration > progress.iteration:  # a program that tells no loss
        marks = (*progress.marks, (event.iteration, event.seconds))[-window:]
        progress = replace(progress, iteration=event.iteration, marks=marks)
    return _fold_test(progress, event) if event.phase == "test" and event.net == 0 else progress


def _fold_test(progress: Progress, event: Metric) -> Progress:
    name, others = event.name, tuple(score for score in progress.scores if score.name != event.name)
    match kind(event.name, event.weight, event.value, event.value, weights_told=progress.weights_told):
        case "loss":
            losses = tuple(loss for loss in progress.test_losses if loss[0] != name)
            return _without_nan(replace(progress, test_losses=(*losses, (name, event.value)), scores=others))
        case "score" if name != "test loss":
            vector = any(score.name == name and score.output != event.output for score in progress.scores)
            score = Score(name, event.output, None if vector else event.value)
            return _without_nan(replace(progress, scores=(*others, score)))
    return replace(progress, scores=others) if len(others) < len(progress.scores) else progress


def _fold_setting(progress: Progress, event: Metric) -> Progress:
    """Detectron tells the time left and the time of an iteration: they give max_iter where no settings were printed."""
    if event.name == "lr":
        return replace(progress, lr=event.value)
    if event.name == "eta":
        return replace(progress, told=event.value)
    if event.name == "time" and progress.told is not None and progress.max_iter is None and event.value > 0:
        return replace(progress, max_iter=event.iteration + round(progress.told / event.value))
    return progress


def _without_nan(progress: Progress) -> Progress:
    """Drop the scores of a diverged net: Caffe counts an output of nan as right every time (accuracy = 1)."""
    return replace(progress, scores=()) if progress.diverged else progress


def progress_of(events: Iterable[Event]) -> Progress:
    """The progress at the end of a log."""
    progress = Progress()
    for event in events:
        progress = fold(progress, event)
    return progress
