"""The guard itself: all runs of this host, side by side, until the machine ends."""

import glob
import os
import signal
import threading
import time

from . import notes
from .host import log, words_of
from .imds import Metadata
from .run import Run
from .snapshots import apart

SETTINGS = "/opt/provision/settings"
STATE = "/run/provision"  # `unfinished` is for idle.sh, `idle` is what that says
TERMINALS = "/dev/pts/[0-9]*"
PUSH_BEFORE_END_S = 15  # of the notice's time: then S3 is told how it stands, whatever goes on
TURN_S = 1.0
TELL_S = 30
POWER_OFF_S = 90  # of the unit's TimeoutStopSec
IDLE_S = 120
FINAL = ("finished", "failed", "stopped")


class Guard:
    """All runs of this host, turn by turn."""

    def __init__(self, metadata=None, words=words_of, match=apart):
        self.metadata = metadata or Metadata()
        self.words = words
        self.match = match
        self.runs = {}
        self.busy = {}
        self.ending = False  # the unit is being stopped
        self.lock = threading.Lock()
        self.reason = None
        self.until = None  # monotonic end of this machine, once it is known
        self.idle_since = None
        self.noted = None
        signal.signal(signal.SIGIO, signal.SIG_IGN)  # comes where a file is opened while files.py asks who writes it

    def look(self):
        """Runs that go on here, new ones and new attempts included."""
        found = {}
        for name, stamp in notes.known().items():
            known = self.runs.get(name)
            try:
                same = known is not None and known[0] == stamp
                found[name] = known if same else (stamp, Run(name, self.metadata, self.words, self.match))
            except Exception as error:
                log("%s: %s" % (name, error))
                found.update({name: known} if known else {})
        cleaned = [name for name, known in self.runs.items() if name not in found and known[1].owes]
        found.update({name: self.runs[name] for name in cleaned})
        self.runs = found
        for run in self.known():
            if self.until is not None and not run.ending:
                run.hurry(self.reason, self.until)
        return [run for run in self.known() if not run.done]

    def known(self):
        return [run for _, run in self.runs.values()]

    def each(self, runs, act, wait=TURN_S):
        """Let all do it side by side: one that takes longer than `wait` s goes on, and holds up nobody."""
        threads = []
        for key in [(run, act) for run in runs]:
            thread = self.busy.get(key)
            if thread is None:
                thread = self.busy[key] = threading.Thread(target=self.safely, args=key, daemon=True)
                thread.start()
            threads.append(thread)
        until = time.monotonic() + wait
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))

    def safely(self, run, act):
        try:
            getattr(run, act)()
        except Exception as error:  # a guard that dies saves nothing
            log("%s: %s: %s (tried again)" % (run.id, type(error).__name__, error))
        finally:
            self.busy.pop((run, act))

    def turn(self):
        runs = self.look()
        if self.until is not None:
            self.save()
        else:
            self.each(self.known(), "beat", 0)
            self.each(self.known(), "renew", 0)
            self.report(0)
            self.each(runs, "turn")
            self.note([run for run in runs if not run.late and (not run.done or (run, "turn") in self.busy)])
            self.rest()

    def report(self, wait):
        """To the keepers of runs that have one."""
        self.each([run for run in self.known() if run.order], "report", wait)

    def note(self, unfinished):
        """For idle.sh: the runs of which not all is in S3. A machine that has any is in use."""
        text = "".join(run.id + "\n" for run in unfinished)
        if text != self.noted:
            os.makedirs(STATE, exist_ok=True)
            with open(os.path.join(STATE, "unfinished"), "w") as out:
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
        """This machine ends in so many seconds: tell all trainings, and stop the copies that can wait."""
        with self.lock:
            if self.until is not None:
                return
            log("%s: %d s left" % (reason, seconds))
            self.reason = reason
            self.until = time.monotonic() + max(seconds, PUSH_BEFORE_END_S + 2)
        going = [run for run in self.known() if not run.done]
        for run in going:
            run.hurry(reason, self.until)
        self.each(going, "tell", TELL_S)
        self.words(["systemctl", "stop", "--no-block", "provision-keep-*"])

    def save(self):
        """Push what there is and comes, each training's rest once it has ended, until the machine ends."""
        while True:
            runs = self.look()
            self.each(runs, "turn", 0.2)
            if time.monotonic() >= self.until - PUSH_BEFORE_END_S:
                self.each(runs, "interrupt", 0.2)
            self.report(0.1)
            time.sleep(0.1)
            owed = any(run.owes for run in self.known())
            if (all(run.done for run in runs) and not owed) or time.monotonic() >= self.until:
                return

    def rest(self):
        """End a machine that was rented for one training and idles."""
        runs = self.known()
        now = time.monotonic()
        busy = any(act != "report" for _, act in list(self.busy))  # a keeper that does not answer keeps nothing awake
        busy = busy or any(run.baking for run in runs)
        over = not busy and all(run.late or (run.done and run.memory["state"] in FINAL) for run in runs)
        if not runs or not over or not own_machine() or self.in_use():
            self.idle_since = None
        elif self.idle_since is None:
            self.idle_since = now
        elif now - self.idle_since > IDLE_S:
            self.idle_since = None
            log("all trainings here have ended: power-off")
            self.words(["systemctl", "poweroff", "--no-block"])

    def in_use(self):
        """Whether anybody else is here, as idle.sh counts it: a container, a terminal, what else idle.sh has seen."""
        typed = max((os.stat(path).st_atime for path in glob.glob(TERMINALS)), default=0)
        said = text_of(os.path.join(STATE, "idle")).startswith("in use")
        return said or 0 <= time.time() - typed < IDLE_S or self.words(["docker", "ps", "-q"]) != (0, "")

    def watch(self):
        signal.signal(signal.SIGTERM, self.end)
        log("watching %s" % notes.GUARD)
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
        os._exit(0)  # an upload under way would hold it up

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


def text_of(path):
    try:
        with open(path) as data:
            return data.read()
    except OSError:
        return ""


def own_machine():
    """Whether this machine was rented for one training."""
    return "power_off_after=1" in text_of(SETTINGS).split()
