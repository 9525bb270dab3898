"""Caffe's messages, one line each, as events: a table of small functions by a message's first word."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from provision.logs.clock import Clock
from provision.logs.events import DebugInfo, Ended, Event, LayerTime, Metric, Resumed, Snapshot
from provision.logs.numbers import count, number

_AT = r"(\d{1,3}(?:[.,']\d{3})+|\d{1,15})(?=,? )"  # thousands may be apart
_SOLVER = re.compile(rf"Iteration {_AT}(.*, (?:loss|lr) = .*)")
_SOLVERS_NUMBER = re.compile(r"(?<=, )(loss|lr) = (\S+)")
_TESTING = re.compile(rf"(?:Iteration {_AT}, )?Testing net(?: \(#(\d{{1,6}})\))?")
_SCORE = re.compile(r"Test score #(\d{1,9}): (\S+)")
_STATE = re.compile(r"Snapshotting solver state to (?:.*?file )?(.+_iter_(\d{1,15})\.solverstate\S*)")
_RESUME = re.compile(r"(?:Restoring previous solver status|Resuming) from (.+)")
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


def read(state: State, message: str, seconds: float) -> Sequence[Event]:
    """The events that a message of Caffe tells."""
    if message.startswith("Iteration "):
        return _iteration(state, message, seconds)
    event = _READERS.get(message.partition(" ")[0], _layer_time)(state, message, seconds)
    return () if event is None else (event,)


def metric(attempt: int, seconds: float | None, at: int, phase: str, name: str, text: bytes | str, net: int = 0) -> Any:
    """A Metric whose seconds and value may be None: of a line that was cut off when the machine died."""
    make: Any = Metric
    return make(attempt, seconds, at, phase, name, number(text), net)


def sound(made: Any) -> bool:
    """Whether such a Metric has its seconds and its value."""
    return made.value is not None and made.seconds is not None


def _solving(state: State, message: str, seconds: float) -> Event | None:
    state.clock.begin_at(seconds)
    return None


def _iteration(state: State, message: str, seconds: float) -> Sequence[Event]:
    """The solver's numbers; some forks print the learning rate behind the loss."""
    if found := _SOLVER.match(message):
        made = [state.show(count(found[1]), seconds, *one) for one in _SOLVERS_NUMBER.findall(found[2])]
        return [metric for metric in made if sound(metric)]
    _testing(state, message, seconds)
    return ()


def _testing(state: State, message: str, seconds: float) -> None:
    """A test begins. Caffe of 2013 does not say at which iteration: it is the one displayed last."""
    if found := _TESTING.match(message):
        at = count(found[1]) if found[1] else state.iteration
        state.test, state.first = (at, int(found[2] or 0)), None


def _test(state: State, message: str, seconds: float) -> Event | None:
    """The sum of the losses, or an output of a net as Caffe of 2014 calls it, by its number alone."""
    at, net = state.test
    if found := _SCORE.match(message):
        state.first = seconds if state.first is None else state.first
        value, output = number(found[2]), int(found[1])
        named = f"score #{output}"
        return None if value is None else Metric(state.attempt, state.first, at, "test", named, value, net, output)
    made: Metric = metric(state.attempt, seconds, at, "test", "test loss", message.partition(":")[2].strip(), net)
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
    """Caffe says "Optimization Done." once more at its end, even after it stopped early; NVIDIA's "… Done in 3m 2s"."""
    if state.over or not message.startswith(("Optimization Done", "Optimization stopped early.")):
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
    "Test": _test,
    "Testing": _testing,
    "Snapshotting": _snapshot,
    "Restoring": _resume,
    "Resuming": _resume,
    "Optimization": _optimization,
    "[Forward]": _debug,
    "[Backward]": _debug,
    "[Update]": _debug,
}
