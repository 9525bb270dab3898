"""New machine images made of instances, which moto only notes.

CreateImage commits an instance's container, and copies the disk apart on which its own Docker engine keeps its images.
Whoever asks for no restart (NoReboot) gets the same: nothing is restarted here.
"""

from datetime import datetime, timezone
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.amis import AmiBackend
from moto.ec2.responses.amis import AmisResponse

from localcloud.machines import Machine, Machines


def install(machines: Machines) -> None:
    """Put our methods in the place of those of moto's classes."""
    moto_deregister = AmiBackend.deregister_image

    def create(self: Any) -> Any:
        machine = machines.by_id[self.ec2_backend.get_instance(self._get_param("InstanceId")).id]
        _check(self, machine)
        self.error_on_dryrun()
        image = _record(self, machine)
        machines.later(_bake, machine, image)
        return ActionResult({"ImageId": image.id})

    def _bake(machine: Machine, image: Any) -> None:
        try:
            machines.images.bake(image.id, machine.container)
            image.state = "available"
        except Exception:
            image.state = "failed"
            raise

    def deregister(self: Any, ami_id: str) -> None:
        moto_deregister(self, ami_id)
        machines.images.drop(ami_id)

    AmisResponse.create_image = create
    AmiBackend.deregister_image = deregister


def _check(response: Any, machine: Machine) -> None:
    if machine.state not in ("running", "stopped"):
        text = f"The instance '{machine.instance.id}' is not in the 'running' or 'stopped' states."
        raise EC2ClientError("IncorrectInstanceState", text)
    name = response._get_param("Name")
    taken = next((image for image in response.ec2_backend.amis.values() if image.name == name), None)
    if taken:
        raise EC2ClientError("InvalidAMIName.Duplicate", f"AMI name {name} is already in use by AMI {taken.id}")


def _record(response: Any, machine: Machine) -> Any:
    """moto's record of the new image, and of its snapshot, with their tags."""
    tags = response._parse_tag_specification()
    image = response.ec2_backend.create_image(
        machine.instance.id, response._get_param("Name"), response._get_param("Description", ""), []
    )
    image.state, image.creation_date = "pending", datetime.now(timezone.utc)
    image.root_device_name, image.root_device_type = machine.instance.root_device_name, "ebs"
    image.hypervisor = "xen"
    image.add_tags(tags.get("image", {}))
    image.ebs_snapshot.add_tags(tags.get("snapshot", {}))
    return image
