"""The pictures of trainings."""

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


def test_loss_alone_is_one_panel(tmp_path: Path) -> None:
    target = tmp_path / "curves.svg"
    plot([log_of(tmp_path, [f"Iteration {at}, loss = {1 / (at + 1)}" for at in range(5)])], target)
    assert "accuracy" not in words_of(target)


def test_no_numbers_yet_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no numbers"):
        plot([log_of(tmp_path, [])], tmp_path / "a.png")
    with pytest.raises(RunError, match="no accuracy"):
        plot([log_of(tmp_path, ["Iteration 1, loss = 1"])], tmp_path / "a.png", 0)


@pytest.mark.parametrize("target", ["nowhere/a.png", "a.words"])
def test_target_that_cannot_be(target: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be drawn"):
        plot([joined(tmp_path)], tmp_path / target)


def test_missing_extra_names_its_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError) as caught:
        plot([joined(tmp_path)], tmp_path / "a.png")
    assert caught.value.mend == "pip install 'provision-spot[plot]'"
