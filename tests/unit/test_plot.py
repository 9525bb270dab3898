"""The pictures of trainings."""

import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from infra.errors import MissingExtraError, RunError, UsageError
from provision.logs.curves import Curve, curves
from provision.logs.plot import CHARTS, chart_number, plot
from provision.logs.read import Log

DATA = Path(__file__).parent.parent / "data"


def joined(folder: Path, resumed_at: int = 680) -> Log:
    """A run of two attempts; the first told iterations up to 680."""
    text = "".join((DATA / f"digits-{name}.log").read_text() for name in ("interrupted", "resumed"))
    path = folder / "digits.log"
    for words in ("Resuming from", "solver status from"):
        text = text.replace(f"{words} snapshots/digits_iter_680", f"{words} s_iter_{resumed_at}")
    path.write_text(text)
    return Log("digits", path)


def log_of(folder: Path, lines: list[str], name: str = "one") -> Log:
    path = folder / f"{name}.log"
    path.write_text("".join(f"I1120 23:25:02.000000     1 solver.cpp:239] {line}\n" for line in lines))
    return Log(name, path)


def test_a_name_that_is_no_formula_of_matplotlibs_is_drawn(tmp_path: Path) -> None:
    lines = [
        f"    Test net output #0: {name} = {at} (* 1 = 1 loss)" for at in (1, 2) for name in ("$\\frac$loss", "_loss")
    ]
    log = log_of(tmp_path, ["Iteration 0, Testing net (#0)", *lines[:2], "Iteration 10, Testing net (#0)", *lines[2:]])
    plot([log], tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_curves_keep_attempts_apart(tmp_path: Path) -> None:
    found = {(one.label, one.attempt): one for one in curves(joined(tmp_path))}
    assert {label for label, _ in found} == {"train loss", "test loss", "accuracy", "learning rate"}
    assert [at for at, _ in found["accuracy", 0].points] == [0, 150, 300, 450, 600]
    assert found["accuracy", 1].points[-1] == (1500, pytest.approx(0.983287))
    assert not any(one.lost for one in found.values())


def test_what_a_later_attempt_tells_again_is_lost(tmp_path: Path) -> None:
    found = curves(joined(tmp_path, resumed_at=450))
    parts = {one.lost: [at for at, _ in one.points] for one in found if one.label == "accuracy" and one.attempt == 0}
    assert parts == {False: [0, 150, 300], True: [450, 600]}


def test_clock_runs_on_over_attempts(tmp_path: Path) -> None:
    first, second = (one for one in curves(joined(tmp_path), "seconds") if one.label == "train loss")
    assert first.points[-1][0] == pytest.approx(13.46, abs=0.01)
    assert second.points[0][0] == pytest.approx(13.48, abs=0.01)


def test_nan_is_left_out_and_so_is_the_accuracy_of_nan() -> None:
    found = {one.label: one.points for one in curves(Log("diverged", DATA / "digits-diverged.log"))}
    assert [at for at, _ in found["train loss"]] == [0]
    assert [at for at, _ in found["accuracy"]] == [0]


def test_vector_is_no_curve(tmp_path: Path) -> None:
    lines = ["Iteration 0, Testing net (#0)", *(f"    Test net output #{at}: accuracy = 0.{at}" for at in range(3))]
    assert curves(log_of(tmp_path, lines)) == []


def test_long_curve_is_thinned_and_keeps_its_peaks() -> None:
    curve = Curve("log", "train loss", 0, False)
    for at in range(100_000):
        curve.add(at, 50.0 if at == 77_777 else at % 7)
    assert len(curve.points) <= 2000
    assert (77_777, 50.0) in curve.points
    at = [at for at, _ in curve.points]
    assert at == sorted(at)
    assert curve.last == 99_999 % 7
    assert max(after - before for before, after in pairwise(at)) <= 300  # alike everywhere


def test_png_is_a_picture_of_1000_by_700(tmp_path: Path) -> None:
    target = tmp_path / "curves.png"
    plot([joined(tmp_path)], target)
    data = target.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")) == (1000, 700)


def words_of(target: Path) -> str:
    """The words of an SVG, which matplotlib leaves beside their outlines."""
    return "\n".join(line.strip()[5:-4] for line in target.read_text().splitlines() if line.strip().startswith("<!-- "))


def test_resume_and_curves_are_named_in_the_picture(tmp_path: Path) -> None:
    target = tmp_path / "curves.svg"
    plot([joined(tmp_path)], target)
    said = words_of(target)
    for words in ("resumed at 680", "train loss, last", "test loss, last", "accuracy, last 0.9833", "iteration"):
        assert words in said


def test_several_logs_are_named_in_one_picture(tmp_path: Path) -> None:
    target = tmp_path / "curves.svg"
    plot([joined(tmp_path), Log("two", DATA / "digits-two-test-nets.log")], target)
    said = words_of(target)
    for words in ("digits: accuracy, last 0.9833", "two: accuracy (net 1), last 0.6156", "digits resumed at 680"):
        assert words in said


@pytest.mark.parametrize("number", range(8))
def test_the_eight_charts(number: int, tmp_path: Path) -> None:
    target = tmp_path / "chart.svg"
    plot([joined(tmp_path)], target, number)
    said = words_of(target)
    assert CHARTS[number][1] in said
    assert ("seconds of training" in said) == (number % 2 == 1)


def test_charts_go_by_number_or_name() -> None:
    assert [chart_number(name) for name, *_ in CHARTS] == [chart_number(str(at)) for at in range(8)] == list(range(8))
    with pytest.raises(UsageError, match="no chart 'trian-loss'") as caught:
        chart_number("trian-loss")
    assert "train-loss" in caught.value.mend
    with pytest.raises(UsageError):
        chart_number("8")


# what is a loss and what a score


def of_tests(folder: Path, *outputs: str, times: int = 3, name: str = "one") -> Log:
    """A log of so many tests; `at` in an output is replaced by the test's number."""
    lines = []
    for at in range(times):
        lines.append(f"Iteration {at * 100}, Testing net (#0)")
        lines += [f"    Test net output #{number}: {one.replace('at', str(at))}" for number, one in enumerate(outputs)]
        lines.append(f"Iteration {at * 100}, loss = {3 - at}")
    return log_of(folder, lines, name)


GOOGLENET = (
    "loss1/loss1 = 5.at (* 0.3 = 1.5 loss)", "loss1/top-1 = 0.1at", "loss3/loss3 = 4.at (* 1 = 4.5 loss)",
    "loss3/top-1 = 0.3at", "boxes = 5at",
)  # fmt: skip


def test_weights_tell_losses_from_scores_and_from_other_numbers(tmp_path: Path) -> None:
    kinds = {one.label: one.kind for one in curves(of_tests(tmp_path, *GOOGLENET)) if one.phase == "test"}
    assert kinds == {
        "test loss1/loss1": "loss", "loss1/top-1": "score", "test loss3/loss3": "loss", "loss3/top-1": "score",
        "boxes": "measure",
    }  # fmt: skip
    target = tmp_path / "curves.svg"
    plot([of_tests(tmp_path, *GOOGLENET)], target)
    assert {"loss", "score", "other numbers"} <= set(words_of(target).splitlines())


@pytest.mark.parametrize(("chart", "drawn"), [("test-accuracy", "top-1"), ("test-loss", "test loss")])
def test_charts_draw_scores_and_losses_of_any_name(chart: str, drawn: str, tmp_path: Path) -> None:
    target = tmp_path / "chart.svg"
    plot([of_tests(tmp_path, *GOOGLENET)], target, chart_number(chart))
    said = [line for line in words_of(target).splitlines() if ", last" in line]
    assert len(said) == 2 and all(drawn in line for line in said)


@pytest.mark.parametrize("name", ["loss3/top-1", "top5", "mAP", "prec@1", "detection_eval", "recall", "acc"])
def test_scores_need_no_special_name(name: str, tmp_path: Path) -> None:
    target = tmp_path / "chart.svg"
    plot([of_tests(tmp_path, f"{name} = 0.at5")], target, 0)
    assert f"{name}, last 0.25" in words_of(target)


def test_a_score_of_the_training_is_drawn_beside_the_tests(tmp_path: Path) -> None:
    lines = [line for at in range(3) for line in (
        f"Iteration {at}, loss = 2", f"    Train net output #0: acc = 0.{at}",
        "    Train net output #1: l = 2 (* 1 = 2 loss)", f"Iteration {at}, lr = 0.1",
    )]  # fmt: skip
    found = {one.label: one.kind for one in curves(log_of(tmp_path, lines))}
    assert found == {"train loss": "loss", "learning rate": "loss", "train acc": "score"}


def test_a_log_without_weights_is_read_by_names(tmp_path: Path) -> None:
    found = {one.label: one.kind for one in curves(of_tests(tmp_path, "loss1/accuracy = 0.at", "my_loss = 0.at"))}
    assert (found["loss1/accuracy"], found["my_loss"]) == ("score", "loss")


def test_a_nan_that_is_no_loss_leaves_the_losses_in_the_picture(tmp_path: Path) -> None:
    found = {one.label for one in curves(of_tests(tmp_path, "loss = 2 (* 1 = 2 loss)", "recall = nan"))}
    assert "test loss" in found and "recall" not in found


# looks


def strokes(target: Path) -> list[str]:
    """The styles of an SVG's lines, curves and legends alike."""
    return re.findall(r'style="(fill: none; stroke[^"]*(?:1\.6|stroke-width: 3)[^"]*)"', target.read_text())


def test_no_two_curves_of_a_panel_look_alike(tmp_path: Path) -> None:
    target = tmp_path / "curves.svg"
    plot([of_tests(tmp_path, *(f"head{at}/top-1 = 0.{at + 10}" for at in range(40)))], target, 0)
    styles = strokes(target)
    assert len(set(styles)) == 40 and len(styles) >= 80


def test_a_log_has_its_colour_and_a_label_its_style(tmp_path: Path) -> None:
    logs = [of_tests(tmp_path, "loss = 1.at (* 1 = 1 loss)", name=f"log{number}") for number in range(3)]
    target = tmp_path / "curves.svg"
    plot(logs, target)
    styles = set(strokes(target))
    assert len({re.search("#[0-9a-f]{6}", style)[0] for style in styles}) == 3  # type: ignore[index]
    assert len(styles) == 6


def test_logs_of_one_name_are_numbered(tmp_path: Path) -> None:
    logs = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        logs.append(of_tests(tmp_path / str(number), "accuracy = 0.at"))
    plot(logs, tmp_path / "curves.svg")
    said = words_of(tmp_path / "curves.svg")
    assert "one (1): accuracy" in said and "one (2): accuracy" in said


def test_a_curve_goes_on_over_a_resume(tmp_path: Path) -> None:
    plot([joined(tmp_path)], tmp_path / "curves.svg", 0)
    assert len(strokes(tmp_path / "curves.svg")) == 2  # the curve and its sign in the legend


def test_resumes_that_are_near_share_a_label(tmp_path: Path) -> None:
    lines = [f"Iteration {at}, loss = 1" for at in range(0, 2001, 100)]
    for at in (1000, 1020, 1040, 1060, 1900):
        lines += ["Initializing solver from parameters:", f"Resuming from s_iter_{at}.solverstate",
                  *(f"Iteration {to}, loss = 1" for to in range(at, 2001, 20))]  # fmt: skip
    plot([log_of(tmp_path, lines)], tmp_path / "curves.svg")
    said = [line for line in words_of(tmp_path / "curves.svg").splitlines() if "resumed" in line]
    assert said == ["resumed at 1000 … 1060 (4 times)", "resumed at 1900"]


def test_loss_alone_is_one_panel(tmp_path: Path) -> None:
    target = tmp_path / "curves.svg"
    plot([log_of(tmp_path, [f"Iteration {at}, loss = {1 / (at + 1)}" for at in range(5)])], target)
    assert "accuracy" not in words_of(target)


def test_no_numbers_yet_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no numbers"):
        plot([log_of(tmp_path, [])], tmp_path / "a.png")
    with pytest.raises(RunError, match="no accuracy"):
        plot([log_of(tmp_path, ["Iteration 1, loss = 1"])], tmp_path / "a.png", 0)


def test_a_training_that_was_lost_from_the_start_has_nothing_to_draw(tmp_path: Path) -> None:
    lost = [line for at in range(9) for line in (f"Iteration {at}, loss = nan", f"Iteration {at}, lr = 0.1")]
    with pytest.raises(RunError, match="no numbers") as caught:
        plot([log_of(tmp_path, lost)], tmp_path / "a.png")
    assert caught.value.mend == "its losses are no numbers; see why: provision diagnose FILE"


@pytest.mark.parametrize("target", ["nowhere/a.png", "a.words"])
def test_target_that_cannot_be(target: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be drawn"):
        plot([joined(tmp_path)], tmp_path / target)


def test_missing_extra_names_its_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError) as caught:
        plot([joined(tmp_path)], tmp_path / "a.png")
    assert caught.value.mend == "pip install 'provision-spot[plot]'"
