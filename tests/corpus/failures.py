"""Logs of trainings that failed, or did not, with the cause known by construction.

All numbers are sound. The last attempt ends well, is cut off, or ends with one of the lines of
`tests.unit.diagnose_lines`, before its first display or behind some. So each rule is met in each dialect, prefix and
encoding, behind attempts that ended otherwise. `python -m tests.corpus.failures SEED` prints one.
"""

import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from provision.logs import reader
from provision.logs.diagnose import diagnose, diagnose_pieces
from provision.logs.log import Log
from provision.logs.lost import Lost
from tests.corpus.dialects import DIALECTS
from tests.corpus.logs import Teller
from tests.corpus.wrappings import ENCODINGS, LINE_ENDS, PREFIXES
from tests.unit.diagnose_lines import FATAL, NOISE, OTHER

_STACK = ("*** Check failure stack trace: ***", "    @     0x7f8acfbb9daa  (unknown)", "Aborted (core dumped)")
_LINES: Mapping[str, str] = {**FATAL, **OTHER}
_SEEN = ("Could not open or find file a.jpg", "Could not decode datum ")  # errors that stop nothing
_OF_CAFFE = ("rate-not-a-number", "crash-at-exit")  # not in a log of Detectron's


class Sound(Teller):
    """A training whose numbers are in order."""

    def value(self) -> str:
        return f"{self.dice.uniform(0.5, 2.5):g}"


@dataclass(frozen=True)
class Failure:
    """A log, the rule that is its cause ("": none), how many attempts it has, and what it was drawn from."""

    data: bytes
    cause: str
    attempts: int
    kinds: tuple[str, ...]


def _out_of_memory(teller: Teller) -> None:
    teller.say("Check failed: error == cudaSuccess (2 vs. 0)  out of memory", "F")
    teller.lines += _STACK


def _crash(teller: Teller) -> None:
    teller.lines.append("*** SIGSEGV (@0x0) received by PID 7 (TID 0x7f) from PID 0; stack trace: ***")


def _early(teller: Teller) -> None:
    teller.say("Optimization stopped early.")
    teller.say("Optimization Done.")


def _nothing(teller: Teller) -> None:
    pass


# how an attempt ends that another one follows
_EARLIER: tuple[Callable[[Teller], None], ...] = (_out_of_memory, _crash, _early, _nothing)


def draw(seed: int) -> Failure:
    """The sample of a seed."""
    dice = random.Random(seed)
    line = dice.choice(["", "", *_LINES])
    caffe_alone = line in FATAL or _LINES.get(line) in _OF_CAFFE
    made = dice.choice([name for name in DIALECTS if name != "detectron" or not caffe_alone])
    teller = Sound(dice, DIALECTS[made](dice))
    attempts = dice.choice((1, 1, 2, 3))
    for number in range(attempts):
        last = number == attempts - 1
        at = _train(teller, first=number * 300, displays=dice.randrange(0 if line and last else 1, 6))
        if not last:
            dice.choice(_EARLIER)(teller)
    teller.clock += 60
    if line in FATAL:
        teller.say(line, "F")
        teller.lines += _STACK[: dice.randrange(4)]
    elif line:
        teller.lines += line.split("\n")
    elif dice.random() < 0.5 and made != "detectron":
        teller.say("Optimization Done.")
    prefix, newline, encoding = (dice.choice(list(table)) for table in (PREFIXES, LINE_ENDS, ENCODINGS))
    put = PREFIXES[prefix](dice)
    text = "".join(put(one) + LINE_ENDS[newline] for one in teller.lines)
    kinds = (made, str(attempts), prefix, newline, encoding, f"{at}", line)
    return Failure(ENCODINGS[encoding](text), _LINES.get(line, ""), attempts, kinds)


def _train(teller: Teller, first: int, displays: int) -> int:
    """One attempt, from the start of the program on; its last iteration."""
    dice, dialect, at = teller.dice, teller.dialect, first
    teller.clock += 60
    dialect.start(teller, f"snap/net_iter_{first}.solverstate" if first else "")
    for at in range(first, first + 10 * displays, 10):
        if dice.random() < 0.2:
            teller.lines.append(dice.choice(NOISE))
        if dice.random() < 0.1:
            teller.say(dice.choice(_SEEN), "E")
        if dice.random() < 0.3:
            dialect.test(teller, at)
        dialect.display(teller, at)
        if dice.random() < 0.2:
            dialect.snapshot(teller, at + 10)
    return at


def failure(seed: int) -> str:
    """What is wrong with the diagnosis of a seed's log; empty if nothing is."""
    sample = draw(seed)
    size = random.Random(seed).choice((97, 1000, 1 << 16))
    pieces = (sample.data[at : at + size] for at in range(0, len(sample.data), size))
    told = diagnose_pieces(pieces)
    names = [cause.name for cause in told.causes]
    right = names[:1] == [sample.cause] if sample.cause else not names
    ended = (told.ending.word == "failed") >= bool(sample.cause and told.causes and told.causes[0].kind == "cause")
    watch = Lost()
    for event in reader.events([sample.data]):
        watch.feed(event)
    if watch.what:
        return f"seed {seed} {sample.kinds}: all its numbers are sound, and it would be stopped: {watch.what}"
    if right and ended and told.attempts == sample.attempts:
        return ""
    return f"seed {seed} {sample.kinds}: {sample.cause or 'none'} is the cause; {names}, {told.ending}, {told.attempts}"


def failure_of_ranks(seed: int, folder: Path) -> str:
    """What is wrong with the diagnosis of a log that several ranks wrote line by line, of which one failed."""
    dice = random.Random(seed)
    made = dice.choice([name for name in DIALECTS if name != "detectron"])
    form, failing = dice.choice(("[{}] ", "[1,{}]<stderr>:", "{}: ")), dice.choice(list(FATAL))
    tellers = [Sound(dice, DIALECTS[made](dice)) for _ in range(dice.randrange(2, 5))]
    for teller in tellers:
        _train(teller, 0, dice.randrange(1, 6))
    bad = dice.randrange(len(tellers))
    tellers[bad].say(failing, "F")
    tellers[bad].lines += _STACK
    waiting = {rank: [form.format(rank) + line for line in teller.lines] for rank, teller in enumerate(tellers)}
    mixed = []
    while any(waiting.values()):
        mixed.append(waiting[dice.choice([rank for rank, lines in waiting.items() if lines])].pop(0))
    path = folder / "ranks.log"
    path.write_text("".join(line + "\n" for line in mixed), encoding="utf-8")
    told = diagnose(Log("ranks", path))
    if (
        told.causes
        and told.causes[0].name == FATAL[failing]
        and told.causes[0].place.startswith(f"rank{bad} alone, of ")
    ):
        return "" if told.ending.word == "failed" else f"seed {seed}: {told.ending}"
    return f"seed {seed} ({made}, {form}, rank {bad} of {len(tellers)}, {failing}): {told.causes}"


if __name__ == "__main__":
    drawn = draw(int(sys.argv[1]))
    sys.stdout.buffer.write(drawn.data)
    print("\n", drawn.cause, drawn.kinds, failure(int(sys.argv[1])), sep="\n")
