"""The training's loop: steps until the end or SIGINT, and a snapshot at both.

python3 train.py [--snapshot snapshots/boxes_iter_1000.solverstate] [--gpu 0]
"""

# ruff: noqa: PTH110, PTH123, UP031
# (runs in images with old Pythons)

import argparse
import os
import re
import signal
import sys
import time

import caffe


def say(text):
    """A line as Caffe's own, which the log's reader knows."""
    sys.stderr.write("I%s.000000 %5d train.py:1] %s\n" % (time.strftime("%m%d %H:%M:%S"), os.getpid(), text))
    sys.stderr.flush()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--snapshot", default="")
    parser.add_argument("--gpu", default="")
    given = parser.parse_args()
    if "," in given.gpu:
        raise SystemExit("detect: one GPU is all that a net with Python layers can use")
    told = []
    signal.signal(signal.SIGINT, lambda *_: told.append(1))
    if given.gpu:
        caffe.set_device(int(given.gpu))
        caffe.set_mode_gpu()
    solver = caffe.get_solver("solver.prototxt")
    if given.snapshot:
        solver.restore(given.snapshot)
        say("Resuming from %s" % given.snapshot)
    with open("solver.prototxt") as text:
        last = int(re.search(r"max_iter: (\d+)", text.read()).group(1))
    while solver.iter < last and not told:
        solver.step(1)
    if not os.path.exists("snapshots/boxes_iter_%d.solverstate" % solver.iter):
        solver.snapshot()
    say("Optimization stopped early." if told else "Optimization Done.")


if __name__ == "__main__":
    main()
