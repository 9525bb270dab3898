"""What a region rents at this moment: types, the zones that offer them, prices, quotas. Read calls only, in parallel.

What a GPU type is stands in `images/gpus.yaml`; AWS is asked of types that are not there. Spot prices and
instances are never kept, list prices for a day, all else for some hours (`cache`).
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from images import gpus
from infra.aws import quotas
from infra.aws.ec2 import Ec2
from infra.aws.quotas import Quota
from infra.aws.session import Cloud
from infra.aws.types import InstanceType, Offer
from infra.aws.volumes import kept_zones
from infra.errors import AuthError
from provision.offers import cache, list_prices
from provision.offers.list_prices import ListPrice

_AT_ONCE = 8


@dataclass(frozen=True)
class Market:
    """A region's answers. `spot`: (type, zone) → US dollars an hour, `listed`: type → on demand. `running`: type,
    market and vCPUs of each instance of the account. `limits`: quota's code → vCPUs, without those that are not known.
    `kept`: volume → its zone."""

    region: str
    types: Mapping[str, InstanceType]
    zones: Mapping[str, set[str]]
    subnets: Mapping[str, str]
    spot: Mapping[tuple[str, str], float]
    running: Sequence[tuple[str, str, int]] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)
    listed: Mapping[str, ListPrice] = field(default_factory=dict)

    def offers(self, name: str) -> list[Offer]:
        """The type in each zone that offers it and has a default subnet."""
        if name not in self.types:
            return []
        listed = self.listed[name].hourly if name in self.listed else None
        zones = sorted(self.zones.get(name, set()) & set(self.subnets))
        kind, spot = self.types[name], {zone: self.spot.get((name, zone)) for zone in zones}
        return [Offer(kind, zone, self.subnets[zone], spot[zone], listed) for zone in zones]

    def prices(self, market: str) -> dict[str, float | None]:
        """Each type that can be had here → what an hour of it costs at least."""
        found = {name: [price_of(offer, market) for offer in self.offers(name)] for name in self.types}
        return {
            name: min((price for price in prices if price is not None), default=None)
            for name, prices in found.items()
            if prices
        }

    def free(self, quota: Quota) -> int | None:
        """vCPUs that the account may still start; None where the quota is not known."""
        limit = self.limits.get(quota.code)
        return None if limit is None else max(0, limit - quotas.used(list(self.running), quota))


def price_of(offer: Offer, market: str) -> float | None:
    """US dollars an hour of the offer on that market ("spot" or "on-demand"); None where it is not known."""
    return offer.spot if market == "spot" else offer.on_demand


def known_type(name: str) -> InstanceType | None:
    """The type as our data has it."""
    row = gpus.aws_types().get(name)
    if row is None:
        return None
    return InstanceType(row.name, row.vcpu, int(row.ram_gib * 1024), row.gpu, row.count, row.gpu_mib)


def ask(
    cloud: Cloud, names: Sequence[str], wanted: Sequence[Quota] = (), volumes: Sequence[str] = (), spot: bool = True
) -> Market:
    """All that is to be known of these types in the region. A quota that we may not read is one that is not known.

    `wanted` are the quotas to ask for, `volumes` the names of kept volumes to look for, `spot` whether spot prices are
    needed, or else those on demand. A type that the region does not have is missing in the answer. AuthError or
    CloudError where AWS does not answer.
    """
    ec2 = Ec2(cloud)
    types = {name: kind for name in names if (kind := known_type(name))}
    if rest := [name for name in names if name not in types]:
        what = f"types {' '.join(rest)}"
        types |= cache.look(cloud, what, dict[str, InstanceType], lambda: ec2.instance_types(rest))
    if not types:
        return Market(cloud.region, {}, {}, {}, {})
    there = list(types)
    zones_of = f"zones of {' '.join(there)}"
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        zones = pool.submit(cache.look, cloud, zones_of, dict[str, set[str]], lambda: ec2.zones(there))
        subnets = pool.submit(cache.look, cloud, "subnets", dict[str, str], ec2.subnets)
        prices = pool.submit(lambda: ec2.spot_prices(there) if spot else {})
        listed = pool.submit(lambda: {} if spot else list_prices.ask(cloud, there))
        running = pool.submit(lambda: ec2.running_vcpus() if wanted else [])
        limits = [(quota.code, pool.submit(limit, cloud, quota)) for quota in dict.fromkeys(wanted)]
        kept = pool.submit(lambda: kept_zones(cloud, volumes) if volumes else {})
    known = {code: value for code, found in limits if (value := found.result()) is not None}
    return Market(
        cloud.region, types, zones.result(), subnets.result(), prices.result(), running.result(), known,
        kept.result(), listed.result(),
    )  # fmt: skip


def limit(cloud: Cloud, quota: Quota) -> int | None:
    """The account's quota in vCPUs; None where it is not known, or not ours to read."""

    def asked() -> list[int]:
        found = quotas.value(cloud, quota.code)
        return [] if found is None else [found]

    try:
        return next(iter(cache.look(cloud, f"quota {quota.code}", list[int], asked)), None)
    except AuthError:
        return None
