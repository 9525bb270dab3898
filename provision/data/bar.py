"""How much of something long is done: a bar on a terminal, elsewhere a line for each tenth, or each ten seconds.

What takes less than a second says nothing there.
"""

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from provision import console

_EVERY_S = 10.0
_LEAST_S = 1.0
_REDRAW_S = 0.1


class Bar:
    """A `with` block; `at` says how many of `total` are done (0: not known). `show` writes a count for people."""

    def __init__(self, what: str, total: int = 0, show: Callable[[float], str] = console.size) -> None:
        self._what, self._total, self._show = what, total, show
        self._bar: Any = None
        self._task: Any = None
        self._tenth, self._said = 0, time.monotonic()

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def at(self, count: int, total: int | None = None) -> None:
        """So much is done; a `total` that is known only now is given here."""
        self._total = self._total if total is None else total
        if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            self._draw(count)
        else:
            self._tell(count)

    def _tell(self, count: int) -> None:
        now, tenth = time.monotonic(), count * 10 // self._total if self._total else 0
        if now - self._said < (_EVERY_S if tenth == self._tenth else _LEAST_S):
            return
        self._tenth, self._said = tenth, now
        of = f" of {self._show(self._total)}" if self._total else ""
        console.line(f"  {self._what}: {self._show(count)}{of}")

    def _draw(self, count: int) -> None:
        now = time.monotonic()
        if self._bar is None:
            self._begin()
        elif now - self._said < _REDRAW_S and count != self._total:
            return
        self._said = now
        of = f" of {self._show(self._total)}" if self._total else ""
        self._bar.update(self._task, completed=count, total=self._total or None, words=self._show(count) + of)

    def _begin(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn(self._what), BarColumn(), TextColumn("{task.fields[words]}"), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(stderr=True))
        self._task = self._bar.add_task(self._what, total=self._total or None, words="")
        self._bar.start()


def count(number: float) -> str:
    """A number of things for people."""
    return f"{number:,.0f}"
