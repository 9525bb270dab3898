"""Where a sweep lies and who works on it: this laptop, or a cluster."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from infra.errors import HostError, NotFoundError
from infra.store import Store
from provision import console

if TYPE_CHECKING:
    from provision.engines.slurm.cluster import Cluster
    from provision.runs.sweeps import Result, Sweep

_LOOK_S = 1.0


class Home(Protocol):
    """One place of sweeps."""

    @property
    def store(self) -> Store:
        """Where the sweeps and their runs lie."""

    def words(self, made: "Sweep", known: "Mapping[str, Result]") -> dict[str, str]:
        """The word of each run; `known`: how those ended of which that was written down."""

    def works(self, made: "Sweep") -> bool:
        """Whether anything of it trains or waits."""

    def stop(self, made: "Sweep") -> None:
        """Let what trains save and end, and begin nothing more."""

    def go_on(self, made: "Sweep") -> list[str]:
        """Go on with what is left of it; those runs."""


class OnLaptop:
    """Sweeps of this laptop."""

    @property
    def store(self) -> Store:
        from provision.engines.here import place

        return place.store()

    def words(self, made: "Sweep", known: "Mapping[str, Result]") -> dict[str, str]:
        from provision.runs import sweeps

        return sweeps.words(self.store, made, known)

    def works(self, made: "Sweep") -> bool:
        from provision.engines.here import place

        return place.is_held(made.id)

    def stop(self, made: "Sweep") -> None:
        from provision.engines.here import sweep

        sweep.stop(made)

    def go_on(self, made: "Sweep") -> list[str]:
        from provision.engines.here import sweep

        return list(sweep.go_on(made))


class OnCluster:
    """Sweeps of one cluster."""

    def __init__(self, known: "Cluster") -> None:
        from provision.engines.slurm import cluster as clusters
        from provision.engines.slurm.engine import Slurm

        self.engine: Slurm = Slurm(known, clusters.place(known), console.line)

    @property
    def store(self) -> Store:
        return self.engine.place

    def words(self, made: "Sweep", known: "Mapping[str, Result]") -> dict[str, str]:
        from provision.engines.slurm import sweeping

        left = [item.run for item in made.items if item.run not in known]
        found = sweeping.words(self.engine, made.id, left) if left else {}
        return {item.run: known[item.run].state if item.run in known else found[item.run] for item in made.items}

    def works(self, made: "Sweep") -> bool:
        from provision.engines.slurm import sweeping

        return sweeping.works(self.engine, made.id)

    def stop(self, made: "Sweep") -> None:
        from provision.engines.slurm import sweeping

        sweeping.stop(self.engine, made.id, [item.run for item in made.items])
        while self.works(made):
            time.sleep(_LOOK_S)

    def go_on(self, made: "Sweep") -> list[str]:
        from provision.training import on_cluster

        return on_cluster.go_on_with(self.engine, made)


def find(sweep_id: str) -> "tuple[Home, Sweep]":
    """Where the sweep lies, and the sweep. NotFoundError, with the nearest of this laptop, where there is none."""
    from provision.engines.slurm import cluster as clusters
    from provision.runs import sweeps

    here = OnLaptop()
    try:
        return here, sweeps.find(here.store, sweep_id)
    except NotFoundError as error:
        missing = error
    for known in clusters.every():
        home = OnCluster(known)
        try:
            return home, sweeps.find(home.store, sweep_id)
        except NotFoundError:
            continue
        except HostError as error:
            console.line(f"{known.name} was not asked for {sweep_id}: {error.what}")
    raise missing
