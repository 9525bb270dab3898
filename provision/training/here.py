"""Start, or go on with, a training on this laptop's own Docker engine."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from infra.docker_engine import open_local
from infra.errors import RunError, UsageError
from infra.shell import LocalShell
from provision.console import Say
from provision.engines.engine import Order
from provision.engines.here import begin, place
from provision.engines.here import sweep as working
from provision.engines.here.engine import Here, refuse_no_docker
from provision.hosts import facts
from provision.hosts import image as images
from provision.recipes.spec import Option
from provision.runs import inputs, store, sweeps, trust, weights
from provision.runs.manifest import Manifest, RunSettings, Source
from provision.runs.standing import Standing
from provision.runs.store import AnyRun
from provision.runs.sweeps import Sweep
from provision.settings import Settings
from provision.training import request
from provision.training.request import Host, TrainPlan, TrainRequest

_KIND = "laptop"


def plan(wanted: TrainRequest) -> TrainPlan:
    """What would train here. RunError where this laptop has fewer GPUs; UsageError for data that it has not, and for
    what cannot run here."""
    request.load(wanted)
    have = facts.look(LocalShell())
    if wanted.gpus is not None and wanted.gpus > len(have.gpus):
        raise RunError(
            f"this laptop has {len(have.gpus)} GPUs, not {wanted.gpus}",
            f"train with --gpus {len(have.gpus)}, or on a machine: --instance TYPE",
        )
    gpu, driver = facts.found_there(have, "")
    found = request.resolve(wanted, Host(gpus=len(have.gpus), gpu=gpu, driver=driver))
    _refuse_s3(found.data)
    return found


def _refuse_s3(source: Source) -> None:
    if source.kind == "s3":
        raise UsageError(
            f"{source.value} is in S3, and a training on this laptop takes a folder",
            f"bring it: {place.store().hint(f'data sync {source.value} DIR')}; then --data DIR",
        )


def create(plan: TrainPlan, chosen: Settings) -> AnyRun:
    """Write down what is planned; the image is built where it is not there yet. Nothing has begun then."""
    manifest = manifest_of(plan, chosen)
    run = AnyRun(place.store(), manifest.id)
    run.write_manifest(manifest, inputs.folders_of(manifest.data, manifest.project))
    run.checked = True
    return run


def manifest_of(plan: TrainPlan, chosen: Settings) -> Manifest:
    """The manifest of the plan; the image is built where it is not there yet."""
    refuse_no_docker()
    image = images.obtain(plan.stack)
    return Manifest(
        id=store.new_id(plan.recipe.name), created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        recipe=plan.recipe, rendered=plan.rendered, stack=plan.stack, image=image.tag, digest=image.digest,
        data=plan.data, project=plan.project, gpus=plan.gpus if plan.uses_gpus else 0, name=place.NAME, type=_KIND,
        market="", region="", settings=RunSettings(
            push_seconds=chosen.push_seconds, ports=tuple(plan.request.ports), diagnose=plan.request.diagnose,
            started_by=store.whoami(),
        ),
    )  # fmt: skip


def sweep(plan: TrainPlan, chosen: Settings, options: Sequence[Mapping[str, Option]], at_once: int, say: Say) -> Sweep:
    """Write down a sweep of the plan's recipe with these options, and let a process work on it. UsageError where the
    recipe cannot be filled in with some of them. Killed before the end, it leaves a sweep that can be gone on with."""
    base = manifest_of(plan, chosen)
    made = sweeps.make(base, plan.request.environment, options, at_once)
    sweeps.check(made)
    if base.data.kind == "prepared":
        inputs.local(AnyRun(place.store(), base.id), "data", base.data)
    if base.project.kind:
        (code := working.code_of(made)).parent.mkdir(parents=True, exist_ok=True)
        begin.copy_folder(Path(base.project.value), code)
    if files := base.rendered.weights:
        fetched = weights.fetch(LocalShell(), files, base.weights, say, begin.weights_folder())
        made = msgspec.structs.replace(made, base={**made.base, "weights": fetched})
    sweeps.write(place.store(), made)
    working.start(made.id)
    return made


def start(run: AnyRun, at: int | None, say: Say) -> None:
    """Begin the next attempt of the run, with all that its container needs on this laptop. The errors of
    `Here.start`; RunError for data or code that its user has not given on this laptop."""
    bring(run, say)
    Here().start(run, Order(at))


def bring(run: AnyRun, say: Say) -> None:
    """Data, code, trained weights and image of the run, where they are not here yet."""
    manifest = run.manifest
    if manifest.data.kind:
        inputs.local(run, "data", manifest.data)
    if manifest.project.kind and not Path(run.store.url(run.key("inputs", "project"))).is_dir():
        begin.copy_code(inputs.local(run, "project", manifest.project), run)
    if files := manifest.rendered.weights:
        run.note_weights(weights.fetch(LocalShell(), files, manifest.weights, say, begin.weights_folder()))
    if not open_local().has_image(manifest.digest):
        image = images.obtain(manifest.stack)
        if image.digest != manifest.digest:
            say(f"  the image was built again: {image.tag} is now {image.digest[:19]}")
            run.use_image(image.tag, image.digest)


def ready(run: AnyRun, at: int | None) -> Standing:
    """How a run stands that is to go on. RunError where it goes on already, or has finished; NotFoundError where there
    is no such snapshot; what is known before anything is done."""
    refuse_no_docker()
    trust.check(run)
    now = Here().state(run)
    if now.goes_on and now.attempt is not None:
        raise store.taken(run, now.attempt)
    return replace(now, snapshots=run.snapshots())


def give(run: AnyRun, data: str | None, project: str | None) -> None:
    """Take other data or code for the run from now on. UsageError for what is no folder of this laptop."""
    before = run.manifest
    new_data = inputs.data_source("", data) if data else before.data
    new_code = inputs.project_source(project) if project else before.project
    _refuse_s3(new_data)
    if data or project:
        mine = inputs.folders_of(*(new_data,) * bool(data), *(new_code,) * bool(project))
        run.write_manifest(replace(before, data=new_data, project=new_code), mine)
    if project:
        shutil.rmtree(run.store.url(run.key("inputs", "project")), ignore_errors=True)
