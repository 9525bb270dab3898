"""Training: start a run, see it through interruptions, stop it, resume it.

Nothing here is needed for the training to go on: the container is detached, the guard on the host saves it. What an
attached `train` adds is the replacement of a machine that was taken away.
"""

import getpass
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from infra.aws.ec2 import Ec2
from infra.aws.session import Cloud
from infra.aws.types import Instance
from infra.engine import open_local, open_remote
from infra.errors import HostError, ProvisionError, RunError
from infra.shell import LocalShell
from provision import attempts, console, follow, hostcopy, machines, runs, sources
from provision import recipe as recipes
from provision.machines import Wish
from provision.runs import Attempt, Manifest, Run
from provision.settings import Settings

if TYPE_CHECKING:
    from images.target import Target

Say = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """What the user asked `train` for. `gpus` None: all of the host's."""

    recipe: str
    options: Mapping[str, str]
    data: str | None = None
    project: str | None = None
    gpus: int | None = None
    ports: tuple[int, ...] = ()


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


def check(order: Order) -> None:
    """Refuse what is wrong with the order before a machine is rented for it."""
    from images import choose

    recipe = recipes.load(order.recipe, _project(order))
    choose.choose(recipe.stack)
    recipes.render(recipe, order.options)
    sources.data_source(recipe.data, order.data)
    sources.project_source(order.project)


def _project(order: Order) -> Path:
    return Path(order.project) if order.project else Path.cwd()


def compose(cloud: Cloud, settings: Settings, order: Order, instance: Instance, build: bool = True) -> Manifest:
    """The manifest; with `build` the image is built where it is not there yet."""
    from images import choose

    recipe = recipes.load(order.recipe, _project(order))
    target = choose.choose(recipe.stack)
    gpus = Ec2(cloud).instance_type(instance.type).gpus if order.gpus is None else order.gpus
    tag, digest = _built(target) if build else (target.tag, "")
    return Manifest(
        id=runs.new_id(recipe.name),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        recipe=recipe,
        rendered=recipes.render(recipe, order.options, gpus if target.variant.cuda else 0),
        stack=recipe.stack,
        image=tag,
        digest=digest,
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
            "max_price": instance.max_price,
            "started_by": f"{getpass.getuser()}@{socket.gethostname()}",
        },
    )  # fmt: skip


def _built(target: "Target") -> tuple[str, str]:
    from images.build import build_context, existing
    from images.render import render

    context = render(target)
    image = existing(context, LocalShell())
    if image is None:
        with console.step(f"building the image {context.tag}"):
            image = build_context(context, LocalShell())
    return image.tag, image.digest


def ensure_image(run: Run) -> None:
    """The run's image on this laptop: as it was, or built again from the same rendered Dockerfile."""
    from images import choose

    manifest = run.manifest
    if open_local().has_image(manifest.digest):
        return
    tag, digest = _built(choose.choose(manifest.stack))
    if digest != manifest.digest:
        console.line(f"  the image was built again here: {tag} is now {digest[:19]}, it was {manifest.digest[:19]}")
        run.use_image(tag, digest)


def begin(cloud: Cloud, run: Run, instance: Instance, say: Say) -> Attempt:
    """The next attempt, from the newest complete snapshot if there is one."""
    snapshots = run.snapshots()
    return attempts.start(cloud, run, instance, snapshots[-1] if snapshots else None, say)


def replace(cloud: Cloud, settings: Settings, run: Run, say: Say) -> Instance:
    """Another machine for a run whose machine is gone or going: another zone first, the same name and type."""
    last = run.attempts()[-1]
    manifest = run.manifest
    _end_old(cloud, last, say)
    kept = manifest.settings
    again = _with(settings, **{key: kept[key] for key in ("disk_gb", "max_hours", "max_price")})
    wish = Wish(last.name, manifest.type, manifest.market, avoid=last.zone)
    return machines.up(cloud, machines.plan(cloud, again, wish), say)


def _with(settings: Settings, **changes: object) -> Settings:
    import msgspec

    return msgspec.structs.replace(settings, **changes)


def _end_old(cloud: Cloud, last: Attempt, say: Say) -> None:
    """End the old machine: at once where no other training still works on it, else when AWS takes it."""
    old = Ec2(cloud).by_id(last.instance)
    if old is not None and old.alive and _others_train(cloud, old):
        say(f"{last.name} is going; other trainings there are still being saved")
        _wait_gone(cloud, old)
    say(f"ending what is left of {last.name}")
    machines.down(cloud, last.name, say)


def _others_train(cloud: Cloud, instance: Instance) -> bool:
    try:
        with machines.shell(cloud, instance) as shell, open_remote(shell) as engine:
            return bool(engine.containers("provision.run"))
    except ProvisionError:
        return False  # it does not answer any more: nothing trains there


def _wait_gone(cloud: Cloud, instance: Instance, timeout: float = 150.0) -> None:
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        now = Ec2(cloud).by_id(instance.id)
        if now is None or not now.alive:
            return
        time.sleep(2.0)


def stop(cloud: Cloud, run: Run, say: Say) -> str:
    """Let the training save its work and end; how the run stands then."""
    now = follow.outcome(cloud, run)
    if now not in ("starting", "running"):
        raise RunError(f"{run.id} does not run: it is {now}", _next(now, run))
    last = run.attempts()[-1]
    instance = Ec2(cloud).by_id(last.instance)
    if instance is None:
        raise HostError(f"{last.name} is gone", _next("lost", run))
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
