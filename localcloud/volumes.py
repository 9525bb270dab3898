"""AttachVolume and its kin: what AWS refuses, and a disk in the instance where moto has a record. A disk goes with its
instance or stays, as DeleteOnTermination says: moto does that, and forgets what AWS refuses of a change.

On Xen types a volume attached as /dev/sdf is /dev/xvdf in the instance; on the others it is an NVMe disk that is known
by its link in /dev/disk/by-id. A volume that is still mounted is detached when it is no longer.
"""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.elastic_block_store import EBSBackend, VolumeAttachment
from moto.ec2.responses.elastic_block_store import ElasticBlockStore
from moto.ec2.responses.instances import InstanceResponse

from localcloud import hardware
from localcloud.disks import Disk
from localcloud.tokens import Tokens

if TYPE_CHECKING:
    from localcloud.machines import Machine, Machines

AGAIN = 1.0  # seconds until a look whether a volume is still mounted


@dataclass(frozen=True)
class Volumes:
    """Our answers in place of moto's."""

    machines: "Machines"

    def attach(self, response: Any) -> Any:
        backend, device = response.ec2_backend, response._get_param("Device")
        volume = backend.get_volume(response._get_param("VolumeId"))
        machine = self.machines.by_id[backend.get_instance(response._get_param("InstanceId")).id]
        _check(volume, machine.instance, device)
        response.error_on_dryrun()
        attachment = backend.attach_volume(volume.id, machine.instance.id, device)
        attachment.status = "attaching"
        disk = _disk(volume, machine.instance.instance_type, device, machine.disks)
        machine.disks[volume.id] = disk
        self.machines.later(self._plug, machine, attachment, disk)
        return ActionResult(_told(attachment, "attaching"))

    def detach(self, response: Any) -> Any:
        volume = response.ec2_backend.get_volume(response._get_param("VolumeId"))
        attachment = volume.attachment
        if attachment is None:
            raise EC2ClientError("IncorrectState", f"Volume '{volume.id}' is in the 'available' state.")
        response.error_on_dryrun()
        attachment.status = "detaching"
        self.machines.later(self._unplug, self.machines.by_id[attachment.instance.id], volume)
        return ActionResult(_told(attachment, "detaching"))

    def _plug(self, machine: "Machine", attachment: Any, disk: Disk) -> None:
        if machine.state == "running":
            self.machines.engine.plug(machine.container, disk)
        attachment.status = "attached"

    def _unplug(self, machine: "Machine", volume: Any) -> None:
        if volume.attachment is None:  # the instance ended meanwhile
            return
        disk = machine.disks.get(volume.id)
        if disk and machine.state == "running" and not self.machines.engine.unplug(machine.container, disk):
            timer = threading.Timer(AGAIN, self.machines.later, (self._unplug, machine, volume))
            timer.daemon = True
            timer.start()
            return
        machine.disks.pop(volume.id, None)
        volume.ec2_backend.detach_volume(volume.id, machine.instance.id, volume.attachment.device)


def install(machines: "Machines") -> None:
    """Put our methods in the place of those of moto's classes."""
    ours, tokens = Volumes(machines), Tokens()
    moto_create, moto_delete = ElasticBlockStore.create_volume, EBSBackend.delete_volume

    def delete(self: Any, volume_id: str) -> Any:
        volume = moto_delete(self, volume_id)
        machines.engine.discard(volume_id)
        return volume

    moto_mappings = InstanceResponse._block_device_mapping_handler

    def change_mappings(self: Any) -> Any:
        if asked := self._get_param("BlockDeviceMappings", []):
            _check_mappings(self.ec2_backend.get_instance(self._get_param("InstanceId")), asked)
        return moto_mappings(self)

    InstanceResponse._block_device_mapping_handler = change_mappings
    VolumeAttachment.delete_on_termination = property(_goes)
    ElasticBlockStore.create_volume = lambda self: tokens.once(self, lambda: moto_create(self))
    ElasticBlockStore.attach_volume = lambda self: ours.attach(self)
    ElasticBlockStore.detach_volume = lambda self: ours.detach(self)
    EBSBackend.delete_volume = delete


def _check(volume: Any, instance: Any, device: str) -> None:
    if volume.attachment is not None:
        raise EC2ClientError("VolumeInUse", f"{volume.id} is already attached to an instance")
    if volume.zone.name != instance.placement.zone:
        text = f"The volume '{volume.id}' is not in the same availability zone as instance '{instance.id}'"
        raise EC2ClientError("InvalidVolume.ZoneMismatch", text)
    if instance.state not in ("running", "stopped"):
        raise EC2ClientError("IncorrectState", f"Instance '{instance.id}' is not 'running'.")
    if device in instance.block_device_mapping:
        text = f"Invalid value '{device}' for unixDevice. Attachment point {device} is already in use"
        raise EC2ClientError("InvalidParameterValue", text)


def _check_mappings(instance: Any, asked: Iterable[Mapping[str, Any]]) -> None:
    """What AWS refuses of ModifyInstanceAttribute: an instance that ends, and a device that has no disk."""
    if instance.state in ("shutting-down", "terminated"):
        text = f"The instance '{instance.id}' is not in a state from which its attributes can be changed."
        raise EC2ClientError("IncorrectInstanceState", text)
    for device in [mapping.get("DeviceName") for mapping in asked]:
        if device not in instance.block_device_mapping:
            text = f"No device is currently mapped at {device}"
            raise EC2ClientError("InvalidInstanceAttributeValue", text)


def data_disks(instance: Any, asked: Iterable[str]) -> dict[str, Disk]:
    """The volumes that an instance is launched with, but the root disk; `asked` are the devices of its mappings."""
    found: dict[str, Disk] = {}
    for device in asked:
        if device != instance.root_device_name and device in instance.block_device_mapping:
            volume = instance.ec2_backend.get_volume(instance.block_device_mapping[device].volume_id)
            found[volume.id] = _disk(volume, instance.instance_type, device, found)
    return found


def _disk(volume: Any, kind: str, device: str, others: Mapping[str, Disk]) -> Disk:
    """Where an instance of that type, which has the disks `others`, will find the volume."""
    if hardware.xen(kind):
        return Disk(volume.id, int(volume.size), device.replace("/dev/sd", "/dev/xvd"))
    number = 1 + max((int(disk.node.removeprefix("/dev/nvme")[:-2]) for disk in others.values()), default=0)
    link = f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{volume.id.replace('-', '')}"
    return Disk(volume.id, int(volume.size), f"/dev/nvme{number}n1", link)


def _goes(attachment: Any) -> bool:
    """Whether the volume is deleted with its instance; moto tells it of the instance alone."""
    mapping = attachment.instance.block_device_mapping.get(attachment.device)
    return bool(mapping and mapping.delete_on_termination)


def _told(attachment: Any, state: str) -> dict[str, Any]:
    return {
        "VolumeId": attachment.volume.id,
        "InstanceId": attachment.instance.id,
        "Device": attachment.device,
        "State": state,
        "AttachTime": attachment.attach_time,
    }
