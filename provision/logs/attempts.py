"""Which numbers of a log count: those of the attempts that led to its end.

A training that resumes goes on from a snapshot that an earlier attempt wrote: what that one, and every one between the
two, had told from there on is told again. Whoever resumes and fails before its first number has taken nothing back.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from provision.logs.events import Event, Metric, Resumed, Snapshot
from provision.logs.metrics.asked import AUTO, Asked
from provision.logs.reader import Parser
from provision.logs.text import whole_lines

_MARKS = (b"Initializing solver", b"Resuming from ", b" solver s")  # Restoring previous solver status, solver state
_OF_DETECTRON = (b"Building model: ", b"Resuming from ", b"Saving parameters and momentum")
_SAVED = re.compile(
    rb"(?:Snapshotting solver state|Saving parameters).*?(\S*_?iter_?(\d{1,15})\.(?:solverstate|pkl)\S*)"
)
_NUMBER = re.compile(rb"\] *Iteration \d.*, loss = |net output #|Test score #|json_stats: ")
_BEGIN = 1 << 13  # bytes of a piece that show whether Caffe wrote it
_AT = re.compile(rb"(?:Iteration |\"iter\": )(\d{1,15})")


@dataclass
class _Attempt:
    """What is known of one start of the program. `last` is an iteration near its end."""

    told: bool = False
    last: int = 0
    resumed: int | None = None
    path: str = ""
    snapshots: set[int] = field(default_factory=set)
    files: set[str] = field(default_factory=set)

    def take(self, event: Event) -> None:
        if isinstance(event, Metric):
            self.told, self.last = True, max(self.last, event.iteration)
        elif isinstance(event, Snapshot):
            self.save(event.iteration, event.path)
        elif isinstance(event, Resumed) and event.iteration is not None:
            self.resumed, self.path = event.iteration, event.path

    def save(self, iteration: int, path: str) -> None:
        self.snapshots.add(iteration)
        self.files.add(_file(path))

    def wrote(self, other: "_Attempt") -> bool:
        """Whether the other one resumed from a snapshot of this one."""
        return _file(other.path) in self.files or other.resumed in self.snapshots

    def reached(self, at: int) -> bool:
        return self.told and (self.resumed or 0) <= at <= self.last


def _file(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def cuts(pieces: Iterable[bytes], asked: Asked = AUTO) -> dict[int, int]:
    """By attempt: the iteration from which on its numbers do not count. A quick reading: most lines are passed over."""
    return _cuts(_attempts(pieces, asked))


def _cuts(attempts: Mapping[int, _Attempt]) -> dict[int, int]:
    found: dict[int, int] = {}
    order = sorted(attempts)
    at = max((number for number in order if attempts[number].told), default=None)
    limit: int | None = None
    while at is not None:
        attempt, before = attempts[at], [number for number in order if number < at]
        if attempt.resumed is None:  # a training of its own: what came before it stays
            at, limit = max((number for number in before if attempts[number].told), default=None), None
            continue
        limit = attempt.resumed if limit is None else min(limit, attempt.resumed)
        parent = _parent(attempt, {number: attempts[number] for number in before})
        for number in before:
            if parent is None or number > parent:
                found[number] = min(limit, attempts[number].resumed or 0)
        if parent is not None:
            found[parent] = limit
        at = parent
    return {number: iteration for number, iteration in sorted(found.items()) if attempts[number].told}


def _parent(attempt: _Attempt, before: Mapping[int, _Attempt]) -> int | None:
    """The attempt whose work this one took up: the last that wrote the snapshot, or that could have."""
    at = attempt.resumed or 0
    ways = (
        [number for number, other in before.items() if other.wrote(attempt)],
        [number for number, other in before.items() if other.reached(at)],
        [number for number, other in before.items() if other.told],
    )
    return next((max(numbers) for numbers in ways if numbers), None)


def _attempts(pieces: Iterable[bytes], asked: Asked) -> dict[int, _Attempt]:
    found: dict[int, _Attempt] = {}
    parser = Parser(asked=asked)
    for text in whole_lines(pieces):
        if not parser.begun:
            for event in parser.read(text):
                found.setdefault(event.attempt, _Attempt()).take(event)
            continue
        done = 0
        for begin, end in _marked(text):
            _glance(found.setdefault(parser.attempt, _Attempt()), text, done, begin)
            if saved := _SAVED.search(text, begin, end):
                found[parser.attempt].save(int(saved[2]), saved[1].decode(errors="replace"))
            else:
                for event in parser.read(text[begin:end]):
                    found.setdefault(event.attempt, _Attempt()).take(event)
            done = end
        _glance(found.setdefault(parser.attempt, _Attempt()), text, done, len(text))
    for event in parser.end():
        found.setdefault(event.attempt, _Attempt()).take(event)
    return found


def _marked(text: bytes) -> Iterator[tuple[int, int]]:
    """Begin and end of the lines that tell of a start or a snapshot, in order."""
    begins = set()
    for mark in _MARKS if text.find(b".cpp:", 0, _BEGIN) >= 0 else {*_MARKS, *_OF_DETECTRON}:
        at = text.find(mark)
        while at >= 0:
            begins.add(text.rfind(b"\n", 0, at) + 1)
            at = text.find(mark, at + 1)
    for begin in sorted(begins):
        end = text.find(b"\n", begin)
        yield begin, end + 1 if end >= 0 else len(text)


def _glance(attempt: _Attempt, text: bytes, begin: int, end: int) -> None:
    """See whether a part of the log has numbers, and how far it came."""
    attempt.told = attempt.told or _NUMBER.search(text, begin, end) is not None
    at = text.rfind(b"] Iteration ", begin, end)
    at = at if at >= 0 else text.rfind(b'"iter": ', begin, end)
    if at >= 0 and (found := _AT.search(text, at, end)):
        attempt.last = max(attempt.last, int(found[1]))
