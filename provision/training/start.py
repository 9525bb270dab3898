"""Start a run on a machine: hold the plan against the machine, write the manifest, begin the next attempt.

Nothing here is needed for the training to go on: the container is detached, the guard on the host saves it. What a
`train` without a keeper adds is the replacement of a machine that was taken away (`training.through`).
"""

from dataclasses import replace
from datetime import datetime, timezone
from functools import partial

from images.choose import on_host
from infra.aws import s3_bucket
from infra.aws.ec2 import Ec2
from infra.aws.tags import TagRecord
from infra.aws.types import Instance
from infra.docker_engine import open_local, open_remote
from infra.errors import NotFoundError, RunError
from provision import console
from provision.clouds import Session
from provision.engines import begin as begin_kept
from provision.hosts import facts
from provision.hosts import image as images
from provision.machines import login
from provision.runs import expiry, inputs, standing, store, trust
from provision.runs.manifest import Attempt, Manifest, RunSettings
from provision.runs.standing import Standing
from provision.runs.store import AnyRun, Run
from provision.training import attempt, request
from provision.training.attempt import Turn
from provision.training.request import Host, TrainPlan, TrainRequest

_NEAREST = 8  # iterations of snapshots that are named, of many


def plan_on(session: Session, wanted: TrainRequest, instance: Instance) -> TrainPlan:
    """The plan for a machine that runs: it is asked for its GPU and driver where the training uses GPUs.

    UsageError for what cannot run there, HostError where nobody is let in, before an image is built or sent.
    """
    recipe = request.load(wanted)
    request.refuse_registry(wanted.image or "")
    login.refuse_kept(session.cloud, instance)
    gpus = Ec2(session.cloud).instance_type(instance.type).gpus if wanted.gpus is None else wanted.gpus
    host = Host(instance.type, gpus)
    if gpus and request.uses_gpus(wanted, recipe):
        with login.shell(session.cloud, instance) as shell:
            gpu, driver = facts.found_there(facts.look(shell), instance.type)
        host = replace(host, gpu=gpu, driver=driver)
    return request.resolve(wanted, host)


def refuse_another(session: Session, plan: TrainPlan, instance: Instance) -> None:
    """Refuse a machine that is not what the plan counted on: RunError for too few GPUs, UsageError for one that the
    image does not run on."""
    if not plan.uses_gpus:
        return
    with login.shell(session.cloud, instance) as shell:
        found = facts.look(shell)
    if len(found.gpus) < plan.gpus:
        raise RunError(
            f"{instance.name} ({instance.type}) has {len(found.gpus)} GPUs, and the plan is for {plan.gpus}",
            f"train with --gpus {len(found.gpus)}, or on a larger --instance",
        )
    gpu, driver = facts.found_there(found, instance.type)
    if gpu:
        on_host(plan.target, gpu, driver)


def create(session: Session, plan: TrainPlan, instance: Instance) -> Run:
    """Write down what is planned: the manifest in S3, with the rendered recipe and the image's digest.

    The image is built where it is not there yet. All that can be refused is refused before the first write: a machine
    that was rented for this plan, and is another than it counted on, too.
    """
    if plan.request.own_machine:
        refuse_another(session, plan, instance)
    return written(session, compose(session, plan, instance))


def written(session: Session, manifest: Manifest) -> Run:
    """The run of that manifest, which is written to the account's bucket; that is made at first use."""
    bucket = store.store(session.cloud)
    manifest = replace(manifest, data=inputs.owned(session.cloud, manifest.data, bucket.owner))
    days = s3_bucket.ensure(bucket, session.settings.expire_days, store.ROOT)
    expiry.tell(manifest, days)
    expiry.sweep(bucket)
    run = Run(bucket, manifest.id)
    run.write_manifest(manifest, inputs.folders_of(manifest.data, manifest.project))
    run.checked = True
    return run


def compose(session: Session, plan: TrainPlan, instance: Instance) -> Manifest:
    """The manifest of a plan on a machine; the image is built where it is not there yet."""
    request.refuse_registry(plan.image)
    image = images.obtain(plan.stack, lambda: login.shell(session.cloud, instance))
    return manifest_of(session, plan, image, instance.type, instance.market, instance.record)


def manifest_of(
    session: Session, plan: TrainPlan, image: images.RunImage, type: str, market: str, record: TagRecord
) -> Manifest:
    """The manifest of a plan on a machine of that type, which has, or will have, the tags of that record."""
    return Manifest(
        id=store.new_id(plan.recipe.name),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        recipe=plan.recipe,
        rendered=plan.rendered,
        stack=plan.stack,
        image=image.tag,
        digest=image.digest,
        data=plan.data,
        project=plan.project,
        gpus=plan.gpus,
        name=record.name,
        type=type,
        market=market,
        region=session.cloud.region,
        settings=_settings(session, plan, record, image_on_host=image.on_host),
    )


def _settings(session: Session, plan: TrainPlan, record: TagRecord, *, image_on_host: bool) -> RunSettings:
    """What another machine for this run is asked for by: the first one's own tags."""
    chosen = session.settings
    return RunSettings(
        push_seconds=chosen.push_seconds,
        ports=tuple(plan.request.ports),
        own_machine=plan.request.own_machine,
        diagnose=plan.request.diagnose,
        image_on_host=image_on_host,
        started_by=store.whoami(),
        disk_gb=record.disk_gb or chosen.disk_gb,
        max_hours=record.max_hours or chosen.max_hours,
        max_price=record.max_price,
        budget=record.budget,
        via=record.via,
        idle_minutes=record.idle_minutes,
        fallback="on-demand" if record.fallback else None,
        volumes=record.volumes,
        wish=record.wish,
        keep_on_error_minutes=record.keep_on_error_minutes,
    )


def ensure_image(run: Run) -> None:
    """The run's image on this laptop: as it was, or built again. One that the machine built is the machine's matter."""
    manifest = run.manifest
    request.refuse_registry(manifest.image)
    if not manifest.settings.image_on_host and not open_local().has_image(manifest.digest):
        _use(run, images.obtain(manifest.stack))


def _image_on_host(session: Session, run: Run, instance: Instance) -> None:
    """An image that was built on the machine before this one is built on this one, too."""
    manifest = run.manifest
    if not manifest.settings.image_on_host or open_local().has_image(manifest.digest):
        return
    with login.shell(session.cloud, instance) as host, open_remote(host) as engine:
        if not engine.has_image(manifest.digest):
            _use(run, images.build(manifest.stack, host, on_host=True))


def _use(run: Run, image: images.RunImage) -> None:
    if image.digest != run.manifest.digest:
        console.line(f"  the image was built again: {image.tag} is now {image.digest[:19]}")
        run.use_image(image.tag, image.digest)


def begin(session: Session, run: Run, instance: Instance, at: int | None = None) -> Attempt:
    """The next attempt, from the newest snapshot that is whole, or from that of the iteration `at` (0: from nothing).

    BusyError where other trainings hold the GPUs; RunError where the machine has too few, the GPUs do not work, the run
    goes on already, or its manifest is not this laptop's; NotFoundError where there is no such snapshot.
    """
    trust.check(run)
    number = run.next_number()  # before the look: who begins after it takes the same number
    now = standing.look(session.cloud, run)
    refuse_going(session, run, now)
    next_one = turn(run, number, at)
    _image_on_host(session, run, instance)
    give_way = partial(refuse_going, session, run, now)  # one that had no container may have got it since
    return attempt.start(session.cloud, run, instance, next_one, session.say, give_way)


def ready(session: Session, run: Run, at: int | None) -> Standing:
    """How a run stands that is to go on. The errors of `begin` that are known before anything is paid."""
    trust.check(run)
    now = standing.look(session.cloud, run)
    refuse_going(session, run, now)
    turn(run, 0, at)
    return now


def turn(run: AnyRun, number: int, at: int | None) -> Turn:
    """The attempt to begin, from the newest snapshots or from that of the iteration `at`; NotFoundError where there is
    none of it."""
    if at is None:
        return Turn(number, run.snapshots())
    if at == 0:
        return Turn(number, (), chosen=True)
    counting, every = run.snapshots(), run.all_snapshots()
    there = [snapshot for snapshot in (*every, *counting) if snapshot.iteration == at]  # one that counts goes before
    if not there:
        known = _some(sorted({snapshot.iteration for snapshot in every}), at)
        raise NotFoundError(
            f"{run.id} has no whole snapshot of iteration {at}",
            f"it has those of {known}; --from 0 starts from nothing" if known else "--from 0 starts from nothing",
        )
    return Turn(number, there[-1:], chosen=there[-1] != (counting[-1] if counting else None))


def _some(iterations: list[int], at: int) -> str:
    """Those iterations in words; of many the nearest to `at`, and the last."""
    near = sorted(sorted(iterations, key=lambda one: abs(one - at))[:_NEAREST])
    if len(iterations) <= _NEAREST + 1:
        return ", ".join(map(str, iterations))
    return f"{', '.join(map(str, near))}, and {len(iterations) - len(near)} others up to {iterations[-1]}"


def refuse_going(session: Session, run: Run, now: Standing) -> None:
    """RunError, which says who has it, where the run trains already or is about to."""
    if now.kept and now.keeper is not None:
        raise begin_kept.busy(run, now.keeper.keeping)
    if now.attempt is None or not now.goes_on:
        return
    if now.in_keepers_hands or now.word != "starting" or not never_began(session, run, now):
        raise store.taken(run, now.attempt)


def never_began(session: Session, run: Run, now: Standing) -> bool:
    """Whether the newest attempt has no container on its living machine that ever started: its client was killed, or
    lost the line, before. One that was made and not started is removed, so that it never starts.
    """
    if now.attempt is None or now.machine is None:
        return False
    with login.shell(session.cloud, now.machine) as shell, open_remote(shell) as engine:
        return engine.remove_unstarted(attempt.container_name(run, now.attempt.number))
