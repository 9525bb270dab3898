"""From a wish and a region's market to the offers that will do: each step leaves some, or refuses with the mend.

Types that have other accelerators than NVIDIA's GPUs (AMD, Gaudi, Trainium, Inferentia, Qualcomm), and those with ARM
processors, are refused by name before AWS is asked: no image is for them (`strangers` in images/gpus.yaml).
"""

import math
from collections.abc import Sequence

from images import gpus
from infra.aws.quotas import Quota, quota_of
from infra.aws.types import Offer
from infra.border import nearest
from infra.errors import NotOfferedError, PriceError, QuotaError, UsageError
from provision.offers import equivalents
from provision.offers.market import Market, price_of
from provision.offers.requirements import Requirements

_DEAREST = 2.0  # a stand-in that costs more than this times the cheapest is left out: AWS also looks at capacity


def candidates(wish: Requirements) -> tuple[list[str], list[str]]:
    """Types that would do, and more whose prices a refusal names.

    NotOfferedError for a type that no image of ours runs on; UsageError where AWS rents nothing with so many GPUs.
    """
    if why := gpus.stranger(wish.type):
        mend = "take a type with Intel or AMD processors, and NVIDIA's GPUs: g4dn.xlarge"
        raise NotOfferedError(f"{wish.type} {why}", mend)
    others = [kind.name for kind in equivalents.stand_ins(wish.type)]
    if not wish.type:
        names = [kind.name for kind in equivalents.by_need(max(1, wish.gpus), wish.gpu_memory_gb)]
        if not names:
            raise UsageError(f"AWS rents no {wish.what}", f"the most: {_the_most(wish)}")
        return names, []
    return ([wish.type, *others], []) if wish.or_equivalent else ([wish.type], others)


def _the_most(wish: Requirements) -> str:
    """The most GPUs with that memory, or else the most memory."""
    enough = equivalents.with_memory(wish.gpu_memory_gb)
    best = max(enough or equivalents.with_memory(0), key=lambda kind: (kind.count if enough else 0, kind.gpu_mib))
    return f"{best.name} has {best.count} × {best.gpu} with {best.gpu_mib} MiB"


def quotas_of(names: Sequence[str], market: str, fallback: str) -> list[Quota]:
    """The quotas that count for these types on the market, and on demand where the request may fall back to that."""
    kinds = [market, "on-demand"] if fallback == "on-demand" else [market]
    found = [quota_of(name, kind) for name in names for kind in kinds]
    return list(dict.fromkeys(quota for quota in found if quota))


def offered(market: Market, wish: Requirements, names: list[str], more: list[str]) -> list[Offer]:
    """What the region offers of the types `names`; NotOfferedError that names what of `more` it has instead."""
    found = [offer for name in names for offer in market.offers(name)]
    found = [offer for offer in found if offer.type.spot or wish.market != "spot"]
    if found:
        return found
    if any(market.zones.get(name) for name in names) and not market.subnets:
        raise NotOfferedError(
            f"{market.region} has no default subnets", "aws ec2 create-default-vpc, or choose another --region"
        )
    known = wish.type in market.types or not wish.type
    what = f"{wish.what} is not offered in {market.region}"
    if wish.type and not known:
        what = f"there is no instance type {wish.type!r} in {market.region}"
    raise NotOfferedError(what, _instead(market, wish, more))


def _instead(market: Market, wish: Requirements, more: list[str]) -> str:
    prices = market.prices(wish.market)
    types = [gpus.aws_types()[name] for name in more if name in prices]
    if types:
        return f"take --or-equivalent, or one of its stand-ins: {equivalents.words(types, prices)}"
    close = [] if wish.type in gpus.aws_types() else nearest(wish.type, gpus.aws_types())
    return f"did you mean {' or '.join(close)}?" if close else "choose another --region or type"


def where_volumes_are(offers: list[Offer], market: Market) -> list[Offer]:
    """Those in the zone of the kept volumes, which cannot leave it. NotOfferedError where there are none."""
    zones = sorted(set(market.kept.values()))
    if not zones:
        return offers
    there = [offer for offer in offers if zones == [offer.zone]]
    if there:
        return there
    where = ", ".join(f"{name} in {zone}" for name, zone in sorted(market.kept.items()))
    raise NotOfferedError(
        f"the kept volumes ({where}) are not where {offers[0].type.name} is offered",
        "choose another type, or other names for new --volume",
    )


def elsewhere(offers: list[Offer], zone: str) -> list[Offer]:
    """Without the zone that just took a machine from us, where there is another."""
    return [offer for offer in offers if offer.zone != zone] or offers


def affordable(offers: list[Offer], limit: float | None, wish: Requirements) -> list[Offer]:
    """Those within the limit for spot (US dollars an hour), or of unknown price. PriceError with the least price."""
    if wish.market != "spot" or limit is None:
        return offers
    left = [offer for offer in offers if offer.spot is None or offer.spot <= limit]
    if left:
        return left
    least = min(offer.spot for offer in offers if offer.spot is not None)
    raise PriceError(
        f"the lowest spot price of a {wish.what} is ${least:.3f} an hour, above --max-price {limit:g}",
        f"give --max-price {math.ceil(least * 110) / 100:.2f}, or leave it out to pay up to the on-demand price",
    )


def within_quota(offers: list[Offer], market: Market, kind: str) -> list[Offer]:
    """Those that the account's quota for the market `kind` has room for. QuotaError where there are none."""
    left = [offer for offer in offers if fits(offer, market, kind)]
    if left:
        return left
    least = min(offers, key=lambda offer: offer.type.vcpus)
    quota = quota_of(least.type.name, kind)
    assert quota is not None  # nothing else refuses an offer
    limit, free = market.limits[quota.code], market.free(quota)
    raise QuotaError(
        f"{least.type.name} needs {least.type.vcpus} vCPUs, and {market.region} has {free} left of the {limit} of its "
        f"quota {quota.name} ({quota.code})",
        f"ask for more at {quota.page(market.region)}, end a machine, or take a smaller type",
    )


def fits(offer: Offer, market: Market, kind: str) -> bool:
    """Whether the account's quota has room for the offer on the market `kind`, as far as that is known."""
    quota = quota_of(offer.type.name, kind)
    free = market.free(quota) if quota else None
    return free is None or offer.type.vcpus <= free


def best(offers: list[Offer], wish: Requirements) -> list[Offer]:
    """The type that was named, then the cheapest; and nothing that costs a multiple of the cheapest."""

    def order(offer: Offer) -> tuple[bool, bool, float, str]:
        price = price_of(offer, wish.market)
        return offer.type.name != wish.type, price is None, price or 0.0, offer.zone

    prices = [price for offer in offers if (price := price_of(offer, wish.market)) is not None]
    most = min(prices, default=0.0) * _DEAREST
    left = [offer for offer in offers if offer.type.name == wish.type or (price_of(offer, wish.market) or 0.0) <= most]
    return sorted(left, key=order)
