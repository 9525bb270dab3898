"""What a promise is, what is tried it with, and what came of it: values, and the trial, which knows what has begun.

A promise is a plain function of the trial, in a table (`table`). It gives words for what it saw, or raises
`BrokenError` where the promise does not hold. Any other error of ours leaves it unproven.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec

from infra.aws.session import Cloud
from infra.aws.types import Instance, SpotRequest
from provision.clouds import Session
from provision.machines import cost
from provision.offers import budget, plan
from provision.offers.requirements import Requirements
from provision.runs.manifest import Keeping
from provision.runs.store import Run

Word = Literal["holds", "DOES NOT HOLD", "not proven", "left out"]
HOURS = 6.0  # the longest life of a machine, which its budget has to shorten
ASKED_H = 1.5  # what its budget pays for, less what its end may take
HOLDS: Word = "holds"
BROKEN: Word = "DOES NOT HOLD"
UNPROVEN: Word = "not proven"  # it was tried, and something else went wrong
LEFT_OUT: Word = "left out"


class _SaidError(Exception):
    """Why a promise does not hold, in words; it ends the promise's trial and nothing else."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class BrokenError(_SaidError):
    """A promise does not hold: what was seen in its place."""


class LeftOutError(_SaidError):
    """A promise cannot be tried here: why not."""


@dataclass
class Trial:
    """What the promises are tried with, and what has begun and must be ended. The only changing thing here.

    `names` of the machines that were asked for, `dollars` the most that all of it may cost, `other` what was spent
    beside machines (US dollars). `look`: the runs stay in S3 for a look, as something did not hold. `patience`
    multiplies all waits.
    """

    session: Session
    kind: str
    dollars: float
    request: SpotRequest
    machine: Instance | None = None
    kept: Run | None = None
    keeping: Keeping | None = None
    runs: list[Run] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    other: float = 0.0
    look: bool = False
    patience: float = 1.0
    sleep: Callable[[float], None] = time.sleep

    @property
    def cloud(self) -> Cloud:
        return self.session.cloud

    @property
    def hourly(self) -> float:
        """The most that an hour of a machine may cost, with its disk and address (US dollars)."""
        return budget.cost_per_hour(self.request)

    def spent(self) -> float:
        """What all of it has cost so far at most (US dollars)."""
        bills = [bill for name in self.names for bill in cost.bills(self.cloud, name)]
        return self.other + sum(bill.most or bill.total or 0.0 for bill in bills)

    def there(self) -> Instance:
        """The machine that was rented for the promises. LeftOutError where there is none."""
        if self.machine is None:
            raise LeftOutError("there is no machine to try it on")
        return self.machine

    def run(self) -> Run:
        """The run that AWS keeps. LeftOutError where there is none."""
        if self.kept is None:
            raise LeftOutError("there is no run that AWS keeps")
        return self.kept

    def until(self, true: Callable[[], Any], seconds: float, what: str, pause: float = 2.0) -> Any:
        """What `true` gives as soon as that is something; BrokenError, `what`, where it is nothing for so long."""
        end = time.monotonic() + seconds * self.patience
        while not (found := true()):
            if time.monotonic() > end:
                raise BrokenError(f"{what} within {seconds * self.patience / 60:.0f} min")
            self.sleep(pause)
        return found


def wish(name: str, kind: str, own_run: bool = False) -> Requirements:
    """What is asked for: one small machine on spot."""
    return Requirements(name, kind, own_run=own_run)


def trial_of(session: Session, kind: str, dollars: float) -> Trial:
    """The trial of a type of machine, with the settings of its machines: on spot alone, over SSH, in one region, with a
    budget that ends each of them long before its hours. The errors of `plan.plan`; nothing is rented."""
    short = {"max_hours": HOURS, "fallback": "none", "via": "ssh", "more_regions": (), "keep_on_error_minutes": None}
    free = _with(session, budget=None, **short)
    request = plan.plan(free, wish(f"prove-{secrets.token_hex(3)}", kind))[0]
    share = round(min(dollars, budget.cost_per_hour(request) * ASKED_H), 4)
    return Trial(_with(free, budget=share), kind, dollars, request)


def _with(session: Session, **changed: Any) -> Session:
    return replace(session, settings=msgspec.structs.replace(session.settings, **changed))


Try = Callable[[Trial], str]


@dataclass(frozen=True)
class Promise:
    """One promise: its name, what is proven, and how; the function that tries it.

    `minutes` of a machine that it may take, and `more` US dollars besides. `only`: what of it nothing but AWS can show.
    `slow`: left out where time is short.
    """

    name: str
    proves: str
    how: str
    attempt: Try
    minutes: float = 0.0
    more: float = 0.0
    only: str = ""
    slow: bool = False

    def costs(self, hourly: float) -> float:
        """What trying it may cost at most (US dollars)."""
        return self.minutes / 60 * hourly + self.more


@dataclass(frozen=True)
class Verdict:
    """What came of one promise; `seconds` it took."""

    promise: Promise
    word: Word
    found: str
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return {
            "promise": self.promise.name, "proves": self.promise.proves, "how": self.promise.how, "word": self.word,
            "found": self.found, "seconds": round(self.seconds, 1), "only_here": self.promise.only,
        }  # fmt: skip


@dataclass(frozen=True)
class Report:
    """What held and what did not; what it cost at most (US dollars); what could not be ended, with the commands."""

    verdicts: Sequence[Verdict]
    cost: float
    left: Sequence[str] = ()

    @property
    def broken(self) -> list[Verdict]:
        """The promises that do not hold, or could not be proven though they were tried."""
        return [one for one in self.verdicts if one.word in (BROKEN, UNPROVEN)]

    @property
    def shown(self) -> list[Verdict]:
        """The promises whose trial showed what nothing but AWS can show."""
        return [one for one in self.verdicts if one.word in (HOLDS, BROKEN) and one.promise.only]
