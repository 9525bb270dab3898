"""The numbers of a whole run, over all its attempts."""

from collections.abc import Mapping

import msgspec

from provision.logs import progress
from provision.logs.progress import Progress
from provision.runs import report
from provision.runs.manifest import Word
from provision.runs.store import Run


class Summary(msgspec.Struct, frozen=True):
    """What the log tells in the end. What ends in `before` is the last value before the last resume.

    `first_after_resume` is the iteration of the first number that the program printed after it last resumed.
    """

    run: str
    state: Word
    iterations: int
    max_iter: int | None
    loss: float | None
    accuracy: float | None
    diverged: bool
    accuracy_before: float | None
    iteration_before: int
    resumed_at: int | None
    first_after_resume: int | None
    attempts: int
    goal: Mapping[str, float]

    @property
    def words(self) -> str:
        """The summary as one line."""
        said = f"{self.iterations} iterations in {self.attempts} attempt(s)"
        if self.accuracy is None:
            return said
        said += f", accuracy {self.accuracy:.4f}"
        goal = self.goal.get("accuracy")
        if goal is None or self.state != "finished":
            return said
        return said + (f" (goal {goal} reached)" if self.accuracy >= goal else f" (below the recipe's goal {goal})")


def of(run: Run) -> Summary:
    """The numbers of a run, by its log and its folder in S3; the log is read once, and nothing of it is kept."""
    end, before = Progress(), Progress()
    for event in report.events(run):
        if event.attempt != end.attempt:
            before = end
        end = progress.fold(end, event)
    return Summary(
        run=run.id,
        state=run.state().state,
        iterations=end.iteration,
        max_iter=end.max_iter,
        loss=end.loss,
        accuracy=end.accuracy,
        diverged=end.diverged,
        accuracy_before=before.accuracy,
        iteration_before=before.iteration,
        resumed_at=end.resumed_at,
        first_after_resume=end.first_after_resume,
        attempts=len(run.attempt_keys()),
        goal=dict(run.manifest.recipe.goal),
    )
