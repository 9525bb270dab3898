"""Caffe's messages, one line each, as events: a table of small functions by a message's first word."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from provision.logs.clock import Clock
from provision.logs.events import DebugInfo, Ended, Event, LayerTime, Metric, Resumed, Snapshot

_SOLVER = re.compile(r"Iteration (\d{1,15}).*, (loss|lr) = (\S+)")
_STATE = re.compile(r"Snapshotting solver state to .*?file (\S+_iter_(\d{1,15})\.solverstate\S*)")
_RESUME = re.compile(r"(?:Restoring previous solver status|Resuming) from (\S+)")
_DEBUG = re.compile(
    r"\[(Forward|Backward|Update)\] Layer (\S+), (?:(?:top|bottom|param) blob |param )(.+?)"
    r"(?: data: ([^\s;]+))?;?(?: diff: (\S+))?$"
)
_LAYER_TIME = re.compile(r"(\S+)\s+(forward|backward): (\S+) ms\.")
_WHOLE_TIME = re.compile(r"(?:Average )?(Forward-Backward|Forward|Backward|Total)(?: pass| Time)?: (\S+) ms\.")


@dataclass
class State:
    """What is known of a log so far; from `seen` on, since the program last started. Seconds are None where the log's
    time cannot be read."""

    attempt: int = 0
    clock: Clock = field(default_factory=Clock)
    seen: bool = False  # any event
    iteration: int = 0
    shown: float | None = None  # seconds at the display of that iteration
    test: tuple[int, int] = (0, 0)  # iteration and number of the test net
    first: float | None = None  # seconds at the first output of the display or test
    resumed: str = ""
    over: bool = False

    def again(self) -> "State":
        """The state where the program starts: another attempt, if this one had told anything."""
        return State(self.attempt + self.seen, self.clock, seen=True)

    def show(self, iteration: int, seconds: float | None, name: str, value: bytes | str) -> Any:
        """The solver's loss, with which a display begins, or its learning rate; as `metric`."""
        if name == "loss" or self.shown is None:
            self.shown = self.first = seconds
        self.iteration = iteration
        return metric(self.attempt, self.shown, iteration, "solver", name, value)


def read(state: State, message: str, seconds: float) -> Event | None:
    """The event that a message of Caffe tells, or None."""
    return _READERS.get(message.partition(" ")[0], _layer_time)(state, message, seconds)


def metric(attempt: int, seconds: float | None, at: int, phase: str, name: str, text: bytes | str, net: int = 0) -> Any:
    """A Metric whose seconds and value may be None: of a line that was cut off when the machine died."""
    make: Any = Metric
    return make(attempt, seconds, at, phase, name, number(text), net)


def sound(made: Any) -> bool:
    """Whether such a Metric has its seconds and its value."""
    return made.value is not None and made.seconds is not None


def number(text: bytes | str) -> float | None:
    """The number that C++ printed, or None where the text is not one."""
    try:
        return float(text)
    except ValueError:
        return None


def weight(text: bytes | None) -> float | None:
    """The loss weight behind an output; None where it has none, so that it is no loss."""
    return number(text) if text else None


def _solving(state: State, message: str, seconds: float) -> Event | None:
    state.clock.begin_at(seconds)
    return None


def _solver(state: State, message: str, seconds: float) -> Event | None:
    if found := _SOLVER.match(message):
        made: Metric = state.show(int(found[1]), seconds, found[2], found[3])
        return made if sound(made) else None
    return None


def _test_loss(state: State, message: str, seconds: float) -> Event | None:
    at, net = state.test
    made: Metric = metric(state.attempt, seconds, at, "test", "test loss", message[11:], net)
    return made if sound(made) else None


def _snapshot(state: State, message: str, seconds: float) -> Event | None:
    found = _STATE.match(message)
    return Snapshot(state.attempt, seconds, int(found[2]), found[1]) if found else None


def _resume(state: State, message: str, seconds: float) -> Event | None:
    """Some versions say it twice, in caffe.cpp and in solver.cpp."""
    found = _RESUME.match(message)
    if not found or found[1] == state.resumed:
        return None
    state.resumed = found[1]
    at = re.search(r"_iter_(\d{1,15})", found[1])
    return Resumed(state.attempt, seconds, found[1], int(at[1]) if at else None)


def _optimization(state: State, message: str, seconds: float) -> Event | None:
    """Caffe says "Optimization Done." once more at its end, even after it stopped early."""
    if state.over or message not in ("Optimization Done.", "Optimization stopped early."):
        return None
    state.over = True
    return Ended(state.attempt, seconds, early="early" in message)


def _debug(state: State, message: str, seconds: float) -> Event | None:
    found = _DEBUG.match(message)
    if not found:
        return None
    step: Any = found[1].lower()
    data, diff = (None if text is None else number(text) for text in (found[4], found[5]))
    if data is None and diff is None:
        return None
    return DebugInfo(state.attempt, seconds, state.iteration, step, found[2], found[3], data, diff)


def _layer_time(state: State, message: str, seconds: float) -> Event | None:
    found = _LAYER_TIME.match(message)
    whole = _WHOLE_TIME.match(message)
    layer, direction, text = found.groups() if found else ("", *whole.groups()) if whole else ("", "", "")
    ms = number(text)
    return None if ms is None else LayerTime(state.attempt, seconds, layer, direction.lower(), ms)


_Reader = Callable[[State, str, float], Event | None]
_READERS: dict[str, _Reader] = {
    "Solving": _solving,
    "Iteration": _solver,
    "Test": _test_loss,
    "Snapshotting": _snapshot,
    "Restoring": _resume,
    "Resuming": _resume,
    "Optimization": _optimization,
    "[Forward]": _debug,
    "[Backward]": _debug,
    "[Update]": _debug,
}
