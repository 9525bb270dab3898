"""Start, or go on with, a training on a Slurm cluster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from infra.errors import UsageError
from infra.ssh_folder import SshFolder
from provision import clouds
from provision.console import Say
from provision.engines.slurm import image as images_there
from provision.engines.slurm import sweeping
from provision.engines.slurm.cluster import Cluster, ready
from provision.engines.slurm.engine import Slurm, Submission
from provision.engines.slurm.submitting import Limits
from provision.hosts import image as images
from provision.hosts.facts import Facts, Gpu, found_there
from provision.recipes.spec import Option
from provision.runs import inputs, store, sweeps, trust, weights
from provision.runs.manifest import Manifest, RunSettings, Source
from provision.runs.standing import Standing
from provision.runs.store import AnyRun
from provision.runs.sweeps import Sweep
from provision.settings import Settings
from provision.training import request
from provision.training.request import Host, TrainPlan, TrainRequest

_MARKET = "slurm"


@dataclass(frozen=True)
class There:
    """A cluster and the way to it."""

    cluster: Cluster
    place: SshFolder
    say: Say

    @property
    def engine(self) -> Slurm:
        return Slurm(self.cluster, self.place, self.say)


def plan(cluster: Cluster, wanted: TrainRequest) -> TrainPlan:
    """What would train in the cluster's partition: one GPU where it has some, and no number was given.

    UsageError where it was never asked, has fewer GPUs on a node, or the image does not run on them; for data in S3.
    """
    ready(cluster)
    if wanted.ports:
        raise UsageError("a training on a cluster opens no port", "leave out --port")
    partition = cluster.chosen()
    if partition is None:
        raise UsageError(
            f"{cluster.name} has no default partition",
            f"provision cluster add {cluster.name} {cluster.login} --partition NAME",
        )
    if (wanted.gpus or 0) > partition.gpus:
        raise UsageError(
            f"a node of {cluster.name}'s partition {partition.name} has {partition.gpus} GPUs, not {wanted.gpus}",
            f"train with --gpus {partition.gpus}",
        )
    gpus = (Gpu(0, partition.gpu, 0, partition.driver),) if partition.gpu else ()
    gpu, driver = found_there(Facts(0, 0, gpus=gpus), "")
    found = request.resolve(wanted, Host(partition.name, min(1, partition.gpus), gpu, driver))
    refuse_s3(found.data)
    return found


def refuse_s3(source: Source) -> None:
    if source.kind == "s3":
        raise UsageError(
            f"{source.value} is in S3, and a training on a cluster takes a folder of this laptop",
            f"bring it: {clouds.hint(f'data sync {source.value} DIR')}; then --data DIR",
        )


def create(plan: TrainPlan, there: There, chosen: Settings) -> AnyRun:
    """Write down what is planned; the image is built where it is not there yet. Nothing is queued then."""
    there.place.door.ask("make")
    manifest = manifest_of(plan, there, chosen)
    run = AnyRun(there.place, manifest.id)
    run.write_manifest(manifest, inputs.folders_of(manifest.data, manifest.project))
    run.checked = True
    return run


def manifest_of(plan: TrainPlan, there: There, chosen: Settings) -> Manifest:
    """The manifest of the plan; the image is built where it is not there yet."""
    image = images.obtain(plan.stack)
    asked = plan.request.gpus or 0  # an image without CUDA takes GPUs only where somebody asked for them
    return Manifest(
        id=store.new_id(plan.recipe.name), created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        recipe=plan.recipe, rendered=plan.rendered, stack=plan.stack, image=image.tag, digest=image.digest,
        data=plan.data, project=plan.project, gpus=plan.gpus if plan.uses_gpus else asked, name=there.cluster.name,
        type=plan.host.type, market=_MARKET, region="",
        settings=RunSettings(
            push_seconds=chosen.push_seconds, started_by=store.whoami(), diagnose=plan.request.diagnose,
        ),
    )  # fmt: skip


def sweep(
    plan: TrainPlan, there: There, chosen: Settings, options: Sequence[Mapping[str, Option]], at_once: int,
    limits: Limits,
) -> Sweep:  # fmt: skip
    """Write down a sweep of the plan's recipe with these options, and queue it as one array. UsageError where the
    recipe cannot be filled in with some of them."""
    there.place.door.ask("make")
    base, engine = manifest_of(plan, there, chosen), there.engine
    made = sweeps.make(base, plan.request.environment, options, at_once)
    sweeps.check(made)
    sources = {kind: source for kind, source in (("data", base.data), ("project", base.project)) if source.kind}
    first = AnyRun(there.place, base.id)
    binds = engine.bring(base, {
        kind: Path(source.value) if source.kind == "folder" else inputs.local(first, kind, source)
        for kind, source in sources.items()
    })  # fmt: skip
    if files := base.rendered.weights:
        fetched = weights.fetch(there.place.door.shell, files, base.weights, there.say, engine.weights_folder)
        made = msgspec.structs.replace(made, base={**made.base, "weights": fetched})
    sweeps.write(there.place, made)
    given = inputs.folders_of(base.data, base.project)
    runs = sweeping.runs(there.place, [sweeps.manifest_of(made, item) for item in made.items], given)
    sweeping.submit(engine, made.id, runs, binds, limits, at_once)
    return made


def go_on_with(engine: Slurm, made: Sweep, limits: Limits | None = None) -> list[str]:
    """Queue what is left of a sweep; those runs. RunError where it goes on already."""
    sweeping.refuse_going(engine, made.id)
    known = sweeping.words(engine, made.id, [item.run for item in made.items])
    left = [item for item in made.items if known[item.run] not in ("finished", "failed")]
    if not left:
        return []
    binds = sweeping.binds_of(engine, [item.run for item in made.items])
    runs = sweeping.runs(engine.place, [sweeps.manifest_of(made, item) for item in left], ())
    turn = sweeping.turns(engine.place, made.id)
    sweeping.submit(engine, made.id, runs, binds, limits or Limits(), made.at_once, turn)
    return [item.run for item in left]


def start(run: AnyRun, there: There, limits: Limits, at: int | None = None) -> Submission:
    """Bring what attempts need and queue the next one. The errors of `Slurm.bring` and `Slurm.start`."""
    _image(run, there)
    engine, manifest = there.engine, run.manifest
    sources = {kind: source for kind, source in (("data", manifest.data), ("project", manifest.project)) if source.kind}
    before = engine.binds(run)
    folders = {kind: inputs.local(run, kind, source) for kind, source in sources.items() if f"/{kind}" not in before}
    binds = {**before, **engine.bring(manifest, folders)}
    if manifest.rendered.weights:
        fetched = weights.fetch(
            there.place.door.shell, manifest.rendered.weights, manifest.weights, there.say, engine.weights_folder
        )
        run.note_weights(fetched)
    return engine.submit(run, binds, limits, at)


def _image(run: AnyRun, there: There) -> None:
    """Where the cluster has lost the image, and this laptop has another one by now, the run takes that."""
    manifest, known = run.manifest, ready(there.cluster)
    if images_there.is_there(there.place, manifest.digest, known.runtime):
        return
    image = images.obtain(manifest.stack)
    if image.digest != manifest.digest:
        there.say(f"the image was built again: {image.tag} is now {image.digest[:19]}")
        run.use_image(image.tag, image.digest)


def ready_to_resume(run: AnyRun, there: There) -> Standing:
    """How a run stands that is to go on. RunError where it goes on already, or its manifest is not this laptop's."""
    trust.check(run)
    there.engine.refuse_going(run)
    return replace(there.engine.state(run), snapshots=run.snapshots())


def give(run: AnyRun, there: There, data: str | None, project: str | None) -> None:
    """Take other data or code for the run from now on. UsageError for what is no folder of this laptop."""
    before = run.manifest
    new_data = inputs.data_source("", data) if data else before.data
    new_code = inputs.project_source(project) if project else before.project
    refuse_s3(new_data)
    if data or project:
        mine = inputs.folders_of(*(new_data,) * bool(data), *(new_code,) * bool(project))
        run.write_manifest(replace(before, data=new_data, project=new_code), mine)
        there.engine.forget_binds(run, [kind for kind, given in (("data", data), ("project", project)) if given])
