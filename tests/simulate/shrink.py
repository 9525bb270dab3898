"""A failing list of events is made short: what can be left out while it still fails in the same way is left out."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def shrunk(events: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    """Delta debugging (Zeller and Hildebrandt, 2002): no single event of the answer can be left out."""
    left, parts = list(events), 2
    while len(left) >= 2:
        size = max(1, len(left) // parts)
        pieces = [left[at : at + size] for at in range(0, len(left), size)]
        for number in range(len(pieces)):
            rest = [event for other, piece in enumerate(pieces) if other != number for event in piece]
            if fails(rest):
                left, parts = rest, max(2, parts - 1)
                break
        else:
            if size == 1:
                break
            parts = min(len(left), 2 * parts)
    return left if len(left) != 1 or not fails([]) else []
