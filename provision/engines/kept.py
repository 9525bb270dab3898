"""How a run stands that AWS keeps, in words and in dollars; and which runs are kept on the machines of a name."""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial

from infra.aws import prices
from infra.aws.resources import Holdings
from infra.aws.session import Cloud
from infra.aws.tags import RUN
from infra.concurrency import together
from infra.errors import ProvisionError
from provision.machines import cost, deadline, whose
from provision.machines.cost import Bill
from provision.runs import standing, store
from provision.runs.manifest import Attempt, End
from provision.runs.standing import Keeper, Standing
from provision.runs.store import AnyRun, Run

_LIST = re.compile(r"""\[(?:"(?:[^"\\]|\\.)*"(?:, ?)?)*\]""")  # of texts, in JSON
_LISTS = re.compile(rf"{_LIST.pattern}(?: {_LIST.pattern})*")
_LONGEST = 120  # letters of a cause in a table; AWS tells each place


def words(now: Standing, spent: float | None, number: int, free: float = 0.0) -> str:
    """How a kept run stands: `waiting for capacity since …`, or `training on NAME, attempt 3, $4.10 so far, ends by …`.

    `number` of the attempt that is told; `spent` in US dollars, None where that is not known; `free`: what AWS does not
    bill of the machines that it took in their first hour, and what was shown as spent before.
    """
    if now.keeper is None:
        return ""
    keeping = now.keeper.keeping
    if not now.keeper.works:
        cause = why(now.keeper)
        return cause if len(cause) <= _LONGEST else f"{cause[:_LONGEST]}… (all of it: events)"
    ends = f"ends by {_clock(keeping.ends)}"
    unbilled = f" ({cost.dollars(free)} that AWS does not bill are not in it)" if free else ""
    money = [] if spent is None else [f"{cost.dollars(spent)} so far{unbilled}"]
    if now.waits or now.attempt is None:
        return ", ".join([_waiting(now, keeping.number, number), *money, ends])
    doing = "interrupted on" if now.ends else "training on" if now.word == "running" else "starting on"
    if now.word not in ("running", "starting"):
        return ", ".join([f"{now.word}; its machine is being ended", *money])
    return ", ".join([f"{doing} {now.attempt.name} ({now.attempt.instance})", f"attempt {number}", *money, ends])


def _waiting(now: Standing, first: int, number: int) -> str:
    """What a run waits for whose keeper has no machine for it; `first` is the number of the keeper's first attempt."""
    if now.attempt is None or now.attempt.number < first:
        return f"waiting for its machine, attempt {first}"
    if now.attempt.instance:
        return f"waiting for its next machine after attempt {number}"
    return f"waiting for capacity since {_clock(now.attempt.started)}, attempt {number}"


def why(keeper: Keeper | None) -> str:
    """Why the keeper gave up; "" where it did not, or there was none."""
    if keeper is None or keeper.status in ("", "RUNNING", "SUCCEEDED", "ABORTED"):
        return ""
    return plain(keeper.cause) or keeper.error


def plain(cause: str) -> str:
    """The cause of a keeper's end for people: of what AWS said of each place, as JSON, the first, and how many more."""
    return _LISTS.sub(lambda match: ": ".join(_first(part[0]) for part in _LIST.finditer(match[0])), cause)


def _first(text: str) -> str:
    try:
        said = list(dict.fromkeys(json.loads(text)))
    except ValueError:  # it was cut off, or is no list
        return text
    more = f" (and {len(said) - 1} more)" if len(said) > 1 else ""
    return f"{said[0]}{more}" if said else "nothing"


def about(run: AnyRun, now: Standing, bills: Mapping[str, Bill]) -> str:
    """The same of a run in the table, whose attempts are read for it. A run that nobody keeps has no more words, nor
    has one with which a laptop has gone on."""
    if now.keeper is None or (now.went_on and not now.kept):
        return ""
    if not now.kept:
        return words(now, None, 0)
    attempts = run.attempts()
    number = max((attempt.number for attempt in attempts), default=now.keeper.keeping.number)
    free = sum(bills[one.instance].free for one in attempts if one.instance in bills)
    return words(now, spent(attempts, run.ends(), bills), max(number, 1), free)


def bills_by_id(cloud: Cloud) -> dict[str, Bill]:
    """What each machine that AWS still knows has cost; nothing where AWS does not tell."""
    try:
        return {bill.id: bill for bill in cost.bills(cloud)}
    except ProvisionError:
        return {}


def spent(attempts: Sequence[Attempt], ends: Iterable[End], bills: Mapping[str, Bill]) -> float | None:
    """What those attempts have cost at most, in US dollars; None where that is not known.

    A machine that AWS has forgotten counts as the most that it may have cost.
    """
    over = {end.number: end for end in ends}
    amounts = [amount_of(attempt, over.get(attempt.number), bills) for attempt in attempts if attempt.instance]
    return None if any(amount is None for amount in amounts) else sum(filter(None, amounts))


def amount_of(attempt: Attempt, end: End | None, bills: Mapping[str, Bill]) -> float | None:
    """What one attempt's machine has cost, in US dollars."""
    bill = bills.get(attempt.instance)
    if bill is not None and bill.total is not None:
        return bill.total
    hourly = attempt.terms.hourly if attempt.terms else None
    if hourly is None or attempt.terms is None:
        return None
    until = moment(end.time) if end and end.time else datetime.now(timezone.utc)
    launched = moment(attempt.terms.launched)
    return hourly * ((prices.billed(launched, until) - launched) / timedelta(hours=1))


def moment(text: str) -> datetime:
    """A time in ISO 8601; in UTC where it does not say. ValueError."""
    at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return at if at.tzinfo else at.replace(tzinfo=timezone.utc)


def _clock(text: str) -> str:
    try:
        return deadline.clock(moment(text))
    except ValueError:
        return text


@dataclass(frozen=True)
class Waiting:
    """A run of somebody else's that AWS keeps, for which there is no machine now: only its launch shows it."""

    run: str
    launch: str
    owner: str

    @property
    def words(self) -> str:
        """`the run digits-1, which AWS keeps and which waits for a machine, of alice@thinkpad`."""
        return f"the run {self.run}, which AWS keeps and which waits for a machine, of {whose.person(self.owner)}"


def others_waiting(cloud: Cloud, name: str | None) -> list[Waiting]:
    """The kept runs of others that have something of that name (None: any) in this region, and no machine.

    AuthError or CloudError where AWS does not tell how a keeper stands.
    """
    things, _ = Holdings(cloud).look(name)
    have = {thing.launch for thing in things if thing.kind == "instances"}
    theirs = {
        run: Waiting(run, thing.launch, thing.owner)
        for thing in things
        if (run := thing.tags.get(RUN, "")) and whose.others(thing.owner) and thing.launch not in have
    }
    kept = _working(cloud, {run: one.launch for run, one in theirs.items()})
    return [theirs[run] for run in kept]


def on_machines(cloud: Cloud, name: str | None, theirs: Collection[str] | None = None) -> dict[str, Keeper]:
    """The runs whose keepers work with what has that name (None: any) in this region → each one's keeper.

    They are told by the tags of what their launches made. `theirs`: the launches of others that count (None: all). What
    cannot be listed is left out. AuthError or CloudError where AWS does not tell how a keeper stands.
    """
    things, _ = Holdings(cloud).look(name)
    runs = {
        run: thing.launch
        for thing in things
        if (run := thing.tags.get(RUN, ""))
        and (theirs is None or thing.launch in theirs or not whose.others(thing.owner))
    }
    return _working(cloud, runs)


def _working(cloud: Cloud, runs: Mapping[str, str]) -> dict[str, Keeper]:
    """Of these runs, with the launch that each is said to be of, those that are kept with it → their keepers."""
    place = store.store(cloud)
    keepers, errors = together([partial(standing.keeper_of, cloud, Run(place, run)) for run in runs])
    if errors:
        raise errors[0]
    found = zip(runs.items(), keepers, strict=True)
    return {
        run: keeper
        for (run, launch), keeper in found
        if keeper is not None and keeper.works and keeper.keeping.launch == launch
    }
