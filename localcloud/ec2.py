"""Where moto's EC2 answers otherwise than AWS does for our calls: our methods in place of its.

States that take their time, real addresses, security groups that cannot be deleted in use, profiles that wait for a
running instance. Launches, fleets, volumes, images and quotas have modules of their own. Everything else is moto's.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

from moto.ec2.exceptions import DependencyViolationError, EC2ClientError
from moto.ec2.models import ec2_backends
from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend
from moto.ec2.models.instances import Instance
from moto.ec2.models.security_groups import SecurityGroupBackend
from moto.ec2.responses.iam_instance_profiles import IamInstanceProfiles
from moto.ec2.utils import filter_dict_attribute_mapping
from moto.iam.exceptions import NotFoundException

from localcloud import bake, firewall, fis, fleet, interfaces, launch, quotas, spot, volumes
from localcloud.machines import GONE, Machines

FILTERS = {
    "client-token": "client_token",
    "instance-lifecycle": "lifecycle",
    "spot-instance-request-id": "spot_instance_request_id",
}


def install(machines: Machines) -> None:
    """Put our methods in moto's classes."""
    filter_dict_attribute_mapping.update(FILTERS)
    _install_regions()
    _install_addresses()
    _install_states(machines)
    launch.install(machines)
    _install_groups()
    _install_profiles()
    spot.install()
    quotas.install()
    bake.install(machines)
    volumes.install(machines)
    interfaces.install()
    fleet.install()
    fis.install(machines)


def after(action: str, machines: Machines) -> None:
    """To be called after each EC2 action: rules may have changed."""
    if "SecurityGroup" in action or action == "ModifyInstanceAttribute":
        machines.refresh_rules()


def _install_regions() -> None:
    """The regions that an account may use; moto lists those of China and of governments, too."""
    regions = RegionsAndZonesBackend.regions
    usual = [region for region in regions if region.opt_in_status == "opt-in-not-required"]
    regions[:] = [region for region in usual if not region.name.startswith(("cn-", "us-gov-"))]


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


def _install_groups() -> None:
    moto_delete = SecurityGroupBackend.delete_security_group

    def delete(self: Any, name: Any = None, group_id: Any = None) -> Any:
        group = self.get_security_group_by_name_or_id(group_id or name)
        if group and any(its.id == group.id for instance in _everywhere() for its in firewall.groups_of(instance)):
            raise DependencyViolationError(f"resource {group.id} has a dependent object")
        return moto_delete(self, name, group_id)

    SecurityGroupBackend.delete_security_group = delete


def _everywhere() -> Iterator[Any]:
    for regions in list(ec2_backends.values()):
        for backend in list(regions.values()):
            yield from launch.living(backend)


def _install_profiles() -> None:
    """A profile goes to an instance that runs or is stopped; one that IAM does not know is no profile to EC2."""
    moto_associate = IamInstanceProfiles.associate_iam_instance_profile

    def associate(self: Any) -> Any:
        instance = self.ec2_backend.get_instance(self._get_param("InstanceId"))
        if instance.state not in ("running", "stopped"):
            text = f"The instance '{instance.id}' is not in the 'running' or 'stopped' states."
            raise EC2ClientError("IncorrectInstanceState", text)
        try:
            return moto_associate(self)
        except NotFoundException as error:
            raise launch.no_profile(self) from error

    IamInstanceProfiles.associate_iam_instance_profile = associate
