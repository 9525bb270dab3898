"""Which cluster a run lies on: by this laptop's notes, else by asking each."""

from collections.abc import Sequence
from pathlib import Path

from infra.errors import HostError
from infra.ssh_folder import SshFolder
from provision import console
from provision.engines.slurm import cluster as clusters
from provision.engines.slurm.cluster import Cluster
from provision.engines.slurm.engine import Slurm
from provision.runs.store import ROOT, AnyRun
from provision.settings import state_home

KIND = "cluster"


def find(run_id: str) -> AnyRun | None:
    """The run of that id on a cluster; None where it is on none. Each is asked only where this laptop has no note of
    the run. HostError where the cluster that has it cannot be reached."""
    if (name := _noted(run_id)) is not None:
        return _run(clusters.load(name), run_id)
    if _known_elsewhere(run_id):
        return None
    for known in clusters.every():
        try:
            if (run := _run(known, run_id)) is not None:
                return run
        except HostError as error:
            console.line(f"{known.name} was not asked for {run_id}: {error.what}")
    return None


def _run(known: Cluster, run_id: str) -> AnyRun | None:
    run = AnyRun(clusters.place(known), run_id)
    return run if run.store.head(run.key("manifest.json")) is not None else None


def _notes(run_id: str) -> list[Path]:
    return list((state_home() / "runs").glob(f"*/*/*/{run_id}.json"))


def _noted(run_id: str) -> str | None:
    """The cluster on which this laptop began the run, or went on with it."""
    found = [path.parent.parent.name for path in _notes(run_id) if path.parent.parent.parent.name == KIND]
    return next((name for name in found if name in clusters.names()), None)


def _known_elsewhere(run_id: str) -> bool:
    return any(path.parent.parent.parent.name != KIND for path in _notes(run_id))


def cluster_of(run: AnyRun) -> Cluster | None:
    """The cluster on which the run lies; None where it lies elsewhere. NotFoundError where it was forgotten."""
    return clusters.load(run.store.where[1]) if run.store.where[0] == KIND else None


def engine_of(run: AnyRun) -> Slurm | None:
    """The engine of a run that lies on a cluster."""
    known = cluster_of(run)
    if known is None or not isinstance(run.store, SshFolder):
        return None
    return Slurm(known, run.store, console.line)


def every() -> Sequence[tuple[Cluster, list[AnyRun]]]:
    """The runs of each cluster. One that cannot be reached is said."""
    found = []
    for known in clusters.every():
        try:
            place = clusters.place(known)
            found.append((known, [AnyRun(place, name) for name in place.folders(ROOT)]))
        except HostError as error:
            console.line(f"{known.name} is left out: {error.what}")
    return found
