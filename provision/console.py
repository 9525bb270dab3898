"""Words, tables and progress for people; JSON for programs. The only user of rich, which is imported at first use.

Standard output carries results, standard error what happens meanwhile: a pipe gets plain lines and no colours.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


def say(text: str) -> None:
    """One line of result or advice, on standard output."""
    print(text, flush=True)


def line(text: str) -> None:
    """One line of what happens now, on standard error."""
    print(text, file=sys.stderr, flush=True)


def emit_json(value: object) -> None:
    """The machine-readable form of a table."""
    print(json.dumps(value, indent=2, default=str, sort_keys=True), flush=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table that is as wide as it needs where the output is no terminal."""
    from rich.console import Console
    from rich.table import Table

    out = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        out.add_column(column, overflow="fold")
    for row in rows:
        out.add_row(*("" if cell is None else str(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False).print(out)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Say what begins, and how long it took when it ends."""
    begun = time.monotonic()
    line(f"… {text}")
    yield
    line(f"  {text}: {time.monotonic() - begun:.1f} s")


class TrainingBar:
    """A progress bar of iterations on a terminal, plain lines elsewhere (one each ten seconds or tenth)."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._said = (-1, 0.0)

    def show(self, iteration: int, total: int, words: str) -> None:
        if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            self._draw(iteration, total, words)
            return
        tenth = iteration * 10 // total if total else iteration
        if tenth != self._said[0] or time.monotonic() - self._said[1] > 10:
            self._said = (tenth, time.monotonic())
            line(f"  iteration {iteration}/{total or '?'}  {words}")

    def _draw(self, iteration: int, total: int, words: str) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            columns = (
                TextColumn("training"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[words]}"),
            )
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._task = self._bar.add_task("training", total=total or None, words=words)
            self._bar.start()
        self._bar.update(self._task, completed=iteration, total=total or None, words=words)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def span(seconds: float) -> str:
    """A duration for people."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{int(seconds) // 3600} h {int(seconds) % 3600 // 60:02d}"
