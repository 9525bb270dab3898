"""Runs leave S3: when their user says so, and when nothing but a laptop's own small files is left of them."""

import dataclasses
import json
import sys
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from infra.aws.s3 import S3
from infra.errors import NotFoundError, RunError, UsageError
from provision import clouds
from provision.cli import run as provision
from provision.clouds import Session
from provision.recipes.loading import load
from provision.recipes.rendering import render
from provision.runs import expiry, notes, removal, standing, table
from provision.runs.manifest import Attempt, Manifest, RunSettings, Source
from provision.runs.store import Run
from provision.settings import Settings
from tests.unit.fake_aws import Refused
from tests.unit.fake_s3 import NAME, OURS, FakeS3

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=timezone.utc)
OLD, YOUNG = "digits-20261001-120000-ab12", "digits-20261125-120000-cd34"
RULES = [{"ID": "provision", "Expiration": {"Days": 30}}]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> FakeS3:
    found = FakeS3()
    found.rules = RULES
    monkeypatch.setattr(expiry, "caller", lambda _: SimpleNamespace(clock=NOW))
    return found


@pytest.fixture
def place(aws: FakeS3) -> S3:
    return S3(aws.cloud, NAME, OURS)


def made(place: S3, aws: FakeS3, run_id: str, state: str = "finished") -> Run:
    """A run of the time that its id tells, with an attempt, a state and a log."""
    run, recipe = Run(place, run_id), load("digits")
    run.write_manifest(
        Manifest(
            run_id, "2026-10-01", recipe, render(recipe), "caffe", "caffe:1", "sha256:1", Source(), Source(), 0,
            "lab", "p3.8xlarge", "spot", "us-east-1",
        )
    )  # fmt: skip
    run.add_attempt(Attempt(1, "i-1", "lab", "us-east-1a", "2026-10-01"))
    told = {"state": state, "attempt": 1, "instance": "i-1", "machine": "lab"}
    place.write_json(run.key("state.json"), told)
    place.write(run.key("log", "001-000000000000"), bytes(1 << 20))
    aged(aws, run, datetime.strptime(run_id.split("-")[1], "%Y%m%d").replace(tzinfo=timezone.utc))
    return run


def aged(aws: FakeS3, run: Run, at: datetime) -> None:
    """All of the run was written then."""
    for key in [key for key in aws.held if key.startswith(run.prefix)]:
        aws.put(key, aws.held[key][0], at)


def left(aws: FakeS3) -> set[str]:
    return {key.split("/")[1] for key in aws.held}


# what nobody deleted


def test_what_is_left_of_an_expired_run_is_swept(aws: FakeS3, place: S3) -> None:
    old, young = made(place, aws, OLD), made(place, aws, YOUNG)
    place.delete([old.key("log", "001-000000000000"), old.key("state.json")])  # by the bucket's rule
    assert expiry.sweep(place) == [OLD]
    assert left(aws) == {YOUNG}
    assert notes.read(place, OLD) is None and notes.read(place, YOUNG) is not None
    assert young.attempts()


def test_a_run_that_a_guard_still_renews_keeps_its_old_manifest(aws: FakeS3, place: S3) -> None:
    """It trains for longer than expire_days: its manifest and its first attempt are older than that."""
    run = made(place, aws, OLD, "running")
    aws.put(run.key("log", "001-000000000000"), b"renewed", NOW - timedelta(days=1))
    assert expiry.sweep(place) == []
    assert run.next_number() == 2


def test_a_run_that_a_keeper_still_waits_with_is_not_swept(aws: FakeS3, place: S3) -> None:
    """Nobody writes to its folder while AWS has no machine."""
    run = made(place, aws, OLD, "interrupted")
    execution = f"arn:aws:states:us-east-1:{OURS}:execution:provision-keeper-1:{OLD}-1"
    began, ends = "2026-10-01T12:00:00+00:00", "2026-12-01T12:00:00+00:00"
    keeping = {"execution": execution, "launch": "l", "number": 1, "started": began, "ends": ends}
    place.write_json(run.key("keeper.json"), keeping)
    aged(aws, run, NOW - timedelta(days=40))
    aws.answers["DescribeExecution"] = {"status": "RUNNING"}
    assert expiry.sweep(place) == []
    aws.answers["DescribeExecution"] = Refused("AccessDeniedException")  # it may wait
    assert expiry.sweep(place) == []
    aws.answers["DescribeExecution"] = {"status": "FAILED"}
    assert expiry.sweep(place) == [OLD]


@pytest.mark.parametrize(
    ("age", "hours", "refused"),
    [(0, 168, False), (0, 720, True), (20, 168, False), (25, 168, True), (28, 1, False), (29, 1, True)],
)
def test_no_keeper_waits_for_longer_than_s3_keeps_the_snapshots(
    aws: FakeS3, place: S3, age: int, hours: float, refused: bool
) -> None:
    """The next machine would find none, and begin from nothing."""
    run = made(place, aws, YOUNG, "interrupted")
    aws.put(run.key("snapshots", "000000100-001", "complete.json"), b"{}", NOW - timedelta(days=age))
    if not refused:
        expiry.refuse_long_wait(run, hours)
        return
    with pytest.raises(UsageError, match="snapshots of"):
        expiry.refuse_long_wait(run, hours)


def test_s3_is_given_time_to_expire_the_rest(aws: FakeS3, place: S3) -> None:
    run = made(place, aws, OLD)
    aged(aws, run, NOW - timedelta(days=31))
    assert expiry.sweep(place) == []
    aged(aws, run, NOW - timedelta(days=33))
    assert expiry.sweep(place) == [OLD]


def test_nothing_is_swept_by_this_laptops_clock_or_without_a_rule(
    aws: FakeS3, place: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(place, aws, OLD)
    aws.rules = []
    assert expiry.sweep(place) == []
    aws.rules = RULES
    monkeypatch.setattr(expiry, "caller", lambda _: SimpleNamespace(clock=None))
    assert expiry.sweep(place) == []


def test_a_sweep_that_is_refused_is_no_matter(aws: FakeS3, place: S3) -> None:
    made(place, aws, OLD)
    aws.answers["DeleteObjects"] = Refused("AccessDenied")
    assert expiry.sweep(place) == []


@pytest.mark.parametrize(("hours", "said"), [(24.0, False), (720.0, False), (721.0, True)])
def test_a_machine_that_may_outlive_what_s3_keeps_is_told(
    aws: FakeS3, place: S3, hours: float, said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = made(place, aws, OLD).manifest
    expiry.tell(dataclasses.replace(manifest, settings=RunSettings(max_hours=hours)), 30)
    assert ("S3 keeps a run for 30 days" in capsys.readouterr().err) == said


# what the user deletes


@pytest.fixture
def runs(aws: FakeS3, place: S3, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """An old run, a young one, and an old one that trains on a machine that lives."""

    class Ec2:
        def __init__(self, _: object) -> None: ...

        def instances(self, alive: bool) -> list[Any]:
            return [SimpleNamespace(id="i-1", state="running")]

    monkeypatch.setattr(standing, "Ec2", Ec2)
    monkeypatch.setattr(clouds, "session", lambda **_: Session(aws.cloud, Settings()))
    monkeypatch.setattr(expiry, "sweep", lambda _: [])
    going = made(place, aws, "digits-20261002-120000-ef56", "running")
    return [made(place, aws, OLD), made(place, aws, YOUNG), going]


def test_named_runs_are_deleted_whole_without_a_question(runs: list[Run], aws: FakeS3) -> None:
    assert provision(["rm", OLD, YOUNG]) == 0
    assert left(aws) == {runs[2].id}
    assert not notes.path(runs[0].store, OLD).exists()


def test_a_run_that_goes_on_is_not_deleted_nor_those_beside_it(
    runs: list[Run], aws: FakeS3, capsys: pytest.CaptureFixture[str]
) -> None:
    assert provision(["rm", OLD, runs[2].id]) == RunError.exit_code
    said = capsys.readouterr().err
    assert f"{runs[2].id} is running: nothing was deleted" in said and f"provision stop {runs[2].id}" in said
    assert left(aws) == {run.id for run in runs}


def test_a_run_that_is_not_there_is_named(runs: list[Run], aws: FakeS3, capsys: pytest.CaptureFixture[str]) -> None:
    assert provision(["rm", OLD + "x"]) == NotFoundError.exit_code
    assert OLD in capsys.readouterr().err
    assert left(aws) == {run.id for run in runs}


def test_a_run_of_which_the_manifest_is_gone_can_be_deleted(runs: list[Run], aws: FakeS3) -> None:
    runs[0].store.delete([runs[0].key("manifest.json")])
    assert provision(["rm", OLD]) == 0
    assert OLD not in left(aws)


def test_the_manifest_goes_last(runs: list[Run], aws: FakeS3) -> None:
    """What was broken off can be done again."""
    aws.calls.clear()
    provision(["rm", OLD])
    deleted = [[one["Key"] for one in words["Delete"]["Objects"]] for words in aws.of("DeleteObjects")]
    assert deleted[-1] == [runs[0].key("manifest.json")]
    assert len(deleted) == 2


def test_older_ones_are_asked_about_or_forced(
    runs: list[Run], aws: FakeS3, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = left(aws)
    days = f"{(datetime.now(timezone.utc) - datetime(2026, 11, 1, tzinfo=timezone.utc)).days}d"
    assert provision(["rm", "--older", days, "--dry-run"]) == 0
    told = capsys.readouterr()
    assert OLD in told.out and YOUNG not in told.out
    assert f"{runs[2].id} is running: it stays" in told.err
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    assert provision(["rm", "--older", days]) == 2
    assert left(aws) == before
    assert provision(["rm", "--older", days, "--force"]) == 0
    assert "deleted 1 run," in capsys.readouterr().out
    assert left(aws) == before - {OLD}


@pytest.mark.parametrize("words", [["rm"], ["rm", OLD, "--older", "3d"], ["rm", "--older", "soon"]])
def test_what_is_to_go_has_to_be_said(runs: list[Run], aws: FakeS3, words: list[str]) -> None:
    assert provision(words) == 2
    assert left(aws) == {run.id for run in runs}


def test_the_answer_as_json(runs: list[Run], aws: FakeS3, capsys: pytest.CaptureFixture[str]) -> None:
    assert provision(["rm", OLD, "--json", "--dry-run"]) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert (row["run"], row["state"], row["attempts"]) == (OLD, "finished", 1)
    assert OLD in left(aws)


def test_the_table_tells_what_a_run_costs_a_month(runs: list[Run], aws: FakeS3) -> None:
    aws.put(runs[0].key("outputs", "net"), b"x")
    [seen] = table.look(aws.cloud, [runs[0]])
    big = dataclasses.replace(seen, objects=[dataclasses.replace(seen.objects[0], size=50 << 30)])
    assert table.row(big).usd_month == "$1.15"
    assert removal.named(aws.cloud, [OLD])[0].size > 1 << 20
