"""One attempt of a run in a Slurm job: restore the newest whole snapshot, start the program, see it to its end.

Slurm tells of an end by USR1 and by TERM, which may come within a second of one another: they are one. The program gets
the recipe's signal once, and never Slurm's own. What became of it stands in the run's folder; Slurm's word is a hint.
"""

import contextlib
import json
import os
import pwd
import signal
import subprocess
import sys
import time

from guard import files, notes, resume, run
from guard.host import log, now_text

from . import bucket, claim, containers, objects
from .program import Program

TURN_S = 0.5
LOOK_S = 3
WRITE_S = 120  # how long what cannot be written at the end is tried again
SLOWEST_S = 60.0
BARREN = 5  # attempts in a row that may bring no newer snapshot
REQUEUED_S = 90


class Run(run.Run):
    """The guard's run, whose container is a process of this job and whose S3 is a folder."""

    program = None

    def __init__(self, name, store):
        super().__init__(name, None, bucket=bucket.Bucket(store))
        self.often = self.plan["push_seconds"]

    def container(self):
        return self.program.status() if self.program else ("gone", None, False)

    def push_log(self, all_of_it=False):
        """Seldom of a long training: a shared file system counts its files, and each piece is one."""
        self.plan["push_seconds"] = min(SLOWEST_S, max(self.often, (time.monotonic() - self.began) / 100))
        super().push_log(all_of_it)

    def tell(self):
        with self.telling:
            if self.memory["signalled"] or self.done or self.container()[0] != "running":
                return
            word = self.plan["stop"]["signal"]
            self.remember(told=self.ending, signalled=True)
            if self.program.signal(getattr(signal, word)):
                log("%s: %s to the program" % (self.id, word))
            else:  # it has not begun yet
                self.remember(signalled=False, told=None)

    def renew(self):
        pass  # nothing ages in a folder


class Job:
    """This job's attempt. `order`: what the laptop wrote for it."""

    def __init__(self, root, order):
        self.store, self.order = objects.Objects(root), order
        self.id, self.name = order["run"], os.environ.get("SLURM_JOB_ID", "")
        self.notice = None  # why Slurm ends this job
        self.until = None
        self.looked = 0.0
        self.began = time.monotonic()

    def told(self, number, _):
        """USR1 and TERM: the first counts."""
        if self.notice is None:
            grace = self.order["grace_seconds"]
            limit = self.order.get("seconds")
            near = limit and time.monotonic() - self.began > limit - grace - 90
            self.notice = "time limit" if near else "preempted"
            self.until = time.monotonic() + grace
            log("%s: signal %d: %s" % (self.id, number, self.notice))

    def listen(self):
        for number in (signal.SIGUSR1, signal.SIGTERM):
            signal.signal(number, self.told)

    def main(self):
        """The exit code."""
        self.listen()
        found = self.snapshots()
        start = found[-1] if found else None
        number = claim.claim(self.store, self.order, self.name, start.iteration if start else 0, self.order["chosen"])
        if not number:
            return 0
        return self.attempt(number, found)

    def snapshots(self):
        """Whole ones that count, the best one last; those before the chosen one, where one was chosen."""
        order, below = self.order, "runs/%s/snapshots/" % self.id
        found = resume.snapshots(bucket.Bucket(self.store), below, order["stem"], order["earlier"])
        first = not [one for one in claim.numbers(self.store, self.id) if one >= order["number"]]
        if order["from"] is not None and first:
            found = [one for one in found if one.iteration == order["from"]]
        return found

    def attempt(self, number, found):
        top = os.path.join(self.store.root, "work", self.id, "%03d" % number)
        os.makedirs(os.path.join(top, self.id), 0o700, exist_ok=True)
        notes.RUNS, notes.GUARD = top, os.path.join(top, "guard")
        files.LEASES = False  # not all shared file systems tell by one who writes
        folder = os.path.join(top, self.id)
        notes.place(self.id, self.order["files"])
        start = self.restored(found, folder)
        notes.plan(self.id, dict(
            self.order["plan"], bucket="", region="", prefix="runs/%s/" % self.id, attempt=number, container="",
            instance="slurm-%s" % self.name, machine=self.order["cluster"],
            resumed_from=start.iteration if start else 0,
        ))  # fmt: skip
        one = Run(self.id, self.store)
        one.bucket.last = 0.0
        if found and start is None:
            return self.unready(one, "no snapshot of the run is whole any more")
        words = self.words(top, folder, start, number)
        if self.notice is None and not self.stop_asked():
            with open(os.path.join(folder, "log", "attempt-%03d.txt" % number), "ab") as out:
                one.program = Program(folder, words, out, self.spared())
        code = self.see(one, number)
        if one.done and one.memory["state"] != "failed":
            subprocess.call(["rm", "-rf", top])
        return code

    def restored(self, found, folder):
        """The newest snapshot that comes as its index says; None where none does."""
        for one in reversed(found):
            index = json.loads((self.store.read(one.prefix + "complete.json") or b"{}").decode())
            place = os.path.join(folder, one.folder)
            os.makedirs(place, exist_ok=True)
            with contextlib.suppress(OSError, LookupError):
                if bucket.Bucket(self.store).copied(one.prefix, index["files"], place):
                    log("%s: from the snapshot of iteration %d" % (self.id, one.iteration))
                    return one
            log("%s: the snapshot of iteration %d is damaged" % (self.id, one.iteration))
        return None

    def spared(self):
        own = getattr(signal, self.order["plan"]["stop"]["signal"])
        return [number for number in (signal.SIGTERM, signal.SIGUSR1) if number != own]

    def words(self, top, folder, start, number):
        order = self.order
        note = json.loads(self.store.read("images/%s.json" % order["image"]).decode())
        driver = os.path.join(top, "driver")
        binds = [(folder, "/work", True)]
        binds += [(self.store.path(place), target, False) for place, target in order["binds"]]
        brought = False
        if order["gpus"] and order["runtime"] == "charliecloud":
            os.makedirs(driver, exist_ok=True)
            brought = containers.bring_driver(driver)
            binds += [(driver, "/driver", False)] if brought else []
        if order["weights"]:
            binds.append((self.weights(top), "/weights", False))
        own = dict(order["environment"], LOG="log/attempt-%03d.txt" % number)
        known = containers.environment(note.get("env") or [], own, brought)
        command = [word.replace("@SNAPSHOT@", start.stem) for word in order["resumed"]] if start else order["command"]
        program = containers.inner(known, note.get("entry") or [], command)
        return containers.words(
            order["runtime"], self.store.path("images/" + order["image"]), binds, order["gpus"], program
        )

    def weights(self, top):
        """A folder of the trained weights under the names that the recipe has for them."""
        folder = os.path.join(top, "weights")
        os.makedirs(folder, exist_ok=True)
        for key, name in self.order["weights"]:
            os.link(self.store.path(key), os.path.join(folder, name))
        return folder

    def stop_asked(self):
        return self.store.head("runs/%s/control/stop" % self.id) is not None

    # to its end

    def see(self, one, number):
        """Until all is written down; the exit code of this job."""
        while not one.done:
            try:
                if self.look(one, number):
                    return 0
                one.turn()
                one.beat()
            except Exception as error:
                log("%s: %s: %s" % (self.id, type(error).__name__, error))
                ended = one.memory["ended"]
                if ended is not None and time.monotonic() - ended > WRITE_S:
                    log("%s: how it ended cannot be written down" % self.id)
                    return 1
            time.sleep(TURN_S)
        return self.over(one, number)

    def look(self, one, number):
        """What others say: Slurm, a laptop that stops the run, a later attempt. True where this one counts no more."""
        if self.notice and not one.ending:
            one.hurry(self.notice, self.until)
        if time.monotonic() - self.looked < LOOK_S:
            return False
        self.looked = time.monotonic()
        if claim.superseded(self.store, self.id, number):
            log("%s: a later attempt was begun" % self.id)
            if one.program:
                one.program.kill()
            return True
        if self.stop_asked() and not os.path.exists(notes.path(self.id, "stop")):
            notes.stop(self.id)
            one.hurry("stopped", time.monotonic() + self.order["grace_seconds"])
        if one.program is None and (self.notice or self.stop_asked()):
            one.finish("stopped" if self.stop_asked() else "interrupted")
        return False

    def unready(self, one, why):
        one.set_state("failed", over=True, reason=why)
        log("%s: %s" % (self.id, why))
        return 1

    def over(self, one, number):
        word = one.memory["state"]
        if word == "interrupted":
            why = self.no_more(number)
            if why is None and self.requeue():
                time.sleep(REQUEUED_S)
                return 0
            if why:
                note = {
                    "number": number,
                    "instance": "slurm-%s" % self.name,
                    "word": "given up",
                    "reason": why,
                    "time": now_text(),
                }
                self.store.write_new("runs/%s/ends/%03d.json" % (self.id, number), json.dumps(note).encode())
                log("%s: %s" % (self.id, why))
        return 1 if word == "failed" else 0

    def no_more(self, number):
        """Why no other attempt follows; None where one does."""
        if number - self.order["number"] + 1 >= self.order["attempts"]:
            return "%d attempts were made" % self.order["attempts"]
        last = [
            claim.read(self.store, self.id, one).get("resumed_from") for one in range(number - BARREN + 1, number + 1)
        ]
        newest = max([one.iteration for one in self.snapshots()] or [0])
        if number - self.order["number"] + 1 >= BARREN and last == [newest] * BARREN:
            return "%d attempts in a row brought no newer snapshot" % BARREN
        return None

    def requeue(self):
        """Let Slurm begin this job anew; whether it will."""
        done = subprocess.run(["scontrol", "requeue", self.name], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode != 0:
            log("%s: not queued again: %s" % (self.id, done.stderr.decode(errors="replace").strip()))
        return done.returncode == 0


def main(root, key):
    """`key` names the order of one run, or with %d those of an array's tasks."""
    os.environ.setdefault("USER", pwd.getpwuid(os.getuid()).pw_name)  # charliecloud wants it
    if "%d" in key:
        key = key % int(os.environ["SLURM_ARRAY_TASK_ID"])
    raw = objects.Objects(root).read(key)
    if raw is None:
        sys.exit("%s is not there: the run was deleted" % key)
    order = json.loads(raw.decode())
    sys.exit(Job(root, order).main())
