"""The commands on a run that AWS keeps, as a user of any laptop types them."""

import json
from pathlib import Path

import pytest

from provision import clouds
from provision.cli import run
from provision.training import kept as trainings
from tests.unit.fake_aws import CLOUD
from tests.unit.fake_s3 import FakeS3
from tests.unit.kept_kit import RUN
from tests.unit.test_kept import FIRST, WAITING, Kept


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


def test_stop_tells_what_it_would_do(one: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["stop", RUN, "--dry-run"]) == 0
    assert f"would stop the keeper of {RUN}" in capsys.readouterr().out
    assert not one.aws.of("StopExecution")


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
