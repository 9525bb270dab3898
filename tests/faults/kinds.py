"""What the sweep tries: a user's commands, and each kind of fault as a rule of `localcloud.faults`."""

import re
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

NAME = "NAME"  # in a step's words: the machine's name, a new one for each fault
LAUNCHES = re.compile(r"RunInstances|CreateFleet|RequestSpotInstances|RequestSpotFleet|StartInstances")
CLEANS = re.compile(r"(Terminate|Delete|Remove|Revoke|Cancel|Detach|Disassociate|Release|Deregister)[A-Z].*")
UP = ("up", "--instance", "g4dn.xlarge", "--name", NAME)
RUN = "RUN"  # in a step's words: the training's id
DIGITS = ("train", "digits", "--on", NAME, "--detach", "--set", "test_every=1000")
SHORT = ("--set", "iterations=20", "--set", "snapshot_every=20", "--set", "display=1")
ENDLESS = ("--set", "iterations=10000000", "--set", "snapshot_every=100000", "--set", "display=50")


@dataclass(frozen=True)
class Step:
    """One command of a user. `before` makes what it needs; `keeps`: a machine that was there must stay, whatever fails.
    `cold`: with a laptop that has never asked AWS anything. `kinds`: which faults its calls meet (empty: all)."""

    name: str
    words: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()
    keeps: bool = False
    cold: bool = False
    kinds: tuple[str, ...] = ()

    @property
    def ends(self) -> bool:
        return self.words[0] == "down"


# for what makes the same calls as another step: no second answer to a throttled call or a Ctrl-C
FEW = ("denied", "broken", "lost", "killed before", "killed after")
STEPS = (
    Step("up", UP, cold=True),
    Step("down", ("down", NAME), before=(UP,)),
    Step("up again", UP, before=(UP,), keeps=True, kinds=FEW),
    Step("extend", ("extend", NAME, "4h"), before=(UP,), keeps=True, kinds=FEW),
)
# These need more than a record and sshd: a host that is a system container, with a Docker engine.
TRAININGS = (
    Step("train", (*DIGITS, *SHORT), keeps=True),
    Step("stop", ("stop", RUN), before=((*DIGITS, *ENDLESS),), keeps=True),
)


@dataclass(frozen=True)
class Call:
    """The nth call of an action in a step."""

    service: str
    action: str
    nth: int

    def __str__(self) -> str:
        return f"{self.service} {self.action} {self.nth}"


@dataclass(frozen=True)
class Fault:
    """`client`: of several at once, the one that it is about. `last`: after it, what faults shared is ended."""

    step: str
    call: Call
    kind: str
    without: str = ""
    client: str = ""
    last: bool = False

    def rule(self) -> dict[str, Any]:
        """The fault as `localcloud.faults` wants it. What a host asks AWS for is not about it."""
        about = {"service": self.call.service, "action": self.call.action, "nth": self.call.nth, "from": "laptop"}
        return {**about, **({"client": self.client} if self.client else {}), **KINDS[self.kind](self.call)}

    @property
    def ends(self) -> int | None:
        """The signal that ends its client, if one does."""
        return SIGNALS.get(self.kind.split()[0])


@dataclass
class Tried:
    """What a fault did. `reached`: the step made that call this time. `wrong`: each rule that was broken."""

    fault: Fault
    worker: str
    part: str = ""
    reached: bool = False
    code: int | None = None
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        end = "not reached" if not self.reached else f"exit {self.code}"
        marks = "".join(f"\n    LEAK {text}" for text in self.wrong)
        out = f" without {self.fault.without}" if self.fault.without else ""
        what = f"{self.fault.client or self.fault.step:9} {self.fault.call!s:44} {self.fault.kind:15}"
        return f"{what} {end:12} {self.seconds:5.2f} s{out}{marks}"


def _error(code: str, status: int) -> dict[str, Any]:
    return {"error": {"code": code, "message": "asked for by the sweep", "status": status}}


def _denied(call: Call) -> dict[str, Any]:
    code = "UnauthorizedOperation" if call.service == "ec2" else "AccessDenied"
    return {**_error(code, 403), "times": 0}


def _throttled(call: Call) -> dict[str, Any]:
    code, status = ("RequestLimitExceeded", 503) if call.service == "ec2" else ("ThrottlingException", 400)
    return {**_error(code, status), "times": 0}


KINDS: dict[str, Callable[[Call], dict[str, Any]]] = {
    "denied": _denied,
    "throttled": _throttled,
    "broken": lambda _: _error("InternalError", 500),
    "full": lambda _: _error("InsufficientInstanceCapacity", 500),
    "nowhere": lambda _: {"hold": 0.001},  # only to see that the call is reached: the capacity page does the rest
    "lost": lambda _: {"lost": True, "retries": False},
    "cut": lambda _: {"lost": True},
    "killed before": lambda _: {"pause": "before"},
    "killed after": lambda _: {"pause": "after"},
    "stopped before": lambda _: {"pause": "before"},
    "stopped after": lambda _: {"pause": "after"},
}
READS = re.compile("Describe|Get|List|Head")
LASTING = ("denied", "throttled")  # AWS refuses also what would clean up
OF_LAUNCHES = ("full", "nowhere")
SIGNALS = {"killed": signal.SIGKILL, "stopped": signal.SIGINT}


def kinds_for(call: Call) -> list[str]:
    """Capacity is about launches alone. What only reads is the same before and after, with half an answer or none; what
    reads again is allowed, as it was the first time, and answers Ctrl-C and throttling in the same way."""
    left_out = set() if LAUNCHES.fullmatch(call.action) else set(OF_LAUNCHES)
    if READS.match(call.action):
        left_out |= {"cut", "stopped after"}
        if call.nth > 1:
            left_out |= {"denied", "throttled", "stopped before", "killed after"}
    return [kind for kind in KINDS if kind not in left_out]


def step_of(name: str) -> Step:
    return next(one for one in (*STEPS, *TRAININGS) if one.name == name)
