"""Divergence is seen in each output that is a loss, with the line that shows it."""

import math

import pytest

from provision.logs.diagnose import diagnose_pieces
from provision.logs.divergence import Divergence
from provision.logs.events import Metric


def output(at: int, value: float, name: str = "loss3/loss", weight: float | None = 1.0, phase: str = "train") -> Metric:
    made: Metric = Metric(0, float(at), at, phase, name, value, 0, 1, weight)  # type: ignore[arg-type]
    return made


def total(at: int, value: float) -> Metric:
    return Metric(0, float(at), at, "solver", "loss", value)


def seen(*events: Metric) -> str:
    watch = Divergence()
    for event in events:
        watch.feed(event)
    return f"{watch.seen.name}: {watch.seen.what}" if watch.seen else ""


@pytest.mark.parametrize("weight", [0.3, 1.0, 20.0])
@pytest.mark.parametrize("phase", ["train", "test"])
def test_a_head_that_is_stuck_is_seen_whatever_its_weight(weight: float, phase: str) -> None:
    events = [
        event for at in range(6)
        for event in (total(at, 9 + 87.3365 * weight), output(at, 2.1, "loss1/loss", 0.3, phase),
                      output(at, 87.3365, weight=weight, phase=phase))
    ]  # fmt: skip
    test = "test " * (phase == "test")
    assert seen(*events) == f"saturated: the {test}loss loss3/loss stands at 87.3365 (iteration 4)"


def test_the_floor_of_the_other_loss_layers() -> None:
    assert (
        seen(*(output(at, 46.0517, "loss") for at in range(5))) == "saturated: the loss stands at 46.0517 (iteration 4)"
    )


def test_some_of_a_batch_may_be_right_by_chance() -> None:
    batches = [87.3365, 84.6072, 87.3365, 79.1487, 87.3365]  # of 32 examples none, one, none, three, none
    assert seen(*(output(at, value) for at, value in enumerate(batches))).startswith("saturated")


@pytest.mark.parametrize(
    "losses",
    [
        [87.3365] * 4,
        [87.3365, 3.0] * 20,  # it comes back
        [86.9, 87.1, 87.3365, 86.2, 87.2] * 3 + [80.0] * 5,  # a sum over pixels passes by, and meets it rarely
        [88.1] * 30,
    ],
)
def test_a_loss_that_is_only_near(losses: list[float]) -> None:
    events = [output(at, value) for at, value in enumerate(losses)]
    assert seen(*events) == ""


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_head_that_is_no_number(value: float) -> None:
    found = seen(total(10, 4.2), output(10, value))
    assert found == f"diverged: the loss loss3/loss is {value} at iteration 10: the training has diverged"
    assert "the test loss is" in seen(output(10, value, "loss", phase="test"))


def test_what_has_no_weight_is_no_loss() -> None:
    assert seen(output(0, 2.3), *(output(at, math.nan, "per_class_accuracy", None) for at in range(9))) == ""
    assert seen(output(0, 2.3), *(output(at, 87.3365, "loss_of_old_head", None) for at in range(9))) == ""


def test_where_no_weight_is_told_the_name_says_loss() -> None:
    assert "diverged" in seen(output(0, 0.3, "accuracy", None), output(5, math.nan, "loss", None, "test"))
    assert seen(output(0, math.nan, "loss1/accuracy", None)) == ""


def test_the_line_of_the_head_is_shown() -> None:
    lines = []
    for at in range(0, 60, 10):
        lines += [
            f"solver.cpp:228] Iteration {at}, loss = 95.1",
            "solver.cpp:244]     Train net output #0: head/a = 2.5 (* 0.3 = 0.75 loss)",
            "solver.cpp:244]     Train net output #1: head/b = 87.3365 (* 1 = 87.3365 loss)",
            f"sgd_solver.cpp:106] Iteration {at}, lr = 0.01",
        ]
    text = "".join(f"I0101 10:00:00.000000     7 {line}\n" for line in lines).encode()
    cause = diagnose_pieces([text]).causes[0]
    assert (cause.name, cause.line) == ("saturated", 3)
    assert "output #1: head/b = 87.3365" in cause.text and "the loss head/b stands" in cause.what


# a loss that was no number once


def _display(at: int, total: float, value: float) -> list[str]:
    begin = f"I0301 10:{at // 60:02}:{at % 60:02}.000000     7 solver.cpp"
    return [f"{begin}:218] Iteration {at}, loss = {total}",
            f"{begin}:237]     Train net output #0: loss = {value} (* 1 = {value} loss)"]  # fmt: skip


def _falling(at: int) -> float:
    return round(0.3 + 2 * math.exp(-at / 30), 4)


def _diagnosed(*displays: tuple[int, float, float], also: str = "") -> tuple[list[str], list[str]]:
    lines = [line for display in displays for line in _display(*display)]
    found = diagnose_pieces([("\n".join([*lines[:160], *also.splitlines(), *lines[160:]]) + "\n").encode()])
    return [cause.name for cause in found.causes], [cause.what for cause in found.seen]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_was_no_number_once_is_a_note_where_the_net_lives(bad: float) -> None:
    sound = [(at, _falling(at), _falling(at)) for at in range(120)]
    causes, notes = _diagnosed(*sound[:80], (80, bad, bad), *sound[81:])
    assert causes == [] and notes == ["a loss was no number at iteration 80, and is one again, as low as before"]


def test_an_average_that_never_comes_back_is_told_so() -> None:
    sound = [(at, _falling(at), _falling(at)) for at in range(80)]
    causes, notes = _diagnosed(*sound, *((at, math.nan, _falling(at)) for at in range(80, 120)))
    (note,) = notes
    assert causes == [] and note.endswith("; the average that is displayed (average_loss) never comes back")


def test_a_test_loss_that_is_no_number_is_no_divergence_where_the_training_goes_on() -> None:
    sound = [(at, _falling(at), _falling(at)) for at in range(120)]
    begin = "I0301 10:01:20.000000     7 solver.cpp"
    test = (
        f"{begin}:330] Iteration 80, Testing net (#0)\n{begin}:397]     Test net output #0: loss = nan (* 1 = nan loss)"
    )
    assert _diagnosed(*sound, also=test) == (
        [], ["the test loss is nan at iteration 80, and the training's losses are as low as before"]
    )  # fmt: skip
    assert _diagnosed(*sound[:80], *((at, math.nan, math.nan) for at in range(81, 120)), also=test)[0] == ["diverged"]


@pytest.mark.parametrize("after", [2.3, 87.3365, 0.9])
def test_a_net_whose_weights_are_lost_may_give_numbers_again(after: float) -> None:
    sound = [(at, _falling(at), _falling(at)) for at in range(80)]
    causes, _ = _diagnosed(*sound, (80, math.nan, math.nan), *((at, after, after) for at in range(81, 120)))
    assert causes[0] == "diverged"


def test_a_loss_that_comes_back_and_is_lost_again_has_diverged() -> None:
    sound = [(at, _falling(at), _falling(at)) for at in range(120)]
    end = [(at, math.nan, math.nan) for at in range(121, 140)]
    assert _diagnosed(*sound[:60], (60, math.nan, math.nan), *sound[61:], *end)[0] == ["diverged"]


# a loss that was far above its start for a while


def test_a_loss_that_comes_down_below_its_start_is_a_note() -> None:
    high = [(at, 80.0, 80.0) for at in range(1, 20)]
    low = [(at, 0.5, 0.5) for at in range(20, 60)]
    causes, notes = _diagnosed((0, 2.3, 2.3), *high, *low)
    assert causes == [] and notes == [
        "the loss was above 20 times its start for 10 displays: 80 at iteration 10, and has come down again"
    ]
    assert _diagnosed((0, 2.3, 2.3), *high, *((at, 2.3, 2.3) for at in range(20, 60)))[0][0] == "diverged"
    assert _diagnosed((0, 2.3, 2.3), *high)[0] == ["diverged"]
    assert _diagnosed((0, 2.3, 2.3), *high, *low, *((at, math.nan, math.nan) for at in range(60, 80)))[0] == [
        "diverged"
    ]


def test_a_loss_whose_first_display_tells_little_has_not_diverged() -> None:
    falling = [(at, 3 + 30 * math.exp(-at / 20), 3 + 30 * math.exp(-at / 20)) for at in range(1, 120)]
    assert _diagnosed((0, 0.01, 0.01), *falling)[0] == []


def test_a_net_that_begins_at_the_floor_and_learns_is_a_note() -> None:
    floor = [(at, 87.3365, 87.3365) for at in range(12)]
    low = [(at, 2.1, 2.1) for at in range(12, 60)]
    causes, notes = _diagnosed(*floor, *low)
    assert causes == [] and notes == ["the loss stood at 87.3365 (iteration 4), and has come down again"]
    assert _diagnosed((0, 2.3, 2.3), *floor[1:], *((at, 2.3, 2.3) for at in range(12, 60)))[0][0] == "saturated"
    assert _diagnosed(*floor)[0] == ["saturated"]
