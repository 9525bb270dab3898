"""The keeper's states between a machine's second end and its order: it gets one when it has said that it is there.

A boot may take a quarter of an hour (large and bare-metal machines), and the time limit of silence must not count from
before it. So nobody waits for a word yet: the keeper looks for keys/INSTANCE, which the guard writes first of all, and
at the machine, and so it sees within a minute or two of one that ended while it booted. One that never comes is ended.

A look that finds nothing is an error, and trying that again is three events of the execution's history: so the tries of
one state are what most of the time is waited with.
"""

from typing import Any

from provision.engines.asl import State, all_, choose, is_, put, rule, task, there
from provision.engines.launching import ID, STATE, UNSAID, fresh, look, looked

COME_LOOKS = 15  # at the machine: three after 30 s each, then after two minutes
COME_MIN = 25  # for which a machine may boot, about
_SOON = 3
_GONE = ("shutting-down", "terminated", "stopping", "stopped")
NEVER = f"the machine did not begin to work within {COME_MIN} minutes"


def states() -> dict[str, State]:
    """The states by name. It begins with Coming, and goes on with Work, or with Before where there is no machine."""
    over = rule("$.at.looks", "NumericGreaterThanEquals", COME_LOOKS)
    late = rule("$.at.looks", "NumericGreaterThanEquals", _SOON)
    return {
        "Coming": fresh("Here?"),
        "Here?": _here(10, 3),
        "Here now?": _here(60, 2),
        "Boots?": look("Comes?", "$.seen", "Comes?"),
        "Comes?": choose(
            "Not here", (all_(there(STATE), is_(STATE, *_GONE)), "Ended early"), (over, "Never here"), (late, "Late")
        ),
        "Not here": looked("Here?"),
        "Late": looked("Here now?"),
        "Ended early": put("$.said", {**UNSAID, "state": "lost", "reason": "it ended before it was there"}, "Before"),
        "Never here": put("$.said", {**UNSAID, "state": "unready", "why": NEVER, "reason": NEVER}, "Before"),
    }


def _here(pause: int, tries: int) -> State:
    """Whether the machine has written its key: HeadObject, whose answer has no body that a machine could fill."""
    key = {"Bucket.$": "$.in.bucket", "Key.$": f"States.Format('{{}}keys/{{}}', $.in.prefix, {ID})"}
    again: dict[str, Any] = {"ErrorEquals": ["States.ALL"], "IntervalSeconds": pause, "MaxAttempts": tries}
    again |= {"BackoffRate": 1.0, "MaxDelaySeconds": 60}
    return {**task("s3", "headObject", key, "Work", fails="Boots?"), "Retry": [again]}
