"""What an engine is: where the attempts of a run work, and what can be asked of that place.

Machines of EC2 with a keeper are one, this laptop's own Docker engine (`here`) is another, clusters are more. What a
run is does not depend on them: its folder lies in a place of objects, and is the same in each.
"""

from dataclasses import dataclass
from typing import Protocol

from provision.runs.manifest import Word
from provision.runs.standing import Standing
from provision.runs.store import AnyRun


@dataclass(frozen=True)
class Order:
    """From which snapshot the next attempt goes on: of that iteration (0: from nothing), None: from the newest."""

    at: int | None = None


@dataclass(frozen=True)
class Started:
    """What was begun: the run, and where it works, as people say it."""

    run_id: str
    where: str


class Engine(Protocol):
    """One place where attempts work. Its errors are ProvisionErrors."""

    def start(self, run: AnyRun, order: Order) -> Started:
        """Begin the next attempt of a run whose manifest is written. RunError where the run goes on already."""

    def state(self, run: AnyRun) -> Standing:
        """How the run stands. Its snapshots are not read."""

    def stop(self, run: AnyRun) -> Word:
        """Let the training save its work and end; how the run stands then. RunError where it does not run."""
