"""Machines and boxes as `up` and `ls` show them."""

import contextlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from infra.aws.session import Cloud
from infra.aws.types import Instance


def price(instance: Instance) -> str:
    return "" if instance.price is None else f", at most ${instance.price:.3f}/h"


def silent(places: Sequence[Cloud]) -> Mapping[str, timedelta]:
    """The ids of machines that train and are not heard of, as far as their runs can be read → since when."""
    from infra.concurrency import together
    from provision.runs import heartbeat

    found, _ = together([partial(heartbeat.silent, place) for place in places])
    return {machine: silence for some in found for machine, silence in some.items()}


def row(instance: Instance, silence: timedelta | None = None) -> dict[str, Any]:
    """An instance as `ls --json` shows it; `price` is the most that AWS may charge for an hour, and
    `silent_minutes` how long nobody has answered for its training (null: it is heard, or none goes on)."""
    from provision.hosts.box import noted

    return {
        "name": instance.name, "id": instance.id, "type": instance.type, "state": instance.state,
        "zone": instance.zone, "market": instance.market, "price": instance.price, "address": instance.address,
        "launched": instance.launched.isoformat(),
        "ends": instance.deadline.isoformat() if instance.deadline else None,
        "idle_minutes": instance.idle_minutes, "budget": instance.budget, "owner": instance.owner,
        "boxes": noted(instance.tags),
        "silent_minutes": None if silence is None else round(silence / timedelta(minutes=1)),
    }  # fmt: skip


def boxes(known: "list[Instance]") -> list[tuple[str, ...]]:
    """The boxes of this laptop, where a Docker engine answers, and those that the machines' tags name."""
    from infra.errors import ProvisionError
    from infra.shell import LocalShell
    from provision.hosts import box

    rows: list[tuple[str, ...]] = []
    with contextlib.suppress(ProvisionError):
        rows += [
            (box_here.name, box_here.image, "this laptop", box_here.status) for box_here in box.boxes(LocalShell())
        ]
    return rows + [
        (name, image, instance.name, "") for instance in known for name, image in box.noted(instance.tags).items()
    ]


def machines(known: Sequence[Instance], silent: Mapping[str, timedelta]) -> tuple[tuple[str, ...], list[list[object]]]:
    """The columns and rows of `ls`; the owner has a column where not all are this laptop's own."""
    from provision.machines import whose

    columns = ("name", "id", "type", "state", "zone", "market", "at most", "address", "ends")
    rows = [cells(instance, silent.get(instance.id)) for instance in known]
    if not any(whose.others(instance.owner) for instance in known):
        return columns, rows
    return (*columns, "owner"), [
        [*row, whose.person(instance.owner)] for row, instance in zip(rows, known, strict=True)
    ]


def cells(instance: Instance, silence: timedelta | None = None) -> list[object]:
    from provision.machines import deadline
    from provision.runs import heartbeat

    more = f", kept for {instance.record.run}" if instance.record.run else " unless extended"
    ends = f"{deadline.clock(instance.deadline)}{more}" if instance.deadline else "by no deadline of ours"
    cost = "?" if instance.price is None else f"${instance.price:.3f}/h"
    return [
        instance.name,
        instance.id,
        instance.type,
        ", ".join(filter(None, (instance.state, heartbeat.words(silence)))),
        instance.zone,
        instance.market,
        cost,
        instance.address,
        ends,
    ]
