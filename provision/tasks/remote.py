"""A task on a machine: snapshots come to it from S3, what the user gave from this laptop, and the results come home.

Everything of the task lies in one folder of the host, /data/tasks/NAME, which is gone when it ends.
"""

import secrets
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra import buildx
from infra.aws.iam import Iam
from infra.aws.session import Cloud
from infra.aws.types import Instance
from infra.containers import Bind, GpuRequest
from infra.docker_engine import open_remote
from infra.errors import HostError, RunError, UsageError
from infra.shell import LocalShell, Result
from infra.ssh import SshShell
from provision import console
from provision.files import s3_to_host, to_host
from provision.hosts import facts, gpus, image
from provision.hosts.facts import Facts
from provision.machines import login
from provision.runs import fetch, inputs, policy, weights
from provision.runs.manifest import Source
from provision.runs.store import Run
from provision.tasks import container, local, workspace
from provision.tasks.job import Job, Step
from provision.tasks.local import Given

_TASKS = "/data/tasks"
_TRIES, _PAUSE_S = 5, 3.0  # a role's new rights take a while


@dataclass(frozen=True)
class _TaskStage:
    """What the steps work with. `run` is the job's, where it is in S3; `data` is the run's, or what was named in its
    place."""

    shell: SshShell
    run: Run | None
    data: Source
    facts: Facts
    gpus: GpuRequest
    image: str
    folder: str


def perform(
    cloud: Cloud, instance: Instance, job: Job, words: str | None, given: Given, data: str | None
) -> list[tuple[Step, Result | None]]:
    """Run every step on the machine, like `local.perform`; `data` is what the user gave."""
    named = str(given.data or data or "")
    asked, todo = local.asked_and_to_do(job, given, named)
    done: dict[Step, Result | None] = dict.fromkeys(job.steps)
    if todo:
        with login.shell(cloud, instance) as shell, _staged(cloud, instance, shell, job, words, data) as stage:
            binds = _shared_binds(stage, job, given, data)
            for step in todo:
                with console.step(f"{local.title(job, step)}, on {instance.name}"):
                    done[step] = _step(stage, job, step, binds, asked[step])
    return list(done.items())


@contextmanager
def _staged(
    cloud: Cloud, instance: Instance, shell: SshShell, job: Job, words: str | None, data: str | None
) -> Iterator[_TaskStage]:
    run = _reachable(job)
    source = inputs.data_source("", data) if data and data.startswith("s3://") else job.subject.data
    if run is not None:
        Iam(cloud).allow(instance.launch, run.id, policy.policy(run, source))
    found = facts.look(shell)
    folder = f"{_TASKS}/{local.plain(job.subject.name)}-{secrets.token_hex(3)}"
    request = facts.gpu_request(found, _free(shell, found, job.rendered.gpus))
    try:
        yield _TaskStage(shell, run, source, found, request, _image(shell, job, words), folder)
    finally:
        shell.run(["rm", "-rf", folder], check=False)


def _reachable(job: Job) -> Run | None:
    """The job's run. UsageError where it does not lie in S3: a machine of EC2 reads no other place."""
    run = job.subject.run
    if run is None or isinstance(run, Run):
        return run
    raise UsageError(
        f"{run.id} does not lie in S3, and a machine reads it nowhere else",
        f"bring it, and name the folder in its place: {run.store.hint(f'fetch {run.id} DIR')}",
    )


def _free(shell: SshShell, found: Facts, wanted: int) -> tuple[int, ...]:
    """The indices of so many free GPUs. RunError where the machine has too few, BusyError where others hold them."""
    if not wanted:
        return ()
    with open_remote(shell) as engine:
        return gpus.free(
            engine, found, wanted, shell.where,
            too_few="leave --gpus out to use the CPU", busy="wait for them, or leave --gpus out to use the CPU",
        )  # fmt: skip


def _image(shell: SshShell, job: Job, words: str | None) -> str:
    """The image on the host: the one that is there, else this laptop's is sent."""
    digest = job.subject.digest
    if not words and digest and buildx.inspect(shell, digest) is not None:
        return digest
    here = local.image(job.subject, words, job.rendered.gpus)
    digest = here if here.startswith("sha256:") else _digest(here)
    image.deliver(shell, here, digest, f"provision image build {job.subject.stack}")
    return digest


def _digest(tag: str) -> str:
    found = buildx.inspect(LocalShell(), tag)
    if found is None:
        raise RunError(f"the image {tag} is gone", "build it again: provision image build")
    return found.id


def _shared_binds(stage: _TaskStage, job: Job, given: Given, data: str | None) -> list[Bind]:
    """/in, /data, /project and /weights: what all steps see."""
    binds = []
    with local.scratch() as scratch:
        if staged := workspace.inputs(scratch / "in", given.inputs):
            sent = to_host.sync(stage.shell, staged, f"{stage.folder}/in")
            console.line(f"  sent: {sent.files} files, {console.size(sent.bytes)}")
            binds.append(Bind(f"{stage.folder}/in", "/in", read_only=True))
    if folder := _data(stage, job, given, data):
        binds.append(Bind(folder, "/data", read_only=True))
    if code := _project(stage, given):
        binds.append(Bind(code, "/project", read_only=True))
    return binds + _weights(stage, job)


def _project(stage: _TaskStage, given: Given) -> str:
    """The user's code on the host: as it is on this laptop, else as the run's training has it there."""
    if given.project is not None:
        sent = to_host.sync(stage.shell, given.project, f"{stage.folder}/project")
        console.line(f"  project: {sent.files} files, {console.size(sent.bytes)}")
        return f"{stage.folder}/project"
    folder = inputs.code_folder(stage.run.id) if stage.run is not None else ""
    return folder if folder and stage.shell.run(["test", "-d", folder], check=False).ok else ""


def _weights(stage: _TaskStage, job: Job) -> list[Bind]:
    """Those that a training left on the host: a task has a snapshot, and seldom needs more."""
    files = [(weights.path_on_host(weight), weight.file) for weight in job.rendered.weights]
    there = [(path, file) for path, file in files if stage.shell.run(["test", "-f", path], check=False).ok]
    return [Bind(path, f"/weights/{file}", read_only=True) for path, file in there]


def _data(stage: _TaskStage, job: Job, given: Given, data: str | None) -> str:
    """The data's folder on the host; only a score cannot do without it."""
    if data and given.data is not None:
        source = inputs.data_source("", str(given.data))
        to_host.sync(stage.shell, given.data, source.folder)
        return source.folder
    folder = stage.data.folder
    if stage.run is not None and folder and (data or job.task == "score"):
        inputs.place_data(stage.shell, stage.run, stage.data, console.line)
    there = folder and stage.shell.run(["test", "-d", folder], check=False).ok
    return folder if there else ""


def _step(stage: _TaskStage, job: Job, step: Step, binds: list[Bind], asked: "dict[str, object]") -> Result:
    work, out = f"{stage.folder}/work", f"{stage.folder}/out"
    stage.shell.run(["rm", "-rf", work, out])
    stage.shell.run(["mkdir", "-p", work, out])
    _send_work(stage, job, step, work)
    with workspace.results(step.out, asked) as home:
        user = f"{stage.facts.uid}:{stage.facts.gid}"
        both = [Bind(work, "/work"), Bind(out, "/out"), *binds]
        spec = local.container(job, step, stage.image, both, user, stage.gpus)
        result = container.run(stage.shell, spec, local.heard(job))
        if not result.ok:
            raise container.failure(result, job.subject.recipe, f"{local.title(job, step)} failed")
        _bring(stage, out, home)
    return result


def _send_work(stage: _TaskStage, job: Job, step: Step, work: str) -> None:
    """The rendered files, and the snapshot: from S3 by the host, or from the folder that was fetched."""
    with local.scratch() as scratch:
        workspace.fill(scratch / "work", job.rendered.files)
        if step.snapshot is not None and job.subject.folder is not None:
            for path in step.snapshot.paths:
                workspace.link_or_copy((job.subject.folder / path).resolve(), scratch / "work" / path)
        to_host.sync(stage.shell, scratch / "work", work)
    if step.snapshot is None or stage.run is None:
        return
    prefix = prefix_of(stage.run, step.snapshot.iteration)
    _pull(stage, prefix, f"{work}/{step.snapshot.stem.rpartition('/')[0]}".rstrip("/"))


def prefix_of(run: Run, iteration: int) -> str:
    """Where that snapshot lies in S3. RunError where the training has taken it away meanwhile."""
    found = [snapshot.prefix for snapshot in run.snapshots() if snapshot.iteration == iteration]
    if not found:
        raise RunError(
            f"the snapshot of iteration {iteration} of {run.id} is gone: newer snapshots took its place",
            "run the same command again, for the newest one",
        )
    return found[0]


def _pull(stage: _TaskStage, prefix: str, folder: str) -> None:
    assert stage.run is not None
    for again in range(_TRIES):
        try:
            s3_to_host.pull(stage.shell, stage.run.store, prefix, folder)
            return
        except HostError:
            if again == _TRIES - 1:
                raise
        time.sleep(_PAUSE_S)


def _bring(stage: _TaskStage, out: str, home: Path) -> None:
    """Bring the results as one tar; no file in it may lie outside the folder."""
    packed = f"{stage.folder}/out.tar"
    stage.shell.run(["tar", "-C", out, "-cf", packed, "."])
    with local.scratch() as scratch:
        stage.shell.get(packed, scratch / "out.tar")
        unpack(scratch / "out.tar", home)


def unpack(packed: Path, home: Path) -> None:
    """The plain files of a tar, by their names below `home`. RunError for a name that leads out of it."""
    with tarfile.open(packed) as tar:
        for member in tar:
            data = tar.extractfile(member) if member.isreg() else None
            if data is None:
                continue
            path = fetch.inside(home, member.name.removeprefix("./"))
            path.parent.mkdir(parents=True, exist_ok=True)
            with data, path.open("wb") as target:
                while chunk := data.read(1 << 20):
                    target.write(chunk)
