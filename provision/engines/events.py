"""The time line of a run: asked, got, notice, saved, resumed, ended, with dollars.

It is put together of what is kept anyway: the attempts and their ends, the snapshots' times in S3, and the history of
the run's keepers, which AWS keeps for 90 days. What a machine wrote is shown, and decides nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from infra.aws.session import Cloud
from infra.aws.step_functions import Execution, Keeper, Step
from provision.engines import baking, kept
from provision.engines.kept import moment
from provision.machines.cost import Bill
from provision.runs import report
from provision.runs.manifest import Attempt, End, Keeping, RunState
from provision.runs.snapshots import MARK
from provision.runs.store import AnyRun, Run

_ASKS = {"Ask spot": "spot", "Ask on demand": "on demand"}
# what is told of a machine image (`baking`): the word, and what about it
_IMAGES = {
    baking.MAKING: ("baking", "the machine becomes a machine image, so that later ones have nothing to install"),
    baking.MADE: ("baked", "the machine image is there; `ami ls` lists it"),
    baking.UNMADE: (
        "not baked",
        "AWS made no machine image of it, or another run did; what there was of it is deleted",
    ),
}
_WORK = "Work"  # the state in which a machine works; it is left with the machine's word
_SPOT = "spot interruption"
_ORDER = (
    "claimed",
    "asked",
    "got",
    "resumed",
    "saved",
    "notice",
    "baking",
    "baked",
    "not baked",
    "ended",
)  # of one attempt within one second
_BEGUN = "begun"
_OVER = {"SUCCEEDED": "done", "ABORTED": "stopped", "FAILED": "gave up", "TIMED_OUT": "gave up"}
_MOST_KEEPERS = 20  # of one run, whose steps are read: the newest


@dataclass(frozen=True)
class Event:
    """One line: when, what (one word), of which attempt (0: of none), on which machine, more words, and US dollars that
    the attempt has cost at most."""

    time: datetime
    what: str
    attempt: int = 0
    machine: str = ""
    about: str = ""
    dollars: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The event for programs; the time in ISO 8601."""
        dollars = None if self.dollars is None else round(self.dollars, 4)
        return {**vars(self), "time": self.time.isoformat(timespec="seconds"), "dollars": dollars}


@dataclass(frozen=True)
class Kept:
    """One keeper of the run: its name, when it was asked for, how it stands, and its steps."""

    name: str
    began: datetime
    execution: Execution
    steps: Sequence[Step] = ()


@dataclass(frozen=True)
class Seen:
    """All that the time line is made of; `state` is the machine's last word, the keepers are oldest first; `reason`:
    why the training failed, as far as its log tells."""

    attempts: Sequence[Attempt]
    ends: Mapping[int, End]
    saved: Sequence[tuple[datetime, int, int]]  # when, iteration, attempt
    bills: Mapping[str, Bill]
    keepers: Sequence[Kept] = ()
    state: RunState = field(default_factory=RunState)
    reason: str = ""

    def name(self, number: int) -> str:
        """The name of that attempt's machine; "" where it is not known."""
        return next((one.name for one in self.attempts if one.number == number), "")


def of(cloud: Cloud, run: Run) -> list[Event]:
    """The run's events, oldest first. AuthError or CloudError where AWS does not tell."""
    keeping = run.keeping()
    keepers = _keepers(cloud, keeping) if keeping else ()  # first: of what they tell the attempts are then written
    seen = Seen(
        attempts=run.attempts(),
        ends={end.number: end for end in run.ends()},
        saved=_saved(run),
        bills=kept.bills_by_id(cloud),
        keepers=keepers,
        state=run.state(),
        reason=report.reason(run),
    )
    return line(seen)


def by_folder(run: AnyRun) -> list[Event]:
    """The events of a run that has no machine of EC2's, oldest first."""
    return line(Seen(run.attempts(), {}, _saved(run), {}, state=run.state()))


def line(seen: Seen) -> list[Event]:
    """The time line of what was seen, oldest first."""
    parts = (_handed, _asked, _attempts, _snapshots, _told, _baked, _over)
    found = sorted((event for part in parts for event in part(seen)), key=_place)
    newest = max((one.number for one in seen.attempts), default=0)
    if seen.reason and seen.state.attempt == newest and found and found[-1].what in ("ended", *_OVER.values()):
        found[-1] = replace(found[-1], about=f"{found[-1].about}: {seen.reason}")
    return found


def _place(event: Event) -> tuple[datetime, int, int, int]:
    """Where it stands in the line. Times have whole seconds in part: within one, an attempt ends before the next is
    asked for, and a keeper begins before all and ends after all."""
    edge = -1 if event.what == _BEGUN else 1 if event.what in _OVER.values() else 0
    order = _ORDER.index(event.what) if event.what in _ORDER else 0
    return event.time.replace(microsecond=0), edge, event.attempt, order


def _keepers(cloud: Cloud, keeping: Keeping) -> list[Kept]:
    """The run's keepers, oldest first: the newest, and those before it that AWS still knows by the same definition."""
    executions = Keeper(cloud)
    stem, _, count = keeping.execution.rpartition("-")
    last = int(count) if count.isdecimal() else 1
    before = [executions.describe(f"{stem}-{number}") for number in range(max(1, last - _MOST_KEEPERS + 1), last)]
    begun = [(one, one.started) for one in before if one.started is not None]
    newest = (executions.describe(keeping.execution), moment(keeping.started))
    return [
        Kept(one.arn.rpartition(":")[2], began, one, executions.history(one.arn)) for one, began in (*begun, newest)
    ]


def _saved(run: AnyRun) -> list[tuple[datetime, int, int]]:
    """When each complete snapshot came to S3, by S3's own time."""
    below = run.key("snapshots/")
    marks = [(stored, MARK.fullmatch(stored.key.removeprefix(below))) for stored in run.store.objects(below)]
    return [
        (datetime.fromtimestamp(stored.modified, timezone.utc), int(mark["iteration"]), int(mark["attempt"] or 0))
        for stored, mark in marks
        if mark
    ]


def _handed(seen: Seen) -> Iterator[Event]:
    for keeper in seen.keepers:
        yield Event(keeper.began, _BEGUN, about=f"kept by AWS as {keeper.name}")


def _asked(seen: Seen) -> Iterator[Event]:
    for keeper in seen.keepers:
        yield from _askings(seen, keeper.steps)


def _askings(seen: Seen, steps: Sequence[Step]) -> Iterator[Event]:
    """Askings that follow each other are one line, with how many they were."""
    since: datetime | None = None
    count, market = 0, ""
    for step in [*steps, Step(datetime.max.replace(tzinfo=timezone.utc), "", "entered")]:
        asks = step.kind == "entered" and step.state in _ASKS
        over = step.kind == "entered" and step.state in ("Know", "Claim", "Left", "")
        if since is not None and (over or (asks and _ASKS[step.state] != market)):
            number = _number(seen, since)
            yield Event(
                since, "asked", number, seen.name(number), f"{market}" + (f", {count} times" if count > 1 else "")
            )
            since, count = None, 0
        if asks:
            since, count, market = since or step.time, count + 1, _ASKS[step.state]


def _number(seen: Seen, at: datetime) -> int:
    """The attempt that was the newest at that time; 0 where there was none."""
    return max((one.number for one in seen.attempts if moment(one.started) <= at), default=0)


def _attempts(seen: Seen) -> Iterator[Event]:
    for attempt in seen.attempts:
        from_where = f", from iteration {attempt.resumed_from}" if attempt.resumed_from else ""
        if attempt.instance:
            what = "resumed" if attempt.resumed_from else "got"
            launched = attempt.terms.launched if attempt.terms else attempt.started
            place = f"{attempt.instance} in {attempt.zone}" if attempt.zone else "on this laptop"
            about = f"{place}{from_where}"
            yield Event(moment(launched), what, attempt.number, attempt.name, about)
        else:
            yield Event(moment(attempt.started), "claimed", attempt.number, attempt.name, f"no machine{from_where}")
        end = seen.ends.get(attempt.number)
        if end is not None and end.time:
            cost = kept.amount_of(attempt, end, seen.bills) if attempt.instance else None
            yield Event(moment(end.time), "ended", attempt.number, attempt.name, _how(seen, attempt, end), cost)


def _how(seen: Seen, attempt: Attempt, end: End) -> str:
    """How an attempt ended, and why its machine is billed less than its time."""
    words = end.reason if end.reason.startswith(end.word) else end.word + (f": {end.reason}" if end.reason else "")
    bill = seen.bills.get(attempt.instance)
    return words + ("; AWS bills only its disk and its address" if bill and bill.free else "")


def _snapshots(seen: Seen) -> Iterator[Event]:
    for at, iteration, number in seen.saved:
        yield Event(at, "saved", number, seen.name(number), f"iteration {iteration}")


def _told(seen: Seen) -> Iterator[Event]:
    """A machine that AWS takes tells its keeper as soon as its work is saved. Its end is written down once it is gone:
    until then its own word says why."""
    for step in (step for keeper in seen.keepers for step in keeper.steps):
        if (step.state, step.kind) == (_WORK, "exited"):
            number = _number(seen, step.time)
            end = seen.ends.get(number)
            said = seen.state.reason if seen.state.attempt == number else ""
            if (end.reason if end else said) == _SPOT:
                yield Event(step.time, "notice", number, seen.name(number), "AWS takes the machine; its work is saved")


def _baked(seen: Seen) -> Iterator[Event]:
    for step in (step for keeper in seen.keepers for step in keeper.steps if step.kind == "entered"):
        if step.state in _IMAGES:
            number = _number(seen, step.time)
            what, about = _IMAGES[step.state]
            yield Event(step.time, what, number, seen.name(number), about)


def _over(seen: Seen) -> Iterator[Event]:
    for found in (keeper.execution for keeper in seen.keepers):
        if found.stopped is not None:
            about = ": ".join(part for part in (found.error, kept.plain(found.cause)) if part)
            yield Event(found.stopped, _OVER.get(found.status, found.status), about=about)


def short(events: Iterable[Event]) -> list[Event]:
    """For people: of snapshots of one attempt that follow each other the last alone, with how many there were."""
    found: list[Event] = []
    count = 0
    for event in events:
        same = bool(found) and event.what == found[-1].what == "saved" and event.attempt == found[-1].attempt
        count = count + 1 if same else 1
        if same:
            found.pop()
        more = f" ({count} snapshots)" if count > 1 else ""
        found.append(Event(event.time, event.what, event.attempt, event.machine, event.about + more, event.dollars))
    return found
