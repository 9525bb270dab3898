"""What to say of a log that has no number of a training: never nothing."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from infra import harmless
from infra.errors import RunError
from provision.logs import reader
from provision.logs.events import Displays, LayerTime, Metric
from provision.logs.log import Log
from provision.logs.text import whole_lines

_LOOKED_FOR = (
    "the lines of Caffe and Detectron, JSON, `key=value` with a step or an epoch, dictionaries, progress bars, CSV "
    "with a header"
)
_NAME_THEM = "--metrics 'regex:step (?P<step>\\d+) loss (?P<loss>\\S+)'"
_SHOWN, _WIDTH = 3, 100
_BEGIN = 20_000  # bytes of a log's beginning that are looked at
Hint = Callable[[str], str]
_BARE = re.compile(rb"^ *(?:Iteration \d+.*, loss = |T(?:rain|est) net output #)", re.MULTILINE)
_TEST_TOOL = re.compile(rb"\] Batch \d+, \S+ = ")
_GLOG = re.compile(rb"^[IWEF]\d{4,8} \d\d:", re.MULTILINE)
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_FATAL = re.compile(rb"^F\d{4,8} \d\d:|^Traceback |^\*\*\* (?:SIG|Aborted)", re.MULTILINE)


def told(log: Log) -> bool:
    """Whether a log tells any number of a training. UsageError where it cannot be read."""
    return any(isinstance(event, Displays | Metric) for event in reader.columns(log.pieces(), log.asked))


@dataclass
class _Seen:
    """What a log without numbers has. `first`: its first lines that are not empty."""

    lines: int = 0
    first: tuple[bytes, ...] = ()
    binary: bool = False
    bare: bool = False
    tool: bool = False
    glog: bool = False
    fatal: bool = False
    times: bool = False
    saved: bool = False  # a snapshot, or the end of a training

    def take(self, text: bytes) -> None:
        self.lines += text.count(b"\n") + (not text.endswith(b"\n"))
        if len(self.first) < _SHOWN:
            self.first = (*self.first, *filter(bytes.strip, text[:_BEGIN].split(b"\n")))[:_SHOWN]
        self.binary |= self.lines < 1000 and (b"\0" in text)
        self.bare |= bool(_BARE.search(text))
        self.tool |= bool(_TEST_TOOL.search(text))
        self.glog |= bool(_GLOG.search(text))
        self.fatal |= bool(_FATAL.search(text))
        self.saved |= b"] Snapshotting " in text or b"] Optimization Done" in text


def _no_text(raw: bytes, text: bytes) -> bool:
    """Whether its bytes are no text: many are no character, as in Latin-1 or GBK, and many control something."""
    lost = text.decode(errors="replace").count("\ufffd")
    return lost > len(text) / 10 and len(_CONTROLS.findall(raw)) > len(raw) / 50


def _seen(log: Log) -> _Seen:
    seen, parser = _Seen(), reader.Parser(asked=log.asked)
    begin = next(iter(log.raw()), b"")
    for text in whole_lines(log.pieces()):
        seen.binary |= seen.lines == 0 and _no_text(begin[:_BEGIN], text[:_BEGIN])
        seen.take(text)
        seen.times = seen.times or any(isinstance(event, LayerTime) for event in parser.read(text))
    return seen


def _command(words: str) -> str:
    """A command of provision that needs no cloud; `provision.clouds.hint` makes those that do."""
    return f"provision {words}"


def of_all(logs: Sequence[Log], hint: Hint = _command) -> RunError:
    """The error for some logs without numbers; the first of them is explained. `hint` writes a command."""
    one, *others = logs
    if not others:
        return error(one, hint)
    first, names = error(one, hint), ", ".join(str(log.shown or log.name) for log in others)
    return RunError(f"{first}\n    these have no number either: {names}", first.mend)


def error(log: Log, hint: Hint = _command) -> RunError:
    """The error that says so: what was looked for, in how many lines, how the log begins, and what helps."""
    seen = _seen(log)
    named = str(log.shown or log.name)
    hint = hint if log.shown is None else _command
    if not seen.lines and log.shown is None:
        return RunError(
            f"{named} has no line of a log yet", f"how it stands: {hint('runs')}; its machine may still begin"
        )
    if not seen.lines:
        return RunError(
            f"{named} is empty",
            "wait for its first line; Caffe writes to the standard error: caffe train … > FILE 2>&1",
        )
    lines = "1 line" if seen.lines == 1 else f"{seen.lines:,} lines"
    first = "".join(f"\n    {line}" for line in _shown(seen.first))
    begins = f"; it begins:{first}" if first and not seen.binary else ""
    if log.asked.form:
        return RunError(
            f"{named}: no number of a training in {lines}; looked for what --metrics names ({log.asked.form}){begins}",
            f"look for any: leave --metrics out; a line with a number as it stands there: {_NAME_THEM}",
        )
    return RunError(
        f"{named}: no metrics were found in {lines}; looked for {_LOOKED_FOR}{begins}",
        _mend(seen, hint(f"diagnose {named}"), hint(f"logs {named} {_NAME_THEM}")),
    )


def _shown(lines: tuple[bytes, ...]) -> Iterator[str]:
    for line in lines:
        text = harmless.plain(line[:1000].decode(errors="replace")).strip().replace("\n", " ")
        yield text if len(text) <= _WIDTH else text[:_WIDTH] + " …"


def _mend(seen: _Seen, diagnose: str, name_them: str) -> str:
    if seen.binary:
        return "this is no text: name the log, not a snapshot, a picture or a database"
    if seen.bare:
        return (
            "glog's own prefix (I0131 12:59:59 …) is missing: train without GLOG_log_prefix=0, --log_prefix=false; if "
            "this is no log of Caffe's: --metrics key-value"
        )
    if seen.times:
        return "these are the times of `caffe time`, not a training: provision time gives such a table"
    if seen.tool:
        return "these are the batches of `caffe test`, not a training: its last lines have the means"
    if seen.fatal:
        return f"it ended before its first display: {diagnose}"
    if seen.saved:
        return f"it trained and displayed nothing: display: 20 in the solver does; how it ended: {diagnose}"
    if seen.glog:
        return f"wait for the first display (`display` in the solver); see where it is: {diagnose}"
    return f"name them, each number by a group of an expression: {name_them} --json"
