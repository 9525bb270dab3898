"""Work beside the main line: while `up` waits for a machine, its role, its schedule and its volumes are made.

The first failure stops everything, and so does leaving early (Ctrl-C): whoever sleeps is woken, and nothing is left
that could still make something while the undoing is under way.
"""

import contextlib
import threading
from collections.abc import Callable
from types import TracebackType


class _Stopped(Exception):
    """Someone else failed, or the main line has left."""


class Beside:
    """A `with` block; its exit waits for all work, and raises what the first failed with.

    `sleep` in place of time.sleep makes waits that end when the block does.
    """

    def __init__(self) -> None:
        self._over = threading.Event()
        self._failed: BaseException | None = None
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "Beside":
        return self

    def start(self, work: Callable[[], None]) -> None:
        """Do `work` in a thread of its own."""
        thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def sleep(self, seconds: float) -> None:
        """Sleep; raises where the block is over before."""
        if self._over.wait(seconds):
            raise _Stopped

    def join(self) -> None:
        """Wait until all work is done. Short waits: a thread's join alone would hold up Ctrl-C."""
        for thread in self._threads:
            while thread.is_alive():
                thread.join(0.1)
        if self._failed:
            raise _Stopped

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except _Stopped:
            return
        except BaseException as error:
            self._failed = self._failed or error
            self._over.set()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is not None:
            self._over.set()
        with contextlib.suppress(_Stopped):
            self.join()
        self._over.set()
        if self._failed and (error is None or isinstance(error, _Stopped)):
            raise self._failed from None
