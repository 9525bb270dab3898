"""Tasks: what can be done with a run's net besides training it (`infer`, `score`, `time`).

A recipe says how (`recipe.Task`); this module says what exactly: of which run, with which snapshots, and where the
results go. A run is one in its place, or the folder that `provision fetch` made of one: then AWS is not asked for
anything. `plan` is pure, and is all that --dry-run shows; provision.tasks.local and provision.tasks.remote do it.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from infra.aws.session import Cloud
from infra.errors import RunError, UsageError
from provision.engines import where
from provision.recipes import rendering
from provision.recipes.spec import Option, Recipe, Rendered, SnapshotFiles, Task, complete_snapshots
from provision.runs import notes, trust
from provision.runs.manifest import Manifest, Source, read_manifest
from provision.runs.store import AnyRun

SNAPSHOT = "{snapshot}"


@dataclass(frozen=True)
class Subject:
    """What a task works on. `stack` are the words that its image was asked for with, `image` and `digest` that very
    image; `run` is in S3, `folder` was fetched, and a recipe that was not trained (for `time`) has neither. `given` are
    folders of this laptop that its user gave for the run: no other is taken from its manifest."""

    name: str
    recipe: Recipe
    rendered: Rendered
    stack: str
    image: str = ""
    digest: str = ""
    data: Source = field(default_factory=Source)
    project: Source = field(default_factory=Source)
    run: AnyRun | None = None
    folder: Path | None = None
    given: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One call of the task's command; its results become the folder `out`."""

    command: tuple[str, ...]
    out: Path
    snapshot: SnapshotFiles | None = None


@dataclass(frozen=True)
class Job:
    """All that a task does, resolved before the first side effect. `files` go to the container's /work."""

    task: str
    subject: Subject
    rendered: Rendered
    steps: tuple[Step, ...]

    def asked(self, step: Step, data: str, inputs: Mapping[str, Any], project: str = "") -> dict[str, Any]:
        """What was asked for, as task.json beside the results says it: the same again need not be done again."""
        iteration = step.snapshot.iteration if step.snapshot else None
        given = {"task": self.task, "run": self.subject.name, "iteration": iteration, "data": data, "inputs": inputs}
        code = {"project": project} if project else {}
        return {**given, **code, "options": self.rendered.options, "command": list(step.command)}


def find(words: str, cloud: Callable[[], Cloud]) -> Subject:
    """The run of that id or in that folder. NotFoundError for an unknown id, UsageError for a folder without a run.

    RunError where its manifest is not the one that this laptop wrote, or leads out of its folders.
    """
    if not Path(words).is_dir():
        if "/" in words:
            raise UsageError(f"there is no folder {words}", "name a run, or the folder that `fetch` made of it")
        run = where.find(words, cloud)
        trust.check(run)
        return replace(_of(run.manifest), run=run, given=trust.folders(run))
    folder = Path(words)
    try:
        raw = (folder / "manifest.json").read_bytes()
        values = json.loads(raw)
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"{folder} holds no run: its manifest.json cannot be read ({error})", f"provision fetch RUN {folder}"
        ) from error
    manifest = read_manifest(values, f"{folder}/manifest.json")
    trust.refuse_odd(manifest, manifest.id)
    note = notes.of_sum(manifest.id, hashlib.sha256(raw).hexdigest())
    return replace(_of(manifest), folder=folder, given=note.folders if note else ())


def _of(manifest: Manifest) -> Subject:
    return Subject(
        manifest.id, manifest.recipe, manifest.rendered, manifest.stack, manifest.image, manifest.digest,
        manifest.data, manifest.project,
    )  # fmt: skip


def untrained(recipe: Recipe, sets: Mapping[str, str], gpus: int, data: Path | None) -> Subject:
    """The subject for a recipe as it would be trained."""
    return Subject(recipe.name, recipe, rendering.render(recipe, sets, gpus, data), recipe.stack)


def net_alone(path: Path, stack: str, phase: str) -> Subject:
    """A net of the user's own, to be timed by that stack's Caffe. UsageError where the file cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", "name a net's prototxt") from error
    task = Task(command=("caffe", "time", "-model", path.name, "-phase", phase), gpu=("-gpu", "0"))
    own = Recipe(
        name=path.stem, about="", stack=stack, command=("caffe",), files=(path.name,), tasks={"time": task},
        templates={path.name: text},
    )  # fmt: skip
    return untrained(own, {}, 0, None)


def with_iterations(job: Job, iterations: int | None) -> Job:
    """The job with another number of passes for `caffe time`. UsageError where the task does not run `caffe time`."""
    if iterations is None:
        return job
    if any(step.command[:2] != ("caffe", "time") for step in job.steps):
        raise UsageError(f"the task {job.task} of {job.subject.name} does not run `caffe time`", "use --set in its way")
    words = ("-iterations", str(iterations))
    return replace(job, steps=tuple(replace(step, command=step.command + words) for step in job.steps))


def snapshots(subject: Subject) -> list[SnapshotFiles]:
    """The run's complete snapshots, oldest first."""
    if subject.run is not None:
        found = subject.run.snapshots()
        return [
            SnapshotFiles(snapshot.iteration, snapshot.stem, tuple(str(f["path"]) for f in snapshot.files))
            for snapshot in found
        ]
    if subject.folder is None:
        return []
    paths = [path.relative_to(subject.folder).as_posix() for path in subject.folder.rglob("*") if path.is_file()]
    return complete_snapshots(subject.recipe, paths)


def task_of(subject: Subject, name: str) -> Task:
    """The recipe's task of that name. UsageError, with the tasks that the recipe has, where there is none."""
    tasks = subject.recipe.tasks
    if name not in tasks:
        mend = f"it has {', '.join(sorted(tasks))}" if tasks else f"a recipe says how under tasks.{name} in recipe.yaml"
        raise UsageError(f"recipe {subject.recipe.name} has no task {name!r}", mend)
    return tasks[name]


def check(subject: Subject, name: str, snapshot: int | None) -> None:
    """Refuse, before any data is brought, what `plan` would refuse about the task and the snapshot."""
    if any(SNAPSHOT in word for word in task_of(subject, name).command):
        _chosen(subject, snapshot, False)


def plan(
    subject: Subject, name: str, out: Path, *, sets: Mapping[str, Option] | None = None, gpus: int = 0,
    data: Path | None = None, snapshot: int | None = None, every: bool | None = None,
) -> Job:  # fmt: skip
    """The job of the task `name` with results in `out`; one folder for each snapshot below it where there are several.

    `every` None: as the recipe's task says. The recipe is rendered again where it is not to run as it was trained:
    with other options, or on another number of GPUs. RunError where there is no such snapshot.
    """
    task = task_of(subject, name)
    rendered = subject.rendered
    if sets or gpus != rendered.gpus:
        again = rendering.render(subject.recipe, {**rendered.options, **(sets or {})}, gpus, data)
        own = rendering.render(subject.recipe, rendered.options, rendered.gpus, data).environment
        asked = {name: value for name, value in rendered.environment.items() if own.get(name) != value}  # train --env
        rendered = msgspec.structs.replace(again, environment={**again.environment, **asked})
    words = rendered.tasks[name].command
    several = task.every_snapshot if every is None else every
    if not any(SNAPSHOT in word for word in words):
        return Job(name, subject, rendered, (Step(words, out),))
    steps = tuple(
        Step(
            tuple(word.replace(SNAPSHOT, chosen.stem) for word in words),
            out / f"{chosen.iteration:09d}" if several and snapshot is None else out,
            chosen,
        )
        for chosen in _chosen(subject, snapshot, several)
    )
    return Job(name, subject, rendered, steps)


def _chosen(subject: Subject, iteration: int | None, every: bool) -> list[SnapshotFiles]:
    there = snapshots(subject)
    if not there:
        place = subject.run.store if subject.run is not None else None
        mend = f"wait for one: {place.hint(f'logs {subject.name} -f')}" if place else f"provision fetch {subject.name}"
        raise RunError(f"{subject.name} has no complete snapshot yet", mend)
    if iteration is None:
        return there if every else there[-1:]
    found = [snapshot for snapshot in there if snapshot.iteration == iteration]
    if not found:
        have = ", ".join(str(snapshot.iteration) for snapshot in there)
        raise RunError(f"{subject.name} has no snapshot of iteration {iteration}", f"it has those of {have}")
    return found


def shown(job: Job, where: str, data: str, image: str) -> dict[str, Any]:
    """The job as --dry-run shows it, in JSON values."""
    return {
        "task": job.task, "run": job.subject.name, "on": where, "image": image, "gpus": job.rendered.gpus,
        "data": data, "options": job.rendered.options,
        "steps": [{**asdict(step), "out": str(step.out)} for step in job.steps],
    }  # fmt: skip
