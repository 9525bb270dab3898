"""Logs as files: a run's (brought from S3 into a temporary file) or any of the user's own, and how they are printed."""

import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from infra.errors import UsageError
from infra.harmless import Plain
from provision.logs import attempts, tensorboard
from provision.logs.log import PIECE, Log
from provision.logs.metrics.asked import AUTO, Asked
from provision.logs.rows import Row, rows

PACKED = (".gz", ".bz2", ".xz")  # endings of names; what is packed is known by its bytes

__all__ = ["PACKED", "Log", "Printer", "Row", "copy_to_stdout", "is_file", "open_file", "refused", "rows", "spooled"]


def is_file(word: str) -> bool:
    """Whether a word of the command line means a log file (a folder that `provision fetch` made has one; one of
    TensorBoard's is one; `-` is the standard input, and a shell's <(COMMAND) a pipe) and not a run."""
    path = Path(word)
    plain = word == "-" or path.is_file() or _streams(path) or (path / "log.txt").is_file()
    return plain or bool(tensorboard.files(path))


def _streams(path: Path) -> bool:
    """Whether it can be read only once."""
    return path.is_fifo() or path.is_char_device()


def refused(word: str, runs: str) -> UsageError | None:
    """The error for a word that means a file which is not there, and can be no run's; `runs` is the command that lists
    those."""
    if Path(word).is_dir() and ("/" in word or word.startswith(".")):
        return UsageError(f"the folder {word} has no log.txt", f"name a log in {word}")
    if "/" in word or word.endswith((".log", ".txt", *PACKED)):
        return UsageError(f"there is no file {word}", f"name a log, or a run: {runs}")
    return None


@contextmanager
def open_file(word: str, asked: Asked = AUTO) -> Iterator[Log]:
    """The log file that a word means; `asked` is which lines tell numbers."""
    path = Path(word)
    if word == "-":
        with spooled("stdin", iter(lambda: sys.stdin.buffer.read(PIECE), b""), asked) as log:
            yield log
    elif _streams(path):
        with path.open("rb") as pipe, spooled(path.name, iter(lambda: pipe.read(PIECE), b""), asked) as log:
            yield log
    elif path.is_dir() and not (path / "log.txt").is_file():
        yield Log(path.resolve().name, path, shown=path, asked=asked)
    elif path.is_dir():
        yield Log(path.resolve().name, path / "log.txt", shown=path, asked=asked)
    else:
        name = path.stem if path.suffix in PACKED else path.name
        yield Log(name.removesuffix(".log"), path, shown=path, asked=asked)


@contextmanager
def spooled(name: str, pieces: Iterable[bytes], asked: Asked = AUTO) -> Iterator[Log]:
    """Keep a stream, which can be read only once, in a temporary file for as long as the context lasts."""
    with tempfile.NamedTemporaryFile(prefix="provision-log-") as file:
        cuts = attempts.cuts(_written(pieces, file), asked)
        file.flush()
        yield Log(name, Path(file.name), cuts, asked=asked)


def _written(pieces: Iterable[bytes], file: IO[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        file.write(piece)
        yield piece


class Printer:
    """Writes a log to the standard output, without what a terminal would obey (`infra.harmless`); `raw`: as it is."""

    def __init__(self, raw: bool = False) -> None:
        self._plain = None if raw else Plain()

    def take(self, piece: bytes) -> None:
        """Write the next piece."""
        self._write(piece if self._plain is None else self._plain.take(piece))

    def end(self) -> None:
        """Write what waited for the rest of a character."""
        self._write(b"" if self._plain is None else self._plain.end())

    def _write(self, piece: bytes) -> None:
        sys.stdout.buffer.write(piece)
        sys.stdout.flush()


def copy_to_stdout(log: Log, raw: bool = False) -> bool:
    """Write the log to the standard output; `raw`: as its bytes are. Whether there are any. UsageError where it cannot
    be read."""
    printer, found = Printer(raw), False
    for piece in log.raw() if raw else log.pieces():
        printer.take(piece)
        found = found or bool(piece)
    printer.end()
    return found
