"""Which numbers count where a log has several attempts."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from provision.cli import run
from provision.logs import attempts
from provision.logs.log import Log
from provision.logs.rows import rows
from tests.unit.test_logexport import table

_CLOCK = "I0306 10:27:54.000000 7 solver.cpp:347] "


def start(resumed: int | None = None) -> list[str]:
    resume = [] if resumed is None else [f"{_CLOCK}Resuming from s_iter_{resumed}.solverstate"]
    return [f"{_CLOCK}Initializing solver from parameters: ", *resume]


def shown(*at: int) -> list[str]:
    output = "    Train net output #0: loss = 1 (* 1 = 1 loss)"
    messages = ((f"Iteration {one}, loss = 1", output, f"Iteration {one}, lr = 0.1") for one in at)
    return [_CLOCK + message for display in messages for message in display]


def saved(at: int) -> list[str]:
    return [f"{_CLOCK}Snapshotting solver state to binary proto file s_iter_{at}.solverstate"]


FATAL = ["F0306 10:28:00.000000 7 io.cpp:1] Check failed: fd != -1 (-1 vs. -1) File not found"]


def log(folder: Path, *parts: Sequence[str]) -> Log:
    path = folder / "train.log"
    path.write_text("".join(line + "\n" for part in parts for line in part))
    return Log("train", path)


def kept(one: Log) -> list[tuple[int, int]]:
    return [(row.attempt, row.iteration) for row in rows(one) if not row.lost]


def test_a_resume_that_failed_takes_nothing_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = log(tmp_path, start(), shown(0, 10, 20, 30, 40, 50), start(20), FATAL, start(40), shown(40, 50, 60, 70, 80))
    assert one.lost_from == {0: 40}
    assert run(["logs", str(one.path), "--csv", str(tmp_path / "out")]) == 0
    assert [row["NumIters"] for row in table(tmp_path / "out.train.csv")] == [str(at) for at in range(0, 90, 10)]
    assert "2 rows are left out" in capsys.readouterr().err


def test_a_resume_that_failed_at_the_end_takes_nothing_back(tmp_path: Path) -> None:
    one = log(tmp_path, start(), shown(0, 10, 20), start(10), FATAL)
    assert one.lost_from == {} and kept(one) == [(0, 0), (0, 10), (0, 20)]


def test_a_branch_that_nobody_went_on_from_is_lost(tmp_path: Path) -> None:
    first = [*start(), *shown(0, 10), *saved(20), *shown(20, 30), *saved(40), *shown(40)]
    one = log(tmp_path, first, start(20), shown(20, 30), start(40), shown(40, 50))
    assert kept(one) == [(0, 0), (0, 10), (0, 20), (0, 30), (2, 40), (2, 50)]


def test_the_attempt_that_wrote_the_snapshot_last_is_the_one_that_goes_on(tmp_path: Path) -> None:
    first = [*start(), *shown(0, 10), *saved(20), *shown(20, 30), *saved(40), *shown(40)]
    one = log(tmp_path, first, start(20), shown(20, 30), saved(40), start(40), shown(40, 50))
    assert kept(one) == [(0, 0), (0, 10), (1, 20), (1, 30), (2, 40), (2, 50)]


def test_without_lines_of_snapshots_the_attempt_that_came_so_far_goes_on(tmp_path: Path) -> None:
    one = log(tmp_path, start(), shown(0, 10, 20, 30), start(10), shown(10), start(20), shown(20, 30, 40))
    assert kept(one) == [(0, 0), (0, 10), (2, 20), (2, 30), (2, 40)]


def test_a_training_from_the_beginning_takes_nothing_back(tmp_path: Path) -> None:
    one = log(tmp_path, start(), shown(0, 10), start(), shown(0, 10))
    assert kept(one) == [(0, 0), (0, 10), (1, 0), (1, 10)]


def test_a_log_whose_beginning_is_missing_has_its_first_attempt_too(tmp_path: Path) -> None:
    one = log(tmp_path, shown(10, 20, 30), start(20), shown(20, 30))
    assert one.lost_from == {0: 20} and kept(one) == [(0, 10), (1, 20), (1, 30)]


@pytest.mark.parametrize("size", [50, 1000, 1 << 16])
def test_the_quick_reading_is_right_wherever_the_pieces_end(size: int) -> None:
    lines = [*start(), *shown(*range(300)), *saved(200), *shown(300), *start(200), *FATAL, *start(200), *shown(200)]
    data = "".join(line + "\n" for line in lines).encode()
    assert attempts.cuts(data[at : at + size] for at in range(0, len(data), size)) == {0: 200}


def test_two_solvers_in_one_log_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = log(tmp_path, start(), shown(10, 4, 12, 5))
    assert run(["logs", str(one.path), "--csv"]) == 0
    assert "iterations go back to 4 without a resume" in capsys.readouterr().err
