"""One attempt: a container on a host that works on a run, from nothing or from the newest complete snapshot.

The order is such that a client killed anywhere leaves no unwatched container: first what the container needs, then
the guard's run.json, then the container.
"""

import json
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from infra.aws.iam import Iam
from infra.aws.session import Cloud
from infra.aws.types import Instance
from infra.engine import Bind, ContainerSpec, Engine, open_local, open_remote
from infra.errors import RunError
from infra.ssh import SshShell
from provision import console, facts, gpuproof, hostcopy, imagecache, machines, sources, weights
from provision.facts import Facts
from provision.hostcopy import HOST_RUNS
from provision.recipe import to_dict
from provision.runs import ENDED, Attempt, Run, Snapshot

Say = Callable[[str], None]
_OWN = ("s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload")
_POLICIES = 12  # of about 500 characters; a role's inline policies may have 10,240 in all
_LOGGED = 'exec "$@" >> "$LOG" 2>&1'


@dataclass(frozen=True)
class Stage:
    """All that an attempt works with."""

    cloud: Cloud
    run: Run
    instance: Instance
    shell: SshShell
    engine: Engine
    facts: Facts
    say: Say

    @property
    def folder(self) -> str:
        """The run's folder on the host: the container's /work."""
        return f"{HOST_RUNS}/{self.run.id}"


def start(cloud: Cloud, run: Run, instance: Instance, snapshot: Snapshot | None, say: Say) -> Attempt:
    """Start the next attempt of `run` on `instance`, from `snapshot` if there is one."""
    with machines.shell(cloud, instance) as shell, open_remote(shell) as engine:
        stage = Stage(cloud, run, instance, shell, engine, facts.look(shell), say)
        free = free_gpus(stage)  # refuse before the work of minutes
        _allow(stage)
        _fetch_weights(stage)
        _send_image(stage)
        gpuproof.prove(stage, free)
        _prepare_folder(stage, snapshot)
        sources.place(stage.shell, cloud, run, say)
        with _turn(stage):
            gpus = free_gpus(stage)
            if gpus != free:  # another training took some of them meanwhile
                gpuproof.prove(stage, gpus)
            attempt = _attempt(stage, snapshot, gpus)
            run.add_attempt(attempt)
            _launch(stage, attempt, snapshot)
        sources.keep(stage.shell, cloud, run)
    return attempt


def _attempt(stage: Stage, snapshot: Snapshot | None, gpus: tuple[int, ...]) -> Attempt:
    return Attempt(
        number=len(stage.run.attempts()) + 1,
        instance=stage.instance.id,
        name=stage.instance.name,
        zone=stage.instance.zone,
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        resumed_from=snapshot.iteration if snapshot else 0,
        gpus=gpus,
    )


@contextmanager
def _turn(stage: Stage) -> Iterator[None]:
    """One start at a time on a host, or two would take the same GPUs. A lock whose owner died counts for a minute."""
    lock = f"{HOST_RUNS}/.starting"
    take = 'find "$1" -maxdepth 0 -mmin +1 -exec rmdir {} + 2>/dev/null; mkdir "$1" 2>/dev/null'
    until = time.monotonic() + 120
    while not stage.shell.run(["sh", "-c", take, "sh", lock], check=False).ok:
        if time.monotonic() > until:
            raise RunError(f"another training is being started on {stage.instance.name}", "try again in a minute")
        time.sleep(0.5)
    try:
        yield
    finally:
        stage.shell.run(["rmdir", lock], check=False)


def free_gpus(stage: Stage) -> tuple[int, ...]:
    """As many GPUs as the run asks for that no running training holds; RunError where they are not there."""
    wanted = stage.run.manifest.gpus
    have = [gpu.index for gpu in stage.facts.gpus]
    if wanted > len(have):
        raise RunError(
            f"{stage.instance.name} ({stage.instance.type}) has {len(have)} GPUs, not {wanted}",
            f"train with --gpus {len(have)}, or on a larger --instance",
        )
    holders = {one.labels["provision.run"]: one.labels.get("provision.gpus", "") for one in _trainings(stage.engine)}
    taken = {int(index) for held in holders.values() for index in held.split(",") if index}
    free = [index for index in have if index not in taken]
    if wanted > len(free):
        raise RunError(
            f"{len(free)} of {stage.instance.name}'s {len(have)} GPUs are free, not {wanted}: "
            f"the others train {', '.join(holders)}",
            "wait for one of them with --wait, or train with fewer --gpus",
        )
    return tuple(free[:wanted])


def _trainings(engine: Engine) -> list[Any]:
    return engine.containers("provision.run")


def _allow(stage: Stage) -> None:
    """Let the instance's role touch this run's prefix; runs that have ended need theirs no more (IAM has a limit)."""
    iam, role = Iam(stage.cloud), stage.instance.resource
    others = [name for name in iam.policies(role) if name != stage.run.id]
    for name in others if len(others) >= _POLICIES else ():
        if Run(stage.run.store, name).state()["state"] in ENDED:
            iam.forbid(role, name)
    iam.allow(role, stage.run.id, policy(stage.run))


def policy(run: Run) -> dict[str, object]:
    """The inline policy of one run: its own prefix, of which it may delete old snapshots where the recipe says so, and
    read access to its data's S3 prefix if it has one."""
    bucket = f"arn:aws:s3:::{run.store.bucket}"
    may: list[dict[str, object]] = [
        {"Effect": "Allow", "Action": list(_OWN), "Resource": f"{bucket}/{run.prefix}*"},
        {
            "Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket,
            "Condition": {"StringLike": {"s3:prefix": f"{run.prefix}*"}},
        },
    ]  # fmt: skip
    data = run.manifest.data
    if run.manifest.recipe.snapshots.keep:
        may.append({"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": f"{bucket}/{run.prefix}snapshots/*"})
    if data.kind == "s3":
        name, _, prefix = data.value.removeprefix("s3://").partition("/")
        other = f"arn:aws:s3:::{name}"
        may.append({"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"{other}/{prefix}*"})
        may.append(
            {
                "Effect": "Allow", "Action": "s3:ListBucket", "Resource": other,
                "Condition": {"StringLike": {"s3:prefix": f"{prefix}*"}},
            }
        )  # fmt: skip
    return {"Version": "2012-10-17", "Statement": may}


def _fetch_weights(stage: Stage) -> None:
    """Trained weights, which the host fetches itself; what they are is written down for the run's next attempts."""
    run = stage.run
    if run.manifest.rendered.weights:
        run.note_weights(weights.fetch(stage.shell, run.manifest.rendered.weights, run.manifest.weights, stage.say))


def _send_image(stage: Stage) -> None:
    """The image over SSH, unless the host has that very one."""
    manifest = stage.run.manifest
    if stage.engine.has_image(manifest.digest):
        stage.say(f"image {manifest.image} is there already")
        return
    here = open_local()
    if not here.has_image(manifest.digest):
        raise RunError(
            f"this laptop has no image {manifest.image} ({manifest.digest[:19]})",
            f"build it: provision image build {manifest.stack}",
        )
    with console.step(f"image {manifest.image} to {stage.instance.name}"):
        stage.engine.load(imagecache.chunks(here, manifest.image, manifest.digest))


def _prepare_folder(stage: Stage, snapshot: Snapshot | None) -> None:
    """The run's folder on the host: rendered files, and the snapshot straight from S3."""
    folder = stage.folder
    rendered = stage.run.manifest.rendered
    stage.shell.run(["mkdir", "-p", f"{folder}/log", f"{folder}/snapshots"])
    for name, text in rendered.files.items():
        stage.shell.run(
            ["sh", "-c", 'mkdir -p "$(dirname "$1")" && cat > "$1"', "sh", f"{folder}/{name}"],
            stdin=text.encode(),
        )
    stage.shell.run(["rm", "-f", f"{folder}/stop-requested"])
    if snapshot is None:
        return
    stage.say(f"snapshot of iteration {snapshot.iteration} from S3")
    target = f"{folder}/{snapshot.stem.rpartition('/')[0]}".rstrip("/")
    hostcopy.pull(stage.shell, stage.run, snapshot.prefix, target)


def container_name(run: Run, number: int) -> str:
    return f"provision-{run.id}-{number:03d}"


def _launch(stage: Stage, attempt: Attempt, snapshot: Snapshot | None) -> None:
    """Tell the guard, then start the container."""
    manifest = stage.run.manifest
    name = container_name(stage.run, attempt.number)
    plan = json.dumps(_guard_plan(stage, attempt, name)).encode()
    target = f"{stage.folder}/run.json"
    stage.shell.run(["sh", "-c", 'cat > "$1.part" && mv "$1.part" "$1"', "sh", target], stdin=plan)
    recipe, rendered = manifest.recipe, manifest.rendered
    words = rendered.resumed(snapshot.stem) if snapshot else rendered.command
    log = f"log/attempt-{attempt.number:03d}.txt"
    stage.engine.run(
        ContainerSpec(
            name=name,
            image=manifest.image,
            command=("sh", "-c", _LOGGED, "sh", *words),
            user=f"{stage.facts.uid}:{stage.facts.gid}",
            binds=_binds(stage),
            gpus=facts.gpu_request(stage.facts, attempt.gpus),
            labels={
                "provision.run": stage.run.id,
                "provision.attempt": str(attempt.number),
                "provision.gpus": ",".join(map(str, attempt.gpus)),
                "provision.image": manifest.digest,
            },
            environment={**rendered.environment, "LOG": log},
            ports=tuple(manifest.settings.get("ports", ())),
            stop_signal=recipe.stop.signal,
        )
    )
    stage.say(f"training on {stage.instance.name}: {shlex.join(words)}")


def _guard_plan(stage: Stage, attempt: Attempt, container: str) -> dict[str, object]:
    manifest, store = stage.run.manifest, stage.run.store
    plain = to_dict(manifest.recipe)
    return {
        "id": stage.run.id, "bucket": store.bucket, "prefix": stage.run.prefix, "region": store.cloud.region,
        "endpoint": store.cloud.endpoint, "attempt": attempt.number, "container": container,
        "snapshots": plain["snapshots"], "stop": plain["stop"], "outputs": plain["outputs"],
        "push_seconds": manifest.settings.get("push_seconds", 5.0), "instance": stage.instance.id,
        "resumed_from": attempt.resumed_from, "power_off_after": bool(manifest.settings.get("own_machine")),
    }  # fmt: skip


def _binds(stage: Stage) -> tuple[Bind, ...]:
    manifest = stage.run.manifest
    binds = [Bind(stage.folder, "/work")]
    if manifest.data.folder:
        binds.append(Bind(manifest.data.folder, "/data", read_only=True))
    if manifest.project.folder:
        binds.append(Bind(sources.code_folder(stage.run), "/project", read_only=True))
    files = manifest.rendered.weights
    return (*binds, *(Bind(weights.path_on_host(one), f"/weights/{one.file}", read_only=True) for one in files))
