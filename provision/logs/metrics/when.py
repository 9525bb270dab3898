"""Seconds since a training began, by whatever clock its lines have: a date and a time, a bar's, a number of the
program's."""

import datetime
import re

_LOOKED_AT = 120  # characters of a line
_DATE = re.compile(
    r"(?P<year>\d{4})[-/](?P<month>\d\d)[-/](?P<day>\d\d)[T ]"
    r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d(?:[.,]\d+)?)"
)
_SHORT = re.compile(
    r"(?:\[|^)(?P<month>\d\d)/(?P<day>\d\d) (?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"  # Detectron2, mmengine
    r"|^[IWE](?P<month2>\d\d)(?P<day2>\d\d) (?P<hour2>\d\d):(?P<minute2>\d\d):(?P<second2>\d\d\.\d+)"  # absl
)


class When:
    """Feed it lines in order; the seconds never go back. A log without any clock stays at 0."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._begun: float | None = None
        self._of = ""  # which clock
        self._last = 0.0

    def at(self, line: str, clock: float | None) -> float:
        """The seconds at a line; `clock` is what it tells beside a date."""
        now, of = (clock, "own") if clock is not None else (_stamp(line[:_LOOKED_AT]), "date")
        if now is None or not -1e15 < now < 1e15 or (self._of == "date" and of == "own"):
            return self.seconds
        if self._of != of:
            self._of, self._begun = of, now - self.seconds
        elif now < self._last:  # a bar begins anew, or another attempt
            self._begun = now - self.seconds
        self._last = now
        self.seconds = max(self.seconds, now - (self._begun or 0.0))
        return self.seconds


def _stamp(line: str) -> float | None:
    """Seconds of a date and time in a line; 2000 stands for a year that is not told."""
    found = _DATE.search(line) or _SHORT.search(line)
    if not found:
        return None
    parts = {name.rstrip("2"): text for name, text in found.groupdict().items() if text is not None}
    try:
        day = datetime.date(int(parts.get("year", 2000)), int(parts["month"]), int(parts["day"]))
    except ValueError:
        return None
    second = float(parts["second"].replace(",", "."))
    return day.toordinal() * 86400.0 + int(parts["hour"]) * 3600 + int(parts["minute"]) * 60 + second
