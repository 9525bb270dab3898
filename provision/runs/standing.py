"""How a run stands. It is read once; the properties of the value then decide, without a clock and without AWS."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

from infra.aws.ec2 import Ec2
from infra.aws.session import Cloud
from infra.aws.step_functions import Keeper as Executions
from infra.aws.types import Instance
from infra.concurrency import together
from provision.runs.manifest import ENDED, GOING, Attempt, Keeping, RunState, Snapshot, Word
from provision.runs.store import AnyRun, Run

_GONE = ("shutting-down", "terminated", "stopping", "stopped")
SILENT = timedelta(minutes=5)  # the guard writes each minute
_AT_ONCE = 16  # executions that are asked for
LOOKS, LOOKS_S = 4, 30.0  # AWS may not know a machine for a moment: so many looks, over so long, make it lost


@dataclass(frozen=True)
class Keeper:
    """Who keeps a run without a laptop, and how that stands: `status` is AWS's word for the execution, "" where AWS
    does not know it; `error` and `cause` say why it failed."""

    keeping: Keeping
    status: str = ""
    error: str = ""
    cause: str = ""

    @property
    def works(self) -> bool:
        """Whether it sees to the run still."""
        return self.status == "RUNNING"

    @property
    def over(self) -> bool:
        """Whether AWS says that it has ended. One that AWS does not know may be about to begin."""
        return self.status not in ("", "RUNNING")


@dataclass(frozen=True)
class Standing:
    """How a run stands: the guard's word, the attempts and the complete snapshots, oldest first.

    `machine` is the newest attempt's as EC2 knows it: None where EC2 does not know it any more, or was not `asked`.
    `silent`: its guard has said nothing for so long that the machine counts as lost, whatever EC2 says. `keeper`: who
    keeps it without a laptop; None where nobody does, or did.
    """

    state: RunState = field(default_factory=RunState)
    attempts: Sequence[Attempt] = ()
    snapshots: Sequence[Snapshot] = ()
    machine: Instance | None = None
    asked: bool = False
    silent: bool = False
    keeper: Keeper | None = None

    @property
    def kept(self) -> bool:
        """Whether somebody keeps it without a laptop: what breaks off is gone on with there."""
        return self.keeper is not None and self.keeper.works

    @property
    def in_keepers_hands(self) -> bool:
        """Whether it goes on, or its machine is still there, and a keeper launched that: no laptop logs in there."""
        lives = self.machine is not None and self.machine.alive
        return self.of_keeper and (self.goes_on or lives)

    @property
    def waits(self) -> bool:
        """Whether its keeper has no machine for it yet, or none any more."""
        return self.kept and self.word == "starting" and (self._before or not self._machine_lives)

    @property
    def of_keeper(self) -> bool:
        """Whether the newest attempt is its keeper's."""
        return self.keeper is not None and not self._before and not self.went_on

    @property
    def went_on(self) -> bool:
        """Whether a laptop has gone on with the run since its keeper was over: the newest attempt is of that."""
        if self.keeper is None or self.attempt is None or self._before:
            return False
        return self.attempt.launch not in ("", self.keeper.keeping.launch)

    @property
    def _before(self) -> bool:
        """Whether its keeper has not begun an attempt yet: the newest one is an earlier keeper's, or a laptop's."""
        return self.keeper is not None and (self.attempt is None or self.attempt.number < self.keeper.keeping.number)

    @property
    def _aborted(self) -> bool:
        """Whether a person stopped its keeper, so that the machine was ended with it."""
        return self.keeper is not None and self.keeper.status == "ABORTED" and self.of_keeper

    @property
    def _machine_lives(self) -> bool:
        return self.attempt is not None and bool(self.attempt.instance) and not (self.asked and self._machine_is_gone)

    @property
    def attempt(self) -> Attempt | None:
        """The newest attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest complete snapshot."""
        return self.snapshots[-1] if self.snapshots else None

    @property
    def said(self) -> Word:
        """The guard's word on the newest attempt; what it said of an earlier one is over."""
        newest = self.attempt.number if self.attempt else 0
        return self.state.state if self.state.attempt == newest else "starting"

    @property
    def word(self) -> Word:
        """How the run stands, in one word. It is lost when its machine is gone and the guard could not say why.

        One that is kept is starting wherever the next attempt is to come.
        """
        if self.kept and self._before:
            return "starting"
        if self.attempt is not None and not self.attempt.instance and not self.kept:  # no machine was found for it
            return "stopped" if self._aborted else "interrupted"
        if self.attempt is None and self.keeper is not None and self.keeper.over:  # it could claim nothing
            return "stopped" if self.keeper.status == "ABORTED" else "interrupted"
        if self.kept and self.said not in ENDED:
            return "running" if self.said == "running" and self._machine_lives else "starting"
        lost = self.attempt is not None and (self.silent or (self.asked and self._machine_is_gone))
        return ("stopped" if self._aborted else "lost") if lost and self.said in GOING else self.said

    @property
    def goes_on(self) -> bool:
        """Whether the run trains, or is about to."""
        return self.word in GOING

    @property
    def broken_off(self) -> bool:
        """Whether the run ended before its work was done, though nobody stopped it."""
        return self.word in ("interrupted", "lost")

    @property
    def taken_away(self) -> bool:
        """Whether AWS took the machine, or it hangs. One that the user or its deadline ended is not replaced."""
        if self.silent:
            return True
        if self.word == "interrupted" and self.state.reason:
            return self.state.reason == "spot interruption"
        return self.machine is None or self.machine.taken_away

    @property
    def unknown(self) -> bool:
        """Whether the run counts as lost only because EC2 does not know its machine, which may be so for a moment."""
        return self.word == "lost" and self.machine is None and not self.silent

    @property
    def ends(self) -> bool:
        """Whether its machine saves what it can, and is about to end; its keeper goes on elsewhere then."""
        return self.kept and not self._before and self.said == "interrupted" and self._machine_lives

    @property
    def noticed(self) -> bool:
        """Whether AWS gave notice that it takes the machine: it ends that by itself within two minutes."""
        return self.said == "interrupted" and self.state.reason == "spot interruption"

    def silence(self, now: datetime) -> timedelta | None:
        """For how long nobody has answered for the run, where that is long; None where it is heard, or has ended."""
        newest = self.attempt.number if self.attempt else self.state.attempt
        over = self.kept and (self._before or self.state.attempt != newest)  # the next attempt is to come, or begins
        if over or self.state.state not in GOING or self.word not in GOING or not self.state.seen:
            return None
        try:
            seen = datetime.fromisoformat(self.state.seen.replace("Z", "+00:00"))
        except ValueError:  # a machine may write anything
            return None
        silence = now - (seen if seen.tzinfo else seen.replace(tzinfo=timezone.utc))
        return silence if silence >= SILENT else None

    @property
    def _machine_is_gone(self) -> bool:
        return self.machine is None or self.machine.state in _GONE


def read(run: Run) -> Standing:
    """How the run stands by its folder in S3, and by who keeps it."""
    return Standing(run.state(), run.attempts(), run.snapshots(), keeper=keeper_of(run.store.cloud, run))


def look(cloud: Cloud, run: Run, sleep: Callable[[float], None] = time.sleep) -> Standing:
    """How the run stands by its folder in S3 and, where that does not say that it has ended, by its machine.

    One that EC2 does not know is looked for several times over half a minute: a wrong answer must end nothing.
    """
    found = _with_machine(cloud, run, read(run))
    for _ in range(LOOKS - 1):
        if not found.unknown:
            break
        sleep(LOOKS_S / (LOOKS - 1))
        found = _with_machine(cloud, run, read(run))
    return found


def glance(cloud: Cloud, run: AnyRun, *, machine: bool = True, keeper: Keeper | None = None) -> Standing:
    """How the run stands by one look; its snapshots are not read, and its machine only with `machine`. Without,
    `keeper` is what an earlier look knew of that."""
    standing = Standing(run.state(), run.attempts(), keeper=keeper_of(cloud, run) if machine else keeper)
    return _with_machine(cloud, run, standing) if machine else standing


def keeper_of(cloud: Cloud, run: AnyRun) -> Keeper | None:
    """Who keeps the run without a laptop, and how that stands."""
    keeping = run.keeping()
    return None if keeping is None else asked(cloud, keeping)


def asked(cloud: Cloud, keeping: Keeping) -> Keeper:
    """How the execution stands. AuthError or CloudError where AWS does not tell."""
    found = Executions(cloud).describe(keeping.execution)
    return Keeper(keeping, found.status, found.error, found.cause)


def with_keepers(cloud: Cloud, standings: Sequence[Standing]) -> list[Standing]:
    """The same with how their keepers stand, where that makes a difference; they are asked for side by side."""

    def one(standing: Standing) -> Standing:
        keeper = standing.keeper
        if keeper is None or (standing.said in ENDED and not standing._before):
            return standing
        return replace(standing, keeper=asked(cloud, keeper.keeping))

    found, errors = together([lambda standing=standing: one(standing) for standing in standings], _AT_ONCE)  # type: ignore[misc]
    if errors:
        raise errors[0]
    return found


def of_runs(cloud: Cloud, standings: Sequence[Standing]) -> list[Standing]:
    """How several runs stand; EC2 is asked once for the machines of all that have not ended."""
    ids = {standing.attempt.instance for standing in standings if standing.attempt and standing.said not in ENDED}
    ids.discard("")
    known = {machine.id: machine for machine in Ec2(cloud).instances(alive=False)} if ids else {}
    return [
        replace(standing, machine=known.get(standing.attempt.instance), asked=True)
        if standing.attempt and standing.attempt.instance in ids
        else standing
        for standing in standings
    ]


def _with_machine(cloud: Cloud, run: AnyRun, standing: Standing) -> Standing:
    if standing.attempt is None or standing.said in ENDED:
        return standing
    found = replace(standing, machine=Ec2(cloud).by_id(standing.attempt.instance), asked=True)
    if found.word == "lost":  # the guard may have written its word while EC2 was asked
        found = replace(found, state=run.state())
    return found
