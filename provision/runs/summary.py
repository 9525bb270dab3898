"""The numbers of a whole run, over all its attempts."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from provision.logs import progress
from provision.logs.events import Event
from provision.logs.learning import Learning
from provision.logs.meaning import main_score
from provision.logs.progress import Progress
from provision.logs.reader import Parser
from provision.logs.text import whole_lines
from provision.runs import log
from provision.runs.manifest import Word
from provision.runs.store import AnyRun


class Summary(msgspec.Struct, frozen=True):
    """What the log tells in the end. What ends in `before` is the last value before the last resume.

    `scores` are those of the last test, by name; `score` is the name of the one that stands for the training,
    `accuracy` its value if that is a share of right answers. `first_after_resume` is the iteration of the first number
    that the program printed after it last resumed. `troubles` says what shows that the training did not learn.
    """

    run: str
    state: Word
    iterations: int
    max_iter: int | None
    loss: float | None
    accuracy: float | None
    score: str
    scores: Mapping[str, float]
    diverged: bool
    accuracy_before: float | None
    iteration_before: int
    resumed_at: int | None
    first_after_resume: int | None
    attempts: int
    goal: Mapping[str, float]
    troubles: tuple[str, ...]

    @property
    def words(self) -> str:
        """The summary as one line."""
        said = f"{self.iterations} iterations in {self.attempts} attempt(s)"
        if not self.score:
            return said
        name = "accuracy" if self.accuracy is not None else self.score
        said += f", {name} {self.scores[self.score]:.4f}"
        goal = self.goal.get(name)
        if goal is None or self.state != "finished":
            return said
        reached = self.scores[self.score] >= goal
        return said + (f" (goal {goal} reached)" if reached else f" (below the recipe's goal {goal})")


def _read(parser: Parser, pieces: Iterable[bytes]) -> Iterator[tuple[bytes, list[Event]]]:
    """Whole lines, and the events that they tell."""
    for text in whole_lines(pieces):
        yield text, parser.read(text)
    yield b"", parser.end()


def of(run: AnyRun) -> Summary:
    """The numbers of a run, by its log and its folder; the log is read once, and nothing of it is kept."""
    end, before = Progress(), Progress()
    parser, learning, count = Parser(asked=log.asked(run)), Learning(), 0
    for text, events in _read(parser, log.text(run)):
        learning.read(text, count, events)
        count += text.count(b"\n")
        for event in events:
            if event.attempt != end.attempt:
                before = end
            end = progress.fold(end, event)
    scores = {score.name: score.value for score in end.scores if score.value is not None}
    return Summary(
        run=run.id,
        state=run.state().state,
        iterations=end.iteration,
        max_iter=end.max_iter,
        loss=end.loss,
        accuracy=end.accuracy,
        score=main_score(scores),
        scores=scores,
        diverged=end.diverged,
        accuracy_before=before.accuracy,
        iteration_before=before.iteration,
        resumed_at=end.resumed_at,
        first_after_resume=end.first_after_resume,
        attempts=len(run.attempt_keys()),
        goal=dict(run.manifest.recipe.goal),
        troubles=tuple(trouble.what for trouble in learning.troubles() if trouble.kind == "learning"),
    )
