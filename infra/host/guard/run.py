"""One run on this host: what of it is in S3, and how its training ended."""

import contextlib
import json
import os
import threading
import time

from . import notes, order, saving
from .files import opened
from .host import log, now_text, words_of
from .s3 import ERRORS, Bucket, passing
from .snapshots import Finder, apart

START_S = 600  # a container that was announced and does not come, or does not start, has failed
LATE_S = 1800  # after its container's end: what is not saved then keeps no machine awake
AGAIN_S = 300  # after that it is tried so seldom
BEAT_S = 60
PIECE = 32 << 20
LOG_MOST = 4 << 30


class Run:
    """One run on this host."""

    def __init__(self, name, metadata, words=words_of, match=apart, bucket=None):
        self.id = name
        self.words = words
        self.match = match
        self.plan = plan = notes.read(name, "plan.json")
        self.folder = os.path.join(notes.RUNS, name)
        self.bucket = bucket or Bucket(
            metadata, plan["bucket"], plan["region"], plan.get("endpoint"), plan.get("owner")
        )
        self.order = order.kept(name, plan["attempt"], self.bucket)  # of who keeps this run without a laptop
        self.log = "log/attempt-%03d.txt" % plan["attempt"]
        self.note = "note-%03d.json" % plan["attempt"]
        self.memory = {
            "offset": 0, "snapshots": [], "oldest": 0, "state": None, "since": "", "told": None, "signalled": False,
            "over": False, "ended": None, "renewed": time.time(),
        }  # fmt: skip
        with contextlib.suppress(OSError, ValueError):
            self.memory.update(notes.read(name, self.note))
        if (self.memory["ended"] or 0) > time.monotonic():  # before a restart of the machine
            self.memory["ended"] = None
        self.finder = plan["snapshots"] and Finder(self.folder, plan["snapshots"]["pattern"], match)
        self.began = self.turned = time.monotonic()
        self.pushed_log_at = self.beaten = self.again = 0.0
        self.seen = {}  # sets that were closed while the container ran, with what tells their files
        self.odd = set()
        self.ending = None  # why this machine ends
        self.clean = None  # whether the machine is, where an image of it is to be made (bake.py)
        self.baking = False
        self.telling = threading.Lock()
        self.stating = threading.Lock()
        self.noting = threading.Lock()

    @property
    def done(self):
        return self.memory["over"]

    @property
    def told(self):
        """Why the training was told to save and end."""
        return self.memory["told"]

    @property
    def late(self):
        """Whether its container has ended so long ago that no more can be hoped for."""
        ended = self.memory["ended"]
        return ended is not None and time.monotonic() - ended > LATE_S

    def remember(self, **more):
        with self.noting:
            self.memory.update(more)
            try:
                notes.write(self.id, self.note, self.memory)
            except OSError as error:  # a full disk must not stop the pushing
                log("%s: %s" % (self.id, error))

    def key(self, *parts):
        return "/".join((self.plan["prefix"].rstrip("/"),) + parts)

    def skip(self, path, error):
        """Say once that a file cannot be taken."""
        if path not in self.odd and len(self.odd) < 100 and not isinstance(error, FileNotFoundError):
            self.odd.add(path)
            log("%s: %s" % (self.id, error))

    def opened(self, path):
        return opened(self.folder, path, notes.owner())

    def push_log(self, all_of_it=False):
        """New bytes of the log as one more piece."""
        waited, offset = time.monotonic() - self.pushed_log_at, self.memory["offset"]
        if waited < self.plan["push_seconds"] and not all_of_it:
            return
        try:
            with self.opened(self.log) as fd:
                piece = os.pread(fd, min(PIECE, max(0, LOG_MOST - offset)), offset)
        except OSError as error:
            self.skip(self.log, error)
            return
        if piece:
            self.bucket.put(self.key("log", "%03d-%012d" % (self.plan["attempt"], offset)), piece)
            self.remember(offset=offset + len(piece))
        self.pushed_log_at = time.monotonic()

    def push_snapshots(self):
        """Every snapshot that is surely whole: a crash closes files too, half-written."""
        closed = saving.closed_sets(self)
        if not closed:
            return
        status, exit_code, _ = self.container()  # after the look, as it may have crashed just before
        if status in ("running", "paused"):
            self.seen.update(closed)
        well = status == "exited" and exit_code == 0
        whole = [at for at in sorted(closed) if well or self.seen.get(at) == closed[at]]
        keep, failed = self.plan["snapshots"].get("keep") or 0, None
        for at in sorted(whole[-keep:], reverse=bool(self.ending)):  # the newest first when time is short
            try:
                saving.push_snapshot(self, at, closed[at])
            except saving.Newer as error:
                log("%s: %s" % (self.id, error))
                self.push_snapshots()
                return
            except ERRORS as error:  # the others may go
                failed = error
        if failed:
            raise failed
        if whole and keep and not self.ending:
            try:
                saving.rotate(self, keep)
            except ERRORS as error:  # after the next snapshot, then
                log("%s: old snapshots: %s" % (self.id, error))

    def container(self):
        """docker's status (or "gone", "unknown"), exit code, whether out of memory."""
        form = "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}"
        code, text = self.words(["docker", "inspect", "-f", form, self.plan["container"]])
        if code != 0:
            return ("gone" if "no such" in text.lower() else "unknown"), None, False
        status, exit_code, killed = text.split()
        return status, int(exit_code), killed == "true"

    def set_state(self, state, over=False, **more):
        """Write state.json; what is not in S3 is not remembered, so that it is tried again."""
        with self.stating:
            if self.done:
                return
            now = now_text()
            since = self.memory["since"] if self.memory["state"] == state else now
            value = {
                "state": state, "attempt": self.plan["attempt"], "instance": self.plan["instance"],
                "machine": self.plan.get("machine", ""), "time": since, "seen": now,
                "snapshots": self.memory["snapshots"], "iteration": max(self.memory["snapshots"], default=0),
            }  # fmt: skip
            value.update(more)
            self.bucket.put(self.key("state.json"), json.dumps(value).encode())
            self.beaten = time.monotonic()
            self.remember(state=state, since=since, over=over)

    @property
    def owes(self):
        """Whether the keeper of this run waits for what came of it."""
        return order.owes(self)

    def report(self):
        """To the keeper of this run, where it has one."""
        order.report(self)

    def beat(self):
        """Say each minute that somebody looks after it."""
        if self.memory["state"] == "running" and not self.late and time.monotonic() - self.beaten >= BEAT_S:
            self.set_state("running")

    def renew(self):
        """Once a day."""
        over = self.ending or self.done or self.late
        if time.time() - self.memory["renewed"] > saving.DAY_S and not over:
            saving.renew(self)

    def ended_state(self, status, exit_code):
        """The word for how the container ended."""
        if os.path.exists(notes.path(self.id, "stop")):
            return "stopped"
        said = self.plan["stop"].get("said")
        heard = bool(said) and said in self.tail()
        if self.told and (exit_code != 0 or heard or not said):  # else it came to its own end
            return "interrupted"
        if status in ("gone", "created") or exit_code != 0:
            return "failed"
        return "stopped" if heard else "finished"

    def tail(self, size=4096):
        try:
            with self.opened(self.log) as fd:
                return os.pread(fd, size, max(0, os.fstat(fd).st_size - size)).decode(errors="replace")
        except OSError:
            return ""

    def turn(self):
        """Look once: push what is new, or, when the container has ended, the rest."""
        self.turned = time.monotonic()
        if self.ending:
            self.tell()
        status, exit_code, killed = self.container()
        unborn = status in ("gone", "created") and self.memory["state"] is None
        stopped = self.order is not None and os.path.exists(notes.path(self.id, "stop"))
        if unborn and not stopped and time.monotonic() - self.began < START_S:
            return  # its plan is written before its container is started
        if status == "created":  # its client was killed before it started it; docker removes none that runs
            self.words(["docker", "rm", "-v", self.plan["container"]])
            status, exit_code, killed = self.container()
        if status in ("exited", "dead", "gone", "created"):
            self.finish(self.ended_state(status, exit_code), exit_code=exit_code, out_of_memory=killed)
            return
        if self.memory["state"] is None and status == "running":
            self.set_state("running")
        try:
            self.push_snapshots()
        finally:
            self.push_log()

    def finish(self, state, **more):
        """Push the rest and say how it ended."""
        if self.memory["ended"] is None:
            self.remember(ended=time.monotonic(), code=more.get("exit_code"), killed=more.get("out_of_memory"))
        if state == "interrupted":
            more["reason"] = self.told
        if self.late and not self.ending:
            if time.monotonic() < self.again:
                return
            self.again = time.monotonic() + AGAIN_S
            self.set_state(state, **more)  # where S3 refuses that, too, nothing else is sent
        try:
            self.push_all()
        except ERRORS as error:
            if passing(error) and not self.late:
                raise
            log("%s: %s" % (self.id, error))
        if state != "interrupted":
            failed = saving.push_outputs(self)
            more.update({"outputs_failed": failed} if failed else {})
        self.set_state(state, over=True, **more)
        log("%s: %s" % (self.id, state))
        if not self.ending:
            saving.renew(self)

    def push_all(self):
        """Everything, however long the log."""
        try:
            self.push_snapshots()
        finally:
            before = -1
            while before != self.memory["offset"]:
                before = self.memory["offset"]
                self.push_log(all_of_it=True)

    def tell(self):
        """Ask the training to save and end, once, also where another guard begins in between."""
        with self.telling:
            if self.memory["signalled"] or self.done or self.container()[0] != "running":
                return
            stop = self.plan["stop"]
            log("%s: %s to %s" % (self.id, stop["signal"], self.plan["container"]))
            self.remember(told=self.ending, signalled=True)  # before: the other thread may see its effect
            code, text = self.words(["docker", "kill", "-s", stop["signal"], self.plan["container"]])
            if code != 0:
                self.remember(signalled=False, told=None if "not running" in text else self.told)

    def hurry(self, reason, until):
        """This machine ends then (monotonic)."""
        self.bucket.last = until
        self.ending = reason

    def interrupt(self):
        """In the last seconds, while the rest still goes: it did not end in time, and its last snapshot counts."""
        if self.memory["state"] != "interrupted":
            log("%s: did not end in time; its last snapshot counts" % self.id)
            self.set_state("interrupted", reason=self.ending)
