"""What machines have cost: real spot prices over each life, or the list price, and their disks.

AWS bills by the second, at least 60 of them, at the spot price in force at the time. A spot machine that AWS takes away
in its first hour costs nothing.
Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/billing-for-interrupted-spot-instances.html
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

from infra.aws import prices
from infra.aws.holdings import Holding, Holdings
from infra.aws.prices import Price
from infra.aws.session import Cloud
from infra.aws.types import Instance
from infra.errors import ProvisionError
from infra.together import together

_FREE_FIRST = timedelta(hours=1)
Life = tuple[Instance, datetime | None]


@dataclass(frozen=True)
class Bill:
    """One machine's cost so far, or in all once it has ended. US dollars; None where a price is not known.

    `instance` and `disk` are what it has cost, `hourly` is what an hour costs now with its disks (0 when it has ended).
    """

    name: str
    id: str
    type: str
    market: str
    region: str
    zone: str
    launched: datetime
    ended: datetime | None
    hours: float
    instance: float | None
    disk: float
    hourly: float | None
    budget: float | None = None
    note: str = ""

    @property
    def total(self) -> float | None:
        return None if self.instance is None else self.instance + self.disk

    @property
    def left(self) -> float | None:
        """What is left of the budget, if there is one."""
        return None if self.budget is None or self.total is None else self.budget - self.total

    def as_json(self) -> dict[str, Any]:
        rounded = {key: _cents(getattr(self, key)) for key in ("instance", "disk", "total", "hourly", "budget", "left")}
        return {
            "name": self.name, "id": self.id, "type": self.type, "market": self.market, "region": self.region,
            "zone": self.zone, "launched": self.launched.isoformat(),
            "ended": self.ended.isoformat() if self.ended else None, "hours": round(self.hours, 4),
            **rounded, "note": self.note,
        }  # fmt: skip


def bills(cloud: Cloud, name: str | None = None) -> list[Bill]:
    """A bill for each machine of that name (None: of all) in this region that AWS still knows, oldest first."""
    return of(cloud, Holdings(cloud).lives(name), datetime.now(timezone.utc))


def of(cloud: Cloud, lives: Sequence[Life], now: datetime) -> list[Bill]:
    """Their bills at that moment. A price that AWS does not tell is None, with the reason in the note."""
    done, _ = together([partial(_ask, cloud, life, now) for life in lives])
    return done


def _ask(cloud: Cloud, life: Life, now: datetime) -> Bill:
    instance, ended = life
    if instance.market != "spot":
        return bill(life, cloud.region, [], prices.on_demand(instance.type, cloud.region), now)
    try:
        past = prices.history(cloud, instance.type, instance.zone, instance.launched, ended or now)
    except ProvisionError as error:
        return bill(life, cloud.region, [], None, now, f"spot prices: {error.what}")
    return bill(life, cloud.region, past, None, now)


def bill(life: Life, region: str, past: Sequence[Price], listed: float | None, now: datetime, why: str = "") -> Bill:
    """One machine's bill from the spot prices of its time, or from its list price (US dollars an hour) on demand.

    `why` says why there are no prices.
    """
    instance, ended = life
    end, note = _end(instance, ended, now)
    until = prices.billed(instance.launched, end)
    hours = (until - instance.launched) / timedelta(hours=1)
    disk = prices.disk_hourly(gigabytes(instance), region)
    if instance.market == "spot":
        spent = prices.integrate(past, instance.launched, until) if past else None
        now_hourly = past[-1].hourly if past else None
    else:
        spent = None if listed is None else listed * hours
        now_hourly = listed
    if _taken_early(instance, end):
        spent, note = 0.0, "taken away in its first hour: free"
    if spent is None:
        note = why or f"no price of {instance.type} in {region} is known"
    alive = instance.alive and ended is None
    budget = instance.tags.get("provision:budget")
    return Bill(
        instance.name, instance.id, instance.type, instance.market, region, instance.zone, instance.launched,
        None if alive else end, hours, spent, disk * hours,
        (None if now_hourly is None else now_hourly + disk) if alive else 0.0,
        float(budget) if budget else None, note,
    )  # fmt: skip


def gigabytes(instance: Instance) -> int:
    """The size of its disks, by its tags: the root disk and the data volumes (NAME:GB, …)."""
    root = instance.tags.get("provision:disk", "0")
    volumes = re.findall(r":(\d+)", instance.tags.get("provision:volumes", ""))
    return sum(int(size) for size in [root, *volumes])


def kept_monthly(one: Holding, region: str) -> float:
    """US dollars a month of a kept volume or snapshot (at most); a machine image costs what its snapshots do."""
    if one.kind == "snapshots":
        return one.gb * prices.SNAPSHOT_GB_MONTH
    return one.gb * prices.gb_month(region) if one.kind == "volumes" else 0.0


def dollars(amount: float | None) -> str:
    """An amount for people."""
    if amount is None:
        return "unknown"
    return f"${amount:.2f}" if abs(amount) >= 0.1 or amount == 0 else f"${amount:.4f}"


def _end(instance: Instance, ended: datetime | None, now: datetime) -> tuple[datetime, str]:
    """Until when it is billed, and what has to be said about that."""
    if ended is not None:
        return ended, ""
    if instance.alive:
        return now, ""
    return min(now, instance.deadline or now), "AWS does not say when it ended: at most"


def _taken_early(instance: Instance, end: datetime) -> bool:
    lost = instance.market == "spot" and instance.reason == "Server.SpotInstanceTermination"
    return lost and end - instance.launched < _FREE_FIRST


def _cents(amount: float | None) -> float | None:
    return None if amount is None else round(amount, 4)
