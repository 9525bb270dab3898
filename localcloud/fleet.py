"""CreateFleet of the type `instant`, and the launch templates that it takes. moto's fleets start nothing of ours.

A fleet has one place for each override: the template's data with the override laid over it. The places are tried in
the order of their price (or priority, where the strategy asks for that) by our own RunInstances, so that a fleet's
instances are like all others. What a place refuses becomes an entry in the answer's `Errors`, as on AWS: the call
itself succeeds. Weights, attribute-based types and fleets that stay are not modelled.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import (
    EC2ClientError,
    InvalidLaunchTemplateIdNotFound,
    InvalidLaunchTemplateNameNotFoundWithNameError,
)
from moto.ec2.models.launch_templates import LaunchTemplateBackend
from moto.ec2.responses.fleets import Fleets
from moto.ec2.responses.launch_templates import LaunchTemplates
from moto.ec2.utils import random_fleet_id

from localcloud import hardware, launch
from localcloud.tokens import Tokens

LAST = 1_000_000.0  # the priority of an override that has none
PRIORITIES = ("prioritized", "capacity-optimized-prioritized")
SAID_BY_FLEETS = {"Unsupported": "InvalidFleetConfiguration"}  # RunInstances' code for a type that a zone has not
NO_MARKET = "The launch template of a fleet may not have InstanceMarketOptions."


@dataclass(frozen=True)
class Place:
    """One override: what RunInstances is to be asked for there, and how the answer names it."""

    asked: Mapping[str, Any]
    named: Mapping[str, Any]
    kind: str
    zone: str
    max_price: str | None
    priority: float

    def price(self, market: str) -> float:
        """US dollars an hour."""
        if market == "spot":
            return hardware.spot_price(self.kind, self.zone, datetime.now(timezone.utc))
        return hardware.on_demand(self.kind)


def install() -> None:
    """Put our methods in the place of those of moto's classes."""
    fleets, templates = Tokens(), Tokens()
    moto_template, moto_describe = LaunchTemplates.create_launch_template, LaunchTemplates.describe_launch_templates
    moto_delete = LaunchTemplateBackend.delete_launch_template

    def create_fleet(self: Any) -> Any:
        return ActionResult(fleets.once(self, lambda: _create(self)))

    def create_template(self: Any) -> Any:
        launch.check_user_data(self._get_param("LaunchTemplateData.UserData"))
        return templates.once(self, lambda: moto_template(self))

    def describe_templates(self: Any) -> Any:
        """moto shows 15 templates without saying that there are more, and nothing for an unknown id."""
        self.params.setdefault("MaxResults", 200)
        for template_id in self._get_param("LaunchTemplateIds", []):
            self.ec2_backend.get_launch_template(template_id)
        return moto_describe(self)

    def delete_template(self: Any, name: str | None, tid: str | None) -> Any:
        if tid and tid not in self.launch_templates:
            raise InvalidLaunchTemplateIdNotFound(tid)
        if name and name not in self.launch_template_name_to_ids:
            raise InvalidLaunchTemplateNameNotFoundWithNameError(name)
        return moto_delete(self, name, tid)

    Fleets.create_fleet = create_fleet
    LaunchTemplates.create_launch_template = create_template
    LaunchTemplates.describe_launch_templates = describe_templates
    LaunchTemplateBackend.delete_launch_template = delete_template


def _create(response: Any) -> dict[str, Any]:
    """Launch what is asked for; the answer."""
    if response._get_param("Type") != "instant":
        raise NotImplementedError("fleets that stay")
    fleet, places = random_fleet_id(), list(_places(response))
    response.error_on_dryrun()
    instances: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for market, count in _targets(response):
        for place in sorted(places, key=_order(response, market)):
            left = count - sum(len(row["InstanceIds"]) for row in instances if row["Lifecycle"] == market)
            if left > 0:
                row = _try(response, fleet, place, market, left)
                (errors if "ErrorCode" in row else instances).append(row)
    return {"FleetId": fleet, "Instances": instances, "Errors": errors}


def _targets(response: Any) -> Iterator[tuple[str, int]]:
    """How many instances of each market; the default market takes what neither is asked for."""
    asked = response._get_param("TargetCapacitySpecification", {})
    counts = {market: int(asked.get(key, 0)) for market, key in _KEYS.items()}
    default = asked.get("DefaultTargetCapacityType", "on-demand")
    counts[default] += max(0, int(asked["TotalTargetCapacity"]) - sum(counts.values()))
    yield from counts.items()


_KEYS = {"on-demand": "OnDemandTargetCapacity", "spot": "SpotTargetCapacity"}


def _order(response: Any, market: str) -> Callable[[Place], tuple[float, float]]:
    options = response._get_param("SpotOptions" if market == "spot" else "OnDemandOptions", {})
    prioritized = options.get("AllocationStrategy") in PRIORITIES
    return lambda place: (place.priority if prioritized else 0.0, place.price(market))


def _places(response: Any) -> Iterator[Place]:
    for config in response._get_param("LaunchTemplateConfigs", []):
        asked_for = config["LaunchTemplateSpecification"]
        template = _template(response, asked_for)
        version = template.get_version(asked_for.get("Version", "$Default"))
        if "InstanceMarketOptions" in version.data:
            raise EC2ClientError("InvalidParameterCombination", NO_MARKET)
        which = {"LaunchTemplateId": template.id, "LaunchTemplateName": template.name, "Version": str(version.number)}
        for override in config.get("Overrides") or [{}]:
            yield _place(response, version, which, override)


def _template(response: Any, asked: Mapping[str, Any]) -> Any:
    backend = response.ec2_backend
    if "LaunchTemplateId" in asked:
        return backend.get_launch_template(asked["LaunchTemplateId"])
    return backend.get_launch_template_by_name(asked["LaunchTemplateName"])


def _place(response: Any, version: Any, which: Mapping[str, str], override: Mapping[str, Any]) -> Place:
    if "InstanceRequirements" in override or "InstanceRequirements" in version.data:
        raise NotImplementedError("types by their attributes")
    asked = copy.deepcopy({key: value for key, value in version.data.items() if value is not None})
    asked.update({key: override[key] for key in ("InstanceType", "ImageId") if key in override})
    asked["UserData"] = str(asked["UserData"]) if "UserData" in asked else None
    _lay_place_over(asked, override)
    return Place(
        asked=asked,
        named={"LaunchTemplateSpecification": dict(which), "Overrides": dict(override)},
        kind=asked.get("InstanceType", "m1.small"),
        zone=launch.zone_of(response, asked),
        max_price=override.get("MaxPrice"),
        priority=float(override.get("Priority", LAST)),
    )


def _lay_place_over(asked: dict[str, Any], override: Mapping[str, Any]) -> None:
    """The override's subnet or zone, where RunInstances wants it: a subnet belongs in the first interface."""
    nics = asked.get("NetworkInterfaces", [])
    if "SubnetId" in override:
        (nics[0] if nics else asked)["SubnetId"] = override["SubnetId"]
    zone = override.get("AvailabilityZone") or override.get("Placement", {}).get("AvailabilityZone")
    if zone:
        asked["Placement"] = {**asked.get("Placement", {}), "AvailabilityZone": zone}


def _try(response: Any, fleet: str, place: Place, market: str, count: int) -> dict[str, Any]:
    """Launch in one place; what the answer says of it: its instances or its error."""
    told = {"LaunchTemplateAndOverrides": place.named, "Lifecycle": market}
    try:
        made = _run(response, fleet, place, market, count)
    except EC2ClientError as error:
        return {**told, "ErrorCode": SAID_BY_FLEETS.get(error.code, error.code), "ErrorMessage": error.message}
    which = place.named["LaunchTemplateSpecification"]
    marks = {
        "aws:ec2:fleet-id": fleet,
        "aws:ec2launchtemplate:id": which["LaunchTemplateId"],
        "aws:ec2launchtemplate:version": which["Version"],
    }
    for instance in made:
        instance.add_tags(marks)
    return {**told, "InstanceIds": [instance.id for instance in made], "InstanceType": place.kind}


def _run(response: Any, fleet: str, place: Place, market: str, count: int) -> list[Any]:
    """RunInstances, as if it had been called for this place; the moto instances."""
    asked = {**place.asked, "MinCount": count, "MaxCount": count, "ClientToken": f"{fleet} {place.kind} {place.zone}"}
    asked["TagSpecifications"] = [*asked.get("TagSpecifications", []), *_fleet_tags(response)]
    if market == "spot":
        options = {"SpotInstanceType": "one-time", **({"MaxPrice": place.max_price} if place.max_price else {})}
        asked["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": options}
    call = copy.copy(response)
    call.params = {key: value for key, value in asked.items() if value is not None}
    # parameters of one call, to tell two calls with one token apart; a fleet makes a token of its own for each
    call.querystring = {"fleet": [fleet], "market": [market]}
    return list(call.run_instances().result.instances)


def _fleet_tags(response: Any) -> list[dict[str, Any]]:
    """The fleet's own tags for what it launches."""
    return [tags for tags in response._get_param("TagSpecifications", []) if tags.get("ResourceType") == "instance"]
