"""A task on a machine: snapshots come to it from S3, what the user gave from this laptop, and the results come home.

Everything of the task lies in one folder of the host, /data/tasks/NAME, which is gone when it ends.
"""

import secrets
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from infra import buildx
from infra.aws.iam import Iam
from infra.aws.session import Cloud
from infra.aws.types import Instance
from infra.engine import Bind, GpuRequest, open_local, open_remote
from infra.errors import HostError, RunError
from infra.shell import Result
from infra.ssh import SshShell
from provision import (
    attempts,
    console,
    facts,
    fetch,
    hostcopy,
    imagecache,
    machines,
    runs,
    sources,
    sync,
    task_container,
    task_files,
    task_here,
    weights,
)
from provision.facts import Facts
from provision.runs import Run
from provision.task_here import Given
from provision.tasks import Job, Step

_TASKS = "/data/tasks"
_TRIES, _PAUSE_S = 5, 3.0  # a role's new rights take a while


@dataclass(frozen=True)
class _Stage:
    """What the steps work with. `run` is the job's, where it is in S3."""

    shell: SshShell
    run: Run | None
    facts: Facts
    gpus: GpuRequest
    image: str
    folder: str


def perform(
    cloud: Cloud, instance: Instance, job: Job, image: str | None, given: Given, data: str | None
) -> list[tuple[Step, Result | None]]:
    """As `task_here.perform`; `data` as the user gave it."""
    named = str(given.data or data or "")
    listed = task_files.listed(given.inputs)
    asked = {one: job.asked(one, named, listed, str(given.project or "")) for one in job.steps}
    todo = [one for one in job.steps if not task_files.done_before(one.out, asked[one], given.replace)]
    for step in todo:
        task_files.refuse_other(step.out, given.replace)
    done: dict[Step, Result | None] = dict.fromkeys(job.steps)
    if todo:
        with machines.shell(cloud, instance) as shell, _staged(cloud, instance, shell, job, image, data) as stage:
            binds = _shared_binds(stage, job, given, data)
            for step in todo:
                with console.step(f"{task_here.title(job, step)}, on {instance.name}"):
                    done[step] = _step(stage, job, step, binds, asked[step])
    return list(done.items())


@contextmanager
def _staged(
    cloud: Cloud, instance: Instance, shell: SshShell, job: Job, image: str | None, data: str | None
) -> Iterator[_Stage]:
    run = _run(cloud, job, data)
    if run is not None:
        Iam(cloud).allow(instance.resource, run.id, attempts.policy(run))
    found = facts.look(shell)
    folder = f"{_TASKS}/{task_here.plain(job.subject.name)}-{secrets.token_hex(3)}"
    gpus = facts.gpu_request(found, _free(shell, found, job.rendered.gpus))
    try:
        yield _Stage(shell, run, found, gpus, _image(shell, job, image), folder)
    finally:
        shell.run(["rm", "-rf", folder], check=False)


def _run(cloud: Cloud, job: Job, data: str | None) -> Run | None:
    """The run in S3, with the data that the user named in place of its own; None for what is only in a folder."""
    run = job.subject.run
    if run is None or data is None or not data.startswith("s3://"):
        return run
    other = Run(runs.store(cloud), run.id)
    other.manifest = replace(other.manifest, data=sources.data_source("", data))
    return other


def _free(shell: SshShell, found: Facts, wanted: int) -> tuple[int, ...]:
    """So many GPUs that no training holds; RunError where they are not there."""
    if not wanted:
        return ()
    with open_remote(shell) as engine:
        held = [one.labels.get("provision.gpus", "") for one in engine.containers("provision.run")]
    taken = {int(index) for one in held for index in one.split(",") if index}
    free = [gpu.index for gpu in found.gpus if gpu.index not in taken]
    if wanted > len(free):
        raise RunError(
            f"{len(free)} of {shell.where}'s {len(found.gpus)} GPUs are free, not {wanted}",
            "wait for the training there, or leave --gpus out to use the CPU",
        )
    return tuple(free[:wanted])


def _image(shell: SshShell, job: Job, words: str | None) -> str:
    """The image on the host: the one that is there, else this laptop's is sent."""
    digest = job.subject.digest
    if not words and digest and buildx.inspect(shell, digest) is not None:
        return digest
    here = task_here.image(job.subject, words, job.rendered.gpus)
    found = open_local()
    digest = here if here.startswith("sha256:") else str(_digest(here))
    if buildx.inspect(shell, digest) is None:
        with console.step(f"image {here[:40]} to {shell.where}"), open_remote(shell) as engine:
            engine.load(imagecache.chunks(found, here, digest))
    return digest


def _digest(tag: str) -> str:
    from infra.shell import LocalShell

    found = buildx.inspect(LocalShell(), tag)
    if found is None:
        raise RunError(f"the image {tag} is gone", "build it again: provision image build")
    return found.id


def _shared_binds(stage: _Stage, job: Job, given: Given, data: str | None) -> list[Bind]:
    """/in, /data, /project and /weights: what all steps see."""
    binds = []
    with task_here.scratch() as scratch:
        if staged := task_files.inputs(scratch / "in", given.inputs):
            sent = sync.sync(stage.shell, staged, f"{stage.folder}/in")
            console.line(f"  sent: {sent.files} files, {console.size(sent.bytes)}")
            binds.append(Bind(f"{stage.folder}/in", "/in", read_only=True))
    if folder := _data(stage, job, given, data):
        binds.append(Bind(folder, "/data", read_only=True))
    if code := _project(stage, given):
        binds.append(Bind(code, "/project", read_only=True))
    return binds + _weights(stage, job)


def _project(stage: _Stage, given: Given) -> str:
    """The user's code on the host: as it is on this laptop, else as the run's training has it there."""
    if given.project is not None:
        sent = sync.sync(stage.shell, given.project, f"{stage.folder}/project")
        console.line(f"  project: {sent.files} files, {console.size(sent.bytes)}")
        return f"{stage.folder}/project"
    folder = sources.code_folder(stage.run) if stage.run is not None else ""
    return folder if folder and stage.shell.run(["test", "-d", folder], check=False).ok else ""


def _weights(stage: _Stage, job: Job) -> list[Bind]:
    """Those that a training left on the host: a task has a snapshot, and seldom needs more."""
    files = [(weights.path_on_host(one), one.file) for one in job.rendered.weights]
    there = [(path, file) for path, file in files if stage.shell.run(["test", "-f", path], check=False).ok]
    return [Bind(path, f"/weights/{file}", read_only=True) for path, file in there]


def _data(stage: _Stage, job: Job, given: Given, data: str | None) -> str:
    """The data's folder on the host; only a score cannot do without it."""
    if data and given.data is not None:
        source = sources.data_source("", str(given.data))
        sync.sync(stage.shell, given.data, source.folder)
        return source.folder
    folder = stage.run.manifest.data.folder if stage.run is not None else job.subject.data.folder
    if stage.run is not None and folder and (data or job.task == "score"):
        sources.place(stage.shell, stage.run.store.cloud, stage.run, console.line)
    there = folder and stage.shell.run(["test", "-d", folder], check=False).ok
    return folder if there else ""


def _step(stage: _Stage, job: Job, step: Step, binds: list[Bind], asked: "dict[str, object]") -> Result:
    work, out = f"{stage.folder}/work", f"{stage.folder}/out"
    stage.shell.run(["rm", "-rf", work, out])
    stage.shell.run(["mkdir", "-p", work, out])
    _send_work(stage, job, step, work)
    with task_files.results(step.out, asked) as home:
        user = f"{stage.facts.uid}:{stage.facts.gid}"
        both = [Bind(work, "/work"), Bind(out, "/out"), *binds]
        spec = task_here.container(job, step, stage.image, both, user, stage.gpus)
        result = task_container.run(stage.shell, spec, task_here.heard(job))
        if not result.ok:
            raise task_container.failure(result, job.subject.recipe, f"{task_here.title(job, step)} failed")
        _bring(stage, out, home)
    return result


def _send_work(stage: _Stage, job: Job, step: Step, work: str) -> None:
    """The rendered files, and the snapshot: from S3 by the host, or from the folder that was fetched."""
    with task_here.scratch() as scratch:
        task_files.fill(scratch / "work", job.rendered.files)
        if step.snapshot is not None and job.subject.folder is not None:
            for path in step.snapshot.paths:
                task_files.link_or_copy((job.subject.folder / path).resolve(), scratch / "work" / path)
        sync.sync(stage.shell, scratch / "work", work)
    if step.snapshot is None or stage.run is None:
        return
    prefix = next(one.prefix for one in stage.run.snapshots() if one.iteration == step.snapshot.iteration)
    _pull(stage, prefix, f"{work}/{step.snapshot.stem.rpartition('/')[0]}".rstrip("/"))


def _pull(stage: _Stage, prefix: str, folder: str) -> None:
    assert stage.run is not None
    for again in range(_TRIES):
        try:
            hostcopy.pull(stage.shell, stage.run, prefix, folder)
            return
        except HostError:
            if again == _TRIES - 1:
                raise
        time.sleep(_PAUSE_S)


def _bring(stage: _Stage, out: str, home: Path) -> None:
    """The results as one tar; nothing in it may lie elsewhere."""
    packed = f"{stage.folder}/out.tar"
    stage.shell.run(["tar", "-C", out, "-cf", packed, "."])
    with task_here.scratch() as scratch:
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
