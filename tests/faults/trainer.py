"""A worker of the sweep that trains: its cloud has one machine, a system container, which many faults share.

What must hold, by Docker on the host, the host's files and the bucket: a run has one container at most; none is there
that the host's guard does not know; a command that says it is done, is; the machine stays, and nothing is made beside
it. After that, without faults: what trains can be stopped, and its work is in the bucket; a run without a container
goes on with `resume`, or a new `train` works where that refuses. When the last fault is tried, one `down` leaves
nothing.
"""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from infra.errors import RunError
from tests.faults import clients, hosts
from tests.faults.kinds import NAME, RUN, TRAININGS, UP, Call, Step, Tried, step_of
from tests.faults.oracle import ROOT, Things
from tests.faults.worker import Worker, counted, words_of

HOST = "host"
FIRST_S = 400.0  # the first training brings the image
AGAIN = ("train", *TRAININGS[0].words[1:])


class Trainer(Worker):
    """See the module's docstring."""

    def open(self) -> None:
        subprocess.run([sys.executable, "-m", "provision", "image", "build", "caffe-debian"], cwd=ROOT, check=True)
        super().open()
        self.home = self.folder / f"{self.world.name}-laptop"
        self.home.mkdir()
        self.machine()
        self._good(AGAIN, HOST, self.home, seconds=FIRST_S)
        self.host.inside(hosts.CLEAR)

    def machine(self) -> None:
        """The machine, made anew."""
        self._good(UP, HOST, self.home, seconds=FIRST_S)
        self.host, self.base = hosts.host_of(self.world), self.world.things()
        self.whole = True

    def calls(self, step: Step) -> list[Call]:
        """The laptop's AWS calls of the step without a fault; RuntimeError where it fails."""
        before = hosts.runs(self.world)
        filled = self._before(step)
        self.world.ask("calls", {"forget": True})
        self._good(filled, HOST, self.home)
        found = counted(self.world.ask("calls", {"forget": True}))
        clients.warm_clients(self.cloud, {call.service for call in found})
        if wrong := [*self._now(step, 0, before)]:
            raise RuntimeError(f"{step.name} without a fault: {wrong}")
        self.host.inside(hosts.CLEAR)
        return turned_twice(found)

    def _before(self, step: Step) -> tuple[str, ...]:
        """What the step needs; its words, in which the training's id stands for RUN."""
        before = hosts.runs(self.world)
        for words in step.before:
            self._good(words, HOST, self.home)
        if not step.before:
            return step.words
        self.host.inside(hosts.TRAINS)
        (run,) = hosts.runs(self.world) - before
        return tuple(run if word == RUN else word for word in step.words)

    def attempt(self, fault: Any) -> list[Tried]:
        """Try one fault. The machine is used again where nothing was wrong; else the next fault has another."""
        tried = Tried(fault, self.world.name)
        begun = time.monotonic()
        try:
            if not self.whole:
                self.machine()
            self._attempt_training(step_of(fault.step), tried)
            self.host.inside(hosts.CLEAR)
        except Exception as error:
            tried.wrong.append(f"the sweep itself failed: {error!r}")
        if tried.wrong or fault.last:
            self.whole = False
            tried.wrong += self._end(fault.without)
        tried.seconds = time.monotonic() - begun
        return [tried]

    def _attempt_training(self, step: Step, tried: Tried) -> None:
        before = hosts.runs(self.world)
        filled = self._before(step)
        known = self.world.launched()
        client = self._meet(Step(step.name, filled), tried, HOST, self.home)
        tried.code, said = client.code, client.said
        if "Traceback (most recent call last)" in said:
            tried.wrong.append(f"a traceback\n{said[-3000:]}")
        tried.wrong += self._now(step, client.code, before)
        new = hosts.runs(self.world) - before
        tried.wrong += self._goes_on(next(iter(new), ""))
        tried.wrong += self._same(known)

    def _now(self, step: Step, code: int | None, before: frozenset[str]) -> Iterator[str]:
        """What is wrong with the containers when the command has ended."""
        there = self.host.containers()
        for run in {one.run for one in there}:
            mine = [one.name for one in there if one.run == run]
            if len(mine) > 1:
                yield f"{run} has {len(mine)} containers: {', '.join(mine)}"
        yield from (f"the guard does not know {one.name}" for one in there if not one.guarded)
        new = hosts.runs(self.world) - before
        yield from (f"{one.name} is of no run in the bucket" for one in there if one.run not in new)
        if code == 0 and step.name == "train" and len(there) != 1:
            yield f"`train` says it is done, and there are {len(there)} containers"
        if code == 0 and step.name == "stop":
            yield from (self._stopped(run) for run in new if self._stopped(run))

    def _stopped(self, run: str) -> str:
        """Why a run is not stopped with its work in the bucket; "" where it is."""
        now = hosts.state(self.world, run)
        if now not in ("stopped", "finished"):
            return f"{run} should be stopped: it is {now or 'unknown'}"
        if any(one.trains for one in self.host.containers() if one.run == run):
            return f"{run} is {now}, and its container runs"
        if hosts.saved(self.world, run) or not self.host.trained(run):
            return ""
        return f"{run} is {now}, and no snapshot is in the bucket"

    def _goes_on(self, run: str) -> Iterator[str]:
        """Without a fault: what is there can be stopped, what is not there can be started."""
        if any(one.run == run for one in self.host.containers()):
            client = self._start(("stop", run), HOST, self.home)
            if client.wait() not in (0, RunError.exit_code):
                yield f"`stop` without a fault: exit {client.code}\n{client.said[-2000:]}"
            elif wrong := self._stopped(run):
                yield f"{wrong}\n{client.said[-2000:]}"
        elif not (run and self._ended(("resume", run, "--on", NAME, "--detach")) == 0):
            code = self._ended(AGAIN)
            if code != 0:
                yield f"neither `resume` nor a new `train` works: exit {code}"
        if sum(one.trains for one in self.host.containers()) > 1:
            yield "two containers train"

    def _ended(self, words: Sequence[str]) -> int | None:
        return self._start(words, HOST, self.home).wait()

    def _same(self, known: frozenset[str]) -> Iterator[str]:
        """The machine lives, and there is nothing else."""
        now = self.world.things()
        if now != self.base:
            yield f"gone: {words_of(self.base - now)}; new: {words_of(now - self.base)}"
        if more := self.world.launched() - known:
            yield f"instances were launched: {', '.join(sorted(more))}"

    def _end(self, without: str) -> Iterator[str]:
        """`down` leaves nothing."""
        yield from self._recover(HOST, self.home, without)
        left: Things = self.world.things()
        if left:
            yield f"{words_of(left)} after `down`"
            self._start(("down", "--all"), "", self.home).wait()


def turned_twice(calls: Sequence[Call]) -> list[Call]:
    """The calls, those of a loop's third and later turns left out: they wait for the same, in the same place."""
    kept: list[Call] = []
    for call in calls:
        kept.append(call)
        for size in range(2, 10):
            last = [one.action for one in kept[-3 * size :]]
            if len(last) == 3 * size and last[:size] == last[size : 2 * size] == last[2 * size :]:
                del kept[-size:]
                break
    return kept
