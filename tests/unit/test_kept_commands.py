"""The commands on a run that AWS keeps, as a user of any laptop types them."""

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest

from provision import clouds
from provision.cli import run
from provision.engines import begin
from provision.training import kept as trainings
from tests.unit.fake_aws import CLOUD
from tests.unit.fake_s3 import FakeS3
from tests.unit.kept_kit import RUN, request
from tests.unit.test_kept import ENDS, FIRST, KEEPING, WAITING, Kept, someone_elses


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    for name in ("CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.setenv("LOGNAME", "alice")
    monkeypatch.setattr(clouds, "resolve", lambda _: CLOUD)
    return Kept(FakeS3())


def test_runs_says_in_words_how_it_stands(one: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    one.attempt(WAITING)
    assert run(["runs", "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert row["state"] == "starting"
    assert row["about"].startswith("waiting for capacity since ")
    one.attempt(FIRST)
    one.state("running")
    assert run(["runs", "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert row["about"].startswith("training on lab (i-1), attempt 1, $") and "ends by" in row["about"]


def test_runs_without_a_keeper_has_no_column_for_it(one: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    del one.aws.held[f"runs/{RUN}/keeper.json"]
    assert run(["runs"]) == 0
    assert "about" not in capsys.readouterr().out


def test_events_are_there_for_programs(one: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    one.attempt(FIRST)
    assert run(["events", RUN, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(event["what"], event["attempt"]) for event in found] == [("begun", 0), ("got", 1)]
    assert run(["events", RUN]) == 0
    assert "kept by AWS as" in capsys.readouterr().out


FATAL = "F1120 12:00:00.1 1 db_lmdb.hpp:15] Check failed: mdb_status == 0 (2 vs. 0) No such file or directory\n"
CAUSE = "the training failed by itself; it is not tried again"


def failed(one: Kept, log: str) -> None:
    """The run's training has failed, and its keeper is over."""
    one.attempt(FIRST)
    one.state("failed")
    one.aws.put(f"runs/{RUN}/log/001-000000000000", log.encode())
    one.aws.answers["DescribeExecution"] = {
        "status": "FAILED", "error": "TrainingFailed", "cause": CAUSE, "stopDate": datetime.now(timezone.utc),
    }  # fmt: skip


def test_events_of_a_failed_run_end_with_why_and_what_helps(one: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    failed(one, FATAL)
    assert run(["events", RUN, "--json"]) == 0
    last = json.loads(capsys.readouterr().out)[-1]
    assert last["what"] == "gave up" and last["about"].startswith(f"TrainingFailed: {CAUSE}: ")
    assert "LMDB" in last["about"]
    assert run(["events", RUN]) == 0
    assert capsys.readouterr().out.rstrip().endswith(f"what helps: provision diagnose {RUN} --cloud fake")


def test_events_of_a_failure_that_nobody_knows_name_what_may_help(
    one: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    failed(one, "nothing of note\n")
    assert run(["events", RUN]) == 0
    said = capsys.readouterr().out
    assert f"diagnose {RUN}" in said and f"{CAUSE}:" not in said


def test_logs_of_a_failed_run_end_with_why_and_what_helps(one: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    failed(one, FATAL)
    for more in ((), ("-f",)):
        assert run(["logs", RUN, *more]) == 0
        said = capsys.readouterr()
        last = said.err.rstrip().splitlines()[-1]
        assert last.startswith(f"{RUN} failed: ") and "LMDB" in last, said
        assert last.endswith(f"; what helps: provision diagnose {RUN} --cloud fake")
    one.state("finished")
    assert run(["logs", RUN]) == 0
    assert "failed" not in capsys.readouterr().err


def test_down_all_names_the_run_of_somebody_else_that_waits(one: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """Its keeper would have gone on asking for machines, without a word."""
    someone_elses(one, machine_there=False)
    assert run(["down", "--all", "--dry-run"]) == 0
    assert f"it would be asked first about the run {RUN}" in capsys.readouterr().err
    assert run(["down", "--all"]) == 2
    said = capsys.readouterr().err
    assert f"the run {RUN}, which AWS keeps and which waits for a machine, of alice@thinkpad" in said
    assert f"nothing was ended: {RUN}: launched by alice@thinkpad" in said and "down --all --force" in said
    assert not one.aws.of("StopExecution")


def test_stop_tells_what_it_would_do(one: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["stop", RUN, "--dry-run"]) == 0
    assert f"would stop the keeper of {RUN}" in capsys.readouterr().out
    assert not one.aws.of("StopExecution")


def test_stop_would_not_stop_what_has_not_begun(one: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    del one.aws.held[f"runs/{RUN}/keeper.json"]
    assert run(["stop", RUN, "--dry-run"]) == 13
    assert f"provision resume {RUN}" in capsys.readouterr().err


def test_a_run_without_a_log_is_told_how_it_stands(one: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["logs", RUN]) == 13
    said = capsys.readouterr().err
    assert f"{RUN} has no line of a log yet" in said and "provision runs" in said and "FILE" not in said


def test_a_kept_training_is_told_to_programs(
    one: Kept, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainings, "train", lambda *_: (one.run, KEEPING))
    monkeypatch.setattr(begin, "request_of", lambda *_: request())
    assert run(["train", "digits", "--instance", "p2.xlarge", "--gpus", "0", "--detach", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"run": RUN, "keeper": f"{RUN}-1", "ends": ENDS}


def test_a_dry_run_refuses_what_cannot_be_kept(one: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "digits", "--instance", "p2.xlarge", "--gpus", "0", "--detach", "--dry-run"]
    for wrong, why in ((["--notify", "arn:aws:sns:eu-west-1:111111111111:mine"], "is in eu-west-1"),
                       (["--diagnose"], "nobody follows"), (["--volume", "d:5"], "needs a laptop")):  # fmt: skip
        assert run([*words, *wrong]) == 2
        assert why in capsys.readouterr().err


def test_a_machine_that_runs_and_one_to_rent_are_too_much(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "digits", "--instance", "p2.xlarge", "--on", "lab", "--detach"]) == 2
    assert "leave out one of them" in capsys.readouterr().err


def test_an_attached_resume_is_refused_with_the_way_to_stop_it(one: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    one.attempt(FIRST)
    one.state("interrupted")
    for words in ([], ["--detach"], ["--on", "lab"]):
        assert run(["resume", RUN, *words]) == 21
        assert f"provision stop {RUN}" in capsys.readouterr().err


def test_rm_deletes_none_that_is_kept(one: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rm", RUN]) == 13  # it has no attempt yet
    assert "nothing was deleted" in capsys.readouterr().err
    assert f"runs/{RUN}/manifest.json" in one.aws.held


def test_a_topic_of_another_region_is_refused_before_anything_is_made(
    one: Kept, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainings, "train", lambda *_: pytest.fail("it was begun"))
    words = ["train", "digits", "--instance", "p2.xlarge", "--gpus", "0", "--detach"]
    assert run([*words, "--notify", "arn:aws:sns:eu-west-1:111111111111:mine"]) == 2
    assert "is in eu-west-1" in capsys.readouterr().err


def test_resume_tells_from_where_it_would_go_on(one: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    one.status = "ABORTED"
    one.attempt(FIRST)
    one.state("stopped")
    assert run(["resume", RUN, "--detach", "--from", "0", "--dry-run"]) == 0
    assert "it would go on from nothing" in capsys.readouterr().out
    assert run(["resume", RUN, "--detach", "--from", "7", "--dry-run"]) == 14
    assert not one.aws.of("StartExecution")
