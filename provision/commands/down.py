"""`extend` and `down`: the end of a machine, moved or now."""

import sys
from collections.abc import Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from infra.errors import UsageError
from provision import clouds, console
from provision.commands.options import MACHINE, cloud_options, dry_run_option, json_option, parse_minutes
from provision.commands.session import machine, places, where_is

if TYPE_CHECKING:
    from infra.aws.session import Cloud
    from infra.aws.types import Instance
    from provision.engines.kept import Waiting
    from provision.machines.down import Ended
    from provision.runs.store import Run

_LONGEST_MINUTES = 30 * 24 * 60


@click.command()
@click.argument("name", type=MACHINE)
@click.argument("time", metavar="TIME")
@cloud_options
@dry_run_option
@json_option
def extend(name: str, time: str, dry_run: bool, as_json: bool, **flags: Any) -> None:
    """Move the end of NAME: let it run for TIME (90m, 4h, 1d) from now, longer or shorter than before."""
    from datetime import datetime, timedelta, timezone

    from provision.machines import deadline

    minutes = parse_minutes(time)
    if not 1 <= minutes <= _LONGEST_MINUTES:
        now = clouds.hint(f"down {name}", **flags)
        raise UsageError(
            f"{time} is no time that a machine can run", f"give 1m to 30d, such as 4h; to end it now: {now}"
        )
    there = machine(name, flags)
    instance = there.instance
    at = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(minutes=minutes)
    if dry_run:
        deadline.check_budget(there.session.cloud, instance, at)
    else:
        deadline.extend(there.session.cloud, instance, at)
    if as_json:
        before = instance.deadline.isoformat() if instance.deadline else None
        console.emit_json({"name": name, "before": before, "ends": at.isoformat(), "done": not dry_run})
        return
    sooner = instance.deadline is not None and at < instance.deadline
    console.say(
        f"{name} {'would end' if dry_run else 'ends'} by itself at {deadline.clock(at)}, "
        f"{'SOONER' if sooner else 'later'} than before ({deadline.clock(instance.deadline)})"
    )


@click.command()
@click.argument("name", type=MACHINE, required=False)
@click.option("--all", "everything", is_flag=True, help="end everything of ours, in each region that `ls` lists")
@click.option("--mine", is_flag=True, help="ask nothing, and leave what somebody else, or another laptop, launched")
@click.option("--force", is_flag=True, help="ask nothing, and end what others launched as well")
@click.option("--volumes", is_flag=True, help="delete the data volumes, too; they are kept otherwise")
@cloud_options
@dry_run_option
@json_option
def down(
    name: str | None, everything: bool, mine: bool, force: bool, volumes: bool, dry_run: bool, as_json: bool,
    **flags: Any,
) -> None:  # fmt: skip
    """End NAME (or all) with all that belongs to it, and prove that nothing is left.

    What somebody else launched, or where several machines have that name, it shows them and asks first.
    """
    from provision.machines.finish import finish

    if bool(name) == everything:
        one_machine, all_machines = (clouds.hint(words, **flags) for words in ("down NAME", "down --all"))
        raise UsageError("say what to end", f"{one_machine}, or {all_machines}")
    if mine and force:
        raise UsageError("--mine leaves what others launched, --force ends it", "give one of them")
    where = [where_is(name, flags).cloud] if name else places(clouds.session(**flags))
    if dry_run:
        _show_down(where, name, volumes, as_json)
        return
    for place in where:
        finish(place, console.line)
    theirs = None if force else () if mine else _allowed(where, name, volumes)
    _end(where, name, volumes, theirs, as_json)


def _allowed(where: "Sequence[Cloud]", name: str | None, volumes: bool) -> "Collection[str]":
    """The launches of others that may be ended too, as the user has said. UsageError where that cannot be asked, or the
    answer is no."""
    from infra.aws.ec2 import Ec2
    from infra.concurrency import together
    from provision.engines import kept
    from provision.machines import whose

    found, _ = together([partial(Ec2(place).instances, name) for place in where])  # what cannot be seen is not ended
    waits, _ = together([partial(kept.others_waiting, place, name) for place in where])
    asked = whose.to_ask([instance for some in found for instance in some], name)
    waiting = [one for some in waits for one in some]
    theirs: list[Instance | Waiting] = [*asked, *waiting]
    if not theirs:
        return ()
    for words in (*map(whose.words, asked), *(one.words for one in waiting)):
        console.line(words)
    if _asks() and click.confirm("End them?", err=True):
        return {one.launch for one in theirs}
    command = f"down {name or '--all'}{' --volumes' * volumes}"
    forced, own = (where[0].hint(f"{command} --{flag}") for flag in ("force", "mine"))
    mine = "" if name and all(whose.others(one.owner) for one in theirs) else f"; what is yours: {own}"
    raise UsageError(_why(asked, waiting, name), f"to end them all the same: {forced}{mine}")


def _asks() -> bool:
    """Whether there is somebody to answer."""
    return sys.stdin.isatty()


def _why(asked: "Sequence[Instance]", waiting: "Sequence[Waiting]", name: str | None) -> str:
    """Why nothing was ended."""
    from provision.machines import whose

    owners = [instance.owner for instance in asked] + [one.owner for one in waiting]
    others = sorted({whose.person(owner) for owner in owners if whose.others(owner)})
    if name and len(asked) > 1:
        also = f", not all of them yours ({', '.join(others)})" if others else ""
        return f"nothing was ended: {len(asked)} machines have the name {name}{also}"
    named = [*(instance.name for instance in asked), *(one.run for one in waiting)]
    return f"nothing was ended: {', '.join(named)}: launched by {', '.join(others)}"


def _show_down(where: "Sequence[Cloud]", name: str | None, volumes: bool, as_json: bool) -> None:
    from infra.aws.ec2 import Ec2
    from infra.concurrency import together
    from provision.engines import kept
    from provision.machines import down as ending
    from provision.machines import whose

    found = {place.region: ending.everything(place, name, volumes) for place in where}
    there = [instance for place in where for instance in Ec2(place).instances(name)]
    for instance in whose.to_ask(there, name):
        console.line(f"it would be asked first about {whose.words(instance)}")
    waits, _ = together([partial(kept.others_waiting, place, name) for place in where])
    for words in (waiting.words for some in waits for waiting in some):
        console.line(f"it would be asked first about {words}")
    if as_json:
        console.emit_json(found[where[0].region] if name else found)
        return
    for region, things in found.items():
        _table(f"would end in {region}", things)


def _end(
    where: "Sequence[Cloud]", name: str | None, volumes: bool, theirs: "Collection[str] | None", as_json: bool
) -> None:
    """End the machines of all these regions at once; a region that fails keeps no other from being ended."""
    from infra.concurrency import together
    from provision.machines import down as ending

    halted, unsure = together([partial(_halt, place, name, theirs) for place in where])
    end = partial(ending.down, with_volumes=volumes, theirs=theirs, settle=ending.LATE_S if any(halted) else 0.0)
    done, errors = together([partial(end, place, name, console.line) for place in where])
    _, unnoted = together([partial(_note_ends, runs) for runs in halted])
    errors += [*unsure, *unnoted]
    if as_json and done:
        console.emit_json(done[0].as_json() if name else [ended.as_json() for ended in done])
    else:
        for ended in done:
            _show_ended(ended)
    if errors:
        raise errors[0]


def _halt(place: "Cloud", name: str | None, theirs: "Collection[str] | None") -> "list[Run]":
    """Stop the keepers of what is to be ended first, or they would ask for other machines; the runs that they kept."""
    from provision.engines import kept
    from provision.engines import stop as engines
    from provision.runs import store

    found = {
        store.Run(store.store(place), run): keeper for run, keeper in kept.on_machines(place, name, theirs).items()
    }
    for run, keeper in found.items():
        engines.halt(place, run, keeper, console.line)
    return list(found)


def _note_ends(runs: "Sequence[Run]") -> None:
    from provision.engines import stop as engines
    from provision.runs import standing

    for run in runs:
        engines.note_end(run, standing.glance(run.store.cloud, run))


def _show_ended(ended: "Ended") -> None:
    _table(f"ended in {ended.region}", ended.ended)
    for line in ended.words():
        console.say(line)


def _table(title: str, things: dict[str, list[str]]) -> None:
    rows = [(kind, len(ids), ", ".join(ids)) for kind, ids in things.items() if ids]
    if rows:
        console.table(title, ("what", "count", "which"), rows)
    else:
        console.say(f"{title}: nothing")
