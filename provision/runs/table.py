"""The table of all runs. A run costs one listing of its folder and one or two small objects, several runs at a time;
one that has gone on, and has no newer snapshot yet, also costs its attempts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cache

import msgspec

from infra.aws import prices
from infra.aws.session import Cloud
from infra.concurrency import together
from infra.errors import ProvisionError
from infra.store import Stored
from provision import console
from provision.runs import heartbeat, snapshots, standing, store
from provision.runs.manifest import Attempt, RunState, Snapshot
from provision.runs.snapshots import MARK
from provision.runs.standing import Keeper, Standing
from provision.runs.store import ATTEMPT, AnyRun, Run

_AT_ONCE = 32  # as many as the client keeps connections


class Row(msgspec.Struct, frozen=True):
    """One run in the table. `about` says in words how one stands that goes on without a laptop. `snapshot` is the
    iteration of the newest complete one that it would go on from; `bytes` all that lies in its folder,
    `usd_month` what AWS asks for that, in US dollars a month; `heard` says for how long nobody has answered for it,
    where that is long.

    The state of a run whose folder cannot be read is "unreadable".
    """

    run: str
    state: str
    about: str = ""
    heard: str = ""
    attempts: int = 0
    snapshot: int | None = None
    machine: str = ""
    created: str = ""
    bytes: str = ""
    usd_month: str = ""


@dataclass(frozen=True)
class Seen:
    """What a run's folder tells: `now` has the newest attempt alone, and no snapshots. `newest` is the iteration of the
    newest complete snapshot that counts, None for none. `wrong` says why it cannot be read."""

    run: AnyRun
    objects: Sequence[Stored]
    now: Standing
    wrong: str = ""
    newest: int | None = None

    @property
    def size(self) -> int:
        """Bytes of all its objects."""
        return sum(stored.size for stored in self.objects)

    @property
    def trains(self) -> bool:
        """Whether a machine works on it. A run without an attempt has none yet, or its client was killed before."""
        return not self.wrong and (self.now.attempt is not None or self.now.kept) and self.now.goes_on


def every(cloud: Cloud) -> list[Seen]:
    """All runs, oldest first within a recipe. What cannot be read is said."""
    found = look(cloud, store.all_runs(cloud))
    for seen in found:
        if seen.wrong:
            console.line(seen.wrong)
    return found


def look(cloud: Cloud, runs: Sequence[Run]) -> list[Seen]:
    """What the folders of those runs tell; the machines of all that have not ended are asked of EC2 together."""
    found, errors = together([lambda run=run: _see(run) for run in runs], _AT_ONCE)  # type: ignore[misc]
    if errors:
        raise errors[0]
    kept = standing.with_keepers(cloud, [seen.now for seen in found])
    standings = standing.of_runs(cloud, kept)
    return [replace(seen, now=now) for seen, now in zip(found, standings, strict=True)]


def elsewhere(run: AnyRun, now: Standing) -> Seen:
    """What the folder of a run tells that lies in no bucket, with how its engine says that it stands."""
    objects = run.store.objects(run.prefix)
    names = [stored.key.removeprefix(run.prefix) for stored in objects]
    attempts = sorted((name for name in names if ATTEMPT.fullmatch(name)), key=store.number_of)
    return Seen(run, objects, now, newest=_snapshot(lambda name: run.attempt(run.key(name)), names, attempts))


def _see(run: Run) -> Seen:
    objects = run.store.objects(run.prefix)
    names = [stored.key.removeprefix(run.prefix) for stored in objects]
    attempts = sorted((name for name in names if ATTEMPT.fullmatch(name)), key=store.number_of)
    read = cache(lambda name: run.attempt(run.key(name)))
    try:
        state = run.state() if "state.json" in names else RunState()
        keeping = run.keeping() if "keeper.json" in names else None
        newest = [_newest(read, attempts[-1], RunState() if keeping else state)] if attempts else []
        snapshot = _snapshot(read, names, attempts)
    except ProvisionError as error:
        return Seen(run, objects, Standing(), str(error))
    now = Standing(state, newest, keeper=Keeper(keeping) if keeping else None)
    return Seen(run, objects, now, newest=snapshot)


def _snapshot(read: Callable[[str], Attempt], names: Sequence[str], attempts: Sequence[str]) -> int | None:
    """The iteration of the newest complete snapshot that counts. The attempts are read where the newest by its number
    is of an earlier one than the last: that may have gone on from before it, by choice (`--from`)."""
    marks = [match for name in names if (match := MARK.fullmatch(name.removeprefix("snapshots/")))]
    found = sorted((int(mark["iteration"]), int(mark["attempt"] or 0)) for mark in marks)
    if not found or not attempts or found[-1][1] >= store.number_of(attempts[-1]):
        return found[-1][0] if found else None
    made = [Snapshot(iteration, "", "", (), attempt) for iteration, attempt in found]
    left = snapshots.counting(made, map(read, attempts))
    return left[-1].iteration if left else None


def _newest(read: Callable[[str], Attempt], name: str, state: RunState) -> Attempt:
    """The newest attempt, as far as a table shows it: by the guard's word, which was read already, else as it is
    written down. (Of a run that has, or had, a keeper only that tells whose attempt it is.)"""
    number = name.rpartition("/")[2].removesuffix(".json")
    if state.machine and number.isdecimal() and state.attempt == int(number):
        return Attempt(state.attempt, state.instance, state.machine, "", "")
    return read(name)


def row(seen: Seen, about: str = "") -> Row:
    """The run in the table; `about`: how it stands in more words."""
    names = [stored.key.removeprefix(seen.run.prefix) for stored in seen.objects]
    now, run = seen.now, seen.run
    return Row(
        run=seen.run.id,
        state="unreadable" if seen.wrong else now.word,
        about=about,
        heard="" if seen.wrong else heartbeat.words(now.silence(datetime.now(timezone.utc))),
        attempts=sum(ATTEMPT.fullmatch(name) is not None for name in names),
        snapshot=seen.newest,
        machine=now.attempt.name if now.attempt else "",
        created=created(seen).isoformat(timespec="seconds"),
        bytes=console.size(seen.size),
        usd_month=f"${prices.s3_monthly(seen.size, run.store.cloud.region):.2f}" if isinstance(run, Run) else "",
    )


def created(seen: Seen) -> datetime:
    """When the run was made: its id tells; of an id that somebody else made, its oldest object's time."""
    oldest = min((stored.modified for stored in seen.objects), default=0.0)
    return store.made_at(seen.run.id) or datetime.fromtimestamp(oldest, timezone.utc)
