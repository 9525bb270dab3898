"""Many runs as one array of a real Slurm."""

import json

import pytest

from provision import cli
from provision.engines.slurm import cluster as clusters
from provision.engines.slurm import sweeping
from provision.engines.slurm.submitting import Limits
from provision.runs import inputs
from provision.runs.store import AnyRun
from tests.cluster.cluster_kit import until
from tests.cluster.run_kit import Bench
from tests.cluster.test_commands import said

pytestmark = pytest.mark.engine
LIMITS = Limits(hours=1, attempts=4, grace_seconds=40)


def _prepared(bench: Bench, options: list[dict[str, str]]) -> tuple[list[AnyRun], dict[str, str]]:
    runs = [bench.planned(one) for one in options]
    folder = inputs.local(runs[0], "data", runs[0].manifest.data)
    return runs, bench.engine.bring(runs[0].manifest, {"data": folder})


def test_an_array_is_one_job_and_is_not_queued_twice(bench: Bench) -> None:
    rates = ("0.01", "0.02", "0.04")
    runs, binds = _prepared(
        bench, [{"iterations": "200", "snapshot_every": "100", "learning_rate": one} for one in rates]
    )
    job = sweeping.submit(bench.engine, "one", runs, binds, LIMITS, at_once=1)
    assert sweeping.submit(bench.engine, "one", runs, binds, LIMITS, at_once=1) == job
    names, most = [run.id for run in runs], 0

    def all_ended() -> bool:
        nonlocal most
        most = max(most, sum(state == "RUNNING" for _, state, _ in bench.slurm.queue()))
        return set(sweeping.words(bench.engine, "one", names).values()) == {"finished"}

    until(all_ended, "all runs end", 600)
    assert most == 1 and [bench.attempts(run) for run in runs] == [[0]] * 3
    text = [(bench.place.read(run.key("outputs", "solver.prototxt")) or b"").decode() for run in runs]
    assert all(f"base_lr: {rate}" in solver for rate, solver in zip(rates, text, strict=True))
    bench.nothing_queued()
    assert not sweeping.works(bench.engine, "one")


def test_a_sweep_as_a_user_types_it(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    clusters.save(bench.known)
    words = ("sweep", "digits", "--on", "campus", "--image", "caffe-debian", "--set", "iterations=60000")
    more = ("--set", "snapshot_every=100", "--set", "learning_rate=0.01,0.02", "--at-once", "1")
    assert len(json.loads(said(capsys, *words, *more, "--dry-run", "--json"))["options"]) == 2
    begun = json.loads(said(capsys, *words, *more, "--json"))
    sweep, runs = begun["sweep"], begun["runs"]
    state = lambda: json.loads(said(capsys, "sweep", "status", sweep, "--json"))  # noqa: E731
    until(lambda: state().get("running") == 1 and state().get("waiting") == 1, "one trains and one waits", 240)
    bench.snapshot(AnyRun(bench.place, runs[0]))
    assert cli.run(["sweep", "resume", sweep]) == 13  # it goes on
    assert "is stopped" in said(capsys, "sweep", "stop", sweep)
    assert (state()["stopped"], state()["waiting"], state()["works"]) == (1, 1, False)
    rows = json.loads(said(capsys, "sweep", "table", sweep, "--json"))
    assert {row["run"] for row in rows} == set(runs) and rows[0]["run"] == runs[0] and rows[0]["loss"] is not None
    assert "goes on with 2 trainings" in said(capsys, "sweep", "resume", sweep)
    until(lambda: bench.attempts(AnyRun(bench.place, runs[0]))[1:] and state().get("running") == 1, "it goes on", 240)
    assert bench.attempts(AnyRun(bench.place, runs[0]))[1] > 0
    said(capsys, "sweep", "stop", sweep)
    bench.nothing_queued()
