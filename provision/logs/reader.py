"""The reader of any log: Caffe's and Detectron's parser, which is quick, or that of all other programs
(`logs.metrics`).

Which one it is, the log's own words tell: a line as Caffe or Detectron writes it makes it theirs, for good. Until one
comes both read; once another program has told many numbers, nobody looks for Caffe's any more.
"""

import re
from collections.abc import Iterable, Iterator

from provision.logs import caffe
from provision.logs.events import Displays, Event, Metric
from provision.logs.metrics.asked import AUTO, Asked
from provision.logs.metrics.parser import Parser as Other
from provision.logs.text import whole_lines

_THEIRS = re.compile(
    rb"\] *(?:Iteration \d+.*(?:, loss = |, lr = |Testing net)|T(?:rain|est) net output #|Test score #|Using GPUs "
    rb"|Initializing solver|Creating [Ll]ayer |Solver scaffolding done|Optimization Done|Use [CG]PU"
    rb"|\[(?:Forward|Backward|Update)\] Layer )"
    rb"|json_stats: |: Building model: |: *copypaste: "
    rb"|^ *(?:Iteration \d+, loss = |T(?:rain|est) net output #)",  # without glog's prefix: Caffe's, and not read
    re.MULTILINE,
)
_SURE = 200  # numbers of another program, after which it is that one's


class Parser:
    """Feed it the log in order, several attempts one after the other if need be; it gives the events. `attempt` is the
    number of the first."""

    def __init__(self, attempt: int = 0, asked: Asked = AUTO) -> None:
        self._known = caffe.Parser(attempt)
        self._other = Other(attempt, asked)
        self._theirs = asked.known
        self._others = bool(asked.form) and not asked.known
        self._told = 0

    @property
    def attempt(self) -> int:
        """The attempt that the log is in."""
        return self._other.attempt if self._other.begun and not self._theirs else self._known.attempt

    @property
    def begun(self) -> bool:
        """Whether Caffe or Detectron has told anything: most lines of their logs may then be passed over."""
        return self._known.begun and self._theirs

    @property
    def told_line(self) -> int:
        """Of the lines read last the number of the last one that told a number of another program; 0: none did."""
        return 0 if self._theirs else self._other.told_line

    @property
    def other(self) -> bool:
        """Whether another program than Caffe and Detectron has told numbers."""
        return self._other.begun and not self._theirs

    def read(self, text: bytes) -> list[Event]:
        """The events of whole lines."""
        found: list[Event] = []
        for event in self.columns(text):
            if isinstance(event, Displays):
                found += event.metrics()
            else:
                found.append(event)
        return found

    def columns(self, text: bytes) -> Iterator[Event | Displays]:
        """The same events; displays of Caffe's stay columns where nothing comes between them."""
        if not self._theirs and not self._others:
            self._theirs = _THEIRS.search(text) is not None
        if self._theirs:
            yield from self._known.columns(text)
            return
        if not self._other.begun:
            yield from self._known.columns(text)
        found = self._other.read(text)
        self._told += sum(isinstance(event, Metric) for event in found)
        self._others = self._others or self._told > _SURE
        yield from found

    def end(self) -> list[Event]:
        """The events that are known only once the log is over."""
        return [] if self._theirs else self._other.end()


def events(pieces: Iterable[bytes], asked: Asked = AUTO) -> Iterator[Event]:
    """The events of a log that comes in pieces of any size."""
    parser = Parser(asked=asked)
    for lines in whole_lines(pieces):
        yield from parser.read(lines)
    yield from parser.end()


def columns(pieces: Iterable[bytes], asked: Asked = AUTO) -> Iterator[Event | Displays]:
    """The same events with displays left as columns, which is the quickest way to read a log."""
    parser = Parser(asked=asked)
    for lines in whole_lines(pieces):
        yield from parser.columns(lines)
    yield from parser.end()
