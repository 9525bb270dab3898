"""Deciding what to rent, before anything is done: read calls only, and refusals with their mend.

`plan` gives a SpotRequest for each region, in the order to try: the values that --dry-run prints and `machines.up` acts
on. From a wish to a request: the types that would do → what the region offers of them (`market`) → without those that
the image does not support, that cost too much or that the quota has no room for (`filters`) → those that start from one
machine image (`amis`), the cheapest first.
"""

import dataclasses
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timezone

from infra import laptop
from infra.aws.iam import Iam
from infra.aws.session import Cloud, own_address
from infra.aws.types import Offer, SpotRequest
from infra.errors import AuthError, NotOfferedError, PriceError, QuotaError
from provision.clouds import Session
from provision.console import Say
from provision.offers import ami_lookup, amis, budget, cache, filters, list_prices
from provision.offers import market as markets
from provision.offers.compatibility import unsupported
from provision.offers.market import Market
from provision.offers.requirements import Requirements, check
from provision.settings import Settings, state_home

MOST_OFFERS = 20  # of one request, the cheapest first


def plan(session: Session, wish: Requirements) -> list[SpotRequest]:
    """All that will be asked for, a request for each region. Refuses what cannot work, with the mend.

    A region that cannot serve is left out with a word, as long as another can. Where none can, the first region's
    refusal is raised: NotOfferedError (the type, or no machine image for it), PriceError (--max-price) or QuotaError.
    UsageError for what no region could serve, an image that runs on none of the types among it, a budget without a
    price, two kept volumes of one name, and a permissions boundary that is not there; AuthError or CloudError where AWS
    does not answer.
    """
    cloud, settings = session.cloud, session.settings
    check(settings, wish)
    names = dict.fromkeys((cloud.region, *settings.more_regions))
    places = [session.at(dataclasses.replace(cloud, region=name)) for name in names]
    with ThreadPoolExecutor(len(places) + 2) as pool:
        address = pool.submit(lambda: "" if settings.via == "ssm" else own_address(cloud))
        bounded = pool.submit(_look_for_boundary, cloud)
        plans = [pool.submit(_in_region, place, wish) for place in places]
    found = [done for plan in plans if (done := _unless_refused(plan, session.say if len(plans) > 1 else None))]
    if not found:
        plans[0].result()
    bounded.result()
    where = [plan for plan in found if plan[1]] or found  # a kept volume does not leave its region
    return [dataclasses.replace(request, address=address.result()) for request, _ in where]


def _look_for_boundary(cloud: Cloud) -> None:
    """UsageError where the permissions boundary of the settings is not there: no role could be made. Who may not look
    for it is told when the role is made."""
    if cloud.boundary:
        with suppress(AuthError):
            Iam(cloud).boundary()


def _unless_refused(plan: Future[tuple[SpotRequest, bool]], say: Say | None) -> tuple[SpotRequest, bool] | None:
    try:
        return plan.result()
    except (NotOfferedError, QuotaError, PriceError) as error:
        if say:
            say(f"left out: {error.what}")
        return None


def _in_region(session: Session, wish: Requirements) -> tuple[SpotRequest, bool]:
    """The request for the session's region, and whether a kept volume of the wish is in this region.

    A refusal that may rest on an answer of some hours ago is asked again.
    """
    begun = time.time()
    try:
        return _resolved(session, wish)
    except (NotOfferedError, QuotaError):
        if not cache.forget(session.cloud, before=begun):
            raise
    return _resolved(session, wish)


def _resolved(session: Session, wish: Requirements) -> tuple[SpotRequest, bool]:
    cloud, settings = session.cloud, session.settings
    names, more = filters.candidates(wish)
    asked = filters.quotas_of(names, wish.market, settings.fallback)
    volumes = [volume.name for volume in wish.volumes if volume.keep]
    market = markets.ask(cloud, [*names, *more], asked, volumes, wish.market == "spot")
    offers = filters.offered(market, wish, names, more)
    offers = filters.where_volumes_are(offers, market)
    offers = filters.elsewhere(offers, wish.avoid)
    offers = _supported(session, offers, wish)
    offers = filters.affordable(offers, settings.max_price, wish)
    offers = filters.within_quota(offers, market, wish.market)
    offers = filters.best(offers, wish)
    ami = _ami(settings, offers[0])
    image = ami_lookup.resolve(cloud, ami)
    offers = [offer for offer in offers if _ami(settings, offer) == ami][:MOST_OFFERS]
    offers, listed = list_prices.priced(cloud, offers)
    request = SpotRequest(
        name=wish.name, token=uuid.uuid4().hex, cloud=cloud.name, region=cloud.region, offers=tuple(offers),
        image=image.id, root_device=image.root_device, market=wish.market, disk_gb=max(settings.disk_gb, image.gb),
        max_hours=settings.max_hours, idle_minutes=settings.idle_minutes, address="",
        fallback=_may_fall_back(session, offers, market, wish), via=settings.via,
        max_price=settings.max_price if wish.market == "spot" else None, budget=settings.budget,
        keep_on_error_minutes=settings.keep_on_error_minutes, volumes=wish.volumes,
        there=tuple(sorted(market.kept)), listed=listed,
        own_run=wish.own_run, wish=wish.kept, owner=laptop.owner(state_home()),
    )  # fmt: skip
    budget.check(request)
    record = request.record(budget.ends_at(request, datetime.now(timezone.utc)), image.driver)
    return dataclasses.replace(request, tags=record.to_tags()), bool(market.kept)


def _supported(session: Session, offers: list[Offer], wish: Requirements) -> list[Offer]:
    """Without the types that the image does not run on, under the driver of the machine image that they would start."""
    if not wish.image:
        return offers
    reasons = {}
    for offer in {offer.type.name: offer for offer in offers}.values():
        ami = _ami(session.settings, offer)
        driver = ami_lookup.resolve(session.cloud, ami).version  # asked once for each machine image
        reasons[offer.type.name] = unsupported(wish.image, offer.type, driver)
    left = [offer for offer in offers if reasons[offer.type.name] is None]
    if not left:
        raise next(reason for reason in reasons.values() if reason)
    return left


def _ami(settings: Settings, offer: Offer) -> amis.Ami:
    return amis.choose(settings, amis.family_of(offer.type.gpu, offer.type.name))


def _may_fall_back(session: Session, offers: list[Offer], market: Market, wish: Requirements) -> bool:
    if session.settings.fallback != "on-demand" or wish.market != "spot":
        return False
    able = any(filters.fits(offer, market, "on-demand") for offer in offers)
    if not able:
        session.say(f"no falling back on demand in {market.region}: the quota for it has no room")
        cache.forget(session.cloud)  # the next `up` sees a quota that was raised
    return able
