"""On-demand prices: AWS's list, kept for a day with its date; where that cannot be read, the table that comes with us.

An older answer of AWS's is better than the table, which is only as new as this version. Each says its date.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial

import msgspec

from infra.aws import price_list, prices
from infra.aws.session import Cloud
from infra.aws.types import Offer
from infra.concurrency import together
from infra.errors import ProvisionError
from provision.offers import cache

_KEPT_S = 24 * 3600.0


class ListPrice(msgspec.Struct, frozen=True):
    """A type's price on demand in one region, US dollars an hour; None where it is not known.

    `date` is that of the list. `why` says why it is not AWS's own; "" where it is.
    """

    hourly: float | None
    date: str
    why: str = ""


def ask(cloud: Cloud, names: Iterable[str]) -> dict[str, ListPrice]:
    """The list prices of these types in the cloud's region. Without errors: what AWS does not tell, the table does."""
    wanted = list(dict.fromkeys(names))
    found, _ = together([partial(_ask, cloud, name) for name in wanted], at_once=8)
    return dict(zip(wanted, found, strict=True))


def _ask(cloud: Cloud, name: str) -> ListPrice:
    what = f"list price of {name}"

    def asked() -> ListPrice:
        return ListPrice(price_list.on_demand(cloud, name), datetime.now(timezone.utc).date().isoformat())

    told: ListPrice | None
    why = f"it has no {name} in {cloud.region}"
    try:
        told = cache.look(cloud, what, ListPrice, asked, _KEPT_S)
    except ProvisionError as error:
        told, why = cache.kept(cloud, what, ListPrice), error.what
    if told and told.hourly is not None:
        return told
    return ListPrice(prices.on_demand(name, cloud.region), prices.table().date, why)


def priced(cloud: Cloud, offers: Sequence[Offer]) -> tuple[list[Offer], str]:
    """The offers with their prices on demand, and where those are from.

    AWS sells no spot machine above its price on demand: a list that says otherwise is out of date and not believed.
    """
    listed = ask(cloud, [offer.type.name for offer in offers])
    return [_with_price(offer, listed[offer.type.name].hourly) for offer in offers], said(listed)


def _with_price(offer: Offer, hourly: float | None) -> Offer:
    outdated = hourly is not None and offer.spot is not None and offer.spot > hourly
    return dataclasses.replace(offer, on_demand=None if outdated else hourly)


def said(listed: Mapping[str, ListPrice]) -> str:
    """Where these prices are from, in words; "" where there are none."""
    known = [price for price in listed.values() if price.hourly is not None]
    ours = sorted({(price.date, price.why) for price in known if price.why})
    if ours:
        return f"provision's own list of {ours[0][0]}, as AWS's does not tell: {ours[0][1]}"
    dates = sorted({price.date for price in known})
    return f"AWS's price list of {dates[0]}" if dates else ""
