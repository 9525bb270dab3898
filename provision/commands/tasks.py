"""`score`, `infer`, `time`: what is done with a run's net besides training it.

On this laptop's engine as a rule, with --on NAME on a machine. A run may be a folder that `fetch` made: offline.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.errors import RunError, UsageError
from provision import clouds, console, settings
from provision.commands import task_tables
from provision.commands.options import cloud_options, dry_run_option, json_option

if TYPE_CHECKING:
    from infra.aws.session import Cloud
    from infra.shell import Result
    from provision.tasks import Job, Step, Subject

Command = Callable[..., Any]


def _shared(command: Command) -> Command:
    """Options of all three."""
    options: list[Callable[[Command], Command]] = [
        click.option("--on", "name", help="on a machine that runs (default: here)"),
        click.option("--gpus", type=click.IntRange(min=0), default=0, help="how many GPUs (default: the CPU)"),
        click.option("--set", "sets", multiple=True, help="an option of the recipe, for this task alone"),
        click.option("--image", help="a target (STACK:ROW) or an image's tag (default: the run's own)"),
        click.option("--data", help="a folder of this laptop, or an s3:// prefix (default: the run's own)"),
        click.option("--project", help="a folder with your code: /project (default: the run's own)"),
        cloud_options,
        dry_run_option,
        json_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True)
class _Asked:
    """What `_shared` gave."""

    name: str | None
    gpus: int
    sets: tuple[str, ...]
    image: str | None
    data: str | None
    project: str | None
    flags: dict[str, Any]

    def cloud(self) -> "Cloud":
        """Only where it is needed: a folder is worked on without AWS."""
        return clouds.resolve(settings.load(**self.flags))


def _asked(given: dict[str, Any]) -> _Asked:
    mine = {key: given.pop(key) for key in ("name", "gpus", "sets", "image", "data", "project")}
    return _Asked(**mine, flags=given)


@click.command()
@click.argument("run_id", metavar="RUN")
@click.argument("inputs", metavar="FILE...|DIR", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--snapshot", type=int, help="of this iteration (default: the newest)")
@click.option("--out", type=click.Path(path_type=Path), help="a folder for the results (default: RUN-infer)")
@click.option("--replace", is_flag=True, help="do it again, and replace what is in that folder")
@_shared
def infer(
    run_id: str, inputs: tuple[Path, ...], snapshot: int | None, out: Path | None, replace: bool, dry_run: bool,
    as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """Use RUN's net on images (or what else its recipe takes)."""
    from provision import tasks
    from provision.recipe import split_sets

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
@click.argument("run_id", metavar="RUN")
@click.option("--every-snapshot/--newest", "every", default=None, help="(default: every, where the recipe says so)")
@click.option("--snapshot", type=int, help="of this iteration alone")
@click.option("--out", type=click.Path(path_type=Path), help="a folder for the results (default: RUN-score)")
@click.option(
    "--plot", type=click.Path(path_type=Path), help="draw the scores over iterations (default: score.png there)"
)
@click.option("--replace", is_flag=True, help="score again what is scored already")
@_shared
def score(
    run_id: str, every: bool | None, snapshot: int | None, out: Path | None, plot: Path | None, replace: bool,
    dry_run: bool, as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """Evaluate RUN's snapshots; those that were scored before are not scored again."""
    from provision import tasks
    from provision.recipe import split_sets

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
@click.argument("what", metavar="RUN|RECIPE|FILE.prototxt")
@click.option("--stack", default="caffe-debian", show_default=True, help="for a FILE: the stack whose Caffe times it")
@click.option("--iterations", type=click.IntRange(min=1), help="how many passes the times are the average of")
@click.option("--phase", type=click.Choice(["TRAIN", "TEST"]), help="for a FILE: the net's phase (default: TRAIN)")
@click.option("--sort", default="net", show_default=True, help="net, forward, backward, total or name")
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
    """Time a net forward and backward, layer by layer."""
    from provision import task_time
    from provision.recipe import split_sets

    if sort not in task_time.ORDERS:
        raise UsageError(f"--sort {sort}", f"known: {', '.join(task_time.ORDERS)}")
    asked = _asked(given)
    subject = _timed(what, stack, phase, split_sets(asked.sets), asked)
    _time(subject, iterations, sort, asked, dry_run, as_json)


def _timed(what: str, stack: str, phase: str | None, sets: dict[str, str], asked: _Asked) -> "Subject":
    """What is timed: a net of the user's, a recipe that was not trained, or a run."""
    from provision import recipe, tasks

    path = Path(what)
    if path.suffix == ".prototxt":
        if sets:
            raise UsageError("--set is for a recipe's options, and a file has none")
        return tasks.net_alone(path, stack, phase or "TRAIN")
    if phase:
        raise UsageError("--phase is for a FILE.prototxt", "a recipe's task says itself what it times")
    if (path / "recipe.yaml").is_file() or what in recipe.names(Path.cwd()):
        data = Path(asked.data) if asked.data and not asked.data.startswith("s3://") else None
        return tasks.untrained(recipe.load(what, Path.cwd()), sets, asked.gpus, data)
    return tasks.find(what, asked.cloud)


def _time(
    subject: "Subject", iterations: int | None, sort: str, asked: _Asked, dry_run: bool, as_json: bool
) -> None:  # fmt: skip
    from provision import task_here, task_time, tasks
    from provision.recipe import split_sets

    data = _data(subject, asked, needed=False)
    with task_here.scratch() as folder:
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
    task_tables.times(task_time.parse(f"{result.out}\n{result.err}".splitlines()), sort, subject.name, as_json)


def _data(subject: "Subject", asked: _Asked, needed: bool) -> Path | None:
    from provision import task_files

    if asked.name and asked.data and asked.data.startswith("s3://"):
        return None  # the machine brings it
    return task_files.local_data(subject, asked.data, needed)


def _perform(
    job: "Job", asked: _Asked, data: Path | None, inputs: Sequence[Path], replace: bool
) -> "list[tuple[Step, Result | None]]":
    from provision import task_files, task_here

    given = task_here.Given(tuple(inputs), data, task_files.local_project(job.subject, asked.project), replace)
    if not asked.name:
        return task_here.perform(job, task_here.image(job.subject, asked.image, asked.gpus), given)
    from provision import machines, task_there

    chosen = settings.load(**asked.flags)
    cloud = machines.locate(asked.cloud(), asked.name, chosen.more_regions)
    instance = machines.find(cloud, asked.name)
    return task_there.perform(cloud, instance, job, asked.image, given, asked.data)


def _show(job: "Job", asked: _Asked, data: Path | None, as_json: bool) -> None:
    from provision import tasks

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
