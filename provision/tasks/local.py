"""A task on this laptop's engine: in the run's image, with the run's files, as the user who calls."""

import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra import buildx
from infra.containers import Bind, ContainerSpec, GpuRequest
from infra.errors import EngineError, ProvisionError, RunError
from infra.shell import LocalShell, OnLine, Result, Shell
from provision import console
from provision.hosts import facts
from provision.hosts import image as runimage
from provision.settings import cache_home
from provision.tasks import container as task_container
from provision.tasks import workspace
from provision.tasks.job import Job, Step, Subject


@dataclass(frozen=True)
class Given:
    """What the user gave beside the run: /in, /data and /project (folders here), and what to do with results that are
    there."""

    inputs: tuple[Path, ...] = ()
    data: Path | None = None
    project: Path | None = None
    replace: bool = False


def image(subject: Subject, words: str | None, gpus: int) -> str:
    """The image to use, by what docker knows it: that of `words`, else the run's own, else one like it.

    RunError where it is gone and cannot be made again here.
    """
    if words:
        return runimage.obtain(words).tag
    if subject.digest and buildx.inspect(LocalShell(), subject.digest) is not None:
        return subject.digest
    like = _like(subject, gpus)
    try:
        return runimage.obtain(like).tag
    except ProvisionError as error:
        raise RunError(
            f"the image of {subject.name}, {subject.image or subject.stack}, is gone: {error.what}",
            f"build it: provision image build {like}; or take another: --image TARGET",
        ) from error


def _like(subject: Subject, gpus: int) -> str:
    """The words that the run's image was asked for with; where no GPU is used, the same stack without CUDA will do."""
    from images.choose import choose

    if gpus or subject.stack.startswith("provision/"):  # a tag may stand for a source of the user's own
        return subject.stack
    target = runimage.target_of(subject.stack)
    if target.variant.cuda and "cpu" in target.stack.flavours:
        return choose(target.stack.name, flavour="cpu").name
    return subject.stack


def perform(job: Job, image: str, given: Given, shell: Shell | None = None) -> list[tuple[Step, Result | None]]:
    """Run every step, in order; a step that was done before has no Result. RunError where one fails."""
    shell = shell or LocalShell()
    asked, todo = asked_and_to_do(job, given, str(given.data or ""))
    gpus = request(shell, job.rendered.gpus)
    home = workspace.snapshot_home(job.subject, [step.snapshot for step in todo])
    done: list[tuple[Step, Result | None]] = []
    for step in job.steps:
        if step not in todo:
            done.append((step, None))
            continue
        with console.step(title(job, step)), scratch() as folder:
            binds = _binds(job, step, given, folder, home)
            with workspace.results(step.out, asked[step]) as out:
                spec = container(job, step, image, (*binds, Bind(str(out.resolve()), "/out")), caller(), gpus)
                result = task_container.run(shell, spec, heard(job))
                if not result.ok:
                    raise task_container.failure(result, job.subject.recipe, f"{title(job, step)} failed")
        done.append((step, result))
    return done


def asked_and_to_do(job: Job, given: Given, data: str) -> tuple[dict[Step, dict[str, Any]], list[Step]]:
    """What is asked of each step, and the steps whose results are not there yet; of the others that is said.

    UsageError where something else lies in the place of results.
    """
    listed = workspace.listed(given.inputs)
    asked = {step: job.asked(step, data, listed, str(given.project or "")) for step in job.steps}
    todo = [step for step in job.steps if not workspace.done_before(step.out, asked[step], given.replace)]
    for step in job.steps:
        if step in todo:
            workspace.refuse_other(step.out, given.replace)
        else:
            console.line(f"  {step.out} is done already")
    return asked, todo


def title(job: Job, step: Step) -> str:
    at = f", iteration {step.snapshot.iteration}" if step.snapshot else ""
    return f"{job.task} of {job.subject.name}{at}"


def heard(job: Job) -> OnLine | None:
    """Show a task's output as it comes; of `time` only the table is shown."""
    return None if job.task == "time" else lambda line: console.line(f"  {line}")


def caller() -> str:
    return f"{os.getuid()}:{os.getgid()}"


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the disk of the cached files, so that hard links to them work."""
    home = cache_home() / "tasks"
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def request(shell: Shell, count: int) -> GpuRequest:
    """The request for that many of the machine's GPUs. EngineError where it has fewer."""
    if not count:
        return GpuRequest()
    have = facts.look(shell)
    if count > len(have.gpus):
        raise EngineError(
            f"{shell.where} has {len(have.gpus)} GPUs, not {count}", "leave --gpus out to use the CPU, or --on NAME"
        )
    return facts.gpu_request(have, tuple(gpu.index for gpu in have.gpus[:count]))


def _binds(job: Job, step: Step, given: Given, folder: Path, home: Path | None) -> list[Bind]:
    """/work is a folder of the task's own; the snapshot's files lie in it, and cannot be changed."""
    work = folder / "work"
    work.mkdir()
    workspace.fill(work, job.rendered.files)
    binds = [Bind(str(work), "/work")]
    for path in step.snapshot.paths if step.snapshot and home else ():
        place = work / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()  # docker would make the file as root
        binds.append(Bind(str(Path(home or "", path).resolve()), f"/work/{path}", read_only=True))
    inputs = workspace.inputs(folder / "in", given.inputs)
    beside = {"/in": inputs, "/data": given.data, "/project": given.project}
    return binds + [Bind(str(path), at, read_only=True) for at, path in beside.items() if path is not None]


def plain(name: str) -> str:
    """A name that docker accepts: a user's file may be called anything."""
    return re.sub(r"[^a-zA-Z0-9_.-]+", "-", name)


def container(
    job: Job, step: Step, image: str, binds: Sequence[Bind], user: str, gpus: GpuRequest
) -> ContainerSpec:  # fmt: skip
    """As a training's container is labelled: a machine that works is not idle, and its GPUs are taken."""
    name = f"{plain(job.subject.name)}-{job.task}"
    return ContainerSpec(
        name=f"provision-{name}-{secrets.token_hex(3)}",
        image=image,
        command=step.command,
        user=user,
        binds=tuple(binds),
        gpus=gpus,
        environment=job.rendered.environment,
        rights=job.subject.recipe.container.rights,
        labels={"provision.run": name, "provision.gpus": ",".join(map(str, gpus.indices))},
    )
