"""Several things at once, of which one that fails keeps no other from being tried."""

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from infra.errors import ProvisionError

T = TypeVar("T")


def together(tasks: Sequence[Callable[[], T]], at_once: int = 16) -> tuple[list[T], list[ProvisionError]]:
    """The results of the tasks that did not fail, in their order, and the errors of those that did.

    Only errors of ours are collected; any other is a fault in this program and is raised, after all are done. The
    threads are daemons, so that Ctrl-C does not wait for them.
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
