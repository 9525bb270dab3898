"""See a run through interruptions: another machine, the newest snapshot, the same run.

How the run stands is read once a turn (`runs.standing`); whether its machine is replaced follows from that value alone.
What may pass while a machine is replaced is waited out, for an hour: a price, a quota that still counts the machine
that has just ended, a line that is down, credentials that come back, a machine that is taken while it starts.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from infra.aws.ec2 import Ec2
from infra.aws.types import Instance
from infra.errors import (
    CapacityError,
    DamagedError,
    EndedError,
    EngineError,
    HostError,
    HostKeyError,
    LeftoverError,
    PriceError,
    ProvisionError,
    QuotaError,
    RunError,
    UnheardError,
)
from provision.clouds import Session
from provision.runs import standing
from provision.runs.manifest import GOING, Word
from provision.runs.patience import PASSING, Clock, Patience
from provision.runs.report import Follower
from provision.runs.standing import Standing
from provision.runs.store import Run
from provision.training import recover, start
from provision.training.recover import Another, Order
from provision.training.stop import stop

GIVE_UP_AFTER = 5
HOSTS_IN_A_ROW = 2  # that do not get ready, for which nobody can say whether the next one would
ASK_AGAIN_S = 3600.0  # a spot shortage is often over within the hour
_HEAR_S = 900.0  # a line that is down for longer than that is no moment's trouble
_PAUSE_S = 60.0
_WAITED_OUT = (*PASSING, CapacityError, PriceError, QuotaError, LeftoverError)

Moved = Callable[[Another], object]


@dataclass
class _Tries:
    """The interruptions without a newer snapshot in between, and the hosts in a row that did not get ready."""

    run: Run
    mend: str
    interruptions: int = 0
    iteration: int = -1
    hosts: int = 0

    def interrupted(self, at: int) -> None:
        """RunError where it was interrupted too often without getting on."""
        self.interruptions = 1 if at > self.iteration else self.interruptions + 1
        self.iteration = max(at, self.iteration)
        if self.interruptions > GIVE_UP_AFTER:
            raise RunError(
                f"{self.run.id} was interrupted {self.interruptions} times without a new snapshot",
                f"try later: {self.mend}",
            )

    def failed(self, error: ProvisionError) -> None:
        """The error of a host that did not get ready, where it is not the first in a row."""
        self.hosts += 1
        if self.hosts >= HOSTS_IN_A_ROW:
            raise error


def see_through(
    session: Session, run: Run, moved: Moved = lambda _: None, order: Order | None = None, clock: Clock | None = None
) -> Word:
    """Follow to the end; where AWS takes the machine away, rent another and go on from the newest snapshot.

    How the run stands at the end: it never goes on. `moved` gets each machine that takes the place of another, as soon
    as it is there. UnheardError where nothing was heard for too long, or nobody can say whether an attempt has begun:
    the run may go on. RunError where it ended with its machine though AWS did not take that, was interrupted too often,
    or was stopped because it diverged; else the errors of renting and of starting an attempt that do not pass within an
    hour.
    """
    clock, follower = clock or Clock(), _follower(session, run)
    tries = _Tries(run, session.hint(f"resume {run.id}"))
    while True:
        word = follower.follow(session.cloud, run)
        if word in GOING:
            continue
        if word not in ("interrupted", "lost"):
            return word
        patience = Patience(session.cloud, ASK_AGAIN_S, session.say, clock)
        now = _looked(session, run, patience, clock)
        if follower.silent:
            now = replace(now, silent=True)
        if now.goes_on:  # one answer said otherwise
            continue
        if not now.broken_off:
            return now.word
        at = now.snapshot.iteration if now.snapshot else 0
        session.say(f"{now.word} at iteration {follower.iteration}; the newest snapshot is of iteration {at}")
        if not now.taken_away:
            raise RunError(f"{run.id} ended with its machine", f"go on with it: {session.hint(f'resume {run.id}')}")
        tries.interrupted(at)
        with recover.nothing_left(session, now):
            _replace(session, run, now, moved, order, tries, patience, clock)


def begin(session: Session, run: Run, instance: Instance, at: int | None = None, clock: Clock | None = None) -> None:
    """Begin the next attempt, as `start.begin` does, with its errors. One that trains although its start ended in an
    error, for the line broke after it, has begun. UnheardError where for a quarter of an hour nobody can say.
    """
    clock = clock or Clock()
    try:
        start.begin(session, run, instance, at)
    except DamagedError:  # that does not pass
        raise
    except (*PASSING, HostError, EngineError) as error:
        if not _begun_all_the_same(session, run, error, clock):
            raise
        session.say(f"{error.what}; the training has begun all the same")


def _begun_all_the_same(session: Session, run: Run, error: ProvisionError, clock: Clock) -> bool:
    patience = Patience(session.cloud, _HEAR_S, session.say, clock)
    while True:
        begun = _has_begun(session, run, _looked(session, run, patience, clock))
        if begun is not None:
            return begun
        try:
            patience.bear(error, _PAUSE_S)
        except ProvisionError as last:
            raise _unheard(session, run, last) from last


def _follower(session: Session, run: Run) -> Follower:
    """The follower of the run. With `--diagnose` it stops a training that has diverged; the guard saves its work."""
    diagnose = run.manifest.settings.diagnose
    return Follower((lambda: stop(session, run)) if diagnose else None, replaces=True)


def _looked(session: Session, run: Run, patience: Patience, clock: Clock) -> Standing:
    """How the run stands, as soon as AWS tells."""
    while True:
        try:
            return standing.look(session.cloud, run, clock.sleep)
        except PASSING as error:
            patience.bear(error, 5.0)


def _replace(
    session: Session, run: Run, now: Standing, moved: Moved, order: Order | None, tries: _Tries, patience: Patience,
    clock: Clock,
) -> None:  # fmt: skip
    """Put another machine in the place of the one that was taken, and begin there."""
    old: Instance | None = None
    begun: bool | None = False
    while not begun:
        another: Another | None = None
        try:
            another = recover.machine_again(session, run, now, order)
            old = another.old or old
            moved(another)
            start.begin(session, run, another.instance)
            begun = True
        except (*_WAITED_OUT, HostError, EngineError) as error:
            begun = None if another else begun
            try:
                now, begun = _after(session, run, now, patience, clock)
                if not begun:
                    _wait_out(session, error, another, now, tries, patience)
                    now, begun = _after(session, run, now, patience, clock)
            except (*_WAITED_OUT, HostError, EngineError) as last:
                if begun is None:
                    raise _unheard(session, run, last) from last
                raise
        except RunError as error:
            if begun is None:  # the training that is in its way may be its own
                raise _unheard(session, run, error) from error
            raise
    if old is not None:
        recover.clear_old(session, old, clock)


def _after(
    session: Session, run: Run, before: Standing, patience: Patience, clock: Clock
) -> tuple[Standing, bool | None]:
    """How the run stands after an attempt's start ended in an error, and whether that attempt trains all the same."""
    now = _looked(session, run, patience, clock)
    if before.silent and now.attempt == before.attempt:
        now = replace(now, silent=True)
    return now, _has_begun(session, run, now)


def _unheard(session: Session, run: Run, last: ProvisionError) -> UnheardError:
    """The error where a training may have begun on a machine, which is then not ended."""
    return UnheardError(
        f"nobody can say whether {run.id} goes on: {last.what}",
        f"its machine is kept; follow it: {session.hint(f'logs {run.id} -f')}",
    )


def _wait_out(
    session: Session, error: ProvisionError, another: Another | None, now: Standing, tries: _Tries, patience: Patience
) -> None:
    """Wait where the error may pass; a machine that ended while it was made ready is an interruption like any other."""
    if isinstance(error, HostKeyError):
        raise error
    if isinstance(error, EndedError) or (another is not None and _is_gone(session, another.instance)):
        session.say(f"{error.what}: another interruption")
        tries.interrupted(now.snapshot.iteration if now.snapshot else 0)
        return
    if isinstance(error, (HostError, EngineError)) and another is None:
        tries.failed(error)
    patience.bear(error, _PAUSE_S)


def _is_gone(session: Session, instance: Instance) -> bool:
    """Whether AWS shows that the machine has ended."""
    try:
        now = Ec2(session.cloud).by_id(instance.id)
    except PASSING:
        return False
    return now is not None and now.state not in ("pending", "running")


def _has_begun(session: Session, run: Run, now: Standing) -> bool | None:
    """Whether the attempt trains, though its start ended in an error: its client lost the line after that. None where
    that cannot be known."""
    if not now.goes_on or now.attempt is None:
        return False
    try:
        return now.word == "running" or not start.never_began(session, run, now)
    except ProvisionError:
        return None
