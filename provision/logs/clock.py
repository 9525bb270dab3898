"""The clock of a log of glog's: its lines tell month, day and time, newer ones the year too."""

import datetime
import re
from collections.abc import Sequence
from operator import add


class Clock(dict[bytes, "float | None"]):
    """Minutes of the log ("1120 23:25") as seconds since the training began; None for what is no time.

    There are few minutes and many lines: each minute is worked out once. A date without its year gets over New
    Year's Eve.
    """

    def __init__(self) -> None:
        super().__init__()
        self._begun: float | None = None  # whole seconds on the log's own scale, and what is over
        self._over = 0.0

    def begin_once(self, minute: bytes, second: bytes | float) -> None:
        """The training begins here, if it has not begun."""
        if self._begun is None and (now := _minute(minute)) is not None:
            self._begun, self._over = now, float(second)

    def begin_at(self, seconds: float) -> None:
        """Move the beginning of the training to `seconds` after the present one."""
        self._over += seconds
        self.clear()

    def __missing__(self, minute: bytes) -> float | None:
        now = _minute(minute)
        if now is None or self._begun is None:
            return None
        since = now - self._begun
        since += 366 * 86400 if len(minute) < 14 and since < -180 * 86400 else 0
        self[minute] = since - self._over
        return self[minute]

    def at(self, minute: bytes, second: bytes) -> float | None:
        """Seconds since the training began; the first call is its beginning."""
        try:
            self.begin_once(minute, second)
            base = self[minute]
            return None if base is None else base + float(second)
        except ValueError:
            return None

    def column(self, minutes: Sequence[bytes], seconds: Sequence[float]) -> list[float] | None:
        """Do the same for many lines: `seconds` count within each line's minute. None if any is not a time."""
        if minutes.count(minutes[0]) == len(minutes):
            base = self[minutes[0]]
            return None if base is None else [base + second for second in seconds]
        bases = [self[minute] for minute in minutes]
        return None if None in bases else list(map(add, bases, seconds))


def _minute(text: bytes) -> float | None:
    """Seconds from year 1 to a minute; 2000, which has a 29 February, stands for a year that is not told."""
    found = re.fullmatch(rb"(\d{4})?(\d\d)(\d\d) (\d\d):(\d\d)", text)
    if not found:
        return None
    year, month, day, hour, minute = (int(part or 2000) for part in found.groups())
    try:
        return datetime.date(year, month, day).toordinal() * 86400.0 + hour * 3600 + minute * 60
    except ValueError:
        return None
