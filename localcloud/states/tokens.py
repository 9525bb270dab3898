"""Task tokens: which were handed out, and what came for each. They live as long as the daemon.

A token is open from the call that hands it out until its task is over: answered, failed, out of time, or its execution
stopped. What comes later is told that the task does not exist any more, as on AWS.
"""

import base64
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import Any

FIRST = "AQCYAAAAKgAAAAMAAAAAAAAAA"  # how tokens of AWS begin
BYTES = 420  # random bytes of a token: AWS's have several hundred letters, too
LONGEST = 262_144  # bytes of an output, and of an execution's input


class Over(Exception):
    """The task of this token does not exist any more."""


class Unknown(Exception):
    """Nobody handed out this token."""


class NoOutput(Exception):
    """What was sent is no JSON, or too long."""


@dataclass
class Task:
    """A task that waits; `beat` is when it was last heard of (by time.monotonic)."""

    open: bool = True
    beat: float = field(default_factory=time.monotonic)
    outcome: Any = None


_tasks: dict[str, Task] = {}
_changed = threading.Condition()


def made() -> str:
    """A token that nobody has yet."""
    return FIRST + base64.b64encode(secrets.token_bytes(BYTES)).decode()


def begin(token: str) -> None:
    """From now on the token is open."""
    with _changed:
        _tasks[token] = Task()


def end(token: str) -> None:
    """The task is over, whatever came of it."""
    with _changed:
        if token in _tasks:
            _tasks[token].open = False
            _changed.notify_all()


def beat(token: str) -> None:
    """Its machine lives. Unknown, Over."""
    with _changed:
        _open(token).beat = time.monotonic()


def send(token: str, outcome: Any) -> None:
    """The task ends with this outcome. Unknown, Over."""
    with _changed:
        task = _open(token)
        task.open, task.outcome = False, outcome
        _changed.notify_all()


def give_up(token: str) -> bool:
    """The task is over for want of a sign of life; not so where an answer was quicker."""
    with _changed:
        task = _tasks[token]
        silent, task.open = task.open, False
        return silent


def check(output: str) -> None:
    """NoOutput for what is no JSON or longer than AWS takes."""
    if len(output.encode()) > LONGEST:
        raise NoOutput(f"it is longer than {LONGEST} bytes")
    try:
        json.loads(output)
    except ValueError as error:
        raise NoOutput(str(error)) from error


def await_outcome(token: str, seconds: float) -> Any:
    """What was sent for the token, within `seconds` at most; None so far."""
    with _changed:
        task = _tasks[token]
        _changed.wait_for(lambda: task.outcome is not None or not task.open, seconds)
        return task.outcome


def silence(token: str) -> float:
    """Seconds since the task was last heard of."""
    return time.monotonic() - _tasks[token].beat


def _open(token: str) -> Task:
    if token not in _tasks:
        raise Unknown
    if not _tasks[token].open:
        raise Over
    return _tasks[token]
