"""Tracebacks of Python in a log: the exception, and the deepest frame of the user's own code."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_BEGIN = b"Traceback (most recent call last)"
_IGNORED = b"Exception ignored in"
_FRAME = re.compile(rb'^\s*File "([^"]+)", line (\d+)(?:, in (.+?))?\s*$')
# of the interpreter, of packages, of Caffe's, Caffe2's and Detectron's own folders
_FRAMEWORK = re.compile(
    rb"/(?:site|dist)-packages/|/lib(?:64)?/python\d|^<|[/\\]python[/\\]caffe2?[/\\]|[/\\]caffe2[/\\]python[/\\]"
    rb"|[/\\]detectron[/\\]|[/\\]Lib[/\\](?!site-packages).*\.py$"
)
_LONG = 1000  # so much of a line is looked at
_GLOG = re.compile(rb"[IWEF]\d{4,8} \d\d:|\*\*\* | +@ ")
_EXCEPTION = re.compile(rb"^(?:\w+\.)*(?:\w*(?:Error|Exception|Warning|Interrupt|Exit|Stop\w*)|\w+)(?::\s.*|:?)$")


@dataclass(frozen=True)
class Raised:
    """An exception that was printed: the number and text of its last line, and where the user's code was then."""

    line: int
    text: bytes
    place: str


class Tracebacks:
    """Feed it numbered lines in order; it gives the exceptions whose tracebacks end there."""

    def __init__(self) -> None:
        self._frames: list[tuple[bytes, bytes, bytes]] = []
        self._open = False
        self._ignored = False  # the line before says that what follows stopped nothing

    def read(self, text: bytes, lines: Iterable[tuple[int, bytes]]) -> Iterator[Raised]:
        """`lines` are those of `text` that glog does not only inform by, with their numbers."""
        if self._open or self._ignored or _BEGIN in text:
            for number, line in lines:
                if raised := self._line(number, line):
                    yield raised

    def _line(self, number: int, line: bytes) -> Raised | None:
        if _BEGIN in line:
            self._open, self._frames = not self._ignored, []
        self._ignored = line.startswith(_IGNORED)
        if _BEGIN in line or self._ignored or not self._open or _GLOG.match(line):
            pass
        elif frame := _FRAME.match(line):
            self._frames.append((frame[1], frame[2], frame[3] or b""))
        elif not line[:1].isspace() and _EXCEPTION.match(line[:_LONG].rstrip()):
            raised = Raised(number, line, self._place())
            self._open, self._frames = False, []
            return raised
        return None

    def _place(self) -> str:
        """The deepest frame that is no package's; where all are, the deepest."""
        own = [frame for frame in self._frames if not _FRAMEWORK.search(frame[0])]
        if not (frames := own or self._frames):
            return ""
        file, line, function = (part.decode(errors="replace") for part in frames[-1])
        called = f" in {function}" if function and function != "<module>" else ""
        return f"{file}, line {line}{called}"
