"""Deciding what to rent, before anything is done: read calls only, and refusals with their mend.

`plan` gives a SpotRequest for each region, in the order to try: the values that --dry-run prints and `machines.up` acts
on. From a wish to a request: the types that would do → what the region offers of them (`market`) → without those that
the image does not support, that cost too much or that the quota has no room for (`narrow`) → those that start from one
machine image (`amis`), the cheapest first.
"""

import dataclasses
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timezone

from infra.aws.session import Cloud, own_address
from infra.aws.types import DataVolume, Offer, SpotRequest
from infra.errors import NotOfferedError, PriceError, QuotaError, UsageError
from provision import amis, console, lookups, narrow, userdata
from provision import market as markets
from provision.market import Market
from provision.settings import Settings
from provision.supports import unsupported
from provision.wish import Wish as Wish
from provision.wish import check

Say = Callable[[str], None]

MOST_OFFERS = 20
_SHORTEST_H = 0.25  # a budget that pays for less is a slip of the finger


def plan(cloud: Cloud, settings: Settings, wish: Wish, say: Say = console.line) -> list[SpotRequest]:
    """All that will be asked for, a request for each region. Refuses what cannot work, with the mend.

    A region that cannot serve is left out with a word, as long as another can.
    """
    check(settings, wish)
    names = dict.fromkeys((cloud.region, *settings.more_regions))
    clouds = [dataclasses.replace(cloud, region=name) for name in names]
    with ThreadPoolExecutor(len(clouds) + 1) as pool:
        address = pool.submit(lambda: "" if settings.via == "ssm" else own_address(cloud))
        plans = [pool.submit(_in_region, one, settings, wish, say) for one in clouds]
    found = [done for one in plans if (done := _unless_refused(one, say if len(plans) > 1 else None))]
    if not found:
        plans[0].result()
    where = [one for one in found if one[1]] or found  # a kept volume does not leave its region
    return [dataclasses.replace(request, address=address.result()) for request, _ in where]


def _unless_refused(plan: Future[tuple[SpotRequest, bool]], say: Say | None) -> tuple[SpotRequest, bool] | None:
    try:
        return plan.result()
    except (NotOfferedError, QuotaError, PriceError) as error:
        if say:
            say(f"left out: {error.what}")
        return None


def _in_region(cloud: Cloud, settings: Settings, wish: Wish, say: Say) -> tuple[SpotRequest, bool]:
    """The request, and whether a kept volume of the wish is in this region.

    A refusal that may rest on an answer of some hours ago is asked again.
    """
    begun = time.time()
    try:
        return _resolved(cloud, settings, wish, say)
    except (NotOfferedError, QuotaError):
        if not lookups.forget(cloud, before=begun):
            raise
    return _resolved(cloud, settings, wish, say)


def _resolved(cloud: Cloud, settings: Settings, wish: Wish, say: Say) -> tuple[SpotRequest, bool]:
    names, more = narrow.candidates(wish)
    asked = narrow.quotas_of(names, wish.market, settings.fallback)
    volumes = [one.name for one in wish.volumes]
    market = markets.ask(cloud, [*names, *more], asked, volumes, wish.market == "spot")
    offers = narrow.offered(market, wish, names, more)
    offers = narrow.where_volumes_are(offers, market)
    offers = narrow.elsewhere(offers, wish.avoid)
    offers = _supported(offers, settings, wish)
    offers = narrow.affordable(offers, settings.max_price, wish)
    offers = narrow.within_quota(offers, market, wish.market)
    offers = narrow.best(offers, wish)
    ami = _ami(settings, offers[0])
    image = amis.resolve(cloud, ami)
    offers = [offer for offer in offers if _ami(settings, offer) == ami][:MOST_OFFERS]
    request = SpotRequest(
        name=wish.name, token=uuid.uuid4().hex, cloud=cloud.name, region=cloud.region, offers=tuple(offers),
        image=image.id, root_device=image.root_device, market=wish.market, disk_gb=max(settings.disk_gb, image.gb),
        max_hours=settings.max_hours, idle_minutes=settings.idle_minutes, address="",
        fallback=_may_fall_back(cloud, offers, market, settings, wish, say), via=settings.via,
        max_price=settings.max_price if wish.market == "spot" else None, budget=settings.budget,
        keep_on_error_minutes=settings.keep_on_error_minutes, volumes=wish.volumes,
    )  # fmt: skip
    _check_budget(request)
    return dataclasses.replace(request, tags=_tags(request, image.driver)), bool(market.kept)


def _supported(offers: list[Offer], settings: Settings, wish: Wish) -> list[Offer]:
    """Without the types that the image does not run on."""
    if not wish.image:
        return offers
    reasons = {offer.type.name: unsupported(wish.image, offer.type, _ami(settings, offer).version) for offer in offers}
    left = [offer for offer in offers if reasons[offer.type.name] is None]
    if not left:
        raise next(reason for reason in reasons.values() if reason)
    return left


def _ami(settings: Settings, offer: Offer) -> amis.Ami:
    return amis.choose(settings, amis.family_of(offer.type.gpu))


def _may_fall_back(cloud: Cloud, offers: list[Offer], market: Market, settings: Settings, wish: Wish, say: Say) -> bool:
    if settings.fallback != "on-demand" or wish.market != "spot":
        return False
    able = any(narrow.fits(offer, market, "on-demand") for offer in offers)
    if not able:
        say(f"no falling back on demand in {market.region}: the quota for it has no room")
        lookups.forget(cloud)  # the next `up` sees a quota that was raised
    return able


def _check_budget(request: SpotRequest) -> None:
    if request.budget is None:
        return
    cost = userdata.cost_per_hour(request)
    if request.budget / cost < _SHORTEST_H:
        raise UsageError(
            f"a budget of ${request.budget:g} pays for {request.budget / cost * 60:.0f} minutes of {cost:.2f} $/h",
            "give a larger --budget, or take a cheaper type",
        )


def _tags(request: SpotRequest, driver: str = "") -> dict[str, str]:
    """The instance's state: what any laptop can know of it. Values that are not set have no tag."""
    deadline = userdata.ends_at(request, datetime.now(timezone.utc))
    tags = {
        "Name": f"provision {request.name}",
        "provision:name": request.name,
        "provision:resource": request.resource,
        "provision:deadline": deadline.isoformat(),
        "provision:disk": str(request.disk_gb),
        "provision:hours": f"{request.max_hours:g}",
        "provision:idle": f"{request.idle_minutes:g}",
        "provision:via": request.via,
        "provision:max-price": _number(request.max_price),
        "provision:budget": _number(request.budget),
        "provision:price": _number(request.dearest),
        "provision:volumes": ",".join(_volume(one) for one in request.volumes),
        "provision:driver": driver,
    }
    return {key: value for key, value in tags.items() if value}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _volume(one: DataVolume) -> str:
    """As it is given: data:200, scratch:50:delete."""
    return f"{one.name}:{one.gb}" + ("" if one.keep else ":delete")
