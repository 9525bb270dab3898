"""Logs of trainings that nobody ran, with the numbers that they tell known by construction.

A sample is drawn by a seed: a story (attempts, displays, tests, snapshots, resumes, an end), told in a dialect of Caffe
or Detectron, with something before each line, in an encoding. Each of these is a table, and a new row is a new kind:
`DIALECTS`, `PREFIXES`, `ENCODINGS`, `NOISE`, `ENDS`. `python -m tests.corpus.logs SEED` prints one.
"""

import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.corpus.dialects import DIALECTS, Dialect
from tests.corpus.wrappings import ENCODINGS, LINE_ENDS, OBJECTS, PREFIXES


class Number(NamedTuple):
    """A number that a log tells, as `provision logs --json` has it; the value as `repr` writes it, for nan."""

    attempt: int
    phase: str
    iteration: int
    name: str
    value: str
    net: int = 0
    output: int = 0
    weight: float | None = None


class Display(NamedTuple):
    """A display that counts in the end."""

    attempt: int
    iteration: int


@dataclass
class Sample:
    """A log, all its numbers in their order, and the displays that led to its end. `kinds`: what it was drawn from."""

    data: bytes
    numbers: list[Number]
    kept: list[Display]
    kinds: tuple[str, ...]


@dataclass
class Teller:
    """Writes lines in a dialect, and keeps what they tell."""

    dice: random.Random
    dialect: Dialect
    lines: list[str] = field(default_factory=list)
    numbers: list[Number] = field(default_factory=list)
    attempt: int = 0
    clock: float = 0.0
    begins: list[int] = field(default_factory=list)  # of the attempts' lines

    def say(self, message: str, severity: str = "I") -> None:
        """A line of the program's, as its logger writes it."""
        self.clock += self.dice.choice((0.0001, 0.01, 1.5, 70.0))
        self.lines.append(self.dialect.header(severity, self.clock) + message)

    def tell(self, phase: str, at: int, name: str, value: str, output: int = 0, weight: float | None = None,
             net: int = 0) -> None:  # fmt: skip
        number = self.dialect.numbers.get(value)
        self.numbers.append(
            Number(self.attempt, phase, at, name, repr(float(value) if number is None else number), net, output, weight)
        )

    def value(self) -> str:
        """A number as this program prints one, now and then none."""
        if self.dialect.numbers and self.dice.random() < 0.05:
            return self.dice.choice(list(self.dialect.numbers))
        return f"{self.dice.choice((self.dice.uniform(0, 9), self.dice.uniform(-2, 0), 87.3365, 1e-13, 2.5e6, 0)):g}"


NOISE: tuple[Callable[[random.Random], str], ...] = (
    lambda dice: "",
    lambda dice: f"speed: {dice.random():.3f}s / iter",
    lambda dice: 'layer { name: "fc8" type: "InnerProduct" }',
    lambda dice: "  lr_policy: \"step\"",
    lambda dice: "libdc1394 error: Failed to initialize libdc1394",
    lambda dice: "Größe der Bilder: 227 × 227, 图像",
    lambda dice: "@     0x7f5b1c3e4a5d  caffe::Solver<>::Step()",
)  # fmt: skip


def _finished(teller: Teller) -> None:
    teller.say("Optimization Done.")


def _early(teller: Teller) -> None:
    teller.say("Optimization stopped early.")
    teller.say("Optimization Done.")


def _cut(teller: Teller) -> None:
    """The machine dies while a line is written; so much of it is there that no number is."""
    line = f"{teller.dialect.header('I', teller.clock)}Iteration 99999 (1 iter/s, 2s/10 iters), loss = "
    teller.lines.append(line[: teller.dice.randrange(1, len(line))])


def _fatal(teller: Teller) -> None:
    teller.say("Check failed: error == cudaSuccess (2 vs. 0)  out of memory", "F")
    teller.lines.append("*** Check failure stack trace: ***")


def _crash(teller: Teller) -> None:
    teller.lines.append("*** SIGSEGV (@0x0) received by PID 7 (TID 0x7f) from PID 0; stack trace: ***")


# how an attempt ends; each writes its lines. More kinds of errors: more rows
ENDS: dict[str, Callable[[Teller], None]] = {
    "finished": _finished,
    "early": _early,
    "killed": lambda teller: None,
    "cut": _cut,
    "fatal": _fatal,
    "crash": _crash,
}


@dataclass
class _State:
    """A snapshot: the displays that led to it."""

    at: int
    path: str
    kept: list[Display]


def story(teller: Teller, attempts: int, ends: list[str]) -> list[Display]:
    """Tell a training in some attempts; the displays that led to its end."""
    dice, states, kept = teller.dice, list[_State](), list[Display]()
    step = dice.choice((1, 10, 50))
    for number, end in enumerate(ends):
        teller.attempt = number
        teller.begins.append(len(teller.lines))
        begun = dice.choice(states) if number and states else None
        fails = bool(begun) and dice.random() < 0.2
        if number or dice.random() < 0.9:  # else the log's beginning is missing
            teller.dialect.start(teller, begun.path if begun else "")
        if fails:
            ENDS["fatal"](teller)
            continue
        at, led = (begun.at, list(begun.kept)) if begun else (0, list(kept) if number else [])
        for _ in range(dice.randrange(1, 8)):
            if dice.random() < 0.3:
                teller.lines.append(dice.choice(NOISE)(dice))
            if dice.random() < 0.3:
                teller.dialect.test(teller, at)
            teller.dialect.display(teller, at)
            led.append(Display(number, at))
            at += step
            if dice.random() < 0.4:
                state = _State(at, f"snap/net_iter_{at}.solverstate", list(led))
                teller.dialect.snapshot(teller, state.at)
                states = [other for other in states if other.at != at] + [state]
        ENDS[end](teller)
        kept = led
    return kept


def draw(seed: int) -> Sample:
    """The sample of a seed."""
    dice = random.Random(seed)
    made = dice.choice(list(DIALECTS))
    dialect = DIALECTS[made](dice)
    teller = Teller(dice, dialect)
    attempts = dice.choice((1, 1, 2, 3, 4))
    ends = [dice.choice(list(ENDS)) for _ in range(attempts)]
    kept = story(teller, attempts, ends)
    newline, encoding = dice.choice(list(LINE_ENDS)), dice.choice(list(ENCODINGS))
    prefixes = [dice.choice(list(PREFIXES))] * attempts
    if dice.random() < 0.2:  # each attempt was started in another way, and they wrote to one file
        prefixes = [dice.choice([name for name in PREFIXES if name not in OBJECTS]) for _ in range(attempts)]
    text = "".join(_put(teller, dice, prefixes, LINE_ENDS[newline]))
    text = text.rstrip("\r\n") if ends[-1] == "cut" and prefixes[-1] not in OBJECTS else text
    return Sample(ENCODINGS[encoding](text), teller.numbers, kept, (made, *ends, *prefixes, newline, encoding))


def _put(teller: Teller, dice: random.Random, prefixes: list[str], newline: str) -> Iterator[str]:
    for prefix, begin, end in zip(prefixes, teller.begins, [*teller.begins[1:], len(teller.lines)], strict=True):
        put = PREFIXES[prefix](dice)
        yield from (put(line) + newline for line in teller.lines[begin:end])


if __name__ == "__main__":
    sample = draw(int(sys.argv[1]))
    sys.stdout.buffer.write(sample.data)
    print("\n", sample.kinds, *sample.numbers, *sample.kept, sep="\n")
