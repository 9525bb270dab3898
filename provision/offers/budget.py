"""What a machine may cost at most, and how long a budget lasts: US dollars, hours, gigabytes. Pure.

Counted is the dearest price that AWS may charge (of spot: the limit that AWS is asked to keep to), the disks and the
public address; and the time until AWS itself ends a machine whose own end has failed.
"""

from datetime import datetime, timedelta

from infra.aws import prices
from infra.aws.types import Instance, SpotRequest
from infra.errors import UsageError

GRACE = timedelta(minutes=10)  # the host's own end comes first, the schedule's when that has failed
KEPT_BACK = GRACE + timedelta(minutes=1)  # schedules are kept to the minute
_SHORTEST_H = 0.25  # a budget that pays for less is a slip of the finger


def check(request: SpotRequest) -> None:
    """Refuse a budget that is spent within a quarter of an hour, or cannot be kept. UsageError."""
    if request.budget is None:
        return
    hourly = cost_per_hour(request)
    hours = hours_of(request.budget, hourly)
    if hours < _SHORTEST_H:
        raise UsageError(
            f"a budget of ${request.budget:g} pays for {hours * 60:.0f} minutes of up to {hourly:.2f} $/h, "
            f"and for the {KEPT_BACK / timedelta(minutes=1):.0f} that its end may take",
            "give a larger --budget, a --max-price, or a cheaper type",
        )


def ends_at(request: SpotRequest, now: datetime) -> datetime:
    """When a machine that is launched now has to end: after its hours, or before, so that its budget is never exceeded.

    UsageError for a budget without any price.
    """
    hours = request.max_hours
    if request.budget is not None:
        hours = min(hours, hours_of(request.budget, cost_per_hour(request)))
    return (now + timedelta(hours=hours)).replace(microsecond=0)


def cost_per_hour(request: SpotRequest) -> float:
    """The most that AWS may charge for an hour of the machine, its disks and its public address (US dollars).

    UsageError where no price is known.
    """
    if request.dearest is None:
        raise UsageError(
            "no price is known for this machine, so that a budget cannot be kept", "give --max-price, or no --budget"
        )
    disks = request.disk_gb + sum(volume.gb for volume in request.volumes)
    return request.dearest + prices.disk_hourly(disks, request.region) + prices.ADDRESS_HOURLY


def most_per_hour(instance: Instance, region: str) -> float | None:
    """The most that AWS may charge for an hour of a machine that is there, with disks and public address (US dollars).

    None where its price is not known.
    """
    known = [price for price in (instance.price, instance.max_price if instance.market == "spot" else None) if price]
    return max(known) + disks_per_hour(instance, region) + prices.ADDRESS_HOURLY if known else None


def lasts_until(budget: float, spent: float, at: datetime, hourly: float) -> datetime:
    """The latest end that keeps the budget, where so much was spent up to that moment and an hour may cost `hourly`."""
    return at + timedelta(hours=hours_of(budget - spent, hourly))


def left_at_least(budget: float, hourly: float | None, launched: datetime, ended: datetime) -> float:
    """What is left of the budget of a machine at least, where it is only known from when to when it lived.

    Each hour counts as the most that it may have cost (`hourly`, US dollars); where that is not known nothing is left.
    """
    if hourly is None:
        return 0.0
    return max(0.0, budget - hourly * ((prices.billed(launched, ended) - launched) / timedelta(hours=1)))


def disks_per_hour(instance: Instance, region: str) -> float:
    """What an hour of the machine's disks costs (the root disk and the data volumes), in US dollars."""
    return prices.disk_hourly(instance.record.gigabytes, region)


def price_words(now: float | None, dearest: float | None) -> str:
    """What an hour costs now and at most (US dollars), for people: "$3.750/h now, at most $12.240/h"."""
    if dearest is None:
        return "price unknown" if now is None else f"${now:.3f}/h now, at most AWS's price on demand"
    most = f"at most ${dearest:.3f}/h"
    return most if now is None else f"${now:.3f}/h" if now == dearest else f"${now:.3f}/h now, {most}"


def price_of(request: SpotRequest, now: float | None) -> str:
    """The same of a request, with where the price on demand is from if that is the limit."""
    listed = f" ({request.listed})" if request.listed and (request.max_price is None or request.fallback) else ""
    return price_words(now, request.dearest) + listed


def hours_of(dollars: float, hourly: float) -> float:
    """How long a machine may live for so much, less what its end may take; 0 where that is more."""
    return max(0.0, dollars / hourly - KEPT_BACK / timedelta(hours=1))
