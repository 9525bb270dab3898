"""An interpreter of the Amazon States Language in virtual time, for the part of it that the keeper uses.

An execution is a generator. It yields what it wants: `Pause` (be woken later), `Call` (of an AWS service), or `Token`
(wait for the answer to a task's token); who drives it sends the time, the call's answer, or the token's, or throws
`Broken`. So any number of executions, of machines and of people can live in one time.

A state, a field or an error that it does not know is a ValueError: nothing is passed over. As AWS does, it counts the
events of an execution, refuses data of more than 256 KiB, and lets nothing catch a path that is not there.
https://states-language.net/spec.html
"""

import json
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from tests.simulate.asl_values import MISSING, Broken, Value, at, filled, find

MOST_EVENTS, MOST_BYTES = 25_000, 262_144
EPOCH = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)  # virtual time 0
_UNCAUGHT = ("States.Runtime", "States.DataLimitExceeded")
_FIELDS = {
    "Task": {"Resource", "Parameters", "ResultSelector", "ResultPath", "Retry", "Catch", "Next", "TimeoutSeconds",
             "TimeoutSecondsPath", "HeartbeatSeconds"},
    "Pass": {"Parameters", "ResultPath", "Next"},
    "Choice": {"Choices", "Default"},
    "Wait": {"Seconds", "SecondsPath", "Next"},
    "Succeed": set(),
    "Fail": {"Error", "Cause", "ErrorPath", "CausePath"},
}  # fmt: skip
_RETRY = {"ErrorEquals", "IntervalSeconds", "MaxAttempts", "BackoffRate", "MaxDelaySeconds"}
_CATCH = {"ErrorEquals", "ResultPath", "Next"}


@dataclass(frozen=True)
class Pause:
    """Wake me at that virtual time (seconds)."""

    until: float


@dataclass(frozen=True)
class Call:
    """Call the service. The answer is sent, or Broken is thrown, when `seconds` are over at the latest."""

    service: str
    action: str
    words: Mapping[str, Value]
    seconds: float


@dataclass(frozen=True)
class Token:
    """Wait for the answer to the token: it is sent, or thrown. After `beat` seconds of silence, or at `until`, Broken
    (States.HeartbeatTimeout, States.Timeout) is thrown."""

    token: str
    beat: float
    until: float


Steps = Generator[Pause | Call | Token, Value, None]


@dataclass
class Execution:
    """One execution. `status` as AWS has it; `entered` are the names of the states, in order, with their times."""

    machine: Mapping[str, Any]
    given: Value
    name: str
    now: float = 0.0
    status: str = "RUNNING"
    output: Value = None
    error: str = ""
    cause: str = ""
    events: int = 1
    entered: list[tuple[float, str]] = field(default_factory=list)

    def steps(self) -> Steps:
        """Go through the states; the driver keeps `now`."""
        name, data = self.machine["StartAt"], self.given
        try:
            while name:
                name, data = yield from self._state(name, data)
            self.status, self.output = "SUCCEEDED", data
        except Broken as broken:
            self.status, self.error, self.cause = "FAILED", broken.error, broken.cause
        self.events += 1

    # states

    def _state(self, name: str, data: Value) -> Generator[Any, Value, tuple[str, Value]]:
        state = self.machine["States"][name]
        kind = state["Type"]
        unknown = set(state) - _FIELDS[kind] - {"Type", "Comment"}
        if unknown:
            raise ValueError(f"{name}: unknown {sorted(unknown)}")
        self.entered.append((self.now, name))
        self._count(1)
        context = self._context(name)
        then, made = yield from getattr(self, f"_{kind.lower()}")(state, data, context)
        self._count(1)
        if len(json.dumps(made)) > MOST_BYTES:
            raise Broken("States.DataLimitExceeded", f"after {name}")
        return then, made

    def _context(self, name: str) -> dict[str, Any]:
        return {
            "Execution": {"Name": self.name, "Input": self.given},
            "State": {"Name": name, "EnteredTime": told(self.now)},
        }

    def _pass(self, state: Any, data: Value, context: Value) -> Generator[Any, Value, tuple[str, Value]]:
        made = filled(state["Parameters"], data, context)
        return state["Next"], placed(data, state.get("ResultPath", "$"), made)
        yield  # a generator, as the others

    def _wait(self, state: Any, data: Value, context: Value) -> Generator[Any, Value, tuple[str, Value]]:
        seconds = at(state["SecondsPath"], data, context) if "SecondsPath" in state else state["Seconds"]
        if not isinstance(seconds, int):
            raise Broken("States.Runtime", f"{seconds} are no seconds")
        yield Pause(self.now + seconds)
        return state["Next"], data

    def _choice(self, state: Any, data: Value, context: Value) -> Generator[Any, Value, tuple[str, Value]]:
        for rule in state["Choices"]:
            if holds({key: value for key, value in rule.items() if key != "Next"}, data, context):
                return rule["Next"], data
        return state["Default"], data
        yield

    def _succeed(self, state: Any, data: Value, context: Value) -> Generator[Any, Value, tuple[str, Value]]:
        return "", data
        yield

    def _fail(self, state: Any, data: Value, context: Value) -> Generator[Any, Value, tuple[str, Value]]:
        said = [
            at(state[f"{key}Path"], data, context) if f"{key}Path" in state else state.get(key, "")
            for key in ("Error", "Cause")
        ]
        raise Broken(*said)
        yield

    # tasks

    def _task(self, state: Any, data: Value, context: Value) -> Generator[Any, Value, tuple[str, Value]]:
        tried = [0] * len(state.get("Retry", ()))
        while True:
            try:
                answer = yield from self._try(state, data, context)
                if "ResultSelector" in state:
                    answer = filled(state["ResultSelector"], answer, context)
                return state["Next"], placed(data, state.get("ResultPath", "$"), answer)
            except Broken as broken:
                pause = _again(state.get("Retry", ()), tried, broken.error)
                if pause is None:
                    return _caught(state.get("Catch", ()), data, broken)
                yield Pause(self.now + pause)

    def _try(self, state: Any, data: Value, context: Value) -> Generator[Any, Value, Value]:
        """One attempt at a task; five events or six with those of its state."""
        kind = re.fullmatch(r"arn:[\w-]+:states:::aws-sdk:(\w+):(\w+)(\.waitForTaskToken)?", state["Resource"])
        if not kind:
            raise ValueError(state["Resource"])
        seconds = at(state["TimeoutSecondsPath"], data, context) if "TimeoutSecondsPath" in state else None
        seconds = seconds or state["TimeoutSeconds"]
        began = self.now
        waits = kind[3] is not None
        token = f"{self.name}/{self.events}"
        words = filled(state["Parameters"], data, {**context, **({"Task": {"Token": token}} if waits else {})})
        self._count(3 + waits)
        answer = yield Call(kind[1], kind[2], words, seconds)
        if waits:
            answer = yield Token(token, state["HeartbeatSeconds"], began + seconds)
        if len(json.dumps(answer)) > MOST_BYTES:
            raise Broken("States.DataLimitExceeded", state["Resource"])
        return answer

    def _count(self, events: int) -> None:
        self.events += events
        if self.events >= MOST_EVENTS:
            raise Broken("States.Runtime", "the execution reached the maximum number of history events")


def told(seconds: float) -> str:
    """The virtual time as AWS tells times."""
    return f"{EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


def placed(data: Value, path: str | None, value: Value) -> Value:
    """The data with the value at the path; without it where the path is null. A path has one name behind the `$`."""
    if path is None:
        return data
    if path == "$":
        return value
    name = re.fullmatch(r"\$\.(\w+)", path)
    if not name:
        raise ValueError(f"ResultPath {path}")
    return {**data, name[1]: value}


def matches(names: list[str], error: str) -> bool:
    """Whether an error is one of these names'."""
    if "States.ALL" in names and error not in _UNCAUGHT:
        return True
    return error in names or ("States.TaskFailed" in names and not error.startswith("States."))


def _again(retries: Any, tried: list[int], error: str) -> float | None:
    """Seconds until the next try; None where there is none."""
    for index, one in enumerate(retries):
        if set(one) - _RETRY:
            raise ValueError(f"Retry {one}")
        if matches(one["ErrorEquals"], error):
            if tried[index] >= one["MaxAttempts"]:
                return None
            tried[index] += 1
            pause = one["IntervalSeconds"] * one["BackoffRate"] ** (tried[index] - 1)
            return float(min(pause, one["MaxDelaySeconds"]))
    return None


def _caught(catches: Any, data: Value, broken: Broken) -> tuple[str, Value]:
    for one in catches:
        if set(one) - _CATCH:
            raise ValueError(f"Catch {one}")
        if matches(one["ErrorEquals"], broken.error):
            return one["Next"], placed(data, one["ResultPath"], {"Error": broken.error, "Cause": broken.cause})
    raise broken


# choices


def holds(rule: Mapping[str, Any], data: Value, context: Value) -> bool:
    """Whether the rule holds. And and Or look no further than they must; a path that is not there breaks the execution
    unless IsPresent asks for it."""
    if "And" in rule:
        return all(holds(one, data, context) for one in rule["And"])
    if "Or" in rule:
        return any(holds(one, data, context) for one in rule["Or"])
    if "Not" in rule:
        return not holds(rule["Not"], data, context)
    ((test, wanted),) = ((key, value) for key, value in rule.items() if key != "Variable")
    found = find(rule["Variable"], data, context)
    if test == "IsPresent":
        return (found is not MISSING) == wanted
    if found is MISSING:
        raise Broken("States.Runtime", f"the choice's path {rule['Variable']} is not there")
    if test.endswith("Path"):
        test, wanted = test.removesuffix("Path"), at(wanted, data, context)
    return _compared(test, found, wanted)


def _number(value: Value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _time(value: Value) -> datetime | None:
    try:
        return datetime.fromisoformat(value.replace("Z", "+00:00")) if isinstance(value, str) else None
    except ValueError:
        return None


def _compared(test: str, found: Value, wanted: Value) -> bool:
    """One comparison; what is of another type compares to nothing."""
    if test in ("IsNumeric", "IsString"):
        return (_number(found) if test == "IsNumeric" else isinstance(found, str)) == wanted
    kind, how = re.fullmatch(r"(String|Numeric|Boolean|Timestamp)(\w+)", test).groups()  # type: ignore[union-attr]
    if kind == "Boolean":
        return isinstance(found, bool) and isinstance(wanted, bool) and found == wanted
    if kind == "String":
        if not isinstance(found, str) or not isinstance(wanted, str):
            return False
        return _like(wanted, found) if how == "Matches" else _ordered(how, found, wanted)
    if kind == "Timestamp":
        found, wanted = _time(found), _time(wanted)
        return found is not None and wanted is not None and _ordered(how, found, wanted)
    return _number(found) and _number(wanted) and _ordered(how, found, wanted)


def _like(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None


def _ordered(how: str, found: Any, wanted: Any) -> bool:
    tests = {
        "Equals": found == wanted, "LessThan": found < wanted, "GreaterThan": found > wanted,
        "LessThanEquals": found <= wanted, "GreaterThanEquals": found >= wanted,
    }  # fmt: skip
    return bool(tests[how])
