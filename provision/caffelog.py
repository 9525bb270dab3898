"""Caffe's training logs, read line by line into events. One parser for all dialects, in constant memory.

A line is glog's prefix (severity, date with or without the year, time, thread, file) and a message; the message's
first word decides in a table which small function reads it, so that lines of no interest cost next to nothing.
Iterations go back when a run is resumed from a snapshot: every event carries its attempt, and (attempt, iteration)
is the key. Numbers are C++'s: nan, -nan, inf and 1e-13 occur and are kept.
"""

import datetime
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Phase = Literal["solver", "train", "test"]


@dataclass(frozen=True)
class Event:
    """Something that a log tells. `attempt` counts starts of Caffe from 0; `seconds` since that start."""

    attempt: int
    seconds: float


@dataclass(frozen=True)
class Planned(Event):
    """The solver's settings were read: it will train until `max_iter`."""

    max_iter: int


@dataclass(frozen=True)
class Metric(Event):
    """A number. Phase `solver`: `loss` (smoothed over average_loss iterations) and `lr`; `train`, `test`: the net's
    outputs by name, `output` being the index (a vector has many of one name), `net` the test net's number."""

    iteration: int
    phase: Phase
    name: str
    value: float
    net: int = 0
    output: int = 0


@dataclass(frozen=True)
class Snapshot(Event):
    """A snapshot is being written; `path` is its solver state. That it is whole is for the files to tell."""

    iteration: int
    path: str


@dataclass(frozen=True)
class Resumed(Event):
    """The training goes on from a solver state; its iteration is that in the name, if there is one."""

    path: str
    iteration: int | None


@dataclass(frozen=True)
class Ended(Event):
    """The training ended by itself: at max_iter, or `early` because it was told to."""

    early: bool


@dataclass(frozen=True)
class Failed(Event):
    """A fatal line."""

    text: str


_PREFIX = re.compile(r"[IWEF](\d{4})?(\d\d)(\d\d) (\d\d):(\d\d):(\d\d(?:\.\d+)?) +\d+ [^\]]*\] ")
_PLANNED = re.compile(r"max_iter: (\d{1,15})\s*$")
_SOLVER = re.compile(r"Iteration (\d{1,15})(?: \([^)]*\))?, (loss|lr) = (\S+)")
_TESTING = re.compile(r"Iteration (\d{1,15}), Testing net \(#(\d{1,6})\)")
_OUTPUT = re.compile(r"(?:Train|Test) net output #(\d{1,15}): (\S+) = (\S+)")
_STATE = re.compile(r"Snapshotting solver state to .*?file (\S+_iter_(\d{1,15})\.solverstate\S*)")
_RESUME = re.compile(r"(?:Restoring previous solver status|Resuming) from (\S+)")


@dataclass
class _Start:
    """What is known since Caffe last started."""

    seen: bool = False  # any event
    begun: float | None = None  # seconds on the log's clock
    iteration: int = 0
    test: tuple[int, int] = (0, 0)  # iteration and number of the test net
    resumed: str = ""
    over: bool = False


class Parser:
    """Feed it lines in order, of several attempts one after the other if need be; it gives each line's event.

    `attempt` is the number of the first; a start of Caffe after anything else is the next one.
    """

    def __init__(self, attempt: int = 0) -> None:
        self._attempt = attempt
        self._now = _Start()

    def feed(self, line: str) -> Event | None:
        """The event of one whole line, if it has one."""
        event = self._read(line)
        if event is not None:
            self._now.seen = True
        return event

    def _read(self, line: str) -> Event | None:
        mark = line.find("] ")
        if mark < 0 or line[0] not in "IWEF":
            return self._planned(line) if line.startswith("max_iter: ") else None
        message = line[mark + 2 :].strip()
        reader = _FATAL if line[0] == "F" else _READERS.get(message.partition(" ")[0])
        if reader is None:
            return None
        seconds = self._seconds(line)
        return None if seconds is None else reader(self, message, seconds)

    def _seconds(self, line: str) -> float | None:
        """Seconds since the first line that was read of this start; None if it is no line of glog's.

        A date without its year gets over New Year's Eve.
        """
        prefix = _PREFIX.match(line)
        if prefix is None:
            return None
        year, month, day, hour, minute, second = prefix.groups()
        try:
            date = datetime.date(int(year or 2000), int(month), int(day))  # 2000 has a 29 February
        except ValueError:
            return None
        clock = date.toordinal() * 86400.0 + int(hour) * 3600 + int(minute) * 60 + float(second)
        begun = self._now.begun = clock if self._now.begun is None else self._now.begun
        over_new_year = not year and clock < begun - 180 * 86400
        return round(clock - begun + (366 * 86400 if over_new_year else 0), 6)

    def _planned(self, line: str) -> Event | None:
        found = _PLANNED.match(line)
        return Planned(self._attempt, 0.0, int(found[1])) if found else None

    def _initializing(self, message: str, seconds: float) -> Event | None:
        if message.startswith("Initializing solver"):
            self._attempt += self._now.seen
            self._now = _Start(seen=True, begun=(self._now.begun or 0.0) + seconds)
        return None

    def _solver(self, message: str, seconds: float) -> Event | None:
        if found := _SOLVER.match(message):
            self._now.iteration = int(found[1])
            return self._metric(seconds, self._now.iteration, "solver", found[2], found[3])
        if testing := _TESTING.match(message):
            self._now.test = (int(testing[1]), int(testing[2]))
        return None

    def _train(self, message: str, seconds: float) -> Event | None:
        found = _OUTPUT.match(message)
        if not found:
            return None
        return self._metric(seconds, self._now.iteration, "train", found[2], found[3], output=int(found[1]))

    def _testing(self, message: str, seconds: float) -> Event | None:
        at, net = self._now.test
        if message.startswith("Test loss: "):
            return self._metric(seconds, at, "test", "test loss", message[11:], net)
        if found := _OUTPUT.match(message):
            return self._metric(seconds, at, "test", found[2], found[3], net, int(found[1]))
        return None

    def _metric(
        self, seconds: float, at: int, phase: Phase, name: str, text: str, net: int = 0, output: int = 0
    ) -> Event | None:
        try:
            value = float(text)
        except ValueError:  # a line that was cut off when the machine died
            return None
        return Metric(self._attempt, seconds, at, phase, name, value, net, output)

    def _snapshot(self, message: str, seconds: float) -> Event | None:
        found = _STATE.match(message)
        return Snapshot(self._attempt, seconds, int(found[2]), found[1]) if found else None

    def _resume(self, message: str, seconds: float) -> Event | None:
        """Some versions say it twice, in caffe.cpp and in solver.cpp."""
        found = _RESUME.match(message)
        if not found or found[1] == self._now.resumed:
            return None
        self._now.resumed = found[1]
        number = re.search(r"_iter_(\d{1,15})", found[1])
        return Resumed(self._attempt, seconds, found[1], int(number[1]) if number else None)

    def _optimization(self, message: str, seconds: float) -> Event | None:
        """Caffe says "Optimization Done." once more at its end, even after it stopped early."""
        if self._now.over or message not in ("Optimization Done.", "Optimization stopped early."):
            return None
        self._now.over = True
        return Ended(self._attempt, seconds, early="early" in message)

    def _failed(self, message: str, seconds: float) -> Event | None:
        return Failed(self._attempt, seconds, message)


_Reader = Callable[[Parser, str, float], Event | None]
_FATAL: _Reader = Parser._failed
_READERS: dict[str, _Reader] = {
    "Initializing": Parser._initializing,
    "Iteration": Parser._solver,
    "Train": Parser._train,
    "Test": Parser._testing,
    "Snapshotting": Parser._snapshot,
    "Restoring": Parser._resume,
    "Resuming": Parser._resume,
    "Optimization": Parser._optimization,
}


def parse(lines: Iterable[str], attempt: int = 0) -> Iterator[Event]:
    """The events of a log, as its lines come. `attempt` is the number of its first attempt."""
    parser = Parser(attempt)
    for line in lines:
        event = parser.feed(line)
        if event is not None:
            yield event
