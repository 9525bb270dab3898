"""RunInstances: what AWS refuses, what moto forgets, and the way from moto's record to a machine."""

import base64
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses.instances import InstanceResponse
from moto.iam.exceptions import NotFoundException

from localcloud import faults, hardware, quotas, spot, volumes
from localcloud.machines import Machines
from localcloud.tokens import Tokens

HOPS = "the local cloud's metadata service has a real hop limit of 1; HttpPutResponseHopLimit must be 1"
USER_DATA = 16384  # bytes


def install(machines: Machines) -> None:
    """Put our methods in the place of those of moto's classes."""
    moto_run = InstanceResponse.run_instances
    moto_options = InstanceResponse.modify_instance_metadata_options
    moto_disks = InstanceResponse._parse_block_device_mapping
    tokens = Tokens()

    def run_instances(self: Any) -> Any:
        return ActionResult(tokens.once(self, lambda: launch(self)))

    def launch(self: Any) -> Any:
        _check_hops(self._get_param("MetadataOptions.HttpPutResponseHopLimit"))
        check_user_data(self._get_param("UserData"))
        _check_offer(self)
        try:
            reservation = moto_run(self).result
        except NotFoundException as error:
            raise no_profile(self) from error
        for instance in reservation.instances:
            _finish(self, reservation.instances[0], instance)
            devices = [mapping["DeviceName"] for mapping in self._get_param("BlockDeviceMappings", [])]
            machines.launch(instance, volumes.data_disks(instance, devices))
        return reservation

    def modify_options(self: Any) -> Any:
        _check_hops(self._get_int_param("HttpPutResponseHopLimit"))
        return moto_options(self)

    def disks(self: Any) -> Any:
        """AWS deletes a root disk with its instance unless told otherwise; moto keeps it."""
        found = moto_disks(self)
        for asked, disk in zip(self._get_param("BlockDeviceMappings", []), found, strict=True):
            if "DeleteOnTermination" not in asked.get("Ebs", {}):
                disk["Ebs"]["DeleteOnTermination"] = True
        return found

    InstanceResponse.run_instances = run_instances
    InstanceResponse.modify_instance_metadata_options = modify_options
    InstanceResponse._parse_block_device_mapping = disks


def _check_hops(limit: Any) -> None:
    if limit not in (None, 1, "1"):
        raise EC2ClientError("UnsupportedOperation", HOPS)


def check_user_data(given: str | None) -> None:
    """EC2ClientError above 16 KiB, which AWS counts before the encoding."""
    if given and len(base64.b64decode(given)) > USER_DATA:
        raise EC2ClientError("InvalidParameterValue", f"User data is limited to {USER_DATA} bytes")


def _check_offer(response: Any) -> None:
    """The zone must have the type and room for it, the account a quota, and the price must be enough.

    Left to moto: an unknown type.
    """
    kind, zone = response._get_param("InstanceType", "m1.small"), zone_of(response, response.params)
    market = "spot" if response._get_param("InstanceMarketOptions.MarketType") == "spot" else "on-demand"
    zones = hardware.zones_of(kind, response.region)
    if zones and zone not in zones:
        text = f"Your requested instance type ({kind}) is not supported in your requested Availability Zone ({zone})."
        raise EC2ClientError("Unsupported", f"{text} Please retry your request in {', '.join(zones)}.")
    offered = response._get_param("InstanceMarketOptions.SpotOptions.MaxPrice")
    current = hardware.spot_price(kind, zone, datetime.now(timezone.utc))
    if offered and float(offered) < current:
        text = f"Your Spot request price of {offered} is lower than the minimum required Spot request fulfillment price"
        raise EC2ClientError("SpotMaxPriceTooLow", f"{text} of {current}.")
    if not response._get_param("DryRun", False):
        count = int(response._get_param("MinCount", 1))
        quotas.check(response.region, kind, market, count, living(response.ec2_backend))
        _check_capacity(kind, zone, market)


def _check_capacity(kind: str, zone: str, market: str) -> None:
    """A script of faults may say that there is no room."""
    if code := faults.capacity(kind, zone, market):
        text = f"We currently do not have sufficient {kind} capacity in the Availability Zone you requested ({zone})."
        raise EC2ClientError(code, f"{text} Our system will be working on provisioning additional capacity.")


def zone_of(response: Any, asked: Mapping[str, Any]) -> str:
    """The zone where RunInstances with these parameters would launch."""
    nics = asked.get("NetworkInterfaces", [])
    subnet = asked.get("SubnetId") or next((nic["SubnetId"] for nic in nics if "SubnetId" in nic), None)
    if subnet:
        return str(response.ec2_backend.get_subnet(subnet).availability_zone)
    return str(asked.get("Placement", {}).get("AvailabilityZone") or f"{response.region}a")


def _finish(response: Any, first: Any, instance: Any) -> None:
    """What moto leaves out of a launch: tags and the end of interfaces, later instances' profile, spot requests."""
    profile = first.iam_instance_profile
    if profile and instance is not first:
        response.ec2_backend.associate_iam_instance_profile(instance.id, iam_instance_profile_arn=profile["Arn"])
    asked = {int(nic["DeviceIndex"]): nic for nic in response._get_param("NetworkInterfaces", [])}
    for index, nic in instance.nics.items():
        mine = asked.get(index, {})
        if "NetworkInterfaceId" not in mine:
            nic.delete_on_termination = mine.get("DeleteOnTermination", True)
            nic.add_tags(response._parse_tag_specification().get("network-interface", {}))
    if instance.lifecycle == "spot":
        spot.request_for(response, instance)


def living(backend: Any) -> list[Any]:
    """The moto instances of one region that are not terminated."""
    return [instance for instance in backend.all_instances() if instance.state != "terminated"]


def no_profile(response: Any) -> EC2ClientError:
    """EC2's words for a profile that is not there, or not yet."""
    name = response._get_param("IamInstanceProfile.Name") or response._get_param("IamInstanceProfile.Arn")
    field = "name" if response._get_param("IamInstanceProfile.Name") else "arn"
    text = f"Value ({name}) for parameter iamInstanceProfile.{field} is invalid. Invalid IAM Instance Profile {field}"
    return EC2ClientError("InvalidParameterValue", text)
