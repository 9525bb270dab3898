"""How programs print a training: Caffe through the years and forks, Detectron in both ages."""

import datetime
import json
import math
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.corpus.logs import Teller

_LINUX = {"nan": math.nan, "-nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_VISUAL_2013 = {"1.#QNAN": math.nan, "-1.#IND": math.nan, "1.#INF": math.inf, "-1.#INF": -math.inf}
_VISUAL_2015 = {"-nan(ind)": math.nan, "nan": math.nan, "-inf": -math.inf}
_BEGUN = datetime.datetime(2016, 12, 31, 23, 50)


class Dialect:
    """BVLC's Caffe since 2016. Others say what they print otherwise."""

    rate_first = False
    train_outputs = True
    line = "Iteration {at} ({speed:g} iter/s, {time:g}s/10 iters), loss = {loss}"
    rate = "Iteration {at}, lr = {rate}"
    testing = "Iteration {at}, Testing net (#{net})"
    saving = "Snapshotting solver state to binary proto file snap/net_iter_{at}.solverstate"

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.numbers: Mapping[str, float] = dice.choice((_LINUX, _LINUX, _VISUAL_2013, _VISUAL_2015))
        self.year = dice.random() < 0.2
        self.thread = dice.choice(("    7", "12345", "0x7fff7b5c3000"))
        names = [("loss", 1.0)], [("loss1", 0.3), ("loss3/top-1", None)], [("mbox_loss", 1.0), ("my score", None)]
        self.outputs: list[tuple[str, float | None]] = dice.choice(names)
        self.scores: list[tuple[str, float | None]] = [*self.outputs, ("accuracy", None)]
        self.nets = dice.choice((1, 1, 2))

    def header(self, severity: str, clock: float) -> str:
        now = _BEGUN + datetime.timedelta(seconds=clock)
        line = self.dice.randrange(40, 400)
        return f"{severity}{now:{'%Y' * self.year}%m%d %H:%M:%S.%f} {self.thread} solver.cpp:{line}] "

    def start(self, teller: "Teller", state: str) -> None:
        teller.say("Initializing solver from parameters: ")
        teller.lines += ["test_iter: 5", "base_lr: 0.01", "max_iter: 1000", ""]
        teller.say("Solver scaffolding done.")
        if state:
            teller.say(f"Resuming from {state}")
        teller.say(self.dice.choice(("Solving net", "Solving ", "Solving")))
        if state and self.dice.random() < 0.5:
            teller.say(f"Restoring previous solver status from {state}")

    def display(self, teller: "Teller", at: int) -> None:
        ways = (self._rate, self._loss) if self.rate_first else (self._loss, self._rate)
        for way in ways:
            way(teller, at)

    def _loss(self, teller: "Teller", at: int) -> None:
        loss = teller.value()
        teller.say(self.line.format(at=at, loss=loss, speed=self.dice.uniform(0, 99), time=self.dice.uniform(0, 99)))
        teller.tell("solver", at, "loss", loss)
        for number, (name, weight) in enumerate(self.outputs if self.train_outputs else ()):
            self._output(teller, "train", at, number, name, weight)

    def _rate(self, teller: "Teller", at: int) -> None:
        rate = teller.value()
        teller.say(self.rate.format(at=at, rate=rate))
        teller.tell("solver", at, "lr", rate)

    def _output(self, teller: "Teller", phase: str, at: int, number: int, name: str, weight: float | None,
                net: int = 0) -> None:  # fmt: skip
        value = teller.value()
        more = "" if weight is None else f" (* {weight:g} = {self.dice.random():g} loss)"
        teller.say(f"    {phase.title()} net output #{number}: {name} = {value}{more}")
        teller.tell(phase, at, name, value, number, weight, net)

    def test(self, teller: "Teller", at: int) -> None:
        for net in range(self.nets):
            teller.say(self.testing.format(at=at, net=net))
            if self.dice.random() < 0.3:
                loss = teller.value()
                teller.say(f"Test loss: {loss}")
                teller.tell("test", at, "test loss", loss, net=net)
            for number, (name, weight) in enumerate(self.scores):
                self._output(teller, "test", at, number, name, weight, net)

    def snapshot(self, teller: "Teller", at: int) -> None:
        teller.say(f"Snapshotting to binary proto file snap/net_iter_{at}.caffemodel")
        teller.say(self.saving.format(at=at))


class Of2013(Dialect):
    """The learning rate comes first; a test tells its outputs by number."""

    rate_first, train_outputs = True, False
    line, testing = "Iteration {at}, loss = {loss}", "Iteration {at}, Testing net"
    saving = "Snapshotting solver state to snap/net_iter_{at}.solverstate"

    def test(self, teller: "Teller", at: int) -> None:
        teller.say(self.testing.format(at=at, net=0))
        for number in range(len(self.scores)):
            value = teller.value()
            teller.say(f"Test score #{number}: {value}")
            teller.tell("test", at, f"score #{number}", value, number)


class Of2015(Dialect):
    line = "Iteration {at}, loss = {loss}"
    saving = "Snapshotting solver state to HDF5 file snap/net_iter_{at}.solverstate.h5"


class Nvidia14(Dialect):
    line, rate = "Iteration {at}, loss = {loss}", "Iteration {at} ({rate}/s), lr = {rate}"


class Nvidia16(Dialect):
    line = "Iteration {at} ({speed:g} iter/s, {time:g}s/50 iter), loss = {loss}"
    rate = "Iteration {at}, lr = {rate}, m = 0.9, wd = 0.0004, gs = 1"


class Nvidia17(Nvidia16):
    line = "Iteration {at} ({speed:g} iter/s, {time:g}s/50 iter), {time:g}/90ep, loss = {loss}"


class BothInOne(Dialect):
    """Some forks print the learning rate behind the loss."""

    line, train_outputs = "Iteration {at}, loss = {loss}", False

    def display(self, teller: "Teller", at: int) -> None:
        loss, rate = teller.value(), teller.value()
        teller.say(f"Iteration {at}, loss = {loss}, lr = {rate}")
        teller.tell("solver", at, "loss", loss)
        teller.tell("solver", at, "lr", rate)


class Commas(Dialect):
    """A program with its user's locale: a comma in each number."""

    def display(self, teller: "Teller", at: int) -> None:
        loss = f"{self.dice.uniform(0.1, 9):.4f}"
        teller.say(f"Iteration {at}, loss = {loss.replace('.', ',')}")
        teller.tell("solver", at, "loss", loss)


class Detectron(Dialect):
    """json_stats, floats as texts or as numbers; its lines have no time."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__(dice)
        self.numbers, self.texts = {}, dice.random() < 0.5

    def header(self, severity: str, clock: float) -> str:
        return f"{'CRITICAL' if severity == 'F' else 'INFO'} train.py: {self.dice.randrange(10, 300)}: "

    def start(self, teller: "Teller", state: str) -> None:
        teller.say("Building model: generalized_rcnn")
        if state:
            at = state.rpartition("_")[2].partition(".")[0]
            teller.say(f"========> Resuming from checkpoint /w/model_iter{at}.pkl at start iter {at}")

    def display(self, teller: "Teller", at: int) -> None:
        values: dict[str, Any] = {"loss": 0.0, "accuracy_cls": 0.0, "lr": 0.0, "time": 0.0, "mem": 0.0}
        values = {name: round(self.dice.uniform(0, 9), 6) for name in values}
        told = {name: f"{value:.6f}" if self.texts else value for name, value in values.items()}
        teller.lines.append("json_stats: " + json.dumps({"iter": at, **told}, sort_keys=True))
        for phase, name in (("solver", "loss"), ("train", "loss"), ("train", "accuracy_cls"), ("solver", "lr"),
                            ("solver", "mem"), ("solver", "time")):  # fmt: skip
            teller.tell(phase, at, name, repr(values[name]))

    def test(self, teller: "Teller", at: int) -> None:
        pass

    def snapshot(self, teller: "Teller", at: int) -> None:
        teller.say(f"Saving parameters and momentum to /w/model_iter{at}.pkl")


DIALECTS: dict[str, Callable[[random.Random], Dialect]] = {
    "bvlc": Dialect, "2013": Of2013, "2015": Of2015, "nvcaffe 0.14": Nvidia14, "nvcaffe 0.16": Nvidia16,
    "nvcaffe 0.17": Nvidia17, "both in one line": BothInOne, "commas": Commas, "detectron": Detectron,
}  # fmt: skip
