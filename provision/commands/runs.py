"""`runs`, `stop`, `fetch`, `rm`: see and manage trainings from any laptop."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.errors import UsageError
from provision import clouds, console
from provision.commands.options import (
    PATH,
    RUN,
    cloud_options,
    dry_run_option,
    json_option,
    parse_minutes,
)

if TYPE_CHECKING:
    from provision.clouds import Session
    from provision.runs.table import Seen


@click.command(name="runs")
@cloud_options
@json_option
def runs(as_json: bool, **flags: Any) -> None:
    """List the trainings, with what AWS asks a month for keeping them in S3."""
    import msgspec

    from provision.commands import here, on_cluster
    from provision.runs import table
    from provision.runs.patience import PASSING

    there, more = on_cluster.seen()
    mine = [*here.seen(), *there]
    found: list[Seen] = []
    words: list[str] = []
    try:
        found, words = _of_account(clouds.session(**flags))
    except PASSING as error:
        if not mine and not on_cluster.any_noted():
            raise
        console.line(f"only the runs of this laptop and of clusters: {error.what}")
    said = zip([*mine, *found], [*[""] * (len(mine) - len(there)), *more, *words], strict=True)
    rows = [msgspec.structs.asdict(table.row(seen, about)) for seen, about in said]
    if as_json:
        console.emit_json(rows)
    elif not rows:
        console.say(f"no runs yet: {clouds.hint('train digits --instance TYPE', **flags)}")
    else:
        _table("", rows)


def _of_account(session: "Session") -> "tuple[list[Seen], list[str]]":
    """The runs of the account, and how those stand in words that go on without a laptop."""
    from provision.engines import kept
    from provision.runs import expiry, store, table

    if swept := expiry.sweep(store.store(session.cloud)):
        console.line(f"deleted what was left of expired runs: {', '.join(swept)}")
    found = table.every(session.cloud)
    bills = kept.bills_by_id(session.cloud) if any(seen.now.kept for seen in found) else {}
    return found, [kept.about(seen.run, seen.now, bills) for seen in found]


@click.command()
@click.argument("run_id", metavar="RUN", type=RUN)
@cloud_options
@dry_run_option
def stop(run_id: str, dry_run: bool, **flags: Any) -> None:
    """Stop a training after it has saved its work."""
    from provision.commands import here, on_cluster
    from provision.engines import stop as engines
    from provision.engines.here import place
    from provision.engines.slurm import where
    from provision.runs import standing, store
    from provision.training import stop as stopping

    if (lies_here := place.find(run_id)) is not None:
        here.stop(lies_here, dry_run)
        return
    if (on_it := where.find(run_id)) is not None:
        on_cluster.stop(on_it, dry_run)
        return
    session = clouds.session(**flags)
    run = store.find(session.cloud, run_id)
    keeper = standing.keeper_of(session.cloud, run)
    if keeper is not None and (keeper.works or standing.look(session.cloud, run).in_keepers_hands):
        if dry_run:
            console.say(f"would stop the keeper of {run_id}, wait until its work is saved, and end its machine")
            return
        word = engines.stop(session, run, keeper)
        console.say(f"{run_id} is {word}; go on with it: {session.hint(f'resume {run_id}')}")
        return
    if dry_run:
        stopping.running(session, run, standing.look(session.cloud, run))
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
    from provision.engines import where
    from provision.runs import fetch as fetching

    run = where.find(run_id, lambda: clouds.session(**flags).cloud)
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

    from provision.commands import here, on_cluster
    from provision.runs import removal, table

    if bool(run_ids) == bool(older):
        raise UsageError("say which runs to delete", "name them, or give --older TIME")
    mine, rest = here.named(run_ids)
    there, others = on_cluster.of_names(rest)
    chosen = [*mine, *there]
    if older:
        chosen = removal.older(clouds.session(**flags).cloud, parse_minutes(older))
    elif others:
        chosen = [*chosen, *removal.named(clouds.session(**flags).cloud, others)]
    rows = [msgspec.structs.asdict(table.row(seen)) for seen in chosen]
    if rows and not as_json:
        _table("would delete" if dry_run else "", rows)
    if rows and not dry_run and (not older or force or _agreed(len(rows))):
        removal.remove([seen for seen in chosen if seen not in mine])
        here.forget([seen.run for seen in mine])
        on_cluster.clear([seen.run for seen in there])
        count = "1 run" if len(rows) == 1 else f"{len(rows)} runs"
        words = f"deleted {count}, {console.size(sum(seen.size for seen in chosen))}"
    else:
        words = "" if dry_run and rows else "nothing was deleted"
    if as_json:
        console.emit_json(rows)
    elif words:
        console.say(words)


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Runs in a table; what none of them has to say in words has no column."""
    columns = [name for name in rows[0] if name not in ("about", "heard") or any(row[name] for row in rows)]
    console.table(title, columns, [[row[name] for name in columns] for row in rows])


def _agreed(count: int) -> bool:
    """Whether the user agrees. UsageError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise UsageError(f"{count} runs would be deleted, and nobody can be asked", "add --force, after --dry-run")
    return click.confirm(f"delete these {count} runs?", err=True)
