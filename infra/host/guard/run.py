"""One run on this host: what of it is in S3, and how its training ended."""

import contextlib
import glob
import http.client
import json
import os
import threading
import time

from .host import log, now_text, words_of
from .s3 import Bucket, passing
from .snapshots import open_inodes, snapshot_files, snapshot_sets

START_S = 600  # a container that was announced and does not come has failed


class Run:
    """One run on this host."""

    def __init__(self, folder, metadata, words=words_of):
        self.folder = folder
        self.words = words
        with open(os.path.join(folder, "run.json")) as data:
            self.plan = json.load(data)
        plan = self.plan
        self.bucket = Bucket(metadata, plan["bucket"], plan["region"], plan.get("endpoint"))
        self.log = os.path.join(folder, "log", "attempt-%03d.txt" % plan["attempt"])
        self.note = os.path.join(folder, ".guard-%03d.json" % plan["attempt"])
        self.memory = {"offset": 0, "snapshots": [], "state": None}
        self.pushed_log_at = 0.0
        self.began = os.path.getmtime(os.path.join(folder, "run.json"))
        self.seen = {}  # sets that were closed while the container ran, with their sizes
        self.told = None  # why the training was told to save and end
        self.signalled = False
        self.telling = threading.Lock()
        with contextlib.suppress(OSError, ValueError), open(self.note) as data:
            self.memory = json.load(data)

    @property
    def done(self):
        return self.memory["state"] not in (None, "running")

    def remember(self):
        try:
            with open(self.note + ".part", "w") as out:
                json.dump(self.memory, out)
            os.replace(self.note + ".part", self.note)
        except OSError as error:  # a full disk must not stop the pushing
            log("%s: %s" % (self.plan["id"], error))

    def key(self, *parts):
        return "/".join((self.plan["prefix"].rstrip("/"),) + parts)

    def push_log(self, all_of_it=False):
        """New bytes of the log as one more piece."""
        if not os.path.exists(self.log):
            return
        waited = time.monotonic() - self.pushed_log_at
        if waited < self.plan["push_seconds"] and not all_of_it:
            return
        with open(self.log, "rb") as data:
            data.seek(self.memory["offset"])
            piece = data.read(32 << 20)
        if piece:
            name = "%03d-%012d" % (self.plan["attempt"], self.memory["offset"])
            self.bucket.put(self.key("log", name), piece)
            self.memory["offset"] += len(piece)
            self.remember()
        self.pushed_log_at = time.monotonic()

    def closed_sets(self):
        """This attempt's snapshots that are all there, closed, not in S3 yet: {iteration: (paths, sizes)}."""
        rule, closed, busy = self.plan["snapshots"], {}, None
        known = self.memory["snapshots"]
        for at, paths in snapshot_sets(self.folder, rule["pattern"], rule["parts"]).items() if rule else ():
            if at in known or at <= (self.plan.get("resumed_from") or -1) or at < self.memory.get("oldest", 0):
                continue
            stats = [os.stat(os.path.join(self.folder, path)) for path in paths]
            if min(stat.st_mtime for stat in stats) < self.began - 1:
                continue  # an earlier attempt's
            busy = open_inodes() if busy is None else busy
            if not any((stat.st_dev, stat.st_ino) in busy for stat in stats):
                closed[at] = paths, [stat.st_size for stat in stats]
        return closed

    def push_snapshots(self):
        """Every snapshot that is surely whole: a crash closes files too, half-written."""
        closed = self.closed_sets()
        if not closed:
            return
        status, exit_code, _ = self.container()  # after the look, as it may have crashed just before
        if status in ("running", "paused"):
            self.seen.update(closed)
        well = status == "exited" and exit_code == 0
        whole = [at for at in sorted(closed) if well or self.seen.get(at) == closed[at]]
        keep = self.plan["snapshots"].get("keep") or 0
        for at in sorted(whole[-keep:], reverse=self.told is not None):  # the newest first when time is short
            self.push_snapshot(at, closed[at][0])
        if whole and keep and self.told is None:
            try:
                self.rotate(keep)
            except (OSError, http.client.HTTPException) as error:  # after the next snapshot, then
                log("%s: old snapshots: %s" % (self.plan["id"], error))

    def push_snapshot(self, iteration, paths):
        place = "%09d" % iteration
        files = []
        for path in paths:
            key = self.key("snapshots", place, os.path.basename(path))
            files.append(dict(self.bucket.put_file(key, os.path.join(self.folder, path)), path=path))
        whole = {"iteration": iteration, "files": files, "instance": self.plan["instance"], "time": now_text()}
        self.bucket.put(self.key("snapshots", place, "complete.json"), json.dumps(whole).encode())
        self.memory["snapshots"].append(iteration)
        self.remember()
        log("%s: snapshot %d is in S3" % (self.plan["id"], iteration))

    def rotate(self, keep):
        """Delete what is older than the newest `keep`, in S3 and here."""
        base, found = self.key("snapshots") + "/", {}
        for key, _ in self.bucket.list(base):
            place = key[len(base) :].split("/")[0]
            if place.isdigit():
                found.setdefault(int(place), []).append(key)
        whole = sorted(at for at, keys in found.items() if any(key.endswith("/complete.json") for key in keys))
        if len(whole) < keep:
            return
        oldest = whole[-keep]
        for at in sorted(found):
            for key in sorted(found[at], key=lambda key: not key.endswith("/complete.json")) if at < oldest else ():
                self.bucket.ask("DELETE", key)
        self.memory["oldest"] = oldest
        self.memory["snapshots"] = [at for at in self.memory["snapshots"] if at >= oldest]
        self.remember()
        for at, _, path in list(snapshot_files(self.folder, self.plan["snapshots"]["pattern"])):
            if at < oldest:
                os.remove(os.path.join(self.folder, path))

    def push_outputs(self):
        """Push the recipe's outputs; the names of those that cannot be pushed."""
        failed = []
        for pattern in self.plan["outputs"]:
            for path in sorted(glob.glob(os.path.join(self.folder, pattern), recursive=True)):
                name = os.path.relpath(path, self.folder)
                try:
                    if os.path.isfile(path):
                        self.bucket.put_file(self.key("outputs", name), path)
                except OSError as error:
                    if passing(error) and getattr(error, "code", None) != 403:
                        raise
                    log("%s: output %s: %s" % (self.plan["id"], name, error))
                    failed.append(name)
        return failed

    def container(self):
        """docker's status (or "gone", "unknown"), exit code, whether out of memory."""
        form = "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}"
        code, text = self.words(["docker", "inspect", "-f", form, self.plan["container"]])
        if code != 0:
            return ("gone" if "no such" in text.lower() else "unknown"), None, False
        status, exit_code, killed = text.split()
        return status, int(exit_code), killed == "true"

    def set_state(self, state, **more):
        """Write state.json; what is not in S3 is not remembered, so that it is tried again."""
        value = {
            "state": state, "attempt": self.plan["attempt"], "instance": self.plan["instance"], "time": now_text(),
            "snapshots": self.memory["snapshots"],
        }  # fmt: skip
        value.update(more)
        self.bucket.put(self.key("state.json"), json.dumps(value).encode())
        self.memory["state"] = state
        self.remember()

    def ended_state(self, status, exit_code):
        """The word for how the container ended."""
        if os.path.exists(os.path.join(self.folder, "stop-requested")):
            return "stopped"
        said = self.plan["stop"].get("said")
        heard = bool(said) and said in tail(self.log)
        if self.told and (exit_code != 0 or heard or not said):  # else it came to its own end
            return "interrupted"
        if status == "gone" or exit_code != 0:
            return "failed"
        return "stopped" if heard else "finished"

    def turn(self):
        """Look once: push what is new, or, when the container has ended, the rest."""
        status, exit_code, killed = self.container()
        if status == "gone" and self.memory["state"] is None and time.time() - self.began < START_S:
            return  # its plan is written before its container is started
        if status in ("exited", "dead", "gone"):
            self.finish(self.ended_state(status, exit_code), exit_code=exit_code, out_of_memory=killed)
            return
        if self.memory["state"] is None and status == "running":
            self.set_state("running")
        self.push_log()
        self.push_snapshots()

    def finish(self, state, **more):
        """Push the rest and say how it ended."""
        self.push_all()
        if state == "interrupted":
            more["reason"] = self.told
        else:
            failed = self.push_outputs()
            more.update({"outputs_failed": failed} if failed else {})
        self.set_state(state, **more)
        log("%s: %s" % (self.plan["id"], state))

    def push_all(self):
        """Everything, however long the log."""
        before = -1
        while before != self.memory["offset"]:
            before = self.memory["offset"]
            self.push_log(all_of_it=True)
        self.push_snapshots()

    def tell(self, reason):
        """Ask the training to save and end, once."""
        with self.telling:
            if self.signalled or self.container()[0] != "running":
                return
            stop = self.plan["stop"]
            log("%s: %s to %s" % (self.plan["id"], stop["signal"], self.plan["container"]))
            self.told = reason  # before the signal: the other thread may see its effect
            code, text = self.words(["docker", "kill", "-s", stop["signal"], self.plan["container"]])
            self.signalled = code == 0
            if code != 0 and "not running" in text:
                self.told = None  # it ended by itself in between

    def farewell(self, reason, over):
        """A turn in the machine's last minutes; the last one with `over`."""
        self.tell(reason)
        self.turn()
        if over and not self.done:
            log("%s: did not end in time; its last snapshot counts" % self.plan["id"])
            self.told = reason
            self.finish("interrupted")


def tail(path, size=4096):
    try:
        with open(path, "rb") as data:
            data.seek(max(0, os.path.getsize(path) - size))
            return data.read().decode(errors="replace")
    except OSError:
        return ""
