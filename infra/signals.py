"""SIGTERM and SIGHUP as Ctrl-C: a cancelled job, `kill` and a closed terminal undo what was begun, as Ctrl-C does."""

import contextlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

TOLD = (signal.SIGTERM, signal.SIGHUP)
HUNG_UP = signal.SIGHUP  # the terminal is closed


class Told(KeyboardInterrupt):
    """A signal that says to end, as Ctrl-C does. `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class _Once:
    """The first signal is an interrupt. A later SIGTERM or SIGHUP must not cut off what undoes the work; Ctrl-C may."""

    def __init__(self) -> None:
        self.ending = False
        self.holding = 0
        self.came: int | None = None
        self.terminals = [number for number in (0, 1, 2) if _is_terminal(number)]

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        self.ending = True
        signal.default_int_handler(number, frame)

    def end(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._mute()
        if self.holding:
            self.came = self.came or number
        elif not self.ending:
            self.ending = True
            raise Told(number)

    @contextmanager
    def held(self) -> Iterator[None]:
        self.holding += 1
        try:
            yield
        finally:
            self.holding -= 1
        if self.came and not self.holding and not self.ending:
            self.ending = True
            raise Told(self.came)

    def _mute(self) -> None:
        """Writing to a terminal that is gone fails, and must keep nothing from being ended."""
        for number in self.terminals:
            with contextlib.suppress(OSError):
                nowhere = os.open(os.devnull, os.O_RDWR)
                os.dup2(nowhere, number)
                os.close(nowhere)
        self.terminals = []


def end_as_ctrl_c() -> None:
    """From now on SIGTERM and SIGHUP raise `Told` in the main thread; one that is ignored already (nohup) stays so."""
    once = _Once()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, once.interrupt)
    for number in TOLD:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, once.end)


@contextmanager
def held() -> Iterator[None]:
    """Within, what is being undone is not cut off by SIGTERM or SIGHUP: `Told` is raised after it. Ctrl-C still cuts it
    off."""
    handler = signal.getsignal(signal.SIGTERM)
    once = getattr(handler, "__self__", None)
    with once.held() if isinstance(once, _Once) else contextlib.nullcontext():
        yield


def exit_code(error: BaseException) -> int:
    """As a shell tells it: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + (error.number if isinstance(error, Told) else signal.SIGINT)


def _is_terminal(number: int) -> bool:
    try:
        return os.isatty(number)
    except OSError:
        return False
