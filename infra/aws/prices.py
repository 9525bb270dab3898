"""What things cost, in US dollars: list prices from a dated file, spot prices from AWS's own history.

AWS bills a machine by the second, for at least 60 of them, at the spot price in force at the time; a disk by the second
as well, of a month of 30 days. Taxes, traffic and requests are not counted.
Source: https://aws.amazon.com/ec2/pricing/on-demand, https://aws.amazon.com/ec2/spot/pricing, https://aws.amazon.com/ebs/pricing,
https://aws.amazon.com/s3/pricing
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from infra.aws.errors import explained
from infra.aws.session import Cloud, client
from infra.border import load_yaml

ADDRESS_HOURLY = 0.005  # US dollars for a public IPv4 address, used or not: https://aws.amazon.com/vpc/pricing
SNAPSHOT_GB_MONTH = 0.05  # US dollars at most: AWS bills only what differs from the snapshot before
_MONTH_H = 30 * 24
_LEAST = timedelta(seconds=60)


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """prices.yaml: US dollars an hour by type, in all of `regions`; US dollars a GB and month by region, of gp3 disks
    and of S3's standard class."""

    date: str
    source: str
    regions: tuple[str, ...]
    hourly: dict[str, float]
    gb_month: dict[str, float]
    s3_gb_month: dict[str, float]


@dataclass(frozen=True)
class Price:
    """A spot price (US dollars an hour) and since when it holds."""

    since: datetime
    hourly: float


@functools.cache
def table() -> Table:
    """The list prices, with their date."""
    return load_yaml(Path(__file__).with_name("prices.yaml"), Table)


def on_demand(type_name: str, region: str) -> float | None:
    """The list price, US dollars an hour; None where the file does not know it."""
    return table().hourly.get(type_name) if region in table().regions else None


def gb_month(region: str) -> float:
    """A gp3 disk's price, US dollars a GB and month; the dearest known for a region that the file does not know."""
    known = table().gb_month
    return known.get(region, max(known.values()))


def s3_gb_month(region: str) -> float:
    """What S3 asks for a GB (2^30 bytes) and month, US dollars; the dearest known for a region that the file does not
    know."""
    known = table().s3_gb_month
    return known.get(region, max(known.values()))


def s3_monthly(size: int, region: str) -> float:
    """What S3 asks a month for keeping so many bytes, US dollars; requests and traffic are not counted."""
    return size / 2**30 * s3_gb_month(region)


def disk_hourly(gb: float, region: str) -> float:
    """US dollars an hour of a gp3 disk."""
    return gb * gb_month(region) / _MONTH_H


def billed(start: datetime, end: datetime) -> datetime:
    """The end of the time that AWS bills a machine for: at least 60 s."""
    return max(end, start + _LEAST)


def history(cloud: Cloud, type_name: str, zone: str, start: datetime, end: datetime) -> list[Price]:
    """Spot prices of the type in that zone in the period, the one in force at its start included; oldest first."""
    api: Any = client(cloud, "ec2")
    with explained(f"ask for the spot prices of {type_name}"):
        pages = api.get_paginator("describe_spot_price_history").paginate(
            InstanceTypes=[type_name],
            ProductDescriptions=["Linux/UNIX"],
            AvailabilityZone=zone,
            StartTime=start,
            EndTime=end,
        )
        rows = [row for page in pages for row in page["SpotPriceHistory"]]
    return sorted((Price(row["Timestamp"], float(row["SpotPrice"])) for row in rows), key=lambda price: price.since)


def integrate(prices: Sequence[Price], start: datetime, end: datetime) -> float:
    """US dollars for the time from `start` to `end`. A price holds until the next; the first one also before its time.

    ValueError without prices.
    """
    if not prices:
        raise ValueError("no prices")
    steps = sorted(prices, key=lambda price: price.since)
    edges = [start, *(min(max(price.since, start), end) for price in steps[1:]), end]
    parts = zip(steps, edges[:-1], edges[1:], strict=True)
    return sum(price.hourly * (until - since).total_seconds() / 3600 for price, since, until in parts if until > since)
