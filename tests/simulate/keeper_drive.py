"""One virtual time for executions, machines and people: what comes next happens next."""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.simulate.asl import Call, Execution, Pause, Token
from tests.simulate.asl_values import Broken

# a call's answer, what it throws, and how long it took in seconds
Answer = Callable[[str, str, dict[str, Any], Execution], tuple[Any, float]]


@dataclass
class Waiting:
    """An execution that waits for the answer to a token; `heard` is when it last heard of it."""

    keeper: "Keeper"
    token: Token
    heard: float


@dataclass
class Time:
    """What is to happen, in order."""

    now: float = 0.0
    heap: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    order: Any = field(default_factory=itertools.count)

    def at(self, when: float, do: Callable[[], None]) -> None:
        """Do it at that time."""
        heapq.heappush(self.heap, (max(when, self.now), next(self.order), do))

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Do it so many seconds from now."""
        self.at(self.now + seconds, do)

    def run(self, until: float, over: Callable[[], bool] = lambda: False) -> None:
        """Let everything happen up to that time, or until it is over."""
        while self.heap and self.heap[0][0] <= until and not over():
            self.now, _, do = heapq.heappop(self.heap)
            do()
        if not over():
            self.now = max(self.now, until)


class Keeper:
    """One execution in the time. `answer` answers its calls; `waiting` are the tokens of all."""

    def __init__(self, execution: Execution, time: Time, answer: Answer, waiting: dict[str, Waiting]) -> None:
        self.execution, self.time, self.answer, self.waiting = execution, time, answer, waiting
        self.steps = execution.steps()
        self.stopped = self.deleted = False
        self._wants: Token | None = None
        time.after(0, lambda: self._go(lambda: next(self.steps)))

    @property
    def over(self) -> bool:
        return self.stopped or self.execution.status != "RUNNING"

    def stop(self) -> None:
        """As StopExecution does: nothing of it goes on."""
        if not self.over:
            self.stopped = True
            self.execution.status = "ABORTED"
            self._forget()

    def delete(self) -> None:
        """As DeleteStateMachine does to its executions: none comes to another step."""
        self.deleted = True

    def reply(self, token: str, value: Any) -> bool:
        """SendTaskSuccess, or with Broken SendTaskFailure; whether somebody still waits for it."""
        if self.over or not self._wants or self._wants.token != token:
            return False
        self._forget()
        self._resume(value)
        return True

    def _forget(self) -> None:
        if self._wants:
            del self.waiting[self._wants.token]
            self._wants = None

    def _resume(self, value: Any) -> None:
        if isinstance(value, Broken):
            self._go(lambda: self.steps.throw(value))
        else:
            self._go(lambda: self.steps.send(value))

    def _go(self, step: Callable[[], Any]) -> None:
        if self.deleted:
            self.stop()
        if self.over:
            return
        self.execution.now = self.time.now
        try:
            wanted = step()
        except StopIteration:
            return
        if isinstance(wanted, Pause):
            self.time.at(wanted.until, lambda: self._resume(None))
        elif isinstance(wanted, Call):
            value, took = self.answer(wanted.service, wanted.action, dict(wanted.words), self.execution)
            self.time.after(min(took, wanted.seconds), lambda: self._resume(value))
        else:
            self._wants = wanted
            self.waiting[wanted.token] = Waiting(self, wanted, self.time.now)
            self.time.at(wanted.until, lambda: self._late(wanted, "States.Timeout", wanted.until))
            self._listen(wanted)

    def _listen(self, wanted: Token) -> None:
        """Look again when the silence would be too long."""
        waiting = self.waiting.get(wanted.token)
        if waiting:
            silent = waiting.heard + wanted.beat
            if silent <= self.time.now:
                self._late(wanted, "States.HeartbeatTimeout", silent)
            else:
                self.time.at(silent, lambda: self._listen(wanted))

    def _late(self, wanted: Token, error: str, when: float) -> None:
        if not self.over and self._wants is wanted and self.time.now >= when:
            self._forget()
            self._resume(Broken(error))
