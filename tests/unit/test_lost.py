"""A training is ended only where it is lost for good: one bad display, and what the net outlives, end nothing."""

import math
from collections.abc import Iterable

import pytest

from provision.logs import reader
from provision.logs.events import Metric
from provision.logs.lost import AT_FLOOR, LONG, NO_NUMBER, Lost
from tests.unit.test_plot import DATA

NAN, INF, FLOOR = math.nan, math.inf, 87.3365
Heads = dict[str, float]


def _metric(attempt: int, at: int, phase: str, name: str, value: float, output: int = 0) -> Metric:
    weight = None if phase == "solver" or "accuracy" in name else 1.0
    made: Metric = Metric(attempt, float(at), at, phase, name, value, 0, output, weight)  # type: ignore[arg-type]
    return made


def _display(at: int, total: float, heads: Heads, attempt: int = 0) -> Iterable[Metric]:
    yield _metric(attempt, at, "solver", "loss", total)
    for output, (name, value) in enumerate(heads.items()):
        yield _metric(attempt, at, "train", name, value, output)


def _lost_at(totals: Iterable[float], heads: Iterable[Heads], attempts: Iterable[int] | None = None) -> int | None:
    """The display at which it is told that the training is lost; the last of a log is over, too."""
    watch = Lost()
    shown = list(zip(totals, heads, strict=True))
    numbers = [0] * len(shown) if attempts is None else list(attempts)
    for at, ((total, of), attempt) in enumerate(zip([*shown, (1.0, {})], [*numbers, numbers[-1]], strict=True)):
        for event in _display(at, total, of, attempt):
            watch.feed(event)
        if watch.what:
            return at - 1
    return None


def _one(values: Iterable[float]) -> int | None:
    """Of a net with one loss."""
    numbers = list(values)
    return _lost_at(numbers, [{"loss": value} for value in numbers])


def _falling(count: int) -> list[float]:
    return [0.3 + 2 * math.exp(-at / 30) for at in range(count)]


SOUND = _falling(60)


@pytest.mark.parametrize("bad", [NAN, INF, -INF, 1e30, FLOOR])
@pytest.mark.parametrize("times", [1, 4])
def test_one_bad_loss_or_some_end_nothing(bad: float, times: int) -> None:
    assert _one([*SOUND, *[bad] * times, *SOUND]) is None
    assert _one([bad] * times + SOUND) is None
    assert _one([value for one in SOUND for value in (bad, one)]) is None  # every second batch has no label


@pytest.mark.parametrize("bad", [NAN, INF, -NAN])
def test_a_loss_that_stays_no_number_ends_it(bad: float) -> None:
    assert _one([*SOUND, *[bad] * 40]) == len(SOUND) + NO_NUMBER - 1
    assert _one([bad] * 40) == NO_NUMBER - 1


def test_a_loss_that_stays_at_its_floor_ends_it() -> None:
    assert _one([*SOUND, NAN, *[FLOOR] * 40]) == len(SOUND) + AT_FLOOR - 1
    assert _one([6.9, *[46.0517] * 40]) == AT_FLOOR
    some_right = [FLOOR, 84.6, FLOOR, 79.1, FLOOR] * 8
    assert _one([6.9, *some_right]) == AT_FLOOR


@pytest.mark.parametrize(
    "losses",
    [
        [FLOOR] * (AT_FLOOR - 1) + SOUND,  # its first weights are too large, and it learns
        [82.1, 83.4, 86.0, 85.2] * 30,  # near a floor, and not there
        [90.0] * 100,
        [2.3] * 200,  # it learns nothing: that is not divergence
    ],
)
def test_a_high_loss_alone_ends_nothing(losses: list[float]) -> None:
    assert _one(losses) is None


def test_the_average_that_never_comes_back_ends_nothing() -> None:
    heads = [*SOUND, NAN, *SOUND, *SOUND]
    totals = [*SOUND, *[NAN] * (len(heads) - len(SOUND))]
    assert _lost_at(totals, [{"loss": value} for value in heads]) is None


def test_without_outputs_the_sum_tells() -> None:
    nothing: list[Heads] = [{}] * 100
    assert _lost_at([*SOUND[:50], *[NAN] * 50], nothing) == 50 + NO_NUMBER - 1
    assert _lost_at([*SOUND[:50], NAN, *SOUND[:49]], nothing) is None


def test_an_output_that_is_no_loss_ends_nothing() -> None:
    shown = [{"loss": value, "per_class_accuracy": NAN} for value in SOUND]
    assert _lost_at(SOUND, shown) is None
    watch = Lost()
    for at, value in enumerate(SOUND):
        for event in (*_display(at, value, {"loss": value}), _metric(0, at, "test", "loss", NAN)):
            watch.feed(event)
    assert watch.what == ""


def test_of_several_losses_one_that_is_lost_ends_nothing_where_another_is_learnt() -> None:
    falling = _falling(200)
    for bad in (NAN, FLOOR):
        assert _lost_at([NAN] * 200, [{"loss1/loss": bad, "loss3/loss": value} for value in falling]) is None


def test_of_several_losses_one_is_lost_and_the_others_stand_at_their_start() -> None:
    others = [2.3, *_falling(20), *[2.3] * 100]
    lost = [2.3] * 21 + [NAN] * 100
    shown = [{"loss1/loss": bad, "loss3/loss": value} for bad, value in zip(lost, others, strict=True)]
    assert _lost_at(lost, shown) == 21 + LONG - 1


def test_a_net_that_has_lost_its_weights_ends_at_last() -> None:
    assert _one([*SOUND, NAN, *[2.3] * 100]) == len(SOUND) + LONG - 1
    assert _one([2.3] * 20 + [NAN] + [2.3] * 300) is None  # it had not learnt before, and may still
    assert _one([*SOUND, NAN, *[2.3] * 30, *SOUND]) is None  # it learns once more
    assert _one([*SOUND, NAN, *SOUND, *[2.3] * 200]) is None  # it had lived on: that is a collapse


def test_a_loss_far_above_its_start_ends_it_where_it_does_not_fall() -> None:
    assert _one([2.3, *[80.0] * 100]) == LONG
    assert _one([2.3, *[1e3 * 2**at for at in range(100)]]) == LONG
    assert _one([2.3, *[80.0] * (LONG - 1), *SOUND]) is None
    assert _one([2.3, *[1e5 * 0.95**at for at in range(300)]]) is None
    assert _one([0.01, *[15.0] * 200]) is None  # a start near 0 is no measure
    assert _one([2e6, *[1e7] * 200]) is None


def test_another_attempt_begins_its_row_anew() -> None:
    totals = [*SOUND, *[NAN] * 4, *[NAN] * 4, *SOUND]
    attempts = [0] * 64 + [1] * 64
    heads = [{"loss": value} for value in totals]
    assert _lost_at(totals, heads, attempts) is None
    assert _lost_at(totals, heads) == 64


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("diverged", "the loss has been no number for 5 displays, up to iteration 50: the training has diverged"),
        ("interrupted", ""),
        ("resumed", ""),
        ("two-test-nets", ""),
    ],
)
def test_real_logs(name: str, said: str) -> None:
    watch = Lost()
    for event in reader.events([(DATA / f"digits-{name}.log").read_bytes()]):
        watch.feed(event)
    assert watch.what == said


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([2.3, *[NAN] * 9], "the loss has been no number for 5 displays, up to iteration 5: the training has diverged"),
        (
            [2.3, *[FLOOR] * 30],
            "the loss has stood at 87.3365 for 20 displays, up to iteration 20: the training has diverged",
        ),
        (
            [*SOUND, NAN, *[2.3] * 60],
            "a loss was no number at iteration 60, and none is better than at the start: the training has diverged",
        ),
        (
            [2.3, *[80.0] * 60],
            "the loss has been above 20 times its start for 50 displays, up to iteration 50: the training has diverged",
        ),
    ],
)
def test_what_is_said(losses: list[float], said: str) -> None:
    watch = Lost()
    for at, value in enumerate(losses):
        for event in _display(at, value, {"loss": value}):
            watch.feed(event)
    assert watch.what == said
