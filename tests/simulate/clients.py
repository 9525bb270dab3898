"""Laptops and their commands: each is `provision WORDS` in a group of its own, with faults at some of its calls."""

import fcntl
import io
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.simulate import wire
from tests.simulate.baton import BATON, Group, Task

LAZY, FOLLOWING = 5.0, 12.0  # how much longer pauses between looks are, of a command and of one that trains
LIMIT_S = 4 * 3600.0  # a command that takes longer hangs
ERRORS = {
    "broken": ("InternalError", 500),
    "throttled": ("RequestLimitExceeded", 503),
    "denied": ("UnauthorizedOperation", 403),
    "expired": ("ExpiredToken", 400),
    "odd": ("InvalidInstanceID.NotFound", 400),
    "full": ("InsufficientInstanceCapacity", 500),
}
ABOUT = {"odd": "DescribeInstances", "full": "CreateFleet"}  # what one call alone can be answered
SIGNALS = {"stopped": signal.SIGINT, "terminated": signal.SIGTERM, "hung up": signal.SIGHUP}
ENDS = tuple(f"{what} {when}" for what in ("killed", *SIGNALS) for when in ("before", "after"))
KINDS = (*ERRORS, "lost", "cut", *ENDS)


@dataclass
class Laptop:
    """A person's machine, with a home of its own."""

    name: str
    folder: Path

    def environ(self) -> dict[str, str]:
        return {
            "XDG_CONFIG_HOME": f"{self.folder}/config", "XDG_STATE_HOME": f"{self.folder}/state",
            "XDG_CACHE_HOME": f"{self.folder}/cache", "USER": self.name, "LOGNAME": self.name, "LNAME": self.name,
            "PROVISION_CLOUD": "local:sim", "AWS_EC2_METADATA_DISABLED": "true", "COLUMNS": "160",
        }  # fmt: skip


@dataclass
class Meeting:
    """A fault, and the calls of a client that it meets: from the `nth` on, `times` of those that it can be about."""

    nth: int
    kind: str
    times: int = 1

    def meets(self, number: int, action: str) -> bool:
        if number < self.nth or self.times <= 0 or action != ABOUT.get(self.kind, action):
            return False
        self.times -= 1
        return True


@dataclass(eq=False)
class Client:
    """One command. `code` is None while it runs; -9 where it was killed."""

    label: str
    laptop: Laptop
    words: tuple[str, ...]
    meetings: list[Meeting] = field(default_factory=list)
    calls: int = 0
    met: list[str] = field(default_factory=list)
    code: int | None = None
    made: list[str] = field(default_factory=list)  # the instances that its launches gave
    offline_until: float = 0.0
    began: float = 0.0
    ended: float = 0.0
    on_call: Callable[["Client", str, str], None] = lambda *_: None
    group: Group = field(init=False)
    task: Task | None = None

    def __post_init__(self) -> None:
        out = io.StringIO()
        lazy = FOLLOWING if self.words[0] in ("train", "resume") else LAZY
        self.group = Group(self.label, self.laptop.environ(), lazy, data={"client": self}, out=out)
        self.group.at_end.append(self._killed)

    @property
    def said(self) -> str:
        return str(self.group.out.getvalue())

    @property
    def offline(self) -> bool:
        return BATON.now < self.offline_until

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL

    @property
    def hangs(self) -> bool:
        return self.code is None and BATON.now - self.began > LIMIT_S

    def start(self) -> None:
        self.began = BATON.now
        self.task = BATON.spawn(self.group, self._run)

    def _killed(self) -> None:
        if self.code is None:
            self.code, self.ended = -signal.SIGKILL, BATON.now

    def _run(self) -> None:
        from infra import signals
        from provision import cli

        signals.end_as_ctrl_c()
        try:
            code = cli.run(list(self.words))
        except Exception:
            self.group.out.write(traceback.format_exc())
            code = 70
        self.code, self.ended = code, BATON.now

    def call(self, service: str, action: str, do: Callable[[], wire.Answer], url: str) -> wire.Answer:
        """One call to AWS, with what meets it."""
        BATON.check()
        self.calls += 1
        kind = next((one.kind for one in self.meetings if one.meets(self.calls, action)), "")
        self._pause()
        if self.offline:
            BATON.sleep(2.0)
            raise wire.no_line(url)
        if kind:
            self.met.append(f"{kind} at {service} {action}")
            self._end(kind, "before")
        if kind in ERRORS:
            return wire.refusal(service, *ERRORS[kind])
        self.on_call(self, service, action)
        answer = do()
        self.on_call(self, service, f"{action} done")
        self._end(kind, "after")
        self._pause()
        if kind in ("lost", "cut"):
            raise wire.cut(url)
        return answer

    def _pause(self) -> None:
        BATON.wait([], 0.02 + 0.15 * BATON.random.random())

    def _end(self, kind: str, when: str) -> None:
        what, _, moment = kind.rpartition(" ")
        if what and moment == when:
            self.end(what)
        BATON.check()

    def end(self, what: str) -> None:
        """Kill it, or send it one of SIGNALS: its own handler says what comes of that."""
        if what == "killed":
            self.group.kill()
        elif self.task and not self.task.done:
            number = SIGNALS[what]
            handler = self.group.data.get("handlers", {}).get(number, signal.default_int_handler)
            try:
                handler(number, None)
            except KeyboardInterrupt as error:
                BATON.strike(self.task, error)


def install() -> None:
    """Locks of files wait in virtual time, and end with their process; signals' handlers are a client's own."""
    real = fcntl.flock

    def flock(file: Any, operation: int) -> None:
        while True:
            try:
                real(file, operation | fcntl.LOCK_NB)
            except BlockingIOError:
                if operation & fcntl.LOCK_NB:
                    raise
                BATON.sleep(0.5)
            else:
                BATON.current.group.at_end.append(lambda: _unlock(real, file))
                return

    def handle(number: int, handler: Any) -> Any:
        handlers = BATON.current.group.data.setdefault("handlers", {})
        before = handlers.get(number, usual(number))
        handlers[number] = handler
        return before

    fcntl.flock = flock  # type: ignore[assignment]
    signal.signal = handle
    signal.getsignal = lambda number: BATON.current.group.data.get("handlers", {}).get(number, usual(number))


def usual(number: int) -> Any:
    """What Python does at its start."""
    return signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL


def _unlock(real: Callable[[Any, int], None], file: Any) -> None:
    if not getattr(file, "closed", False):
        real(file, fcntl.LOCK_UN)
