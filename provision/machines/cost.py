"""What machines have cost: real spot prices over each life, or the list price, their disks and public addresses.

AWS bills by the second, at least 60 of them, at the spot price in force at the time. A spot machine that AWS takes away
in its first hour costs nothing, but for its disks and its address. Traffic, requests and taxes are not counted.
Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/billing-for-interrupted-spot-instances.html
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

from infra.aws import prices
from infra.aws.prices import Price
from infra.aws.resources import Holding, Holdings
from infra.aws.session import Cloud
from infra.aws.types import Instance
from infra.concurrency import together
from infra.errors import ProvisionError, UsageError
from provision.offers import budget, list_prices

FREE_FIRST = timedelta(hours=1)  # of a spot machine that AWS takes
_TOLD_LATE = timedelta(minutes=15)  # AWS's pages show new spot prices every five minutes
Life = tuple[Instance, datetime | None]


@dataclass(frozen=True)
class Bill:
    """One machine's cost so far, or in all once it has ended. US dollars; None where a price is not known.

    `instance`, `disk` and `address` are what is billed; `free` is what AWS does not bill of the machine, `saved` what
    it would have cost more on demand. `hourly` is what an hour costs now, with disks and address (0 when it has ended),
    `most` the dearest that all of it may have cost.
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
    address: float = 0.0
    free: float = 0.0
    saved: float | None = None
    most: float | None = None

    @property
    def total(self) -> float | None:
        """What the machine, its disks and its address have cost; None where the machine's price is not known."""
        return None if self.instance is None else self.instance + self.disk + self.address

    @property
    def left(self) -> float | None:
        """What is left of the budget at least; None where there is none, or nothing of the price is known.

        Where it is not known what the machine has cost, it counts as the dearest that it may have.
        """
        spent = self.most if self.total is None else self.total
        return None if self.budget is None or spent is None else self.budget - spent

    def as_json(self) -> dict[str, Any]:
        """The bill for programs: amounts in US dollars, times in ISO 8601."""
        amounts = ("instance", "disk", "address", "total", "free", "saved", "hourly", "budget", "left")
        rounded = {key: _cents(getattr(self, key)) for key in amounts}
        return {
            "name": self.name, "id": self.id, "type": self.type, "market": self.market, "region": self.region,
            "zone": self.zone, "launched": self.launched.isoformat(),
            "ended": self.ended.isoformat() if self.ended else None, "hours": round(self.hours, 4),
            **rounded, "note": self.note,
        }  # fmt: skip


def bills(cloud: Cloud, name: str | None = None) -> list[Bill]:
    """A bill for each machine of that name (None: of all) in this region that AWS still knows, oldest first.

    AuthError or CloudError where the instances cannot be listed; a price that cannot be had is None in its bill.
    """
    return of(cloud, Holdings(cloud).lives(name), datetime.now(timezone.utc))


def of(cloud: Cloud, lives: Sequence[Life], now: datetime) -> list[Bill]:
    """The bills of these machines at that moment. A price that AWS does not tell is None; the note says why."""
    listed = list_prices.ask(cloud, [instance.type for instance, _ in lives])
    done, _ = together([partial(_ask, cloud, life, listed[life[0].type].hourly, now) for life in lives])
    return done


def _ask(cloud: Cloud, life: Life, listed: float | None, now: datetime) -> Bill:
    instance, ended = life
    if instance.market != "spot":
        return bill(life, cloud.region, [], listed, now)
    try:
        past = prices.history(cloud, instance.type, instance.zone, instance.launched, ended or now)
    except ProvisionError as error:
        return bill(life, cloud.region, [], listed, now, f"spot prices: {error.what}")
    return bill(life, cloud.region, past, listed, now)


def bill(life: Life, region: str, past: Sequence[Price], listed: float | None, now: datetime, why: str = "") -> Bill:
    """One machine's bill: from the spot prices of its time, or on demand from its list price (US dollars an hour).

    `why` says why there are no prices.
    """
    instance, ended = life
    end, note = _end(instance, ended, now)
    until = prices.billed(instance.launched, end)
    hours = (until - instance.launched) / timedelta(hours=1)
    spent, now_hourly = _spent(instance, past, listed, until)
    free = 0.0
    if _taken_early(instance, end):
        free, spent = spent or 0.0, 0.0
        amount = f"{dollars(free)} for it are" if free else "it is"
        note = f"AWS took it away in its first hour: {amount} not billed, its disks and its address are"
    if spent is None:
        note = why or f"no price of {instance.type} in {region} is known"
    alive = instance.alive and ended is None
    disk, address = budget.disks_per_hour(instance, region), prices.ADDRESS_HOURLY
    most = budget.most_per_hour(instance, region)
    spot = instance.market == "spot"
    return Bill(
        instance.name, instance.id, instance.type, instance.market, region, instance.zone, instance.launched,
        None if alive else end, hours, spent, disk * hours,
        (None if now_hourly is None else now_hourly + disk + address) if alive else 0.0,
        instance.budget, note, address * hours, free,
        listed * hours - spent if spot and listed is not None and spent is not None else None,
        None if most is None else most * hours,
    )  # fmt: skip


def _spent(
    instance: Instance, past: Sequence[Price], listed: float | None, until: datetime
) -> tuple[float | None, float | None]:
    """What the machine alone has cost until then, and what an hour of it costs now; None where that is not known."""
    if instance.market != "spot":
        return (None, None) if listed is None else (listed * ((until - instance.launched) / timedelta(hours=1)), listed)
    return (prices.integrate(past, instance.launched, until), past[-1].hourly) if past else (None, None)


def lasts_until(cloud: Cloud, instance: Instance, now: datetime) -> datetime | None:
    """The latest end of a living machine that keeps its budget; None where it has none.

    What it has cost so far counts by the real prices, but for the last minutes, whose prices AWS may not have told yet;
    they, and all of its time to come, count at the dearest. UsageError where no price of it is known.
    """
    if instance.budget is None:
        return None
    hourly = budget.most_per_hour(instance, cloud.region)
    if hourly is None:
        raise UsageError(
            f"no price of {instance.name} is known, so that its budget cannot be kept",
            f"leave its end as it is, or end it: {cloud.hint(f'down {instance.name}')}",
        )
    settled = max(instance.launched, now - _TOLD_LATE)
    (so_far,) = of(cloud, [(instance, settled)], settled)
    spent = hourly * so_far.hours if so_far.total is None else so_far.total
    return budget.lasts_until(instance.budget, spent, settled, hourly)


def kept_monthly(thing: Holding, region: str) -> float:
    """US dollars a month of a kept volume or snapshot (at most); a machine image costs what its snapshots do."""
    if thing.kind == "snapshots":
        return thing.gb * prices.SNAPSHOT_GB_MONTH
    return thing.gb * prices.gb_month(region) if thing.kind == "volumes" else 0.0


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
    return lost and end - instance.launched < FREE_FIRST


def _cents(amount: float | None) -> float | None:
    return None if amount is None else round(amount, 4)
