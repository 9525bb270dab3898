"""Runs on this laptop, without an engine: where they lie, who works on one, how one stands, and what is refused."""

import hashlib
import os
from pathlib import Path

import pytest

from infra.errors import RunError
from provision.cli import run as command
from provision.engines import container, where
from provision.engines.container import Folders
from provision.engines.here import place
from provision.engines.here.bucket import Bucket
from provision.engines.here.engine import Here
from provision.recipes.loading import load
from provision.recipes.rendering import render
from provision.runs.manifest import Attempt, Manifest, Source
from provision.runs.store import AnyRun


def made() -> AnyRun:
    recipe, run = load("digits"), AnyRun(place.store(), "digits-1")
    data = Source("prepared", "digits", "/data/sets/digits")
    run.write_manifest(
        Manifest(
            "digits-1", "2026-01-01", recipe, render(recipe), "caffe", "caffe:1", "sha256:1", data, Source(), 0, "here",
            "laptop", "", "",
        )
    )  # fmt: skip
    return run


def test_a_run_of_this_laptop_is_found_without_a_question_to_a_cloud() -> None:
    run = made()

    def never() -> object:
        raise AssertionError("the cloud was asked")

    assert where.find("digits-1", never).manifest == run.manifest  # type: ignore[arg-type]
    assert isinstance(where.engine_of(run), Here)
    assert where.followed(run)[0] is None


def test_a_lock_is_one_process_s_and_a_look_takes_it_from_nobody() -> None:
    assert not place.is_held("digits-1")
    with place.held("digits-1") as mine:
        assert mine
        assert place.is_held("digits-1")
        with place.held("digits-1", patience=0.0) as second:
            assert not second
    assert not place.is_held("digits-1")


def test_how_a_run_stands_is_told_by_who_works_on_it() -> None:
    run, here = made(), Here()
    assert here.state(run).word == "lost"  # its client was killed before it began
    run.add_attempt(Attempt(1, "here", "here", "", "2026-01-01"))
    run.store.write(run.key("state.json"), b'{"state": "running", "attempt": 1}')
    with place.held(run.id):
        assert here.state(run).word == "running"
    assert here.state(run).word == "lost"
    run.store.write(run.key("state.json"), b'{"state": "finished", "attempt": 1}')
    assert here.state(run).word == "finished"
    with pytest.raises(RunError, match="does not run: it is finished"):
        here.stop(run)


def test_the_container_gets_folders_of_this_laptop_and_those_of_a_machine_else() -> None:
    manifest = made().manifest
    mine = {bind.target: bind.source for bind in container.binds(manifest, Folders("/w", "/d", ""))}
    assert mine == {"/work": "/w", "/data": "/d"}
    spec = container.spec(manifest, ["x"])
    assert {bind.target: bind.source for bind in spec.binds} == {
        "/work": "/var/lib/provision/runs/digits-1", "/data": "/data/sets/digits",
    }  # fmt: skip


def test_what_the_guard_writes_is_an_object_with_its_sum(tmp_path: Path) -> None:
    bucket, data = Bucket(place.store()), os.urandom(3_000_000)
    (tmp_path / "net").write_bytes(data)
    with (tmp_path / "net").open("rb") as source:
        sent = bucket.put_file("runs/a/snapshots/000000100-001/net", source.fileno())
    assert sent == {"name": "net", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    [(key, size, _)] = bucket.list("runs/a/snapshots/")
    assert (key, size) == ("runs/a/snapshots/000000100-001/net", len(data))
    bucket.get_file(key, str(tmp_path), "back/net")
    assert (tmp_path / "back/net").read_bytes() == data
    bucket.put("runs/a/state.json", b"{}")
    assert bucket.ask("GET", "runs/a/state.json") == "{}"
    bucket.ask("DELETE", "runs/a/state.json")
    with pytest.raises(FileNotFoundError):
        bucket.ask("GET", "runs/a/state.json")


def test_an_upload_that_is_broken_off_leaves_no_object(tmp_path: Path) -> None:
    bucket = Bucket(place.store())
    (tmp_path / "net").write_bytes(b"x" * 3_000_000)

    def newer() -> None:
        raise RuntimeError("a newer snapshot goes first")

    with (tmp_path / "net").open("rb") as source, pytest.raises(RuntimeError, match="newer"):
        bucket.put_file("runs/a/net", source.fileno(), newer)
    assert bucket.list("") == []
    assert list((place.store().root / ".new").iterdir()) == []


def test_no_machine_is_called_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["up", "--instance", "p3.8xlarge", "--name", "here", "--dry-run"]) == 2
    assert "here is this laptop" in capsys.readouterr().err


def test_a_run_of_this_laptop_goes_on_nowhere_else(capsys: pytest.CaptureFixture[str]) -> None:
    made()
    assert command(["resume", "digits-1", "--on", "lab"]) == 2
    assert "the run lies on this laptop, and lab cannot reach it" in capsys.readouterr().err
    assert command(["resume", "digits-1", "--budget", "3"]) == 2
    assert "--budget is for a machine that is rented" in capsys.readouterr().err
