"""How fast executions wait. Tests shorten what on AWS takes minutes, without another state machine.

`waits` multiplies what Wait states and Retry take, `heartbeats` what HeartbeatSeconds and TimeoutSeconds say; both are
read while something waits, so that a change takes hold at once. `heartbeat_error` is the name by which a Catch learns
that heartbeats stayed away: by AWS's documentation States.HeartbeatTimeout, in records of what AWS did States.Timeout.
`events` is how many a history may have before its execution fails.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

HEARTBEAT, TIMEOUT = "States.HeartbeatTimeout", "States.Timeout"
LOOK = 0.1  # seconds between two looks whether something is over


@dataclass(frozen=True)
class Pace:
    """The factors (1: as the definition says) and the name of the error."""

    waits: float = 1.0
    heartbeats: float = 1.0
    heartbeat_error: str = HEARTBEAT
    events: int = 25_000


_pace = Pace()


def current() -> Pace:
    return _pace


def change(payload: Mapping[str, Any]) -> dict[str, Any]:
    """What the page `_local/keeper` was given; the pace from then on. ValueError for anything else."""
    global _pace
    changed = dict[str, Any]()
    for name, value in payload.items():
        if name not in _READ:
            raise ValueError(f"the keeper's pace has no {name}: it has {', '.join(_READ)}")
        changed[name] = _READ[name](value)
    _pace = replace(_pace, **changed)
    return vars(_pace)


def _factor(value: Any) -> float:
    factor = float(value)
    if not 0 <= factor < float("inf"):
        raise ValueError(f"{value} is no factor")
    return factor


def _name(value: Any) -> str:
    if value not in (HEARTBEAT, TIMEOUT):
        raise ValueError(f"a heartbeat that stays away is {HEARTBEAT} or {TIMEOUT}, not {value}")
    return str(value)


_READ: dict[str, Callable[[Any], Any]] = {
    "waits": _factor,
    "heartbeats": _factor,
    "heartbeat_error": _name,
    "events": int,
}
