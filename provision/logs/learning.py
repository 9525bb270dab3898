"""A training that runs and does not learn: what its numbers show, and what helps.

Each rule looks at the course of the whole training, all attempts joined. Two kinds of thresholds keep them silent where
all goes well. How long: deep nets stand for thousands of iterations at their start before they begin to learn, so what
stands still is told only after a fifth of the planned iterations or 20,000, or where the training has ended
(`Course.judged`). How far: what a net that learns does not do, as each rule says.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from provision.logs import collapse, rates, standstill
from provision.logs.course import Course
from provision.logs.divergence import Trouble
from provision.logs.events import Event
from provision.logs.meaning import is_better_high
from provision.logs.series import Series

_ZERO = 10  # displays, and twice as many of one output of several
_TESTS = 4
_ROSE = 1.2
_LABELS = (
    "look at the labels: provision data check; whether all of them are ignored (ignore_label), or no record has a box",
    "whether the loss reads the blobs that it should: provision net show FILE",
)


class Learning:
    """Feed it the whole log, all attempts; then ask for the troubles."""

    def __init__(self) -> None:
        self.course = Course()

    def read(self, text: bytes, lines_before: int, events: Sequence[Event]) -> None:
        """Take whole lines in, how many lines came before them, and the events that they tell."""
        self.course.head(text)
        for event in events:
            self.course.feed(event)

    def feed(self, event: Event) -> None:
        """Take one event in, where its text is not at hand: whether weights were loaded is then unknown."""
        self.course.feed(event)

    def troubles(self) -> Iterator[Trouble]:
        """What shows that the training does not learn (the surest sign alone), and notes."""
        found = (trouble for rule in _RULES for trouble in rule(self.course))
        yield from (trouble for trouble, _ in zip(found, range(1), strict=False))
        yield from (note for rule in _NOTES for note in rule(self.course))


def zero_loss(course: Course) -> Iterator[Trouble]:
    """A loss of exactly 0 in every display: no example counts. A loss that is learnt away begins above 0. Of the levels
    of a pyramid (loss_rpn_bbox_fpn2 …) some have no example where all objects are of one size."""
    if not course.whole or course.loss.count < _ZERO:
        return
    if course.loss.constant == 0:
        what = f"the loss is 0 in all {course.loss.count:,} displays, from the first on"
        why = "no example counts for the loss, so nothing is learnt"
        yield Trouble("zero-loss", what, why, _LABELS, kind="learning")
        return
    alive = {_head(name) for name, output in course.of_kind("loss", "train") if output.series.constant != 0}
    for name, output in course.of_kind("loss", "train"):
        zero = output.series.count >= 2 * _ZERO and output.series.constant == 0
        if zero and _head(name) not in alive and course.judged():
            what = f"the loss {name} is 0 in all {output.series.count:,} displays"
            why = "no example counts for it, so layers that lead to it alone learn nothing"
            yield Trouble("zero-loss", what, why, _LABELS, kind="learning")


def zero_score(course: Course) -> Iterator[Trouble]:
    """The score is exactly 0 in every test: nothing is ever right. Chance alone gives more. Of an error's rate, or of a
    count, 0 is no bad sign."""
    name, series = course.main_score() or ("", Series())
    if is_better_high(name) and course.judged() and series.count >= _TESTS and series.constant == 0:
        yield Trouble(
            "zero-score", f"{name} is 0 in each of {series.count} tests", "no answer is ever right: the test's classes "
            "are numbered otherwise than the training's, or nothing is found at all", (
                "the same label map, and the same order of classes, in training and test",
                "look at the records of both: provision data check, provision data lmdb-show",
                *standstill.HELP[1:],
            ), kind="learning",
        )  # fmt: skip


def overfitting(course: Course) -> Iterator[Trouble]:
    """A test's loss has risen by a fifth over its least while the training's fell, and the score is no longer at its
    best. L. Prechelt (Early Stopping – But When?, 1998) calls that the generalisation loss, and stops from 5 % on."""
    name, series = course.main_loss("test") or ("", Series())
    if not course.judged() or _score_at_best(course) or len(series.buckets) < 2 * _TESTS:
        return
    best, last = min(series.buckets, key=lambda test: test.low), series.buckets[-3:]
    rose = best.low > 0 and min(test.low for test in last) > _ROSE * best.low and best.last < last[0].first
    if rose and _fell_since(course.loss, best.last):
        yield Trouble(
            "overfitting", f"the test's {name} was {best.low:.4g} near iteration {best.last:,} and has risen to "
            f"{series.end:.4g}, while the training's loss fell", "the net learns the examples by heart", (
                f"take the snapshot near iteration {best.last:,}",
                "more data, mirror and crop, dropout, a larger weight_decay",
            ), kind="note",
        )  # fmt: skip


def odd_output(course: Course) -> Iterator[Trouble]:
    """An output that is no loss is no number either, three times in a row, while the losses are sound."""
    for place, output in course.outputs.items():
        if output.weight is None and not output.vector and output.lost >= 3:
            what = (
                f"{place.name} of the {place.phase} is not a number since iteration {output.lost_at:,}; the loss is one"
            )
            why = "most often it divides by 0, as for a class that no example has; the training does not use it"
            yield Trouble(
                "output-nan", what, why, ("see the layer that makes it: provision net show FILE",), kind="note"
            )
            return


def _head(name: str) -> str:
    """The name that a loss has in all levels of a net."""
    return re.sub(r"\d+", "#", name)


def _score_at_best(course: Course) -> bool:
    """Whether one of the last three tests is within a hundredth of the best score."""
    tests = (course.main_score() or ("", Series()))[1].buckets
    return bool(tests) and max(test.high for test in tests[-3:]) >= 0.99 * max(test.high for test in tests)


def _fell_since(series: Series, at: int) -> bool:
    after = [bucket for bucket in series.buckets if bucket.first >= at]
    return len(after) >= 2 and after[-1].mean < after[0].mean


Rule = Callable[[Course], Iterator[Trouble]]
_RULES: tuple[Rule, ...] = (
    rates.no_rate, zero_loss, collapse.collapsed, standstill.at_chance, standstill.worse_than_chance,
    standstill.one_answer, standstill.unmoved, zero_score, rates.gone,
)  # fmt: skip
_NOTES: tuple[Rule, ...] = (overfitting, odd_output)
