"""The process that works on a sweep on this laptop: as many runs at once as it may, each with a process of its own.

It has the sweep's lock while it lives. Where it is killed, its runs go on, and `sweep resume` takes up the rest. A run
that was interrupted goes on from its newest snapshot; one that failed by itself is not repeated.
"""

import secrets
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from infra import shell
from infra.errors import BusyError, ProvisionError
from provision import console
from provision.engines.here import begin, place, runner
from provision.engines.here.engine import Here, refusal, spawn
from provision.engines.here.runner import Ending
from provision.runs import inputs, sweeps
from provision.runs.store import AnyRun, whoami
from provision.runs.sweeps import Item, Result, Sweep

WORD = "sweep"  # what the process is started with
_LOOK_S = 0.5
_BUSY_S = 10.0  # until somebody asks again for GPUs that others hold
_BARREN = 5  # attempts in a row that bring no newer snapshot, and the run is given up


def main(sweep_id: str) -> int:
    """Work on the sweep until nothing of it is left to begin; whether somebody else does, as an exit code."""
    ending = Ending()
    with place.held(sweep_id) as mine:
        if mine:
            Work(sweeps.find(place.store(), sweep_id)).until_done(ending)
    return 0


class Work:
    """A sweep that is worked on: what is left of it, and which runs are under way."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep, self.store, self.engine = sweep, place.store(), Here()
        self.known = sweeps.ended(self.store, sweep.id)
        self.waiting = deque(item for item in sweep.items if item.run not in self.known)
        self.working: dict[str, Item] = {}
        self.starts: dict[str, list[int]] = {}  # of each run the newest snapshot's iteration at each of its starts
        self.pids: dict[str, int] = {}
        self.not_before = 0.0

    def until_done(self, ending: Ending) -> None:
        """Begin what there is room for, and write down what has ended. It ends early where somebody asks it to."""
        for item in [item for item in self.waiting if place.is_held(item.run)]:  # of a process that was killed
            self._take(item)
        while self.waiting or self.working:
            for item in self._over():
                self._settle(item)
            halted = ending.asked or self._stopped()
            if halted and not self.working:
                return
            if not halted:
                self._begin_some()
            time.sleep(_LOOK_S)

    def _stopped(self) -> bool:
        return self.store.head(sweeps.key(self.sweep.id, "stop")) is not None

    def _take(self, item: Item) -> None:
        self.waiting.remove(item)
        self.working[item.run] = item

    def _over(self) -> list[Item]:
        """Those that nobody works on any more."""
        return [item for run, item in self.working.items() if self._is_over(run)]

    def _is_over(self, run: str) -> bool:
        if run in self.pids and not shell.has_ended(self.pids[run]):
            return False
        return not place.is_held(run) and not self.engine.state(AnyRun(self.store, run)).goes_on

    def _begin_some(self) -> None:
        while self.waiting and len(self.working) < self.sweep.at_once and time.monotonic() >= self.not_before:
            item = self.waiting[0]
            self._take(item)
            try:
                self._begin(item)
            except ProvisionError as error:
                self._give_up(item, error)

    def _begin(self, item: Item) -> None:
        """Start the process of a run, whose manifest is written when its turn comes first."""
        run = AnyRun(self.store, item.run)
        if self.store.head(run.key("manifest.json")) is None:
            manifest = sweeps.manifest_of(self.sweep, item)
            run.write_manifest(manifest, inputs.folders_of(manifest.data, manifest.project))
        if run.manifest.project.kind:
            begin.copy_code(code_of(self.sweep), run)
        newest = max((one.iteration for one in run.snapshots()), default=0)
        self.starts.setdefault(item.run, []).append(newest)
        self.store.delete([run.key("control", runner.REFUSED)])
        self.pids[item.run] = spawn(item.run, f"{whoami()} {secrets.token_hex(4)}")

    def _settle(self, item: Item) -> None:
        """What has become of a run whose process is over: it has ended, or goes on from its newest snapshot."""
        run = AnyRun(self.store, item.run)
        del self.working[item.run]
        word = self.engine.state(run).word
        if sweeps.is_over(word):
            self._note(item, sweeps.result(run, word))
            return
        if not run.attempt_keys():
            error = refusal(run)
            if not isinstance(error, BusyError):
                self._give_up(item, error)
                return
            self.not_before = time.monotonic() + _BUSY_S
        if self._barren(item):
            self._note(item, sweeps.result(run, "failed"))
        else:
            self.waiting.appendleft(item)

    def _barren(self, item: Item) -> bool:
        starts = self.starts.get(item.run, [])
        return len(starts) > _BARREN and len(set(starts[-_BARREN - 1 :])) == 1

    def _give_up(self, item: Item, error: ProvisionError) -> None:
        console.line(f"{item.run}: {error}")
        self.working.pop(item.run, None)
        self._note(item, Result("failed"))

    def _note(self, item: Item, found: Result) -> None:
        self.known[item.run] = found
        sweeps.write_ended(self.store, self.sweep.id, self.known)


def code_of(sweep: Sweep) -> Path:
    """The sweep's own copy of the user's code, from which each run gets its own."""
    return Path(place.store().url(sweeps.key(sweep.id, "code")))


def start(sweep_id: str) -> None:
    """Let a process work on the sweep, and wait until it does. One that somebody works on already is left to them."""
    pid = spawn(sweep_id, WORD)
    while not place.is_held(sweep_id) and not shell.has_ended(pid):
        time.sleep(_LOOK_S / 10)


def stop(sweep: Sweep) -> None:
    """Let nothing more begin, and all that trains save its work and end."""
    store, engine = place.store(), Here()
    store.write(sweeps.key(sweep.id, "stop"), b"")
    told: set[tuple[str, int]] = set()
    while True:
        going = list(_going(engine, sweep))
        for run, number in going:
            if number and (run.id, number) not in told:
                told.add((run.id, number))
                engine.ask_to_stop(run, number)
        if not going and not place.is_held(sweep.id):
            return
        time.sleep(_LOOK_S)


def _going(engine: Here, sweep: Sweep) -> Iterable[tuple[AnyRun, int]]:
    """Its runs that somebody works on, with the number of the attempt."""
    store = place.store()
    begun, known = set(store.folders("runs/")), sweeps.ended(store, sweep.id)
    for item in sweep.items:
        if item.run in begun and item.run not in known:
            run = AnyRun(store, item.run)
            now = engine.state(run)
            if place.is_held(item.run) or (now.goes_on and now.attempt is not None):
                yield run, now.attempt.number if now.attempt is not None and now.goes_on else 0


def go_on(sweep: Sweep) -> list[str]:
    """Take up what is left: also what was stopped. The runs that are left."""
    store = place.store()
    store.delete([sweeps.key(sweep.id, "stop")])
    with place.held(sweep.id) as mine:
        known = sweeps.ended(store, sweep.id)
        left = {run: one for run, one in known.items() if one.state != "stopped"}
        if mine and left != known:
            sweeps.write_ended(store, sweep.id, left)
    start(sweep.id)
    return [item.run for item in sweep.items if item.run not in left]
