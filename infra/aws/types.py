"""The nouns of EC2 as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class InstanceType:
    """An AWS type and its GPUs. Memory of one GPU in MiB, as AWS reports it."""

    name: str
    vcpus: int
    memory_mib: int
    gpu: str = ""
    gpus: int = 0
    gpu_memory_mib: int = 0
    instance_store_gb: int = 0
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
class DataVolume:
    """A disk of its own, at /volumes/NAME on the machine; `down` keeps it unless `keep` is False."""

    name: str
    gb: int
    keep: bool = True


@dataclass(frozen=True)
class SpotRequest:
    """All that we will ask AWS of one region for, resolved before the first side effect.

    AWS takes one of `offers`: for spot the best of price and capacity, on demand the cheapest. All of them run the
    machine image `image`, whose root disk is `root_device` and has `disk_gb`, encrypted. `fallback`: on demand where no
    offer has spot capacity. `max_price` in dollars an hour, None for up to the on-demand price; `budget` in dollars.
    SSH is let in from `address` alone; with `via` "ssm" from nowhere. `token` makes the launch idempotent and names
    what belongs to it.
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
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def resource(self) -> str:
        """The name of the group, role, profile, template and schedule that belong to this launch."""
        return f"provision-{self.name}-{self.token[:8]}"

    @property
    def types(self) -> str:
        """The types of its offers, for messages."""
        return " or ".join(dict.fromkeys(offer.type.name for offer in self.offers))

    @property
    def dearest(self) -> float | None:
        """The most that an hour may cost at today's prices (US dollars); None where a price is unknown."""
        prices = [self._dearest(offer) for offer in self.offers]
        known = [price for price in prices if price is not None]
        return max(known) if known and len(known) == len(prices) else None

    def _dearest(self, offer: Offer) -> float | None:
        return offer.spot if self.market == "spot" and not self.fallback else offer.on_demand


@dataclass(frozen=True)
class Instance:
    """What we got; its own record is its EC2 tags."""

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
        """Whether it ended without the user's, or its own, doing. AWS's codes: Client.… is us, Server.… is AWS."""
        return not self.alive and not self.reason.startswith("Client.")

    @property
    def alive(self) -> bool:
        return self.state in ("pending", "running", "stopping", "stopped", "shutting-down")

    @property
    def resource(self) -> str:
        """Name of its group, role, profile, template and schedule."""
        return self.tags.get("provision:resource", "")

    @property
    def via(self) -> str:
        """How one logs in: "ssh" at its address, or "ssm" through Session Manager."""
        return self.tags.get("provision:via") or "ssh"

    @property
    def deadline(self) -> datetime | None:
        at = self.tags.get("provision:deadline")
        return datetime.fromisoformat(at) if at else None

    @property
    def max_price(self) -> float | None:
        """The highest spot price that was asked for, dollars an hour."""
        return self._number("max-price")

    @property
    def price(self) -> float | None:
        """What an hour was expected to cost at most when it was launched, US dollars."""
        return self._number("price")

    @property
    def budget(self) -> float | None:
        """What it may cost in all, US dollars."""
        return self._number("budget")

    @property
    def idle_minutes(self) -> float:
        """After how long without work it ends; 0 for never."""
        return self._number("idle") or 0.0

    def _number(self, tag: str) -> float | None:
        text = self.tags.get(f"provision:{tag}")
        return float(text) if text else None
