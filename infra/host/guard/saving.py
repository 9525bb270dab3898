"""What of a run's folder goes to S3: snapshots and outputs. And what is there already stays there, or goes."""

import concurrent.futures
import contextlib
import json
import os
import time

from .files import mark, remove, written_now
from .host import log, now_text
from .s3 import ERRORS, THREADS, passing
from .snapshots import Finder, as_pattern, open_inodes, snapshot_sets

OUTPUTS = 10000  # are taken
SETS = 1000  # are looked at
DAY_S = 86400


Newer = type("Newer", (Exception,), {})  # a newer snapshot is whole, and time is short


def closed_sets(run):
    """This attempt's snapshots that are all there, closed, not in S3 yet: {iteration: {path: mark}}."""
    closed, memory = {}, run.memory
    last = bool(run.ending) or memory["ended"] is not None  # no later look would find what was missed
    found = run.finder.find(last) if run.finder else {}
    least = max((run.plan.get("resumed_from") or -1) + 1, memory["oldest"])
    if run.finder and run.finder.tree.cut:
        run.skip("cut", "%s has more files than are looked at" % run.finder.tree.start)
    sets = snapshot_sets(found, run.plan["snapshots"]["parts"]) if found else {}
    new = sorted(at for at in sets if at >= least and at not in memory["snapshots"])
    if len(new) > SETS:
        run.skip("sets", "%d snapshots at once: the newest %d come first" % (len(new), SETS))
    for at in new[-SETS:]:
        paths = sets[at]
        marks, unknown, going = {}, set(), False
        try:
            for path in paths:
                with run.opened(path) as fd:
                    marks[path], written, about = mark(fd), written_now(fd), os.fstat(fd)
                going = going or written
                unknown.update([(about.st_dev, about.st_ino)] if written is None else [])
        except OSError as error:
            run.skip(at, error)
            continue
        going = going or (unknown and unknown & open_inodes())
        there = run.plan.get("there", {})  # when this attempt began
        if not going and not any(there.get(path) == now for path, now in marks.items()):
            closed[at] = marks
    return closed


def push_snapshot(run, iteration, marks):
    def going():
        if run.ending and max(closed_sets(run), default=0) > iteration:
            raise Newer("snapshot %d has to wait" % iteration)

    place, files = "%09d-%03d" % (iteration, run.plan["attempt"]), []
    for path, before in marks.items():
        with run.opened(path) as fd:
            sent = run.bucket.put_file(run.key("snapshots", place, os.path.basename(path)), fd, going)
            if mark(fd) != before:
                raise OSError("%s was written anew" % path)
        files.append(dict(sent, path=path))
    whole = {
        "iteration": iteration, "attempt": run.plan["attempt"], "files": files,
        "instance": run.plan["instance"], "time": now_text(),
    }  # fmt: skip
    run.bucket.put(run.key("snapshots", place, "complete.json"), json.dumps(whole).encode())
    run.remember(snapshots=run.memory["snapshots"] + [iteration])
    if run.order:  # state.json says so soon: there its keeper reads what a machine has brought that falls silent
        run.beaten = float("-inf")
    log("%s: snapshot %d is pushed" % (run.id, iteration))


def rotate(run, keep):
    """Delete what is older than the newest `keep`, in S3 and here. What a later attempt made is newer."""
    base, found = run.key("snapshots") + "/", {}
    for key, _, _ in run.bucket.list(base):
        iteration, _, attempt = key[len(base) :].split("/")[0].partition("-")
        if iteration.isdigit():
            found.setdefault((int(attempt or 0), int(iteration)), []).append(key)
    whole = sorted(at for at, keys in found.items() if any(key.endswith("/complete.json") for key in keys))
    if len(whole) < keep:
        return
    for at in sorted(found):
        if at < whole[-keep]:
            for key in sorted(found[at], key=lambda key: not key.endswith("/complete.json")):
                run.bucket.ask("DELETE", key)
    oldest = min(iteration for _, iteration in whole[-keep:])
    run.remember(oldest=oldest, snapshots=[at for at in run.memory["snapshots"] if at >= oldest])
    for path, (at, _) in run.finder.find().items():
        if at < oldest:
            with contextlib.suppress(OSError):
                remove(run.folder, path)


def push_outputs(run):
    """Push the recipe's outputs; the names of those that cannot be pushed."""
    failed, found = [], set()
    for form in run.plan["outputs"]:
        found.update(Finder(run.folder, as_pattern(form), run.match).find())
    for path in sorted(found)[:OUTPUTS]:
        try:
            with run.opened(path) as fd:
                run.bucket.put_file(run.key("outputs", path), fd)
        except ERRORS as error:
            if passing(error) and getattr(error, "code", None) != 403 and not run.late:
                raise
            run.skip(path, error)
            failed.append(path)
    return failed + (["and %d more" % (len(found) - OUTPUTS)] if len(found) > OUTPUTS else [])


def renew(run):
    """Let what is a day old begin its age anew: S3 must not delete what a run that lives needs."""

    def one(found):
        key, size, at = found
        try:
            if at < now_text(DAY_S):
                run.bucket.renew(key, size)
        except ERRORS as error:  # an old snapshot may be gone
            log("%s: %s: %s" % (run.id, key, error))

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        for folder in ("log/", "snapshots/", "outputs/", "inputs/"):
            list(pool.map(one, run.bucket.list(run.key(folder))))
    run.remember(renewed=time.time())
