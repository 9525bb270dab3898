"""Stop a training after it has saved its work."""

import contextlib
import time

from infra.aws.types import Instance
from infra.docker_engine import open_remote
from infra.errors import RunError
from provision.clouds import Session
from provision.files import guard
from provision.machines import login
from provision.runs import standing
from provision.runs.follow import Watch
from provision.runs.manifest import Attempt, Word
from provision.runs.patience import PASSING
from provision.runs.standing import Standing
from provision.runs.store import Run
from provision.training import attempt


def stop(session: Session, run: Run) -> Word:
    """Let the training save its work and end; how the run stands then.

    RunError where it does not run, or has not ended in the time that its recipe gives it and a minute more.
    """
    newest, machine = running(session, run, standing.look(session.cloud, run))
    rule = run.manifest.recipe.stop
    with login.shell(session.cloud, machine) as shell, open_remote(shell) as engine:
        guard.stop(shell, run.id)
        engine.signal(attempt.container_name(run, newest.number), rule.signal)
    session.say(f"{rule.signal} sent; waiting until its work is saved")
    return _wait_ended(session, run, rule.timeout + 60.0)


def running(session: Session, run: Run, now: Standing) -> tuple[Attempt, Instance]:
    """The newest attempt and its machine. RunError where it does not run, or has not begun."""
    if not now.goes_on:
        raise RunError(f"{run.id} does not run: it is {now.word}", _next(session, run, now.word))
    if now.attempt is None or now.machine is None:
        raise RunError(f"{run.id} has not begun to train", f"start it: {session.hint(f'resume {run.id}')}")
    return now.attempt, now.machine


def _wait_ended(session: Session, run: Run, timeout: float) -> Word:
    until, watch = time.monotonic() + timeout, Watch(session.cloud, run)
    while time.monotonic() < until:
        with contextlib.suppress(*PASSING):  # a line that is down for a moment does not end the wait
            if watch.look():
                return watch.word
        time.sleep(0.5)
    raise RunError(
        f"{run.id} did not end within {timeout:g} s",
        f"its last snapshot is in S3; end its machine: {session.hint(f'down {run.manifest.name}')}",
    )


def _next(session: Session, run: Run, word: Word) -> str:
    if word in ("interrupted", "lost", "stopped"):
        return f"go on with it: {session.hint(f'resume {run.id}')}"
    return f"its results: {session.hint(f'fetch {run.id}')}"
