"""What a run's log tells people: a bar while it trains, a summary, a table row, a plot."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from infra.aws.session import Cloud
from infra.errors import RunError
from provision import caffelog, console, diagnose, fetch, follow, logs
from provision.diagnose import Facts, Finding
from provision.follow import Piece
from provision.logs import Event, Metric, Parser, Progress, Resumed
from provision.runs import Run
from provision.watch import Divergence


class Follower:
    """Follows one run over all its attempts, drawing its progress.

    `stop` is called once, when the log shows that the training has diverged: it should save the work and end the
    training. `follow` then raises the diagnosis as a RunError, so that whatever is paid for can be ended.
    """

    def __init__(self, stop: Callable[[], object] | None = None) -> None:
        self._parser = Parser()
        self._progress = Progress()
        self._rest = ""
        self._after = ""
        self._stop = stop
        self._told = False
        self._divergence = Divergence()

    @property
    def iteration(self) -> int:
        return self._progress.iteration

    def follow(self, cloud: Cloud, run: Run) -> str:
        """Until this attempt has ended; how the run stands then. RunError where it was stopped for it diverged."""
        bar = console.TrainingBar()
        try:
            for piece in follow.pieces(cloud, run, self._after):
                self.take(piece, bar)
        finally:
            bar.close()
        self.check(run)
        return follow.outcome(cloud, run)

    def check(self, run: Run) -> None:
        """RunError where the training was stopped for it diverged."""
        if self._stop is not None and self._divergence.seen is not None:
            raise failure(run)

    def take(self, piece: Piece, bar: console.TrainingBar) -> None:
        """The next piece of the log."""
        self._after = piece.key
        text, end, self._rest = (self._rest + piece.text).rpartition("\n")
        for event in self._parser.read((text + end).encode(errors="replace")):
            self._progress = logs.fold(self._progress, event)
            self._divergence.feed(event)
            if isinstance(event, Metric) and (event.phase, event.name) == ("solver", "loss"):
                bar.show(self._progress.iteration, self._progress.max_iter or 0, self._progress.words())
            if self._stop is not None and self._divergence.seen is not None:
                self._say_and_stop(self._divergence.seen.what)

    def _say_and_stop(self, what: str) -> None:
        if not self._told:
            self._told = True
            console.line(f"{what}: stopping it")
            assert self._stop is not None
            self._stop()


def pieces(run: Run) -> Iterator[bytes]:
    """The log over all attempts. The last line of an attempt that was cut off ends with the attempt."""
    before, end = 0, "\n"
    for attempt, text in fetch.log(run):
        if attempt != before and not end.endswith("\n"):
            yield b"\n"
        yield text.encode(errors="replace")
        before, end = attempt, text[-1:] or end


def events(run: Run) -> Iterator[Event]:
    """What the log tells, as it is read: nothing of it is kept."""
    return caffelog.events(pieces(run))


def summary(run: Run) -> dict[str, Any]:
    """The numbers of the whole run; `accuracy_before` is the last one before the last resume."""
    end, before = Progress(), Progress()
    first, waiting = None, False
    for event in events(run):
        if event.attempt != end.attempt:
            before = end
        end = logs.fold(end, event)
        if isinstance(event, Resumed):
            first, waiting = None, True
        elif waiting and isinstance(event, Metric):
            first, waiting = event.iteration, False
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
        "first_after_resume": first,
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


def facts(run: Run) -> Facts:
    """What a diagnosis knows of a run besides its log."""
    state, manifest = run.state(), run.manifest
    gpus = f"{manifest.gpus} GPU(s) of a {manifest.type}" if manifest.gpus else f"no GPU of a {manifest.type}"
    return Facts(
        str(state["state"]), state.get("exit_code"), bool(state.get("out_of_memory")),
        f"the image is {manifest.image}, with {gpus}", manifest.recipe.failures,
    )  # fmt: skip


def diagnosis(run: Run) -> list[Finding]:
    """What went wrong, the cause first."""
    return diagnose.diagnose_pieces(pieces(run), facts(run))


def failure(run: Run) -> RunError:
    """Why it failed: the diagnosis, else the log's last lines."""
    found = diagnosis(run)
    if found and found[0].name != "unknown":
        cause = found[0]
        shown = f"\n    line {cause.line}: {cause.text}" if cause.line else ""
        mend = cause.mends[0] if cause.mends else ""
        return RunError(f"{run.id} failed: {cause.what}{shown}", f"{mend}\n    more: provision diagnose {run.id}")
    tail = deque((line for piece in pieces(run) for line in piece.decode(errors="replace").splitlines()), maxlen=8)
    end = "\n".join("    " + line for line in tail)
    code = run.state().get("exit_code")
    return RunError(f"{run.id} failed with exit code {code}\n{end}", f"the whole log: provision logs {run.id}")


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
