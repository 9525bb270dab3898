"""The rows that answer a wish, and the best of them.

A wish is narrowed part by part: the rows that the stack can stand on, then those with the CUDA, the cuDNN, the
distribution, … and at last those with code for the GPUs. The part that leaves nothing is the reason (`instead`).

Where several rows are left, the best is: one with code of its own for the GPUs before one whose code only serves, and
one that the driver carries by itself; one whose release lives before one that has ended; one whose base is listed
before one that is rebuilt here, then one that NVIDIA may have deleted by now, and last what stands in for a deleted
one; of alike ones, one with nothing unverified; then on the distribution that the stack prefers; then with the newest
CUDA, and the newest cuDNN. Without a wish that speaks of GPUs it is a row without CUDA, if the stack has one.
"""

from images import ends, gpus
from images.fits import PARTS, Wish, cautions, fitting, reason, steps
from images.matrix import Variant
from images.stacks import Stack
from images.target import Target
from images.versions import key

Step = tuple[str, str]


def narrow(stack: Stack, wish: Wish) -> tuple[list[Variant], Step | None]:
    """The rows that answer the whole wish, and None; or the rows left before the first part that fails, and it."""
    left = fitting(stack)
    for part, value in steps(wish):
        kept = [row for row in left if not reason(row, part, value, wish)]
        if not kept:
            return left, (part, value)
        left = kept
    return left, None


def to_blame(stack: Stack, wish: Wish) -> Wish:
    """The part of an unanswered wish to explain: the wish without its driver, where no driver would help. The driver
    may be the AWS type's, which the user did not name."""
    rest = {part: value for part, value in wish.items() if part != "driver"}
    return rest if narrow(stack, rest)[1] else wish


def best(stack: Stack, wish: Wish, left: list[Variant]) -> Target:
    """The best of these rows for the wish."""
    wanted = "cuda" if any(PARTS[part] for part in wish) else "cpu"
    left = [row for row in left if row.flavour == wanted] or left
    named = wanted_gpus(wish)

    def rank(row: Variant) -> tuple[int, bool, int, int, tuple[int, ...], tuple[int, ...]]:
        order = stack.prefers.index(row.distribution) if row.distribution in stack.prefers else len(stack.prefers)
        lives = ends.lives(row)
        return (
            lives - len(cautions(row, named, wish.get("driver", ""))),
            lives,
            _standing(row),
            -order,
            key(row.cuda or ""),
            key(row.cudnn or ""),
        )

    return Target(stack, max(left, key=rank))


def best_of(stack: Stack, wish: Wish) -> Target | None:
    """The best row of the stack for a wish; None where there is none."""
    left, failed = narrow(stack, wish)
    return None if failed else best(stack, wish, left)


def wanted_gpus(wish: Wish) -> list[gpus.Gpu]:
    return [gpus.gpu(value) for part, value in steps(wish) if part == "gpu"]


def _standing(row: Variant) -> int:
    """How sure it is that the base can be had and is what the row says; last a twin, for when its tag is gone."""
    if row.twin_of:
        return -2
    return {"listed": 4, "rebuilt-here": 2}.get(row.status, 0) - bool(row.caution) - bool(row.trees)
