"""`guard begin`: a machine that starts itself makes the attempt that it was ordered to make, with no laptop.

It says that it is there, brings what the run's capsule names, each beside the others while the bootstrap still works,
and once it has its order it starts the container; the guard that watches does the rest. What cannot be is told to the
keeper in words that are the same whenever it happens again, and the machine ends. All of it may be killed at any time:
the next one looks what is there.
"""

import contextlib
import hashlib
import json
import os
import signal
import threading
import time

from . import hostkey, notes, order
from .host import log, words_of
from .imds import Metadata
from .programs import Programs, stable
from .s3 import ERRORS, Bucket, passing
from .steps import Step, Steps, Unready

ORDERED_S = 600
LOOK_S = 2.0
TURN_S = 1.0
STILL_S = 1800  # without a byte that moves
ANSWER_S = 300
CAPSULE = 64 << 20
POWER_OFF = ["systemctl", "start", "--no-block", "provision-deadline.service"]


# the attempt ends before its container began: AWS takes the machine, or it is powered off; somebody asks that it stops
Over = type("Over", (Exception,), {})
Stopped = type("Stopped", (Exception,), {})


class Begin:
    """One attempt, from the order to the container's start."""

    def __init__(self, given, metadata=None, words=words_of, programs=None, bucket=None):
        self.given = given
        self.metadata = metadata or Metadata()
        self.words = words
        self.programs = programs or Programs()
        place = given["bucket"], given["region"], given.get("s3") or None, given.get("owner", "")
        self.bucket = bucket or Bucket(self.metadata, *place, patience=90.0)
        self.quick = bucket or Bucket(self.metadata, *place)  # for what a heartbeat waits for
        self.instance = ""
        self.order = None
        self.capsule = None
        self.steps = None
        self.going = []  # steps that were begun
        self.noticed = 0.0

    @property
    def run(self):
        return self.given["run"]

    # what is there

    def noted(self):
        """The order that this machine had before it, or this process, began anew; None where it had none."""
        with contextlib.suppress(OSError, LookupError, ValueError):
            noted = notes.read(self.run, "order.json")
            if noted["instance"] == self.instance:
                return order.Order(self.given, self.quick, self.instance, noted["number"], noted["token"])
        return None

    def ordered(self):
        """The order that comes; None where none comes."""
        threading.Thread(target=self.say_here, daemon=True).start()
        key, until = self.given["prefix"].rstrip("/") + "/control/" + self.instance, time.monotonic() + ORDERED_S
        while time.monotonic() < until:
            with contextlib.suppress(*ERRORS):
                found = order.read(self.quick, key)
                if found:
                    order.keep(self.run, self.instance, *found)
                    return order.Order(self.given, self.quick, self.instance, *found)
            time.sleep(LOOK_S)
        return None

    def say_here(self):
        """The public host key in S3 ("" where there is none): the keeper gives its order to a machine that is there."""
        key, until = b"", time.monotonic() + ORDERED_S
        with contextlib.suppress(OSError, ValueError), open(hostkey.HOST_KEY) as data:
            key = " ".join(data.read().split()[:2]).encode()
        while True:
            try:
                self.bucket.put(self.given["prefix"].rstrip("/") + "/keys/" + self.instance, key)
                return
            except ERRORS as error:
                log("the host key is not in S3: %s" % error)
            if self.order is not None or time.monotonic() > until:
                return
            time.sleep(LOOK_S)

    def begun(self):
        """Whether the attempt's container has started, or the guard has said how it ended."""
        with contextlib.suppress(OSError, LookupError, ValueError):
            plan = notes.read(self.run, "plan.json")
            if plan["attempt"] == self.order.number:
                code, status = self.words(["docker", "inspect", "-f", "{{.State.Status}}", plan["container"]])
                said = os.path.exists(notes.path(self.run, "note-%03d.json" % plan["attempt"]))
                return said or (code == 0 and status != "created")
        return False

    def read_capsule(self):
        """The capsule, by the sum that the user data names."""
        key = "%s/capsules/%s.json" % (self.given["prefix"].rstrip("/"), self.given["capsule"])
        last = time.monotonic() + 90
        while True:
            try:
                with self.bucket.call("GET", key) as answer:
                    text = answer.read(CAPSULE)
                break
            except ERRORS as error:
                if getattr(error, "code", None) == 404:
                    raise Unready("the run's capsule is missing in S3") from None
                if not passing(error) or time.monotonic() > last:
                    raise Unready("the run's capsule cannot be read: %s" % stable(error)) from None
            time.sleep(LOOK_S)
        if hashlib.sha256(text).hexdigest() != self.given["capsule"]:
            raise Unready("the run's capsule is not the one that was ordered")
        known = json.loads(text.decode())
        if known["version"] != 1:
            raise Unready("the run's capsule is of another version of provision")
        return known

    # the way

    def begin(self):
        """From the boot to the container. What goes wrong is told, and the machine ends."""
        signal.signal(signal.SIGTERM, self.end)
        self.instance = self.instance_id()
        self.order = self.noted()
        if self.order is not None and self.begun():
            return
        self.going = [Step("capsule", self.set_out)]
        self.going[0].start()
        self.order = self.order or self.ordered()
        if self.order is None:
            self.programs.end()
            log("%s: no order came: power-off" % self.run)
            self.words(POWER_OFF)
            return
        self.carry_out()

    def set_out(self):
        """What needs no order, while that is on its way: nothing here is seen outside of this machine."""
        self.capsule = self.read_capsule()
        self.steps = Steps(self)
        self.going += self.steps.start()

    def carry_out(self):
        """What was ordered."""
        try:
            self.watch()
            self.steps.begin_container()
            log("%s: attempt %d trains" % (self.run, self.order.number))
        except Stopped:
            self.programs.end()
            self.stop()
        except Over as error:
            self.programs.end()
            reason, left = error.args
            said = {"state": "interrupted", "reason": reason, "iteration": 0, "free": order.free(reason)}
            self.tell({**said, "left": order.whole(left)})
        except Exception as error:
            self.programs.end()
            with contextlib.suppress(OSError):  # the guard has nothing to watch
                os.remove(notes.path(self.run, "plan.json"))
            log("%s: %s: %s" % (self.run, type(error).__name__, error))
            why = str(error) if isinstance(error, Unready) else "%s: %s" % (type(error).__name__, stable(error))
            self.tell({"state": "unready", "why": why[:500]})
            self.words(POWER_OFF)

    def instance_id(self):
        while True:
            with contextlib.suppress(*ERRORS):
                found = self.metadata.get("instance-id")
                if found:
                    return found
            time.sleep(LOOK_S)

    def end(self, *_):
        """The unit is being stopped: on power-off the keeper hears why, else the next one goes on."""
        if self.words(["systemctl", "is-system-running"])[1] == "stopping":
            raise Over("power-off", 0)
        os._exit(1)

    def watch(self):
        """Until all steps are done. Raises what the first one raised, and what is heard meanwhile."""
        moved = 0, time.monotonic()
        while True:
            self.hear()
            left = [step.name for step in list(self.going) if step.is_alive()]  # first: one of them begins the others
            failed = next((step for step in self.going if step.error), None)
            if failed:
                raise failed.error
            if not left:
                return
            now = self.programs.moved(), time.monotonic()
            if now[0] != moved[0] or self.steps is None or self.steps.preparing():
                moved = now
            if now[1] - moved[1] > STILL_S:
                raise Unready("nothing came of it for half an hour: %s" % ", ".join(sorted(left)))
            self.beat()
            time.sleep(TURN_S)

    def hear(self):
        """The spot notice, and whether the run is to stop."""
        now = time.monotonic()
        if now - self.noticed >= 5:
            self.noticed, left = now, None
            with contextlib.suppress(Exception):  # the metadata service may be away
                left = self.metadata.notice()
            if left is not None:
                raise Over(order.SPOT, left)
        with contextlib.suppress(*ERRORS):
            if self.steps is not None and self.order.stop_asked():  # the guard's plan needs the capsule
                raise Stopped

    def look_once(self):
        """Stopped where somebody asked for it before the container's start."""
        try:
            if self.order.stop_is_there():
                raise Stopped
        except ERRORS as error:  # the guard looks again
            log("control/stop: %s" % error)

    def beat(self):
        try:
            self.order.beat()
        except ERRORS as error:
            log("heartbeat: %s" % error)

    def stop(self):
        """Let the guard say that it was stopped: a plan without a container."""
        log("%s: somebody asks that it stops" % self.run)
        self.words(["docker", "rm", "-v", self.steps.name])
        notes.plan(self.run, self.steps.plan(None))
        notes.stop(self.run)

    def tell(self, output):
        """Until it is known, or for some minutes."""
        until = time.monotonic() + ANSWER_S
        while time.monotonic() < until:
            try:
                if self.order.answer(output):
                    return
            except ERRORS as error:
                log("the keeper was not told: %s" % error)
            time.sleep(LOOK_S)


def main():
    """What the unit runs."""
    given = order.given()
    if given and "run" in given:
        Begin(given).begin()
