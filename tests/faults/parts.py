"""The parts of the sweep: in which world which faults are tried, and by whom."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from tests.faults.crowd import Crowd, Round
from tests.faults.kinds import CLEANS, KINDS, STEPS, TRAININGS, Call, Fault, Step, kinds_for
from tests.faults.trainer import Trainer
from tests.faults.worker import Worker

Calls = Callable[[str], list[Call]]
Task = Fault | Round
FAST = 20.0  # how much faster the clients' clock runs
SLOWER = 4.0  # where hosts take seconds to boot

# What is tried on fresh system containers: the launch and its tags (which are made by the same call), the role, the
# waiting, the end.
CHOSEN = (
    ("up", "ec2 CreateLaunchTemplate 1", ("killed after",)),
    ("up", "ec2 CreateFleet 1", ("lost", "full", "nowhere", "killed before", "killed after", "stopped after")),
    ("up", "iam CreateRole 1", ("broken", "lost", "killed after")),
    ("up", "iam AddRoleToInstanceProfile 1", ("denied", "killed after")),
    ("up", "ec2 AssociateIamInstanceProfile 1", ("broken", "lost", "stopped before")),
    ("up", "scheduler CreateSchedule 1", ("broken", "killed after")),
    ("up", "ec2 DescribeInstances 3", ("broken", "stopped after", "killed after")),
    ("down", "ec2 TerminateInstances 1", ("lost", "killed before", "killed after")),
    ("down", "ec2 DescribeInstances 2", ("broken", "killed after")),
    ("down", "iam DeleteRole 1", ("broken", "killed after")),
)


@dataclass(frozen=True)
class Part:
    """`kinds`: which of a call's faults (empty: all); `rounds`: how many there are of a crowd."""

    steps: tuple[Step, ...]
    worker: type[Worker] = Worker
    edge: bool = True
    workers: int = 1
    fast: float = FAST
    kinds: tuple[str, ...] = ()
    chosen: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    rounds: int = 0


PARTS = {
    "edge": Part(STEPS, workers=3),
    "crowd": Part(STEPS[:2], Crowd, rounds=12),
    "machines": Part(STEPS[:2], edge=False, fast=SLOWER, chosen=CHOSEN),
    "training": Part(TRAININGS, Trainer, edge=False, fast=SLOWER, kinds=("lost", "killed after")),
}


def faults_of(part: Part, calls_of: Calls) -> Iterator[Task]:
    """What the part tries."""
    yield from (Round(seed) for seed in range(1, part.rounds + 1))
    if part.chosen:
        yield from _chosen(part, calls_of)
    elif not part.rounds:
        for step in part.steps:
            asked = set(part.kinds or KINDS) & set(step.kinds or KINDS)
            for call in calls_of(step.name):
                wanted = [kind for kind in kinds_for(call) if kind in asked]
                yield from (Fault(step.name, call, kind) for kind in wanted)


def _chosen(part: Part, calls_of: Calls) -> Iterator[Task]:
    """RuntimeError for a call that is not made any more."""
    for step in part.steps:
        calls = {str(call): call for call in calls_of(step.name)}
        for _, wanted, kinds in [one for one in part.chosen if one[0] == step.name]:
            if wanted not in calls:
                raise RuntimeError(f"`{step.name}` does not call {wanted}: choose others")
            yield from (Fault(step.name, calls[wanted], kind) for kind in kinds)


def taken_out(name: str, calls_of: Calls) -> Iterator[Task]:
    """Something has to be cleaned up, and each clean-up is left out in turn: all must be noticed."""
    part = PARTS[name]
    if part.rounds:
        yield from (Round(seed, one) for seed, one in enumerate(("TerminateInstances", "DeleteRole"), 1))
        return
    last = calls_of(part.steps[0].name)[-1]
    if part.worker is Trainer:
        yield Fault("train", last, "lost", "plan")
        yield Fault("train", last, "killed after", "DeleteRolePolicy", last=True)
    elif not part.edge:
        yield Fault("up", last, "killed after", "TerminateInstances")
    else:
        for action in sorted({call.action for call in calls_of("down") if CLEANS.fullmatch(call.action)}):
            yield Fault("up", last, "killed after", action)


def filtered(tasks: Iterator[Task], steps: Sequence[str], kinds: Sequence[str], only: str) -> list[Task]:
    """Those that are asked for (rounds of a crowd always); the last of them ends what they share."""

    def asked(one: Task) -> bool:
        if isinstance(one, Round):
            return True
        fits = (not steps or one.step in steps) and (not kinds or one.kind in kinds)
        return fits and re.search(only, str(one.call)) is not None

    found = [one for one in tasks if asked(one)]
    return [*found[:-1], *(replace(one, last=True) if isinstance(one, Fault) else one for one in found[-1:])]
