"""How much of something long is done: a bar on a terminal, elsewhere a line for each tenth, or each ten seconds.

What takes less than a second says nothing there.
"""

import time
from collections.abc import Callable
from types import TracebackType

from provision import console

_EVERY_S = 10.0
_LEAST_S = 1.0
_REDRAW_S = 0.1


class _Pace:
    """When the next line is due: at each new tenth (after `tenth`), or after ten seconds."""

    def __init__(self, least_s: float, tenth: int = 0) -> None:
        self._least_s = least_s
        self._tenth, self._said = tenth, time.monotonic()

    def due(self, count: int, total: int) -> bool:
        """Whether now; tenths that follow each other within `least_s` are told together."""
        now, tenth = time.monotonic(), count * 10 // total if total else 0
        if now - self._said < (_EVERY_S if tenth == self._tenth else self._least_s):
            return False
        self._tenth, self._said = tenth, now
        return True


class Bar:
    """A `with` block; `at` says how many of `total` are done (0: not known). `show` writes a count for people.

    Where `total` is below `least` nothing is shown at all.
    """

    def __init__(self, what: str, total: int = 0, show: Callable[[float], str] = console.size, least: int = 0) -> None:
        self._what, self._total, self._show, self._least = what, total, show, least
        self._drawing: console.Drawing | None = None
        self._pace = _Pace(_LEAST_S)
        self._drawn = 0.0

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._drawing is not None:
            self._drawing.stop()

    def at(self, count: int, total: int | None = None) -> None:
        """Show that so much is done; a `total` that is known only now is given here."""
        self._total = self._total if total is None else total
        if self._total < self._least:
            return
        words = self._show(count) + (f" of {self._show(self._total)}" if self._total else "")
        if console.draws():
            self._draw(count, words)
        elif self._pace.due(count, self._total):
            console.line(f"  {self._what}: {words}")

    def _draw(self, count: int, words: str) -> None:
        now = time.monotonic()
        if self._drawing is None:
            self._drawing = console.Drawing(self._what, console.TIME_LEFT)
        elif now - self._drawn < _REDRAW_S and count != self._total:
            return
        self._drawn = now
        self._drawing.show(count, self._total, words)


class TrainingBar:
    """The iterations of a training, with words on how it goes. It is shown from the first one on."""

    def __init__(self) -> None:
        self._drawing: console.Drawing | None = None
        self._pace = _Pace(0.0, tenth=-1)

    def show(self, iteration: int, total: int, words: str) -> None:
        """So many of `total` iterations are done; where that is not known (0), each one is told."""
        if console.draws():
            self._drawing = self._drawing or console.Drawing("training", console.M_OF_N)
            self._drawing.show(iteration, total, words)
        elif self._pace.due(iteration, total or 10):
            console.line(f"  iteration {iteration}/{total or '?'}  {words}")

    def close(self) -> None:
        if self._drawing is not None:
            self._drawing.stop()
            self._drawing = None


def count(number: float) -> str:
    """A count as people write it."""
    return f"{number:,.0f}"
