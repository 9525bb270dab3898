"""What the guard knows of its runs, in a folder of root's: plan.json, note-NNN.json for each attempt, `stop`.

The laptop writes there by `sudo python3 /opt/provision/guard plan|stop RUN` alone. What is in a run's own folder is
never believed: its container may write it.
"""

import contextlib
import json
import os
import re
import sys

from .files import inside, mark, opened, written
from .snapshots import Finder, apart

RUNS = os.environ.get("PROVISION_RUNS", "/var/lib/provision/runs")  # the login user's
GUARD = os.environ.get("PROVISION_GUARD", "/var/lib/provision/guard")


def owner():
    return os.stat(RUNS).st_uid


def path(run, name):
    if not re.match(r"[\w-][\w.-]*\Z", run):
        raise ValueError("%r is no run" % run)
    return os.path.join(GUARD, run, name)


def read(run, name):
    with open(path(run, name)) as data:
        return json.load(data)


def write(run, name, value):
    target = path(run, name)
    with open(target + ".part", "w") as out:
        json.dump(value, out)
    os.replace(target + ".part", target)


def known():
    """{run: what tells its plan from another}."""
    found = {}
    for run in os.listdir(GUARD) if os.path.isdir(GUARD) else ():
        with contextlib.suppress(OSError, ValueError):
            about = os.stat(path(run, "plan.json"))
            found[run] = about.st_ino, about.st_mtime_ns
    return found


def plan(run, value, match=apart):
    """Take the plan of the run's next attempt, before its container starts. What is there now is an earlier one's."""
    rule = value["snapshots"]
    value["there"] = marks(run, Finder(os.path.join(RUNS, run), rule["pattern"], match).find()) if rule else {}
    os.makedirs(os.path.dirname(path(run, "")), 0o700, exist_ok=True)
    os.chmod(GUARD, 0o700)
    with contextlib.suppress(FileNotFoundError):
        os.remove(path(run, "stop"))
    write(run, "plan.json", value)


def marks(run, paths):
    """{path: what tells the file from any other}."""
    found = {}
    for name in paths:
        with contextlib.suppress(OSError), opened(os.path.join(RUNS, run), name, owner()) as fd:
            found[name] = mark(fd)
    return found


def stop(run):
    """Somebody asks that this training stops: its end is no failure."""
    read(run, "plan.json")
    write(run, "stop", 1)


def place(run, files):
    """Write files into the run's folder, as the login user; a name that ends with a slash is a folder. Whatever an
    earlier attempt left in the way goes out of it: it must not keep the next one from its start."""
    drop()
    folder = os.path.dirname(path(run, "")).replace(GUARD, RUNS)
    os.makedirs(folder, exist_ok=True)
    os.chmod(folder, 0o755)
    for name, text in files.items():
        if name.endswith("/"):
            with inside(folder, name, make=True, clear=True) as (at, _):
                os.chmod(at, 0o755)
            continue
        with written(folder, name, clear=True) as out:
            out.write(text.encode())


def drop():
    """Give up root's rights for the login user's, for good."""
    about = os.stat(RUNS)
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(about.st_gid)
        os.setuid(about.st_uid)


def verb(word, run):
    """`plan`, `stop` or `place`; what `plan` and `place` take is JSON on stdin."""
    try:
        given = () if word == "stop" else (json.load(sys.stdin),)
        {"plan": plan, "stop": stop, "place": place}[word](run, *given)
    except (OSError, ValueError) as error:
        sys.exit("%s %s: %s" % (word, run, error))
