"""Runs on this laptop for real: Caffe trains digits, whoever dies; what is saved is gone on from."""

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from images.build import build
from images.choose import choose
from tests.engine.here_kit import SHELL, Laptop, kill, laptop, wait
from tests.task_kit import write_recipe

pytestmark = pytest.mark.engine
SHORT = ("--set", "iterations=300", "--set", "snapshot_every=100", "--set", "test_every=300")
ENDLESS = ("--set", "iterations=1000000", "--set", "snapshot_every=50", "--set", "test_every=1000000")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image is there, and the data is prepared once."""
    build(choose("caffe-debian"), SHELL)
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def here(tmp_path: Path, cache: Path) -> Iterator[Laptop]:
    (tmp_path / "cache").symlink_to(cache)
    with laptop(tmp_path) as one:
        yield one


def begun(here: Laptop, *options: str) -> str:
    """A training that has begun, and is not followed."""
    answer = json.loads(here.run("train", "digits", "--on", "here", "--detach", "--json", *options))
    assert answer["machine"] == "here"
    return str(answer["run"])


def saved(here: Laptop, run: str) -> list[str]:
    """Its complete snapshots, by name."""
    return sorted(path.parent.name for path in here.folder(run).glob("snapshots/*/complete.json"))


def saved_by(here: Laptop, run: str, number: int) -> list[str]:
    """Those that this attempt made."""
    return [name for name in saved(here, run) if name.endswith(f"-{number:03d}")]


def sums(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("digits_iter_*")}


def test_a_training_outlives_its_client_and_is_used_as_any_other(here: Laptop, tmp_path: Path) -> None:
    write_recipe(tmp_path / "recipes/digits")
    client = here.client("train", str(tmp_path / "recipes/digits"), "--on", "here", *SHORT)
    wait(lambda: list(here.home.glob("state/provision/here/runs/*/attempts/001.json")))
    client.kill()
    client.wait()
    run = here.only
    log = here.run("logs", run, "-f")
    wait(here.nothing_left)
    assert "Optimization Done." in log
    row = here.rows()[run]
    assert (row["state"], row["attempts"], row["snapshot"], row["machine"]) == ("finished", 1, 300, "here")
    assert here.run("logs", run) == log
    assert here.nothing_left()
    assert [event["what"] for event in json.loads(here.run("events", run, "--json"))] == ["got", *["saved"] * 3]
    here.run("fetch", run, str(tmp_path / "out"))
    assert sums(tmp_path / "out/snapshots") == sums(here.folder(run) / "snapshots/000000300-001")
    assert f"{run}: " in here.run("diagnose", run)
    scores = json.loads(here.run("score", run, "--json", "--out", str(tmp_path / "score")))["scores"]
    assert [one["iteration"] for one in scores] == [100, 200, 300]
    here.run("rm", run)
    assert not here.folder(run).exists()


@pytest.mark.long
def test_a_stopped_training_goes_on_from_its_last_iteration_and_the_same_each_time(here: Laptop) -> None:
    run = begun(here, *ENDLESS)
    wait(lambda: saved(here, run))
    assert "is stopped" in here.run("stop", run)
    assert here.nothing_left()
    newest = saved(here, run)[-1]
    at = int(newest.partition("-")[0])
    refused = here.run("stop", run, code=13)
    assert "does not run: it is stopped" in refused
    made = []
    for number in (2, 3):
        here.run("resume", run, "--from", str(at), "--detach")
        wait(partial(saved_by, here, run, number))
        assert "goes on already" in here.run("resume", run, code=13)
        here.run("stop", run)
        attempt = json.loads((here.folder(run) / f"attempts/{number:03d}.json").read_text())
        assert attempt["resumed_from"] == at
        log = b"".join(path.read_bytes() for path in sorted(here.folder(run).glob(f"log/{number:03d}-*")))
        assert b"Resuming from snapshots/digits_iter_%d.solverstate" % at in log
        first = min(saved_by(here, run, number))
        made.append((first.partition("-")[0], sums(here.folder(run) / "snapshots" / first)))
    assert made[0] == made[1]  # bit for bit


def test_whoever_sees_to_a_training_may_be_killed_as_well(here: Laptop) -> None:
    run = begun(here, *ENDLESS)
    wait(lambda: saved(here, run))
    kill(here.runner(run))
    [container] = here.containers()
    assert here.rows()[run]["state"] == "running"  # the look has put somebody else in its place
    before = len(saved(here, run))
    wait(lambda: len(saved(here, run)) > before)
    assert here.containers() == [container]
    assert "goes on already" in here.run("resume", run, code=13)
    kill(here.runner(run))
    SHELL.run(["docker", "kill", container])
    wait(lambda: here.rows()[run]["state"] == "failed")  # what nobody asked for is a failure
    wait(here.nothing_left)


@pytest.mark.long
def test_a_laptop_that_was_restarted_shows_an_interrupted_run_that_goes_on(here: Laptop) -> None:
    """The restart is played: the process is killed, the container ended, and the notes are of another start."""
    run = begun(here, *ENDLESS)
    wait(lambda: saved(here, run))
    kill(here.runner(run))
    plan = here.home / f"state/provision/here.work/guard/{run}/plan.json"
    plan.write_text(json.dumps({**json.loads(plan.read_text()), "boot": "another"}))
    SHELL.run(["docker", "kill", *here.containers()])
    wait(lambda: here.rows()[run]["state"] == "interrupted")
    state = json.loads((here.folder(run) / "state.json").read_text())
    assert state["reason"] == "this laptop was restarted"
    newest = int(saved(here, run)[-1].partition("-")[0])
    here.run("resume", run, "--detach")
    attempt = json.loads((here.folder(run) / "attempts/002.json").read_text())
    assert attempt["resumed_from"] == newest
    here.run("stop", run)


@pytest.mark.long
def test_a_laptop_that_is_switched_off_saves_the_work_first(here: Laptop) -> None:
    run = begun(here, *ENDLESS)
    wait(lambda: saved(here, run))
    os.kill(here.runner(run), signal.SIGTERM)
    wait(lambda: here.rows()[run]["state"] == "interrupted")
    wait(here.nothing_left)
    log = here.run("logs", run)
    last = int(saved(here, run)[-1].partition("-")[0])
    assert f"digits_iter_{last}.solverstate" in log[-3000:]  # it was made at the end, between two of the recipe's
    assert last % 50 or f"Iteration {last + 50}" not in log


@pytest.mark.long
def test_ctrl_c_saves_the_work_and_stops(here: Laptop) -> None:
    client = here.client("train", "digits", "--on", "here", *ENDLESS)
    wait(lambda: list(here.home.glob("state/provision/here/runs/*/snapshots/*/complete.json")))
    client.send_signal(signal.SIGINT)
    assert client.wait(120) == 130
    assert here.rows()[here.only]["state"] == "stopped"
    assert here.nothing_left()


@pytest.mark.long
def test_of_two_who_go_on_at_once_one_trains(here: Laptop) -> None:
    run = begun(here, *ENDLESS)
    wait(lambda: saved(here, run))
    here.run("stop", run)
    clients = [here.client("resume", run, "--detach") for _ in range(3)]
    codes = sorted(client.wait(180) for client in clients)
    assert codes == [0, 13, 13]
    assert len(here.containers()) == 1
    assert sorted(path.name for path in (here.folder(run) / "attempts").iterdir()) == ["001.json", "002.json"]
    here.run("stop", run)


@pytest.mark.long
def test_a_training_that_fails_says_why(here: Laptop) -> None:
    said = here.run("train", "digits", "--on", "here", "--set", "learning_rate=1e30", *SHORT, code=13)
    assert "failed" in said or "diverged" in said
    assert here.nothing_left()


def test_what_this_laptop_has_not_is_refused_before_anything_is_done(here: Laptop) -> None:
    assert "this laptop has 0 GPUs, not 2" in here.run("train", "digits", "--on", "here", "--gpus", "2", code=13)
    assert "is in S3" in here.run("train", "digits", "--on", "here", "--data", "s3://bucket/x", code=2)
    assert "--budget" in here.run("train", "digits", "--on", "here", "--budget", "3", code=2)
    assert not (here.home / "state/provision/here").exists()


@pytest.mark.long
def test_what_a_training_writes_leads_nowhere(here: Laptop) -> None:
    """It may put links in the place of its snapshots and of its log: nothing of the user's is copied by them."""
    secret = here.home / "secret"
    secret.write_text("of the user")
    run = begun(here, *ENDLESS)
    wait(lambda: saved(here, run))
    work = here.home / f"state/provision/here.work/runs/{run}"
    for part in ("caffemodel", "solverstate"):
        (work / f"snapshots/digits_iter_999999.{part}").symlink_to(secret)
    log = work / "log/attempt-001.txt"
    log.rename(log.with_name("old"))
    log.symlink_to(secret)
    before = len(saved(here, run))
    wait(lambda: len(saved(here, run)) > before)
    here.run("stop", run)
    texts = [path.read_bytes() for path in here.folder(run).rglob("*") if path.is_file()]
    assert not any(b"of the user" in text for text in texts)
    assert not any(name.startswith("000999999") for name in saved(here, run))


@pytest.mark.long
def test_ctrl_c_before_the_training_has_begun_leaves_nothing(here: Laptop) -> None:
    client = here.client("train", "digits", "--on", "here", *ENDLESS)
    wait(lambda: list(here.home.glob("state/provision/here.work/locks/digits-*")))  # its process has begun
    client.send_signal(signal.SIGINT)
    assert client.wait(120) == 130
    assert list(here.home.glob("state/provision/here/runs/*")) == []
    assert not SHELL.run(["docker", "ps", "-aq", "--filter", f"volume={here.home}"]).out
    wait(here.nothing_left)
