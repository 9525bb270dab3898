"""Many runs as one array of a real Slurm."""

import pytest

from provision.engines.slurm.submitting import Limits
from provision.runs import inputs
from tests.cluster.cluster_kit import until
from tests.cluster.run_kit import ENDED, Bench

pytestmark = pytest.mark.engine
LIMITS = Limits(hours=1, attempts=4, grace_seconds=40)


def test_an_array_is_one_job_of_which_so_many_run_at_once_and_each_run_has_its_own_folder(bench: Bench) -> None:
    wanted = [
        {"iterations": "200", "snapshot_every": "100", "learning_rate": rate} for rate in ("0.01", "0.02", "0.04")
    ]
    runs = [bench.planned(options) for options in wanted]
    folder = inputs.local(runs[0], "data", runs[0].manifest.data)
    binds = bench.engine.bring(runs[0].manifest, {"data": folder})
    job = bench.engine.sweep("sweep-1", runs, binds, LIMITS, at_once=1)
    assert (
        bench.engine.sweep("sweep-1", runs, binds, LIMITS, at_once=1) == job
    )  # its client was killed, and says it again
    most = 0

    def all_ended() -> bool:
        nonlocal most
        most = max(most, sum(state == "RUNNING" for _, state, _ in bench.slurm.queue()))
        return all(bench.state(run).word in ENDED for run in runs)

    until(all_ended, "all runs end", 600)
    assert [bench.word(run) for run in runs] == ["finished"] * 3 and most == 1
    rates = [(bench.place.read(run.key("outputs", "solver.prototxt")) or b"").decode() for run in runs]
    assert ["base_lr: 0.01" in rates[0], "base_lr: 0.02" in rates[1], "base_lr: 0.04" in rates[2]] == [True] * 3
    assert bench.slurm.queue() == []


def test_a_stopped_array_saves_what_runs_and_leaves_nothing_queued(bench: Bench) -> None:
    runs = [bench.planned({"iterations": "100000", "snapshot_every": "100"}) for _ in range(3)]
    folder = inputs.local(runs[0], "data", runs[0].manifest.data)
    bench.engine.sweep("sweep-2", runs, bench.engine.bring(runs[0].manifest, {"data": folder}), LIMITS, at_once=1)
    bench.snapshot(runs[0])
    bench.engine.stop_sweep("sweep-2", runs)
    bench.nothing_queued()
    assert [bench.state(run).word for run in runs] == ["stopped"] * 3
    assert [len(run.attempts()) for run in runs] == [1, 0, 0]
