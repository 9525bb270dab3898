"""`sweep …`: many trainings of one recipe, with other options and seeds."""

import csv
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.errors import RunError, UsageError
from infra.harmless import cell
from provision import console, settings
from provision.commands import here, on_cluster
from provision.commands.options import MACHINE, NEW, PATH, RECIPE, RUN, WORDS, dry_run_option, json_option
from provision.commands.sweep_homes import Home, find
from provision.lazy import Lazy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provision.recipes.spec import Option
    from provision.runs.sweeps import Asked, Result, Sweep

_HERE = "provision.commands.sweep"
_COMMANDS = {
    "start": (_HERE, "start a sweep (the word may be left out)"),
    "status": (_HERE, "how many of its trainings wait, train and have ended"),
    "table": (_HERE, "all of its trainings, the best one first"),
    "logs": (_HERE, "print or draw the logs of its trainings"),
    "stop": (_HERE, "stop its trainings after they have saved their work"),
    "resume": (_HERE, "go on with what is left of it"),
}
_LOOK_S = 1.0


class _Group(Lazy):
    """`sweep RECIPE` is `sweep start RECIPE`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        short = args and args[0] not in self.table and not args[0].startswith("-")
        return super().resolve_command(ctx, ["start", *args] if short else args)


@click.group(cls=_Group, table=_COMMANDS)
def sweep() -> None:
    """Train one recipe many times, with other options and seeds, and compare the results."""


@click.command()
@click.argument("recipe", type=RECIPE)
@click.option(
    "--on",
    "name",
    type=MACHINE,
    required=True,
    help="where to train: here (this laptop), or a cluster (provision cluster ls)",
)
@click.option("--set", "sets", multiple=True, metavar="OPTION=A,B,C", help="set an option of the recipe, to each value")
@click.option("--repeat", type=click.IntRange(1, 1000), help="train each combination so often, each with its own seed")
@click.option("--at-once", type=click.IntRange(1, 100), help="how many trainings may work at a time (default: 1)")
@click.option("--file", "path", type=PATH, help="a file that says the same: options, repeat, at_once (YAML)")
@click.option("--image", help="a target (STACK:ROW) or an image's tag (default: the recipe's stack)")
@click.option("--gpus", type=click.IntRange(min=0), help="the number of GPUs of each training (default: all)")
@click.option("--data", type=WORDS, help="a folder of this laptop (default: the recipe's own)")
@click.option("--project", type=WORDS, help="a folder with your code: /project in the container")
@click.option("--accept-licence", "licences", multiple=True, metavar="FILE",
              help="agree to the licence of this file of trained weights")  # fmt: skip
@dry_run_option
@json_option
def start(recipe: str, name: str, sets: tuple[str, ...], repeat: int | None, at_once: int | None, path: Path | None,
          licences: tuple[str, ...], dry_run: bool, as_json: bool, **mine: Any) -> None:  # fmt: skip
    """Train RECIPE with every combination of the values. The command ends when the sweep has begun.

    What --set, --repeat and --at-once say goes before the file.
    """
    from provision.runs import sweeps
    from provision.training import here as training
    from provision.training.request import TrainRequest, load, refuse_unaccepted

    cluster = on_cluster.named(name)
    if name != here.NAME and cluster is None:
        raise UsageError(f"a sweep trains on this laptop or a cluster, and not on {name}", "give --on here")
    asked = asked_for(path, sets, repeat, at_once)
    chosen = settings.load()
    request = TrainRequest(recipe, {}, **mine, accepted=(*licences, *chosen.accept_licences))
    lists = {key: one if isinstance(one, list) else [one] for key, one in asked.options.items()}
    items = sweeps.expand(load(request), lists, asked.repeat)
    first = TrainRequest(**{**vars(request), "options": items[0]})
    plan = training.plan(first) if cluster is None else on_cluster.planned(cluster, first)
    refuse_unaccepted(plan)
    if dry_run:
        _show_items(items, asked.at_once, as_json)
        return
    if cluster is None:
        made = training.sweep(plan, chosen, items, asked.at_once, console.line)
    else:
        made = on_cluster.sweep(cluster, plan, chosen, items, asked.at_once)
    if as_json:
        console.emit_json({"sweep": made.id, "runs": [item.run for item in made.items]})
        return
    console.say(f"sweep {made.id}: {len(made.items)} trainings, {made.at_once} at once")
    console.say(f"  how it stands: provision sweep status {made.id}; the best: provision sweep table {made.id}")
    console.say(f"  stop it: provision sweep stop {made.id}")


def asked_for(path: Path | None, sets: tuple[str, ...], repeat: int | None, at_once: int | None) -> "Asked":
    """What the file and the flags say together. UsageError for a file that is none."""
    from infra.border import convert, read_yaml
    from provision.recipes.rendering import split_sets
    from provision.runs.sweeps import Asked, values_of

    found = convert(read_yaml(path), Asked, str(path)) if path else Asked()
    given: dict[str, Option | list[Option]] = {key: values_of(text) for key, text in split_sets(sets).items()}
    return Asked({**found.options, **given}, repeat or found.repeat, at_once or found.at_once)


def _show_items(items: "list[dict[str, Option]]", at_once: int, as_json: bool) -> None:
    if as_json:
        console.emit_json({"at_once": at_once, "options": items})
        return
    columns = list(items[0])
    rows = [[number, *(item[key] for key in columns)] for number, item in enumerate(items, 1)]
    console.table(f"would train {len(items)} times, {at_once} at once", ["", *columns], rows)


@click.command()
@click.argument("sweep_id", metavar="SWEEP", type=RUN)
@click.option("--wait", is_flag=True, help="wait until nothing of it trains or waits any more")
@json_option
def status(sweep_id: str, wait: bool, as_json: bool) -> None:
    """Show how many trainings of SWEEP wait, train and have ended."""
    home, made = find(sweep_id)
    while wait and home.works(made):
        time.sleep(_LOOK_S)
    counts, works = _counts(home, made), home.works(made)
    if as_json:
        console.emit_json({"sweep": made.id, "works": works, "runs": len(made.items), **counts})
        return
    console.say(f"{made.id}: {', '.join(f'{count} {word}' for word, count in counts.items())}")
    if not works and any(word in counts for word in ("waiting", "stopped", "interrupted", "running")):
        console.say(f"  nobody works on it; go on with it: provision sweep resume {made.id}")


def _counts(home: Home, made: "Sweep") -> dict[str, int]:
    from collections import Counter

    from provision.runs import sweeps

    return dict(sorted(Counter(home.words(made, sweeps.ended(home.store, made.id)).values()).items()))


@click.command()
@click.argument("sweep_id", metavar="SWEEP", type=RUN)
@click.option("--csv", "target", type=NEW, metavar="FILE", help="write the table to this file, for a spreadsheet")
@json_option
def table(sweep_id: str, target: Path | None, as_json: bool) -> None:
    """Show all trainings of SWEEP, the best one first: by their score, else by their loss."""
    rows = _rows(*find(sweep_id))
    if as_json:
        console.emit_json(rows)
        return
    columns = [name for name in rows[0] if any(row[name] not in (None, "") for row in rows)]
    if target is not None:
        from provision.files.whole import atomic_file

        with atomic_file(target) as part, part.open("w", encoding="utf-8", newline="") as out:
            csv.writer(out).writerows(
                [[cell(name) for name in columns], *([cell(row[name]) for name in columns] for row in rows)]
            )
        console.say(f"written: {target}")
        return
    console.table("", columns, [["" if row[name] is None else row[name] for name in columns] for row in rows])


def _rows(home: Home, made: "Sweep") -> list[dict[str, Any]]:
    """Each training with its numbers and the options that differ, the best one first."""
    from provision.runs import sweeps

    results = _results(home, made)
    options = {item.run: item.options for item in made.items}
    return [
        {"run": run, "state": one.state, **{key: options[run].get(key) for key in made.varied}, "score": one.score,
         "value": one.value, "loss": one.loss, "iteration": one.iterations or None, "of": one.max_iter,
         "attempts": one.attempts or None}
        for run in sweeps.best_first(results)
        for one in (results[run],)
    ]  # fmt: skip


def _results(home: Home, made: "Sweep") -> "Mapping[str, Result]":
    """How each training stands: of those that have ended as it was written down, of those that train by their log."""
    from provision.runs import sweeps
    from provision.runs.store import AnyRun

    store = home.store
    known = sweeps.ended(store, made.id)
    words = home.words(made, known)
    return {
        run: known[run] if run in known
        else sweeps.Result(word) if word == "waiting" else sweeps.result(AnyRun(store, run), word)
        for run, word in words.items()
    }  # fmt: skip


@click.command()
@click.argument("sweep_id", metavar="SWEEP", type=RUN)
@click.option("--plot", type=NEW, metavar="PNG", help="draw losses and scores of all of them into this file")
@click.pass_context
def logs(ctx: click.Context, sweep_id: str, plot: Path | None) -> None:
    """Print or draw the logs of all trainings of SWEEP that have begun."""
    from provision.commands.logs import logs as of_runs
    from provision.runs import sweeps

    home, made = find(sweep_id)
    words = home.words(made, sweeps.ended(home.store, made.id))
    begun = tuple(run for run, word in words.items() if word != "waiting")
    if not begun:
        raise RunError(f"no training of {made.id} has begun", f"see how it stands: provision sweep status {made.id}")
    ctx.invoke(of_runs, names=begun, plot=plot)


@click.command()
@click.argument("sweep_id", metavar="SWEEP", type=RUN)
@dry_run_option
def stop(sweep_id: str, dry_run: bool) -> None:
    """Stop all trainings of SWEEP after they have saved their work; those that wait do not begin."""
    home, made = find(sweep_id)
    if dry_run:
        console.say(f"would stop what trains of {made.id}, and begin nothing more")
        return
    home.stop(made)
    console.say(f"{made.id} is stopped; go on with it: provision sweep resume {made.id}")


@click.command()
@click.argument("sweep_id", metavar="SWEEP", type=RUN)
@dry_run_option
def resume(sweep_id: str, dry_run: bool) -> None:
    """Go on with what is left of SWEEP: what waits, what was stopped, what was interrupted."""
    home, made = find(sweep_id)
    if home.works(made):
        raise RunError(f"{made.id} goes on already", f"how it stands: provision sweep status {made.id}")
    if dry_run:
        counts = _counts(home, made)
        left = sum(count for word, count in counts.items() if word not in ("finished", "failed"))
        console.say(f"would go on with {left} trainings of {made.id}")
        return
    runs = home.go_on(made)
    console.say(
        f"{made.id} goes on with {len(runs)} trainings" if runs else f"{made.id} is done: nothing is left of it"
    )
