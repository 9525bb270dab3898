"""Where a run lies: on this laptop, a cluster, or in the account's bucket; and the engine that its attempts work on."""

from collections.abc import Callable

from infra.aws.session import Cloud
from provision.engines.engine import Engine
from provision.engines.here import place
from provision.engines.here.engine import Here
from provision.engines.slurm import where as clusters
from provision.runs import store
from provision.runs.follow import State
from provision.runs.store import AnyRun, Run


def find(run_id: str, cloud: Callable[[], Cloud]) -> AnyRun:
    """The run of that id, wherever it lies. `cloud` is asked for only where it is neither on this laptop nor on a
    cluster. NotFoundError, with the nearest ids, where there is none."""
    return place.find(run_id) or clusters.find(run_id) or store.find(cloud(), run_id)


def engine_of(run: AnyRun) -> Engine | None:
    """The engine of a run that has no machine of EC2's; None for one that has."""
    return Here() if run.store.where[0] == place.NAME else clusters.engine_of(run)


def followed(run: AnyRun) -> tuple[Cloud | None, State | None]:
    """The cloud of the run, or what tells in its place how the run stands: as `runs.follow` takes them."""
    engine = engine_of(run)
    if engine is not None:
        return None, engine.state
    assert isinstance(run, Run)
    return run.store.cloud, None
