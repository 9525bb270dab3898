"""The cluster's queue: put a job in it once, look for it, take it out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from infra.errors import HostError, RunError
from infra.slurm_door import Door
from infra.ssh_folder import SshFolder
from provision.engines.slurm.cluster import Cluster
from provision.engines.slurm.submitting import refused

_WAITS = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD", "CONFIGURING")
_GOES = ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING", "PREEMPTED")


@dataclass(frozen=True)
class Queued:
    """A job as Slurm has it: `word` is waiting, running or gone; `state` Slurm's own word, `reason` why it waits, where
    Slurm says so; `node` where it runs."""

    job: str
    word: str
    state: str = ""
    reason: str = ""
    node: str = ""


def put(cluster: Cluster, place: SshFolder, name: str, words: Sequence[str], script: bytes, note: str) -> str:
    """Queue a job, unless one of that name is in the queue or was noted: its id. `note`: the key where that is written.

    The errors of `refused`; then nothing is queued. RunError where somebody else queued it at the same time.
    """
    if (known := noted(place, note)) is not None:
        return known
    if there := by_name(place.door, name):  # whoever put it there was killed before he noted it
        return _note(place, note, there[0])
    try:
        done = place.door.run(words, stdin=script, again=False)
    except HostError:  # the line broke: before Slurm took the job, or after
        if there := by_name(place.door, name):
            return _note(place, note, there[0])
        raise
    job = done.out.strip().splitlines()[-1].partition(";")[0] if done.ok and done.out.strip() else ""
    if not job.isdigit():
        raise refused(cluster, done.err or done.out)
    first = _note(place, note, job)
    if first != job:
        place.door.run(["scancel", job])
        raise RunError(
            f"somebody else has just queued it as job {first}",
            f"all runs: {place.hint('runs')}",
        )
    return job


def noted(place: SshFolder, note: str) -> str | None:
    """The id that is written down there; that of a sweep's task is told by its sweep."""
    found = place.read_json(note)
    if found is None:
        return None
    if "sweep" not in found:
        return str(found["job"])
    whole = noted(place, sweep_note(found["sweep"], found["turn"]))
    return None if whole is None else f"{whole}_{found['task']}"


def sweep_note(sweep_id: str, turn: int) -> str:
    """Where the array of a sweep is noted; `turn`: how often it was queued before."""
    return f"sweeps/{sweep_id}/job-{turn}.json"


def _note(place: SshFolder, note: str, job: str) -> str:
    if place.write_new(note, json.dumps({"job": job}).encode()):
        return job
    return noted(place, note) or job


def by_name(door: Door, name: str) -> list[str]:
    """The ids of the user's jobs of that name that are in the queue. HostError where Slurm does not answer."""
    done = door.run(["squeue", "-h", "-n", name, "-o", "%A"])
    if not done.ok:
        raise _silent(door, done.err)
    return sorted(set(done.out.split()), key=int)


def look(door: Door, job: str) -> Queued:
    """How the job stands. HostError where Slurm does not answer."""
    return look_all(door, [job])[job]


def look_all(door: Door, jobs: Sequence[str]) -> dict[str, Queued]:
    """How jobs stand, by one question. HostError where Slurm does not answer."""
    found = {job: Queued(job, "gone") for job in jobs}
    if not jobs:
        return found
    done = door.run(["squeue", "-h", "-r", "-j", ",".join(jobs), "-o", "%i|%T|%r|%N"])
    if not done.ok and "Invalid job id" not in done.err:
        raise _silent(door, done.err)
    for one in map(_queued, done.out.splitlines()):
        found[one.job] = one
    return found


def _queued(line: str) -> Queued:
    job, state, reason, node = line.split("|")
    word = "waiting" if state in _WAITS else "running" if state in _GOES else "gone"
    return Queued(job, word, state, "" if reason in ("None", "(null)") else reason, node)


def tasks(door: Door, job: str) -> dict[str, Queued]:
    """How the tasks of an array stand that are in the queue, by their numbers. HostError where Slurm is silent."""
    done = door.run(["squeue", "-h", "-r", "-j", job, "-o", "%i|%T|%r|%N"])
    if not done.ok and "Invalid job id" not in done.err:
        raise _silent(door, done.err)
    found = [_queued(line) for line in done.out.splitlines()]
    return {one.job.partition("_")[2]: one for one in found}


def cancel(door: Door, job: str, *flags: str) -> None:
    """Take the job out of the queue, or end it; one that is gone is no error."""
    done = door.run(["scancel", *flags, job])
    if not done.ok and "Invalid job id" not in done.err:
        raise _silent(door, done.err)


def _silent(door: Door, said: str) -> HostError:
    last = (said.strip().splitlines() or ["it says nothing"])[-1]
    return HostError(f"Slurm on {door.where} does not answer: {last}", "run the same command again")
