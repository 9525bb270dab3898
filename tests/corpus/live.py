"""Logs of trainings that are followed while they run: those that live through bad displays, and those that are lost.

The losses follow a curve, in which something happens: `LIVES` and `DIES`, a new row is a new kind. The live rule of
`train --diagnose` must stop none of the first and each of the second. `python -m tests.corpus.live SEED` prints one.
"""

import math
import random
import sys
from collections.abc import Callable

from provision.logs.diagnose import diagnose_pieces
from provision.runs.log import Piece
from provision.runs.report import Follower
from tests.corpus.dialects import DIALECTS
from tests.corpus.logs import Teller

_DIALECTS = [name for name in DIALECTS if name not in ("detectron", "commas")]  # those draw their numbers themselves
_BAD = (math.nan, math.inf, 1e20, 87.3365)
Curve = list[float]


class Told(Teller):
    """A training whose losses are told one after the other."""

    loss = 0.0

    def value(self) -> str:
        return f"{self.loss:g}"


def _at(dice: random.Random, curve: Curve) -> int:
    """Behind the part in which it learns."""
    return dice.randrange(40, len(curve) - 20)


def _put(dice: random.Random, curve: Curve, count: int) -> Curve:
    at, bad = _at(dice, curve), dice.choice(_BAD)
    return [*curve[:at], *[bad] * count, *curve[at + count :]]


def _here_and_there(dice: random.Random, curve: Curve) -> Curve:
    return [dice.choice(_BAD) if dice.random() < 0.15 and at % 3 else value for at, value in enumerate(curve)]


def _from_above(dice: random.Random, curve: Curve) -> Curve:
    return [curve[0], *(curve[0] * 1000 * 0.9**at for at in range(dice.randrange(20, 45))), *curve[1:]]


LIVES: dict[str, Callable[[random.Random, Curve], Curve]] = {
    "nothing": lambda dice, curve: curve,
    "one bad display": lambda dice, curve: _put(dice, curve, 1),
    "some bad displays": lambda dice, curve: _put(dice, curve, dice.randrange(2, 5)),
    "bad displays here and there": _here_and_there,
    "it begins with one": lambda dice, curve: [dice.choice(_BAD), *curve],
    "it comes from far above": _from_above,
    "it begins at its floor": lambda dice, curve: [87.3365] * dice.randrange(1, 15) + curve,
    "it learns nothing": lambda dice, curve: [curve[0] * dice.uniform(0.99, 1.01) for _ in curve],
}
DIES: dict[str, Callable[[random.Random, Curve], Curve]] = {
    "no number": lambda dice, curve: curve[: _at(dice, curve)] + [dice.choice((math.nan, math.inf))] * 60,
    "no number from the start": lambda dice, curve: [math.nan] * 60,
    "at its floor": lambda dice, curve: curve[: _at(dice, curve)] + [math.nan] * dice.randrange(3) + [87.3365] * 60,
    "no weights any more": lambda dice, curve: [*curve[: _at(dice, curve)], math.nan, *[curve[0] * 1.01] * 70],
    "it grows": lambda dice, curve: curve[:5] + [1e3 * 1.5**at for at in range(70)],
}


def draw(seed: int) -> tuple[bytes, str, bool]:
    """A log, what it was drawn from, and whether the training is lost."""
    dice = random.Random(seed)
    dies = dice.random() < 0.4
    kind = dice.choice(list(DIES if dies else LIVES))
    start, count = dice.uniform(1.2, 20), dice.randrange(80, 200)
    falling = [start * (0.05 + 0.95 * math.exp(-at / 15)) * dice.uniform(0.95, 1.05) for at in range(count)]
    made = dice.choice(_DIALECTS)
    teller = Told(dice, DIALECTS[made](dice))
    teller.dialect.numbers = {}  # as C++ prints them
    teller.dialect.start(teller, "")
    for number, teller.loss in enumerate((DIES if dies else LIVES)[kind](dice, [start, *falling[1:]])):
        if dice.random() < 0.05:
            teller.dialect.test(teller, number * 20)
        teller.dialect.display(teller, number * 20)
    return "".join(line + "\n" for line in teller.lines).encode(), f"{made}, {kind}", dies


class Quiet:
    """A bar that shows nothing."""

    def show(self, iteration: int, total: int, words: str) -> None: ...


def failure(seed: int) -> str:
    """What is wrong with what a follower does with a seed's log; empty if nothing is."""
    data, kind, dies = draw(seed)
    calls: list[str] = []
    follower = Follower(stop=lambda: calls.append("stop"))
    size = random.Random(seed).choice((97, 1000, 1 << 16))
    for at in range(0, len(data), size):
        follower.take(Piece(f"{at}", 0, data[at : at + size]), Quiet())  # type: ignore[arg-type]
    if len(calls) != dies:
        return f"seed {seed} ({kind}): stopped {len(calls)} times"
    if dies and not diagnose_pieces([data]).causes:
        return f"seed {seed} ({kind}): it was stopped, and the diagnosis finds nothing"
    return ""


if __name__ == "__main__":
    sys.stdout.buffer.write(draw(int(sys.argv[1]))[0])
    print(*draw(int(sys.argv[1]))[1:], failure(int(sys.argv[1])), sep="\n")
