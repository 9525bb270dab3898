"""A line that breaks at the worst moment: when a job is queued."""

import pytest

from infra.errors import HostError
from infra.slurm_door import Door
from infra.ssh_folder import SshFolder
from provision.engines.slurm.engine import Slurm
from provision.engines.slurm.submitting import Limits
from provision.runs import inputs
from provision.runs.store import AnyRun
from tests.cluster.run_kit import LONG, Bench

pytestmark = pytest.mark.engine


class Breaking(Door):
    """A door whose line breaks once, when a job is queued: `before` Slurm hears of it, or after it took the job."""

    def __init__(self, bench: Bench, before: bool) -> None:
        super().__init__(bench.place.door.shell, bench.place.door.root)
        self.before, self.broken = before, False

    def ask(self, word: str, *given: object, data: bytes = b"", again: bool = True) -> tuple[object, bytes]:
        queues = word == "run" and isinstance(given[0], list) and given[0][0] == "sbatch" and not self.broken
        if queues and self.before:
            self.broken = True
            raise HostError("the line broke")
        found = super().ask(word, *given, data=data, again=again)
        if queues:
            self.broken = True
            assert not again  # it would be queued twice
            raise HostError("the line broke")
        return found


@pytest.mark.parametrize("before", [True, False])
def test_a_line_that_breaks_while_a_job_is_queued_leaves_one_job_or_none(bench: Bench, before: bool) -> None:
    run = bench.planned(LONG)
    binds = bench.engine.bring(run.manifest, {"data": inputs.local(run, "data", run.manifest.data)})
    engine = Slurm(bench.known, SshFolder(Breaking(bench, before), "campus"), bench.said.append)
    mine = AnyRun(engine.place, run.id)
    if before:
        with pytest.raises(HostError, match="the line broke"):
            engine.submit(mine, binds, Limits(hours=1))
        assert not engine.is_queued(mine)
    job = engine.submit(mine, binds, Limits(hours=1)).job
    assert [row[0] for row in bench.slurm.queue()] == [job]
    assert engine.is_queued(mine) and bench.engine.newest(run).job == job  # type: ignore[union-attr]
