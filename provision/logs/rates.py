"""A learning rate that changes nothing: 0 from the start, or next to 0 long before the end."""

from collections.abc import Iterator

from provision.logs.course import Course
from provision.logs.divergence import Trouble

_DISPLAYS = 10
# A step changes weights by about a thousandth of them (https://cs231n.github.io/neural-networks-3/#ratio); a 100,000th
# of that is less than the last digit of a 32-bit number (6e-8)
_NOTHING = 1e-5
_LEFT = 0.1


def no_rate(course: Course) -> Iterator[Trouble]:
    """The rate is 0 in every display. A warm-up that begins at 0 leaves it with the second."""
    if course.rate.count >= _DISPLAYS and course.rate.constant == 0:
        yield Trouble(
            "no-rate", f"the learning rate is 0 in all {course.rate.count:,} displays: no weight is changed",
            "base_lr is 0 where the solver does not set it; some policies multiply it by 0",
            ("set base_lr in the solver (0.01 for SGD, 0.001 for Adam to begin with)", "see lr_policy, its parameters"),
            kind="learning",
        )  # fmt: skip


def gone(course: Course) -> Iterator[Trouble]:
    """The rate has been next to nothing for a tenth of the planned iterations, or still is where a tenth is left."""
    most = course.rate.whole().high if course.rate.count >= _DISPLAYS else 0.0
    if not most or not course.max_iter:
        return
    small = None
    for bucket in reversed(course.rate.buckets):
        if bucket.high > _NOTHING * most:
            break
        small = bucket
    if small is None or course.max_iter - small.first < _LEFT * course.max_iter:
        return
    yield Trouble(
        "rate-gone", f"the learning rate is next to 0 since iteration {small.first:,} of {course.max_iter:,} "
        f"(now {course.rate.end:.3g}, it was {most:.3g}): nothing is learnt any more",
        "the policy lowers the rate too early: stepsize, stepvalue or gamma fit another max_iter",
        ("a larger stepsize, later stepvalues, or a gamma nearer to 1", "a smaller max_iter: the rest brings nothing"),
        kind="learning",
    )  # fmt: skip
