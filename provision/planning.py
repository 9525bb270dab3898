"""Deciding what to rent, before anything is done: read calls only, and refusals with their mend.

`plan` gives a SpotRequest, the value that --dry-run prints and `machines.up` acts on.
"""

import dataclasses
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from infra.aws.ec2 import Ec2
from infra.aws.session import Cloud, own_address
from infra.aws.ssm import parameter
from infra.aws.types import Place, SpotRequest
from infra.errors import NotOfferedError, PriceError, UsageError
from provision.settings import Settings


@dataclass(frozen=True)
class Wish:
    """What the user asked `up` for."""

    name: str
    type: str
    market: str = "spot"
    avoid: str = ""


def plan(cloud: Cloud, settings: Settings, wish: Wish) -> SpotRequest:
    """All that will be asked for; only read calls, in parallel. Refuses what cannot work, with the mend."""
    _check_name(wish.name)
    ec2 = Ec2(cloud)
    with ThreadPoolExecutor(4) as pool:
        kind = pool.submit(ec2.instance_type, wish.type)
        places = pool.submit(ec2.places, wish.type)
        address = pool.submit(own_address, cloud)
        image = pool.submit(lambda: settings.ami or parameter(cloud, settings.ami_parameter))
        kind.result()  # its refusal names the nearest types: it goes before all others
    ordered = _ordered(places.result(), wish.avoid)
    if not ordered:
        raise NotOfferedError(f"{wish.type} is not offered in {cloud.region}", "choose another --region or type")
    _check_price(wish, settings.max_price, ordered)
    request = SpotRequest(
        name=wish.name, token=uuid.uuid4().hex, cloud=cloud.name, region=cloud.region, instance_type=kind.result(),
        places=ordered, image=image.result(), market=wish.market, disk_gb=settings.disk_gb,
        max_hours=settings.max_hours, address=address.result(),
        max_price=settings.max_price if wish.market == "spot" else None,
    )  # fmt: skip
    return dataclasses.replace(request, tags=_tags(request))


def _tags(request: SpotRequest) -> dict[str, str]:
    """The instance's state: what any laptop can know of it."""
    deadline = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(hours=request.max_hours)
    limit = {} if request.max_price is None else {"provision:max-price": f"{request.max_price:g}"}
    return {
        **limit,
        "Name": f"provision {request.name}",
        "provision:name": request.name,
        "provision:resource": request.resource,
        "provision:deadline": deadline.isoformat(),
        "provision:disk": str(request.disk_gb),
        "provision:hours": f"{request.max_hours:g}",
    }


def _ordered(places: list[Place], avoid: str) -> tuple[Place, ...]:
    """Cheapest first, but a zone to avoid (it just took a machine from us) last."""
    return tuple(sorted(places, key=lambda place: place.zone == avoid))


def _check_name(name: str) -> None:
    if not name or len(name) > 40 or not all(c.isascii() and (c.isalnum() or c == "-") for c in name):
        raise UsageError(
            f"{name!r} cannot name an instance",
            "use up to 40 letters, digits and hyphens, such as --name my-run",
        )


def _check_price(wish: Wish, limit: float | None, places: tuple[Place, ...]) -> None:
    prices = [place.price for place in places if place.price is not None]
    if wish.market == "spot" and limit is not None and prices and min(prices) > limit:
        raise PriceError(
            f"the lowest spot price of {wish.type} is ${min(prices):.3f} an hour, above --max-price {limit:g}",
            f"give --max-price {min(prices) * 1.1:.2f}, or leave it out to pay up to the on-demand price",
        )
