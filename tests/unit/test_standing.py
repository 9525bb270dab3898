"""How a run stands is read once; what follows from it is decided without a clock and without AWS."""

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any, cast

import pytest

from infra.aws.s3 import S3, Stored
from infra.aws.types import Instance
from provision.commands import machine_tables
from provision.recipes.loading import load
from provision.recipes.rendering import render
from provision.runs import standing, table
from provision.runs.manifest import Attempt, Manifest, RunState, Source
from provision.runs.standing import Standing
from provision.runs.store import Run
from tests.unit.test_fetch import Bucket

FIRST = Attempt(1, "i-1", "lab", "us-east-1a", "2026-01-01")
SECOND = Attempt(2, "i-2", "lab", "us-east-1b", "2026-01-02", resumed_from=500)


def machine(state: str, reason: str = "") -> Instance:
    at = datetime(2026, 1, 1, tzinfo=timezone.utc)
    return Instance("i-1", "lab", state, "p3.8xlarge", "us-east-1a", "spot", "203.0.113.9", at, {}, reason=reason)


@pytest.mark.parametrize(
    ("now", "word"),
    [
        (Standing(), "starting"),
        (Standing(RunState("running", 1), [FIRST]), "running"),
        (Standing(RunState("interrupted", 1), [FIRST, SECOND]), "starting"),  # of an earlier attempt
        (Standing(RunState("running", 1), [FIRST], machine=machine("running"), asked=True), "running"),
        (Standing(RunState("running", 1), [FIRST], machine=machine("terminated"), asked=True), "lost"),
        (Standing(RunState("running", 1), [FIRST], asked=True), "lost"),
        (Standing(RunState("finished", 1), [FIRST], machine=machine("terminated"), asked=True), "finished"),
        (Standing(RunState("interrupted", 1), [FIRST], machine=machine("terminated"), asked=True), "interrupted"),
        (Standing(asked=True), "starting"),  # no attempt has a machine yet
    ],
)
def test_one_word_says_how_a_run_stands(now: Standing, word: str) -> None:
    assert now.word == word
    assert now.goes_on == (word in ("starting", "running"))
    assert now.broken_off == (word in ("interrupted", "lost"))


@pytest.mark.parametrize(
    ("reason", "state", "why", "taken"),
    [
        ("spot interruption", "running", "", True),
        ("the machine ends", "terminated", "Server.SpotInstanceTermination", False),  # the guard's word counts
        (None, "terminated", "Server.SpotInstanceTermination", True),
        (None, "terminated", "Client.UserInitiatedShutdown", False),
        (None, "terminated", "Client.InstanceInitiatedShutdown", False),
    ],
)
def test_only_a_machine_that_aws_took_is_replaced(reason: str | None, state: str, why: str, taken: bool) -> None:
    now = Standing(RunState("interrupted", 1, reason=reason), [FIRST], machine=machine(state, why), asked=True)
    assert now.taken_away is taken


def test_a_machine_that_ec2_does_not_know_any_more_counts_as_taken() -> None:
    assert Standing(RunState("running", 1), [FIRST], asked=True).taken_away


class Counted(Bucket):
    """Counts listings and reads of whole objects."""

    def __init__(self) -> None:
        super().__init__()
        self.listed: list[str] = []
        self.read_whole: list[str] = []

    def objects(self, prefix: str) -> list[Stored]:
        self.listed.append(prefix)
        return super().objects(prefix)

    def read_json(self, key: str) -> Any:
        self.read_whole.append(key)
        return super().read_json(key)

    def folders(self, prefix: str) -> list[str]:
        return sorted({key.removeprefix(prefix).split("/")[0] for key in self.held if key.startswith(prefix)})

    def exists(self) -> bool:
        return True


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Counted:
    found = Counted()
    monkeypatch.setattr(table.store, "store", lambda _: found)
    return found


def add(
    bucket: Bucket, run_id: str, state: dict[str, Any] | None, *attempts: Attempt, marks: tuple[str, ...] = ()
) -> None:
    run = Run(cast(S3, bucket), run_id)
    recipe = load("digits")
    run.write_manifest(
        Manifest(
            run_id, "2026-01-01", recipe, render(recipe), "caffe", "caffe:1", "sha256:1", Source(), Source(), 0,
            "lab", "p3.8xlarge", "spot", "us-east-1",
        )
    )  # fmt: skip
    for attempt in attempts:
        run.add_attempt(attempt)
    if state is not None:
        bucket.write_json(run.key("state.json"), state)
    for mark in marks:
        bucket.held[run.key("snapshots", mark, "complete.json")] = b"{}"


def test_the_table_costs_one_listing_a_run_and_one_question_to_ec2(
    bucket: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = {"state": "finished", "attempt": 1, "instance": "i-1", "machine": "lab"}
    add(bucket, "a-20260101-101500-ab12", done, FIRST, marks=("000000500", "000001000-001"))
    add(bucket, "b-20260101-101500-ab12", {"state": "running", "attempt": 2}, FIRST, SECOND, marks=("000000500-002",))
    add(bucket, "c-20260101-101500-ab12", None)
    asked: list[bool] = []

    class Ec2:
        def __init__(self, _: object) -> None: ...

        def instances(self, alive: bool) -> list[Instance]:
            asked.append(alive)
            return [machine("running")]  # i-1; i-2 is gone

    monkeypatch.setattr(standing, "Ec2", Ec2)
    cloud: Any = None
    rows = [table.row(seen) for seen in table.every(cloud)]
    assert [(row.run[0], row.state, row.attempts, row.snapshot, row.machine) for row in rows] == [
        ("a", "finished", 1, 1000, "lab"), ("b", "lost", 2, 500, "lab"), ("c", "starting", 0, None, ""),
    ]  # fmt: skip
    assert rows[0].created == "2026-01-01T10:15:00+00:00"
    assert asked == [False]
    assert len(bucket.listed) == 3
    read = sorted(key.rsplit("/", 1)[-1] for key in bucket.read_whole)
    assert read == ["002.json", "state.json", "state.json"]  # the guard's word is enough, where it is of now


@pytest.mark.parametrize(("attempts", "marks", "newest"), [
    ((FIRST, replace(SECOND, resumed_from=200, chosen=True)), ("000000200-001", "000000800-001"), 200),
    ((FIRST, replace(SECOND, resumed_from=200, chosen=True)), ("000000800-001", "000000300-002"), 300),
    ((FIRST, replace(SECOND, resumed_from=0, chosen=True)), ("000000800-001",), None),
    ((FIRST, replace(SECOND, resumed_from=800)), ("000000200-001", "000000800-001"), 800),
    ((FIRST, replace(SECOND, resumed_from=200, chosen=True), replace(SECOND, number=3, resumed_from=300)),
     ("000000800-001", "000000300-002"), 300),
])  # fmt: skip
def test_the_table_shows_the_snapshot_from_which_a_run_would_go_on(
    bucket: Counted, attempts: tuple[Attempt, ...], marks: tuple[str, ...], newest: int | None
) -> None:
    """After `resume --from 200` those beyond 200 of earlier attempts count no more."""
    done = {"state": "finished", "attempt": len(attempts), "instance": "i-1", "machine": "lab"}
    add(bucket, "a-20260101-101500-ab12", done, *attempts, marks=marks)
    cloud: Any = None
    [row] = [table.row(seen) for seen in table.every(cloud)]
    assert row.snapshot == newest
    read = [key for key in bucket.read_whole if "/attempts/" in key]
    assert len(read) == len(set(read))


def test_one_run_that_cannot_be_read_does_not_hide_the_others(
    bucket: Counted, capsys: pytest.CaptureFixture[str]
) -> None:
    add(bucket, "a-20260101-101500-ab12", {"state": "finished", "attempt": 1}, FIRST)
    add(bucket, "b-20260101-101500-ab12", None, FIRST)
    bucket.held["runs/b-20260101-101500-ab12/attempts/001.json"] = b'{"number": "one"}'
    cloud: Any = None
    add(bucket, "c-20269999-999999-ab12", None)  # somebody's own name
    assert [row.state for row in map(table.row, table.every(cloud))] == ["finished", "unreadable", "starting"]
    assert "b-20260101-101500-ab12: runs/b-20260101-101500-ab12/attempts/001.json: Ex" in capsys.readouterr().err


def test_a_manifest_of_an_earlier_version_is_read(bucket: Counted) -> None:
    """Its settings were fewer; what was not written down is as this laptop's settings say."""
    add(bucket, "a-1", None)
    raw = json.loads(bucket.held["runs/a-1/manifest.json"])
    raw["settings"] = {"push_seconds": 5.0, "ports": [8888], "disk_gb": 200, "max_hours": 12.0, "max_price": None,
                       "budget": 20.0, "own_machine": True, "diagnose": False, "started_by": "me@here"}  # fmt: skip
    bucket.write_json("runs/a-1/manifest.json", raw)
    kept = Run(cast(S3, bucket), "a-1").manifest.settings
    assert (kept.disk_gb, kept.budget, kept.ports, kept.own_machine) == (200, 20.0, (8888,), True)
    assert (kept.via, kept.idle_minutes, kept.volumes) == (None, None, ())


NOW = datetime(2026, 1, 1, 12, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("state", "minutes"),
    [
        (RunState("running", 1, seen="2026-01-01T11:53:00Z"), 7),
        (RunState("running", 1, seen="2026-01-01T11:58:00Z"), None),
        (RunState("running", 1, seen="2026-01-01T12:58:00Z"), None),  # the host's clock is ahead
        (RunState("running", 1), None),  # an earlier version writes no times
        (RunState("running", 1, seen="whenever"), None),
        (RunState("finished", 1, seen="2026-01-01T01:00:00Z"), None),
    ],
)
def test_a_silence_is_told_of_what_goes_on(state: RunState, minutes: int | None) -> None:
    silence = Standing(state, [FIRST], machine=machine("running"), asked=True).silence(NOW)
    assert (None if silence is None else silence / timedelta(minutes=1)) == minutes


def test_a_machine_that_is_silent_for_too_long_counts_as_lost_and_is_replaced() -> None:
    now = Standing(RunState("running", 1), [FIRST], machine=machine("running"), asked=True, silent=True)
    assert (now.word, now.taken_away, now.broken_off, now.unknown) == ("lost", True, True, False)
    done = Standing(RunState("finished", 1), [FIRST], machine=machine("running"), asked=True, silent=True)
    assert done.word == "finished"


def test_runs_and_ls_show_who_is_not_heard(bucket: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    def state(seen: datetime, word: str = "running") -> dict[str, Any]:
        return {"state": word, "attempt": 1, "instance": "i-1", "machine": "lab", "seen": seen.isoformat()}

    now = datetime.now(timezone.utc)
    add(bucket, "a-20260101-101500-ab12", state(now - timedelta(minutes=30)), FIRST)
    monkeypatch.setattr(standing, "Ec2", lambda _: SimpleNamespace(instances=lambda alive: [machine("running")]))
    cloud: Any = None
    assert [(row.state, row.heard) for row in map(table.row, table.every(cloud))] == [("running", "silent for 30 min")]
    there = replace(machine("running"), id="i-1")
    silent = machine_tables.silent([cloud])
    assert machine_tables.row(there, silent["i-1"])["silent_minutes"] == 30
    assert "running, silent for 30 min" in machine_tables.cells(there, silent["i-1"])
    add(bucket, "a-20260101-101500-ab12", state(now), FIRST)
    assert machine_tables.silent([cloud]) == {}
    assert machine_tables.row(there)["silent_minutes"] is None
