"""A thousand runs: one sbatch, and how they stand is asked by few questions."""

import time
from dataclasses import replace

import pytest

from infra.slurm_door import Door
from infra.ssh_folder import SshFolder
from provision.engines.slurm import sweeping
from provision.engines.slurm.engine import Slurm
from provision.engines.slurm.submitting import Limits
from provision.runs import inputs
from tests.cluster.run_kit import Bench

pytestmark = pytest.mark.engine
COUNT = 1000
SUBMIT_S, STATUS_S = 60.0, 20.0  # a machine ten times busier than one that needs five and two


class Counting(Door):
    """A door that counts what it is asked."""

    asked = 0

    def ask(self, word: str, *given: object, data: bytes = b"", again: bool = True) -> tuple[object, bytes]:
        self.asked += 1
        return super().ask(word, *given, data=data, again=again)


def test_a_thousand_runs_are_one_sbatch_and_few_questions(bench: Bench) -> None:
    first = bench.planned({"iterations": "100000", "snapshot_every": "100"})
    binds = bench.engine.bring(first.manifest, {"data": inputs.local(first, "data", first.manifest.data)})
    manifests = [replace(first.manifest, id=f"digits-{number:04d}-20261130-000000-aaaa") for number in range(COUNT)]
    door = Counting(bench.place.door.shell, bench.place.door.root)
    engine = Slurm(bench.known, SshFolder(door, "campus"), bench.said.append)
    begun = time.monotonic()
    runs = sweeping.runs(engine.place, manifests, ())
    job = sweeping.submit(engine, "many", runs, binds, Limits(hours=1), at_once=2)
    submitted, asked = time.monotonic() - begun, door.asked
    begun = time.monotonic()
    words = sweeping.words(engine, "many", [run.id for run in runs])
    looked, door.asked = time.monotonic() - begun, door.asked - asked
    print(f"{COUNT} runs: {submitted:.1f} s and {asked} questions; how they stand: {looked:.1f} s and {door.asked}")
    assert len(words) == COUNT and set(words.values()) <= {"waiting", "starting", "running"}
    assert asked <= 30 and door.asked <= 10
    assert submitted < SUBMIT_S and looked < STATUS_S
    sweeping.stop(engine, "many", [run.id for run in runs])
    bench.slurm.alice("scancel", job, check=False)
    bench.nothing_queued()
