"""Spot requests and spot prices. moto has no request for a RunInstances with spot options, and one fixed price."""

from datetime import datetime, timezone
from typing import Any

from moto.core.parse import default_timestamp_parser
from moto.core.responses import ActionResult
from moto.ec2.models.spot_requests import SpotInstanceRequest, SpotRequestBackend
from moto.ec2.responses.spot_instances import SpotInstances
from moto.ec2.utils import random_spot_request_id

from localcloud import hardware

MESSAGES = {
    "fulfilled": "Your Spot request is fulfilled.",
    "instance-terminated-by-user": "Your Spot Instance was terminated by you.",
    "instance-terminated-by-price": "Your Spot Instance was terminated because the Spot price exceeds your price.",
    "instance-terminated-no-capacity": "Your Spot Instance was terminated: there is no spare capacity.",
    "request-canceled-and-instance-running": "Your Spot request is canceled, but your instance is still running.",
    "canceled-before-fulfillment": "Your Spot request is canceled.",
}


class Request(SpotInstanceRequest):  # type: ignore[misc]
    """The request behind an instance that RunInstances started."""

    def __init__(self, instance: Any, price: str, tags: dict[str, dict[str, str]], **rest: Any) -> None:
        self.given = instance
        self.state: str = "open"
        self.created = datetime.now(timezone.utc)
        super().__init__(
            ec2_backend=instance.ec2_backend,
            spot_request_id=random_spot_request_id(),
            price=price,
            image_id=instance.image_id,
            key_name=instance.key_name,
            security_groups=[],
            user_data=None,
            instance_type=instance.instance_type,
            placement=instance.placement.zone,
            subnet_id=instance.subnet_id,
            tags=tags,
            instance_interruption_behaviour="terminate",
            **rest,
        )
        self.launch_specification.groups = instance.security_groups
        self._status_code, self.status_message = "fulfilled", MESSAGES["fulfilled"]

    def launch_instance(self) -> Any:
        return self.given

    @property
    def create_time(self) -> str:
        return _iso(self.created)

    @property
    def status(self) -> dict[str, str]:
        now = _iso(datetime.now(timezone.utc))
        return {"Code": self._status_code, "Message": self.status_message, "UpdateTime": now}

    @property
    def launched_availability_zone(self) -> str:
        return str(self.given.placement.zone)

    def close(self, code: str) -> None:
        """The instance is gone; `code` says why, in AWS's words."""
        if self.state == "active":
            self.state = "closed"
        self._status_code, self.status_message = code, MESSAGES[code]

    def cancel(self) -> None:
        running = self.given.state in ("pending", "running")
        self.state = "cancelled"
        self._status_code = "request-canceled-and-instance-running" if running else "canceled-before-fulfillment"
        self.status_message = MESSAGES[self._status_code]


def request_for(response: Any, instance: Any) -> None:
    """Write down the spot request of an instance that RunInstances has just made."""
    options = "InstanceMarketOptions.SpotOptions"
    request = Request(
        instance,
        price=response._get_param(f"{options}.MaxPrice") or "",
        tags=response._parse_tag_specification(),
        spot_instance_type=response._get_param(f"{options}.SpotInstanceType") or "one-time",
        **dict.fromkeys(_UNUSED),
    )
    instance.ec2_backend.spot_instance_requests[request.id] = request
    instance.spot_request, instance.spot_instance_request_id = request, request.id


_UNUSED = (
    "valid_from", "valid_until", "launch_group", "availability_zone_group", "kernel_id", "ramdisk_id",
    "monitoring_enabled", "spot_fleet_id",
)  # fmt: skip


def install() -> None:
    """Put our methods in the place of those of moto's classes."""
    moto_cancel = SpotRequestBackend.cancel_spot_instance_requests

    def cancel(self: Any, request_ids: list[str]) -> list[Any]:
        known = [self.spot_instance_requests.get(request_id) for request_id in request_ids]
        if not all(isinstance(request, Request) for request in known):
            return list(moto_cancel(self, request_ids))
        for request in known:
            request.cancel()
        return known

    SpotRequestBackend.cancel_spot_instance_requests = cancel
    SpotInstances.describe_spot_price_history = _history


def _history(self: Any) -> Any:
    """DescribeSpotPriceHistory: each zone's prices in the period, newest first."""
    filters = self._filters_from_querystring()
    kinds = self._get_param("InstanceTypes", []) or filters.get("instance-type", [])
    zone = self._get_param("AvailabilityZone")
    zones = filters.get("availability-zone", [zone] if zone else [])
    now = datetime.now(timezone.utc)
    start, end = _moment(self._get_param("StartTime"), now), min(_moment(self._get_param("EndTime"), now), now)
    rows = [
        {
            "InstanceType": kind,
            "ProductDescription": "Linux/UNIX",
            "SpotPrice": f"{hardware.spot_price(kind, place, at):.6f}",
            "AvailabilityZone": place,
            "Timestamp": _iso(at),
        }
        for kind in kinds
        for place in hardware.zones_of(kind, self.region)
        if not zones or place in zones
        for at in hardware.spot_steps(kind, place, start, end)
    ]
    return ActionResult({"SpotPriceHistory": sorted(rows, key=lambda row: row["Timestamp"], reverse=True)})


def _moment(given: Any, default: datetime) -> datetime:
    if given is None:
        return default
    parsed = given if isinstance(given, datetime) else default_timestamp_parser(str(given))
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)


def _iso(at: datetime) -> str:
    return at.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
