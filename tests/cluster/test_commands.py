"""The story as a user types it: add a cluster, train there, follow, stop, resume, fetch, and leave nothing."""

import json
from pathlib import Path

import pytest

from provision import cli
from provision.engines.slurm import cluster as clusters
from tests.cluster.cluster_kit import until
from tests.cluster.run_kit import Bench

pytestmark = pytest.mark.engine


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user of a campus cluster has no account at AWS, and needs none."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command prints on standard output; it has to succeed."""
    capsys.readouterr()
    code = cli.run(list(words))
    found = capsys.readouterr()
    assert code == 0, found.err
    return found.out


def test_from_a_laptop_to_a_training_on_a_cluster_and_home_again(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = bench.place.door.root
    assert "containers by charliecloud" in said(capsys, "cluster", "add", "campus", "campus", "--shared", shared)
    assert "V100" in said(capsys, "cluster", "ls")
    words = ("train", "digits", "--on", "campus", "--image", "caffe-debian", "--set", "iterations=4000")
    assert "caffe-debian" in said(capsys, *words, "--dry-run")
    begun = json.loads(said(capsys, *words, "--set", "snapshot_every=100", "--detach", "--json"))
    run = begun["run"]
    assert begun["cluster"] == "campus" and cli.run(["resume", run]) == 13  # it goes on
    rows = lambda: json.loads(said(capsys, "runs", "--json"))  # noqa: E731
    until(lambda: [row["state"] for row in rows()] == ["running"] and rows()[0]["snapshot"], "it trains", 120)
    assert rows()[0]["machine"] == "campus" and rows()[0]["about"].startswith("job ")
    assert f"{run} is stopped" in said(capsys, "stop", run)
    stopped_at = rows()[0]["snapshot"]
    assert "would go on" in said(capsys, "resume", run, "--dry-run")
    assert "in the queue of campus" in said(capsys, "resume", run, "--detach")
    until(lambda: rows()[0]["attempts"] == 2 and rows()[0]["state"] == "running", "it goes on", 120)
    said(capsys, "stop", run)
    times = json.loads(said(capsys, "events", run, "--json"))
    assert {event["attempt"] for event in times} >= {1, 2}
    log = said(capsys, "logs", run)
    assert f"digits_iter_{stopped_at}.solverstate" in log
    said(capsys, "fetch", run, str(tmp_path / "home-again"))
    assert list((tmp_path / "home-again").rglob("*.caffemodel"))
    assert bench.slurm.queue() == []
    bench.slurm.alice("mkdir", "-p", f"{shared}/work/{run}/003")  # as of an attempt that failed
    said(capsys, "rm", run)
    assert rows() == [] and bench.place.folders("work/") == []


def test_a_training_that_is_followed_ends_as_the_run_did(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    clusters.save(bench.known)
    words = ("train", "digits", "--on", "campus", "--image", "caffe-debian", "--set", "iterations=200")
    found = said(capsys, *words)
    assert "finished" in found and "fetch" in found
    run = json.loads(said(capsys, "runs", "--json"))[0]["run"]
    assert "Optimization Done." in said(capsys, "logs", run, "-f")
    assert said(capsys, "diagnose", run) is not None


def test_a_command_that_is_refused_leaves_nothing_on_the_cluster(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    clusters.save(
        clusters.Cluster("campus", "campus", partition="nowhere", shared="/shared/x", known=bench.known.known)
    )
    assert cli.run(["train", "digits", "--on", "campus", "--image", "caffe-debian"]) == 2
    assert cli.run(["train", "digits", "--on", "campus", "--gpus", "9"]) == 2
    assert cli.run(["train", "digits", "--on", "campus", "--budget", "9"]) == 2
    clusters.save(bench.known)
    assert cli.run(["train", "digits", "--on", "campus", "--image", "caffe-debian", "--max-hours", "9"]) == 2
    assert "run so long" in capsys.readouterr().err
    assert bench.place.folders("runs/") == [] and bench.slurm.queue() == []
