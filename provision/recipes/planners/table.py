"""What a recipe computes from its options, the number of GPUs and the data before it starts: plain functions.

A recipe names one with `plan:`. It is called before the first side effect, so what it refuses costs nothing.
"""

from collections.abc import Mapping
from pathlib import Path

from provision.recipes.spec import Option, Plan, Planner


def _crfrnn(options: Mapping[str, Option], gpus: int, data: Path | None) -> Plan:
    from provision.recipes.planners.crfrnn import plan

    return plan(options, gpus, data)


def _ssd(options: Mapping[str, Option], gpus: int, data: Path | None) -> Plan:
    from provision.recipes.planners.ssd import plan

    return plan(options, gpus, data)


def _detectron(options: Mapping[str, Option], gpus: int, data: Path | None) -> Plan:
    from provision.recipes.planners.detectron import plan

    return plan(options, gpus, data)


PLANNERS: dict[str, Planner] = {"ssd": _ssd, "crfrnn": _crfrnn, "detectron": _detectron}


def make(name: str, options: Mapping[str, Option], gpus: int, data: Path | None) -> Plan:
    """The plan of that name; an empty one for no name."""
    return PLANNERS[name](options, gpus, data) if name else Plan()
