"""Trainings made up: losses, scores and learning rates as Caffe would tell them, healthy ones by the thousand."""

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from provision.logs.events import Ended, Event, Metric, Planned
from provision.logs.learning import Learning

At = Callable[[int], float]
_SCORES = ("accuracy", "loss3/top-1", "detection_eval")


@dataclass
class Story:
    """A training: what its numbers are at an iteration. `losses` and `scores` are the test's; `heads` are the displayed
    outputs that have a loss weight."""

    loss: At
    max_iter: int = 10_000
    display: int = 20
    begin: int = 0
    end: int = 0  # 0: at max_iter
    rate: At = lambda at: 0.01
    test_every: int = 1_000
    losses: Mapping[str, At] = field(default_factory=dict)
    scores: Mapping[str, At] = field(default_factory=dict)
    heads: Mapping[str, tuple[float, At]] = field(default_factory=dict)
    classes: int = 0
    from_weights: bool = False

    def events(self, attempt: int = 0) -> Iterator[Event]:
        end = self.end or self.max_iter
        yield Planned(attempt, 0.0, self.max_iter)
        for at in range(self.begin, end + 1, self.display):
            seconds = float(at)
            if at // self.test_every > (at - self.display) // self.test_every and (self.losses or self.scores):
                outputs = [*((name, value, 1.0) for name, value in self.losses.items()),
                           *((name, value, None) for name, value in self.scores.items())]  # fmt: skip
                for number, (name, value, weight) in enumerate(outputs):
                    yield Metric(attempt, seconds, at, "test", name, value(at), 0, number, weight)
            yield Metric(attempt, seconds, at, "solver", "loss", self.loss(at))
            for number, (name, (weight, value)) in enumerate(self.heads.items()):
                yield Metric(attempt, seconds, at, "train", name, value(at), 0, number, weight)
            yield Metric(attempt, seconds, at, "solver", "lr", self.rate(at))
        if end >= self.max_iter:
            yield Ended(attempt, float(end), early=False)


def learning(*stories: Story) -> Learning:
    """What is seen of the stories, each an attempt."""
    seen = Learning()
    for attempt, story in enumerate(stories):
        seen.course.from_weights, seen.course.classes = story.from_weights, story.classes
        for event in story.events(attempt):
            seen.feed(event)
    return seen


def names(*stories: Story, kind: str = "learning") -> list[str]:
    """Names of the troubles of a kind."""
    return [trouble.name for trouble in learning(*stories).troubles() if trouble.kind == kind]


def healthy(seed: int) -> Story:
    """A training that goes well, of one of some kinds, told to some point."""
    drawn = random.Random(seed)
    classes = drawn.choice((2, 3, 10, 20, 100, 196, 1000))
    max_iter = drawn.choice((600, 1_500, 5_000, 40_000, 160_000, 450_000))
    shape = drawn.choice((_decay, _steps, _warm_up, _plateau, _restarts, _spikes, _slow, _fine_tuned, _resumed))
    begin, from_weights = 0, shape is _fine_tuned
    course = shape(drawn, math.log(classes), max_iter)
    if shape is _resumed:
        begin = max_iter // 2 // 20 * 20
    size = drawn.choice((100, 2_000, 50_000))  # the test's examples
    noise = drawn.choice((0.01, 0.03, 0.1, 0.25)) if course(max_iter) < 0.8 * course(0) else drawn.choice((0.05, 0.15))
    display = max(20, max_iter // drawn.choice((100, 400, 1_500)) // 20 * 20)

    def loss(at: int) -> float:
        return course(at) * max(0.05, drawn.gauss(1, noise))

    def score(at: int) -> float:
        right = (
            1 / classes + (0.97 - 1 / classes) * (1 - min(1.0, course(at) / max(course(0), math.log(classes)))) ** 1.5
        )
        return sum(drawn.random() < right for _ in range(size)) / size if size < 500 else _binomial(drawn, size, right)

    def test_loss(at: int) -> float:
        return 1.1 * course(at) * drawn.gauss(1, 0.01)

    tests = drawn.random() < 0.8
    return Story(
        loss, max_iter, display, begin, begin + int((max_iter - begin) * drawn.choice((0.02, 0.1, 0.3, 0.7, 1, 1))),
        _rate(drawn, max_iter), max(display, max_iter // drawn.choice((5, 20, 60))),
        {"loss": test_loss} if tests else {}, {drawn.choice(_SCORES): score} if tests else {},
        {"loss": (1.0, loss)} if drawn.random() < 0.7 else {}, drawn.choice((0, classes)), from_weights,
    )  # fmt: skip


def _binomial(drawn: random.Random, size: int, right: float) -> float:
    spread = math.sqrt(max(right * (1 - right), 1e-9) / size)
    return round(min(1.0, max(0.0, drawn.gauss(right, spread))) * size) / size


def _rate(drawn: random.Random, max_iter: int) -> At:
    """One of Caffe's policies, as they are set for a training that goes well."""
    base, drop = drawn.choice((0.1, 0.01, 0.0005)), max_iter * drawn.choice((0.3, 0.5, 0.8))
    return drawn.choice((
        lambda at: base,
        lambda at: base * 0.1 ** (at // drop),
        lambda at: base * (1 - min(at, max_iter) / max_iter) ** 2,
        lambda at: base * (1 + 1e-4 * at) ** -0.75,
        lambda at: base * min(1.0, at / (max_iter * 0.05)),
        lambda at: base * 0.5 * (1 + math.cos(math.pi * min(at, max_iter) / max_iter)),
    ))  # fmt: skip


def _decay(drawn: random.Random, start: float, max_iter: int) -> At:
    start *= drawn.uniform(1, 1.3)
    floor, time = start * drawn.choice((0.0, 0.02, 0.2, 0.6)), max_iter * drawn.choice((0.01, 0.05, 0.15))
    return lambda at: floor + (start - floor) * math.exp(-at / time) + 0.001


def _slow(drawn: random.Random, start: float, max_iter: int) -> At:
    """It falls little and steadily to the end."""
    share = drawn.uniform(0.15, 0.5)
    return lambda at: start * (1 - share * at / max_iter)


def _steps(drawn: random.Random, start: float, max_iter: int) -> At:
    first = _decay(drawn, start, max_iter)
    places = sorted(drawn.uniform(0.2, 0.9) * max_iter for _ in range(3))
    return lambda at: first(at) * 0.6 ** sum(at > place for place in places)


def _warm_up(drawn: random.Random, start: float, max_iter: int) -> At:
    """The loss rises at first, with the rate."""
    then, length, height = _decay(drawn, start, max_iter), 0.03 * max_iter, drawn.uniform(1.0, 1.15)
    return lambda at: then(0) * (1 + (height - 1) * at / length) if at < length else height * then(int(at - length))


def _plateau(drawn: random.Random, start: float, max_iter: int) -> At:
    """A deep net: it stands at ln k, then begins to learn."""
    then, length = _decay(drawn, start, max_iter), min(drawn.uniform(200, 2_700), 0.2 * max_iter)
    return lambda at: start * (1.001 if at < length else then(int(at - length)) / then(0))


def _restarts(drawn: random.Random, start: float, max_iter: int) -> At:
    """Cosine rate with warm restarts: the loss jumps at each, to less than it was."""
    then, period = _decay(drawn, start, max_iter), max_iter / drawn.choice((3, 5))
    return lambda at: then(at) * (1 + 0.8 * (1 - at % period / period))


def _spikes(drawn: random.Random, start: float, max_iter: int) -> At:
    """The loss jumps up now and then and comes back."""
    then = _decay(drawn, start, max_iter)
    places = [drawn.uniform(0.05, 1) * max_iter for _ in range(5)]
    return lambda at: then(at) + start * sum(math.exp(-(at - at0) / (0.002 * max_iter)) for at0 in places if at >= at0)


def _fine_tuned(drawn: random.Random, start: float, max_iter: int) -> At:
    """It begins with trained weights, and has little left to learn."""
    level, share = start * drawn.choice((0.02, 0.2, 0.5)), drawn.choice((0.0, 0.05, 0.3))
    return lambda at: level * (1 - share * min(1.0, at / (0.3 * max_iter)))


def _resumed(drawn: random.Random, start: float, max_iter: int) -> At:
    """The log begins in the middle, where the loss is nearly flat."""
    level = start * drawn.choice((0.05, 0.3, 0.7))
    return lambda at: level * (1 - 0.05 * at / max_iter)
