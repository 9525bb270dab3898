"""A machine's end: the host's own timer, its tag and the schedule of AWS, moved together."""

from collections.abc import Callable
from datetime import datetime, timezone

from infra.aws.ec2 import Ec2
from infra.aws.scheduler import Scheduler
from infra.aws.session import Cloud
from infra.aws.tags import moved
from infra.aws.types import Instance
from infra.errors import UsageError
from infra.host import script
from provision.machines import cost
from provision.machines.login import shell
from provision.offers import budget

GRACE = budget.GRACE


def extend(cloud: Cloud, instance: Instance, at: datetime) -> None:
    """Move the machine's end, to later or sooner.

    UsageError where its budget would not last until then; HostError where the host cannot be reached, and then nothing
    is changed; AuthError or CloudError where AWS does not take the tag or the schedule: then some of its ends are
    moved, and the same call again does the rest.
    """
    check_budget(cloud, instance, at)
    move_end(cloud, instance, at)


def move_end(cloud: Cloud, instance: Instance, at: datetime) -> None:
    """As `extend`, whatever the budget says.

    Broken off anywhere, it leaves no end that comes before the sooner of the old one and the new, and the tag, which is
    what people are shown, tells no later end than the machine has: to later the schedule goes first and the tag last,
    to sooner the tag goes first.
    """
    at = at.astimezone(timezone.utc)
    stamp = at.strftime("%Y-%m-%d %H:%M:%S UTC")
    with shell(cloud, instance) as host:
        host.run(["true"])  # where it cannot be reached nothing is changed
        in_order(
            instance.deadline, at,
            schedule=lambda: Scheduler(cloud).arm(instance.launch, instance.id, at + GRACE),
            host=lambda: host.run(["sudo", "sh", "-c", script("extend.sh"), "extend.sh", stamp]),
            tag=lambda: Ec2(cloud).tag(instance.id, moved(at)),
        )  # fmt: skip


def in_order(
    old: datetime | None,
    at: datetime,
    schedule: Callable[[], object],
    host: Callable[[], object],
    tag: Callable[[], object],
) -> None:
    """Move the three ends, each by its call, in the order that `move_end` tells; raises what the first one raises."""
    sooner = old is not None and at < old
    for move in (tag, host, schedule) if sooner else (schedule, host, tag):
        move()


def check_budget(cloud: Cloud, instance: Instance, at: datetime) -> None:
    """UsageError where the machine's budget might not last until then, or its end is that of a run which AWS keeps; an
    end sooner than now is always good."""
    if run := instance.record.run:
        raise UsageError(
            f"{instance.name} works for {run}, which AWS keeps: it ends with that run, by {clock(instance.deadline)}",
            f"give the run more time: {cloud.hint(f'stop {run}')}; then "
            f"{cloud.hint(f'resume {run} --detach --max-hours HOURS')}",
        )
    if instance.deadline is not None and at <= instance.deadline:
        return
    last = cost.lasts_until(cloud, instance, now())
    if last is not None and at > last:
        raise UsageError(
            f"the budget of {instance.name} is ${instance.budget:g}, which lasts until {clock(last)} at the dearest "
            "price that AWS may charge",
            f"ask for less time; it ends at {clock(instance.deadline)} now",
        )


def end_words(cloud: Cloud, instance: Instance) -> str:
    """When the machine ends by itself, and the command that changes that."""
    idle = f"; also after {instance.idle_minutes:g} idle minutes" if instance.idle_minutes else ""
    more = f"unless extended ({cloud.hint(f'extend {instance.name} 4h')})"
    return f"ends by itself at {clock(instance.deadline)} {more}{idle}"


def clock(at: datetime | None, *, exact: bool = False) -> str:
    """A moment in the laptop's own time; `exact`: with seconds."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z" if exact else "%Y-%m-%d %H:%M %Z") if at else "?"


def now() -> datetime:
    """This moment in UTC, in whole seconds: tags and timers have no parts of one."""
    return datetime.now(timezone.utc).replace(microsecond=0)
