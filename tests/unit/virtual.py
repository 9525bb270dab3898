"""A clock that nobody waits for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from provision.runs.patience import Clock


@dataclass
class Virtual:
    """Seconds that pass where somebody sleeps. `at`: what happens when, by seconds."""

    time: float = 0.0
    at: dict[float, Callable[[], Any]] = field(default_factory=dict)
    limit: float = 100_000.0

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.time, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        assert self.time < self.limit, "somebody waits for ever"
        for moment in [moment for moment in sorted(self.at) if moment <= self.time]:
            self.at.pop(moment)()
