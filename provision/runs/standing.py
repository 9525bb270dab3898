"""How a run stands. It is read once; the properties of the value then decide, without a clock and without AWS."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

from infra.aws.ec2 import Ec2
from infra.aws.session import Cloud
from infra.aws.types import Instance
from provision.runs.manifest import ENDED, GOING, Attempt, RunState, Snapshot, Word
from provision.runs.store import Run

_GONE = ("shutting-down", "terminated", "stopping", "stopped")
SILENT = timedelta(minutes=5)  # the guard writes each minute
LOOKS, LOOKS_S = 4, 30.0  # AWS may not know a machine for a moment: so many looks, over so long, make it lost


@dataclass(frozen=True)
class Standing:
    """How a run stands: the guard's word, the attempts and the complete snapshots, oldest first.

    `machine` is the newest attempt's as EC2 knows it: None where EC2 does not know it any more, or was not `asked`.
    `silent`: its guard has said nothing for so long that the machine counts as lost, whatever EC2 says.
    """

    state: RunState = field(default_factory=RunState)
    attempts: Sequence[Attempt] = ()
    snapshots: Sequence[Snapshot] = ()
    machine: Instance | None = None
    asked: bool = False
    silent: bool = False

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
        """How the run stands, in one word. It is lost when its machine is gone and the guard could not say why."""
        lost = self.attempt is not None and (self.silent or (self.asked and self._machine_is_gone))
        return "lost" if lost and self.said in GOING else self.said

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
    def noticed(self) -> bool:
        """Whether AWS gave notice that it takes the machine: it ends that by itself within two minutes."""
        return self.said == "interrupted" and self.state.reason == "spot interruption"

    def silence(self, now: datetime) -> timedelta | None:
        """For how long nobody has answered for the run, where that is long; None where it is heard, or has ended."""
        if self.state.state not in GOING or self.word not in GOING or not self.state.seen:
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
    """How the run stands by its folder in S3."""
    return Standing(run.state(), run.attempts(), run.snapshots())


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


def glance(cloud: Cloud, run: Run, *, machine: bool = True) -> Standing:
    """How the run stands by one look; its snapshots are not read, and its machine only with `machine`."""
    standing = Standing(run.state(), run.attempts())
    return _with_machine(cloud, run, standing) if machine else standing


def of_runs(cloud: Cloud, standings: Sequence[Standing]) -> list[Standing]:
    """How several runs stand; EC2 is asked once for the machines of all that have not ended."""
    ids = {standing.attempt.instance for standing in standings if standing.attempt and standing.said not in ENDED}
    known = {machine.id: machine for machine in Ec2(cloud).instances(alive=False)} if ids else {}
    return [
        replace(standing, machine=known.get(standing.attempt.instance), asked=True)
        if standing.attempt and standing.attempt.instance in ids
        else standing
        for standing in standings
    ]


def _with_machine(cloud: Cloud, run: Run, standing: Standing) -> Standing:
    if standing.attempt is None or standing.said in ENDED:
        return standing
    found = replace(standing, machine=Ec2(cloud).by_id(standing.attempt.instance), asked=True)
    if found.word == "lost":  # the guard may have written its word while EC2 was asked
        found = replace(found, state=run.state())
    return found
