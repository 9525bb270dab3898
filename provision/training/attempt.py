"""One attempt: a container on a host that works on a run, from nothing or from the newest complete snapshot.

The order is such that a client killed anywhere leaves no unwatched container: first what the container needs, then
the guard's plan, then the container.
"""

import secrets
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial

from infra.aws.iam import Iam
from infra.aws.regions import s3_endpoint
from infra.aws.session import Cloud
from infra.aws.types import Instance
from infra.containers import ContainerSpec
from infra.docker_engine import open_remote
from infra.errors import EngineError, HostError, ProvisionError, RunError
from provision import console
from provision.console import Say
from provision.engines import container
from provision.files import guard, s3_to_host
from provision.files.s3_to_host import DATA_POLICY
from provision.hosts import facts, gpus, image
from provision.hosts.turn import turn
from provision.machines import login
from provision.offers import budget
from provision.runs import inputs, weights
from provision.runs.manifest import ENDED, Attempt, Snapshot, Terms
from provision.runs.policy import policy
from provision.runs.store import Run, number_of, taken, whoami
from provision.training import gpu_check
from provision.training.stage import Stage

_POLICIES = 5  # of about 1,700 characters; a role's inline policies may have 10,240 in all


@dataclass(frozen=True)
class Turn:
    """The attempt that is to begin: its number, which may be taken meanwhile, and the snapshots that it may go on
    from, the best one last. `chosen`: there are newer ones, which the user did not want."""

    number: int
    snapshots: Sequence[Snapshot] = ()
    chosen: bool = False


def start(
    cloud: Cloud, run: Run, instance: Instance, next_one: Turn, say: Say, give_way: Callable[[], object]
) -> Attempt:
    """Start that attempt of `run` on `instance`. RunError where another one has begun meanwhile.

    `give_way` is asked once the attempt is written down: its RunError says that the one before got its container after
    all. That one, before it makes it, looks for a later attempt: of two at most one trains.
    """
    with login.shell(cloud, instance) as shell, open_remote(shell) as engine:
        guard.install(shell)
        stage = Stage(cloud, run, instance, shell, engine, facts.look(shell), say)
        free = _free_gpus(stage)  # refuse before the work of minutes
        _allow(stage)
        _fetch_weights(stage)
        _send_image(stage)
        gpu_check.prove(stage, free)
        snapshot = _prepare_folder(stage, next_one.snapshots)
        inputs.place(stage.shell, run, say)
        with turn(stage.shell):  # two trainings would take the same GPUs
            taken = _free_gpus(stage)
            if taken != free:  # another training took some of them meanwhile
                gpu_check.prove(stage, taken)
            attempt = _attempt(stage, next_one, snapshot, taken)
            run.add_attempt(attempt)
            _stand_back(run, attempt, give_way)
            inputs.settle(run)
            inputs.take_code(stage.shell, run)
            _launch(stage, attempt, snapshot)
        _keep_inputs(stage)
    return attempt


def _stand_back(run: Run, attempt: Attempt, give_way: Callable[[], object]) -> None:
    """Take the attempt back where it does not begin for an earlier one, which is the newest again."""
    try:
        give_way()
    except BaseException:
        run.withdraw(attempt)
        raise


def _keep_inputs(stage: Stage) -> None:
    """Let the host copy data and code into S3. What goes wrong is said: the training has begun, and is not ended for
    it."""
    try:
        inputs.keep(stage.shell, stage.run)
    except ProvisionError as error:
        stage.say(f"{error.what}; another laptop that resumes {stage.run.id} has to give its data and code")


def _attempt(stage: Stage, next_one: Turn, snapshot: Snapshot | None, taken: tuple[int, ...]) -> Attempt:
    best = next_one.snapshots[-1] if next_one.snapshots else None
    return Attempt(
        number=next_one.number,
        instance=stage.instance.id,
        name=stage.instance.name,
        zone=stage.instance.zone,
        terms=_terms(stage),
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        resumed_from=snapshot.iteration if snapshot else 0,
        gpus=taken,
        chosen=next_one.chosen or snapshot != best,
        made_by=f"{whoami()} {secrets.token_hex(4)}",
        launch=stage.instance.launch,
    )


def _terms(stage: Stage) -> Terms:
    machine = stage.instance
    hourly = budget.most_per_hour(machine, stage.cloud.region)
    return Terms(machine.launched.isoformat(timespec="seconds"), machine.budget, hourly)


def _free_gpus(stage: Stage) -> tuple[int, ...]:
    """The indices of as many free GPUs as the run asks for. RunError where the host has too few, BusyError where others
    hold them."""
    return gpus.free(
        stage.engine, stage.facts, stage.run.manifest.gpus, stage.instance.name,
        too_few="train with --gpus {have}, or on a larger --instance",
        busy="wait for one of them with --wait, or train with fewer --gpus",
    )  # fmt: skip


def _allow(stage: Stage) -> None:
    """Let the instance's role touch this run's prefix; runs that have ended need theirs no more (IAM has a limit)."""
    iam, role = Iam(stage.cloud), stage.instance.launch
    s3_to_host.forbid_outdated(iam, role, datetime.now(timezone.utc))
    others = [name for name in iam.policies(role) if name != stage.run.id and not name.startswith(DATA_POLICY)]
    for name in others if len(others) >= _POLICIES else ():
        if Run(stage.run.store, name).state().state in ENDED:
            iam.forbid(role, name)
    iam.allow(role, stage.run.id, policy(stage.run))


def _fetch_weights(stage: Stage) -> None:
    """Trained weights, which the host fetches itself; what they are is written down for the run's next attempts."""
    run = stage.run
    if run.manifest.rendered.weights:
        run.note_weights(weights.fetch(stage.shell, run.manifest.rendered.weights, run.manifest.weights, stage.say))


def _send_image(stage: Stage) -> None:
    """The image over SSH, unless the host has that very one."""
    manifest = stage.run.manifest
    if not image.deliver(stage.shell, manifest.image, manifest.digest, f"provision image build {manifest.stack}"):
        stage.say(f"image {manifest.image} is there already")


def _prepare_folder(stage: Stage, snapshots: Sequence[Snapshot]) -> Snapshot | None:
    """The run's folder on the host: rendered files, and the best snapshot straight from S3. The one that it is."""
    rendered = stage.run.manifest.rendered
    guard.place(stage.shell, stage.run.id, {"log/": "", "snapshots/": "", **rendered.files})
    return _pull_best(stage, snapshots) if snapshots else None


def _pull_best(stage: Stage, snapshots: Sequence[Snapshot]) -> Snapshot:
    """Bring the last of the snapshots to the host; where it is damaged, the one before. RunError where all are."""
    for snapshot in reversed(snapshots):
        stage.say(f"snapshot of iteration {snapshot.iteration} from S3")
        target = f"{stage.folder}/{snapshot.stem.rpartition('/')[0]}".rstrip("/")
        try:
            s3_to_host.pull(stage.shell, stage.run.store, snapshot.prefix, target)
        except HostError as error:
            if not s3_to_host.is_damaged(error):
                raise
            console.line(f"the snapshot of iteration {snapshot.iteration} is damaged: {error.what}")
        else:
            return snapshot
    run = stage.run
    raise RunError(
        f"no snapshot of {run.id} is whole in S3",
        f"start it from nothing: {run.store.cloud.hint(f'resume {run.id} --from 0')}",
    )


def container_name(run: Run, number: int) -> str:
    return container.name(run.id, number)


def _launch(stage: Stage, attempt: Attempt, snapshot: Snapshot | None) -> None:
    """Give the guard its plan, then start the container."""
    manifest = stage.run.manifest
    name = container_name(stage.run, attempt.number)
    guard.plan(stage.shell, stage.run.id, _guard_plan(stage, attempt, name))
    rendered = manifest.rendered
    words = rendered.resumed(snapshot.stem) if snapshot else rendered.command
    spec = container.spec(
        manifest,
        words,
        name=name,
        user=f"{stage.facts.uid}:{stage.facts.gid}",
        gpus=facts.gpu_request(stage.facts, attempt.gpus),
        labels={"provision.attempt": str(attempt.number), "provision.gpus": ",".join(map(str, attempt.gpus))},
        environment={"LOG": container.log_of(attempt.number)},
    )
    _begin(stage, attempt, spec)
    stage.say(f"training on {stage.instance.name}: {shlex.join(words)}")


def _begin(stage: Stage, attempt: Attempt, spec: ContainerSpec) -> None:
    """Start the container, unless somebody took this attempt for one that never began; RunError then.

    They write their own attempt first and remove a container that has not started afterwards. So the look between the
    two steps here either finds their attempt, or the container that they find is one that they remove.
    """
    look = partial(_refuse_older, stage.run, attempt)
    look()
    try:
        stage.engine.run(spec, before_start=look)
    except EngineError:
        look()  # they have removed the container
        raise


def _refuse_older(run: Run, attempt: Attempt) -> None:
    """RunError where there is a newer attempt than this one, which has not started yet."""
    newest = run.attempt_keys()[-1:]
    if newest and number_of(newest[0]) > attempt.number:
        raise taken(run, run.attempt(newest[0]))


def _guard_plan(stage: Stage, attempt: Attempt, name: str) -> dict[str, object]:
    store = stage.run.store
    return {
        **container.guard_plan(stage.run.manifest), "bucket": store.bucket, "prefix": stage.run.prefix,
        "region": store.cloud.region, "endpoint": s3_endpoint(store.cloud, store.bucket), "owner": store.owner,
        "attempt": attempt.number, "container": name, "instance": stage.instance.id, "machine": stage.instance.name,
        "resumed_from": attempt.resumed_from,
    }  # fmt: skip
