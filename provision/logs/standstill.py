"""A loss that stands where it began, and a net that guesses.

A softmax loss of k classes is ln k for a net that knows nothing: each class has the probability 1/k
(https://cs231n.github.io/neural-networks-3/#sanitycheck). A net that learns leaves ln k; its accuracy leaves 1/k.
"""

import math
import sys
from collections.abc import Iterator

from provision.logs.course import Course
from provision.logs.divergence import Trouble
from provision.logs.meaning import is_accuracy
from provision.logs.series import Series, deviation

HELP = (
    "look at what the net reads, pictures and labels side by side: provision data check, provision data lmdb-show",
    "another base_lr: ten times it; a tenth, if the loss rose first",
    "weight fillers (xavier, msra: Caffe's own default is constant 0) and input with its mean subtracted",
)
_NEAR = 0.01
_MOVED = 0.02
_TESTS = 5
_SOON, _LONG = 4_000, 20_000  # iterations, where all tests are alike and where they are not
_WORSE = 1.15


def at_chance(course: Course) -> Iterator[Trouble]:
    """The loss stands at ln k in each quarter of the last four fifths (with so little noise that this can be seen), and
    no score is better than chance. Nets with a poor start fall to ln k first. k is what the net's shapes tell, else the
    whole number that fits loss and score."""
    if not course.judged(_SOON if _one_score(course) else _LONG if course.classes else sys.maxsize):
        return
    series = _main_loss(course)
    late = series.part(0.2, 1)
    if not 0 < late.mean < 16 or course.loss.part(0.8, 1).mean < (1 - _MOVED) * course.loss.part(0.2, 0.4).mean:
        return  # no loss of classes; or other heads of the net learn
    classes = max(2, course.classes or _fitting(course, late.mean))
    chance = math.log(classes)
    quarters = [series.part(at, at + 0.2) for at in (0.2, 0.4, 0.6, 0.8)]
    seen = all(deviation(quarter) <= _NEAR / 2 * chance * math.sqrt(quarter.count) for quarter in quarters)
    near = all((1 - _NEAR / 2) * chance <= quarter.mean <= (1 + _NEAR) * chance for quarter in quarters)
    if seen and near and _guesses(course, classes):
        yield Trouble(
            "not-learning", f"the loss stands at {late.mean:.4g} (ln {classes} is {chance:.4g})"
            f"{_since(course, late.first)}{_score_words(course)}",
            f"that is the loss of a net that knows nothing and guesses among {classes} classes", HELP, kind="learning",
        )  # fmt: skip


def worse_than_chance(course: Course) -> Iterator[Trouble]:
    """A loss that began at ln k, k being the classes that the net's shapes tell, and since half the displays has been
    above it on the whole and never below: a net that gave every class the same probability would do better."""
    series = _main_loss(course)
    if not course.whole or course.classes < 2 or series.count < 40 or course.last < 1000:
        return
    chance, late = math.log(course.classes), series.part(0.5, 1)
    begun = abs(series.begin - chance) <= (_WORSE - 1) * chance
    third, last = series.part(0.5, 0.75), series.part(0.75, 1)
    falls = third.mean - last.mean > max(_MOVED * last.mean, 2 * deviation(last) / math.sqrt(last.count))
    if falls or not _guesses(course, course.classes):
        return
    if begun and late.mean > _WORSE * chance and late.low > (1 - 2 * _NEAR) * chance:
        yield Trouble(
            "not-learning", f"the loss began at {series.begin:.4g} and is {late.mean:.4g} on the average"
            f"{_since(course, late.first)}{_score_words(course)}",
            f"guessing among {course.classes} classes gives {chance:.4g}: each step throws the net further off", (
                "a smaller learning rate: a tenth, then a tenth of that", "clip_gradients in the solver", HELP[0],
            ), kind="learning",
        )  # fmt: skip


def one_answer(course: Course) -> Iterator[Trouble]:
    """Every test has exactly the same score, and losses that differ by less than a fiftieth. Tests of a net that learns
    differ more, until its rate is near 0: so a net that began with trained weights is not judged."""
    if not course.judged() or not course.from_scratch:
        return
    for name, output in course.of_kind("score", "test"):
        score, tests = output.series.constant, output.series.count
        losses = [loss.series.whole() for _, loss in course.of_kind("loss", "test")]
        still = bool(losses) and all(loss.high - loss.low <= _MOVED * abs(loss.mean) for loss in losses)
        if score is not None and 0 < score < 1 and tests >= _TESTS and still:
            yield Trouble(
                "one-answer", f"{name} is {score:.4g} in each of {tests} tests, and the test's loss does not move",
                "the net gives one answer to every input, most often the commonest class", HELP, kind="learning",
            )  # fmt: skip
            return


def unmoved(course: Course) -> Iterator[Trouble]:
    """The loss of a training from scratch has not left its start, and no test is better than the first. A training that
    learns slowly has fallen by a fiftieth after a fifth of its iterations: sooner nothing is said."""
    if not course.judged(sys.maxsize) or not course.from_scratch or not _stands(course.loss) or _better(course):
        return
    first, last = course.loss.part(0, 0.25), course.loss.part(0.75, 1)
    yield Trouble(
        "not-learning", f"the loss has not moved: {first.mean:.4g} in the first quarter, {last.mean:.4g} in the last"
        f"{_since(course, first.first)}{_score_words(course)}",
        "the weights are hardly changed, or what the net reads says nothing of what it should learn", HELP,
        kind="learning",
    )  # fmt: skip


def _main_loss(course: Course) -> Series:
    """The loss of the net's own head, as displayed; the solver's sum where no output is one."""
    _, series = course.main_loss("train") or ("", course.loss)
    return series if series.count >= course.loss.count / 2 else course.loss


def _one_score(course: Course) -> bool:
    """Whether all tests have exactly one score: at least three of them, or two if that is 1/k."""
    _, series = course.main_score() or ("", Series())
    score = series.constant
    return score is not None and series.count >= (2 if abs(score * course.classes - 1) < _NEAR else 3)


def _fitting(course: Course, loss: float) -> int:
    """The classes that a loss of ln k tells; those that the score's 1/k tells, where they are as near."""
    score = course.main_score()
    by_score = round(1 / score[1].end) if score and is_accuracy(score[0]) and score[1].end > 1e-6 else 0
    near = by_score > 1 and abs(math.log(by_score) - loss) <= _NEAR / 2 * loss
    return by_score if near else round(math.exp(loss))


def _guesses(course: Course, classes: int) -> bool:
    """Whether the score says so: not above twice 1/k (1.5 times for fewer than 20 classes, 1.2 times for two, as 0.6 is
    better than chance). Where the net's shapes do not tell k or there is no accuracy, the loss has to have begun at
    ln k or above."""
    score, begin = course.main_score(), _main_loss(course).begin
    begun = course.whole and begin >= 0.9 * math.log(classes)
    if score is None or not is_accuracy(score[0]):
        return begun and classes == course.classes and begin <= _WORSE * math.log(classes)
    best = score[1].part(0.2, 1).high
    if not course.classes:
        return begun and 0 < best <= 1.2 / classes
    return best <= (1.2 if classes == 2 else 1.5 if classes < 20 else 2.0) / classes


def _stands(series: Series) -> bool:
    """Whether the first quarter, the last one and the first display are one level, within a fiftieth or the noise. The
    noise has to be so small that a fiftieth would be seen for sure (four standard errors). A slow but steady fall is
    none."""
    first, last = series.part(0, 0.25), series.part(0.75, 1)
    noise, level = deviation(last), abs(last.mean)
    error = math.hypot(deviation(first) / math.sqrt(first.count), noise / math.sqrt(last.count))
    if error > _MOVED / 4 * level or abs(first.mean - last.mean) > _MOVED * level:
        return False
    falls = first.mean - last.mean > max(4 * error, _MOVED / 4 * level)
    return not falls and abs(series.begin - last.mean) <= max(_MOVED * level, 2 * noise)


def _better(course: Course) -> bool:
    """Whether a test after the first shows something learnt."""
    losses = [output.series for _, output in course.of_kind("loss", "test")]
    scores = [output.series for _, output in course.of_kind("score", "test")]
    fell = any(series.whole().low < (1 - _MOVED) * series.begin for series in losses)
    return fell or any(series.whole().high > 1.1 * series.begin for series in scores)


def _since(course: Course, first: int) -> str:
    return f" from iteration {first:,} to {course.last:,}" + (f" of {course.max_iter:,}" if course.max_iter else "")


def _score_words(course: Course) -> str:
    score = course.main_score()
    return f", and {score[0]} is {score[1].end:.4g}" if score else ""
