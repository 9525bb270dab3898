"""What a machine that starts itself was ordered to do, and its word with who ordered it: the keeper, an execution of
Step Functions.

The user data names the run (order.json: believed, as root alone writes there). The keeper writes control/INSTANCE, the
attempt's number and a task token, and the machine's role may not: a machine without such an order works for nobody and
ends itself. From then on the token gets a heartbeat from the guard's turn, so that a hung guard has none, and at the
end what came of the run. control/stop, which a laptop writes, asks the training to save and end.
"""

import contextlib
import json
import os
import time
import urllib.error

from . import bake, notes
from .host import log
from .imds import NOTICE_S
from .s3 import ERRORS
from .tasks import Gone, Tasks

ORDER = "/opt/provision/order.json"
UPTIME = "/proc/uptime"
FIRST = "/proc/1/stat"  # of the first process: on a machine that is a container it is younger than the kernel
BEAT_S = 30  # the keeper waits for 900
STOP_S = 10
AGAIN_S = 5
STUCK_S = 3600  # a turn that takes longer hangs
LAST_S = 8  # before the end of the machine an interrupted run is told of, whatever is still on its way
SPOT = "spot interruption"
FREE_S = 3600 - NOTICE_S  # AWS does not charge for a spot machine that it takes in its first hour


def given():
    """What the user data orders; None on a machine of an earlier version. That of a machine which waits for a laptop
    names no run."""
    try:
        with open(ORDER) as data:
            return json.load(data)
    except OSError:
        return None


def age():
    """Seconds since this machine's first boot, a restart of it included."""
    with open(UPTIME) as data:
        up = float(data.read().split()[0])
    with open(FIRST) as data:
        up -= int(data.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return max(up, time.time() - os.stat(ORDER).st_mtime)


def free(reason):
    """Whether AWS charges nothing where it takes this machine now."""
    return reason == SPOT and age() < FREE_S


class Order:
    """One attempt that this machine was ordered to make; `bucket` is the run's."""

    def __init__(self, given, bucket, instance, number, token):
        self.given, self.bucket = given, bucket
        self.instance, self.number, self.token = instance, number, token
        self.tasks = Tasks(bucket.fresh_keys, given["region"], given["states"])
        self.beaten = self.looked = self.tried = float("-inf")
        self.gone = False  # nobody waits for the token

    def key(self, *parts):
        return "/".join((self.given["prefix"].rstrip("/"),) + parts)

    @property
    def due(self):
        """Whether it is time for a heartbeat."""
        return not self.gone and time.monotonic() - self.beaten >= BEAT_S

    def beat(self):
        """A heartbeat, at most each BEAT_S; OSError where it did not arrive."""
        now = time.monotonic()
        if self.due:
            with self.somebody_waits():
                self.tasks.beat(self.token)
            self.beaten = now

    def answer(self, output):
        """Whether the keeper knows now what came of it, or nobody waits. OSError where that is not known."""
        now = time.monotonic()
        if self.gone or now - self.tried < AGAIN_S:
            return self.gone
        self.tried = now
        with self.somebody_waits():
            self.tasks.succeed(self.token, output)
            log("%s: the keeper knows: %s" % (self.given["run"], json.dumps(output, sort_keys=True)))
            return True
        return self.gone

    @contextlib.contextmanager
    def somebody_waits(self):
        """Where nobody waits for the token, another one may have been written for the same attempt."""
        try:
            yield
        except Gone as error:
            found = read(self.bucket, self.key("control", self.instance))
            if found and found[0] == self.number and found[1] != self.token:
                self.token = found[1]
                keep(self.given["run"], self.instance, *found)
            else:
                self.gone = True
                log("%s: nobody waits for this machine: %s" % (self.given["run"], error))

    def stop_asked(self):
        """Whether somebody asked that the training saves and ends; looks each STOP_S."""
        now = time.monotonic()
        if now - self.looked < STOP_S:
            return False
        self.looked = now
        return self.stop_is_there()

    def stop_is_there(self):
        """OSError where S3 does not tell. One call, as the guard's turn waits for it: S3 says 403 of what is not there
        to a role that may list a prefix alone, and a patient call would take that for a role that is fresh."""
        try:
            self.bucket.call("GET", self.key("control", "stop")).close()
            return True
        except urllib.error.HTTPError as error:
            if error.code not in (403, 404):
                raise
        return False


def text_of(bucket, key):
    """An object's text; None where there is none."""
    try:
        return bucket.ask("GET", key)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


def read(bucket, key):
    """(number, token) of an order, {"number": "001", "token": …}; None where there is none."""
    text = text_of(bucket, key)
    try:
        known = json.loads(text or "null")
        return int(known["number"]), str(known["token"])
    except (LookupError, TypeError, ValueError):
        return None


def keep(run, instance, number, token):
    """Note it in root's folder: a machine or a guard that begins anew goes on with it."""
    os.makedirs(os.path.dirname(notes.path(run, "")), 0o700, exist_ok=True)
    os.chmod(notes.GUARD, 0o700)
    notes.write(run, "order.json", {"instance": instance, "number": number, "token": token})


def kept(name, number, bucket):
    """The order of that attempt of a run; None where this machine has none."""
    try:
        ordered, noted = given(), notes.read(name, "order.json")
        if ordered and ordered.get("run") == name and noted["number"] == number:
            return Order(ordered, bucket, noted["instance"], number, noted["token"])
    except (OSError, LookupError, ValueError):
        pass
    return None


# the guard's turn


def report(run):
    """Tell the keeper of a run that it goes on, or what came of it; hear whether it is to stop."""
    if owes(run):
        said = result(run)
        if bake.wanted(run):
            said["clean"] = bake.clean(run)
        if run.order.answer(said):
            run.remember(answered=True)
    elif not run.done:
        try:
            if not run.ending and run.order.stop_asked():
                stop(run)
        except ERRORS as error:
            run.skip("control/stop", error)
        if run.order.due and alive(run):
            run.order.beat()


def owes(run):
    """Whether the keeper is to know what came of the run, and may not know yet."""
    if run.order is None or run.memory.get("answered"):
        return False
    late = bool(run.ending) and run.bucket.last - time.monotonic() < LAST_S
    return run.done or (late and run.memory["state"] == "interrupted")


def result(run):
    memory = run.memory
    reason = {"interrupted": run.told or run.ending or "", "failed": failure(memory)}.get(memory["state"], "")
    newest = max(memory["snapshots"], default=0)
    left = run.bucket.last - time.monotonic() if reason == SPOT else 0
    return {
        "state": memory["state"], "reason": reason, "iteration": newest, "free": free(reason), "left": whole(left),
    }  # fmt: skip


def whole(left):
    """The whole seconds that a spot notice leaves."""
    return int(min(max(0, left), NOTICE_S))


def failure(memory):
    """How the container ended that failed."""
    if memory.get("killed"):
        return "out of memory"
    return "no container" if memory.get("code") is None else "exit code %d" % memory["code"]


def alive(run):
    """Whether Docker answers for its container, and its last turn is not stuck."""
    return run.container()[0] != "unknown" and time.monotonic() - run.turned < STUCK_S


def stop(run):
    """As `guard stop RUN`, and the recipe's signal, once."""
    if not os.path.exists(notes.path(run.id, "stop")):
        log("%s: somebody asks that it stops" % run.id)
        notes.stop(run.id)
    if not run.memory.get("asked") and run.container()[0] == "running":
        signal = run.plan["stop"]["signal"]
        code, _ = run.words(["docker", "kill", "-s", signal, run.plan["container"]])
        if code == 0:
            run.remember(asked=True)
