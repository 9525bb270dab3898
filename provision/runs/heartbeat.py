"""Which machines have stopped answering for their runs: a guard that lives writes the time into its run's state."""

from datetime import datetime, timedelta, timezone

from infra.aws.session import Cloud
from infra.concurrency import together
from infra.errors import ProvisionError
from provision.runs import store
from provision.runs.manifest import RunState
from provision.runs.standing import Standing
from provision.runs.store import Run

_AT_ONCE = 32


def silent(cloud: Cloud) -> dict[str, timedelta]:
    """The id of each machine that nobody has answered for in a while → since when, by the runs of this region.

    A run that cannot be read is left out. AuthError or CloudError where the runs cannot be listed.
    """
    states, _ = together([lambda run=run: _state(run) for run in store.all_runs(cloud)], _AT_ONCE)  # type: ignore[misc]
    now = datetime.now(timezone.utc)
    found: dict[str, timedelta] = {}
    for state in states:
        silence = Standing(state).silence(now) if state.instance else None
        if silence is not None:
            found[state.instance] = max(silence, found.get(state.instance, silence))
    return found


def _state(run: Run) -> RunState:
    try:
        return run.state()
    except ProvisionError:
        return RunState()


def words(silence: timedelta | None) -> str:
    """For people: `silent for 12 min`; "" where it is heard."""
    return "" if silence is None else f"silent for {silence / timedelta(minutes=1):.0f} min"
