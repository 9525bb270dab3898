"""The guard itself: all runs of this host, turn by turn, until the machine ends."""

import glob
import os
import signal
import threading
import time

from .host import log, words_of
from .imds import Metadata
from .run import Run

RUNS = os.environ.get("PROVISION_RUNS", "/var/lib/provision/runs")
PUSH_BEFORE_END_S = 15  # of the notice's time, kept for the last push
TURN_S = 1.0
POWER_OFF_S = 90  # of the unit's TimeoutStopSec
IDLE_S = 120
FINAL = ("finished", "failed", "stopped")


class Guard:
    """All runs of this host, turn by turn."""

    def __init__(self, metadata=None, words=words_of):
        self.metadata = metadata or Metadata()
        self.words = words
        self.runs = {}
        self.ending = False  # the unit is being stopped
        self.lock = threading.Lock()
        self.reason = None
        self.until = None  # monotonic end of this machine, once it is known
        self.idle_since = None
        self.noted = None

    def look(self):
        """Runs that go on here, new ones and new attempts included."""
        found = {}
        for path in glob.glob(os.path.join(RUNS, "*", "run.json")):
            try:
                stamp, known = os.stat(path).st_mtime_ns, self.runs.get(path)
                same = known is not None and known[0] == stamp
                found[path] = known if same else (stamp, Run(os.path.dirname(path), self.metadata, self.words))
            except Exception as error:
                log("%s: %s" % (path, error))
        self.runs = found
        return [run for run in self.known() if not run.done]

    def known(self):
        return [run for _, run in self.runs.values()]

    def each(self, runs, act):
        for run in runs:
            try:
                act(run)
            except Exception as error:  # a guard that dies saves nothing
                log("%s: %s: %s (tried again)" % (run.plan["id"], type(error).__name__, error))

    def turn(self):
        runs = self.look()
        if self.until is not None:
            self.save()
        else:
            self.each(runs, Run.turn)
            self.note([run for run in runs if not run.done])
            self.rest()

    def note(self, unfinished):
        """For idle.sh: the runs of which not all is in S3. A machine that has any is in use."""
        text = "".join(run.plan["id"] + "\n" for run in unfinished)
        if text != self.noted:
            with open(os.path.join(RUNS, ".unfinished"), "w") as out:
                out.write(text)
            self.noted = text

    def sentry(self):
        """In a thread of its own: sees the spot notice and the power-off."""
        silent = False
        while self.until is None:
            try:
                left = self.metadata.notice()
                silent = False
                if left is not None:
                    self.announce("spot interruption", left)
            except Exception as error:
                if not silent:
                    log("metadata: %s: %s" % (type(error).__name__, error))
                silent = True
            if self.ending and self.powering_off():
                self.announce("power-off", POWER_OFF_S)
            time.sleep(TURN_S)

    def announce(self, reason, seconds):
        """This machine ends in so many seconds: tell all trainings."""
        with self.lock:
            if self.until is not None:
                return
            log("%s: %d s left" % (reason, seconds))
            self.reason = reason
            self.until = time.monotonic() + max(seconds, PUSH_BEFORE_END_S + 2)
        self.each(self.known(), lambda run: None if run.done else run.tell(reason))

    def save(self):
        """Push each training once it has ended, and in the last seconds what there is of the others."""
        while True:
            over = time.monotonic() >= self.until - PUSH_BEFORE_END_S
            runs = self.look()
            self.each(runs, lambda run, over=over: run.farewell(self.reason, over))
            time.sleep(0.2)
            if all(run.done for run in runs) or time.monotonic() >= self.until:
                return

    def rest(self):
        """End a machine that was rented for one training and idles."""
        runs = self.known()
        now = time.monotonic()
        wanted = any(run.plan.get("power_off_after") for run in runs)
        if not wanted or not all(run.memory["state"] in FINAL for run in runs):
            self.idle_since = None
        elif self.idle_since is None:
            self.idle_since = now
        elif now - self.idle_since > IDLE_S:
            self.idle_since = None
            if self.words(["docker", "ps", "-q", "--filter", "label=provision.run"]) == (0, ""):
                log("all trainings here have ended: power-off")
                self.words(["systemctl", "poweroff", "--no-block"])

    def watch(self):
        signal.signal(signal.SIGTERM, self.end)
        log("watching %s" % RUNS)
        threading.Thread(target=self.sentry, daemon=True).start()
        while not self.ending:
            try:
                self.turn()
            except Exception as error:
                log("turn: %s: %s" % (type(error).__name__, error))
            for _ in range(int(TURN_S * 10)):
                time.sleep(0.1)
                if self.ending or self.until is not None:
                    break
        self.last()

    def end(self, *_):
        self.ending = True

    def powering_off(self):
        return self.words(["systemctl", "is-system-running"])[1] == "stopping"

    def last(self):
        """The unit is being stopped. On power-off the trainings are saved; on a restart they go on."""
        if self.until is None and self.powering_off():
            self.announce("power-off", POWER_OFF_S)
        if self.until is not None:
            self.save()
