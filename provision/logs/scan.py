"""Looks for what single lines of one attempt's log tell: the rules' lines, fatal lines and tracebacks.

A sound log is lines by which glog informs, and hardly another: those are put aside at once, and the rules' texts are
looked for in the rest (but for the few rules with `info`). So many rules cost little.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from provision.logs.cause import Cause, shown
from provision.logs.failures import Failure
from provision.logs.rules import Known, by_name, rules
from provision.logs.tracebacks import Raised, Tracebacks

_LOUD = re.compile(  # glog that cannot make its own file goes on without it
    rb"^(?!I\d{4,8} \d\d:|json_stats: |\s*$|[^\n ]{1,80} \[\d+\] NCCL INFO "
    rb"|Could not create logging file: (?!No space)|COULD NOT CREATE ).+",
    re.MULTILINE,
)
# glog's; DIGITS shows it without its prefix
_FATAL = re.compile(rb"F\d{4,8} \d\d:|\s*(?:ERROR: )?Check failed: ")
# what is written by a program that goes on: glog's and Python's loggers, protobuf's; and by a script's own tools
_GOES_ON = re.compile(
    rb"[IWE]\d{4,8} \d\d:|\[libprotobuf WARN|(?:DEBUG|INFO|WARNING)[ :]|ERROR(?: [\w.]+: *\d|:\w)"
    rb"|(?:rm|cp|mv|mkdir|rmdir|ls|ln|cat|tee|chmod|chown|touch|stat|find|rsync|wget|curl): |NVIDIA-SMI has failed"
    rb"|libpng |Could not create logging file|[\d:, .\[\]TZ-]{8,60}(?:INFO|WARN)|\[[EWI] |[^ ]{1,80} \[\d+\] NCCL "
)
_CUDA = re.compile(rb"(?:cudaSuccess\.?|CUDA error) ?\(?(\d+) vs\.? 0")
_DONE = b"Optimization Done"
_PROGRESS = (b", loss = ", b"net output #", b"json_stats: ")
_ALIVE = (b"] Snapshotting ", b", Testing net", _DONE)


@dataclass
class Hit:
    """The first line of a rule, and whether the program ended with it; `last`: its last line's number."""

    rule: Known
    line: int
    text: bytes
    ends: bool
    last: int

    def cause(self, kind: str = "") -> Cause:
        rule = self.rule
        mends = (*rule.mends, f"see {rule.see}") if rule.see else rule.mends
        return Cause(rule.name, rule.what, rule.why, mends, self.line, shown(self.text), kind or rule.kind)


class Scan:
    """Feed it an attempt's log in order."""

    def __init__(self, own: Sequence[Failure] = ()) -> None:
        self._own = [(failure, _compiled(failure.match)) for failure in own]
        self._tracebacks = Tracebacks()
        self.hits: dict[str, Hit] = {}
        self.own: list[Cause] = []
        self.fatal: tuple[int, bytes] | None = None  # the first that no rule knows
        self.raised: list[Raised] = []  # those that no rule knows
        self.places: dict[int, str] = {}  # where the user's code was, by the line of its exception
        self.progress = 0  # the line of the last display or test output
        self.alive = 0  # the last line that shows that the training went on: that, a snapshot, a test, its end
        self._done = 0  # the line of the last word that the training is done

    def behind(self, line: int) -> bool:
        """Whether a line stands behind the training's own word that it is done."""
        return self.progress < self._done < line

    def read(self, text: bytes, before: int, told_line: int = 0) -> None:
        """Take whole lines in; `before` is how many lines came before them, `told_line` the last of them that told a
        number, where it is none of Caffe's words (0: none did)."""
        self._read_own(text, before)
        at = max(text.rfind(word) for word in _PROGRESS)
        if at >= 0:
            self.progress = before + text.count(b"\n", 0, at) + 1
        if told_line:
            self.progress = self.alive = before + told_line
        if (at := max(at, *(text.rfind(word) for word in _ALIVE))) >= 0:
            self.alive = before + text.count(b"\n", 0, at) + 1
        at = text.rfind(_DONE)
        if at >= 0:
            self._done = before + text.count(b"\n", 0, at) + 1
        loud = list(_numbered(text, before))
        blob = b"\n".join(line for _, line in loud)
        asked = {name for needle, name in _needles() if needle in blob} if loud else set()
        known: set[int] = set()
        for rule, needles, match in _asked():
            if not (rule.info or rule.name in asked) or (rule.after_end and self._done <= self.progress):
                continue
            lines = _with(text, needles, before) if rule.info else _of_loud(loud, needles)
            for number, line in lines:
                if (
                    number not in known
                    and (match is None or match.search(line))
                    and number > self._done * rule.after_end
                ):
                    known.add(number)
                    self._hit(rule, number, line)
        self._unknown(text, loud, known)

    def _hit(self, rule: Known, number: int, line: bytes) -> None:
        ends = rule.kind in ("cause", "crash", "killed", "abort") and not _GOES_ON.match(line)
        hit = self.hits.get(rule.name)
        went_on = hit is not None and hit.ends and not is_fatal(hit.text) and hit.line < self.alive < number
        if hit is None or (ends and (not hit.ends or went_on)):
            self.hits[rule.name] = Hit(rule, number, line, ends, number)
        else:
            hit.last = max(hit.last, number)

    def _unknown(self, text: bytes, loud: Sequence[tuple[int, bytes]], known: set[int]) -> None:
        for number, line in loud:
            if number not in known and _FATAL.match(line):
                if rule := _by_code(line):
                    self._hit(rule, number, line)
                elif self.fatal is None:
                    self.fatal = number, line
        for raised in self._tracebacks.read(text, loud):
            self.places[raised.line] = raised.place
            if raised.line in known:
                continue
            if rule := _by_code(raised.text):
                self._hit(rule, raised.line, raised.text)
            else:
                self.raised.append(raised)

    def _read_own(self, text: bytes, before: int) -> None:
        for failure, match in list(self._own):
            if match is not None and (found := match.search(text)):
                number, line = _line_at(text, found.start())
                self.own.append(Cause("recipe", failure.what, "", (failure.mend,), before + number, shown(line), "own"))
                self._own.remove((failure, match))


@cache
def _asked() -> tuple[tuple[Known, tuple[bytes, ...], "re.Pattern[bytes] | None"], ...]:
    """The rules with their texts and expressions, as they are looked for."""
    return tuple((rule, tuple(text.encode() for text in rule.find), _compiled(rule.match)) for rule in rules())


@cache
def _needles() -> tuple[tuple[bytes, str], ...]:
    """Each text that is looked for in loud lines, and its rule's name."""
    return tuple((needle, rule.name) for rule, needles, _ in _asked() if not rule.info for needle in needles)


def is_fatal(line: bytes) -> bool:
    """Whether glog ended the program with this line."""
    return bool(_FATAL.match(line))


def _by_code(line: bytes) -> Known | None:
    """The rule that knows the CUDA error by its number, where its text is missing."""
    code = _CUDA.search(line)
    return next((rule for rule in by_name().values() if code and int(code[1]) in rule.codes), None)


def _numbered(text: bytes, before: int) -> Iterator[tuple[int, bytes]]:
    """The lines by which glog does not only inform, with their numbers."""
    number, at = before + 1, 0
    for found in _LOUD.finditer(text):
        number += text.count(b"\n", at, found.start())
        at = found.start()
        yield number, found[0]


def _of_loud(loud: Sequence[tuple[int, bytes]], needles: Sequence[bytes]) -> Iterable[tuple[int, bytes]]:
    """Those of the lines that have one of the texts, in order."""
    if len(needles) == 1:
        return [numbered for numbered in loud if needles[0] in numbered[1]]
    return [(number, line) for number, line in loud if any(needle in line for needle in needles)]


def _with(text: bytes, needles: Sequence[bytes], before: int) -> Iterator[tuple[int, bytes]]:
    """Number and text of lines that have one of the texts, in the order of the needles."""
    for needle in needles:
        at = text.find(needle)
        while at >= 0:
            number, line = _line_at(text, at)
            yield before + number, line
            end = text.find(b"\n", at)
            at = text.find(needle, end) if end >= 0 else -1


def _line_at(text: bytes, at: int) -> tuple[int, bytes]:
    begin = text.rfind(b"\n", 0, at) + 1
    end = text.find(b"\n", at)
    return text.count(b"\n", 0, begin) + 1, text[begin : end if end >= 0 else len(text)]


def _compiled(pattern: str) -> "re.Pattern[bytes] | None":
    return re.compile(pattern.encode(), re.MULTILINE) if pattern else None
