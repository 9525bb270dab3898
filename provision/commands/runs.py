"""`runs`, `logs`, `stop`, `fetch`: what there is to see and to do about trainings, from any laptop."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.errors import UsageError
from provision import clouds, console, settings
from provision.commands.machines import cloud_flag
from provision.commands.options import (
    cloud_options,
    dry_run_option,
    json_option,
)

if TYPE_CHECKING:
    from contextlib import ExitStack

    from provision.logfiles import Log


@click.command(name="runs")
@cloud_options
@json_option
def runs(as_json: bool, **flags: Any) -> None:
    """List the trainings."""
    from provision import progress
    from provision import runs as all_of

    cloud = clouds.resolve(settings.load(**flags))
    rows = [progress.row(cloud, run) for run in all_of.all_runs(cloud)]
    if as_json:
        console.emit_json(rows)
    elif not rows:
        console.say("no runs yet: provision train digits --instance TYPE")
    else:
        columns = ("run", "state", "attempts", "snapshot", "machine", "created", "bytes")
        console.table("", columns, [[one[column] for column in columns] for one in rows])


@click.command()
@click.argument("names", metavar="RUN|FILE...", nargs=-1, required=True)
@click.option("-f", "--follow", "following", is_flag=True, help="go on printing until the training has ended")
@click.option(
    "--csv",
    "as_csv",
    is_flag=False,
    flag_value="-",
    metavar="[FILE]",
    help="numbers as tables FILE.train.csv, FILE.test.csv; with no FILE, printed",
)
@click.option("--tensorboard", type=click.Path(path_type=Path), metavar="DIR", help="write TensorBoard's files to DIR")
@click.option("--plot", type=click.Path(path_type=Path), metavar="PNG", help="draw loss and accuracy")
@click.option("--chart", help="with --plot: one of Caffe's charts, 0 to 7 or by name (test-accuracy, train-loss ...)")
@json_option
@cloud_options
def logs(names: tuple[str, ...], following: bool, as_csv: str | None, tensorboard: Path | None, plot: Path | None,
         chart: str | None, as_json: bool, **flags: Any) -> None:  # fmt: skip
    """Print trainings' logs, follow one, draw them, or give their numbers to other programs.

    RUN is a training's id, FILE any log of Caffe or Detectron on this machine (or a folder that `provision fetch`
    made, or - for the standard input); several are put together.
    """
    from contextlib import ExitStack

    from provision import logexport
    from provision import plot as drawing

    if chart is not None and plot is None:
        raise UsageError("--chart draws a picture", f"say where to: --plot {chart}.png --chart {chart}")
    number = None if chart is None else drawing.chart_number(chart)
    if following:
        _follow(names, flags)
    wanted = bool(as_csv or tensorboard or plot or as_json)
    if following and not wanted:
        return
    with ExitStack() as stack:
        found = _open(stack, names, flags)
        if plot:
            drawing.plot(found, plot, number)
            console.say(f"drawn: {plot}")
        if tensorboard:
            _tensorboard(found, tensorboard)
        if as_csv:
            _csv(found, as_csv)
        if as_json:
            logexport.write_json(found)
        for log in () if wanted else found:
            _files().copy_to_stdout(log)


def _files() -> Any:
    from provision import logfiles

    return logfiles


def _follow(names: tuple[str, ...], flags: dict[str, Any]) -> None:
    from provision import follow, runs

    if len(names) > 1 or _files().is_file(names[0]):
        raise UsageError("--follow follows one run", "name one RUN (provision runs); a file: tail -f FILE")
    cloud = clouds.resolve(settings.load(**flags))
    run = runs.find(cloud, names[0])
    state = follow.show(cloud, run, lambda piece: click.echo(piece.text, nl=False))
    console.line(f"{names[0]} is {state}")


def _open(stack: "ExitStack", names: tuple[str, ...], flags: dict[str, Any]) -> "list[Log]":
    """The logs of files, which need no cloud, and of runs."""
    from provision import progress, runs

    files = _files()
    cloud: Any = None
    found = []
    for name in names:
        if files.is_file(name):
            found.append(stack.enter_context(files.open_file(name)))
            continue
        if "/" in name or name.endswith((".log", ".txt", ".gz")):
            raise UsageError(f"there is no file {name}", "name a log, or a run (provision runs)")
        cloud = cloud or clouds.resolve(settings.load(**flags))
        found.append(stack.enter_context(files.spooled(name, progress.pieces(runs.find(cloud, name)))))
    return found


def _csv(found: "list[Log]", target: str) -> None:
    from provision import logexport

    for log in found:
        one = Path(target.removesuffix(".csv") + (f".{log.name}" if len(found) > 1 else "") + ".csv")
        paths, lost = logexport.write_csv(log, None if target == "-" else one)
        for path in paths:
            console.say(f"written: {path}")
        if lost:
            console.line(f"{log.name}: {lost} rows left out: a resumed attempt told them again")


def _tensorboard(found: "list[Log]", target: Path) -> None:
    from provision import logexport

    for name, count in logexport.write_tensorboard(found, target).items():
        console.say(f"written: {target / name}  {count} scalars")
    console.say(f"  look at them: tensorboard --logdir {target}")


@click.command()
@click.argument("run_id", metavar="RUN")
@cloud_options
@dry_run_option
def stop(run_id: str, dry_run: bool, **flags: Any) -> None:
    """Stop a training; its work is saved first."""
    from provision import runs, training

    chosen = settings.load(**flags)
    cloud = clouds.resolve(chosen)
    run = runs.find(cloud, run_id)
    if dry_run:
        console.say(f"would send {run.manifest.recipe.stop.signal} to {run_id} and wait until its work is saved")
        return
    state = training.stop(cloud, run, console.line)
    console.say(f"{run_id} is {state}; go on with it: provision resume {run_id}{cloud_flag(chosen)}")


@click.command()
@click.argument("run_id", metavar="RUN")
@click.argument("target", required=False, type=click.Path(path_type=Path))
@click.option("--every-snapshot", is_flag=True, help="not the newest alone")
@cloud_options
@json_option
@dry_run_option
def fetch(run_id: str, target: Path | None, every_snapshot: bool, dry_run: bool, as_json: bool, **flags: Any) -> None:
    """Bring a training's results home to DIR (default: a folder of the run's name)."""
    from provision import fetch as fetching
    from provision import runs

    run = runs.find(clouds.resolve(settings.load(**flags)), run_id)
    place = target or Path(run_id)
    if dry_run:
        found = {str(one.path): one.size for one in fetching.wanted(run, place, every_snapshot)}
    else:
        found = {str(path): path.stat().st_size for path in fetching.fetch(run, place, every_snapshot)}
    if as_json:
        console.emit_json(found)
    elif dry_run:
        console.table("would bring", ("file", "size"), [(path, console.size(size)) for path, size in found.items()])
    else:
        for path, size in found.items():
            console.say(f"{path}  {console.size(size)}")
