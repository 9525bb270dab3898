"""The picture of a training."""

import sys
from pathlib import Path

import pytest

from infra.errors import MissingExtraError, RunError, UsageError
from provision.logs import Event, Metric, parse
from provision.plot import curves, plot

DATA = Path(__file__).parent.parent / "data"


def joined() -> list[Event]:
    lines = [line for name in ("interrupted", "resumed") for line in (DATA / f"digits-{name}.log").open()]
    return list(parse(lines))


def test_curves_keep_attempts_apart_and_know_the_resume() -> None:
    found, resumed = curves(joined())
    assert set(found) == {"train loss", "test loss", "accuracy"}
    assert resumed == [680]
    assert [at for at, _ in found["accuracy"][0]] == [0, 150, 300, 450, 600]
    assert found["accuracy"][1][-1] == (1500, pytest.approx(0.983287))


def test_nan_is_left_out() -> None:
    lines = (DATA / "digits-diverged.log").open()
    found, _ = curves(parse(lines))
    assert [at for at, _ in found["train loss"][0]] == [0]


def test_png_is_a_picture_of_1000_by_700(tmp_path: Path) -> None:
    target = tmp_path / "curves.png"
    plot(joined(), target, "digits")
    data = target.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")) == (1000, 700)


def test_resume_and_curves_are_named_in_the_picture(tmp_path: Path) -> None:
    target = tmp_path / "curves.svg"
    plot(joined(), target, "digits")
    text = target.read_text()
    for words in ("resumed at 680", "train loss, last", "test loss, last", "accuracy, last 0.9833", "iteration"):
        assert f"<!-- {words}" in text


def test_loss_alone_is_one_panel(tmp_path: Path) -> None:
    target = tmp_path / "curves.svg"
    plot([Metric(0, float(at), at, "solver", "loss", 1 / (at + 1)) for at in range(5)], target)
    assert "accuracy" not in target.read_text()


def test_no_numbers_yet_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no numbers"):
        plot([], tmp_path / "a.png")


@pytest.mark.parametrize("target", ["nowhere/a.png", "a.words"])
def test_target_that_cannot_be(target: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be drawn"):
        plot(joined(), tmp_path / target)


def test_missing_extra_names_its_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError) as caught:
        plot(joined(), tmp_path / "a.png")
    assert caught.value.mend == "pip install 'provision[plot]'"
