"""Where moto's EC2 answers otherwise than AWS does for our calls: our methods in place of its.

Idempotent RunInstances, states that take their time, real addresses, security groups that cannot be deleted in
use, a metadata hop limit that is kept or refused. Everything else is moto's.
"""

import copy
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import DependencyViolationError, EC2ClientError
from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import Instance
from moto.ec2.models.security_groups import SecurityGroupBackend
from moto.ec2.responses.instances import InstanceResponse
from moto.ec2.utils import filter_dict_attribute_mapping

from localcloud import firewall, hardware, spot
from localcloud.machines import GONE, Machines

HOPS = "the local cloud's metadata service has a real hop limit of 1; HttpPutResponseHopLimit must be 1"
FILTERS = {
    "client-token": "client_token",
    "instance-lifecycle": "lifecycle",
    "spot-instance-request-id": "spot_instance_request_id",
}


def install(machines: Machines) -> None:
    """Put our methods in moto's classes."""
    filter_dict_attribute_mapping.update(FILTERS)
    _install_addresses()
    _install_states(machines)
    _install_launch(machines)
    _install_groups()
    spot.install()


def after(action: str, machines: Machines) -> None:
    """To be called after each EC2 action: rules may have changed."""
    if "SecurityGroup" in action or action == "ModifyInstanceAttribute":
        machines.refresh_rules()


def _install_addresses() -> None:
    """An instance's address is its container's, and there is none before there is a container."""
    Instance.local_address = None
    Instance.spot_instance_request_id = None
    for name in ("private_ip", "private_ip_address", "public_ip", "public_ip_address"):
        setattr(Instance, name, property(lambda self: self.local_address))
    Instance.private_dns_name = property(_private_name)
    Instance.public_dns_name = property(lambda self: self.local_address)


def _private_name(instance: Any) -> str:
    return f"ip-{instance.local_address.replace('.', '-')}.ec2.internal" if instance.local_address else ""


def _install_states(machines: Machines) -> None:
    def changing(act: Callable[[Any], None], allowed: tuple[str, ...]) -> Callable[[Any], Any]:
        def method(self: Any) -> Any:
            before = copy.copy(self._state)
            if before.name not in allowed and before.name not in GONE:
                text = f"The instance '{self.id}' is not in a state from which it can do that ({before.name})."
                raise EC2ClientError("IncorrectInstanceState", text)
            act(self)
            return before

        return method

    def stop(instance: Any) -> None:
        if instance.lifecycle == "spot":
            text = f"You can't stop the Spot Instance '{instance.id}' because it is associated with a one-time request."
            raise EC2ClientError("UnsupportedOperation", text)
        machines.stop(instance)

    anything = ("pending", "running", "stopping", "stopped")
    Instance.terminate = changing(machines.terminate, anything)
    Instance.stop = changing(_unless_gone(stop), ("pending", "running", "stopping", "stopped"))
    Instance.start = changing(_unless_gone(machines.start), ("stopped",))
    Instance.reboot = changing(_unless_gone(machines.reboot), ("running",))


def _unless_gone(act: Callable[[Any], None]) -> Callable[[Any], None]:
    def checked(instance: Any) -> None:
        if instance.state in GONE:
            text = f"The instance '{instance.id}' is {instance.state}."
            raise EC2ClientError("IncorrectInstanceState", text)
        act(instance)

    return checked


def _install_launch(machines: Machines) -> None:
    moto_run = InstanceResponse.run_instances
    moto_options = InstanceResponse.modify_instance_metadata_options
    moto_disks = InstanceResponse._parse_block_device_mapping
    tokens: dict[str, tuple[Any, Any]] = {}  # ClientToken → the parameters and the reservation
    one_at_a_time = threading.Lock()

    def run_instances(self: Any) -> Any:
        _check_hops(self._get_param("MetadataOptions.HttpPutResponseHopLimit"))
        token, asked = self._get_param("ClientToken"), _parameters(self)
        with one_at_a_time:
            if token in tokens and not self._get_param("DryRun", False):
                return _again(tokens[token], asked)
            _check_offer(self)
            reservation = moto_run(self).result
            if token:
                tokens[token] = (asked, reservation)
            for instance in reservation.instances:
                _finish(self, reservation.instances[0], instance)
                machines.launch(instance)
        return ActionResult(reservation)

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


def _parameters(response: Any) -> Any:
    """What was asked for, to compare two requests with one token."""
    return {name: value for name, value in response.querystring.items() if name != "ClientToken"}


def _again(earlier: tuple[Any, Any], asked: Any) -> Any:
    before, reservation = earlier
    if before != asked:
        text = "Arguments on this idempotent request are inconsistent with arguments used in previous request(s)."
        raise EC2ClientError("IdempotentParameterMismatch", text)
    return ActionResult(reservation)


def _check_offer(response: Any) -> None:
    """The zone must have the type, and the price must be enough. Left to moto: an unknown type."""
    kind, zone = response._get_param("InstanceType", "m1.small"), _zone(response)
    zones = hardware.zones_of(kind, response.region)
    if zones and zone not in zones:
        text = f"Your requested instance type ({kind}) is not supported in your requested Availability Zone ({zone})."
        raise EC2ClientError("Unsupported", f"{text} Please retry your request in {', '.join(zones)}.")
    offered = response._get_param("InstanceMarketOptions.SpotOptions.MaxPrice")
    current = hardware.spot_price(kind, zone, datetime.now(timezone.utc))
    if offered and float(offered) < current:
        text = f"Your Spot request price of {offered} is lower than the minimum required Spot request fulfillment price"
        raise EC2ClientError("SpotMaxPriceTooLow", f"{text} of {current}.")


def _zone(response: Any) -> str:
    nics = response._get_param("NetworkInterfaces", [])
    subnet = response._get_param("SubnetId") or next((nic["SubnetId"] for nic in nics if "SubnetId" in nic), None)
    if subnet:
        return str(response.ec2_backend.get_subnet(subnet).availability_zone)
    return str(response._get_param("Placement.AvailabilityZone") or f"{response.region}a")


def _finish(response: Any, first: Any, instance: Any) -> None:
    """What moto leaves out of a launch: the profile of the second and later instances, the spot request."""
    profile = first.iam_instance_profile
    if profile and instance is not first:
        response.ec2_backend.associate_iam_instance_profile(instance.id, iam_instance_profile_arn=profile["Arn"])
    if instance.lifecycle == "spot":
        spot.request_for(response, instance)


def _install_groups() -> None:
    moto_delete = SecurityGroupBackend.delete_security_group

    def delete(self: Any, name: Any = None, group_id: Any = None) -> Any:
        group = self.get_security_group_by_name_or_id(group_id or name)
        if group and any(its.id == group.id for one in _living() for its in firewall.groups_of(one)):
            raise DependencyViolationError(f"resource {group.id} has a dependent object")
        return moto_delete(self, name, group_id)

    SecurityGroupBackend.delete_security_group = delete


def _living() -> list[Any]:
    backends = [backend for regions in ec2_backends.values() for backend in regions.values()]
    return [one for backend in backends for one in backend.all_instances() if one.state != "terminated"]
