"""A run's log, as its pieces lie in its place. All that prints, fetches, follows or parses a log reads it here.

It is bytes from end to end: a piece may end in the middle of a line, or of a character. An attempt that was cut off may
end there, too: its last line ends with it, and does not run on into the first line of the next attempt.

A day's log is 17,000 pieces, and each costs a round trip: several are read ahead of the reader.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from infra.store import Stored
from provision.files.bar import Bar, count
from provision.logs.metrics import asked as metrics
from provision.logs.metrics.asked import AUTO, Asked
from provision.runs.store import AnyRun, attempt_of

T = TypeVar("T")

_AHEAD = 16  # pieces
_MANY = 2000  # pieces; the reading of fewer is not announced


@dataclass(frozen=True)
class Piece:
    """Bytes of the log, the attempt that wrote them, and the key of their object."""

    key: str
    attempt: int
    data: bytes


class Joint:
    """Puts pieces that come in order together; it may be kept over as many readings of a run as are needed."""

    def __init__(self) -> None:
        self._attempt = 0
        self._end = b"\n"

    def join(self, piece: Piece) -> bytes:
        """The piece's bytes, behind the end of line that the attempt before it may owe."""
        cut_off = piece.attempt != self._attempt and self._end != b"\n"
        data = b"\n" + piece.data if cut_off else piece.data
        self._attempt, self._end = piece.attempt, data[-1:] or self._end
        return data


def text(run: AnyRun, listed: Sequence[Stored] | None = None) -> Iterator[bytes]:
    """The whole log over all attempts, in chunks of any size: of those pieces, or of all that there are now."""
    stored, joint = run.log_pieces() if listed is None else listed, Joint()
    with Bar("pieces of the log", len(stored), count, least=_MANY) as bar:
        for done, piece in enumerate(read(run, stored), 1):
            bar.at(done)
            yield joint.join(piece)


def asked(run: AnyRun, wished: Asked = AUTO) -> Asked:
    """Which lines of its log tell numbers: what the user wishes, else what its recipe says."""
    return wished if wished.form else metrics.asked(run.manifest.recipe.metrics)


def read(run: AnyRun, stored: Sequence[Stored]) -> Iterator[Piece]:
    """Read those pieces, in their order."""

    def read_one(piece: Stored) -> Piece:
        return Piece(piece.key, attempt_of(piece.key), run.store.read(piece.key) or b"")

    return _ahead(read_one, stored)


def _ahead(work: Callable[[Stored], T], items: Sequence[Stored]) -> Iterator[T]:
    """`work` on each item, in order, a few of them ahead of the reader."""
    from concurrent.futures import Future, ThreadPoolExecutor

    waiting: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(_AHEAD)
    try:
        for item in items:
            if len(waiting) == _AHEAD:
                yield waiting.popleft().result()
            waiting.append(pool.submit(work, item))
        while waiting:
            yield waiting.popleft().result()
    finally:  # a reader may stop early
        pool.shutdown(wait=False, cancel_futures=True)
