"""Training: start a run, see it through interruptions, stop it, resume it.

Nothing here is needed for the training to go on: the container is detached, the guard on the host saves it. What an
attached `train` adds is the replacement of a machine that was taken away.
"""

import getpass
import socket
import time
from collections.abc import Callable
from datetime import datetime, timezone

import msgspec

from infra.aws.ec2 import Ec2
from infra.aws.session import Cloud
from infra.aws.types import Instance
from infra.engine import open_local, open_remote
from infra.errors import HostError, ProvisionError, RunError
from provision import (
    attempts,
    console,
    cost,
    ending,
    follow,
    hostcopy,
    machines,
    ordering,
    renting,
    runimage,
    runs,
    sources,
)
from provision.ordering import Order
from provision.runs import Attempt, Manifest, Run
from provision.settings import Settings
from provision.wish import Wish

Say = Callable[[str], None]
_GOING_S = 150.0


def create(cloud: Cloud, settings: Settings, order: Order, instance: Instance) -> Run:
    """Write down what is asked for: the manifest in S3, with the rendered recipe and the image's digest.

    All that can be refused is refused before the first write.
    """
    manifest = compose(cloud, settings, order, instance)
    store = runs.store(cloud)
    store.ensure(settings.expire_days, runs.ROOT)
    run = Run(store, manifest.id)
    run.write_manifest(manifest)
    return run


def compose(cloud: Cloud, settings: Settings, order: Order, instance: Instance, build: bool = True) -> Manifest:
    """The manifest; with `build` the image is built where it is not there yet."""
    recipe = ordering.load(order)
    gpus = Ec2(cloud).instance_type(instance.type).gpus if order.gpus is None else order.gpus
    words = ordering.image_words(order, recipe, gpus, instance.type)
    image = runimage.obtain(words, lambda: machines.shell(cloud, instance)) if build else runimage.planned(words)
    return Manifest(
        id=runs.new_id(recipe.name),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        recipe=recipe,
        rendered=ordering.render(order, recipe, gpus if image.target.variant.cuda else 0),
        stack=words,
        image=image.tag,
        digest=image.digest,
        data=sources.data_source(recipe.data, order.data),
        project=sources.project_source(order.project),
        gpus=gpus,
        name=instance.name,
        type=instance.type,
        market=instance.market,
        region=cloud.region,
        settings={
            "push_seconds": settings.push_seconds, "ports": list(order.ports),
            "disk_gb": int(instance.tags.get("provision:disk", settings.disk_gb)),
            "max_hours": float(instance.tags.get("provision:hours", settings.max_hours)),
            "max_price": instance.max_price, "budget": instance.budget,
            "own_machine": order.own_machine, "diagnose": order.diagnose, "image_on_host": image.on_host,
            "started_by": f"{getpass.getuser()}@{socket.gethostname()}",
        },
    )  # fmt: skip


def ensure_image(run: Run) -> None:
    """The run's image on this laptop: as it was, or built again. One that the machine built is the machine's matter."""
    manifest = run.manifest
    if not manifest.settings.get("image_on_host") and not open_local().has_image(manifest.digest):
        _use(run, runimage.obtain(manifest.stack))


def _image_on_host(cloud: Cloud, run: Run, instance: Instance) -> None:
    """An image that was built on the machine before this one is built on this one, too."""
    manifest = run.manifest
    if not manifest.settings.get("image_on_host") or open_local().has_image(manifest.digest):
        return
    with machines.shell(cloud, instance) as host, open_remote(host) as engine:
        if not engine.has_image(manifest.digest):
            _use(run, runimage.build(manifest.stack, host, on_host=True))


def _use(run: Run, image: runimage.RunImage) -> None:
    if image.digest != run.manifest.digest:
        console.line(f"  the image was built again: {image.tag} is now {image.digest[:19]}")
        run.use_image(image.tag, image.digest)


def begin(cloud: Cloud, run: Run, instance: Instance, say: Say) -> Attempt:
    """The next attempt, from the newest complete snapshot if there is one."""
    _image_on_host(cloud, run, instance)
    snapshots = run.snapshots()
    return attempts.start(cloud, run, instance, snapshots[-1] if snapshots else None, say)


def machine_again(cloud: Cloud, settings: Settings, run: Run, say: Say) -> Instance:
    """A machine for a run that is to go on: its own if that lives, the one that took its name, or a new one.

    A new one has the same name and type, and another zone comes first. It is in the run's region, where its data is.
    """
    manifest, last = run.manifest, _last(run)
    name = last.name if last else manifest.name
    with machines.locked(cloud, name):
        old = Ec2(cloud).by_id(last.instance) if last else None
        dying = follow.outcome(cloud, run) in ("interrupted", "lost")
        there = machines.living(cloud, name)
        if there is not None and not (dying and last and there.id == last.instance):
            return machines.rejoin(cloud, there, say)
        if last is not None:
            if old is not None and old.alive:
                _wait_for_others(cloud, old, say)
            ending.end_old(cloud, name, last.instance, say)
        kept = manifest.settings
        same = {key: kept[key] for key in ("disk_gb", "max_hours", "max_price")}
        same["budget"] = _budget_left(cloud, run, last) or settings.budget
        again = msgspec.structs.replace(settings, **same, region=cloud.region, more_regions=())
        wish = Wish(name, manifest.type, manifest.market, avoid=last.zone if last else "")
        return renting.launch(cloud, again, wish, say)[1]


def _budget_left(cloud: Cloud, run: Run, last: Attempt | None) -> float | None:
    """What the machine before this one, which has ended, left of its budget in US dollars; None where it had none.

    RunError where nothing is left. Of a machine that AWS does not know any more (an hour after its end) the cost is
    not known either: then it is the budget with which the run began.
    """
    found = cost.bills(cloud, last.name) if last else []
    bill = next((one for one in found if last and one.id == last.instance), None)
    if bill is None or bill.left is None:
        whole: float | None = bill.budget if bill else run.manifest.settings.get("budget")
        return whole
    if bill.left <= 0:
        raise RunError(
            f"the budget of {bill.name}, ${bill.budget:g}, is spent",
            f"give it another: provision up --instance {bill.type} --name {bill.name} --budget USD, "
            f"then provision resume {run.id} --on {bill.name}",
        )
    return round(bill.left, 4)


def _last(run: Run) -> Attempt | None:
    found = run.attempts()
    return found[-1] if found else None


def _wait_for_others(cloud: Cloud, old: Instance, say: Say) -> None:
    """The old machine may be ended at once only if no other training is still being saved there."""
    if not _others_train(cloud, old):
        return
    say(f"{old.name} is going; other trainings there are still being saved")
    until = time.monotonic() + _GOING_S
    while time.monotonic() < until:
        now = Ec2(cloud).by_id(old.id)
        if now is None or not now.alive or not _others_train(cloud, old):
            return
        time.sleep(2.0)
    raise HostError(
        f"{old.name} is still there, and other trainings may still run on it",
        f"end it if they do not: provision down {old.name}; then resume",
    )


def _others_train(cloud: Cloud, instance: Instance) -> bool:
    """A machine that does not answer may train for all we know."""
    try:
        with machines.shell(cloud, instance) as shell, open_remote(shell) as engine:
            return bool(engine.containers("provision.run"))
    except ProvisionError:
        return True


def never_began(cloud: Cloud, run: Run) -> bool:
    """Whether the newest attempt has no container on its living machine: its client was killed before it made one."""
    last = _last(run)
    instance = Ec2(cloud).by_id(last.instance) if last else None
    if last is None or instance is None:
        return False
    with machines.shell(cloud, instance) as shell, open_remote(shell) as engine:
        return engine.inspect(attempts.container_name(run, last.number)) is None


def taken_away(cloud: Cloud, run: Run) -> bool:
    """Whether AWS took the machine. Not so: the user ended it, or its deadline did; then it is not replaced."""
    state = run.state()
    if state["state"] == "interrupted" and state.get("reason"):
        return bool(state["reason"] == "spot interruption")
    last = _last(run)
    old = Ec2(cloud).by_id(last.instance) if last else None
    return old is None or old.taken_away


def stop(cloud: Cloud, run: Run, say: Say) -> str:
    """Let the training save its work and end; how the run stands then."""
    now = follow.outcome(cloud, run)
    if now not in ("starting", "running"):
        raise RunError(f"{run.id} does not run: it is {now}", _next(now, run))
    last = _last(run)
    instance = Ec2(cloud).by_id(last.instance) if last else None
    if last is None or instance is None:
        raise RunError(f"{run.id} has not begun to train", f"start it: provision resume {run.id}")
    rule = run.manifest.recipe.stop
    with machines.shell(cloud, instance) as shell, open_remote(shell) as engine:
        shell.run(["touch", f"{hostcopy.HOST_RUNS}/{run.id}/stop-requested"])
        engine.signal(attempts.container_name(run, last.number), rule.signal)
    say(f"{rule.signal} sent; waiting until its work is saved")
    return _wait_ended(cloud, run, rule.timeout + 60.0)


def _wait_ended(cloud: Cloud, run: Run, timeout: float) -> str:
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        now = follow.outcome(cloud, run)
        if now not in ("starting", "running"):
            return now
        time.sleep(0.5)
    raise RunError(
        f"{run.id} did not end within {timeout:g} s",
        "its last snapshot is in S3: provision down ends its machine",
    )


def _next(state: str, run: Run) -> str:
    if state in ("interrupted", "lost", "stopped"):
        return f"go on with it: provision resume {run.id}"
    return f"its results: provision fetch {run.id}"
