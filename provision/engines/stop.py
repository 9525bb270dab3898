"""Stop a run that AWS keeps: its keeper first, so that nothing is asked for any more, then its training, its machine.

An execution that is stopped clears nothing: what belongs to the launch is ended here, and it is proven that nothing of
it is left.
"""

import contextlib
import time
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial

from infra.aws.session import Cloud
from infra.aws.step_functions import Keeper as Executions
from infra.errors import LeftoverError
from provision.clouds import Session
from provision.console import Say
from provision.machines import down as ending
from provision.machines import rent
from provision.runs import standing
from provision.runs.manifest import ENDED, End, Word
from provision.runs.patience import PASSING
from provision.runs.standing import Keeper, Standing
from provision.runs.store import Run, whoami

_HEARD_S = 75.0  # the guard looks each ten seconds, and pushes what was saved
_LOOK_S = 1.0


def stop(session: Session, run: Run, keeper: Keeper, sleep: Callable[[float], None] = time.sleep) -> Word:
    """Let the training save its work and end, then end its machine with all that belongs to the launch; how the run
    stands then.

    LeftoverError where something is left. What is not saved in the time that the recipe gives is lost, and said. Who
    interrupts the wait for that (Ctrl-C) waits no longer: the machine is ended at once.
    """
    run.ask_to_stop()
    halt(session.cloud, run, keeper, session.say)
    try:
        now = _saved(session, run, sleep)
    except KeyboardInterrupt:
        session.say("its work is not waited for: ending its machine")
        _end(session, run, keeper, standing.read(run), sleep)
        raise
    return _end(session, run, keeper, now, sleep)


def _saved(session: Session, run: Run, sleep: Callable[[float], None]) -> Standing:
    """How the run stands once its work is saved."""
    now = standing.look(session.cloud, run, sleep)
    if now.word != "running":
        return now
    session.say(f"its machine was told to send {run.manifest.recipe.stop.signal}; waiting until its work is saved")
    return _wait_saved(session, run, now, sleep)


def _end(session: Session, run: Run, keeper: Keeper, now: Standing, sleep: Callable[[float], None]) -> Word:
    """End the machine with all that belongs to the launch, and write it down. LeftoverError."""
    name = now.attempt.name if now.attempt else run.manifest.name
    down = partial(ending.down, settle=ending.LATE_S)
    if not rent.undo(session.cloud, name, keeper.keeping.launch, session.say, down):
        raise LeftoverError(f"{name} has not ended", session.hint(f"down {name}"))
    now = standing.look(session.cloud, run, sleep)
    note_end(run, now)
    return now.word


def halt(cloud: Cloud, run: Run, keeper: Keeper, say: Say) -> None:
    """Stop the keeper: from now on nobody asks for a machine for the run."""
    Executions(cloud).stop(keeper.keeping.execution, f"stopped by {whoami()}")
    say(f"the keeper of {run.id} is stopped")


def note_end(run: Run, now: Standing) -> None:
    """Write down that the newest attempt's machine was ended without its keeper: from now on it costs nothing more."""
    if now.attempt is not None and now.attempt.instance and not now.goes_on:
        at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        run.add_end(End(now.attempt.number, now.attempt.instance, now.word, "stopped by a person", at))


def _wait_saved(session: Session, run: Run, now: Standing, sleep: Callable[[float], None]) -> Standing:
    """Wait until the guard says that the training has ended."""
    until = time.monotonic() + run.manifest.recipe.stop.timeout + _HEARD_S
    while now.said not in ENDED and now.word in ("running", "starting"):
        if time.monotonic() > until:
            session.say("its work was not saved in time: its last snapshot is in S3")
            break
        sleep(_LOOK_S)
        with contextlib.suppress(*PASSING):  # a line that is down for a moment ends no wait
            now = standing.glance(session.cloud, run)
    return now
