"""Runs on a cluster: queue one, see how it stands, stop it."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from infra.docker_engine import open_local
from infra.errors import HostError, RunError
from infra.ssh_folder import SshFolder
from provision.console import Say, size
from provision.engines.engine import Order, Started
from provision.engines.slurm import bundle, data, image, order, queue, submitting
from provision.engines.slurm.cluster import Cluster, ready
from provision.engines.slurm.queue import Queued
from provision.engines.slurm.submitting import Limits
from provision.runs.manifest import ENDED, Attempt, Manifest, RunState, Word
from provision.runs.standing import Standing
from provision.runs.store import AnyRun, whoami

_WAIT_S = 180.0
_LOOK_S = 1.0
BINDS = "binds.json"


@dataclass(frozen=True)
class Submission:
    """One time that a run was queued: the number of its first attempt, how often that was queued before, the job."""

    number: int
    turn: int
    job: str


@dataclass(frozen=True)
class State:
    """How a run stands on its cluster: `word` is the run's, or queued; `reason` why. `there`: a job of it is in the
    queue, so that what was interrupted goes on by itself."""

    word: str
    reason: str = ""
    job: str = ""
    node: str = ""
    attempt: int = 0
    there: bool = False

    @property
    def about(self) -> str:
        """How the run stands in more words than one, for a table."""
        if self.word in ("queued", "interrupted") and self.there:
            return f"in the queue as job {self.job}" + (f": {self.reason}" if self.reason else "")
        return f"job {self.job} on {self.node}" if self.node else self.reason


class Slurm:
    """One cluster."""

    def __init__(self, cluster: Cluster, place: SshFolder, say: Say) -> None:
        self.cluster, self.place, self.say = cluster, place, say

    @property
    def weights_folder(self) -> str:
        """Where trained weights lie on the cluster."""
        return f"{self.place.door.root}/weights"

    def bring(self, manifest: Manifest, folders: Mapping[str, Path]) -> dict[str, str]:
        """Bring image, data and code; what the container sees of these: {its place there: the key of a folder}."""
        known = ready(self.cluster)
        self.place.door.ask("make")
        if not image.is_there(self.place, manifest.digest, known.runtime):
            sent = image.bring(self.place, open_local(), manifest.image, manifest.digest, known.runtime)
            self.say(f"image {manifest.image}: {size(sent)} sent")
        return {f"/{kind}": data.bring(self.place, folder, kind, self.say) for kind, folder in folders.items()}

    def binds(self, run: AnyRun) -> dict[str, str]:
        """What of the run is on the cluster, as `bring` gave it when the run was queued last."""
        return dict(self.place.read_json(run.key("control", BINDS)) or {})

    def forget_binds(self, run: AnyRun, kinds: Sequence[str]) -> None:
        """The run's data or code is another one from now on."""
        left = {place: key for place, key in self.binds(run).items() if place.removeprefix("/") not in kinds}
        self.place.write_json(run.key("control", BINDS), left)

    # one run

    def submit(self, run: AnyRun, binds: Mapping[str, str], allowed: Limits, at: int | None = None) -> Submission:
        """Queue the next attempt of the run, from the snapshot of the iteration `at` (None: the newest; 0: from
        nothing). RunError where the run goes on already; the errors of `queue.put`."""
        submitting.refuse_longer(self.cluster, allowed)
        number, last = run.next_number(), self.refuse_going(run)
        turn = last.turn + 1 if last is not None and last.number == number else 0
        self.place.delete([run.key("control", "stop")])
        self.place.write_json(run.key("control", BINDS), binds)
        key = order.key_of(run.id, number, turn)
        self.place.write(key, json.dumps(self.order_of(run, binds, allowed, number, at, run.attempts())).encode())
        root, here = self.place.door.root, bundle.bring(self.place)
        name, output = _name(run, number, turn), f"{root}/{run.key('control')}/job-%j.txt"
        words = submitting.words(self.cluster, name, run.manifest.gpus, allowed, output)
        note = run.key("control", f"job-{number:03d}-{turn}.json")
        job = queue.put(self.cluster, self.place, name, words, submitting.script(here, root, key), note)
        return Submission(number, turn, job)

    def start(self, run: AnyRun, wanted: Order) -> Started:
        """Queue the next attempt with what of the run is on the cluster already. The errors of `submit`."""
        self.submit(run, self.binds(run), Limits(), wanted.at)
        return Started(run.id, self.cluster.name)

    def is_queued(self, run: AnyRun) -> bool:
        """Whether the run was ever queued, noted or not."""
        return self.newest(run) is not None or bool(queue.by_name(self.place.door, _name(run, 1, 0)))

    def refuse_going(self, run: AnyRun) -> Submission | None:
        """The last time that the run was queued. RunError where that job is in the queue still."""
        last = self.newest(run)
        if last is not None and queue.look(self.place.door, last.job).word != "gone":
            raise RunError(
                f"{run.id} goes on already: job {last.job} of {self.cluster.name}",
                f"follow it: {self.place.hint(f'logs {run.id} -f')}",
            )
        return last

    def newest(self, run: AnyRun) -> Submission | None:
        """The last time that the run was queued; None where it never was."""
        found = []
        for stored in self.place.objects(run.key("control", "job-")):
            name = stored.key.rpartition("/")[2]
            if name.endswith(".json"):
                number, _, turn = name.removeprefix("job-").removesuffix(".json").partition("-")
                found.append((int(number), int(turn), stored.key))
        if not found:
            return None
        number_of, turn_of, key = max(found)
        job = queue.noted(self.place, key)
        return None if job is None else Submission(number_of, turn_of, job)

    def order_of(
        self, run: AnyRun, binds: Mapping[str, str], allowed: Limits, number: int, at: int | None,
        attempts: Sequence[Attempt],
    ) -> dict[str, Any]:  # fmt: skip
        """What a job of the run is told to do."""
        known, partition = ready(self.cluster), self.cluster.chosen()
        limit = round(allowed.hours * 3600) if allowed.hours else partition.seconds if partition else 0
        mounts = [(key, place) for place, key in binds.items()]
        name = self.cluster.name
        return order.compose(run.manifest, name, known.runtime, allowed, number, mounts, attempts, at, limit)

    # how it stands

    def state(self, run: AnyRun) -> Standing:
        """How the run stands. Its snapshots are not read. What is queued again is about to start."""
        how = self.how(run)
        told, attempts = run.state(), run.attempts()
        if how.word == "lost":
            return Standing(told, attempts, silent=True) if attempts else Standing(RunState(state="lost"))
        if how.there and told.state == "interrupted":
            return Standing(RunState(), attempts)
        return Standing(told, attempts)

    def how(self, run: AnyRun) -> State:
        """How the run stands: the runner's word, and the queue's where a job is there."""
        last = self.newest(run)
        if last is None:
            return State("lost", "it was never queued")
        job, told = queue.look(self.place.door, last.job), run.state()  # in this order: its last word comes first
        return standing(told.state, told.attempt, told.reason or "", told.exit_code, job, self._given_up(run))

    def _given_up(self, run: AnyRun) -> str:
        ends = run.ends()
        return ends[-1].reason if ends and ends[-1].word == "given up" else ""

    def stop(self, run: AnyRun, wait_seconds: float = _WAIT_S) -> Word:
        """Let the training save its work and end; how the run stands then. RunError where it does not run, HostError
        where it does not end in time."""
        now, last = self.how(run), self.newest(run)
        if last is None or not now.there:
            raise RunError(f"{run.id} does not run: it is {now.word}", f"all runs: {self.place.hint('runs')}")
        self.ask_to_stop(run)
        return self._ended(run, last, time.monotonic() + wait_seconds)

    def ask_to_stop(self, run: AnyRun) -> None:
        """Let the job's runner see that somebody asks the training to save and end."""
        self.place.write(run.key("control", "stop"), whoami().encode())

    def _ended(self, run: AnyRun, last: Submission, until: float, now: Callable[[], float] = time.monotonic) -> Word:
        while True:
            job = queue.look(self.place.door, last.job)
            if job.word == "waiting":  # nothing of it runs: it needs no time to save
                queue.cancel(self.place.door, last.job)
                self._mark_stopped(run)
            if job.word == "gone":
                return self.state(run).word
            if now() > until:
                raise HostError(
                    f"{run.id} has not ended yet: job {last.job} is {job.state}",
                    f"wait, then: {self.place.hint(f'stop {run.id}')}; or end it unsaved: "
                    f"{self.cluster.ssh} scancel {last.job}",
                )
            time.sleep(_LOOK_S)

    def _mark_stopped(self, run: AnyRun) -> None:
        told = run.state()
        if told.state not in ENDED:
            value = {"state": "stopped", "attempt": told.attempt, "machine": self.cluster.name}
            self.place.write(run.key("state.json"), json.dumps(value).encode())


def _name(run: AnyRun, number: int, turn: int) -> str:
    """The name of the job, by which it is found where nobody noted it."""
    return f"{run.id}.{number}-{turn}"


def standing(told: str, attempt: int, reason: str, code: int | None, job: Queued, given_up: str) -> State:
    """The run's word and the queue's as one. The runner's word holds where it says that all is over."""
    there = job.word != "gone"
    state = partial(State, job=job.job, node=job.node, attempt=attempt, there=there)
    if told in ENDED:
        return replace(state(told, reason or (f"exit code {code}" if code else "")), there=False)
    if job.word == "waiting":
        return state("interrupted" if attempt else "queued", f"Slurm says {job.reason}" if job.reason else "")
    if told == "interrupted":
        return state(told, reason if there else given_up or reason)
    return state(told) if there else state("lost", f"job {job.job} is gone and left no word")
