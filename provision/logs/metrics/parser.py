"""A log of any program as events, in one pass and constant memory.

Each line is held against the forms that programs write numbers in (`structured`, `table`, `bars`, `words`), or against
the one that the user asked for; what it tells goes to `telling`.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from provision.logs.events import Event
from provision.logs.metrics import bars, columns, structured, table, words
from provision.logs.metrics.asked import AUTO, Asked
from provision.logs.metrics.names import meaning
from provision.logs.metrics.pairs import LOOKED_AT
from provision.logs.metrics.telling import Teller
from provision.logs.metrics.told import PLACES, Told
from provision.logs.metrics.when import When

# what each line that tells something has one of, in small letters
_HINTS = re.compile(
    rb"loss|epoch|step|iter|\{[\"']|%\||acc|it \[|avg|error|reward|score|fit` stopped|update|\t|: |/\d| \* "
    rb"| all +\d| class "
)
_RANK = re.compile(r".{,60}?(?:\[(?:rank|default)(?P<rank>\d{1,4})\]:|\[\d+,(?P<mpi>\d{1,4})\]<std(?:out|err)>:)")
# what others put before a line: times of Docker's, ts' and syslog's, names of containers and pods, ranks, numbers
_BEFORE = re.compile(
    r"^(?:[ \t>]*(?:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d) (?:std(?:out|err) [FP] )?"
    r"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d (?:\S+ [\w.-]+\[\d+\]: )?|\d\d:\d\d:\d\d |\[ *\d+\.\d+\] "
    r"|\[pod/[^\]\s]+\] |[\w.-]+[-_]\d+ +\| |\[(?:rank|default)\d+\]: ?|\[\d+,\d+\]<std(?:out|err)>:"
    r"|\d+:(?=[A-Za-z{\[]| *\d+%\|| \* | {3,}\S)|\d+\t|[\w./-]+\.log:|> ))?"
)
_BACKSPACES = re.compile(rb"\x08+")
_OVER = "Trainer.fit` stopped: "  # Lightning
_LONGEST = 1 << 20
_HEAD = 300  # characters of a line that others may have put before it


class Parser:
    """Feed it the log in order; it gives the events. `told_line` is the number of the last line, of those fed last,
    that told a number (0: none did)."""

    def __init__(self, attempt: int = 0, asked: Asked = AUTO) -> None:
        self.told_line = 0
        self._asked = asked
        self._teller, self._when = Teller(attempt), When()
        self._rich, self._keras = bars.Rich(), bars.Keras()
        self._words = words.Words(unplaced=asked.form == "key-value")
        self._columns = columns.Columns()
        self._table: table.Table | None = None
        self._lines = 0
        self._held: tuple[Told, float] | None = None  # waits for what follows
        self._bar: float | None = None  # steps of the training's own bar
        self._rank: str | None = None

    @property
    def attempt(self) -> int:
        """The attempt that the log is in."""
        return self._teller.attempt

    @property
    def begun(self) -> bool:
        """Whether the log has told a number."""
        return self._teller.begun

    def read(self, text: bytes) -> list[Event]:
        """The events of whole lines."""
        found: list[Event] = []
        self.told_line = 0
        if b"\x08" in text:  # a bar that draws over itself; lines keep their numbers
            text = _BACKSPACES.sub(b"\r", text)
        low = text.lower()
        if not self._hears(low):
            self._lines += text.count(b"\n")
            return found
        for number, (raw, small) in enumerate(zip(text.split(b"\n"), low.split(b"\n"), strict=True), 1):
            self._lines += 1
            if len(raw) < 3 or not self._hears(small):
                continue
            for part in raw.split(b"\r"):
                if made := list(self._line(part[:_LONGEST].decode(errors="replace"))):
                    found += made
                    self.told_line = number
        return found

    def end(self) -> list[Event]:
        """The events that waited for a line that does not come: the log is over."""
        return list(self._flush(None))

    def _hears(self, low: bytes) -> bool:
        always = self._table is not None or self._asked.pattern is not None or self._lines == 0
        return always or _HINTS.search(low) is not None

    def _line(self, whole: str) -> Iterator[Event]:
        before = _BEFORE.match(whole, 0, _HEAD)
        line = whole[before.end() :] if before else whole
        told = self._told(line)
        if told is not None and told.sane and (not told.values or self._mine(whole)):
            yield from self._take(told, whole)
        if _OVER in line:
            yield from self._flush(None)
            yield from self._teller.end(self._when.seconds)

    def _take(self, told: Told, whole: str) -> Iterator[Event]:
        if told.redrawn and (self._passes(told) if not told.values else told.step == 0):
            return  # at step 0 Lightning shows the numbers of the epoch before
        seconds = self._when.at(whole, told.clock)
        if self._held is not None and not _same_state(self._held[0], told):
            yield from self._flush(told)
        if (told.redrawn and told.values) or (told.form == "dict" and told.step is None and self._bar is not None):
            self._held = told, seconds
        else:
            yield from self._teller.take(told, seconds)

    def _mine(self, line: str) -> bool:
        """Whether the line is no rank's, or that of the rank that told first: all tell the same of a training."""
        head = line[:80]
        found = _RANK.match(head) if "]:" in head or "]<std" in head else None
        if found is None:
            return True
        rank = found["rank"] or found["mpi"]
        self._rank = self._rank or rank
        return self._rank == rank

    def _flush(self, following: Told | None) -> Iterator[Event]:
        """Tell what waited: a bar for its last state at a step, for Lightning draws a new count beside old numbers; a
        dictionary for its step, which the bar tells that is drawn behind it."""
        if self._held is None:
            return
        (told, seconds), self._held = self._held, None
        if not told.redrawn and following is not None and self._is_own_bar(following):
            self._teller.place.of(following)
        yield from self._teller.take(told, seconds)

    def _passes(self, bar: Told) -> bool:
        """Whether a bar without numbers is none of the training itself. The first bar without words is."""
        if bar.form != "tqdm" or bar.epoch is not None:
            return bar.whose == "val"
        if bar.whose == "train" and (self._bar is None or (bar.step == 0 and not self.begun)):
            self._bar = bar.steps
        return not self._is_own_bar(bar)

    def _is_own_bar(self, told: Told) -> bool:
        bare = told.form == "tqdm" and not told.values and told.whose == "train" and told.epoch is None
        return bare and told.steps == self._bar

    # forms

    def _told(self, line: str) -> Told | None:
        form = self._asked.form
        if self._asked.pattern is not None:
            return _of_pattern(self._asked.pattern, line)
        if self._table is not None and (row := self._table.read(line)) is not None:
            return row
        if (self._lines == 1 or form == "csv") and self._table is None and (header := table.of_header(line)):
            self._table = header
            return None
        told = self._of_form(line) if form != "csv" else None
        return told if told is None or not form or told.form in (form, "") else None

    def _of_form(self, line: str) -> Told | None:
        if '{"' in line and (told := structured.of_json(line)):
            return told
        if "{'" in line and (told := structured.of_dict(line)):
            return told
        if told := self._columns.read(line):
            return told
        if ("%|" in line or "it [" in line) and (told := bars.of_tqdm(line)):
            return told
        below = self._rich.read(line) or self._keras.read(line)
        if below is not None and below.values:
            return below
        if " avg" in line and (told := words.of_darknet(line)):
            return told
        return self._words.read(line) or below


def _of_pattern(pattern: re.Pattern[str], line: str) -> Told | None:
    """What a user's expression finds; None where that is nothing, or no number."""
    found = pattern.search(line[:LOOKED_AT])
    values: dict[str, float] = {}
    for name, text in found.groupdict().items() if found else ():
        try:
            values[name] = float((text or "").replace(",", "").rstrip("%"))
        except ValueError:
            continue
    places = {kind: value for name, value in values.items() if (kind := meaning(name).kind) in PLACES}
    metrics = {name: value for name, value in values.items() if meaning(name).kind not in PLACES}
    if not metrics:
        return None
    return Told(
        "regex", metrics, places.get("step"), places.get("steps"), places.get("epoch"), places.get("epochs"),
        clock=places.get("clock"),
    )  # fmt: skip


def _same_state(one: Told, other: Told) -> bool:
    """Whether two states of a bar stand for the same step."""
    return (
        one.redrawn and other.redrawn and replace(one, values={}, clock=None) == replace(other, values={}, clock=None)
    )
