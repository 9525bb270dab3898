"""The nouns of EC2 as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from infra.aws.tags import DataVolume as DataVolume
from infra.aws.tags import TagRecord
from infra.aws.tags import Wish as Wish


@dataclass(frozen=True)
class InstanceType:
    """An AWS type and its GPUs. Memory of one GPU in MiB, as AWS reports it."""

    name: str
    vcpus: int
    memory_mib: int
    gpu: str = ""
    gpus: int = 0
    gpu_memory_mib: int = 0
    spot: bool = True


@dataclass(frozen=True)
class Offer:
    """A type in one zone and its default subnet. Prices in US dollars an hour, None where they are unknown: `spot` now,
    `on_demand` as listed."""

    type: InstanceType
    zone: str
    subnet: str
    spot: float | None = None
    on_demand: float | None = None


@dataclass(frozen=True)
class SpotRequest:
    """All that we will ask of AWS in one region, resolved before the first side effect.

    AWS takes one of `offers`: for spot the best of price and capacity, on demand the cheapest. All of them run the
    machine image `image`, whose root disk is `root_device` and has `disk_gb`, encrypted. `fallback`: on demand where no
    offer has spot capacity. `max_price` in dollars an hour, None for up to the on-demand price; `budget` in dollars.
    `listed` says in words where the prices on demand are from.
    SSH is let in from `address` alone; with `via` "ssm" from nowhere. `own_run`: for one training, after which the
    machine powers off; `wish`: what was asked for, where that was not just one type. `there`: the names of its volumes
    that are there already, kept by an earlier machine; the others are made by the launch. `token` makes the launch
    idempotent and names what belongs to it; `owner` is in the tags of all that.
    """

    name: str
    token: str
    cloud: str
    region: str
    offers: tuple[Offer, ...]
    image: str
    root_device: str
    market: str
    disk_gb: int
    max_hours: float
    idle_minutes: float
    address: str
    fallback: bool = False
    via: str = "ssh"
    max_price: float | None = None
    budget: float | None = None
    keep_on_error_minutes: float | None = None
    volumes: tuple[DataVolume, ...] = ()
    there: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    listed: str = ""
    owner: str = ""
    own_run: bool = False
    wish: Wish = field(default_factory=Wish)

    @property
    def launch(self) -> str:
        """The name of the group, role, profile, template and schedule that belong to this launch."""
        return f"provision-{self.name}-{self.token[:8]}"

    def record(self, deadline: datetime, driver: str = "") -> TagRecord:
        """The record for the machine's tags. `driver`: the branch of NVIDIA's driver on the machine image."""
        return TagRecord(
            name=self.name, launch=self.launch, deadline=deadline, disk_gb=self.disk_gb, max_hours=self.max_hours,
            idle_minutes=self.idle_minutes, via=self.via, max_price=self.max_price, budget=self.budget,
            price=self.dearest, volumes=self.volumes, driver=driver, fallback=self.fallback,
            own_run=self.own_run, wish=self.wish, keep_on_error_minutes=self.keep_on_error_minutes,
            owner=self.owner,
        )  # fmt: skip

    @property
    def types(self) -> str:
        """The types of its offers, for messages."""
        return " or ".join(dict.fromkeys(offer.type.name for offer in self.offers))

    @property
    def dearest(self) -> float | None:
        """The most that AWS may charge for an hour of the machine (US dollars); None where that is not known.

        For spot it is the limit that AWS is asked to keep to, whatever the price becomes.
        """
        prices = [self.cap(offer) for offer in self.offers] if self.market == "spot" else []
        if self.market != "spot" or self.fallback:
            prices += [offer.on_demand for offer in self.offers]
        known = [price for price in prices if price is not None]
        return max(known) if known and len(known) == len(prices) else None

    @property
    def now(self) -> float | None:
        """What an hour of its first offer costs at the moment (US dollars); None where that is not known."""
        first = self.offers[0]
        return first.spot if self.market == "spot" else first.on_demand

    def price_of(self, instance: "Instance") -> float | None:
        """What an hour of what AWS gave cost when it was asked for (US dollars); None where that is not known."""
        given = [offer for offer in self.offers if (offer.type.name, offer.zone) == (instance.type, instance.zone)]
        prices = [offer.spot if instance.market == "spot" else offer.on_demand for offer in given]
        return prices[0] if prices else None

    def cap(self, offer: Offer) -> float | None:
        """The highest spot price that we pay for the offer: `max_price`, but no more than it costs on demand.

        None where there is no limit of ours; AWS then charges no more than its own price on demand.
        """
        limits = [price for price in (self.max_price, offer.on_demand) if price is not None]
        return min(limits, default=None)


@dataclass(frozen=True)
class Instance:
    """An instance that we rented. Its EC2 tags hold its record."""

    id: str
    name: str
    state: str
    type: str
    zone: str
    market: str
    address: str | None
    launched: datetime
    tags: Mapping[str, str]
    image: str = ""
    reason: str = ""

    @property
    def taken_away(self) -> bool:
        """Whether AWS ended it, not the user nor the instance itself. AWS's codes: Client.… is us, Server.… is AWS."""
        return not self.alive and not self.reason.startswith("Client.")

    @property
    def alive(self) -> bool:
        return self.state in ("pending", "running", "stopping", "stopped", "shutting-down")

    @property
    def record(self) -> TagRecord:
        """The record in its tags."""
        return TagRecord.from_tags(self.tags)

    @property
    def launch(self) -> str:
        """Name of its group, role, profile, template and schedule."""
        return self.record.launch

    @property
    def owner(self) -> str:
        """Who launched it, and from which laptop; "" where an older version did."""
        return self.record.owner

    @property
    def via(self) -> str:
        """How one logs in: "ssh" at its address, or "ssm" through Session Manager."""
        return self.record.via

    @property
    def deadline(self) -> datetime | None:
        return self.record.deadline

    @property
    def max_price(self) -> float | None:
        """The highest spot price that was asked for, dollars an hour."""
        return self.record.max_price

    @property
    def price(self) -> float | None:
        """The most that AWS may charge for an hour of it, as it was known at its launch, US dollars."""
        return self.record.price

    @property
    def budget(self) -> float | None:
        """What it may cost in all, US dollars."""
        return self.record.budget

    @property
    def idle_minutes(self) -> float:
        """After how long without work it ends; 0 for never."""
        return self.record.idle_minutes
