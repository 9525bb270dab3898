"""The time line of a run: asked, got, notice, saved, resumed, ended, with dollars.

It is put together of what is kept anyway: the attempts and their ends, the snapshots' times in S3, and the history of
the run's newest keeper, which AWS keeps for 90 days. What a machine wrote is shown, and decides nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from infra.aws.session import Cloud
from infra.aws.step_functions import Execution, Keeper, Step
from provision.engines import kept
from provision.engines.kept import moment
from provision.machines.cost import Bill
from provision.runs.manifest import Attempt, End, Keeping
from provision.runs.snapshots import MARK
from provision.runs.store import Run

_ASKS = {"Ask spot": "spot", "Ask on demand": "on demand"}
_WORK = "Work"  # the state in which a machine works; it is left with the machine's word
_SPOT = "spot interruption"
_ORDER = ("begun", "claimed", "asked", "got", "resumed", "saved", "notice", "ended")  # within one second


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
class Seen:
    """All that the time line is made of."""

    attempts: Sequence[Attempt]
    ends: Mapping[int, End]
    saved: Sequence[tuple[datetime, int, int]]  # when, iteration, attempt
    bills: Mapping[str, Bill]
    keeping: Keeping | None = None
    execution: Execution | None = None
    steps: Sequence[Step] = ()


def of(cloud: Cloud, run: Run) -> list[Event]:
    """The run's events, oldest first. AuthError or CloudError where AWS does not tell."""
    keeping = run.keeping()
    executions = Keeper(cloud)
    seen = Seen(
        attempts=run.attempts(),
        ends={end.number: end for end in run.ends()},
        saved=_saved(run),
        bills=kept.bills_by_id(cloud),
        keeping=keeping,
        execution=executions.describe(keeping.execution) if keeping else None,
        steps=executions.history(keeping.execution) if keeping else (),
    )
    return line(seen)


def line(seen: Seen) -> list[Event]:
    """The time line of what was seen, oldest first."""
    found = [*_handed(seen), *_asked(seen), *_attempts(seen), *_snapshots(seen), *_told(seen), *_over(seen)]
    order = {what: place for place, what in enumerate(_ORDER)}
    return sorted(found, key=lambda event: (event.time.replace(microsecond=0), order.get(event.what, 0)))


def _saved(run: Run) -> list[tuple[datetime, int, int]]:
    """When each complete snapshot came to S3, by S3's own time."""
    below = run.key("snapshots/")
    marks = [(stored, MARK.fullmatch(stored.key.removeprefix(below))) for stored in run.store.objects(below)]
    return [
        (datetime.fromtimestamp(stored.modified, timezone.utc), int(mark["iteration"]), int(mark["attempt"] or 0))
        for stored, mark in marks
        if mark
    ]


def _handed(seen: Seen) -> Iterator[Event]:
    if seen.keeping:
        yield Event(moment(seen.keeping.started), "begun", about=f"kept by AWS as {seen.keeping.name}")


def _asked(seen: Seen) -> Iterator[Event]:
    """Askings that follow each other are one line, with how many they were."""
    since: datetime | None = None
    count, market = 0, ""
    for step in [*seen.steps, Step(datetime.max.replace(tzinfo=timezone.utc), "", "entered")]:
        asks = step.kind == "entered" and step.state in _ASKS
        over = step.kind == "entered" and step.state in ("Know", "Claim", "Left", "")
        if since is not None and (over or (asks and _ASKS[step.state] != market)):
            number = _number(seen, since)
            yield Event(since, "asked", number, about=f"{market}" + (f", {count} times" if count > 1 else ""))
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
            about = f"{attempt.instance} in {attempt.zone}{from_where}"
            yield Event(moment(launched), what, attempt.number, attempt.name, about)
        else:
            yield Event(moment(attempt.started), "claimed", attempt.number, attempt.name, f"no machine{from_where}")
        end = seen.ends.get(attempt.number)
        if end is not None and end.time:
            about = end.word + (f": {end.reason}" if end.reason else "")
            cost = kept.amount_of(attempt, end, seen.bills) if attempt.instance else None
            yield Event(moment(end.time), "ended", attempt.number, attempt.name, about, cost)


def _snapshots(seen: Seen) -> Iterator[Event]:
    names = {attempt.number: attempt.name for attempt in seen.attempts}
    for at, iteration, number in seen.saved:
        yield Event(at, "saved", number, names.get(number, ""), f"iteration {iteration}")


def _told(seen: Seen) -> Iterator[Event]:
    """A machine that AWS takes tells its keeper as soon as its work is saved."""
    for step in seen.steps:
        if (step.state, step.kind) == (_WORK, "exited"):
            end = seen.ends.get(_number(seen, step.time))
            if end is not None and end.reason == _SPOT:
                yield Event(step.time, "notice", end.number, about="AWS takes the machine; its work is saved")


def _over(seen: Seen) -> Iterator[Event]:
    found = seen.execution
    if found is not None and found.stopped is not None:
        words = {"SUCCEEDED": "done", "ABORTED": "stopped", "FAILED": "gave up", "TIMED_OUT": "gave up"}
        about = ": ".join(part for part in (found.error, found.cause) if part)
        yield Event(found.stopped, words.get(found.status, found.status), about=about)


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
