"""`extend` and `down`: the end of a machine, moved or now."""

from typing import TYPE_CHECKING, Any

import click

from infra.errors import UsageError
from provision import clouds, console, settings
from provision.commands.machines import where_is
from provision.commands.options import cloud_options, dry_run_option, json_option, parse_minutes

if TYPE_CHECKING:
    from infra.aws.session import Cloud
    from provision.ending import Ended

_LONGEST_MINUTES = 30 * 24 * 60


@click.command()
@click.argument("name")
@click.argument("time", metavar="TIME")
@cloud_options
@dry_run_option
@json_option
def extend(name: str, time: str, dry_run: bool, as_json: bool, **flags: Any) -> None:
    """Let NAME run for TIME (90m, 4h, 1d) from now, in place of until its present end: longer, or shorter."""
    from datetime import datetime, timedelta, timezone

    from provision import machines

    minutes = parse_minutes(time)
    if not 1 <= minutes <= _LONGEST_MINUTES:
        raise UsageError(f"{time} is no time to run", "give 1m to 30d, such as 4h; to end it now: provision down")
    cloud = where_is(name, flags)
    instance = machines.find(cloud, name)
    at = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(minutes=minutes)
    if not dry_run:
        machines.extend(cloud, instance, at)
    if as_json:
        before = instance.deadline.isoformat() if instance.deadline else None
        console.emit_json({"name": name, "before": before, "ends": at.isoformat(), "done": not dry_run})
        return
    sooner = instance.deadline is not None and at < instance.deadline
    console.say(
        f"{name} {'would end' if dry_run else 'ends'} by itself at {machines.clock(at)}, "
        f"{'SOONER' if sooner else 'later'} than before ({machines.clock(instance.deadline)})"
    )


@click.command()
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="everything of ours, in each region that `ls` lists")
@click.option("--volumes", is_flag=True, help="the data volumes that are kept otherwise, too")
@cloud_options
@dry_run_option
@json_option
def down(name: str | None, everything: bool, volumes: bool, dry_run: bool, as_json: bool, **flags: Any) -> None:
    """End NAME (or all) with all that belongs to it, and prove that nothing is left."""
    from provision import machines

    if bool(name) == everything:
        raise UsageError("say what to end", "provision down NAME, or provision down --all")
    if name:
        where = [where_is(name, flags)]
    else:
        chosen = settings.load(**flags)
        where = machines.places(clouds.resolve(chosen), chosen.more_regions)
    if dry_run:
        _show_down(where, name, volumes, as_json)
    else:
        _end(where, name, volumes, as_json)


def _show_down(where: "list[Cloud]", name: str | None, volumes: bool, as_json: bool) -> None:
    from provision import ending

    found = {place.region: ending.everything(place, name, volumes) for place in where}
    if as_json:
        console.emit_json(found[where[0].region] if name else found)
        return
    for region, things in found.items():
        _table(f"would end in {region}", things)


def _end(where: "list[Cloud]", name: str | None, volumes: bool, as_json: bool) -> None:
    """In all these regions at once: one that fails keeps no other from being ended."""
    from functools import partial

    from infra.together import together
    from provision import ending

    done, errors = together([partial(ending.down, place, name, console.line, with_volumes=volumes) for place in where])
    if as_json and done:
        console.emit_json(done[0].as_json() if name else [one.as_json() for one in done])
    else:
        for one in done:
            _show_ended(one)
    if errors:
        raise errors[0]


def _show_ended(one: "Ended") -> None:
    _table(f"ended in {one.region}", one.ended)
    for line in one.words():
        console.say(line)


def _table(title: str, things: dict[str, list[str]]) -> None:
    rows = [(kind, len(ids), ", ".join(ids)) for kind, ids in things.items() if ids]
    if rows:
        console.table(title, ("what", "count", "which"), rows)
    else:
        console.say(f"{title}: nothing")
