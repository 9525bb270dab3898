"""What must hold of a drawn log; a failure is a text that begins with its seed."""

import random
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path

from provision.logs import apart, reader
from provision.logs.events import Event, Metric
from provision.logs.log import Log
from provision.logs.rows import rows
from tests.corpus.dialects import Dialect
from tests.corpus.logs import Display, Number, Sample, Teller, draw, story


def told(events: Iterator[Event]) -> list[Number]:
    """The numbers that were read."""
    return [
        Number(one.attempt, one.phase, one.iteration, one.name, repr(one.value), one.net, one.output, one.weight)
        for one in events
        if isinstance(one, Metric)
    ]


def failure(seed: int, folder: Path, draw: Callable[[int], Sample] = draw) -> str:
    """What is wrong with the reading of a seed's log: numbers, or which displays count; empty if nothing is."""
    sample = draw(seed)
    size = random.Random(seed).choice((97, 1000, 1 << 16))
    pieces = (sample.data[at : at + size] for at in range(0, len(sample.data), size))
    if differs := _difference(sample.numbers, told(reader.events(pieces))):
        return _said(seed, sample, differs)
    path = folder / "one.log"
    path.write_bytes(sample.data)
    kept = [
        Display(row.attempt, row.iteration) for row in rows(Log("one", path)) if row.phase == "train" and not row.lost
    ]
    return _said(seed, sample, differs) if (differs := _difference(sample.kept, kept)) else ""


def _difference(right: list[Number] | list[Display], read: list[Number] | list[Display]) -> str:
    for number, (one, other) in enumerate(zip_longest(right, read)):
        if one != other:
            return f"at {number} of {len(right)}: {other} was read, {one} is there"
    return ""


def _said(seed: int, sample: Sample, differs: str) -> str:
    return f"seed {seed} {sample.kinds}: {differs}"


def failure_of_ranks(seed: int, folder: Path) -> str:
    """What is wrong with a log that several ranks wrote, each its own numbers, line by line."""
    dice = random.Random(seed)
    form = dice.choice(("[{}] ", "[1,{}]<stderr>:", "{}: ", "trainer_{} | ", "10.0.0.{}: "))
    tellers = {rank: Teller(dice, Dialect(dice)) for rank in range(dice.randrange(2, 5))}
    lines: dict[int, list[str]] = {}
    for rank, teller in tellers.items():
        story(teller, 1, ["killed"])
        lines[rank] = [form.format(rank) + line for line in teller.lines]
    mixed = []
    while any(lines.values()):
        rank = dice.choice([rank for rank, waiting in lines.items() if waiting])
        mixed.append(lines[rank].pop(0))
    path = folder / "ranks.log"
    path.write_text("".join(line + "\n" for line in mixed), encoding="utf-8")
    parts = apart.by_source(Log("ranks", path))
    if len(parts) != len(tellers):
        return f"seed {seed} {form!r}: {len(parts)} logs of {len(tellers)} ranks"
    for part, teller in zip(parts, tellers.values(), strict=True):
        if differs := _difference(teller.numbers, told(part.events())):
            return f"seed {seed} {form!r} {part.name}: {differs}"
    return ""
