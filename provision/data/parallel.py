"""Work on all cores with the results in order, and a bar that shows how far it is.

Threads, not processes: OpenCV, Pillow, numpy and LMDB let go of Python's lock while they work, and pictures need not be
copied from one process to another. No more than a few blocks of work are ahead of what was taken: memory is bounded.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from provision.files.bar import Bar, count

A = TypeVar("A")
B = TypeVar("B")
_BLOCK = 8  # items of one piece of work: fewer hand-overs between threads
_QUIET = 2.0  # seconds


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered(work: Callable[[A], B], items: Iterable[A], jobs: int = 0) -> Iterator[B]:
    """`work` of each item, in order, by `jobs` threads (0: one for each core); an error ends it where it happened."""
    jobs = jobs or cores()
    source = iter(items)
    waiting: deque[Future[list[B]]] = deque()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            while True:
                while len(waiting) < 2 * jobs + 2 and (block := list(islice(source, _BLOCK))):
                    waiting.append(pool.submit(_all, work, block))
                if not waiting:
                    return
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _all(work: Callable[[A], B], block: Sequence[A]) -> list[B]:
    return [work(item) for item in block]


def tracked(items: Iterable[A], total: int, words: str) -> Iterator[A]:
    """The items, while a bar shows how many have passed; what is done in a second or two needs none."""
    begun = time.monotonic()
    with Bar(words, total, count) as bar:
        for number, item in enumerate(items, start=1):
            yield item
            if time.monotonic() - begun > _QUIET:
                bar.at(number)
