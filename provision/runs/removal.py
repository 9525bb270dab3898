"""Delete runs from S3. One that a machine works on is never deleted."""

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from infra.aws.session import Cloud
from infra.errors import RunError
from provision import console
from provision.runs import expiry, store, table
from provision.runs.store import Run
from provision.runs.table import Seen


def named(cloud: Cloud, run_ids: Sequence[str]) -> list[Seen]:
    """Those runs. NotFoundError where one is not there, RunError where one goes on: then none is to be deleted."""
    place = store.store(cloud)
    there = set(place.folders(store.ROOT)) if place.exists() else set()
    for run_id in run_ids:
        if run_id not in there:
            raise store.unknown(place, run_id) if there else store.no_runs(cloud, run_id)
    found = table.look(cloud, [Run(place, run_id) for run_id in dict.fromkeys(run_ids)])
    for seen in found:
        refuse_training(seen)
    return found


def refuse_training(seen: Seen) -> None:
    """RunError for a run that goes on."""
    if seen.trains:
        stop = seen.run.store.hint(f"stop {seen.run.id}")
        raise RunError(f"{seen.run.id} is {seen.now.word}: nothing was deleted", f"stop it first: {stop}")


def older(cloud: Cloud, minutes: float) -> list[Seen]:
    """All runs that were made longer ago than that; those that go on are left out, and told."""
    before = datetime.now(timezone.utc) - timedelta(minutes=minutes)
    found = [seen for seen in table.look(cloud, store.all_runs(cloud)) if table.created(seen) < before]
    for seen in found:
        if seen.trains:
            console.line(f"{seen.run.id} is {seen.now.word}: it stays")
    return [seen for seen in found if not seen.trains]


def remove(chosen: Sequence[Seen]) -> None:
    """Delete them. What is broken off is done again by the same call."""
    for seen in chosen:
        expiry.delete(seen.run, seen.objects)
