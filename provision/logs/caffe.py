"""Logs of trainings, read into events. One parser for all of Caffe's dialects and Detectron's, in constant memory.

A line of glog's is a prefix (severity, date with or without the year, time, thread, file) and a message. What Caffe
prints at a display (loss, outputs, learning rate: three lines or more) is matched at once by one compiled expression
over a large piece of the log, and its numbers are converted a column at a time by functions that run in C: a line costs
about as much as two calls of a Python function. Every other line that tells something goes to a small reader, found by
its first word. A single line (`Parser.feed`) takes the same way: there is one expression and one set of readers.

A log may be cut off in the middle of a line, and an expression must then not run on into the next: `[^ ]*` and `[^]]*`,
which are much quicker than sets that have the line's end too, are used only where what has to come behind them, or the
length that they may have, rules that out.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from typing import TypeVar

from provision.logs import caffe_messages, detectron, numbers
from provision.logs.caffe_messages import State
from provision.logs.events import (
    DebugInfo,
    Displays,
    Ended,
    Event,
    Failed,
    LayerTime,
    Metric,
    Phase,
    Planned,
    Resumed,
    Snapshot,
)

__all__ = [
    "DebugInfo",
    "Displays",
    "Ended",
    "Event",
    "Failed",
    "LayerTime",
    "Metric",
    "Parser",
    "Phase",
    "Planned",
    "Resumed",
    "Snapshot",
    "parse",
]

_TIME = rb"(\d{4,8} (?s:.{5})):(\d\d\.?\d*) +\d[^ ]* [^ ]*\] *"  # of glog's prefix, behind the severity
_PREFIX = rb"\d[^]]{20,54}\] *"
_DISPLAY = re.compile(
    rb"\nI(\d{4,8} (?s:.{5})):0?((?s:(?<=0).{8}|(?<=:).{9})) [^]]{6,40}\] *Iteration (\d{1,15})(?:, | .*, )loss = (.*)"
    rb"\nI" + _PREFIX + rb"Train net output #(\d{1,15}: [^ ]*) = (\S+)(?: \(\* (\S+))?.*"
    rb"\nI" + _PREFIX + rb"Iteration \3, lr = (.*)"
    rb"(?:\nI" + _PREFIX + rb"Restarting data pre.*)*"  # tells nothing, and stands behind each epoch of a small dataset
)
_LINES = re.compile(
    rb"\n(?:[IWE]" + _TIME + rb"(?:"
    # a test's outputs, or a display's that has more than one or is cut in two
    rb"T(rain|est) net output #(\d{1,15}): ([^ ]*(?: [^=\n ][^ \n]*)*) = (\S+)(?: \(\* (\S+))?.*"
    rb"((?:\nI" + _PREFIX + rb"T\3 net output #.*)*)"
    rb"|Iteration (\d{1,15}), Testing net(?: \(#(\d{1,6})\).*)?"
    # messages that one of the readers knows
    rb"|((?:Iteration |Test loss: |Test score #|Testing net|Snapshotting solver|Restoring prev|Resuming from"
    rb"|Optimization |Initializing solver|Solving|\[[FBU]|Average |Total Time|[^ \n]+\t(?:for|back)ward: ).*))"
    # lines that are not glog's, and fatal ones
    rb"|(F\d.*|max_iter: .*|" + detectron.LINES + rb"))"
)
_OUTPUT = re.compile(rb"T(?:rain|est) net output #(\d{1,15}): ([^ \n]*(?: [^=\n ][^ \n]*)*) = (\S+)(?: \(\* (\S+))?")
_FATAL = re.compile(rb"F" + _TIME + rb"(.*)")
_PLANNED = re.compile(rb"max_iter: (\d{1,15})\s*$")
Row = tuple[bytes, ...]
Texts = Sequence[bytes]
_PHASE, _TEST = 2, 8
T = TypeVar("T")


class _Names(dict[bytes, tuple[int, str]]):
    """Index and name of outputs ("0: loss", or a name alone), each read once."""

    def __missing__(self, called: bytes) -> tuple[int, str]:
        index, _, name = called.partition(b": ")
        found = (int(index), name.decode(errors="replace")) if index.isdigit() else (0, called.decode(errors="replace"))
        if len(self) < 10_000:
            self[called] = found
        return found


class Parser:
    """Feed it the log in order, several attempts one after the other if need be; it gives the events.

    `attempt` is the number of the first; a start of the program after anything else is the next one.
    """

    def __init__(self, attempt: int = 0) -> None:
        self._state = State(attempt)
        self._names = _Names()
        self._detectron = detectron.Reader()

    @property
    def attempt(self) -> int:
        """The attempt that the log is in."""
        return self._state.attempt

    @property
    def begun(self) -> bool:
        """Whether the log has told anything."""
        return self._state.seen

    def feed(self, line: str) -> Event | None:
        """The event that one whole line tells, or None. Of the many in a line of Detectron's json_stats: the loss."""
        return next(iter(self.read(line.encode(errors="replace"))), None)

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
        """The same events; displays stay columns where nothing comes between them."""
        whole = b"\n" + text.rstrip(b"\n")
        gaps, *texts = _strides(_DISPLAY.split(whole), _DISPLAY.groups + 1)
        try:
            made = self._converted(*texts)
        except ValueError:  # somewhere is a number that is none
            yield from self._lines(_LINES.findall(whole))
            return
        begin = 0
        for end in compress(range(len(gaps)), gaps):
            if told := _LINES.findall(gaps[end]):
                yield from self._displays(made, texts[0], begin, end)
                yield from self._lines(told)
                begin = end
        yield from self._displays(made, texts[0], begin, len(made.values))

    # displays

    def _converted(
        self,
        minute: Texts,
        second: Texts,
        at: Texts,
        loss: Texts,
        called: Texts,
        value: Texts,
        weight: Texts,
        lr: Texts,
    ) -> Displays:
        """Convert the columns of displays; seconds count within the minute. ValueError where a text is not a number."""
        if not called:
            return Displays(0, (), (), (), (), (), (), (), ())
        if len(set(called)) == 1:
            index, name = self._names[called[0]]
            indices, names = [index] * len(called), [name] * len(called)
        else:
            outputs = [self._names[output] for output in called]
            indices, names = [index for index, _ in outputs], [name for _, name in outputs]
        return Displays(
            0, numbers.floats(second), numbers.ints(at), numbers.floats(loss), indices, names, numbers.floats(value),
            numbers.floats(lr), numbers.weights(weight),
        )  # fmt: skip

    def _displays(self, made: Displays, minute: Texts, begin: int, end: int) -> Iterator[Displays]:
        """The displays from `begin` to `end`; the log tells no other event between them."""
        if begin == end:
            return
        state = self._state
        state.clock.begin_once(minute[begin], made.seconds[begin])
        seconds = state.clock.column(minute[begin:end], made.seconds[begin:end])
        if seconds is None:  # a time that is none: each for itself, without that
            for at in range(begin, end) if end - begin > 1 else ():
                yield from self._displays(made, minute, at, at + 1)
            return
        part = made.cut(state.attempt, seconds, begin, end)
        state.iteration, state.shown, state.first = part.iterations[-1], seconds[-1], seconds[-1]
        state.seen = True
        yield part

    # all other lines

    def _lines(self, told: Iterable[Row]) -> Iterator[Event]:
        state = self._state
        for row in told:
            if row[_TEST]:
                state.test, state.first = (int(row[_TEST]), int(row[_TEST + 1] or 0)), None
                continue
            made = self._output(row) if row[_PHASE] else self._line(row)
            state = self._state
            state.seen |= bool(made)
            yield from made

    def _output(self, row: Row) -> Sequence[Event]:
        """The outputs of a test or display."""
        minute, second, phase, index, name, value, weight, more, *_ = row
        state = self._state
        if state.first is None:
            state.first = state.clock.at(minute, second)
        if state.first is None:  # a time that is none: perhaps the next line has one
            return list(self._lines(_LINES.findall(more)))
        kind: Phase = "train" if phase == b"rain" else "test"
        at, net = (state.iteration, 0) if kind == "train" else state.test
        attempt, first, names = state.attempt, state.first, self._names
        return [
            Metric(attempt, first, at, kind, names[called][1], number, net, int(output), numbers.weight(weighed))
            for output, called, text, weighed in (
                (index, name, value, weight),
                *(_OUTPUT.findall(more) if more else ()),
            )
            if (number := numbers.number(text)) is not None
        ]

    def _line(self, row: Row) -> Sequence[Event]:
        minute, second, *_, message_text, other = row
        if other:
            return self._other(other)
        seconds = self._state.clock.at(minute, second)
        message = message_text.decode(errors="replace").strip()
        if seconds is None:
            return ()
        if message.startswith("Initializing solver"):
            self._state = self._state.again()
            self._state.clock.begin_at(seconds)
            return ()
        return caffe_messages.read(self._state, message, seconds)

    def _other(self, line: bytes) -> Sequence[Event]:
        attempt = self._state.attempt
        if fatal := _FATAL.match(line):
            seconds = self._state.clock.at(fatal[1], fatal[2])
            text = fatal[3].decode(errors="replace").strip()
            return () if seconds is None else (Failed(attempt, seconds, text),)
        if planned := _PLANNED.match(line):
            return (Planned(attempt, 0.0, int(planned[1])),)
        if detectron.is_start(line):
            self._state, self._detectron = self._state.again(), detectron.Reader()
        return self._detectron.read(line.decode(errors="replace"), self._state.attempt)


def _strides(parts: Sequence[T], step: int) -> list[Sequence[T]]:
    """Every `step`-th from the first, from the second …"""
    return [parts[start::step] for start in range(step)]


def parse(lines: Iterable[str], attempt: int = 0) -> Iterator[Event]:
    """The events of a log, as its lines come. `attempt` is the number of its first attempt."""
    parser = Parser(attempt)
    for line in lines:
        yield from parser.read(line.encode(errors="replace"))
