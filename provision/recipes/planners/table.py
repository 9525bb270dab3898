"""What a recipe computes from its options, the number of GPUs and the data before it starts: plain functions.

A recipe names one with `plan:`. It is called before the first side effect, so what it refuses costs nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Option = bool | int | float | str


@dataclass(frozen=True)
class Plan:
    """What was computed: `values` for the templates, `files` (by their path in the run's folder) beside those that the
    recipe names, `shown`, in the order in which `train --dry-run` shows it (JSON values), and `weights` beside the
    recipe's own: provision.recipe.Weights, or the same in recipe.yaml's words."""

    values: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    shown: Mapping[str, Any] = field(default_factory=dict)
    weights: Sequence[Any] = ()


# options, the number of GPUs (0: the CPU), the data's folder where it is on this laptop; UsageError for what cannot be
Planner = Callable[[Mapping[str, Option], int, Path | None], Plan]


def _crfrnn(options: Mapping[str, Option], gpus: int, data: Path | None) -> Plan:
    from provision.plans_crfrnn import plan

    return plan(options, gpus, data)


def _ssd(options: Mapping[str, Option], gpus: int, data: Path | None) -> Plan:
    from provision.plans_ssd import plan

    return plan(options, gpus, data)


def _detectron(options: Mapping[str, Option], gpus: int, data: Path | None) -> Plan:
    from provision.plans_detectron import plan

    return plan(options, gpus, data)


PLANNERS: dict[str, Planner] = {"ssd": _ssd, "crfrnn": _crfrnn, "detectron": _detectron}


def make(name: str, options: Mapping[str, Option], gpus: int, data: Path | None) -> Plan:
    """The plan of that name; an empty one for no name."""
    return PLANNERS[name](options, gpus, data) if name else Plan()
