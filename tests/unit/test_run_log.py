"""A run's log is the same bytes wherever it is read: printed, followed while it grows, fetched."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import msgspec
import pytest

from infra.aws.s3 import S3
from infra.errors import CloudError
from provision.logs import read, reader
from provision.logs.progress import progress_of
from provision.runs import fetch, follow, log, report, summary
from provision.runs.manifest import Attempt, RunState
from provision.runs.report import Follower
from provision.runs.store import Run
from tests.unit.fake_aws import CLOUD
from tests.unit.test_fetch import Bucket, made

# the first attempt ends in the middle of a line, the second in the middle of a character; each piece does, too
FIRST = "Größe: 3 µm\nIteration 10, lo".encode()
SECOND = "Übung\nzweite Größ".encode() + "ö".encode()[:1]
THIRD = b"das Ende\n"
WHOLE = FIRST + b"\n" + SECOND + b"\n" + THIRD


def held(run: Run, attempts: Sequence[bytes], size: int) -> None:
    """The log of these attempts in pieces of `size` bytes, of a run that has finished."""
    bucket = cast(Bucket, run.store)
    for key in [key for key in bucket.held if "/log/" in key]:
        del bucket.held[key]
    for number, data in enumerate(attempts, 1):
        run.add_attempt(Attempt(number, "i-1", "lab", "us-east-1a", "now"))
        for offset in range(0, max(len(data), 1), size):
            bucket.held[run.key(f"log/{number:03d}-{offset:012d}")] = data[offset : offset + size]
    bucket.write_json(run.key("state.json"), {"state": "finished", "attempt": len(attempts)})


@pytest.fixture
def run() -> Run:
    return made(Bucket())


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_it_is_the_same_printed_followed_and_fetched(
    run: Run, tmp_path: Path, size: int, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    held(run, [FIRST, SECOND, b"", THIRD], size)
    with read.spooled(run.id, log.text(run)) as file:
        read.copy_to_stdout(file)
    printed = capfdbinary.readouterr().out
    followed: list[bytes] = []
    assert follow.show(CLOUD, run, followed.append) == "finished"
    fetch.fetch(run, tmp_path)
    assert printed == WHOLE
    assert b"".join(followed) == WHOLE
    assert (tmp_path / "log.txt").read_bytes() == WHOLE


@pytest.mark.parametrize("state", [b"no JSON", b"[1]", b'{"state": 7}', b"[" * 100_000])
def test_odd_things_that_a_machine_wrote_beside_its_log_end_no_follower(run: Run, state: bytes) -> None:
    """The machine's role may write log/ and state.json; how the run stands is then as if the guard had said nothing."""
    held(run, [FIRST], 1000)
    cast(Bucket, run.store).held[run.key("log/junk")] = b"no piece"
    assert b"".join(log.text(run)) == FIRST
    cast(Bucket, run.store).held[run.key("state.json")] = state
    assert run.state() == RunState()


def glog(message: str) -> str:
    return f"I1120 23:36:21.594349     6 solver.cpp:45] {message}\n"


_START = glog("Initializing solver from parameters: ")


class Quiet:
    """A bar that keeps the last words that it was to show."""

    def show(self, iteration: int, total: int, words: str) -> None:
        self.words = words


def test_a_resume_behind_a_line_that_was_cut_off_is_seen_while_it_is_followed(run: Run) -> None:
    resumed = glog("Restoring previous solver status from x_iter_5.solverstate")
    first = (
        _START + glog("Iteration 0, loss = 2") + glog("Iteration 5, loss = 1") + glog("Iteration 6, lo").rstrip("\n")
    )
    second = _START + resumed + glog("Iteration 5, loss = 1")
    held(run, [first.encode(), second.encode()], 50)
    follower, bar = Follower(), Quiet()
    for piece in follow.pieces(follow.Watch(CLOUD, run)):
        follower.take(piece, bar)  # type: ignore[arg-type]
    assert follower.progress == progress_of(reader.events(log.text(run)))
    assert (follower.progress.attempt, follower.progress.resumed_at) == (1, 5)
    assert "it/s" not in bar.words  # the speed of one attempt does not span the gap between two


@pytest.mark.parametrize("size", [50, 1000])
def test_what_stands_before_the_lines_of_a_run_is_cut_off_while_it_is_followed(run: Run, size: int) -> None:
    lines = [glog(f"Iteration {at}, loss = {at}").strip() for at in (0, 5, 10)]
    held(run, ["".join(f"50%|#  |\r\x1b[32m[5] {line}\x1b[0m\r\n" for line in lines).encode()], size)
    follower, bar = Follower(), Quiet()
    for piece in follow.pieces(follow.Watch(CLOUD, run)):
        follower.take(piece, bar)  # type: ignore[arg-type]
    assert follower.progress == progress_of(reader.events(log.text(run)))
    assert (follower.progress.iteration, follower.progress.loss) == (10, 10)


def test_an_unknown_failure_shows_the_ends_own_characters(run: Run) -> None:
    held(run, ["viel\nkaputt: Größe\n".encode()], 1)
    assert "kaputt: Größe" in report.failure(run).what


def test_following_goes_on_where_it_was_when_the_line_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    held(run, [b"abcdef", b"gh"], 1)
    monkeypatch.setattr("time.sleep", lambda seconds: None)

    class Weak(Bucket):
        """Every fourth read fails, but never the same one twice."""

        def __init__(self, held: dict[str, bytes]) -> None:
            super().__init__()
            self.held = held
            self.failed: set[str] = set()

        def read(self, key: str) -> bytes | None:
            if int(key[-12:]) % 4 == 3 and key not in self.failed:
                self.failed.add(key)
                raise CloudError("the line broke")
            return super().read(key)

    weak = Weak(cast(Bucket, run.store).held)
    found: list[bytes] = []
    follow.show(CLOUD, Run(cast(S3, weak), run.id), found.append)
    assert weak.failed and b"".join(found) == b"abcdef\ngh"


def test_what_comes_as_a_stream_is_read_from_the_disk_once(tmp_path: Path) -> None:
    """Where an attempt resumed is known when all has come: the numbers before it are lost."""
    resumed = glog("Restoring previous solver status from x_iter_5.solverstate")
    text = "".join([_START, glog("Iteration 0, loss = 2"), glog("Iteration 10, loss = 1"), _START, resumed,
                    glog("Iteration 5, loss = 1")]).encode()  # fmt: skip
    with read.spooled("a", [text[at : at + 7] for at in range(0, len(text), 7)]) as spooled:
        assert spooled.cuts == {0: 5} == read.Log("a", spooled.path).lost_from
        assert [(row.iteration, row.lost) for row in read.rows(spooled)] == [(0, False), (10, True), (5, False)]


def test_a_summary_tells_the_score_of_any_name_and_a_training_that_does_not_learn(run: Run) -> None:
    lines = [_START]
    for at in range(0, 1001, 20):
        if at % 250 == 0:
            lines += [glog(f"Iteration {at}, Testing net (#0)"), glog("    Test net output #0: mAP = 0"),
                      glog("    Test net output #1: l = 0 (* 1 = 0 loss)")]  # fmt: skip
        lines += [glog(f"Iteration {at}, loss = 0"), glog(f"Iteration {at}, lr = 0.01")]
    held(run, ["".join(lines).encode()], 1000)
    found = summary.of(run)
    assert (found.score, found.scores, found.accuracy) == ("mAP", {"mAP": 0.0}, None)
    assert found.words == "1000 iterations in 1 attempt(s), mAP 0.0000"
    assert found.troubles == ("the loss is 0 in all 51 displays, from the first on",)


@pytest.mark.parametrize(
    ("name", "goal", "said"),
    [
        ("accuracy", {"accuracy": 0.9}, "accuracy 0.9500 (goal 0.9 reached)"),
        ("loss3/top-1", {"accuracy": 0.97}, "accuracy 0.9500 (below the recipe's goal 0.97)"),
        ("detection_eval", {"detection_eval": 0.7}, "detection_eval 0.9500 (goal 0.7 reached)"),
        ("detection_eval", {"accuracy": 0.7}, "detection_eval 0.9500"),
    ],
)
def test_a_goal_is_held_against_the_score_that_it_names(run: Run, name: str, goal: dict[str, float], said: str) -> None:
    lines = [_START, glog("Iteration 10, Testing net (#0)"), glog(f"    Test net output #0: {name} = 0.95")]
    held(run, ["".join(lines).encode()], 1000)
    found = msgspec.structs.replace(summary.of(run), goal=goal)
    assert found.words.endswith(said)


def saying(run: Run, metrics: str) -> Run:
    """The run, of a recipe that says which lines of its log tell numbers."""
    recipe = msgspec.structs.replace(run.manifest.recipe, metrics=metrics)
    again = Run(run.store, run.id)
    again.manifest = replace(run.manifest, recipe=recipe)
    return again


def test_a_recipe_says_which_lines_tell_numbers(run: Run) -> None:
    """To who follows the run, to its summary, to its table and to its diagnosis alike."""
    lines = [f"at {at} we have {1 / at} right {1 - 1 / at}\n" for at in (2, 4)]
    held(run, ["".join(lines).encode()], 20)
    run = saying(run, r"regex:at (?P<step>\d+) we have (?P<loss>\S+) right (?P<val_accuracy>\S+)")
    follower = Follower()
    assert follower.follow(CLOUD, run) == "finished"
    assert (follower.iteration, follower.progress.loss, follower.progress.accuracy) == (4, 0.25, 0.75)
    told = summary.of(run)
    assert (told.iterations, told.loss, told.accuracy) == (4, 0.25, 0.75)
    assert "iteration 4" in report.diagnosis(run).ending.text
    plain = saying(run, "caffe")
    assert (summary.of(plain).iterations, summary.of(plain).loss) == (0, None)
    assert log.asked(plain, log.asked(run)) == log.asked(run)  # what the user wishes goes first
