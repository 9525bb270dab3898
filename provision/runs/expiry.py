"""How long S3 keeps a run, and what becomes of the rest.

What a machine writes carries a tag and goes by the bucket's rule, once it is as old as that says; the guard renews it
while the run goes on. While a keeper waits for a machine nobody does: it may not wait for so long (`refuse_long_wait`).
What a laptop writes (the manifest, the attempts) stays, so that no run that lives is torn: it is deleted here when all
the rest has gone, and no keeper waits. So are runs of earlier versions, whose objects had no tag.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone

from infra.aws import s3_bucket
from infra.aws.identity import caller
from infra.aws.s3 import S3, Stored
from infra.errors import ProvisionError, UsageError
from provision import console
from provision.runs import notes, standing, store
from provision.runs.manifest import Manifest
from provision.runs.store import AnyRun, Run

_MARGIN = timedelta(days=2)  # S3 expires at midnight, and takes its time
_RENEWED = timedelta(days=1)  # what a guard renews may be so old when its machine is taken


def tell(manifest: Manifest, days: int) -> None:
    """Say it where the machine may run for longer than S3 keeps what is left alone."""
    hours = manifest.settings.max_hours
    if hours > days * 24:
        console.line(
            f"its machine may run for {hours:g} h, and S3 keeps a run for {days} days: the guard renews what it saved "
            f"while the run goes on; fetch the results within {days} days of its end"
        )


def refuse_long_wait(run: Run, hours: float) -> None:
    """UsageError where S3 may delete the run's snapshots while it waits for a machine for so many hours."""
    days = s3_bucket.expire_days(run.store)
    if days is None:
        return
    now = caller(run.store.cloud).clock or datetime.now(timezone.utc)
    newest = max((stored.modified for stored in run.store.objects(run.key("snapshots/"))), default=now.timestamp())
    age = max(timedelta(0), now - datetime.fromtimestamp(newest, timezone.utc))
    left = timedelta(days=days) - min(_RENEWED, timedelta(days=days) / 4) - age
    if timedelta(hours=hours) > left:
        raise UsageError(
            f"a keeper would wait for up to {hours:g} h, and S3 keeps what nobody renews for {days} days: the "
            f"snapshots of {run.id} may be gone before there is a machine",
            "give a smaller --wait-for-capacity (with --fallback it counts twice), or leave out --detach",
        )


def expired(objects: Sequence[Stored], now: datetime, days: int) -> bool:
    """Whether all that is left of a run is older than the rule lets anything become."""
    oldest = (now - timedelta(days=days) - _MARGIN).timestamp()
    return bool(objects) and all(stored.modified < oldest for stored in objects)


def sweep(place: S3) -> list[str]:
    """Delete what is left of expired runs, and their notes here; their ids. The clock is AWS's own.

    Where that is refused, or fails, the next command tries it again.
    """
    gone: list[str] = []
    with suppress(ProvisionError):
        days, now = s3_bucket.expire_days(place), caller(place.cloud).clock
        for name in place.folders(store.ROOT) if days and now else ():
            made = store.made_at(name)
            if days and now and made is not None and now - made > timedelta(days=days):
                run = Run(place, name)
                objects = place.objects(run.prefix)
                if expired(objects, now, days) and not _waits(run, objects):
                    delete(run, objects)
                    gone.append(name)
    return gone


def _waits(run: Run, objects: Sequence[Stored]) -> bool:
    """Whether somebody keeps the run still, and it waits for a machine."""
    keeper = standing.keeper_of(run.store.cloud, run) if run.key("keeper.json") in {it.key for it in objects} else None
    return keeper is not None and keeper.works


def delete(run: AnyRun, objects: Sequence[Stored]) -> None:
    """Delete all of a run, its manifest last, so that what is broken off can be done again; and this laptop's note."""
    last = run.key("manifest.json")
    run.store.delete([stored.key for stored in objects if stored.key != last])
    run.store.delete([last])
    notes.forget(run.store, run.id)
