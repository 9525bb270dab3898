"""Machines: bring one up, take one up again, find it, move its end, log in.

`up` writes an intent record before its first side effect: a client that is killed anywhere leaves what the same
command again adopts (same token, same instance) and what `ls` and `down` find by tag. What a launched machine still
needs (schedule, role, volumes) is worked out from its tags and done again without harm: so it makes no difference
whether `up` goes on or is called again.
"""

import dataclasses
import fcntl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

from infra.aws import prices, session_manager
from infra.aws.ec2 import Ec2
from infra.aws.fleet import devices, volumes_of
from infra.aws.iam import Iam
from infra.aws.launch import Launcher
from infra.aws.scheduler import Scheduler
from infra.aws.session import Cloud, own_address
from infra.aws.types import Instance, SpotRequest
from infra.aws.volumes import Volumes
from infra.errors import (
    CapacityError,
    CloudError,
    HostError,
    HostKeyError,
    KeptError,
    NotOfferedError,
    PriceError,
    ProvisionError,
    QuotaError,
    UnsupportedError,
    UsageError,
)
from infra.keys import login_key
from infra.ssh import Address, SshShell
from provision import bootstrap, notes, userdata, via_ssm
from provision.beside import Beside
from provision.settings import home

Say = Callable[[str], None]
Sleep = Callable[[float], None]
GRACE = timedelta(minutes=10)  # the host's own end comes first, the schedule's when that has failed
_ANSWERED = (CapacityError, NotOfferedError, PriceError, QuotaError, UnsupportedError)
folder = notes.folder


# where


def places(cloud: Cloud, more: Sequence[str] = (), name: str = "*") -> list[Cloud]:
    """Where a machine (of that name) may be: this region, those that this laptop has notes of, and `more`."""
    names = dict.fromkeys((cloud.region, *notes.regions(cloud, name), *more))
    return [dataclasses.replace(cloud, region=one) for one in names]


def locate(cloud: Cloud, name: str, more: Sequence[str] = ()) -> Cloud:
    """The region that has a machine of that name; else the one that this laptop has notes of it in, or this one."""
    where = places(cloud, more, name)
    if len(where) == 1:
        return where[0]
    found = next((place for place in where if Ec2(place).instances(name)), None)
    noted = notes.regions(cloud, name)
    if found is None and noted and cloud.region not in noted:
        return dataclasses.replace(cloud, region=noted[0])
    return found or cloud


def find(cloud: Cloud, name: str) -> Instance:
    """The running instance of that name."""
    instance = Ec2(cloud).instance(name)
    if instance.state != "running":
        raise HostError(f"{name} is {instance.state}", "wait until it runs (provision ls), or end it: provision down")
    return instance


def living(cloud: Cloud, name: str, kind: str = "") -> Instance | None:
    """The machine of that name that is there already; UsageError where it is of another type than asked for."""
    alive = [one for one in Ec2(cloud).instances(name) if one.state in ("pending", "running")]
    if not alive:
        return None
    if kind and alive[-1].type != kind:
        raise UsageError(
            f"{name} is there already, and is a {alive[-1].type}, not a {kind}",
            f"give another --name, or end it first: provision down {name}",
        )
    return alive[-1]


@contextmanager
def locked(cloud: Cloud, name: str) -> Iterator[None]:
    """One launch of a name at a time on this laptop: two trainings may lose the same machine at once."""
    place = folder(cloud, name).parent
    place.mkdir(parents=True, exist_ok=True)
    with (place / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# bringing up


def up(cloud: Cloud, request: SpotRequest, say: Say) -> Instance:
    """Rent the machine and make it ready; a launch that an earlier, killed `up` began is taken over.

    Whatever ends this early (an error, Ctrl-C) has to end the machine as well: that is the caller's `down`. Not so with
    a KeptError.
    """
    _check_way_in(request.via)
    request = notes.write_intent(cloud, request)
    instance = _launch(cloud, request, say)
    notes.pin_host(cloud, request.name, instance.id)
    say(f"{instance.id} launched in {instance.zone}; it {end_words(instance)}")
    try:
        return complete(cloud, instance, say)
    except HostKeyError:
        raise
    except HostError as error:
        if request.keep_on_error_minutes is None:
            raise

        def move(at: datetime) -> None:
            move_end(cloud, Ec2(cloud).by_id(instance.id) or instance, at)

        raise kept(instance, request.keep_on_error_minutes, error, move) from error


def _launch(cloud: Cloud, request: SpotRequest, say: Say) -> Instance:
    try:
        return Launcher(cloud).launch(request, notes.user_data(cloud, request.name), say)
    except _ANSWERED:  # nothing was launched, and nothing will show up late
        notes.forget_intent(cloud, request.name)
        raise


def rejoin(cloud: Cloud, instance: Instance, say: Say) -> Instance:
    """Take up a machine that is there: do what its launch left undone, and let SSH in from where this laptop is now."""
    say(f"{instance.name} is there already: {instance.id}, {instance.state}")
    _check_way_in(instance.via)
    if instance.via != "ssm":
        Launcher(cloud).let_in(instance.resource, own_address(cloud))
    return complete(cloud, instance, say)


def _check_way_in(via: str) -> None:
    """A machine that could not be reached would be paid for in vain."""
    if via == "ssm":
        session_manager.require_plugin()


def complete(cloud: Cloud, instance: Instance, say: Say) -> Instance:
    """All that a launched machine needs, side by side: its second end, its role, its volumes, and that it is ready.

    The first that fails ends the others.
    """
    runs = threading.Event()
    disks: list[tuple[str, str, str]] = []
    with Beside() as beside:
        beside.start(lambda: _arm(cloud, instance, instance.deadline, beside.sleep))
        beside.start(lambda: _give_role(cloud, instance, runs, beside.sleep))
        found = Ec2(cloud, beside.sleep).wait_running(instance)
        runs.set()
        beside.start(lambda: disks.extend(_attach(cloud, found, beside.sleep)))
        log = notes.log_path(instance.resource)
        sleep = bootstrap.watchful(beside.sleep, lambda: _lives(cloud, found))
        bootstrap.wait_ready(found, lambda: shell(cloud, found), log, say, sleep)
        beside.join()
    _mount(cloud, found, disks, say)
    return found


def _lives(cloud: Cloud, instance: Instance) -> None:
    """HostError where the machine has ended while it was waited for."""
    now = Ec2(cloud).by_id(instance.id)
    if now is not None and now.state not in ("pending", "running"):
        why = f"{now.state}, {now.reason}" if now.reason else now.state
        raise HostError(
            f"{instance.name} ended while it started ({why})", "AWS took it, or its time was over: run `up` again"
        )


def _arm(cloud: Cloud, instance: Instance, end: datetime | None, sleep: Sleep) -> None:
    if end is not None:
        Scheduler(cloud, sleep).arm(instance.resource, instance.id, end + GRACE)


def _give_role(cloud: Cloud, instance: Instance, runs: threading.Event, sleep: Sleep) -> None:
    """IAM's own slowness passes while the machine starts."""
    marks = {"provision:name": instance.name, "provision:resource": instance.resource}
    iam = Iam(cloud, sleep)
    iam.ensure_role(instance.resource, marks)
    if instance.via == "ssm":
        iam.allow_sessions(instance.resource)
    while not runs.is_set():
        sleep(0.2)
    Ec2(cloud, sleep).associate(instance.id, instance.resource)


def _attach(cloud: Cloud, instance: Instance, sleep: Sleep) -> list[tuple[str, str, str]]:
    """Attach the volumes to be kept; those that go with the machine it has from the start. Ids, devices and names."""
    wanted = devices(volumes_of(instance.tags))
    if not wanted:
        return []
    volumes = Volumes(cloud, sleep)
    own = volumes.on(instance)
    if missing := [one.name for device, one in wanted if not one.keep and device not in own]:
        raise CloudError(f"{instance.name} came without its volume {missing[0]}", "run the same command again")
    return [
        (volumes.attach(instance, one, device) if one.keep else own[device], device, one.name) for device, one in wanted
    ]


def _mount(cloud: Cloud, instance: Instance, disks: Sequence[tuple[str, str, str]], say: Say) -> None:
    """Mount them all; only then are those that are to be kept marked so, or a launch that failed would leave them."""
    if not disks:
        return
    with shell(cloud, instance) as host:
        for volume_id, device, name in disks:
            said = host.run(["sudo", "sh", "/opt/provision/mount.sh", volume_id, device, name]).out
            say(f"  host: {said.strip()}")
    kept = {one.name for one in volumes_of(instance.tags) if one.keep}
    for volume_id, _, name in disks:
        if name in kept:
            Volumes(cloud).keep(volume_id, name)


def kept(instance: Instance, minutes: float, error: HostError, move: Callable[[datetime], None]) -> ProvisionError:
    """The failed machine is kept for a look, with a sooner end; where its end cannot be moved it is not kept."""
    at = _now() + timedelta(minutes=minutes)
    at = min(at, instance.deadline or at)
    try:
        move(at)
    except ProvisionError:
        return error
    name = instance.name
    look = f"kept, and billed, until {clock(at)}: provision ssh {name}; end it: provision down {name}"
    return KeptError(error.what, f"{error.mend}; {look}" if error.mend else look)


# its end


def extend(cloud: Cloud, instance: Instance, at: datetime) -> None:
    """Move the machine's end, to later or sooner. UsageError where its budget would not last."""
    _check_budget(cloud, instance, at)
    move_end(cloud, instance, at)


def move_end(cloud: Cloud, instance: Instance, at: datetime) -> None:
    """The host's own timer first: where that cannot be reached nothing is changed. Then the tag, then the schedule."""
    stamp = at.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    with shell(cloud, instance) as host:
        host.run(["sudo", "sh", "/opt/provision/extend.sh", stamp])
    Ec2(cloud).tag(instance.id, {"provision:deadline": at.astimezone(timezone.utc).isoformat()})
    Scheduler(cloud).arm(instance.resource, instance.id, at + GRACE)


def _check_budget(cloud: Cloud, instance: Instance, at: datetime) -> None:
    """By the price at launch, as the host counts."""
    price = instance.price or instance.max_price
    if instance.budget is None or price is None:
        return
    gb = int(instance.tags.get("provision:disk", "0")) + sum(one.gb for one in volumes_of(instance.tags))
    hourly = price + prices.disk_hourly(gb, cloud.region)
    last = instance.launched + timedelta(hours=instance.budget / hourly)
    if at > last:
        raise UsageError(
            f"the budget of {instance.name} is ${instance.budget:g}, which lasts until {clock(last)}",
            f"ask for less time; it ends at {clock(instance.deadline)} now",
        )


def end_words(instance: Instance) -> str:
    """When it ends by itself, and how to change that."""
    idle = f"; also after {instance.idle_minutes:g} idle minutes" if instance.idle_minutes else ""
    more = f"unless extended (provision extend {instance.name} 4h)"
    return f"ends by itself at {clock(instance.deadline)} {more}{idle}"


def clock(at: datetime | None) -> str:
    """A moment in the laptop's own time."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M %Z") if at else "?"


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)


# logging in


def address(cloud: Cloud, instance: Instance) -> Address:
    """How to log in there."""
    place = folder(cloud, instance.name)
    notes.adopt_pin(cloud, instance.name, instance.resource, instance.id)
    if not (place / "known_hosts").exists() or instance.id not in (place / "known_hosts").read_text():
        raise HostError(
            f"this laptop does not know the host key of {instance.name}",
            "SSH works from the laptop that started it; logs, fetch and resume work from any",
        )
    key, _ = login_key(home())
    known = place / "known_hosts"
    if instance.via == "ssm":
        proxy = via_ssm.words(cloud, instance.id)
        return Address(instance.id, userdata.USER, key, known, instance.id, proxy=proxy)
    return Address(str(instance.address), userdata.USER, key, known, instance.id)


def shell(cloud: Cloud, instance: Instance) -> SshShell:
    return SshShell(address(cloud, instance), instance.name)
