"""The keeper: one execution of AWS Step Functions keeps one run to its end, with no laptop. Its definition, as data.

The life of a run, state by state (`launching`, `coming`, `working`, `baking`, `clearing` have them; `asl` the parts):

    Begin ─► Attempt ─► Claim ──(taken)──► Whose ─► Read ─► Ours? ──(another's)──► Taken
                          │ ours                              │ ours: the answer to our own claim was lost
                          ▼                                   ▼
        First ─► Market ─► May ask? ─► Ask spot / Ask on demand ─► Got? ──────────► Know ─► Note ─► Arm (Move)
                     ▲        ▲  │ no time left                     │ refused: Wait, with a new token    │
                     │        │  ▼                                  │ answer lost: Wait, the same token  │
             Next market      └── Wait ◄── New token / Same token ◄─┘                                    ▼
             (then NoCapacity)                    it ended, or never came: Before ◄── Here? (keys/INSTANCE)
                                                                                                         ▼
                                                                                                       Work
                                                                   the machine's word, or its silence ◄──┘
        Bake? (finished on a machine that had to install its driver) ─► Bake ─► Image ─► Baked / Unbaked
                                                       ▼
        Free? (the first hour: AWS ends it itself) ─► Before ─► End ─► Gone ──(never)──► Stuck
                                                       ▼
        Final? ─► Word (state.json of a silent machine) ─► Ended (ends/NNN.json) ─► Next?
            finished, stopped ─► Done · failed ─► TrainingFailed · a person, a deadline ─► EndedWithMachine
            unready, or a machine that ended itself without a word ─► Same? (twice for one reason) ─► Unready
            interrupted, lost, unready once ─► Newer? ─► More? ─► Again ─► Attempt
        each result ─► Left, Sweep (machines) ─► Unschedule, templates, group, role ─► Tell ─► Well / Failed

It fails towards stopping: after any step whose answer was lost the machine is ended first, and no other is asked for
before AWS says that it is gone. A machine gets its order (`control/INSTANCE`) only after its number is claimed, its
attempt noted, its second end armed, and it has said that it is there; a machine without an order ends itself. What the
keeper cannot end is left to the two deadlines that every machine has, and then the schedule is kept and the execution
fails with StillThere. An execution that is stopped or deleted cleans nothing: the deadlines end the machine, the
laptop's `stop` the rest.

What is known of errors, and what is not:
- an error is SERVICE.NAMEException; what a service has not modelled is Ec2.Ec2Exception, S3.S3Exception (412 of
  If-None-Match, too), and its cause has HTTP's status, no code. So nothing is decided by a name but
  Scheduler.ConflictException: a claim that failed for any reason is looked at, an order of ending is looked after.
- no answer: SERVICE.SdkClientException or States.Timeout. Silence of a machine: States.HeartbeatTimeout, and perhaps
  States.Timeout. Both are caught by States.ALL, which catches neither a path that is not there (States.Runtime) nor an
  answer of more than 256 KiB (States.DataLimitExceeded): `asl` says how the first is avoided, state.json is read up to
  a bound for the second. A state.json that begins like JSON and is none, or an output of a machine that is no object,
  ends the execution where it stands; the first comes after the machine's end.
- whether Step Functions knows IfNoneMatch of PutObject has not been tried on AWS: where it does not, no state machine
  is made, and nothing is paid.
- the text of an S3 object is JSON: `Body` is written so, and an object is given for it.
Sizes: an execution may have 25,000 events. An asking takes 13 of them and there are 400 at most, so `waits` are
long for a run that may wait for days; an attempt takes some 150, 300 more where a machine takes its time to end, and
200 where it takes a quarter of an hour to boot.
"""

import json
from functools import cache
from typing import Any

from infra.aws import regions
from infra.aws.step_functions import PREFIX, name_of
from provision.engines import baking, clearing, coming, launching, rights, working
from provision.engines.asl import State

MOST_NUMBERS = 30  # attempts of one execution
MOST_WAITS = launching.MOST_ASKS


def states() -> dict[str, State]:
    """All states by name."""
    parts = launching, coming, working, baking, clearing
    return {name: state for part in parts for name, state in part.states().items()}


def definition(region: str = "us-east-1") -> dict[str, Any]:
    """The state machine for a region's partition. It names its rights, so that with other ones it is another."""
    made = states()
    for state in made.values():
        if state["Type"] == "Task":
            state["Resource"] = regions.arn(region, state["Resource"])
    comment = f"keeps one run of provision to its end, with the rights {rights.digest(region)}"
    return {"Comment": comment, "StartAt": "Begin", "States": made}


@cache
def text(region: str = "us-east-1") -> str:
    """The definition as canonical JSON: sorted keys, no spaces. What is deployed is named by its sum."""
    return json.dumps(definition(region), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def digest(region: str = "us-east-1") -> str:
    """Eight hexadecimal digits of the text's sha256."""
    return machine_name(region).removeprefix(PREFIX)


def machine_name(region: str = "us-east-1") -> str:
    """The state machine's name, another one for each definition: executions go on with that with which they began."""
    return name_of(text(region))


def waits(hours: float) -> list[int]:
    """Seconds to wait before each next asking of a market, for so many hours in all: short ones first, and later so
    long that the askings of a month still fit into one execution."""
    steady = max(300, int(hours * 3600 / (MOST_WAITS * 0.8)))
    made, left = [], int(hours * 3600)
    for pause in (5, 10, 15, 30, 60, 120, *[steady] * MOST_WAITS):
        if left < 1:
            break
        made.append(min(pause, left))
        left -= made[-1]
    return made
