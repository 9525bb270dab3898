"""What stands before a line's own text, because somebody between the program and the file put it there: the rank of MPI
(`[5] `), docker-compose's service, the time of `docker logs --timestamps` or `ts`, syslog's host, an indentation.

Its shape is learnt from the lines where it stands before glog's letter (or Detectron's words), with every number in it
left open, and is then cut off from all lines: what tells something is not glog's alone. Learning costs next to
nothing where lines begin as they should: behind the log's beginning only the end of a piece is looked at, and only if
it has no such line.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise

_OWN = (
    rb"(?:[IWEF](?:\d{4})?\d{4} \d\d:\d\d:\d\d(?:\.\d+)? +\d[^ \n]* [^ \n]{1,200}\]"
    rb"|json_stats: \{|(?:INFO|WARNING|ERROR|CRITICAL) \w+\.py: *\d+: )"
)
_PLAIN = re.compile(rb"(?:\A|\n)(?:[IWEF]\d{4}|json_stats: \{|INFO \w+\.py:)")
_LINE = re.compile(rb"^([^\n]{0,200}?)" + _OWN + rb"( *(?:Initializing solver|Building model))?", re.MULTILINE)
_HEAD = 1 << 16  # bytes of a log's beginning that are looked at
_SMALL = 1 << 14  # bytes of a piece that is looked at wherever it stands
_END = 1 << 12  # bytes of a larger piece's end that are looked at
_SHAPES = 32
_OPEN = re.compile(rb"(?P<month>\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\b)"
                   rb"|(?P<day>\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b)|(?P<number>\d+)|(?P<blank>[ \t]+)"
                   rb"|(?P<bar>(?:[#=>]|\xe2\x96[\x80-\x9f])+)")  # fmt: skip
_NAME = rb"[A-Z][a-z][a-z]"
_FORMS = {"month": _NAME, "day": _NAME, "number": rb"\d+", "blank": rb"[ \t]+",
          "bar": rb"(?:[#=>]|\xe2\x96[\x80-\x9f])+"}  # fmt: skip
_WHEN = re.compile(
    rb"\d{4}[-/]\d\d[-/]\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"
    rb"|(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) )?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +\d{1,2}(?: \d{4})?"
    rb"|\d{1,2}:\d\d(?::\d\d)?(?:[.,]\d+)?|\d{9,}(?:\.\d+)?|(?<![\d.])\d+\.\d+(?![\d.])"
)
_LINES_EACH, _WORD = 2, re.compile(rb"\w")  # on the average
_OPEN_MPI = re.compile(rb"(?:\S+@)?\d+,\d+")
_STREAM = re.compile(rb"<?\b(?:stdout|stderr)\b>?(?: [FP]\b)?")


class Cutter:
    """Cuts prefixes off whole lines, which come in order. `only`: of a log of several sources (`sources`), the lines of
    one; those of the others become empty, so that lines keep their numbers."""

    def __init__(self, only: bytes | None = None) -> None:
        self._shapes: dict[bytes, None] = {}
        self._cut: re.Pattern[bytes] | None = None
        self._only = only
        self._read = 0  # bytes

    def cut(self, text: bytes) -> bytes:
        """The lines without their prefixes."""
        if self._read < _HEAD or len(text) <= _SMALL:
            self._learn(text)
        self._read += len(text)
        made = self._without(text)
        if not _PLAIN.search(made, max(0, len(made) - _END)):  # somebody else writes it now, or it has no such lines
            begin = max(0, len(text) - _END)
            if self._learn(text[text.find(b"\n", begin) + 1 if begin else 0 :]):
                made = self._without(text)
        return made

    def _learn(self, text: bytes) -> bool:
        """Take up the shapes of the prefixes that a part of the log shows; whether there are new ones."""
        lines = _LINE.findall(text)
        shapes = Counter(shape(before) for before, _ in lines if before)
        starts = {shape(before) for before, start in lines if start}
        some = not all(before for before, _ in lines)  # of which one that stands once may be anything
        known = len(self._shapes)
        for found, times in shapes.most_common(_SHAPES):
            if len(self._shapes) < 2 * _SHAPES and (times > 1 or not some or found in starts):
                self._shapes.setdefault(found)
        if len(self._shapes) == known:
            return False
        longest_first = sorted(self._shapes, key=len, reverse=True)
        self._cut = re.compile(rb"\n(" + rb"|".join(longest_first) + rb")" + rb"([^\n]*)" * (self._only is not None))
        return True

    def _without(self, text: bytes) -> bytes:
        if self._cut is None:
            return text
        if self._only is None:
            return self._cut.sub(b"\n", b"\n" + text)[1:]
        return self._cut.sub(self._own, b"\n" + text)[1:]

    def _own(self, line: re.Match[bytes]) -> bytes:
        return b"\n" + line[2] if source(line[1]) == self._only else b"\n"


def prefixes(text: bytes) -> list[bytes]:
    """What stands before the own text of each line that has one; empty where it begins the line."""
    return [before for before, _ in _LINE.findall(text)]


def shape(prefix: bytes) -> bytes:
    """An expression for a prefix and its like: numbers, months, days, blanks and what bars are drawn with are open, the
    rest is as it is. So are the blanks at its end, for a line may have an indentation of its own."""
    made, at = b"", 0
    for found in _OPEN.finditer(prefix.rstrip()):
        made += re.escape(prefix[at : found.start()]) + _FORMS[str(found.lastgroup)]
        at = found.end()
    return made + re.escape(prefix[at:])


def source(prefix: bytes) -> bytes:
    """Who wrote a line, by its prefix: what is left without its time."""
    words = _STREAM.sub(b"", _WHEN.sub(b"", prefix))
    return b" ".join(words.split()).strip(b" :|-[](){}<>\t")


def sources(text: bytes) -> list[bytes]:
    """Who wrote the lines of the beginning of a log, if several wrote them at the same time (ranks of MPI, containers);
    empty where one did, or one after the other. What changes from line to line (a progress bar) is no name."""
    told = [source(prefix) for prefix in prefixes(text)]
    turns = [name for name, _ in groupby(told)]
    found = list(dict.fromkeys(name for name in told if name))
    many = sum(map(bool, told)) >= _LINES_EACH * len(found) and all(map(_WORD.search, found))
    if len(found) < 2 or not many or len(turns) == len(set(turns)) or _counted(told):
        return []
    return sorted(found, key=_natural)


def _counted(told: Sequence[bytes]) -> bool:
    """Whether these are the numbers of lines."""
    numbers = [int(name) for name in told if name.isdigit()]
    return len(numbers) == len(told) and all(one < other for one, other in pairwise(numbers))


def _natural(name: bytes) -> tuple[tuple[int, bytes], ...]:
    return tuple((int(part) if part.isdigit() else -1, part) for part in re.split(rb"(\d+)", name))


def named(found: Iterable[bytes]) -> dict[bytes, str]:
    """Words for sources, which can be a part of a file's name: a number is a rank's, and so is Open MPI's `1,0` (of a
    job's number and a rank)."""
    names = list(found)
    jobs = {name.rpartition(b",")[0] for name in names}
    made = {}
    for name in names:
        if len(jobs) == 1 and _OPEN_MPI.fullmatch(name):
            made[name] = f"rank{name.rpartition(b',')[2].decode()}"
            continue
        word = re.sub(r"[^\w.-]+", "-", name.decode(errors="replace")).strip("-") or "other"
        made[name] = f"rank{word}" if word.isdecimal() else word
    return made
