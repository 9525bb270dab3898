"""Who makes the next attempt of a run: one job, whatever was queued twice, requeued, or thought dead."""

import json
import os
import re
import time

from guard.host import now_text, words_of

NUMBER = re.compile(r"attempts/([0-9]{1,9})\.json\Z")
TRIES, PAUSE_S = 12, 10
GONE_S = 300  # a job of which nobody says anything and that has not said a word for so long does not live


def numbers(store, run):
    below = "runs/%s/" % run
    found = [NUMBER.match(key[len(below) :]) for key, _, _, _ in store.list(below + "attempts/")]
    return sorted(int(one.group(1)) for one in found if one)


def key_of(run, number):
    return "runs/%s/attempts/%03d.json" % (run, number)


def read(store, run, number):
    return json.loads((store.read(key_of(run, number)) or b"{}").decode())


def state_of(store, run):
    try:
        return json.loads((store.read("runs/%s/state.json" % run) or b"{}").decode())
    except ValueError:
        return {}


def busy(store, run, number, job, ask=words_of):
    """The job that works on that attempt still; "" where none does."""
    told = state_of(store, run)
    if told.get("attempt") == number and told.get("state") not in ("running", "starting"):
        return ""
    other = str(read(store, run, number).get("launch") or "")
    if other in ("", job):  # this very job, before it was requeued
        return ""
    for last in range(TRIES):
        code, text = ask(["squeue", "-h", "-j", other, "-o", "%T"])
        if code == 0:
            return other if set(text.split()) & {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED"} else ""
        if "Invalid job id" in text:
            return ""
        time.sleep(PAUSE_S if last < TRIES - 1 else 0)
    return other if told.get("seen", "") > now_text(GONE_S) else ""


def claim(store, order, job, at, chosen):
    """The number of the attempt, which is ours alone; 0 where another job works on the run. `at`: the iteration that it
    goes on from."""
    run = order["run"]
    while True:
        last = (numbers(store, run) or [0])[-1]
        other = busy(store, run, last, job) if last else ""
        if other:
            print("job %s works on %s already" % (other, run), flush=True)
            return 0
        value = {
            "number": last + 1, "instance": "slurm-%s.%s" % (job, os.environ.get("SLURM_RESTART_COUNT", "0")),
            "name": order["cluster"], "zone": os.environ.get("SLURMD_NODENAME", os.uname()[1]),
            "started": now_text().replace("Z", "+00:00"), "resumed_from": at,
            "gpus": gpus(), "chosen": chosen, "made_by": order["made_by"], "launch": job,
        }  # fmt: skip
        if store.write_new(key_of(run, last + 1), json.dumps(value).encode()):
            return last + 1


def gpus():
    """The numbers of the GPUs that Slurm gave."""
    found = os.environ.get("SLURM_JOB_GPUS") or os.environ.get("CUDA_VISIBLE_DEVICES") or ""
    return [int(one) for one in found.split(",") if one.isdigit()]


def superseded(store, run, number):
    """Whether a later attempt was claimed: this one was thought dead."""
    return store.head(key_of(run, number + 1)) is not None
