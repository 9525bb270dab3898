"""Follow a run that AWS keeps, to the end of all that was made for it; or stop it.

The laptop only looks: machines are asked for, replaced and ended by the run's keeper. So an error here, or the laptop's
end, ends no training.
"""

from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from infra.errors import LeftoverError, RunError, UnheardError
from provision.clouds import Session
from provision.console import Say
from provision.engines import stop as engines
from provision.machines import deadline, rent
from provision.runs import follow as following
from provision.runs import standing
from provision.runs.manifest import Word
from provision.runs.patience import PASSING, Clock, Patience
from provision.runs.report import Follower
from provision.runs.standing import Standing
from provision.runs.store import Run
from provision.training import verdict

_WAITS_S = 15.0  # a machine that is there sooner was not waited for
_ENDS_S = 2700.0  # a keeper may look for a quarter of an hour at a machine's end, and as long at what is left
_LOOK_S = 2.0


@dataclass
class Teller:
    """Says what a run's keeper does for it, once each: a machine, an interruption, a wait. `look` gets how the run
    stands, from look to look."""

    say: Say
    clock: Clock = field(default_factory=Clock)
    _on: tuple[int, str] = (0, "")  # the attempt that was told, and its machine
    _ending: int = 0  # the attempt whose interruption was told
    _waiting: int = 0
    _since: float | None = None

    def look(self, now: Standing) -> None:
        """Say what is new."""
        newest = now.attempt
        if newest is None or not now.of_keeper:
            return
        if newest.instance and self._on != (newest.number, newest.instance):
            self._on, self._since = (newest.number, newest.instance), None
            goes_on = f", from iteration {newest.resumed_from}" if newest.resumed_from else ""
            self.say(f"{newest.name}: {newest.instance} in {newest.zone}, attempt {newest.number}{goes_on}")
        if now.kept and now.said == "interrupted" and self._ending != newest.number:
            self._ending = newest.number
            follows = "; another follows" if now.noticed else ""  # what a person or a deadline ends is not replaced
            self.say(f"{now.state.reason or 'interrupted'}: {newest.instance} saves the work and ends{follows}")
        if now.waits and not newest.instance:
            self._wait(now)

    def _wait(self, now: Standing) -> None:
        at, newest = self.clock.now(), now.attempt
        assert newest is not None
        self._since = at if self._since is None else self._since
        if at - self._since >= _WAITS_S and self._waiting != newest.number:
            self._waiting = newest.number
            since = deadline.clock(datetime.fromisoformat(newest.started.replace("Z", "+00:00")))
            self.say(f"waiting for capacity since {since}, attempt {newest.number}")


def follow(session: Session, run: Run, clock: Clock | None = None) -> Word:
    """Follow over all machines until the run has ended, its keeper is over, and nothing of its machines is left; how
    the run stands then.

    RunError where it was stopped for it diverged; the error of `verdict` where its keeper gave it up; LeftoverError
    where something is left; UnheardError where nothing is heard for too long: it may go on.
    """
    clock = clock or Clock()
    stops = partial(_stop_lost, session, run) if run.manifest.settings.diagnose else None
    Follower(stops, told=Teller(session.say, clock).look, clock=clock).follow(session.cloud, run)
    now = _over(session, run, clock)
    _prove_gone(session, run, now)
    if (gave_up := verdict.of(run, now)) is not None:
        raise gave_up
    return now.word


def stop(session: Session, run: Run) -> Word:
    """Stop the run as `provision stop` does: the keeper first, then the training and its machine, proven gone.

    LeftoverError where something is left.
    """
    keeper = standing.keeper_of(session.cloud, run)
    if keeper is None:
        raise RunError(f"nobody keeps {run.id}", f"how it stands: {session.hint('runs')}")
    return engines.stop(session, run, keeper)


def _stop_lost(session: Session, run: Run) -> None:
    """Stop a training that has diverged. UnheardError where AWS does not do it: it may go on, and cost."""
    try:
        stop(session, run)
    except PASSING as error:
        raise UnheardError(
            f"{run.id} has diverged, and could not be stopped: {error.what}",
            f"stop it: {session.hint(f'stop {run.id}')}",
        ) from error


def _over(session: Session, run: Run, clock: Clock) -> Standing:
    """How the run stands once its keeper has ended its machine and cleared up. LeftoverError where that takes longer
    than it can."""
    patience = Patience(session.cloud, following.PATIENCE_S, session.say, clock)
    until, told = clock.now() + _ENDS_S, False
    while clock.now() < until:
        try:
            now = standing.look(session.cloud, run, clock.sleep)
        except PASSING as error:
            following.bear(run, patience, error, 5.0)
            continue
        patience.heard()
        if not now.kept:
            return now
        if not told:
            told = True
            session.say(f"{run.id} is {now.word}; its keeper ends the machine and clears up")
        clock.sleep(_LOOK_S)
    raise LeftoverError(f"the keeper of {run.id} has not ended its machine", session.hint(f"stop {run.id}"))


def _prove_gone(session: Session, run: Run, now: Standing) -> None:
    """What the keeper could not end is ended; LeftoverError where something stays."""
    if now.keeper is None or now.went_on:  # another laptop went on with it: what is there is not ours to end
        return
    name = now.attempt.name if now.attempt else run.manifest.name
    if not rent.undo(session.cloud, name, now.keeper.keeping.launch, session.say):
        raise LeftoverError(f"{name} has not ended", session.hint(f"down {name}"))
