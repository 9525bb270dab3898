"""What a seed means: a list of events. Each can be left out, which is how a failing list is made short."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

KIND = "g4dn.xlarge"
NAMES = ("lab", "box")
RECIPE, RUN = "RECIPE", "RUN"  # in words: the recipe's folder, the newest run's id
TRAIN = ("train", RECIPE, "--gpus", "0", "--instance", KIND, "--no-keeper")
RESUME = ("resume", RUN, "--no-keeper")
PEOPLE = ("alice", "bob")
FAULTS = (
    *("lost", "cut", "broken") * 2, *("killed before", "killed after") * 2, "stopped before", "stopped after",
    "terminated before", "hung up after", "odd", "throttled", "denied", "expired", "full",
)  # fmt: skip


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that happens `at` so many seconds.

    command: `who` (a person) types `words`; `label` names it. fault: the `nth` call and `times` of `label` meet `what`.
    take: AWS announces the end of machine `name` `seconds` before (0: at once). full: no capacity for `seconds`. price:
    the spot market is `factor` times as dear from then on. offline: `who` has no line for `seconds`. sick: the next
    machine's bootstrap fails. line: the machines have no line to S3 for `seconds`. end: the label's client is `what`
    (killed, stopped by Ctrl-C, terminated, hung up).
    """

    at: float
    kind: str
    who: str = ""
    label: str = ""
    words: tuple[str, ...] = ()
    nth: int = 0
    times: int = 1
    what: str = ""
    name: str = ""
    seconds: float = 0.0
    factor: float = 1.0

    def __str__(self) -> str:
        given = {key: value for key, value in msgspec.structs.asdict(self).items() if key not in ("at", "kind")}
        empty = msgspec.structs.asdict(Event(0.0, ""))
        shown = [f"{key}={_word(value)}" for key, value in given.items() if value != empty[key]]
        return f"{self.at:7.1f} s {self.kind:8} {' '.join(shown)}"


def _word(value: Any) -> str:
    return " ".join(value) if isinstance(value, tuple) else str(value)


@dataclass(frozen=True)
class Plan:
    """`seed` also says who goes first where several may."""

    seed: int
    events: tuple[Event, ...]

    def text(self) -> str:
        return "\n".join(str(event) for event in self.events)


def plan(seed: int) -> Plan:
    """The schedule of a seed."""
    chosen = random.Random(f"plan {seed}")
    kind = chosen.choices((_machines, _trainings, _resumes, _money, _ends), (5, 3, 1, 1, 2))[0]
    events = [*kind(chosen)]
    return Plan(seed, tuple(sorted(events, key=lambda event: event.at)))


def _machines(chosen: random.Random) -> Iterator[Event]:
    """People who rent and end machines, on laptops that fail."""
    people = PEOPLE[: chosen.choice((1, 1, 2))]
    at, count = 0.0, chosen.choice((1, 2, 2, 3, 4))
    for number in range(count):
        who, label = chosen.choice(people), f"c{number}"
        at += chosen.choice((0.0, 2.0, 20.0, 60.0, 200.0)) * chosen.random()
        yield Event(round(at, 1), "command", who=who, label=label, words=_words(chosen, number))
        if chosen.random() < 0.7:
            kind = chosen.choice(FAULTS)
            times = chosen.choice((1, 1, 5, 1000)) if kind in ("throttled", "denied", "expired", "broken") else 1
            yield Event(0.0, "fault", label=label, nth=chosen.randint(1, 60), times=times, what=kind)
    yield from _weather(chosen, people)


def _trainings(chosen: random.Random) -> Iterator[Event]:
    """One who trains on a machine that AWS may take, and what goes wrong meanwhile."""
    disk = ("--volume", "data:20") if chosen.random() < 0.15 else ()
    yield Event(0.0, "command", who="alice", label="c0", words=(*TRAIN, *disk))
    for _ in range(chosen.choice((0, 1, 1, 2))):
        kind = chosen.choice((*FAULTS, "odd", "expired"))
        times = chosen.choice((1, 1, 5)) if kind in ("throttled", "denied", "expired", "broken") else 1
        yield Event(0.0, "fault", label="c0", nth=chosen.randint(20, 160), times=times, what=kind)
    for _ in range(chosen.choice((0, 1, 1, 2))):
        at = round(chosen.uniform(20, 400), 1)
        yield Event(at, "take", name="", seconds=chosen.choice((0.0, 120.0, 120.0)))
        if chosen.random() < 0.3:
            yield Event(round(at + chosen.uniform(-20, 20), 1), "line", seconds=chosen.choice((3.0, 15.0, 30.0)))
    if chosen.random() < 0.3:
        at, who = round(chosen.uniform(150, 500), 1), chosen.choice(PEOPLE)
        yield Event(at, "command", who=who, label="c1", words=RESUME)
    yield from _weather(chosen, PEOPLE[:1])


def _resumes(chosen: random.Random) -> Iterator[Event]:
    """A training that nobody follows loses its machine, and two people go on with it."""
    yield Event(0.0, "command", who="alice", label="c0", words=("up", "--instance", KIND, "--name", NAMES[0]))
    words = ("train", RECIPE, "--gpus", "0", "--on", NAMES[0], "--detach")
    yield Event(130.0, "command", who="alice", label="c1", words=words)
    yield Event(round(chosen.uniform(170, 250), 1), "take", name=NAMES[0], seconds=120.0)
    at = round(chosen.uniform(380, 420), 1)
    for label, who in (("c2", "alice"), ("c3", chosen.choice(PEOPLE))):
        yield Event(at, "command", who=who, label=label, words=RESUME)
        at = round(at + chosen.choice((0.0, 0.5, 5.0, 60.0)), 1)
        if chosen.random() < 0.3:
            yield Event(0.0, "fault", label=label, nth=chosen.randint(1, 100), what=chosen.choice(FAULTS))


def _money(chosen: random.Random) -> Iterator[Event]:
    """A machine with a budget, whose price moves; its laptop may be gone."""
    more = ("--idle-minutes", "0", *chosen.choice(((), ("--max-price", "0.4"))))
    words = ("up", "--instance", KIND, "--name", NAMES[0], "--budget", f"{chosen.choice((0.5, 1, 2))}", *more)
    yield Event(0.0, "command", who="alice", label="c0", words=words)
    if chosen.random() < 0.3:
        yield Event(0.0, "fault", label="c0", nth=chosen.randint(1, 60), what=chosen.choice(FAULTS))
    if chosen.random() < 0.3:
        yield Event(400.0, "command", who="alice", label="c1", words=("extend", NAMES[0], "20h"))
    at = 0.0
    for _ in range(chosen.choice((1, 2, 4))):
        at += chosen.uniform(0, 7200)
        yield Event(round(at, 1), "price", factor=chosen.choice((0.5, 1.5, 2.5, 10.0)))


def _ends(chosen: random.Random) -> Iterator[Event]:
    """A training whose machine's own end comes, which is moved meanwhile; and another goes on with it."""
    yield Event(0.0, "command", who="alice", label="c0", words=("up", "--instance", KIND, "--name", NAMES[0]))
    words = ("train", RECIPE, "--gpus", "0", "--on", NAMES[0], "--detach")
    yield Event(130.0, "command", who="alice", label="c1", words=words)
    at = 160.0
    for number, minutes in enumerate(chosen.choice((("1m",), ("2m",), ("3h", "1m"), ("1m", "20m"))), 2):
        at = round(at + chosen.uniform(1, 30), 1)
        label = f"c{number}"
        who = chosen.choice((*PEOPLE[:1] * 3, *PEOPLE))
        yield Event(at, "command", who=who, label=label, words=("extend", NAMES[0], minutes))
        if chosen.random() < 0.3:
            yield Event(0.0, "fault", label=label, nth=chosen.randint(1, 30), what=chosen.choice(FAULTS))
    at = round(at + chosen.uniform(150, 260), 1)
    yield Event(at, "command", who="alice", label="c9", words=RESUME)


def _words(chosen: random.Random, number: int) -> tuple[str, ...]:
    name = NAMES[0] if chosen.random() < 0.7 else NAMES[1]
    verb = "up" if number == 0 else chosen.choice(("up", "up", "down", "down", "extend"))
    if verb == "up":
        more = chosen.choice(((), ("--max-hours", "2"), ("--fallback", "on-demand"), ("--keep-on-error", "30m")))
        never_idle = ("--idle-minutes", "0") if chosen.random() < 0.7 else ()
        way = ("--via", "ssm") if chosen.random() < 0.15 else ()
        disk = ("--volume", chosen.choice(("data:20", "scratch:20:delete"))) if chosen.random() < 0.2 else ()
        return ("up", "--instance", KIND, "--name", name, *never_idle, *more, *way, *disk)
    return (verb, name, "3h") if verb == "extend" else (verb, name)


def _weather(chosen: random.Random, people: tuple[str, ...]) -> Iterator[Event]:
    """What nobody does."""
    for _ in range(chosen.choice((0, 0, 1, 2))):
        at = round(chosen.random() * 300, 1)
        kind = chosen.choice(("take", "full", "offline", "sick", "line", "end", "end"))
        if kind == "take":
            yield Event(at, kind, name=chosen.choice(NAMES), seconds=chosen.choice((0.0, 120.0)))
        elif kind == "full":
            yield Event(at, kind, seconds=chosen.choice((20.0, 600.0)))
        elif kind == "offline":
            yield Event(at, kind, who=chosen.choice(people), seconds=chosen.choice((5.0, 60.0, 600.0)))
        elif kind == "sick":
            yield Event(at, kind)
        elif kind == "line":
            yield Event(at, kind, seconds=chosen.choice((3.0, 30.0)))
        else:
            yield Event(
                at,
                kind,
                label=f"c{chosen.randrange(4)}",
                what=chosen.choice(("killed", "stopped", "terminated", "hung up")),
            )
