"""Training in a loop of our own: where the loss stands still, the learning rate is lowered; where it has become small,
it begins anew from the solver's, with more patience (warm restarts find better valleys than one descent).

    python3 plateau.py [--snapshot STATE | --weights FILE] [--window 1000] [--factor 0.5] [--gpu 0]

The solver's own lr_policy goes on beneath: it multiplies what is set here. A Caffe without our patch
`base-learning-rate` cannot change the rate of a solver that lives: there the solver is made again from a snapshot at
each change, which costs seconds and begins the data anew.
"""

# ruff: noqa: PTH104, PTH110, PTH123, UP031
# (runs in images with old Pythons)

import argparse
import gc
import json
import os
import signal

import caffe
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from places import say

SOLVER = "used-solver.prototxt"
SMALL = 0.1  # of the first rate: below that it begins anew
ENOUGH = 0.99  # of the loss of a window ago: below that it falls


class Schedule:
    """The rate's course. `feed` takes each iteration's loss, and gives a new rate where there is one."""

    def __init__(self, rate, window, factor):
        self.first, self.rate, self.factor = rate, rate, factor
        self.least = self.window = window
        self.mean, self.mark, self.age = None, None, 0

    def feed(self, loss):
        if loss != loss:  # nan: nothing can be learnt from it
            return None
        weight = 2.0 / (1 + min(self.window, 100))
        self.mean = loss if self.mean is None else self.mean + weight * (loss - self.mean)
        self.age += 1
        if self.mark is None:
            self.mark = self.mean
        if self.age < self.window:
            return None
        fell = self.mean < ENOUGH * self.mark
        self.mark, self.age = self.mean, 0
        return None if fell else self.lower()

    def lower(self):
        self.rate *= self.factor
        self.window *= 2
        if self.rate < SMALL * self.first:
            self.rate, self.window = self.first, self.least
        return self.rate

    def save(self, path):
        with open(path + ".part", "w") as out:
            json.dump(vars(self), out)
        os.rename(path + ".part", path)

    def load(self, path):
        if os.path.exists(path):
            with open(path) as text:
                vars(self).update(json.load(text))


def prefix(iteration):
    return "snapshots/net_iter_%d" % iteration


def loss_weights(net):
    """The loss weights of the blobs that have one: an accuracy in the training is no loss. An old pycaffe does not
    tell them: there each output of one number counts."""
    if hasattr(net, "blob_loss_weights"):
        return {name: weight for name, weight in net.blob_loss_weights.items() if weight}
    return {name: 1.0 for name in net.outputs if net.blobs[name].data.size == 1}


def read_solver():
    with open(SOLVER) as text:
        return text_format.Merge(text.read(), caffe_pb2.SolverParameter())


class Training:
    """A solver whose rate can be set, and the schedule; snapshots are made here, with the schedule beside them."""

    def __init__(self, given):
        self.param = read_solver()
        self.every, self.param.snapshot = self.param.snapshot, 0
        self.schedule = Schedule(self.param.base_lr, given.window, given.factor)
        self.solver = self.make()
        if given.snapshot:
            self.solver.restore(given.snapshot)
            self.schedule.load(given.snapshot.replace(".solverstate", ".schedule.json"))
            say("Resuming from %s" % given.snapshot)
            self.set(self.schedule.rate)
        elif given.weights:
            self.solver.net.copy_from(given.weights)
            say("Finetuning from %s" % given.weights)

    def make(self):
        with open("loop-solver.prototxt", "w") as out:
            out.write(text_format.MessageToString(self.param))
        return caffe.get_solver("loop-solver.prototxt")

    def set(self, rate):
        if rate == self.param.base_lr and not hasattr(self.solver, "set_base_lr"):
            return
        say("the base learning rate is %g" % rate)
        if hasattr(self.solver, "set_base_lr"):
            self.solver.set_base_lr(rate)
            return
        say("this Caffe cannot change it in place (the stack caffe can): the solver is made again")
        state = self.snapshot()
        self.param.base_lr = rate
        self.solver = None  # before the next one: a process may open a database once
        gc.collect()
        self.solver = self.make()
        self.solver.restore(state)

    def snapshot(self):
        """Save; the solver's state. The schedule is there before the state makes the snapshot complete."""
        at = prefix(self.solver.iter)
        self.schedule.save(at + ".schedule.json")
        self.solver.snapshot()
        return at + ".solverstate"

    def run(self, stopped):
        """To the end, or until `stopped()`."""
        weights = loss_weights(self.solver.net)
        while self.solver.iter < self.param.max_iter and not stopped():
            self.solver.step(1)
            net = self.solver.net  # another, where the solver was made again
            rate = self.schedule.feed(sum(weights[name] * float(net.blobs[name].data.sum()) for name in weights))
            if rate is not None:
                self.set(rate)
            if self.every and self.solver.iter % self.every == 0:
                self.snapshot()
        if not os.path.exists(prefix(self.solver.iter) + ".solverstate"):
            self.snapshot()
        say("Optimization stopped early." if stopped() else "Optimization Done.")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--snapshot", default="")
    parser.add_argument("--weights", default="")
    parser.add_argument("--window", type=int, default=1000)
    parser.add_argument("--factor", type=float, default=0.5)
    parser.add_argument("--gpu", default="")
    given = parser.parse_args()
    if "," in given.gpu:
        raise SystemExit("launch: trainer=python trains on one GPU: --gpus 1")
    told = []
    signal.signal(signal.SIGINT, lambda *_: told.append(1))
    if given.gpu:
        caffe.set_device(int(given.gpu))
        caffe.set_mode_gpu()
    Training(given).run(lambda: bool(told))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is saved: a stop that comes now ends nothing


if __name__ == "__main__":
    main()
