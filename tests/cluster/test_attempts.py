"""Attempts of a run on a real Slurm: through preemption, time limits, dead nodes; and those that are not repeated."""

import hashlib
from dataclasses import replace

import msgspec
import pytest

from infra.errors import HostError, RunError
from provision.engines.slurm import bundle, order, submitting
from provision.engines.slurm.submitting import Limits
from provision.recipes.spec import Weights
from provision.training import on_cluster
from provision.training.on_cluster import There
from tests.cluster.cluster_kit import docker, until
from tests.cluster.run_kit import LONG, Bench

pytestmark = pytest.mark.engine


def test_a_training_runs_to_its_end_and_leaves_its_log_its_snapshots_and_nothing_in_the_queue(bench: Bench) -> None:
    run = bench.planned({"iterations": "200", "snapshot_every": "100", "test_every": "100"})
    bench.begin(run)
    assert bench.ended(run).word == "finished", bench.printed(run)
    assert [snapshot.iteration for snapshot in run.snapshots()] == [100, 200]
    assert "Optimization Done." in bench.log(run)
    bench.nothing_queued()
    assert bench.place.folders("work/" + run.id + "/") == []


def test_a_preempted_training_saves_at_once_and_goes_on_from_there(bench: Bench) -> None:
    run = bench.planned(LONG)
    job = bench.begin(run)
    before = bench.snapshot(run)
    for node in (1, 2):  # all of both nodes' GPUs
        bench.slurm.alice("sbatch", "-p", "urgent", "--gres=gpu:2", f"--nodelist=n{node}", "--wrap", "sleep 5")
    bench.until(run, lambda now: now.word == "interrupted", "it is interrupted")
    saved = run.snapshots()[-1].iteration
    assert saved > before and "Snapshotting solver state" in bench.log(run)
    bench.slurm.hurry(job)
    bench.until(run, lambda now: now.attempt == 2 and bench.attempts(run) == [0, saved], "the second attempt")
    assert bench.engine.stop(run) == "stopped"
    assert f"from the snapshot of iteration {saved}" in bench.printed(run)


def test_a_job_that_reaches_its_time_limit_saves_and_is_queued_again(bench: Bench) -> None:
    run = bench.planned({**LONG, "iterations": "40000"})
    job = bench.begin(run, Limits(hours=1.5 / 60, attempts=2, grace_seconds=60))
    bench.until(run, lambda now: bench.word(run) == "interrupted", "its time is over")
    assert run.state().reason == "time limit"
    saved = run.snapshots()[-1].iteration
    bench.slurm.hurry(job)
    bench.until(run, lambda now: bench.attempts(run) == [0, saved], "the second attempt")
    given_up = bench.until(run, lambda now: now.word == "interrupted" and not bench.slurm.queue(), "it is given up")
    assert given_up.reason == "2 attempts were made"


def test_a_training_whose_node_dies_goes_on_elsewhere_from_its_newest_whole_snapshot(bench: Bench) -> None:
    run = bench.planned(LONG)
    job = bench.begin(run)
    bench.snapshot(run)
    node = bench.state(run).node
    bench.slurm.kill(node)
    try:
        bench.slurm.hurry(job)
        bench.until(run, lambda now: len(run.attempts()) == 2 and now.word == "running", "the second attempt")
        second = run.attempts()[1]
        assert second.zone != node and second.resumed_from > 0
        assert bench.engine.stop(run) == "stopped"
    finally:
        bench.slurm.start(node)


def test_a_training_that_fails_by_itself_is_not_repeated_and_its_log_says_why(bench: Bench) -> None:
    run = bench.planned({"iterations": "200"}, ("caffe", "train", "-solver", "nowhere.prototxt"))
    bench.begin(run)
    assert bench.ended(run).word == "failed"
    assert "nowhere.prototxt" in bench.log(run)
    bench.nothing_queued()
    assert bench.attempts(run) == [0]


def test_a_stopped_training_has_saved_and_one_that_waits_leaves_the_queue(bench: Bench) -> None:
    run = bench.planned(LONG)
    bench.begin(run)
    before = bench.snapshot(run)
    assert bench.engine.stop(run) == "stopped"
    assert run.snapshots()[-1].iteration > before
    waits = bench.planned(LONG)
    for _ in range(2):
        bench.slurm.alice("sbatch", "-p", "urgent", "--gres=gpu:2", "--wrap", "sleep 600")
    bench.begin(waits)
    bench.until(waits, lambda now: now.word == "queued" and "Resources" in now.reason, "it waits")
    assert bench.engine.stop(waits) == "stopped"
    assert waits.attempts() == []


def test_a_run_that_goes_on_is_not_queued_a_second_time(bench: Bench) -> None:
    run = bench.planned(LONG)
    job = bench.begin(run)
    with pytest.raises(RunError, match=f"goes on already: job {job}"):
        bench.begin(run)
    bench.place.delete([run.key("control", "job-001-0.json")])  # its client was killed before it noted the job
    assert bench.begin(run) == job
    assert [row[0] for row in bench.slurm.queue()] == [job]
    bench.engine.stop(run)


def test_of_two_jobs_of_one_run_one_works(bench: Bench) -> None:
    run = bench.planned(LONG)
    job = bench.begin(run)
    bench.snapshot(run)
    root, here = bench.place.door.root, bundle.bring(bench.place)
    text = submitting.script(here, root, order.key_of(run.id, 1, 0))
    output = f"{root}/{run.key('control')}/job-%j.txt"
    second = bench.place.door.run(
        ["sbatch", "--parsable", "--gres=gpu:1", f"--output={output}"], stdin=text
    ).out.strip()
    until(lambda: second not in [row[0] for row in bench.slurm.queue()], "the second job has ended")
    assert f"job {job} works on {run.id} already" in bench.printed(run)
    assert bench.attempts(run) == [0] and bench.state(run).word == "running"
    bench.engine.stop(run)


def test_a_training_goes_on_while_the_login_node_and_the_controller_are_away(bench: Bench) -> None:
    run = bench.planned({**LONG, "iterations": "100000"})
    job = bench.begin(run)
    before = bench.snapshot(run)
    docker("restart", f"{bench.slurm.name}-login")

    def heard() -> bool:
        try:
            return bench.state(run).word == "running" and run.snapshots()[-1].iteration > before
        except HostError:
            return False

    until(heard, "it is heard again, and has gone on", 300)
    assert [row[:2] for row in bench.slurm.queue()] == [(job, "RUNNING")]
    assert bench.attempts(run) == [0]
    assert bench.engine.stop(run) == "stopped"


def test_trained_weights_are_fetched_by_the_login_node_and_lie_in_the_container(bench: Bench) -> None:
    served = "mkdir -p /tmp/web; cd /tmp/web; echo trained > w.caffemodel; exec python3 -m http.server 8123"
    docker("exec", "-d", "-u", "alice", f"{bench.slurm.name}-login", "sh", "-c", served)
    file = Weights(
        file="w.caffemodel", url="http://127.0.0.1:8123/w.caffemodel", licence="none",
        sha256=hashlib.sha256(b"trained\n").hexdigest(),
    )  # fmt: skip
    run = bench.planned({"iterations": "100"}, ("sh", "-c", "cat /weights/w.caffemodel; ls -d /data/*_lmdb"))
    rendered = msgspec.structs.replace(run.manifest.rendered, weights=(file,))
    run.write_manifest(replace(run.manifest, rendered=rendered))
    on_cluster.start(run, There(bench.known, bench.place, bench.said.append), Limits(hours=1))
    assert bench.ended(run).word == "finished", bench.printed(run)
    assert "trained" in bench.log(run) and "/data/train_lmdb" in bench.log(run)
    assert run.manifest.weights[file.url]["sha256"] == file.sha256
