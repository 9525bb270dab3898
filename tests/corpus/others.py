"""Logs of other programs' trainings that nobody ran, with the numbers that they tell known by construction.

As `tests.corpus.logs`: a story of attempts, told in a form (`forms.FORMS`), with something before each line, in an
encoding, to an end (`ENDS`). Nobody says when a program is started again: that its steps go back is all there is to
see. `python -m tests.corpus.others SEED` prints one.
"""

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.corpus.forms import FORMS, Form, Said
from tests.corpus.logs import Display, Number, Sample
from tests.corpus.wrappings import ENCODINGS, LINE_ENDS, OBJECTS, PREFIXES

# not what only a known program's lines let one learn, nor what the forms have themselves
BEFORE = [
    name for name in PREFIXES if name not in ("a rank", "srun --label", "a progress bar", "a progress bar on the line")
]
ENCODED = ("utf-8", "a mark", "PowerShell", "gzip", "xz")


@dataclass
class Story:
    """Lines, the numbers that they tell, and by attempt the iterations that were displayed."""

    form: Form
    lines: list[str] = field(default_factory=list)
    numbers: list[Number] = field(default_factory=list)
    shown: dict[int, list[int]] = field(default_factory=dict)
    attempt: int = 0

    def tell(self, at: int, said: list[Said]) -> None:
        """Keep what a line said, in the order in which it is read: the loss that stands for all first."""
        own = [one for one in said if one.whose != "test"]
        main = next((one for one in own if one.name.lower() in ("loss", "total_loss", "lm loss", "box_loss")), None)
        for one in sorted(own, key=lambda one: one is not main):
            if one is main:
                self._add("solver", at, "loss", one.text)
            rate = one.whose == "rate"
            self._add("solver" if rate else "train", at, "lr" if rate else one.name, one.text)
        for one in said:
            if one.whose == "test":
                self._add("test", at, one.name, one.text)

    def _add(self, phase: str, at: int, name: str, text: str) -> None:
        self.numbers.append(Number(self.attempt, phase, at, name, repr(float(text))))
        if phase != "test" and (not (told := self.shown.setdefault(self.attempt, [])) or told[-1] != at):
            told.append(at)


def _traceback(story: Story) -> None:
    story.lines += [
        "Traceback (most recent call last):",
        '  File "train.py", line 10, in <module>',
        "RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 15.78 GiB total capacity)",
    ]


def _cut(story: Story) -> None:
    """The machine dies while a line is written; so little of it is there that no number is."""
    line = story.form.display(10**6, [])[-1].rpartition("\r")[2]
    story.lines.append(line[: min(8, len(line))])


ENDS: dict[str, Callable[[Story], None]] = {
    "finished": lambda story: story.lines.append("Done."),
    "killed": lambda story: None,
    "killed by a shell": lambda story: story.lines.append("Killed"),
    "traceback": _traceback,
    "cut": _cut,
}


def _attempt(story: Story, first: int, count: int) -> None:
    """So many displays from an iteration on."""
    dice, form = story.form.dice, story.form
    for at in range(first, first + count * form.step, form.step):
        if dice.random() < 0.3:
            story.lines.append(dice.choice(form.noise))
        said: list[Said] = []
        story.lines += form.display(at, said)
        story.tell(at, said)
        if dice.random() < 0.3:
            said = []
            story.lines += form.validation(at, said)
            story.tell(at, said)


def _kept(shown: dict[int, list[int]]) -> list[Display]:
    """The displays that count: of an attempt those before the first of each later one, unless that began anew."""
    first = min(ats[0] for ats in shown.values())
    found, limit = [], sys.maxsize
    for number in sorted(shown, reverse=True):
        found += [Display(number, at) for at in reversed(shown[number]) if at < limit]
        limit = sys.maxsize if shown[number][0] <= first else min(limit, shown[number][0])
    return found[::-1]


def draw(seed: int) -> Sample:
    """The sample of a seed."""
    dice = random.Random(seed)
    made = dice.choice(list(FORMS))
    story = Story(FORMS[made](dice))
    step = story.form.step
    attempts = dice.choice((1, 1, 2, 3)) if made != "csv" else dice.choice((1, 2))
    ends = [dice.choice(list(ENDS)) if not story.form.table else "killed" for _ in range(attempts)]
    last, begin = 0, step
    for number, end in enumerate(ends):
        if number:  # from a checkpoint before the last display, or anew
            story.attempt = number
            begin = dice.choice([step, *range(step, last, step)]) if last > step else step
        count = dice.randrange(2, 9) if number or attempts > 1 else dice.randrange(1, 9)
        story.lines += story.form.start()
        _attempt(story, begin, count)
        last = begin + (count - 1) * step
        ENDS[end](story)
    newline, encoding = dice.choice(list(LINE_ENDS)), dice.choice(ENCODED)
    prefix = dice.choice(BEFORE) if not story.form.table else "nothing"
    put = PREFIXES[prefix](dice)
    text = "".join(put(line) + LINE_ENDS[newline] for line in story.lines)
    text = text.rstrip("\r\n") if ends[-1] == "cut" and prefix not in OBJECTS else text
    kinds = (made, *ends, prefix, newline, encoding)
    return Sample(ENCODINGS[encoding](text), story.numbers, _kept(story.shown), kinds)


if __name__ == "__main__":
    sample = draw(int(sys.argv[1]))
    sys.stdout.buffer.write(sample.data)
    print("\n", sample.kinds, *sample.numbers, *sample.kept, sep="\n")
