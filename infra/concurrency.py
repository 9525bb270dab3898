"""Several things at once.

`together`: a task that fails keeps no other task from being tried. `Beside`: work beside the main thread. There the
first failure stops everything, and so does leaving early (Ctrl-C): sleepers are woken, so that no thread can still make
something while the caller is undoing it.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

from infra.errors import ProvisionError

T = TypeVar("T")


def together(tasks: Sequence[Callable[[], T]], at_once: int = 16) -> tuple[list[T], list[ProvisionError]]:
    """The results of the tasks that did not fail, in their order, and the errors of those that did.

    Only ProvisionErrors are collected; any other error is a bug in this program and is raised when all tasks are done.
    The threads are daemons, so that Ctrl-C does not wait for them.
    """
    results: dict[int, T] = {}
    failed: dict[int, Exception] = {}
    waiting = list(reversed(list(enumerate(tasks))))

    def work() -> None:
        while True:
            try:
                number, task = waiting.pop()
            except IndexError:
                return
            try:
                results[number] = task()
            except Exception as error:
                failed[number] = error

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(at_once, len(tasks)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    errors = []
    for _, error in sorted(failed.items()):
        if not isinstance(error, ProvisionError):
            raise error
        errors.append(error)
    return [results[number] for number in sorted(results)], errors


@contextlib.contextmanager
def pool(threads: int) -> Iterator[Executor]:
    """A pool of threads. Where the block is left early (Ctrl-C) nothing of what waits is begun any more."""
    made = ThreadPoolExecutor(threads)
    try:
        yield made
    except BaseException:
        made.shutdown(wait=False, cancel_futures=True)
        raise
    made.shutdown()


class _Stopped(Exception):
    """Another thread failed, or the main thread has left the block."""


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
        """Sleep for so many seconds. Raises where the block ends before that."""
        if self._over.wait(seconds):
            raise _Stopped

    def join(self) -> None:
        """Wait until all work is done, in short waits: one long join would hold up Ctrl-C. Raises where work failed."""
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
