"""Runs on a cluster: queue one, see how it stands, stop it."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.docker_engine import open_local
from infra.errors import HostError, RunError
from infra.ssh_folder import SshFolder
from provision.console import Say
from provision.engines.slurm import bundle, data, image, order, queue, submitting
from provision.engines.slurm.cluster import Cluster, ready
from provision.engines.slurm.queue import Queued
from provision.engines.slurm.submitting import Limits
from provision.runs import weights
from provision.runs.manifest import Attempt, Manifest
from provision.runs.store import AnyRun, whoami

_WAIT_S = 180.0
_LOOK_S = 1.0


@dataclass(frozen=True)
class Submission:
    """One time that a run was queued: the number of its first attempt, how often that was queued before, the job."""

    number: int
    turn: int
    job: str

    @property
    def name(self) -> str:
        return f"{self.number:03d}-{self.turn}"


@dataclass(frozen=True)
class State:
    """How a run stands on its cluster: `word` is the run's (queued, starting, running, interrupted, finished, failed,
    stopped, lost, given up); `reason` why."""

    word: str
    reason: str = ""
    job: str = ""
    node: str = ""
    attempt: int = 0


class Slurm:
    """One cluster."""

    def __init__(self, cluster: Cluster, place: SshFolder, say: Say) -> None:
        self.cluster, self.place, self.say = cluster, place, say

    def bring(self, manifest: Manifest, folders: dict[str, Path]) -> list[tuple[str, str]]:
        """Bring all that attempts need: image, runner, data and code, weights; what the container sees of it."""
        known = ready(self.cluster)
        self.place.door.ask("make")
        if not image.is_there(self.place, manifest.digest, known.runtime):
            sent = image.bring(self.place, open_local(), manifest.image, manifest.digest, known.runtime)
            self.say(f"image {manifest.image}: {sent / 1e6:.0f} MB sent")
        binds = [(data.bring(self.place, folder, kind, self.say), f"/{kind}") for kind, folder in folders.items()]
        if manifest.rendered.weights:
            root = f"{self.place.door.root}/weights"
            weights.fetch(self.place.door.shell, manifest.rendered.weights, manifest.weights, self.say, root)
        return binds

    def start(
        self, run: AnyRun, binds: Sequence[tuple[str, str]], allowed: Limits, at: int | None = None
    ) -> Submission:
        """Queue the next attempt of the run. RunError where one goes on already; the errors of `queue.put`."""
        number, last = run.next_number(), self.newest(run)
        if last is not None and queue.look(self.place.door, last.job).word != "gone":
            raise RunError(
                f"{run.id} goes on already: job {last.job} of {self.cluster.name}",
                f"follow it: {self.place.hint(f'logs {run.id} -f')}",
            )
        turn = last.turn + 1 if last is not None and last.number == number else 0
        self.place.delete([run.key("control", "stop")])
        made = self._order(run, binds, allowed, number, at)
        key = order.key_of(run.id, number, turn)
        self.place.write(key, json.dumps(made).encode())
        root, here = self.place.door.root, bundle.bring(self.place)
        name, output = f"{run.id}.{number}-{turn}", f"{root}/{run.key('control')}/job-%j.txt"
        words = submitting.words(self.cluster, name, run.manifest.gpus, allowed, output)
        note = run.key("control", f"job-{number:03d}-{turn}.json")
        job = queue.put(self.cluster, self.place, name, words, submitting.script(here, root, key), note)
        return Submission(number, turn, job)

    def sweep(
        self, sweep_id: str, runs: Sequence[AnyRun], binds: Sequence[tuple[str, str]], allowed: Limits, at_once: int
    ) -> str:
        """Queue many runs as one array, of which so many run at once: its job. All runs are as large as the first."""
        objects = []
        for task, run in enumerate(runs):
            made = self._order(run, binds, allowed, 1, None, ())
            objects.append((f"sweeps/{sweep_id}/orders/{task}.json", json.dumps(made).encode()))
            note = json.dumps({"sweep": sweep_id, "task": task}).encode()
            objects.append((run.key("control", "job-001-0.json"), note))
        self.place.write_all(objects)
        root, here = self.place.door.root, bundle.bring(self.place)
        output, array = f"{root}/sweeps/{sweep_id}/job-%A-%a.txt", f"0-{len(runs) - 1}%{at_once}"
        words = submitting.words(self.cluster, sweep_id, runs[0].manifest.gpus, allowed, output, array)
        script = submitting.script(here, root, f"sweeps/{sweep_id}/orders/%d.json")
        return queue.put(self.cluster, self.place, sweep_id, words, script, queue.sweep_note(sweep_id))

    def stop_sweep(self, sweep_id: str, runs: Sequence[AnyRun]) -> None:
        """Take out of the queue what has not begun, and let the others save and end. It waits for neither."""
        job = queue.noted(self.place, queue.sweep_note(sweep_id))
        self.place.write_all([(run.key("control", "stop"), whoami().encode()) for run in runs])
        if job is not None:
            queue.cancel(self.place.door, job, "--state=PENDING")

    def _order(
        self,
        run: AnyRun,
        binds: Sequence[tuple[str, str]],
        allowed: Limits,
        number: int,
        at: int | None,
        attempts: Sequence[Attempt] | None = None,
    ) -> dict[str, Any]:
        known = ready(self.cluster)
        partition = self.cluster.chosen()
        limit = round(allowed.hours * 3600) if allowed.hours else partition.seconds if partition else 0
        return order.compose(
            run.manifest,
            self.cluster.name,
            known.runtime,
            allowed,
            number,
            binds,
            run.attempts() if attempts is None else attempts,
            at,
            limit,
        )

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
        return Submission(number_of, turn_of, queue.noted(self.place, key) or "")

    def state(self, run: AnyRun) -> State:
        """How the run stands: the runner's word, and the queue's where a job is there."""
        last, told = self.newest(run), run.state()
        if last is None:
            return State("starting", "it is not queued yet")
        job = queue.look(self.place.door, last.job)
        return standing(told.state, told.attempt, told.reason or "", told.exit_code, job, self._given_up(run))

    def _given_up(self, run: AnyRun) -> str:
        ends = run.ends()
        return ends[-1].reason if ends and ends[-1].word == "given up" else ""

    def stop(self, run: AnyRun, wait_seconds: float = _WAIT_S) -> State:
        """Let the training save and end; how it stands then. HostError where it does not end in time."""
        last = self.newest(run)
        if last is None:
            return self.state(run)
        self.place.write(run.key("control", "stop"), whoami().encode())
        return self._ended(run, last, time.monotonic() + wait_seconds)

    def _ended(self, run: AnyRun, last: Submission, until: float, now: Callable[[], float] = time.monotonic) -> State:
        while True:
            job = queue.look(self.place.door, last.job)
            if job.word == "waiting":  # nothing of it runs: it needs no time to save
                queue.cancel(self.place.door, last.job)
                self._mark_stopped(run)
            if job.word == "gone":
                return self.state(run)
            if now() > until:
                raise HostError(
                    f"{run.id} has not ended yet: job {last.job} is {job.state}",
                    f"wait, then: {self.place.hint(f'stop {run.id}')}; or end it unsaved: "
                    f"{self.cluster.ssh} scancel {last.job}",
                )
            time.sleep(_LOOK_S)

    def _mark_stopped(self, run: AnyRun) -> None:
        told = run.state()
        if told.state not in ("finished", "failed", "stopped"):
            value = {"state": "stopped", "attempt": told.attempt, "machine": self.cluster.name}
            self.place.write(run.key("state.json"), json.dumps(value).encode())


def standing(told: str, attempt: int, reason: str, code: int | None, job: Queued, given_up: str) -> State:
    """The run's word and the queue's as one. The runner's word holds where it says that all is over."""
    if told in ("finished", "failed", "stopped"):
        return State(told, reason or (f"exit code {code}" if code else ""), job.job, job.node, attempt)
    if job.word == "waiting":
        why = f"Slurm: {job.reason}" if job.reason else ""
        return State(
            "queued" if not attempt else "interrupted",
            f"{why}; it is queued again" if attempt else why,
            job.job,
            "",
            attempt,
        )
    if job.word == "running":
        return State(
            "running" if told == "running" else "starting" if told == "starting" else told,
            "",
            job.job,
            job.node,
            attempt,
        )
    if told == "interrupted":
        return State("interrupted", given_up or reason, job.job, "", attempt)
    return State("lost", f"job {job.job} is gone and left no word", job.job, "", attempt)
