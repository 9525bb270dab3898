"""How far something long is: a line for each tenth in a pipe, a bar on a terminal."""

import io
import sys

import pytest

from provision.files.bar import Bar, TrainingBar


class Terminal(io.StringIO):
    """Standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_training_is_told_from_its_first_iteration_on_by_tenths(capsys: pytest.CaptureFixture[str]) -> None:
    bar = TrainingBar()
    for iteration in range(0, 101, 5):
        bar.show(iteration, 100, f"loss {iteration}")
    bar.close()
    said = capsys.readouterr().err.splitlines()
    assert said == [f"  iteration {at}/100  loss {at}" for at in range(0, 101, 10)]


def test_of_a_training_whose_end_is_not_known_each_display_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    bar = TrainingBar()
    for iteration in (20, 40):
        bar.show(iteration, 0, "loss 1")
    assert capsys.readouterr().err == "  iteration 20/?  loss 1\n  iteration 40/?  loss 1\n"


def test_a_terminal_gets_bars_with_the_count_or_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    bar = TrainingBar()
    bar.show(30, 100, "loss 0.5")
    bar.close()
    with Bar("fetched", 2_000_000) as fetched:
        fetched.at(2_000_000)
    drawn = terminal.getvalue()
    assert "training" in drawn and "30/100" in drawn and "loss 0.5" in drawn
    assert "fetched" in drawn and "2.0 MB of 2.0 MB" in drawn


def test_what_is_small_is_not_told_on_a_terminal_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with Bar("fetched", 5, least=20) as bar:
        bar.at(5)
    assert terminal.getvalue() == ""
