"""`runs`, `logs`, `stop`, `fetch`: what there is to see and to do about trainings, from any laptop."""

from pathlib import Path
from typing import Any

import click

from provision import clouds, console, settings
from provision.commands.machines import cloud_flag
from provision.commands.options import (
    cloud_options,
    dry_run_option,
    json_option,
)


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
@click.argument("run_id", metavar="RUN")
@click.option("-f", "--follow", "following", is_flag=True, help="go on printing until the training has ended")
@click.option("--plot", type=click.Path(path_type=Path), help="draw loss and accuracy to this PNG instead")
@json_option
@cloud_options
def logs(run_id: str, following: bool, plot: Path | None, as_json: bool, **flags: Any) -> None:
    """Print a training's log, follow it, or plot it."""
    from provision import fetch as fetching
    from provision import follow, progress, runs
    from provision import plot as drawing

    cloud = clouds.resolve(settings.load(**flags))
    run = runs.find(cloud, run_id)
    if plot:
        drawing.plot(progress.events(run), plot, run_id)
        console.say(f"drawn: {plot}")
    elif as_json:
        console.emit_json(progress.metrics(run))
    elif following:
        state = follow.show(cloud, run, lambda piece: click.echo(piece.text, nl=False))
        console.line(f"{run_id} is {state}")
    else:
        for _, text in fetching.log(run):
            click.echo(text, nl=False)


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
