"""`runs`, `logs`, `stop`, `fetch`, `rm`: see and manage trainings from any laptop."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.errors import UsageError
from provision import clouds, console
from provision.commands.options import (
    NEW,
    PATH,
    RUN,
    RUN_OR_FILE,
    cloud_options,
    dry_run_option,
    json_option,
    parse_minutes,
)

if TYPE_CHECKING:
    from contextlib import ExitStack

    from provision.logs.read import Log


@click.command(name="runs")
@cloud_options
@json_option
def runs(as_json: bool, **flags: Any) -> None:
    """List the trainings, with what AWS asks a month for keeping them in S3."""
    import msgspec

    from provision.runs import expiry, store, table

    session = clouds.session(**flags)
    place = store.store(session.cloud)
    if swept := expiry.sweep(place):
        console.line(f"deleted what was left of expired runs: {', '.join(swept)}")
    rows = [msgspec.structs.asdict(row) for row in table.rows(session.cloud)]
    if as_json:
        console.emit_json(rows)
    elif not rows:
        console.say(f"no runs yet: {session.hint('train digits --instance TYPE')}")
    else:
        columns = [name for name in rows[0] if name != "heard" or any(row["heard"] for row in rows)]
        console.table("", columns, [[row[name] for name in columns] for row in rows])


@click.command()
@click.argument("names", metavar="RUN|FILE...", nargs=-1, required=True, type=RUN_OR_FILE)
@click.option("-f", "--follow", "following", is_flag=True, help="go on printing until the training has ended")
@click.option(
    "--csv",
    "as_csv",
    is_flag=False,
    flag_value="-",
    metavar="[FILE]",
    help="write the numbers to FILE.train.csv and FILE.test.csv; without FILE, print them",
)
@click.option("--raw", is_flag=True, help="print control sequences (colours, cursor), too, as the log has them")
@click.option("--tensorboard", type=PATH, metavar="DIR", help="write TensorBoard's files to DIR")
@click.option("--plot", type=NEW, metavar="PNG", help="draw loss and accuracy into this file")
@click.option(
    "--chart",
    help="with --plot: draw one of Caffe's charts, by its number (0 to 7) or name (test-accuracy, train-loss ...)",
)
@json_option
@cloud_options
def logs(names: tuple[str, ...], following: bool, as_csv: str | None, raw: bool, tensorboard: Path | None,
         plot: Path | None, chart: str | None, as_json: bool, **flags: Any) -> None:  # fmt: skip
    """Print or draw the logs of trainings, follow a log, or hand their numbers to other programs.

    RUN is a training's id. FILE is any log of Caffe or Detectron on this machine, a folder that `provision fetch`
    made, or - for the standard input. Several logs are put together. What a terminal would obey is left out.
    """
    from contextlib import ExitStack

    from provision.logs import export
    from provision.logs import plot as drawing

    if chart is not None and plot is None:
        raise UsageError("--chart draws a picture", f"say where to: --plot {chart}.png --chart {chart}")
    number = None if chart is None else drawing.chart_number(chart)
    if following:
        _follow(names, raw, flags)
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
            export.write_json(found)
        for log in () if wanted else found:
            _files().copy_to_stdout(log, raw)


def _files() -> Any:
    from provision.logs import read

    return read


def _follow(names: tuple[str, ...], raw: bool, flags: dict[str, Any]) -> None:
    from provision.runs import follow, store

    if len(names) > 1 or _files().is_file(names[0]):
        raise UsageError(
            "--follow follows one run", f"name one RUN: {clouds.hint('runs', **flags)}; a file: tail -f FILE"
        )
    session = clouds.session(**flags)
    run = store.find(session.cloud, names[0])
    printer = _files().Printer(raw)
    word = follow.show(session.cloud, run, printer.take)
    printer.end()
    console.line(f"{names[0]} is {word}")


def _open(stack: "ExitStack", names: tuple[str, ...], flags: dict[str, Any]) -> "list[Log]":
    """The logs of files, which need no cloud, and the logs of runs."""
    from provision.runs import log, store

    files = _files()
    session: Any = None
    found = []
    for name in names:
        if files.is_file(name):
            found.append(stack.enter_context(files.open_file(name)))
            continue
        if "/" in name or name.endswith((".log", ".txt", ".gz")):
            raise UsageError(f"there is no file {name}", f"name a log, or a run: {clouds.hint('runs', **flags)}")
        session = session or clouds.session(**flags)
        found.append(stack.enter_context(files.spooled(name, log.text(store.find(session.cloud, name)))))
    return found


def _csv(found: "list[Log]", target: str) -> None:
    from provision.logs import export

    for log in found:
        table = Path(target.removesuffix(".csv") + (f".{log.name}" if len(found) > 1 else "") + ".csv")
        paths, lost = export.write_csv(log, None if target == "-" else table)
        for path in paths:
            console.say(f"written: {path}")
        if lost:
            console.line(f"{log.name}: {lost} rows are left out, for a resumed attempt printed them again")


def _tensorboard(found: "list[Log]", target: Path) -> None:
    from provision.logs import export

    for name, count in export.write_tensorboard(found, target).items():
        console.say(f"written: {target / name}  {count} scalars")
    console.say(f"  look at them: tensorboard --logdir {target}")


@click.command()
@click.argument("run_id", metavar="RUN", type=RUN)
@cloud_options
@dry_run_option
def stop(run_id: str, dry_run: bool, **flags: Any) -> None:
    """Stop a training after it has saved its work."""
    from provision.runs import store
    from provision.training import stop as stopping

    session = clouds.session(**flags)
    run = store.find(session.cloud, run_id)
    if dry_run:
        console.say(f"would send {run.manifest.recipe.stop.signal} to {run_id} and wait until its work is saved")
        return
    word = stopping.stop(session, run)
    console.say(f"{run_id} is {word}; go on with it: {session.hint(f'resume {run_id}')}")


@click.command()
@click.argument("run_id", metavar="RUN", type=RUN)
@click.argument("target", required=False, type=PATH)
@click.option("--every-snapshot", is_flag=True, help="bring every snapshot (default: the newest one)")
@cloud_options
@json_option
@dry_run_option
def fetch(run_id: str, target: Path | None, every_snapshot: bool, dry_run: bool, as_json: bool, **flags: Any) -> None:
    """Bring the results of a training to DIR (default: a folder with the run's name)."""
    from provision.runs import fetch as fetching
    from provision.runs import store

    run = store.find(clouds.session(**flags).cloud, run_id)
    place = target or Path(run_id)
    if dry_run:
        found = {str(file.path): file.size for file in fetching.wanted(run, place, every_snapshot)}
    else:
        found = {str(path): path.stat().st_size for path in fetching.fetch(run, place, every_snapshot)}
    if as_json:
        console.emit_json(found)
    elif dry_run:
        console.table("would bring", ("file", "size"), [(path, console.size(size)) for path, size in found.items()])
    else:
        for path, size in found.items():
            console.say(f"{path}  {console.size(size)}")


@click.command()
@click.argument("run_ids", metavar="RUN...", nargs=-1, type=RUN)
@click.option("--older", metavar="TIME", help="all runs that were made longer ago than this, such as 30d")
@click.option("--force", is_flag=True, help="with --older: delete them without asking")
@cloud_options
@dry_run_option
@json_option
def rm(run_ids: tuple[str, ...], older: str | None, force: bool, dry_run: bool, as_json: bool, **flags: Any) -> None:
    """Delete trainings from S3, with all their snapshots and logs. Those that go on are not deleted."""
    import msgspec

    from provision.runs import removal, table

    if bool(run_ids) == bool(older):
        raise UsageError("say which runs to delete", "name them, or give --older TIME")
    session = clouds.session(**flags)
    if older:
        chosen = removal.older(session.cloud, parse_minutes(older))
    else:
        chosen = removal.named(session.cloud, run_ids)
    rows = [msgspec.structs.asdict(table.row(seen)) for seen in chosen]
    if rows and not as_json:
        console.table("would delete" if dry_run else "", list(rows[0]), [list(row.values()) for row in rows])
    if rows and not dry_run and (not older or force or _agreed(len(rows))):
        removal.remove(chosen)
        words = f"deleted {len(rows)} runs, {console.size(sum(seen.size for seen in chosen))}"
    else:
        words = "" if dry_run and rows else "nothing was deleted"
    if as_json:
        console.emit_json(rows)
    elif words:
        console.say(words)


def _agreed(count: int) -> bool:
    """Whether the user agrees. UsageError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise UsageError(f"{count} runs would be deleted, and nobody can be asked", "add --force, after --dry-run")
    return click.confirm(f"delete these {count} runs?", err=True)
