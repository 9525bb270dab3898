"""What a recipe computes from its options, the number of GPUs and the data before it starts: a table of plain functions.

A recipe names one with `plan:`. It is called before the first side effect, so what it refuses costs nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Option = bool | int | float | str


@dataclass(frozen=True)
class Plan:
    """What was computed: `values` for the templates, `files` (by their path in the run's folder) beside those that the
    recipe names, and `shown`, in the order in which `train --dry-run` shows it (JSON values)."""

    values: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    shown: Mapping[str, Any] = field(default_factory=dict)


# options, the number of GPUs (0: the CPU), the data's folder where it is on this laptop; UsageError for what cannot be
Planner = Callable[[Mapping[str, Option], int, Path | None], Plan]


PLANNERS: dict[str, Planner] = {}


def make(name: str, options: Mapping[str, Option], gpus: int, data: Path | None) -> Plan:
    """The plan of that name; an empty one for no name."""
    return PLANNERS[name](options, gpus, data) if name else Plan()
