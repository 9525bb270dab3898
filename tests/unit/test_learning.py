"""Trainings that do not learn are told with their number; those that go well, or have only begun, are not."""

import math
import random
from collections.abc import Callable

import pytest

from provision.logs.caffe import Parser
from provision.logs.divergence import Trouble
from provision.logs.events import Metric
from provision.logs.learning import Learning
from tests.unit.course_kit import Story, healthy, learning, names

DRAWN = random.Random(7)


def near(value: float, noise: float = 0.002) -> Callable[[int], float]:
    return lambda at: value * DRAWN.gauss(1, noise)


def one(*stories: Story) -> Trouble:
    (found,) = learning(*stories).troubles()
    assert found.kind == "learning" and found.mends
    return found


# no false alarms


@pytest.mark.parametrize("hundred", range(6))
def test_a_training_that_goes_well_raises_no_alarm(hundred: int) -> None:
    """60,000 seeds were drawn when the thresholds were chosen."""
    told = {seed: names(healthy(seed)) for seed in range(100 * hundred, 100 * hundred + 100)}
    assert {seed: found for seed, found in told.items() if found} == {}


@pytest.mark.parametrize("end", [20, 100, 400, 1_000, 2_700])
@pytest.mark.parametrize("classes", [0, 2, 1000])
def test_a_training_that_has_only_begun_tells_nothing(end: int, classes: int) -> None:
    k = classes or 10
    story = Story(near(math.log(k)), 100_000, 20, end=end, scores={"accuracy": near(1 / k, 0)}, test_every=100,
                  classes=classes)  # fmt: skip
    assert names(story) == []


def test_nothing_is_told_of_no_numbers() -> None:
    assert list(Learning().troubles()) == []
    assert list(learning(Story(near(1.0), end=20)).troubles()) == []


# loss at ln k


@pytest.mark.parametrize(("classes", "accuracy"), [(2, 0.5), (10, 0.1), (196, 0.009), (1000, 0.001)])
@pytest.mark.parametrize("known", [True, False])
def test_a_loss_at_ln_k_is_told_with_k(classes: int, accuracy: float, known: bool) -> None:
    story = Story(near(math.log(classes)), scores={"accuracy": near(accuracy, 0.01)}, classes=classes * known)
    found = one(story)
    assert found.name == "not-learning"
    assert "of 10,000" in found.what
    if known or classes < 30:  # ln 999 is as near as ln 1000
        assert f"(ln {classes} is {math.log(classes):.4g})" in found.what
        assert f"guesses among {classes} classes" in found.why


def test_a_loss_that_first_falls_to_ln_k_stands_there_unless_a_score_is_above_chance() -> None:
    story = Story(lambda at: math.log(10) + 9 * math.exp(-at / 200), scores={"accuracy": near(0.1, 0)}, classes=10)
    assert names(story) == ["not-learning"]
    story.scores = {"accuracy": near(0.35)}
    assert names(story) == []


def test_without_a_score_the_shapes_tell_the_classes() -> None:
    assert names(Story(near(math.log(20)), classes=20)) == ["not-learning"]


def test_the_heads_of_a_net_are_judged_by_its_own() -> None:
    """GoogLeNet: the sum is 1.6 times ln k."""
    k = math.log(1000)
    heads = {
        name: (weight, near(k)) for name, weight in (("loss1/loss1", 0.3), ("loss2/loss1", 0.3), ("loss3/loss3", 1.0))
    }
    story = Story(near(1.6 * k), 90_000, 200, heads=heads, scores={"loss3/top-1": near(0.001, 0)}, classes=1000)
    assert "loss3/top-1 is 0.001" in one(story).what
    falling = Story(lambda at: 1.6 * k * (1 - at / 200_000), 90_000, 200, heads=heads, scores={"top-1": near(0.001, 0)},
                    classes=1000, end=40_000)  # fmt: skip
    assert names(falling) == []


def test_tests_that_are_all_alike_tell_it_sooner() -> None:
    stuck = Story(near(math.log(1000)), 320_000, 20, end=4_600, scores={"accuracy": near(0.001, 0)}, test_every=2_000,
                  classes=1000)  # fmt: skip
    assert names(stuck) == ["not-learning"]
    stuck.scores = {"accuracy": lambda at: 0.001 + at * 1e-7}
    assert names(stuck) == []


def test_a_loss_worse_than_guessing() -> None:
    story = Story(lambda at: 7.2 if at == 0 else DRAWN.uniform(9, 30), 320_000, end=2_000, classes=1000)
    assert "began at 7.2" in one(story).what and "smaller learning rate" in one(story).mends[0]


def test_a_loss_that_never_moves_though_nobody_knows_its_scale() -> None:
    story = Story(near(0.431), losses={"loss": near(0.44)})
    assert "the loss has not moved" in one(story).what
    story.from_weights = True  # it may have been good from the start
    assert names(story) == []
    assert names(Story(near(0.431), begin=5_000)) == []  # nobody knows where it began


def test_one_answer_to_everything() -> None:
    """Nine of ten examples are of one class: the loss falls to the entropy of that, and stands."""
    story = Story(lambda at: 0.325 * DRAWN.gauss(1, 0.1) + 0.3 * math.exp(-at / 100), 100_000, 200, test_every=5_000,
                  losses={"loss": near(0.325)}, scores={"accuracy": near(0.9, 0)})  # fmt: skip
    assert names(story) == ["one-answer"]
    story.losses = {"loss": lambda at: 0.325 * math.exp(-at / 50_000)}
    assert names(story) == []


def test_without_weights_the_sum_is_judged_and_no_part_of_it() -> None:
    """Detectron: a part may stand at ln 2 from the start to the end, while the sum falls."""
    parts = {"loss": lambda at: 0.693 + math.exp(-at / 3_000), "loss_rpn": near(0.6931)}
    story = Story(parts["loss"], 90_000, 20, scores={"box AP": near(0.3)}, test_every=30_000)
    seen = Learning()
    for event in story.events():
        seen.feed(event)
        if isinstance(event, Metric) and (event.phase, event.name) == ("solver", "loss"):
            for name, value in parts.items():
                seen.feed(Metric(0, event.seconds, event.iteration, "train", name, value(event.iteration)))
    assert seen.course.main_loss("train") is not None and list(seen.troubles()) == []


# zeros


def test_a_loss_of_zero_from_the_start() -> None:
    assert names(Story(lambda at: 0.0, end=400)) == ["zero-loss"]
    assert names(Story(lambda at: 1.0 if at == 0 else 0.0, end=400)) == []
    assert names(Story(lambda at: 0.0, end=100)) == []


def test_one_of_two_losses_of_zero_is_named() -> None:
    story = Story(lambda at: 2 * math.exp(-at / 1_000), heads={
        "loss_class": (1.0, lambda at: 2 * math.exp(-at / 1_000)), "loss_box": (2.0, lambda at: 0.0),
    })  # fmt: skip
    assert "the loss loss_box is 0 in all" in one(story).what


def test_a_detector_that_finds_nothing() -> None:
    story = Story(lambda at: 4 + 20 * math.exp(-at / 1_000), 50_000, 100, test_every=5_000)
    story.scores = {"detection_eval": lambda at: 0.0}
    assert "detection_eval is 0 in each of" in one(story).what
    story.scores = {"detection_eval": lambda at: 0.0 if at < 12_000 else 0.31}
    assert names(story) == []


# collapse


def test_a_collapse_is_told_with_its_iteration() -> None:
    """A GoogLeNet that was at 1.7 and whose units died."""
    story = Story(lambda at: 1.7 + 6.7 * math.exp(-at / 4_000) if at < 21_400 else near(8.45)(at), 36_000, 40,
                  scores={"top-1": lambda at: 0.4 if at < 21_400 else 0.009})  # fmt: skip
    found = one(story)
    assert found.name == "collapsed"
    assert "from 21,4" in found.what and "stands at 8.4" in found.what and "top-1 fell from 0.4 to 0.009" in found.what
    assert "before iteration 21,4" in found.mends[0]


def test_a_collapse_that_a_resumed_attempt_took_back_is_none() -> None:
    good = Story(lambda at: 2 * math.exp(-at / 2_000) if at < 8_000 else 2.3, end=9_000)
    assert names(good) == ["collapsed"]
    log = Learning()
    for event in good.events():
        log.feed(event)
    lines = ["Initializing solver from parameters:", "Resuming from net_iter_8000.solverstate"]
    parser = Parser(attempt=1)
    for line in lines:
        for event in parser.read(f"I1120 23:25:02.000000     1 solver.cpp:44] {line}\n".encode()):
            log.feed(event)
    for event in Story(lambda at: 2 * math.exp(-at / 2_000), begin=8_000).events(attempt=1):
        log.feed(event)
    assert list(log.troubles()) == []


def test_a_collapse_is_seen_over_a_resume() -> None:
    first = Story(lambda at: 2 * math.exp(-at / 2_000), end=5_000)
    second = Story(lambda at: 2.302, begin=5_020)
    assert names(first, second) == ["collapsed"]


def test_another_training_in_the_same_log_forgets_the_first() -> None:
    assert names(Story(lambda at: 0.0), Story(lambda at: 2 * math.exp(-at / 2_000))) == []
    assert names(Story(lambda at: 2 * math.exp(-at / 2_000)), Story(lambda at: 0.0)) == ["zero-loss"]


def test_a_loss_that_comes_back_has_not_collapsed() -> None:
    story = Story(lambda at: 2 * math.exp(-at / 2_000) + 3 * (4_000 <= at < 5_000))
    assert names(story) == []


# learning rates


def test_no_learning_rate() -> None:
    assert names(Story(near(2.3, 0.05), end=300, rate=lambda at: 0.0)) == ["no-rate"]
    warm = Story(lambda at: 2.3 * math.exp(-at / 500), rate=lambda at: min(at / 1_000, 1) * 0.1)
    assert names(warm) == []


def test_a_rate_that_is_gone_long_before_the_end() -> None:
    story = Story(lambda at: 0.5 + 2 * math.exp(-at / 500), 100_000, 100, rate=lambda at: 0.1 * 0.1 ** (at // 5_000))
    found = one(story)
    assert found.name == "rate-gone" and "since iteration 30,000 of 100,000" in found.what
    story.rate = lambda at: 0.1 * (1 - at / 100_001)
    assert names(story) == []


# notes


def test_overfitting_is_a_note_and_names_the_iteration() -> None:
    story = Story(lambda at: 2 * math.exp(-at / 1_000), losses={"loss": lambda at: 1 + (at - 3_000) ** 2 / 2e7},
                  scores={"accuracy": lambda at: 0.8 - abs(at - 3_000) / 1e5})  # fmt: skip
    (note,) = learning(story).troubles()
    assert (note.name, note.kind) == ("overfitting", "note") and "near iteration 3,000" in note.what
    story.scores = {"accuracy": lambda at: 0.5 + at / 1e5}  # sure of itself, and still better
    assert list(learning(story).troubles()) == []


def test_an_output_that_is_no_number_while_the_loss_is_one() -> None:
    story = Story(lambda at: 2 * math.exp(-at / 1_000), losses={"loss": lambda at: 1.0 + math.exp(-at / 1_000)},
                  scores={"recall": lambda at: math.nan})  # fmt: skip
    (note,) = learning(story).troubles()
    assert (note.name, note.kind) == ("output-nan", "note") and "recall of the test" in note.what


# what the head of a log tells


def test_the_head_tells_classes_and_weights() -> None:
    head = [
        "Top shape: 32 4096 (131072)", "Top shape: 32 7 (224)", "Top shape: 32 7 (224)", "Top shape: (1)",
        "    with loss weight 1", "Finetuning from old.caffemodel",
    ]  # fmt: skip
    text = "".join(f"I1120 23:25:02.000000     1 net.cpp:122] {line}\n" for line in head).encode()
    log = Learning()
    log.read(text, 0, Parser().read(text))
    assert (log.course.classes, log.course.from_weights) == (7, True)


def test_vectors_and_two_test_nets_are_kept_apart() -> None:
    lines = [
        "Iteration 0, Testing net (#0)",
        *(f"    Test net output #{at}: per_class = 0.{at}" for at in range(3)),
        "    Test net output #3: accuracy = 0.5",
        "Iteration 0, Testing net (#1)",
        "    Test net output #0: accuracy = 0.7",
        "    Test net output #1: loss = 0.3 (* 1 = 0.3 loss)",
    ]
    text = "".join(f"I1120 23:25:02.000000     1 solver.cpp:239] {line}\n" for line in lines).encode()
    log = Learning()
    log.read(text, 0, Parser().read(text))
    assert [name for name, _ in log.course.of_kind("score", "test")] == ["accuracy", "accuracy (net 1)"]
    assert [name for name, _ in log.course.of_kind("loss", "test")] == ["loss (net 1)"]


def test_memory_does_not_grow_with_the_log() -> None:
    story = Story(near(1.0), 2_000_000, 20)
    kept = learning(story).course.loss
    assert kept.count == 100_001 and len(kept.buckets) <= 256
    assert sum(bucket.count for bucket in kept.buckets) == kept.count


# what is 0, or rises, where all is well


def test_a_level_of_a_pyramid_without_an_object_is_no_head_that_learns_nothing() -> None:
    story = Story(lambda at: 0.3 + math.exp(-at / 900), heads={
        "loss_bbox": (1.0, near(0.2)), "loss_rpn_bbox_fpn2": (1.0, lambda at: 0.0),
        "loss_rpn_bbox_fpn3": (1.0, near(0.1)), "loss_rpn_bbox_fpn6": (1.0, lambda at: 0.0),
    })  # fmt: skip
    assert names(story) == []


@pytest.mark.parametrize("name", ["error", "error_rate", "top1_error", "missing_labels", "num_violations"])
def test_a_number_that_is_best_at_0_is_no_score_that_nothing_reaches(name: str) -> None:
    story = Story(lambda at: 0.02 + 2.3 * math.exp(-at / 900), scores={name: lambda at: 0.0})
    assert names(story) == []


@pytest.mark.parametrize("name", ["accuracy", "fc8/top-1", "detection_eval", "mAP", "mean_iou", "recall@50"])
def test_a_score_of_0_in_every_test_is_told(name: str) -> None:
    story = Story(lambda at: 0.02 + 2.3 * math.exp(-at / 900), scores={name: lambda at: 0.0})
    assert names(story) == ["zero-score"]


def test_an_error_that_falls_by_half_is_no_ruin_of_a_score() -> None:
    story = Story(
        lambda at: (0.3 if at < 5_000 else 0.45) * DRAWN.gauss(1, 0.03), from_weights=True,
        scores={"error": lambda at: 0.4 if at < 5_000 else 0.15},
    )  # fmt: skip
    assert names(story) == []


@pytest.mark.parametrize("seed", range(20))
def test_a_loss_whose_target_grows_rises_from_its_start_and_has_not_collapsed(seed: int) -> None:
    drawn = random.Random(seed)
    assert names(Story(lambda at: 0.01 + at / 20_000 + abs(drawn.gauss(0, 0.1)), max_iter=20_000)) == []
