"""Losses and scores are told by the loss weights in a log, not by their names; so are a run's numbers."""

import math

import pytest

from provision.logs.caffe import parse
from provision.logs.meaning import kind, main_score, named_loss
from provision.logs.progress import Progress, progress_of


@pytest.mark.parametrize(
    ("name", "weight", "ends", "told", "is_a"),
    [
        ("loss3/top-1", None, (0.0, 0.7), True, "score"),
        ("loss", 1.0, (0.01, 0.9), True, "loss"),
        ("accuracy", 0.5, (0.0, 1.0), True, "loss"),  # who gives it a weight learns from it
        ("boxes", None, (0.0, 5700.0), True, "measure"),
        ("margin", None, (-0.5, 0.5), True, "measure"),
        ("old_loss", None, (0.0, 0.7), True, "score"),
        ("loss1/loss", None, (0.0, 0.7), False, "loss"),
        ("loss1/accuracy", None, (0.0, 0.7), False, "score"),
        ("mAP", None, (0.0, 0.7), False, "score"),
    ],
)  # fmt: skip
def test_the_weight_decides(name: str, weight: float | None, ends: tuple[float, float], told: bool, is_a: str) -> None:
    assert kind(name, weight, *ends, weights_told=told) == is_a


def test_names_are_read_by_their_last_part() -> None:
    assert [named_loss(name) for name in ("mbox_loss", "loss1/top-1", "Loss", "top5")] == [True, False, True, False]


@pytest.mark.parametrize(
    ("names", "main"),
    [
        (["accuracy", "loss1/accuracy", "loss2/accuracy"], "accuracy"),
        (["loss1/top-1", "loss1/top-5", "loss3/top-1", "loss3/top-5"], "loss3/top-1"),
        (["accuracy", "accuracy_top5"], "accuracy"),
        (["accuracy@1", "accuracy@5"], "accuracy@1"),
        (["recall", "mAP"], "mAP"),
        (["box AP", "box AP50", "box APl", "mask AP"], "box AP"),
        (["recall", "precision"], "recall"),
        (["detection_eval"], "detection_eval"),
        ([], ""),
    ],
)
def test_the_score_that_stands_for_the_training(names: list[str], main: str) -> None:
    assert main_score(names) == main


def end_of(*outputs: str) -> Progress:
    lines = [
        "Iteration 100, Testing net (#0)",
        *(f"    Test net output #{at}: {one}" for at, one in enumerate(outputs)),
    ]
    return progress_of(parse(f"I1120 23:25:02.000000     1 solver.cpp:239] {line}" for line in lines))


def test_progress_tells_the_score_of_any_name() -> None:
    googlenet = end_of("loss1/loss = 2 (* 0.3 = 0.6 loss)", "loss1/top-1 = 0.4", "loss3/loss = 1 (* 1 = 1 loss)",
                       "loss3/top-1 = 0.6", "loss3/top-5 = 0.8")  # fmt: skip
    assert googlenet.accuracy == 0.6 and "accuracy 0.6" in googlenet.words()
    ssd = end_of("detection_eval = 0.71")
    assert ssd.accuracy is None and ssd.words() == "detection_eval 0.71"
    assert end_of("boxes = 57").score is None


def test_vector_of_one_name_is_no_score() -> None:
    assert end_of("per_class = 0.1", "per_class = 0.2", "per_class = 0.3", "accuracy = 0.5").score == ("accuracy", 0.5)


@pytest.mark.parametrize("first", [True, False])
def test_one_head_that_is_nan_is_divergence(first: bool) -> None:
    """Caffe calls a net whose output is nan right every time."""
    outputs = ["a/loss = nan (* 1 = nan loss)", "b/loss = 0.3 (* 1 = 0.3 loss)", "accuracy = 1"]
    end = end_of(*(outputs if first else [outputs[1], outputs[0], outputs[2]]))
    assert end.diverged and end.accuracy is None
    assert not end_of("a/loss = 0.3 (* 1 = 0.3 loss)", "recall = nan").diverged


def test_scores_are_those_of_the_last_test() -> None:
    lines = [
        line
        for at in (0, 100)
        for line in (f"Iteration {at}, Testing net (#0)", f"    Test net output #0: iou = 0.{at + 1}")
    ]
    end = progress_of(parse(f"I1120 23:25:02.000000     1 solver.cpp:239] {line}" for line in lines))
    assert end.score == ("iou", pytest.approx(0.101)) and not math.isnan(end.scores[0].value or 0)
