"""A log on this machine's disk, read as often as needed.

A resumed training steps back to its snapshot: what an earlier attempt had told from that iteration on was lost with its
machine, and is told again. Which numbers count is known from a first, quick reading (`attempts`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from infra.errors import UsageError
from provision import console
from provision.logs import attempts, packed, reader, tensorboard, text
from provision.logs.events import Event
from provision.logs.metrics.asked import AUTO, Asked

PIECE = 1 << 16  # bytes; larger ones cost page faults, not calls


@dataclass(frozen=True)
class Log:
    """A log on this machine's disk: a file, or a folder of TensorBoard's. `name` is what it is called in pictures and
    tables; `cuts` are its `lost_from` where they are known; `shown` is the path by which the user named it, if there is
    one; `only` is the one of its sources (`prefix.sources`) whose lines it has; `asked` is which lines tell numbers."""

    name: str
    path: Path
    cuts: Mapping[int, int] | None = None
    shown: Path | None = None
    only: bytes | None = None
    asked: Asked = AUTO

    @cached_property
    def lost_from(self) -> Mapping[int, int]:
        """By attempt: the iteration from which on its numbers were lost. Read once."""
        return attempts.cuts(self.pieces(), self.asked) if self.cuts is None else self.cuts

    def raw(self) -> Iterator[bytes]:
        """The log's bytes, unpacked if they are packed. UsageError where it cannot be read."""
        try:
            for path in tensorboard.files(self.path) or [self.path]:
                with path.open("rb") as file:
                    yield from packed.unpacked(iter(partial(file.read, PIECE), b""), self._say_cut_off)
        except OSError as error:
            raise UsageError(f"{self.path} cannot be read: {error}", "name a log, or a run (provision runs)") from error

    def pieces(self) -> Iterator[bytes]:
        """The log in UTF-8; of one of its sources the lines alone. UsageError where it cannot be read."""
        return packed.decoded(self.raw()) if self.only is None else text.whole_lines(self.raw(), self.only)

    def events(self) -> Iterator[Event]:
        """All events of the log, in order. UsageError where it cannot be read."""
        return reader.events(self.pieces(), self.asked)

    def _say_cut_off(self) -> None:
        _ = self._cut_off

    @cached_property
    def _cut_off(self) -> None:
        """Said once, however often the log is read."""
        console.line(f"{self.shown or self.name}: the end of the packed file is missing; what is there is read")
