"""What a run's log tells people: a bar while it trains, a summary, a table row, a plot."""

from collections.abc import Iterator
from typing import Any

from infra.aws.session import Cloud
from infra.errors import RunError
from provision import console, fetch, follow, logs
from provision.follow import Piece
from provision.logs import Event, Metric, Parser, Progress
from provision.recipe import explain
from provision.runs import Run


class Follower:
    """Follows one run over all its attempts, drawing its progress."""

    def __init__(self) -> None:
        self._parser = Parser()
        self._progress = Progress()
        self._rest = ""
        self._after = ""

    @property
    def iteration(self) -> int:
        return self._progress.iteration

    def follow(self, cloud: Cloud, run: Run) -> str:
        """Until this attempt has ended; how the run stands then."""
        bar = console.TrainingBar()
        try:
            for piece in follow.pieces(cloud, run, self._after):
                self._take(piece, bar)
        finally:
            bar.close()
        return follow.outcome(cloud, run)

    def _take(self, piece: Piece, bar: console.TrainingBar) -> None:
        self._after = piece.key
        *lines, self._rest = (self._rest + piece.text).split("\n")
        for line in lines:
            event = self._parser.feed(line)
            if event is None:
                continue
            self._progress = logs.fold(self._progress, event)
            if isinstance(event, Metric) and (event.phase, event.name) == ("solver", "loss"):
                bar.show(self._progress.iteration, self._progress.max_iter or 0, self._progress.words())


def lines(run: Run) -> Iterator[str]:
    """The log's lines over all attempts. The last line of an attempt that was cut off ends with the attempt."""
    rest, attempt = "", 0
    for number, text in fetch.log(run):
        if number != attempt and rest:
            yield rest
            rest = ""
        attempt = number
        *whole, rest = (rest + text).split("\n")
        yield from whole
    if rest:
        yield rest


def events(run: Run) -> list[Event]:
    return list(logs.parse(lines(run)))


def summary(run: Run) -> dict[str, Any]:
    """The numbers of the whole run; `accuracy_before` is the last one before the last resume."""
    seen = events(run)
    end = logs.progress_of(seen)
    last = max((event.attempt for event in seen), default=0)
    before = logs.progress_of([event for event in seen if event.attempt < last])
    return {
        "run": run.id,
        "state": run.state()["state"],
        "iterations": end.iteration,
        "max_iter": end.max_iter,
        "loss": end.loss,
        "accuracy": end.accuracy,
        "diverged": end.diverged,
        "accuracy_before": before.accuracy,
        "iteration_before": before.iteration,
        "resumed_at": end.resumed_at,
        "first_after_resume": logs.first_iteration_after_resume(seen),
        "attempts": len(run.attempts()),
        "goal": dict(run.manifest.recipe.goal),
    }


def words(found: dict[str, Any]) -> str:
    """The summary as one line."""
    said = f"{found['iterations']} iterations in {found['attempts']} attempt(s)"
    if found["accuracy"] is None:
        return said
    said += f", accuracy {found['accuracy']:.4f}"
    goal = found["goal"].get("accuracy")
    if goal is None or found["state"] != "finished":
        return said
    return said + (f" (goal {goal} reached)" if found["accuracy"] >= goal else f" (below the recipe's goal {goal})")


def failure(run: Run) -> RunError:
    """Why it failed, by the recipe's known failures, else the log's last lines."""
    state = run.state()
    tail = list(lines(run))[-400:]
    known = explain(run.manifest.recipe, tail)
    if state.get("out_of_memory"):
        return RunError(f"{run.id} ran out of the container's memory", "take a machine with more memory")
    if known is not None:
        return RunError(f"{run.id} failed: {known.what}", known.mend)
    end = "\n".join("    " + line for line in tail[-8:])
    return RunError(
        f"{run.id} failed with exit code {state.get('exit_code')}\n{end}", f"the whole log: provision logs {run.id}"
    )


def row(cloud: Cloud, run: Run) -> dict[str, Any]:
    """One run in the table."""
    attempts, snapshots = run.attempts(), run.snapshots()
    return {
        "run": run.id,
        "state": follow.outcome(cloud, run),
        "attempts": len(attempts),
        "snapshot": snapshots[-1].iteration if snapshots else None,
        "machine": attempts[-1].name if attempts else "",
        "created": run.manifest.created,
        "bytes": console.size(sum(one.size for one in run.store.objects(run.prefix))),
    }


def metrics(run: Run) -> list[dict[str, Any]]:
    """Every number of the log."""
    return [vars(event) for event in events(run) if isinstance(event, Metric)]
