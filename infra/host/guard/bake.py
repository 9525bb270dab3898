"""A machine that becomes a machine image when its training has finished: before the keeper hears of that, the machine
is cleaned (clean.sh), by a unit of its own, as the guard may write nowhere. From then on the guard does nothing more
there, not even power it off: clean.sh has given it an end."""

import os
import time

from .host import log

UNIT = "provision-clean.service"
CLEAN = "/run/provision/clean"  # clean.sh makes it last
CLEAN_S = 540  # the keeper waits for 900
LOOK_S = 0.5
PAUSE_S = 2.0
TRIES = 3


def wanted(run):
    """Whether the order says so, and somebody waits for its word."""
    asked = run.order.given.get("bake") is True and not run.order.gone
    return asked and run.memory["state"] == "finished" and not run.ending


def clean(run):
    """Clean the machine, once; whether it is clean."""
    if run.clean is None:
        run.baking = True
        run.clean = run.baking = _clean(run.words)
        log("%s: this machine is %s" % (run.id, "clean" if run.clean else "not clean: no image is made of it"))
    return run.clean


def _clean(words):
    until = time.monotonic() + CLEAN_S
    for _ in range(TRIES):  # a turn of the guard may just be noting that nothing is left to save
        words(["systemctl", "start", "--no-block", UNIT])
        time.sleep(PAUSE_S)
        while words(["systemctl", "is-active", UNIT])[1] != "failed":
            if os.path.exists(CLEAN):
                return True
            if time.monotonic() > until:
                return False
            time.sleep(LOOK_S)
    return False
