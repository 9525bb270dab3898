"""Why a training failed, diverged or stands still, by its log and by what its run's folder says.

What a line alone tells is a table (diagnose.yaml): texts, looked for in large pieces of the log, and one expression for
the line that has one. What only several lines tell (divergence and where it began, which of three things holds up
iteration 0) is for `provision.logs.divergence`. Causes come before symptoms, and in the order of the log: what is told
first made the rest. A recipe's own failures come before all.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from infra.border import load_yaml
from provision.logs import caffe
from provision.logs.divergence import Trouble, Watch
from provision.logs.failures import Failure
from provision.logs.read import Log

TABLE = Path(__file__).with_name("diagnose.yaml")
_CUDA = re.compile(rb"(?:cudaSuccess|CUDA error) ?\((\d+) vs\. 0\)")
_LONGEST = 300


class Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A known failure: a line that has one of the texts `find` and matches `match` means `what`."""

    name: str
    find: tuple[str, ...]
    match: str = ""
    codes: tuple[int, ...] = ()
    kind: Literal["cause", "symptom"] = "cause"
    what: str
    why: str
    mends: tuple[str, ...]
    see: str = ""


class Benign(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text that looks bad and is not."""

    find: str
    what: str


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """diagnose.yaml."""

    failures: tuple[Known, ...]
    benign: tuple[Benign, ...]


@dataclass(frozen=True)
class Cause:
    """One thing that went wrong: what, why, what helps (the likeliest first), and the line that shows it with its
    number from 1; 0 where no line does."""

    name: str
    what: str
    why: str = ""
    mends: tuple[str, ...] = ()
    line: int = 0
    text: str = ""
    kind: str = "cause"


@dataclass(frozen=True)
class Facts:
    """What is known besides the log. `state` is the run's (running, failed …), "" where nobody knows; `where` tells of
    the machine, such as its image's architectures and its GPU's."""

    state: str = ""
    exit_code: int | None = None
    out_of_memory: bool = False
    where: str = ""
    failures: Sequence[Failure] = ()


@cache
def table() -> Table:
    return load_yaml(TABLE, Table)


def diagnose(log: Log, facts: Facts = Facts()) -> list[Cause]:
    """What went wrong, the cause first; empty where nothing did."""
    return diagnose_pieces(log.pieces(), facts)


def diagnose_pieces(pieces: Iterable[bytes], facts: Facts = Facts()) -> list[Cause]:
    """Diagnose a log that comes in pieces of any size."""
    scan, watch = _Scan(table().failures, facts.failures), Watch()
    parser, count = caffe.Parser(), 0
    for text in caffe.whole_lines(pieces):
        scan.read(text, count)
        watch.read(text, count, parser.read(text))
        count += text.count(b"\n") + (not text.endswith(b"\n"))
    found = [*scan.found(), *map(_of_trouble, watch.troubles(facts.state, bool(scan.causes)))]
    found += _of_facts(facts, found)
    found = [_with_place(cause, facts) for cause in found]
    return _in_order(found)


def _of_trouble(trouble: Trouble) -> Cause:
    return Cause(trouble.name, trouble.what, trouble.why, trouble.mends, trouble.line, trouble.text, trouble.kind)


def _of_facts(facts: Facts, found: Sequence[Cause]) -> Iterator[Cause]:
    """What the container's end tells. Exit code 137 means SIGKILL, 139 a crash."""
    known = {failure.name: failure for failure in table().failures}
    names = {cause.name for cause in found if cause.kind == "cause"}
    if facts.out_of_memory or (facts.exit_code == 137 and not names):
        rule = known["host-out-of-memory"]
        told = (
            "the container was killed for this reason"
            if facts.out_of_memory
            else "exit code 137: the program was killed, most often for this reason"
        )
        yield Cause(rule.name, f"{rule.what}: {told}", rule.why, rule.mends, kind="verdict")
    elif facts.exit_code in (139, -11) and not names:
        rule = known["segmentation-fault"]
        yield Cause(rule.name, f"{rule.what} (exit code {facts.exit_code})", rule.why, rule.mends)


def _with_place(cause: Cause, facts: Facts) -> Cause:
    if facts.where and cause.name in ("no-kernel-image", "driver-too-old", "no-gpu", "gpu-out-of-memory"):
        return replace(cause, why=f"{cause.why}; {facts.where}")
    return cause


_ORDER = {"own": 0, "verdict": 1, "cause": 2, "divergence": 2, "symptom": 3}


def _in_order(found: Sequence[Cause]) -> list[Cause]:
    """Sort causes by kind and line; of two with one line or one name the first stays. Symptoms stay only if alone."""
    ranked = sorted(found, key=lambda cause: (_ORDER[cause.kind], cause.line or 0))
    if any(cause.kind != "symptom" for cause in ranked):
        ranked = [cause for cause in ranked if cause.kind != "symptom"]
    lines: set[int] = set()
    names: set[str] = set()
    kept = []
    for cause in ranked:
        if (cause.line and cause.line in lines) or cause.name in names:
            continue
        lines.add(cause.line)
        names.add(cause.name)
        kept.append(cause)
    return kept


class _Scan:
    """Looks for the table's failures, the first line of each."""

    def __init__(self, known: Sequence[Known], own: Sequence[Failure]) -> None:
        self._left = [
            (failure, [text.encode() for text in failure.find], _compiled(failure.match)) for failure in known
        ]
        self._own = [(failure, _compiled(failure.match)) for failure in own]
        self._found: list[Cause] = []
        self._first_fatal: tuple[int, bytes] | None = None

    @property
    def causes(self) -> bool:
        return self._first_fatal is not None or any(cause.kind != "symptom" for cause in self._found)

    def read(self, text: bytes, lines_before: int) -> None:
        """Take whole lines in; `lines_before` is how many lines came before them."""
        for rule, needles, match in list(self._left):
            for line in _lines_with(text, needles):
                if match is None or match.search(line[1]):
                    self._found.append(_finding(rule, lines_before + line[0], line[1]))
                    self._left = [left for left in self._left if left[0] is not rule]
                    break
        self._read_own(text, lines_before)
        if self._first_fatal is None and (fatal := re.search(rb"^F\d{4,8} .*", text, re.MULTILINE)):
            self._first_fatal = (lines_before + text.count(b"\n", 0, fatal.start()) + 1, fatal[0])

    def _read_own(self, text: bytes, lines_before: int) -> None:
        for failure, match in list(self._own):
            if match is not None and (found := match.search(text)):
                number, line = _line_at(text, found.start())
                self._found.append(
                    Cause("recipe", failure.what, "", (failure.mend,), lines_before + number, _shown(line), "own")
                )
                self._own.remove((failure, match))

    def found(self) -> list[Cause]:
        """All that was found; a fatal line that no rule knows, by CUDA's number or as it is."""
        if self._first_fatal and not any(cause.kind in ("cause", "own") for cause in self._found):
            return [*self._found, _unknown(*self._first_fatal)]
        return self._found


def _unknown(number: int, line: bytes) -> Cause:
    if code := _CUDA.search(line):
        for failure in table().failures:
            if int(code[1]) in failure.codes:
                return _finding(failure, number, line)
    text = line.decode(errors="replace")
    return Cause(
        "unknown", f"the program ended itself: {text.partition('] ')[2].strip()[:_LONGEST]}", "", (
            "the lines above it tell what it was doing",
        ), number, _shown(line),
    )  # fmt: skip


def _finding(rule: Known, number: int, line: bytes) -> Cause:
    see = (f"see {rule.see}",) if rule.see else ()
    return Cause(rule.name, rule.what, rule.why, (*rule.mends, *see), number, _shown(line), rule.kind)


def _lines_with(text: bytes, needles: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    """Number (from 1) and text of lines that have one of the texts, in the order of the needles."""
    for needle in needles:
        at = text.find(needle)
        while at >= 0:
            yield _line_at(text, at)
            end = text.find(b"\n", at)
            at = text.find(needle, end) if end >= 0 else -1


def _line_at(text: bytes, at: int) -> tuple[int, bytes]:
    begin = text.rfind(b"\n", 0, at) + 1
    end = text.find(b"\n", at)
    return text.count(b"\n", 0, begin) + 1, text[begin : end if end >= 0 else len(text)]


def _compiled(pattern: str) -> "re.Pattern[bytes] | None":
    return re.compile(pattern.encode(), re.MULTILINE) if pattern else None


def _shown(line: bytes) -> str:
    text = line.decode(errors="replace").rstrip()
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"


def as_dict(cause: Cause) -> Mapping[str, object]:
    """The cause as a mapping for JSON."""
    return {
        "name": cause.name, "what": cause.what, "why": cause.why, "mends": list(cause.mends), "line": cause.line,
        "text": cause.text, "kind": cause.kind,
    }  # fmt: skip
