"""Words, tables and progress for people; JSON for programs. The only user of rich, which is imported at first use.

Standard output carries results, standard error what happens meanwhile: a pipe gets plain lines and no colours.
Whatever is said here may hold words of others (a log, a tag, an answer of AWS), so it loses all that a terminal would
obey: `infra.harmless`.
"""

import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from infra.harmless import plain

Say = Callable[[str], None]  # gets a line of what happens


def take_any_text() -> None:
    """Standard output takes any text: what its encoding cannot say (a file's name may be any bytes) is escaped."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """One line of result or advice, on standard output."""
    _print(plain(text))


def _print(text: str) -> None:
    print(text, flush=True)


def line(text: str) -> None:
    """One line of what happens now, on standard error."""
    _print_meanwhile(plain(text))


def _print_meanwhile(text: str) -> None:
    with suppress(BrokenPipeError):  # who reads no more of it (`2>&1 | head`) leaves no machine half made
        print(text, file=sys.stderr, flush=True)


def emit_json(value: object) -> None:
    """The machine-readable form of a table."""
    print(json.dumps(value, indent=2, default=str, sort_keys=True), flush=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, meanwhile: bool = False) -> None:
    """A table that is as wide as it needs where the output is no terminal; `meanwhile`: on standard error."""
    from rich.console import Console
    from rich.table import Table

    out = Table(title=plain(title) or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        out.add_column(plain(column), overflow="fold")
    for row in rows:
        out.add_row(*("" if cell is None else plain(str(cell)) for cell in row))
    stream = sys.stderr if meanwhile else sys.stdout
    console = Console(file=stream, width=None if stream.isatty() else 200, highlight=False, markup=False)
    with console.capture() as text:  # rich itself would end the process with 1 where the reader had enough
        console.print(out)
    (_print_meanwhile if meanwhile else _print)("\n".join(row.rstrip() for row in text.get().splitlines()))


@contextmanager
def step(text: str) -> Iterator[None]:
    """Say what begins, and how long it took when it ends."""
    begun = time.monotonic()
    line(f"… {text}")
    yield
    line(f"  {text}: {time.monotonic() - begun:.1f} s")


TIME_LEFT, M_OF_N = "time left", "m of n"


def draws() -> bool:
    """Whether standard error is a terminal on which a line can be drawn anew."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


class Drawing:
    """A bar that is drawn on the terminal from now on until `stop`. `provision.files.bar` says when it is used.

    Beside the bar stand the time that is left (TIME_LEFT, at the end) or the count (M_OF_N), and words.
    """

    def __init__(self, what: str, beside: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        words = TextColumn("{task.fields[words]}", markup=False)
        title = TextColumn("{task.description}", markup=False)
        more = (words, TimeRemainingColumn()) if beside == TIME_LEFT else (MofNCompleteColumn(), words)
        self._bar = Progress(title, BarColumn(), *more, console=Console(stderr=True))
        self._task = self._bar.add_task(plain(what), total=None, words="")
        self._bar.start()

    def show(self, count: int, total: int, words: str) -> None:
        """So many of `total` (0: not known) are done."""
        self._bar.update(self._task, completed=count, total=total or None, words=plain(words))

    def stop(self) -> None:
        self._bar.stop()


def size(count: float) -> str:
    """A number of bytes as people write it."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def span(seconds: float) -> str:
    """A duration in seconds as people write it."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{int(seconds) // 3600} h {int(seconds) % 3600 // 60:02d}"
