"""Many runs as one array of a cluster: queued by few questions, and looked at by few, however many there are.

sweeps/ID/items.json            what was asked for (`runs.sweeps`)
sweeps/ID/orders-T/I.json       the order of the task I; T: how often the sweep was queued before
sweeps/ID/job-T.json            the array's job
sweeps/ID/job-JOB-I.txt         what the runner of a task printed
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from infra.errors import DamagedError, RunError, UsageError
from infra.ssh_folder import SshFolder
from infra.store import Stored, decoded
from provision.engines.slurm import bundle, queue, submitting
from provision.engines.slurm.engine import BINDS, Slurm, standing
from provision.engines.slurm.queue import Queued
from provision.engines.slurm.submitting import Limits
from provision.runs import notes, trust
from provision.runs.manifest import Manifest, RunState, plain, read_manifest
from provision.runs.store import ATTEMPT, AnyRun, number_of, whoami

_JOB = re.compile(r"control/job-(\d+)-(\d+)\.json")
_TURN = re.compile(r"job-(\d+)\.json")


@dataclass(frozen=True)
class _Known:
    """What a run's folder has: the number of its last attempt; the number and turn of the last time it was queued."""

    attempt: int = 0
    queued: tuple[int, int] = (0, -1)


def runs(place: SshFolder, manifests: Sequence[Manifest], folders: tuple[str, ...]) -> list[AnyRun]:
    """The runs of a sweep, by few questions; manifests that are not there yet are written, with their sums in this
    laptop's notes. RunError where one that is there is not this laptop's."""
    there = place.read_all([f"runs/{manifest.id}/manifest.json" for manifest in manifests])
    found, objects = [], []
    for manifest in manifests:
        run = AnyRun(place, manifest.id)
        key = run.key("manifest.json")
        raw = there.get(key) or json.dumps(plain(manifest), indent=1, sort_keys=True).encode()
        run.digest = hashlib.sha256(raw).hexdigest()
        if key in there:
            run.manifest = read_manifest(decoded(raw, place.url(key)), f"{run.id}: manifest")
            trust.check(run)
        else:
            run.manifest, run.checked = manifest, True
            notes.begin(place, run.id, run.digest, folders)
            objects.append((key, raw))
        found.append(run)
    place.write_all(objects)
    for run in found:
        if run.key("manifest.json") not in there:
            notes.settle(place, run.id, run.digest)
    return found


def turns(place: SshFolder, sweep_id: str) -> int:
    """How often the sweep was queued."""
    below = f"sweeps/{sweep_id}/"
    found = [_TURN.fullmatch(stored.key.removeprefix(below)) for stored in place.objects(f"{below}job-")]
    return max((int(match[1]) + 1 for match in found if match), default=0)


def submit(
    engine: Slurm, sweep_id: str, several: Sequence[AnyRun], binds: Mapping[str, str], allowed: Limits, at_once: int,
    turn: int = 0,
) -> str:  # fmt: skip
    """Queue the runs as one array, of which so many run at once: its job. All are as large as the first. Said again, it
    queues nothing twice. The errors of `queue.put`."""
    submitting.refuse_longer(engine.cluster, allowed)
    place, known = engine.place, _known(engine.place)
    objects = []
    for task, run in enumerate(several):
        seen = known.get(run.id, _Known())
        number = seen.attempt + 1
        last = seen.queued[1] + 1 if seen.queued[0] == number else 0
        made = engine.order_of(run, binds, allowed, number, None, ())
        note = json.dumps({"sweep": sweep_id, "turn": turn, "task": task}).encode()
        objects.append((f"sweeps/{sweep_id}/orders-{turn}/{task}.json", json.dumps(made).encode()))
        objects.append((run.key("control", f"job-{number:03d}-{last}.json"), note))
        objects.append((run.key("control", BINDS), json.dumps(binds).encode()))
    if queue.noted(place, queue.sweep_note(sweep_id, turn)) is None:
        place.delete([run.key("control", "stop") for run in several])
        place.write_all(objects)
    root, here = place.door.root, bundle.bring(place)
    output, array = f"{root}/sweeps/{sweep_id}/job-%A-%a.txt", f"0-{len(several) - 1}%{at_once}"
    name = f"{sweep_id}.{turn}"
    words = submitting.words(engine.cluster, name, several[0].manifest.gpus, allowed, output, array)
    script = submitting.script(here, root, f"sweeps/{sweep_id}/orders-{turn}/%d.json")
    return queue.put(engine.cluster, place, name, words, script, queue.sweep_note(sweep_id, turn))


def _known(place: SshFolder) -> dict[str, _Known]:
    """What all runs there have, by one listing."""
    found: dict[str, list[Stored]] = {}
    for stored in place.objects("runs/"):
        found.setdefault(stored.key.split("/")[1], []).append(stored)
    return {run_id: _of(f"runs/{run_id}/", objects) for run_id, objects in found.items()}


def _of(prefix: str, objects: Sequence[Stored]) -> _Known:
    names = [stored.key.removeprefix(prefix) for stored in objects]
    jobs = [(int(match[1]), int(match[2])) for match in map(_JOB.fullmatch, names) if match]
    attempts = [number_of(name) for name in names if ATTEMPT.fullmatch(name)]
    return _Known(max(attempts, default=0), max(jobs, default=(0, -1)))


def words(engine: Slurm, sweep_id: str, run_ids: Sequence[str]) -> dict[str, str]:
    """The word of each of these runs of the sweep, by the runners' last words and by the queue."""
    place = engine.place
    told = place.read_all([f"runs/{run_id}/state.json" for run_id in run_ids])
    jobs = _tasks(engine, sweep_id)
    found = {}
    for run_id in run_ids:
        state = _state(told.get(f"runs/{run_id}/state.json"))
        word = standing(state.state, state.attempt, "", None, jobs.get(run_id, Queued("", "gone")), "").word
        found[run_id] = "waiting" if word == "queued" or (word == "lost" and not state.attempt) else word
    return found


def _state(raw: bytes | None) -> RunState:
    try:
        return msgspec.json.decode(raw, type=RunState) if raw else RunState()
    except msgspec.DecodeError:
        return RunState()


def _tasks(engine: Slurm, sweep_id: str) -> dict[str, Queued]:
    """The task of each run in the newest array, as the queue has it."""
    place, turn = engine.place, turns(engine.place, sweep_id) - 1
    job = queue.noted(place, queue.sweep_note(sweep_id, turn)) if turn >= 0 else None
    if job is None:
        return {}
    below = f"sweeps/{sweep_id}/orders-{turn}/"
    orders = place.read_all([stored.key for stored in place.objects(below)])
    named = {key.removeprefix(below).removesuffix(".json"): str(json.loads(raw)["run"]) for key, raw in orders.items()}
    tasks = queue.tasks(place.door, job)
    return {named[task]: queued for task, queued in tasks.items() if task in named}


def works(engine: Slurm, sweep_id: str) -> bool:
    """Whether anything of the sweep is in the queue."""
    return any(queued.word != "gone" for queued in _tasks(engine, sweep_id).values())


def stop(engine: Slurm, sweep_id: str, run_ids: Sequence[str]) -> None:
    """Take out of the queue what has not begun, and let the others save and end. It waits for neither."""
    place, turn = engine.place, turns(engine.place, sweep_id) - 1
    job = queue.noted(place, queue.sweep_note(sweep_id, turn)) if turn >= 0 else None
    place.write_all([(f"runs/{run_id}/control/stop", whoami().encode()) for run_id in run_ids])
    if job is not None:
        queue.cancel(place.door, job, "--state=PENDING")


def refuse_going(engine: Slurm, sweep_id: str) -> None:
    """RunError where the sweep is in the queue still."""
    if works(engine, sweep_id):
        raise RunError(f"{sweep_id} goes on already", f"how it stands: provision sweep status {sweep_id}")


def binds_of(engine: Slurm, run_ids: Sequence[str]) -> dict[str, str]:
    """The data and code of the sweep's runs. UsageError where nothing of it was ever queued."""
    found = engine.place.read(f"runs/{run_ids[0]}/control/{BINDS}")
    if found is None:
        raise UsageError("the data of that sweep is not on the cluster", "start it again: provision sweep start …")
    try:
        return dict(json.loads(found))
    except ValueError as error:
        raise DamagedError(f"{run_ids[0]}: what is known of its data is damaged", "start the sweep again") from error
