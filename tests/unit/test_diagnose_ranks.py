"""Ranks that wrote one log are diagnosed each by its own lines, and a cause names the ranks that have it."""

from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path

import pytest

from provision.cli import run
from provision.logs.cause import Diagnosis, Facts
from provision.logs.diagnose import diagnose
from provision.logs.log import Log
from provision.runs import report
from tests.unit.test_fetch import Bucket, made
from tests.unit.test_run_log import held

OUT_OF_MEMORY = (
    "F0301 10:00:09.000000     7 syncedmem.cpp:56] Check failed: error == cudaSuccess (2 vs. 0)  out of memory"
)
FORMS = ("[prterun-node-7@1,{}]<stdout>: ", "[{}] ", "[1,{}]<stderr>:", "{}: ", "trainer_{}  | ")
START = ["I0301 10:00:00.000000     7 solver.cpp:44] Initializing solver from parameters: ", "max_iter: 60"]
DONE = "I0301 10:00:08.000000     7 solver.cpp:326] Optimization Done."


def shown(*losses: object) -> list[str]:
    return [f"I0301 10:00:0{at % 8}.000000     7 solver.cpp:218] Iteration {at * 10}, loss = {loss}"
            for at, loss in enumerate(losses)]  # fmt: skip


def mixed(*ranks: Sequence[str], form: str = "[{}] ", end: str = "") -> bytes:
    """A log in which the ranks' lines follow each other in turn."""
    lines = [[form.format(number) + line for line in of] for number, of in enumerate(ranks)]
    together = [line for line in chain.from_iterable(zip_longest(*lines)) if line is not None]
    return "\n".join([*together, *end.splitlines(), ""]).encode()


def diagnosed(
    folder: Path,
    *ranks: Sequence[str],
    form: str = "[{}] ",
    end: str = "",
    facts: Facts = Facts(),  # noqa: B008
) -> Diagnosis:
    """Of a log in which the ranks' lines follow each other in turn."""
    path = folder / "ranks.log"
    path.write_bytes(mixed(*ranks, form=form, end=end))
    return diagnose(Log("ranks", path), facts)


@pytest.mark.parametrize("form", FORMS)
def test_the_rank_that_failed_alone_is_named(form: str, tmp_path: Path) -> None:
    found = diagnosed(
        tmp_path, START + shown(2.3, 2.2, 2.1), [*START, *shown(2.3, 2.2), OUT_OF_MEMORY],
        START + shown(2.3, 2.2, 2.1), form=form,
    )  # fmt: skip
    (cause,) = found.causes
    names = {"trainer_{}  | ": "trainer_"}.get(form, "rank")
    assert (cause.name, cause.line) == ("gpu-out-of-memory", 14)
    assert cause.place == f"{names}1 alone, of 3"
    assert found.ending.word == "failed" and found.attempts == 1


def test_a_failure_of_all_names_none(tmp_path: Path) -> None:
    ranks = [[*START, *shown(2.3, 2.2), OUT_OF_MEMORY]] * 2
    assert [(cause.name, cause.place) for cause in diagnosed(tmp_path, *ranks).causes] == [("gpu-out-of-memory", "")]


def test_where_one_rank_tells_the_displays_the_others_are_sound(tmp_path: Path) -> None:
    other = [*START, "E0301 10:00:01.000000     7 io.cpp:80] Could not open or find file a.jpg",
             "I0301 10:00:01.000000     7 solver.cpp:330] Iteration 0, Testing net (#0)"]  # fmt: skip
    found = diagnosed(tmp_path, [*START, *shown(2.3, 2.2, 2.1, 2.0), DONE], other)
    assert (found.causes, found.ending.word) == ([], "well")
    found = diagnosed(tmp_path, START + shown(2.3, 2.2, 2.1, 2.0), other)
    assert (found.causes, found.ending.word) == ([], "open")


def test_what_all_wait_for_is_told(tmp_path: Path) -> None:
    waits = "I0301 10:00:09.000000     7 blocking_queue.cpp:49] Waiting for data"
    found = diagnosed(tmp_path, START + shown(2.3, 2.2), [*START, *shown(2.3, 2.2), waits])
    assert [(cause.name, cause.place) for cause in found.causes] == [("stuck-data", "rank1 alone, of 2")]


def test_a_loss_that_one_rank_alone_has_lost(tmp_path: Path) -> None:
    found = diagnosed(tmp_path, START + shown(*[2.3] * 8), START + shown(2.3, *["nan"] * 7))
    assert [(cause.name, cause.place) for cause in found.causes] == [("diverged", "rank1 alone, of 2")]


def test_attempts_of_ranks_are_told_together(tmp_path: Path) -> None:
    first, second = shown(2.3, 2.2), shown(2.1, 2.0)
    found = diagnosed(
        tmp_path,
        [*START, *first, first[-1], *START, *second, DONE],
        [*START, *first, OUT_OF_MEMORY, *START, *second, DONE],
    )
    assert (found.causes, found.ending.word, found.attempts) == ([], "well", 2)
    (earlier,) = found.earlier
    assert earlier.cause is not None and earlier.cause.name == "gpu-out-of-memory"


def test_some_of_the_ranks_are_named_by_the_first_line(tmp_path: Path) -> None:
    failed, sound = [*START, *shown(2.3), OUT_OF_MEMORY], START + shown(2.3, 2.2, 2.1, 2.0)
    (cause,) = diagnosed(tmp_path, sound, failed, sound, failed).causes
    assert (cause.line, cause.place) == (14, "rank1, rank3, of 4")


def test_what_a_rank_said_before_it_failed_explains_its_end(tmp_path: Path) -> None:
    clue = "E0301 10:00:01.000000     7 io.cpp:80] Could not open or find file a.jpg"
    end = "F0301 10:00:09.000000     7 data_transformer.cpp:7] Check failed: something_new == 1 (0 vs. 1)"
    sound = START + shown(*[2.3] * 8)
    found = diagnosed(tmp_path, sound, [*START, clue, end])
    alone = diagnosed(tmp_path, [*START, clue, end])
    assert [cause.name for cause in found.causes] == [cause.name for cause in alone.causes]


def test_what_mpirun_says_itself_is_no_ranks(tmp_path: Path) -> None:
    end = "mpirun noticed that process rank 1 with PID 4711 on node a exited on signal 9 (Killed)."
    found = diagnosed(tmp_path, START + shown(2.3, 2.2), START + shown(2.3, 2.2), end=end)
    assert [(cause.line, cause.place) for cause in found.causes] == [(9, "")]


def test_the_command_shows_the_rank(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    diagnosed(tmp_path, START + shown(2.3, 2.2), [*START, *shown(2.3), OUT_OF_MEMORY])
    assert run(["diagnose", str(tmp_path / "ranks.log")]) == 0
    assert "\n  where: rank1 alone, of 2\n" in capsys.readouterr().out


def test_a_run_whose_ranks_wrote_one_log_is_diagnosed_as_the_file_is(tmp_path: Path) -> None:
    ranks = [START + shown(2.3, 2.2, 2.1), [*START, *shown(2.3, 2.2), OUT_OF_MEMORY]]
    a_run = made(Bucket())
    held(a_run, [mixed(*ranks)], 100)
    (cause,) = report.diagnosis(a_run).causes
    assert (cause.what, cause.place) == ("the GPU's memory is full", "rank1 alone, of 2")
    assert [cause] == diagnosed(tmp_path, *ranks, facts=report.facts(a_run)).causes


def test_how_the_container_ended_is_told_once_and_of_no_rank(tmp_path: Path) -> None:
    sound, failed = START + shown(2.3, 2.2, 2.1), [*START, *shown(2.3, 2.2), OUT_OF_MEMORY]
    killed = diagnosed(tmp_path, sound, sound, facts=Facts("failed", 137))
    assert [(cause.name, cause.place) for cause in killed.causes] == [("host-out-of-memory", "")]
    assert killed.ending.word == "failed" and "exit code 137" in killed.ending.text
    aborted = diagnosed(tmp_path, sound, failed, facts=Facts("failed", 134))
    assert [cause.name for cause in aborted.causes] == ["gpu-out-of-memory"]
    both = diagnosed(tmp_path, sound, failed, facts=Facts("failed", 137, out_of_memory=True))
    assert [cause.name for cause in both.causes] == ["host-out-of-memory", "gpu-out-of-memory"]
