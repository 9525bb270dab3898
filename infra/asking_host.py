"""One host that is asked things: how many at once, how soon after each other, and when it is left alone."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime

_FAILURES = 6  # in a row, of connections that were made and broke


class Host:
    """Turns at one host. `left` says why the host is asked no more; it is empty while the host is asked."""

    def __init__(
        self, at_once: int, pause_s: float, sleep: Callable[[float], None], clock: Callable[[], float]
    ) -> None:
        self.left, self.mend = "", ""
        self._pause_s, self._sleep, self._clock = pause_s, sleep, clock
        self._places, self._lock = threading.Semaphore(at_once), threading.Lock()
        self._next, self._failures = clock(), 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a place and for the time of the next request. There is no wait at a host that was left."""
        with self._places:
            while not self.left and (wait := self._due()) > 0:
                self._sleep(wait)
            yield

    def hold(self, seconds: float) -> None:
        """Send the host no request for so many seconds."""
        with self._lock:
            self._next = max(self._next, self._clock() + seconds)

    def leave(self, why: str, mend: str) -> None:
        """Ask the host no more, and keep the reason and its mend."""
        with self._lock:
            if not self.left:
                self.left, self.mend = why, mend

    def saw(self, trouble: str, mend: str, *, hopeless: bool) -> None:
        """Note how a request went. `hopeless`: all others would fail too (no such name, no connection, TLS)."""
        with self._lock:
            self._failures = self._failures + 1 if trouble else 0
            many = self._failures >= _FAILURES
        if hopeless or many:
            self.leave(trouble, mend)

    def _due(self) -> float:
        """Seconds to wait; at 0 the caller has its turn, and the next turn is moved on."""
        with self._lock:
            now = self._clock()
            if now < self._next:
                return self._next - now
            self._next = now + self._pause_s
            return 0.0


def retry_after(text: str, now: float | None = None) -> float | None:
    """The seconds of a Retry-After header, which holds seconds or a date. None where it can be read as neither."""
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - (time.time() if now is None else now))
    except (TypeError, ValueError, OverflowError):
        return None
