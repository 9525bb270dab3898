"""A command's channel over SSH: send its input and read both its outputs, to its end or up to a time limit."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from infra.shell import Lines, OnLine, Result
from infra.tunnel import BROKEN

_GRACE_S = 10.0  # for the last of the input, and of the errors, after the output has ended

Take = Callable[[Any], None]


@dataclass
class Talk:
    """How a command went. `code` is -1 where it left no exit code; `late`: the time limit closed the channel."""

    code: int
    out: Lines
    err: Lines
    failed: list[Exception]
    late: bool

    def result(self) -> Result:
        """The command's Result. Raises the error of whoever made its input, or of whoever took its lines."""
        if self.failed:
            raise self.failed[0]
        return Result(self.code, self.out.text, self.err.text)


def talk(
    channel: Any, chunks: Iterable[bytes], on_line: OnLine | None, take: Take | None = None, limit: float | None = None
) -> Talk:
    """Send the chunks, and read both streams to the end; `take` reads standard output in place of `on_line`.

    The channel is closed at the end, or after `limit` seconds. Raises one of `BROKEN` where the line breaks.
    """
    failed: list[Exception] = []
    late = threading.Event()
    out, err = (Lines(on_line, lambda: _close(channel)) for _ in range(2))
    with _closed_after(channel, limit, late):
        sender = threading.Thread(target=_send, args=(channel, _kept(chunks, failed)), daemon=True)
        if chunks:
            sender.start()
        # by a thread: a full window would block the other stream
        reader = threading.Thread(target=err.take, args=(channel.makefile_stderr("rb"),), daemon=True)
        reader.start()
        (take or out.take)(channel.makefile("rb"))
        reader.join(_GRACE_S)
        code = channel.recv_exit_status()
        if chunks:
            sender.join(_GRACE_S)
    return Talk(code, out, err, failed, late.is_set())


def _kept(chunks: Iterable[bytes], failed: list[Exception]) -> Iterator[bytes]:
    """The chunks. An error in making them ends them, and goes into `failed` for whoever waits for the command."""
    try:
        yield from chunks
    except Exception as error:
        failed.append(error)


def _send(channel: Any, chunks: Iterable[bytes]) -> None:
    with contextlib.suppress(*BROKEN):  # the far side may end early: its exit code tells why; so does a broken line
        for chunk in chunks:
            channel.sendall(chunk)
        channel.shutdown_write()


def _close(channel: Any) -> None:
    with contextlib.suppress(*BROKEN):
        channel.close()


@contextlib.contextmanager
def _closed_after(channel: Any, limit: float | None, late: threading.Event) -> Iterator[None]:
    """Closes the channel at the end of the block; or after `limit` seconds, and then sets `late` too."""

    def end() -> None:
        late.set()
        _close(channel)

    timer = threading.Timer(limit or 0.0, end)
    timer.daemon = True
    if limit is not None:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        _close(channel)
