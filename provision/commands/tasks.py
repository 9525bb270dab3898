"""`score`, `infer`, `time`: what is done with a run's net besides training it.

The tasks run on this laptop's engine, or with --on NAME on a machine. A run may be a folder that `fetch` made: then no
network is needed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.errors import RunError, UsageError
from provision import clouds, console
from provision.commands import task_tables
from provision.commands.options import (
    MACHINE,
    NET,
    NEW,
    PATH,
    RUN_OR_FILE,
    WORDS,
    cloud_options,
    dry_run_option,
    json_option,
)

if TYPE_CHECKING:
    from infra.aws.session import Cloud
    from infra.shell import Result
    from provision.tasks.job import Job, Step, Subject

Command = Callable[..., Any]


def _shared(command: Command) -> Command:
    """Add the options that all three commands have."""
    options: list[Callable[[Command], Command]] = [
        click.option(
            "--on", "name", type=MACHINE, help="work on this machine, which runs already (default: this laptop)"
        ),
        click.option("--gpus", type=click.IntRange(min=0), default=0, help="the number of GPUs (default: 0, the CPU)"),
        click.option("--set", "sets", multiple=True, help="set an option of the recipe for this task alone"),
        click.option("--image", help="a target (STACK:ROW) or an image's tag (default: the run's own)"),
        click.option("--data", type=WORDS, help="a folder of this laptop, or an s3:// prefix (default: the run's own)"),
        click.option("--project", type=WORDS, help="a folder with your code: /project (default: the run's own)"),
        cloud_options,
        dry_run_option,
        json_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True)
class _Asked:
    """The values of the options that `_shared` added."""

    name: str | None
    gpus: int
    sets: tuple[str, ...]
    image: str | None
    data: str | None
    project: str | None
    flags: dict[str, Any]

    def cloud(self) -> "Cloud":
        """The cloud, asked for only where it is needed: work on a folder needs no AWS."""
        return clouds.session(**self.flags).cloud


def _asked(given: dict[str, Any]) -> _Asked:
    mine = {key: given.pop(key) for key in ("name", "gpus", "sets", "image", "data", "project")}
    return _Asked(**mine, flags=given)


@click.command()
@click.argument("run_id", metavar="RUN", type=RUN_OR_FILE)
@click.argument("inputs", metavar="FILE...|DIR", nargs=-1, required=True, type=PATH)
@click.option("--snapshot", type=int, help="use the snapshot of this iteration (default: the newest one)")
@click.option("--out", type=NEW, help="a folder for the results (default: RUN-infer)")
@click.option("--replace", is_flag=True, help="do the work again, and replace the results in that folder")
@_shared
def infer(
    run_id: str, inputs: tuple[Path, ...], snapshot: int | None, out: Path | None, replace: bool, dry_run: bool,
    as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """Use RUN's net on images, or on whatever files its recipe takes."""
    from provision.recipes.rendering import split_sets
    from provision.tasks import job as tasks

    asked = _asked(given)
    subject = tasks.find(run_id, asked.cloud)
    data = _data(subject, asked, needed=False)
    target = out or Path(f"{subject.name}-infer")
    job = tasks.plan(
        subject,
        "infer",
        target,
        sets=split_sets(asked.sets),
        gpus=asked.gpus,
        data=data,
        snapshot=snapshot,
        every=False,
    )
    _check_inputs(inputs)
    if dry_run:
        _show(job, asked, data, as_json)
        return
    _perform(job, asked, data, inputs, replace)
    task_tables.files(target, as_json)


def _check_inputs(inputs: Sequence[Path]) -> None:
    if missing := next((path for path in inputs if not path.exists()), None):
        raise UsageError(f"{missing} is not there", "give files, or one folder")


@click.command()
@click.argument("run_id", metavar="RUN", type=RUN_OR_FILE)
@click.option(
    "--every-snapshot/--newest",
    "every",
    default=None,
    help="score every snapshot, or the newest one (default: as the recipe says)",
)
@click.option("--snapshot", type=int, help="score only the snapshot of this iteration")
@click.option("--out", type=NEW, help="a folder for the results (default: RUN-score)")
@click.option(
    "--plot",
    type=NEW,
    help="draw the scores over iterations into this file (default: score.png in the results' folder)",
)
@click.option("--replace", is_flag=True, help="score again the snapshots that are scored already")
@_shared
def score(
    run_id: str, every: bool | None, snapshot: int | None, out: Path | None, plot: Path | None, replace: bool,
    dry_run: bool, as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """Score RUN's snapshots (evaluate them on test data). A snapshot that has a score keeps it."""
    from provision.recipes.rendering import split_sets
    from provision.tasks import job as tasks

    asked = _asked(given)
    subject = tasks.find(run_id, asked.cloud)
    tasks.check(subject, "score", snapshot)
    data = _data(subject, asked, needed=not dry_run and not asked.name)
    target = out or Path(f"{subject.name}-score")
    job = tasks.plan(
        subject,
        "score",
        target,
        sets=split_sets(asked.sets),
        gpus=asked.gpus,
        data=data,
        snapshot=snapshot,
        every=every,
    )
    if dry_run:
        _show(job, asked, data, as_json)
        return
    _perform(job, asked, data, (), replace)
    task_tables.scores(job, target, plot, as_json)


@click.command()
@click.argument("what", metavar="RUN|RECIPE|FILE.prototxt", type=NET)
@click.option("--stack", default="caffe-debian", show_default=True, help="for a FILE: the stack whose Caffe times it")
@click.option("--iterations", type=click.IntRange(min=1), help="the number of passes that the times are averaged over")
@click.option("--phase", type=click.Choice(["TRAIN", "TEST"]), help="for a FILE: the net's phase (default: TRAIN)")
@click.option(
    "--sort", default="net", show_default=True, help="the order of the layers: net, forward, backward, total or name"
)
@_shared
def time(
    what: str,
    stack: str,
    iterations: int | None,
    phase: str | None,
    sort: str,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Time the forward and backward passes of a net, layer by layer."""
    from provision.recipes.rendering import split_sets
    from provision.tasks import timing

    if sort not in timing.ORDERS:
        raise UsageError(f"--sort {sort} is no order", f"known: {', '.join(timing.ORDERS)}")
    asked = _asked(given)
    subject = _timed(what, stack, phase, split_sets(asked.sets), asked)
    _time(subject, iterations, sort, asked, dry_run, as_json)


def _timed(what: str, stack: str, phase: str | None, sets: dict[str, str], asked: _Asked) -> "Subject":
    """The subject to time: a net of the user's, a recipe that was not trained, or a run."""
    from provision.recipes import loading
    from provision.tasks import job as tasks

    path = Path(what)
    if path.suffix == ".prototxt":
        if sets:
            raise UsageError("--set sets an option of a recipe, and a file has no options")
        return tasks.net_alone(path, stack, phase or "TRAIN")
    if phase:
        raise UsageError("--phase is for a FILE.prototxt", "a recipe's task says itself what it times")
    if (path / "recipe.yaml").is_file() or what in loading.names(Path.cwd()):
        data = Path(asked.data) if asked.data and not asked.data.startswith("s3://") else None
        return tasks.untrained(loading.load(what, Path.cwd()), sets, asked.gpus, data)
    return tasks.find(what, asked.cloud)


def _time(
    subject: "Subject", iterations: int | None, sort: str, asked: _Asked, dry_run: bool, as_json: bool
) -> None:  # fmt: skip
    from provision.recipes.rendering import split_sets
    from provision.tasks import job as tasks
    from provision.tasks import local, timing

    data = _data(subject, asked, needed=False)
    with local.scratch() as folder:
        job = tasks.plan(
            subject, "time", folder / "out", sets=split_sets(asked.sets), gpus=asked.gpus, data=data, every=False
        )
        job = tasks.with_iterations(job, iterations)
        if dry_run:
            _show(job, asked, data, as_json)
            return
        ((_, result),) = _perform(job, asked, data, (), False)
    if result is None:
        raise RunError("nothing was timed")
    task_tables.times(timing.parse(f"{result.out}\n{result.err}".splitlines()), sort, subject.name, as_json)


def _data(subject: "Subject", asked: _Asked, needed: bool) -> Path | None:
    from provision.tasks import workspace

    if asked.name and asked.data and asked.data.startswith("s3://"):
        return None  # the machine itself brings the data
    return workspace.local_data(subject, asked.data, needed)


def _perform(
    job: "Job", asked: _Asked, data: Path | None, inputs: Sequence[Path], replace: bool
) -> "list[tuple[Step, Result | None]]":
    from provision.tasks import local, workspace

    given = local.Given(tuple(inputs), data, workspace.local_project(job.subject, asked.project), replace)
    if not asked.name:
        return local.perform(job, local.image(job.subject, asked.image, asked.gpus), given)
    from provision.commands.session import machine
    from provision.tasks import remote

    there = machine(asked.name, asked.flags)
    return remote.perform(there.session.cloud, there.instance, job, asked.image, given, asked.data)


def _show(job: "Job", asked: _Asked, data: Path | None, as_json: bool) -> None:
    from provision.tasks import job as tasks

    image = asked.image or job.subject.image or job.subject.stack
    made = tasks.shown(job, asked.name or "this laptop", str(data or asked.data or job.subject.data.value), image)
    if as_json:
        console.emit_json(made)
        return
    rows = [(key, made[key]) for key in ("task", "run", "on", "image", "gpus", "data")]
    for step in job.steps:
        at = f"iteration {step.snapshot.iteration}: " if step.snapshot else ""
        rows.append(("command", f"{at}{' '.join(step.command)}"))
        if job.task != "time":
            rows.append(("results", str(step.out)))
    console.table("would run", ("what", "value"), rows)
