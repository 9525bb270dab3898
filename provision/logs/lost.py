"""Whether a training that runs is lost for good, so that it may be ended while it is paid for.

`provision.logs.divergence` names the first number that is wrong; many a training outlives that (`recovery`). Here
nothing counts that a later display may take back. A display's losses are those of the net's own outputs, for the
displayed average (average_loss) stays nan for ever after one nan; a test's, and outputs that are no loss, end nothing.
A net is lost where no loss is a number in a row of displays; where all stand at the floor of their logarithm for
longer; where a loss was no number, and long after it none is better than at the start, although it had been; and where
the sum stays far above its start and does not fall.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

from provision.logs.divergence import FAR, FLOORS, TIMES
from provision.logs.events import Event, Metric
from provision.logs.meaning import named_loss

NO_NUMBER, AT_FLOOR, LONG = 5, 20, 50  # displays in a row
_EXACT = 0.4  # of the displays at a floor so many are there to the last digit
_LEARNT, _AT_START, _FEW = 0.8, 0.95, 10
_Key = tuple[int, str]  # an output's index and name


@dataclass(frozen=True)
class _Display:
    """A display that is over: the sum, and each loss of the net; where it tells none, the sum stands for them."""

    at: int
    total: float
    heads: dict[_Key, float]

    @property
    def wrong(self) -> bool:
        return any(not math.isfinite(value) for value in self.heads.values())


@dataclass
class Lost:
    """Feed it all events of a run in order, attempt by attempt. `what` says why the training is lost, "" where it is
    not: of a display that is the last so far, nothing is said until the next one begins."""

    what: str = ""
    _under_way: _Display | None = None
    _attempt: int = 0
    _weights_told: bool = False
    _last: deque[_Display] = field(default_factory=lambda: deque(maxlen=LONG))
    _start: dict[_Key, float] = field(default_factory=dict)
    _start_total: float | None = None
    _wrong_at: int | None = None  # iteration of a loss that was no number, since the net was last known to live
    _since: int = 0  # displays since then
    _had_learnt: bool = False  # before it

    def feed(self, event: Event) -> None:
        """Take one event in."""
        if self.what or not isinstance(event, Metric):
            return
        if event.attempt != self._attempt:
            self._attempt, self._under_way, self._wrong_at = event.attempt, None, None
            self._last.clear()
        if (event.phase, event.name) == ("solver", "loss"):
            self._over()
            self._under_way = _Display(event.iteration, event.value, {})
        elif event.phase == "train" and self._under_way is not None:
            self._weights_told |= event.weight is not None
            if event.weight is not None or (not self._weights_told and named_loss(event.name)):
                self._under_way.heads[event.output, event.name] = event.value

    def _over(self) -> None:
        """The display under way is over."""
        shown = self._under_way
        if shown is None:
            return
        if not shown.heads:
            shown.heads[0, "loss"] = shown.total
        if self._start_total is None and math.isfinite(shown.total):
            self._start_total = shown.total
        if shown.wrong and self._wrong_at is None:
            self._wrong_at, self._since, self._had_learnt = shown.at, 0, self._learnt()
        self._last.append(shown)
        self._since += 1
        for key, value in shown.heads.items():
            if math.isfinite(value) and not _floor(value):
                self._start.setdefault(key, value)
        recent = list(self._last)[-_FEW:]
        if self._since >= _FEW and not any(one.wrong for one in recent) and self._learnt():
            self._wrong_at = None  # it lives
        self.what = self._said()

    def _learnt(self) -> bool:
        """Whether a loss of the last displays is well below its start."""
        if len(self._last) < _FEW:
            return False
        return any(
            values and start > 0 and median(values) <= _LEARNT * start
            for key, start in self._start.items()
            if (values := _finite(list(self._last)[-_FEW:], key))
        )

    def _said(self) -> str:
        shown, end = list(self._last), "the training has diverged"
        to = f"up to iteration {shown[-1].at:,}"
        if len(shown) >= NO_NUMBER and all(map(_no_number, shown[-NO_NUMBER:])):
            return f"the loss has been no number for {NO_NUMBER} displays, {to}: {end}"
        if len(shown) >= AT_FLOOR and _at_floor(shown[-AT_FLOOR:]):
            value = max(shown[-1].heads.values())
            return f"the loss has stood at {value:g} for {AT_FLOOR} displays, {to}: {end}"
        if len(shown) == LONG and self._wrong_at is not None and self._since >= LONG and self._unlearnt(shown):
            return f"a loss was no number at iteration {self._wrong_at:,}, and none is better than at the start: {end}"
        if len(shown) == LONG and self._far_above(shown):
            return f"the loss has been above {TIMES:g} times its start for {LONG} displays, {to}: {end}"
        return ""

    def _unlearnt(self, shown: Sequence[_Display]) -> bool:
        """Whether each loss is as bad as at the start, or no number; and one is no number all the while, or they had
        been better."""
        keys = shown[-1].heads
        dead = [key for key in keys if not _finite(shown, key)]
        stand = [
            key not in dead and key in self._start and median(_finite(shown, key)) >= _AT_START * self._start[key] > 0
            for key in keys
        ]
        return len(dead) + sum(stand) == len(keys) and (bool(dead) or self._had_learnt)

    def _far_above(self, shown: Sequence[_Display]) -> bool:
        if self._start_total is None:
            return False
        totals = [one.total for one in shown]
        high = all(total > TIMES * max(abs(self._start_total), 1.0) for total in totals)
        return high and median(totals[-_FEW:]) >= median(totals[:_FEW])


def _no_number(shown: _Display) -> bool:
    return not any(map(math.isfinite, shown.heads.values()))


def _at_floor(displays: Iterable[_Display]) -> bool:
    """Whether in all displays no loss is off its floor, and in many each is there to the last digit."""
    floors = [[_floor(value) for value in shown.heads.values()] for shown in displays]
    return all(map(all, floors)) and sum(min(of) == 2 for of in floors) >= _EXACT * len(floors)


def _floor(value: float) -> int:
    """2 where a number is the floor of a loss, or none at all; 1 where it is near: of a batch some were right."""
    if not math.isfinite(value) or any(abs(value - floor) < 0.001 for floor in FLOORS):
        return 2
    return int(any((1 - FAR) * floor < value < floor for floor in FLOORS))


def _finite(displays: Iterable[_Display], key: _Key) -> list[float]:
    return [value for shown in displays if math.isfinite(value := shown.heads.get(key, math.nan))]
