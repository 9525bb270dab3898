"""The front door of all that reads a log: bytes of any kind become whole lines in UTF-8, each as its program wrote it.

On the way in: unpacking and UTF-16 (`packed`), all ends of lines, logs of JSON (an object each line, as Docker
keeps them), the colours of a terminal, and what others put before each line (`prefix`). Lines keep their number. A
plain log passes at the cost of a few searches for each piece of it.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from infra import harmless
from provision.logs.packed import decoded, unpacked
from provision.logs.prefix import Cutter

_LONGEST = 1 << 20  # bytes of a line; a longer one is cut
_RETURNS = re.compile(rb"\r+\n?")
_OBJECT, _LONG = b'{"', 1 << 14


class _Entry(msgspec.Struct):
    """A line of a log that is kept as objects: Docker's own, fluentd's, journald's, Google's, a Python logger's."""

    log: str | None = None
    message: str | None = None
    journal: str | None = msgspec.field(default=None, name="MESSAGE")
    payload: str | None = msgspec.field(default=None, name="textPayload")
    msg: str | None = None
    # numbers of the training's own: such a line is no wrapping
    step: Any = None
    global_step: Any = None
    iteration: Any = None
    epoch: Any = None
    loss: Any = None

    @property
    def tells(self) -> bool:
        """Whether it has a number of a training beside its text."""
        found = (self.step, self.global_step, self.iteration, self.epoch, self.loss)
        return any(isinstance(value, int | float) for value in found)


_READ_ENTRY = msgspec.json.Decoder(_Entry).decode


def whole_lines(pieces: Iterable[bytes], only: bytes | None = None) -> Iterator[bytes]:
    """The text of a log in pieces of whole lines. `only`: the lines of one of several sources (`prefix.sources`).
    UsageError where what is packed cannot be unpacked."""
    cleaner = Cleaner(only)
    for text in cut_at_lines(decoded(unpacked(pieces))):
        yield cleaner.clean(text)


class Cleaner:
    """Takes whole lines in UTF-8, in order, and gives them as the program wrote them."""

    def __init__(self, only: bytes | None = None) -> None:
        self._cutter = Cutter(only)

    def clean(self, text: bytes) -> bytes:
        """The lines without colours, and without what others put before them."""
        return self._cutter.cut(uncoloured(_newlines(text)[0] if b"\r" in text else text))


def uncoloured(text: bytes) -> bytes:
    """Whole lines out of objects of JSON, and without the sequences that a terminal obeys."""
    if text.startswith(_OBJECT) or text.find(b"\n" + _OBJECT, 0, _LONG) >= 0:  # the first line may be cut off
        text = b"".join(map(_entry, text.splitlines(keepends=True)))
    if b"\x1b" in text:
        plain = harmless.plain(text.decode("utf-8", "surrogateescape"))
        text = plain.encode("utf-8", "surrogateescape")
    return text


def _entry(line: bytes) -> bytes:
    """What was written, of a line that is an object of JSON; any other line as it is."""
    if not line.startswith(_OBJECT):
        return line
    try:
        read = _READ_ENTRY(line)
    except (msgspec.DecodeError, RecursionError):
        return line
    if read.tells:
        return line
    told = (read.log, read.message, read.journal, read.payload, read.msg)
    first = next((text for text in told if text is not None), None)
    return line if first is None else first.rstrip("\r\n").replace("\n", " ").encode("utf-8", "replace") + b"\n"


def cut_at_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same text in pieces of whole lines. A carriage return ends a line, too, and with a newline it ends one."""
    waiting: list[bytes] = []
    size, held = 0, b""
    for piece in pieces:
        if held or b"\r" in piece:
            piece, held = _newlines(held + piece)
        lines, end, last = piece.rpartition(b"\n")
        if end:
            yield b"".join((*waiting, lines, end))
            waiting, size = [], 0
        if last:
            waiting.append(last)
            size += len(last)
        if size > _LONGEST:
            yield b"".join(waiting) + b"\n"
            waiting, size = [], 0
    if held:
        waiting.append(b"\n")
    if waiting:
        yield b"".join(waiting)


def _newlines(text: bytes) -> tuple[bytes, bytes]:
    """The text with newlines alone, and the returns at its end, which a newline may follow."""
    whole = text.rstrip(b"\r")
    made = whole.replace(b"\r\n", b"\n")
    return _RETURNS.sub(b"\n", made) if b"\r" in made else made, text[len(whole) :]
