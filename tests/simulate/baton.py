"""One thread runs at a time: the one that has the baton. Time is virtual, and who goes next is chosen by a seed.

A `Group` stands for a process (a laptop's command, a machine's guard, AWS itself), a `Task` for one of its threads. The
baton passes where a task sleeps, waits, or talks to AWS; nowhere else. When all wait, the clock jumps to the first that
wakes. A group that is killed never gets the baton again, as a process after kill -9. `install` puts our locks, threads
and sleeps in the place of Python's, in this whole process, before anything else is imported.
"""

import _thread
import contextlib
import functools
import heapq
import itertools
import os
import queue
import random
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

EPOCH = 1_796_083_200.0  # when each simulation begins: 2026-12-01 00:00 UTC
STEPS = 400_000  # how often the baton may pass before a simulation counts as one that never ends


class Endless(BaseException):
    """The simulation makes no progress in time."""


@dataclass(eq=False)
class Group:
    """A process. `environ` is what its environment has beside the common; `lazy`: how much longer its pauses are."""

    name: str
    environ: dict[str, str] = field(default_factory=dict)
    lazy: float = 1.0
    dead: bool = False
    at_end: list[Callable[[], None]] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    out: Any = None

    def kill(self) -> None:
        """No task of it runs again; what the kernel would free is freed."""
        self.dead = True
        for act in self.at_end:
            act()
        self.at_end.clear()


@dataclass(eq=False)
class Task:
    """A thread. `work` is None for the one that was there before."""

    group: Group
    work: Callable[[], None] | None
    go: Any = field(default_factory=_thread.allocate_lock)
    begun: bool = False
    done: bool = False
    turn: int = 0  # a wait that was over already is known by its number
    woken: bool = False
    raising: BaseException | None = None
    joiners: "list[Task]" = field(default_factory=list)

    @property
    def gone(self) -> bool:
        return self.done or self.group.dead


class Baton:
    """Whoever calls one of its methods has the baton."""

    def __init__(self) -> None:
        self.now = 0.0
        self.random = random.Random(0)
        self.count = itertools.count()
        self.ready: list[Task] = []
        self.heap: list[tuple[float, int, Task, int]] = []
        self.passed = 0
        self.died: list[BaseException] = []
        self.world = Group("world")
        self.current = Task(self.world, None, begun=True)
        self.current.go.acquire()
        self.environ: dict[str, str] = {}
        self.inside: Group | None = None  # whose new threads are, where not the current task's process
        self.cold = True  # before the fork that simulates: threads would not come along, so none may begin

    def spawn(self, group: Group, work: Callable[[], None]) -> Task:
        """A new thread of that process, which runs when its turn comes."""
        task = Task(group, work)
        task.go.acquire()
        self.ready.append(task)
        return task

    def sleep(self, seconds: float) -> None:
        """A short pause between two looks is longer where the group is lazy: fewer looks, the same questions."""
        if self.cold:
            return
        lazy = self.current.group.lazy if 0.1 <= seconds <= 3.0 else 1.0
        self.wait([], max(0.0, float(seconds)) * lazy)

    def wait(self, waiting: list[Task], seconds: float | None) -> bool:
        """Wait to be woken, for so many seconds at most (None: as long as it takes); whether it was woken."""
        me = self.current
        me.turn, me.woken = me.turn + 1, False
        waiting.append(me)
        if seconds is not None:
            heapq.heappush(self.heap, (self.now + seconds, next(self.count), me, me.turn))
        self._pass()
        if not me.woken and me in waiting:
            waiting.remove(me)
        error, me.raising = me.raising, None
        if error is not None:
            raise error
        return me.woken

    def wake(self, task: Task) -> bool:
        """Let a waiting task go on; whether there is anyone to go on."""
        if task.gone or task.woken:
            return False
        task.woken, task.turn = True, task.turn + 1
        if task not in self.ready:  # its time was over already, and it has not heard of it yet
            self.ready.append(task)
        return True

    def wake_one(self, waiting: list[Task]) -> bool:
        while waiting:
            if self.wake(waiting.pop(0)):
                return True
        return False

    def strike(self, task: Task, error: BaseException) -> None:
        """Raise that in a task, which waits, or does when it comes to know of it."""
        task.raising = error
        if not task.woken and task is not self.current and task not in self.ready:
            task.turn += 1
            self.ready.append(task)

    def check(self) -> None:
        """What has struck this task, or a kill, ends what it does here."""
        me = self.current
        if me.group.dead:
            self._pass()
        error, me.raising = me.raising, None
        if error is not None:
            raise error

    # how the baton passes

    def _pass(self) -> None:
        """Give the baton to the next one, and wait until it comes back."""
        me = self.current
        chosen = self._next()
        if chosen is not me:
            self._hand(chosen)
            me.go.acquire()
        self._dress(me.group)

    def _next(self) -> Task:
        self.passed += 1
        if self.passed > STEPS:
            raise Endless(f"the baton has passed {STEPS} times, and it is {self.now:.0f} s")
        while True:
            self.ready = [task for task in self.ready if not task.gone]
            if self.ready:
                return self.ready.pop(self.random.randrange(len(self.ready)))
            while self.heap:
                at, _, task, turn = heapq.heappop(self.heap)
                if not task.gone and task.turn == turn:
                    self.now = max(self.now, at)
                    task.turn += 1
                    self.ready.append(task)
                    break
            else:
                raise Endless("all wait for each other")

    def _hand(self, chosen: Task) -> None:
        self.current = chosen
        if chosen.begun:
            chosen.go.release()
        else:
            chosen.begun = True
            _thread.start_new_thread(self._run, (chosen,))

    def _run(self, task: Task) -> None:
        self._dress(task.group)
        try:
            assert task.work is not None
            task.work()
        except BaseException as error:
            self.died.append(error)
        task.work, task.done = None, True
        for joiner in task.joiners:
            self.wake(joiner)
        self._hand(self._next())

    def _dress(self, group: Group) -> None:
        """The environment is a process's own, and so is where it prints."""
        sys.stdout = group.out or sys.__stdout__  # type: ignore[assignment]
        sys.stderr = group.out or sys.__stderr__  # type: ignore[assignment]
        if self.environ is group.environ:
            return
        for name in self.environ.keys() - group.environ.keys():
            os.environ.pop(name, None)
        os.environ.update(group.environ)
        self.environ = group.environ


BATON = Baton()


class Lock:
    """In the place of `threading.Lock`."""

    def __init__(self) -> None:
        self.held = False
        self.waiting: list[Task] = []

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if not self.held:
            self.held = True
            return True
        if not blocking:
            return False
        try:
            return BATON.wait(self.waiting, None if timeout < 0 else timeout)
        except BaseException:
            if BATON.current.woken:
                self.release()
            raise

    def release(self) -> None:
        if not self.held:
            raise RuntimeError("release unlocked lock")
        self.held = BATON.wake_one(self.waiting)

    def locked(self) -> bool:
        return self.held

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def _at_fork_reinit(self) -> None:
        self.__init__()  # type: ignore[misc]


def install() -> None:
    """Make this process's threads ours."""
    real_alive, real_join = threading.Thread.is_alive, threading.Thread.join

    def start(self: Any) -> None:
        if self._started.is_set():
            raise RuntimeError("threads can only be started once")
        self._started.set()
        self.task = BATON.spawn(BATON.inside or BATON.current.group, lambda: _body(self))

    def join(self: Any, timeout: float | None = None) -> None:
        task = getattr(self, "task", None)
        if task is None:
            return real_join(self, timeout)
        if not task.done:
            BATON.wait(task.joiners, timeout)
        return None

    def is_alive(self: Any) -> bool:
        task = getattr(self, "task", None)
        return real_alive(self) if task is None else not task.done

    def order(self: Any) -> int:
        """Sets of threads and of futures are gone through in the order in which they were made, not by addresses."""
        known = vars(self)
        if "made_as" not in known:
            known["made_as"] = next(BATON.count)
        return int(known["made_as"])

    from concurrent.futures import Future

    threading.Thread.__hash__ = Future.__hash__ = order  # type: ignore[assignment,method-assign]
    threading.Lock = threading._allocate_lock = Lock  # type: ignore[assignment,attr-defined]
    threading._CRLock = None  # type: ignore[attr-defined]
    functools.RLock = contextlib.nullcontext  # type: ignore[attr-defined]  # cached_property's: shared by all groups
    queue.SimpleQueue = queue._PySimpleQueue  # type: ignore[attr-defined,misc]
    threading.Thread.start = start  # type: ignore[method-assign]
    threading.Thread.join = join  # type: ignore[method-assign]
    threading.Thread.is_alive = is_alive  # type: ignore[method-assign]


def _body(thread: Any) -> None:
    thread._ident = _thread.get_ident()
    threading._active[thread._ident] = thread  # type: ignore[attr-defined]
    try:
        thread.run()
    finally:
        threading._active.pop(thread._ident, None)  # type: ignore[attr-defined]
