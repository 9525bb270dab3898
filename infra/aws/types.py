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
class Place:
    """A zone and its default subnet, with the spot price there now (US dollars an hour; None if unknown)."""

    zone: str
    subnet: str
    price: float | None = None


@dataclass(frozen=True)
class SpotRequest:
    """All that we will ask AWS for, resolved before the first side effect.

    `places` are tried in order. `disk_gb` is the encrypted root volume; `max_price` in dollars an hour, None for
    up to the on-demand price. `token` makes the launch idempotent and names what belongs to it.
    """

    name: str
    token: str
    cloud: str
    region: str
    instance_type: InstanceType
    places: tuple[Place, ...]
    image: str
    market: str
    disk_gb: int
    max_hours: float
    address: str
    max_price: float | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def resource(self) -> str:
        """The name of the group, role and profile that belong to this launch."""
        return f"provision-{self.name}-{self.token[:8]}"


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
        """Name of its group, role and profile."""
        return self.tags.get("provision:resource", "")

    @property
    def deadline(self) -> datetime | None:
        at = self.tags.get("provision:deadline")
        return datetime.fromisoformat(at) if at else None

    @property
    def max_price(self) -> float | None:
        """The highest spot price that was asked for, dollars an hour."""
        limit = self.tags.get("provision:max-price")
        return float(limit) if limit else None
