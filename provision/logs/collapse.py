"""A training that was good and is not any more: the loss rose and stands there, or the scores fell."""

import math
from collections.abc import Iterator, Sequence

from provision.logs.course import Course
from provision.logs.divergence import Trouble
from provision.logs.meaning import is_better_high
from provision.logs.series import Bucket, Series, deviation, joined

_DISPLAYS = 40
_WINDOW = 10  # displays that make a good phase, and a bad one
_ABOVE = 1.2


def collapsed(course: Course) -> Iterator[Trouble]:
    """The loss rose far above that of its good phase and has stayed there. That this is no restart of the rate and no
    noise is shown by one of three: it stands flat at twice as much (a net whose units are dead), or is back where it
    began and goes on rising no more (a loss whose target grows with the net, as in learning by reward, rises for ever),
    or the score has lost half."""
    series = course.loss
    if series.count < _DISPLAYS:
        return
    window = max(1, math.ceil(_WINDOW / series.buckets[0].count))
    runs = [joined(series.buckets[at : at + window]) for at in range(len(series.buckets) - window + 1)]
    best = min(range(len(runs)), key=lambda at: runs[at].mean)
    good, level = runs[best].mean, runs[-1].mean
    risen = len(series.buckets)  # the first bucket from which on the loss is nearer to where it stands than to its best
    while risen and series.buckets[risen - 1].mean > (good + level) / 2:
        risen -= 1
    bad = series.buckets[risen:]
    if good <= 0 or level < _ABOVE * good or risen < best + window or sum(bucket.count for bucket in bad) < _WINDOW:
        return
    if (words := _ruin(course, good, bad, joined(bad[-window:]))) is not None:
        yield Trouble(
            "collapsed", f"the loss was {good:.4g} near iteration {runs[best].last:,}; from {bad[0].first:,} on it "
            f"rose, and stands at {level:.4g}{words}",
            "a step was too large and threw the net out of what it had learnt; it does not come back by itself", (
                f"go on from a snapshot before iteration {bad[0].first:,}, at a third or a tenth of the learning rate",
                "clip_gradients in the solver",
                "look for records that are bad: provision data check",
            ), kind="learning",
        )  # fmt: skip


def _ruin(course: Course, good: float, buckets: Sequence[Bucket], last: Bucket) -> str | None:
    """What shows that the net is ruined, as words about the score (or ""); None where nothing does."""
    start, bad = max(course.loss.begin, course.loss.buckets[0].mean), joined(buckets)
    fell = _score_fell(course, bad.first)
    half = len(buckets) // 2
    rises = half > 0 and joined(buckets[half:]).mean > _ABOVE * joined(buckets[:half]).mean
    flat = deviation(last) <= 0.01 * last.mean and last.mean >= 2 * good
    back = bad.low >= 0.9 * start and good <= 0.7 * start and not rises
    return fell if fell or flat or back else None


def _score_fell(course: Course, since: int) -> str:
    """Words of the score, if each of at least three tests since then has at most half of the best before; "" if not."""
    name, series = course.main_score() or ("", Series())
    before = [test.high for test in series.buckets if test.last < since]
    after = [test.high for test in series.buckets if test.first >= since]
    if not is_better_high(name) or len(after) < 3 or not before or max(after) > 0.5 * max(before):
        return ""
    return f", and {name} fell from {max(before):.4g} to {after[-1]:.4g}"
