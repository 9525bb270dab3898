"""`events`."""

from typing import Any

import click

from provision import clouds, console
from provision.commands.options import RUN, cloud_options, json_option


@click.command()
@click.argument("run_id", metavar="RUN", type=RUN)
@cloud_options
@json_option
def events(run_id: str, as_json: bool, **flags: Any) -> None:
    """Show the time line of a training: when a machine was asked for and got, when AWS took it, what was saved, and
    what each machine cost at most."""
    from provision.engines import events as times
    from provision.engines import where
    from provision.machines.cost import dollars
    from provision.machines.deadline import clock
    from provision.runs.store import Run

    run = where.find(run_id, lambda: clouds.session(**flags).cloud)
    found = times.of(run.store.cloud, run) if isinstance(run, Run) else times.by_folder(run)
    if as_json:
        console.emit_json([event.as_json() for event in found])
        return
    if not found:
        console.say(f"nothing has happened yet; how it stands: {run.store.hint('runs')}")
        return
    rows = [
        (clock(event.time, exact=True), event.what, event.attempt or "", event.machine, event.about,
         "" if event.dollars is None else dollars(event.dollars))
        for event in times.short(found)
    ]  # fmt: skip
    console.table("", ("time", "what", "attempt", "machine", "about", "cost at most"), rows)
    if run.state().state == "failed":
        console.say(f"what helps: {run.store.hint(f'diagnose {run_id}')}")
