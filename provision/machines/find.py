"""Where a machine is: by its name, in this region or in those that this laptop has notes of."""

import dataclasses
import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from infra.aws.ec2 import Ec2
from infra.aws.session import Cloud
from infra.aws.types import Instance
from infra.errors import HostError, ProvisionError, UsageError
from provision.machines import journal, whose


def places(cloud: Cloud, more: Sequence[str] = (), name: str = "*") -> list[Cloud]:
    """Where a machine (of that name) may be: this region, those that this laptop has notes of, and `more`.

    AuthError or CloudError where there are notes, and AWS does not say whose account it is.
    """
    regions = dict.fromkeys((cloud.region, *journal.regions(cloud, name), *more))
    return [dataclasses.replace(cloud, region=region) for region in regions]


def locate(cloud: Cloud, name: str, more: Sequence[str] = ()) -> Cloud:
    """The region that has a machine of that name, one of this laptop's own before another's; else the one that this
    laptop has notes of it in, or this one.

    Nothing is asked where there is one region only. AuthError or CloudError where machines cannot be listed.
    """
    where = places(cloud, more, name)
    if len(where) == 1:
        return where[0]
    found: Cloud | None = None
    for place in where:
        there = Ec2(place).instances(name)
        if whose.own(there):
            return place
        found = found or (place if there else None)
    noted = journal.regions(cloud, name)
    if found is None and noted and cloud.region not in noted:
        return dataclasses.replace(cloud, region=noted[0])
    return found or cloud


def find(cloud: Cloud, name: str) -> Instance:
    """The running machine of that name; one of this laptop's own before one that another launched.

    NotFoundError that names the others where there is none in this region; HostError where it does not run.
    """
    there = [instance for instance in Ec2(cloud).instances(name) if instance.state != "shutting-down"]
    instance = whose.own(there) or Ec2(cloud).instance(name)
    if instance.state != "running":
        raise HostError(
            f"{name} is {instance.state}",
            f"wait until it runs ({cloud.hint('ls')}), or end it: {cloud.hint(f'down {name}')}",
        )
    return instance


def living(cloud: Cloud, name: str, kind: str = "") -> Instance | None:
    """The machine of that name that starts or runs in this region; None where there is none.

    UsageError where it is of another type than `kind` ("" for any), or where others have that name alone.
    """
    there = namesake(cloud, name)
    if there is None:
        return None
    if whose.others(there.owner):
        raise taken(there, f"give yours a name: --name {whose.free_name(name)}")
    if kind and there.type != kind:
        raise UsageError(
            f"{name} is there already, and is a {there.type}, not a {kind}",
            f"give another --name, or end it first: {cloud.hint(f'down {name}')}",
        )
    return there


def namesake(cloud: Cloud, name: str) -> Instance | None:
    """The newest machine of that name that starts or runs in this region: one of this laptop's own, else another's."""
    alive = [instance for instance in Ec2(cloud).instances(name) if instance.state in ("pending", "running")]
    return whose.own(alive) or (alive[-1] if alive else None)


def taken(other: Instance, mend: str) -> UsageError:
    """The error that somebody else has a machine of that name; in one account each name is there once."""
    return UsageError(f"{whose.words(other)} is there already", mend)


def alone(cloud: Cloud, instance: Instance) -> None:
    """Look once whether somebody else's machine of the same name was launched before this one, which just began to run.

    Two people may ask for one name at once, and each finds nothing there. UsageError for the later one (by the time of
    the launch, then by id). One of this laptop's own is no clash: AWS may be about to end it. Where AWS does not
    answer, nothing is said.
    """
    try:
        alive = [one for one in Ec2(cloud).instances(instance.name) if one.state in ("pending", "running")]
    except ProvisionError:
        return
    others = [one for one in alive if whose.others(one.owner)]
    before = [one for one in others if (one.launched, one.id) < (instance.launched, instance.id)]
    if before:
        raise taken(before[0], f"give yours a name: --name {whose.free_name(instance.name)}")


@contextmanager
def locked(cloud: Cloud, name: str) -> Iterator[None]:
    """Wait for all others on this laptop that launch this name, and keep them waiting: two trainings may lose the same
    machine at once. AuthError or CloudError where AWS does not say whose account it is."""
    with journal.lock_path(cloud, name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
