"""Bring a machine up, or take one up again that is there.

An intent record is written before the first side effect (`rent.first`): a client that is killed anywhere leaves what
the same command again adopts (same token, same instance) and what `ls` and `down` find by tag. What a launched machine
still needs (schedule, role, volumes) is worked out from its tags and done again without harm: so it makes no
difference whether `up` goes on or is called again.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from infra.aws import session_manager
from infra.aws.console_output import console_output
from infra.aws.ec2 import Ec2
from infra.aws.fleet import devices
from infra.aws.iam import MACHINE, Iam
from infra.aws.launch import Launcher
from infra.aws.scheduler import Scheduler
from infra.aws.session import Cloud, own_address
from infra.aws.types import Instance, SpotRequest
from infra.aws.volumes import Volumes
from infra.concurrency import Beside, pool
from infra.errors import (
    CapacityError,
    EndedError,
    HostError,
    HostKeyError,
    KeptError,
    NotOfferedError,
    PriceError,
    ProvisionError,
    QuotaError,
    UnsupportedError,
)
from infra.host import script
from provision.console import Say
from provision.files import bundle
from provision.machines import bootstrap, find, host_keys, journal, whose
from provision.machines.deadline import GRACE, clock, end_words, move_end, now
from provision.machines.login import known_hosts, shell
from provision.offers.budget import price_of

Sleep = Callable[[float], None]
_ANSWERED = (CapacityError, NotOfferedError, PriceError, QuotaError, UnsupportedError)


def up(cloud: Cloud, request: SpotRequest, say: Say) -> Instance:
    """Rent the machine and make it ready, by a request that is noted (`journal.write_intent`): so a launch that an
    earlier, killed `up` began is taken over.

    Whatever ends this early (an error, Ctrl-C) has to end the machine as well: that is the caller's `down`. Not so with
    a KeptError: the host could not be prepared, and the request says to keep such a machine for a look.

    CapacityError, QuotaError, PriceError, NotOfferedError and UnsupportedError where AWS refused the launch: nothing
    was launched. UsageError where somebody else launched one of that name a moment earlier. HostError where the machine
    did not get ready, EndedError where it ended meanwhile, HostKeyError where another answered in its place, AuthError
    where something is not allowed, CloudError for all other trouble with AWS.
    """
    _check_way_in(request.via)
    instance = _launch(cloud, request, say)
    journal.note_instance(cloud, request.name, instance.id)
    say(f"{instance.id} launched in {instance.zone}; it {end_words(cloud, instance)}")
    say(f"  it costs {price_of(request, request.price_of(instance))}, its disks and its address not counted")
    try:
        return complete(cloud, instance, say, fresh=True)
    except (HostKeyError, EndedError):  # there is nothing to keep for a look
        raise
    except HostError as error:
        if request.keep_on_error_minutes is None:
            raise

        def move(at: datetime) -> None:
            move_end(cloud, Ec2(cloud).by_id(instance.id) or instance, at)

        raise kept(cloud, instance, request.keep_on_error_minutes, error, move) from error


def _launch(cloud: Cloud, request: SpotRequest, say: Say) -> Instance:
    try:
        data = journal.user_data(cloud, request.name)
        with pool(1) as beside:
            bundle_is_there = beside.submit(bundle.bring, host_keys.store(cloud))

            def before() -> None:
                bundle_is_there.result()
                journal.note_asked(cloud, request.name)

            return Launcher(cloud).launch(request, data, say, before)
    except _ANSWERED:  # nothing was launched, and nothing will show up late
        journal.forget_intent(cloud, request.name)
        raise


def rejoin(cloud: Cloud, instance: Instance, say: Say) -> Instance:
    """Take up a machine that is there: do what its launch left undone, and let SSH in from where this laptop is now.

    HostError where it does not get ready, or does not tell its host key; AuthError or CloudError where AWS does not
    let us do what is left. The machine stays, whatever happens here.
    """
    say(f"{instance.name} is there already: {instance.id}, {instance.state}")
    _check_way_in(instance.via)
    if instance.via != "ssm":
        Launcher(cloud).let_in(instance.launch, own_address(cloud), whose.me())
    return complete(cloud, instance, say)


def _check_way_in(via: str) -> None:
    """A machine that could not be reached would be paid for in vain."""
    if via == "ssm":
        session_manager.require_plugin()


def complete(cloud: Cloud, instance: Instance, say: Say, fresh: bool = False) -> Instance:
    """All that a launched machine needs, side by side: its second end, its role, its volumes, and that it is ready.

    The first that fails ends the others, and its error is raised: HostError where the host does not get ready or ends,
    HostKeyError, AuthError, CloudError; UsageError where another machine has its volume, or another volume is kept
    under that name; of a `fresh` one also where another had its name before.
    """
    runs = threading.Event()
    disks: list[tuple[str, str, str]] = []
    with Beside() as beside:
        beside.start(lambda: _arm(cloud, instance, instance.deadline, beside.sleep))
        beside.start(lambda: _give_role(cloud, instance, runs, beside.sleep))
        found = Ec2(cloud, beside.sleep).wait_running(instance)
        runs.set()
        if fresh:
            beside.start(lambda: find.alone(cloud, found))
        beside.start(lambda: disks.extend(_attach(cloud, found, beside.sleep)))
        sleep = bootstrap.watchful(beside.sleep, lambda: _lives(cloud, found))
        bootstrap.wait_ready(found, _way(cloud, found), journal.log_path(instance.launch), say, sleep)
        beside.join()
    _mount(cloud, found, disks, say)
    return found


def _way(cloud: Cloud, instance: Instance) -> bootstrap.Way:
    return bootstrap.Way(
        known=lambda: known_hosts(cloud, instance) is not None,
        log_in=lambda: shell(cloud, instance),
        console=lambda: console_output(cloud, instance.id),
    )


def _lives(cloud: Cloud, instance: Instance) -> None:
    """EndedError where the machine has ended while it was waited for."""
    now = Ec2(cloud).by_id(instance.id)
    if now is not None and now.state not in ("pending", "running"):
        why = f"{now.state}, {now.reason}" if now.reason else now.state
        raise EndedError(
            f"{instance.name} ended while it started ({why})",
            "AWS took it, its time was over, or it could not begin: run the same command again",
        )


def _arm(cloud: Cloud, instance: Instance, end: datetime | None, sleep: Sleep) -> None:
    if end is not None:
        Scheduler(cloud, sleep).arm(instance.launch, instance.id, end + GRACE)


def _give_role(cloud: Cloud, instance: Instance, runs: threading.Event, sleep: Sleep) -> None:
    """IAM's own slowness passes while the machine starts: a role in the launch's template would have to be known to EC2
    before the launch, some ten seconds later. The machine's stub waits for it, and has not much else to do before."""
    iam = Iam(cloud, sleep)
    iam.ensure_role(instance.launch, instance.record.marks())
    iam.allow(instance.launch, MACHINE, host_keys.policy(host_keys.store(cloud), instance.launch))
    if instance.via == "ssm":
        iam.allow_sessions(instance.launch)
    while not runs.is_set():
        sleep(0.2)
    Ec2(cloud, sleep).associate(instance.id, instance.launch)


def _attach(cloud: Cloud, instance: Instance, sleep: Sleep) -> list[tuple[str, str, str]]:
    """Attach the kept volumes that were there already; new ones the machine has from the start. Ids, devices, names."""
    volumes = Volumes(cloud, sleep)
    wanted = devices(instance.record.volumes)
    return [(volumes.of(instance, volume, device), device, volume.name) for device, volume in wanted]


def _mount(cloud: Cloud, instance: Instance, disks: Sequence[tuple[str, str, str]], say: Say) -> None:
    """Mount them all; only then are those kept that are to be, or a launch that failed would leave them."""
    if not disks:
        return
    with shell(cloud, instance) as host:
        for volume_id, device, name in disks:
            said = host.run(["sudo", "sh", "-c", script("mount.sh"), "mount.sh", volume_id, device, name]).out
            say(f"  host: {said.strip()}")
    to_keep = {volume.name for volume in instance.record.volumes if volume.keep}
    for volume_id, _, name in disks:
        if name in to_keep:
            Volumes(cloud).keep(instance, volume_id, name)


def kept(
    cloud: Cloud, instance: Instance, minutes: float, error: HostError, move: Callable[[datetime], None]
) -> ProvisionError:
    """The error to raise where a failed machine is to be kept for a look: `move` gives it a sooner end.

    A KeptError; `error` itself where its end cannot be moved: then it is not kept.
    """
    at = now() + timedelta(minutes=minutes)
    at = min(at, instance.deadline or at)
    try:
        move(at)
    except ProvisionError:
        return error
    name = instance.name
    look = f"kept, and billed, until {clock(at)}: {cloud.hint(f'ssh {name}')}; end it: {cloud.hint(f'down {name}')}"
    return KeptError(error.what, f"{error.mend}; {look}" if error.mend else look)
