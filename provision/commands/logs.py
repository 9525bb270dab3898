"""`logs`: print, follow or draw the logs of trainings, or hand their numbers to other programs."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.errors import RunError, UsageError
from provision import clouds, console
from provision.commands.options import NEW, PATH, RUN_OR_FILE, cloud_options, json_option, metrics_option

if TYPE_CHECKING:
    from provision.logs.metrics.asked import Asked
    from provision.logs.read import Log
    from provision.runs.store import AnyRun


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
@click.option("--plot", type=NEW, metavar="PNG", help="draw losses and scores into this file")
@click.option(
    "--chart",
    help="with --plot: draw one of Caffe's charts, by its number (0 to 7) or name (test-accuracy, train-loss ...)",
)
@metrics_option
@json_option
@cloud_options
def logs(names: tuple[str, ...], following: bool, as_csv: str | None, raw: bool, tensorboard: Path | None,
         plot: Path | None, chart: str | None, metrics: str, as_json: bool, **flags: Any) -> None:  # fmt: skip
    """Print or draw the logs of trainings, follow a log, or hand their numbers to other programs.

    RUN is a training's id. FILE is any program's log on this machine, a folder that `provision fetch` made, or - for
    the standard input. Several logs are put together. What a terminal would obey is left out.
    """
    from provision.logs import apart
    from provision.logs import plot as drawing
    from provision.logs.metrics.asked import asked

    wished = asked(metrics)
    if chart is not None and plot is None:
        raise UsageError("--chart draws a picture", f"say where to: --plot {chart}.png --chart {chart}")
    number = None if chart is None else drawing.chart_number(chart)
    hint = partial(clouds.hint, **flags)
    if following:
        _follow(names, raw, flags)
    wanted = bool(as_csv or tensorboard or plot or as_json)
    if following and not wanted:
        return
    with ExitStack() as stack:
        found, runs = _open(stack, names, flags, wished)
        if not wanted:
            _print(found, raw, hint)
            _tell_failed(runs)
            return
        _export(apart.apart(found), as_csv, tensorboard, plot, number, as_json, hint)


def _export(found: "list[Log]", as_csv: str | None, tensorboard: Path | None, plot: Path | None, chart: int | None,
            as_json: bool, hint: Callable[[str], str]) -> None:  # fmt: skip
    """Hand over the numbers of those that have any. RunError for the others, at the end."""
    from provision.files.whole import atomic_file
    from provision.logs import absence, export
    from provision.logs import plot as drawing

    without = [log for log in found if not absence.told(log)]
    told = [log for log in found if log not in without]
    if told and plot:
        drawing.plot(told, plot, chart, atomic_file)
        console.say(f"drawn: {plot}")
    if told and tensorboard:
        _tensorboard(told, tensorboard)
    if told and as_csv:
        _csv(told, as_csv, len(found) > 1, hint)
    if told and as_json:
        export.write_json(told)
    if without:
        raise absence.of_all(without, hint)


def _print(found: "list[Log]", raw: bool, hint: Callable[[str], str]) -> None:
    from provision.logs import absence, read

    if empty := [log for log in found if not read.copy_to_stdout(log, raw)]:
        raise absence.of_all(empty, hint)


def _tell_failed(runs: "list[AnyRun]") -> None:
    """Say why those that failed did so, as far as their logs tell, and what helps."""
    from provision.runs import report

    for run in runs:
        if run.state().state == "failed":
            why = report.reason(run)
            helps = run.store.hint(f"diagnose {run.id}")
            console.line(f"{run.id} failed" + (f": {why}" if why else "") + f"; what helps: {helps}")


def _follow(names: tuple[str, ...], raw: bool, flags: dict[str, Any]) -> None:
    from provision.engines import kept, where
    from provision.logs import read
    from provision.runs import follow, standing

    if len(names) > 1 or read.is_file(names[0]):
        raise UsageError(
            "--follow follows one run", f"name one RUN: {clouds.hint('runs', **flags)}; a file: tail -f FILE"
        )
    run = where.find(names[0], lambda: clouds.session(**flags).cloud)
    cloud, state = where.followed(run)
    printer = read.Printer(raw)
    word = follow.show(cloud, run, printer.take, state)
    printer.end()
    why = ""
    if cloud is not None:
        now = standing.glance(cloud, run, machine=False, keeper=standing.keeper_of(cloud, run))
        why = "" if now.went_on else kept.why(now.keeper)
    console.line(f"{names[0]} is {word}" + (f": {why}" if why else ""))
    _tell_failed([run] if word == "failed" else [])


def _open(
    stack: ExitStack, names: tuple[str, ...], flags: dict[str, Any], asked: "Asked"
) -> "tuple[list[Log], list[AnyRun]]":
    """The logs of files, which need no cloud, and the logs of runs; and these runs. `asked`: which lines tell
    numbers."""
    from provision.engines import where
    from provision.logs import read
    from provision.runs import log

    session = cache(partial(clouds.session, **flags))
    found, runs = [], []
    for name in names:
        if read.is_file(name):
            found.append(stack.enter_context(read.open_file(name, asked)))
            continue
        if (wrong := read.refused(name, clouds.hint("runs", **flags))) is not None:
            raise wrong
        runs.append(where.find(name, lambda: session().cloud))
        found.append(stack.enter_context(read.spooled(name, log.text(runs[-1]), log.asked(runs[-1], asked))))
    return found, runs


def _csv(found: "list[Log]", target: str, several: bool, hint: Callable[[str], str]) -> None:
    from provision.files.whole import atomic_file
    from provision.logs import apart, export

    before = ""
    for log in found:
        part = f".{apart.file_name(log.name)}" if several else ""
        table = None if target == "-" else Path(f"{target.removesuffix('.csv')}{part}.csv")
        written = export.write_csv(log, table, before, atomic_file)
        if not written.tables:
            raise RunError(
                f"{log.name}: no loss and no output of a net to write",
                f"see its numbers: {hint(f'logs {log.shown or log.name} --json')}",
            )
        before = "\n"
        for path in written.files:
            console.say(f"written: {path}")
        if written.lost:
            console.line(f"{log.name}: {written.lost} rows are left out, for a later attempt went on from before them")
        if written.back is not None:
            console.line(
                f"{log.name}: iterations go back to {written.back} without a resume; if two solvers wrote this log, "
                "their numbers are in one table"
            )


def _tensorboard(found: "list[Log]", target: Path) -> None:
    from provision.logs import export

    for name, count in export.write_tensorboard(found, target).items():
        console.say(f"written: {target / name}  {count} scalars")
    console.say(f"  look at them: tensorboard --logdir {target}")
