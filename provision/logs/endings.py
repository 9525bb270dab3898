"""A log cut at the starts of the program: one `Reading` for each attempt.

The program tells several times that it starts (glog's header, the GPUs, the solver), so a start counts where the
attempt before has told anything that one wants to know: a number, a snapshot, its end, a failure. A fatal line that
comes seconds after another end is the next attempt's, which failed before it told that it started.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from provision.logs.building import Building
from provision.logs.caffe import Ended, Event, Failed, Metric, Planned, Snapshot
from provision.logs.cause import Cause, Earlier, Ending, Facts
from provision.logs.divergence import Trouble, Watch
from provision.logs.failures import Failure
from provision.logs.ranking import causes, ended, in_order
from provision.logs.rules import by_name
from provision.logs.scan import Scan
from provision.logs.standing import Standing

_STARTS = (
    b"Log file created at: ", b"] Using GPUs ", b"] Use CPU.", b"] Use GPU with device ID", b"Initializing solver from",
    b": Building model: ", b"Called with args:",
)  # fmt: skip
_ENDS = re.compile(rb"^(?:(F)|I)\d{4,8} (\d\d):(\d\d):(\d\d).*?(?(1)|\] Optimization Done)", re.MULTILINE)
_OF_TESTS = (b"Loss: ", b"Benchmark ends", b"done solving", b"Mean AP = ")
_TEST_DONE = re.compile(rb"\] (?:\*\*\* )?(Loss: \S+|Benchmark ends)|^(done solving|Mean AP = \S+)$", re.MULTILINE)
_GLOG = re.compile(r"[IWEF]\d{4,8} \d\d:")
_APART = 5  # seconds between the ends of two attempts


class Reading:
    """One attempt. Feed it its lines in order."""

    def __init__(self, first: int, own: Sequence[Failure]) -> None:
        self.first = self.last = first
        self.scan, self.watch, self.standing, self.building = Scan(own), Watch(), Standing(), Building()
        self.told = False
        self._lines = 0
        self._end: Ended | None = None
        self._planned: int | None = None
        self._iteration: int | None = None
        self._saved = -1
        self._tested = ""
        self._said = "Optimization Done"

    def read(self, text: bytes, before: int, events: Sequence[Event], told_line: int = 0) -> None:
        """Take whole lines in, and the events that they tell; `before` is how many lines came before them, `told_line`
        the last of them that told a number of another program than Caffe."""
        self.scan.read(text, before, told_line)
        self.watch.read(text, before, events)
        self.standing.read(text, before, events)
        self.building.read(text)
        for event in events:
            self._take(event)
        if any(word in text for word in _OF_TESTS) and (found := _TEST_DONE.search(text)):
            self._tested = (found[1] or found[2]).decode(errors="replace")
        if b"model_final.pkl" in text:
            self._said = "model_final.pkl was written"
        self.last = before + text.count(b"\n") + (not text.endswith(b"\n"))
        self.told = self.told or ended(self.scan)

    def end(self, events: Sequence[Event]) -> None:
        """Take in what is known only once the log is over."""
        self.watch.read(b"", self.last, events)
        self.standing.read(b"", self.last, events)
        for event in events:
            self._take(event)

    def _take(self, event: Event) -> None:
        if isinstance(event, Metric):
            self.told, self._iteration = True, event.iteration
            if event.phase == "solver":
                self._end = None
        elif isinstance(event, Planned):
            self._planned = event.max_iter
        elif isinstance(event, Ended):
            self.told, self._end, self._said = True, event, event.said or self._said
        elif isinstance(event, Snapshot):
            self.told, self._saved = True, max(self._saved, event.iteration)
        elif isinstance(event, Failed):
            self.told = True

    @property
    def well(self) -> bool:
        """Whether it says that it ended well."""
        done = self._end is not None or (self._planned is not None and self._saved >= self._planned > 0)
        return (done or bool(self._tested)) and not ended(self.scan)

    def found(self, facts: Facts) -> list[Cause]:
        """What went wrong in it, the cause first, by its lines and numbers."""
        over = ended(self.scan)
        failed = facts.state == "failed" or facts.exit_code not in (None, 0)
        well = (self.well or facts.state == "finished") and not failed
        found = causes(self.scan, well, self.building.place)
        state = "finished" if self.well else facts.state
        found = [_of_snapshot(cause) if self._saved >= 0 else cause for cause in found]
        troubles = [*self.watch.troubles(), *self.standing.troubles(state, over)]
        return in_order([*found, *(of_trouble(trouble) for trouble in troubles if not _told_better(trouble, found))])

    def ending(self, found: Sequence[Cause], state: str = "") -> Ending:
        """How it ended, in the words of the log."""
        at = f" at iteration {self._iteration:,}" if self._iteration is not None else ""
        if stopped := [cause for cause in found if cause.kind not in ("divergence", "learning", "last", "symptom")]:
            return Ending("failed", f"it failed{at}: {stopped[0].what}")
        if self.well and state == "failed":
            return Ending("failed", f"the training ended well{at}, and what ran behind it failed")
        if self.well or state == "finished":
            early = self._end is not None and self._end.early
            how = "it was told to stop, and stopped" if early else self._tested or self._said
            how = how if self._tested or self._end else f"the snapshot of iteration {self._saved:,} was written"
            return Ending("well", f"it ended well{at}: {how}" if self.well else f"it ended well{at}")
        of = f" of {self._planned:,}" if self._planned and at else ""
        if state in ("starting", "running"):
            return Ending("open", f"it runs, and its last word is{at.replace(' at', '')}{of}" if at else "it starts")
        where = f" in {place}" if not at and (place := self.building.place("")) else ""
        return Ending("open", f"its log just stops{at}{of}{where}, without a word of an end")

    def earlier(self, number: int) -> Earlier:
        """What is told of it once another attempt has followed."""
        found = [cause for cause in self.found(Facts()) if cause.kind != "symptom"]
        return Earlier(number, self.first, self.last, self.ending(found), found[0] if found else None)


def _of_snapshot(cause: Cause) -> Cause:
    """The cause where a snapshot has been written before: then the folder is there."""
    if cause.name != "snapshot-stream":
        return cause
    folder, disk, *more = cause.mends
    why = (
        "a snapshot before it was written, so its folder is there: most likely the disk is full, or too many files are"
    )
    return replace(cause, why=f"{why} open", mends=(disk, *more, folder))


def _told_better(trouble: Trouble, found: Sequence[Cause]) -> bool:
    """Whether a rule says more of a diverged loss: a learning rate that is no number, Detectron's own words."""
    return trouble.kind == "divergence" and any(cause.name in ("rate-not-a-number", "detectron-nan") for cause in found)


def of_trouble(trouble: Trouble) -> Cause:
    """What several lines tell as a cause."""
    why, mends = trouble.why, trouble.mends
    if trouble.kind == "divergence" and trouble.text.startswith("json_stats: "):  # Detectron has settings of its own
        rule = by_name()["detectron-nan"]
        why, mends = rule.why, rule.mends
    elif trouble.kind == "divergence" and trouble.text and not _GLOG.match(trouble.text):  # another program than Caffe
        rule = by_name()["loss-not-a-number"]
        why, mends = rule.why, rule.mends
    return Cause(trouble.name, trouble.what, why, mends, trouble.line, trouble.text, trouble.kind)


class Cuts:
    """Where attempts begin in a text of whole lines; it is fed the log in order."""

    def __init__(self) -> None:
        self._ended: int | None = None  # second of the day of the last end that was told, if no start followed it

    def of(self, text: bytes) -> Iterator[tuple[int, bool]]:
        """Where a line begins that may begin an attempt, in order; and whether it does for sure."""
        found = {text.rfind(b"\n", 0, at) + 1: False for at in _all_of(text)}
        if b"\nF" in text or text[:1] == b"F" or b"Optimization Done" in text:
            starts = sorted(found)
            for end in _ENDS.finditer(text):
                while starts and starts[0] < end.start():
                    starts.pop(0)
                    self._ended = None
                now = int(end[2]) * 3600 + int(end[3]) * 60 + int(end[4])
                if end[1] and self._ended is not None and abs(now - self._ended) > _APART:
                    found[end.start()] = True
                self._ended = now
            self._ended = None if starts else self._ended
        elif found:
            self._ended = None
        return iter(sorted(found.items()))


def _all_of(text: bytes) -> Iterator[int]:
    for start in _STARTS:
        at = text.find(start)
        while at >= 0:
            yield at
            at = text.find(start, at + 1)
