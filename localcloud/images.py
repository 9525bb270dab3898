"""Machine images: which Docker image is behind each AMI, and new ones made of instances.

The full image has Docker and stand-ins for NVIDIA's tools, as AWS's deep learning AMIs have the real ones. The bare one
has neither, as Ubuntu's; it is built when the first instance of it starts. CreateImage commits an instance's container;
what its own Docker engine holds lies on a disk apart and is not in the image (on AWS it would be).
"""

import logging
import threading
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.amis import AmiBackend
from moto.ec2.responses.amis import AmisResponse

from localcloud import preload
from localcloud.emulator import BARE_ID
from localcloud.engine import Engine

if TYPE_CHECKING:
    from localcloud.machines import Machine, Machines

log = logging.getLogger("localcloud")


class Images:
    """The Docker images of one cloud's AMIs; `full` is the tag of the first."""

    def __init__(self, engine: Engine, full: str) -> None:
        self.engine, self.full = engine, full
        self.baked: dict[str, str] = {}
        self._preloaded = ""
        self._building = threading.Lock()

    def tag(self, ami: str) -> str:
        """The Docker image behind the AMI, which is built first if need be."""
        if ami == BARE_ID:
            with self._building:
                return self.engine.bare(log.info)
        return self.baked.get(ami, self.full)

    def preload(self, tag: str) -> None:
        """Machines of the full image that start from now on have the image `tag`."""
        self._preloaded = preload.prepare(self.engine, self.full, tag)

    def preloaded(self, ami: str) -> str:
        """The volume of which a disk of that AMI is a copy; empty where it begins empty."""
        return self._preloaded if self.tag(ami) == self.full else ""

    def bake(self, ami: str, container: str) -> None:
        self.baked[ami] = self.engine.commit(container, ami)

    def drop(self, ami: str) -> None:
        """Forget an image that was made here; instances of it live on."""
        if tag := self.baked.pop(ami, None):
            self.engine.drop_image(tag)


def install(machines: "Machines") -> None:
    """Put ours in moto's classes."""
    moto_deregister = AmiBackend.deregister_image

    def create(self: Any) -> Any:
        machine = machines.by_id[self.ec2_backend.get_instance(self._get_param("InstanceId")).id]
        _check(self, machine)
        self.error_on_dryrun()
        image = _record(self, machine)
        machines.later(_bake, machine, image)
        return ActionResult({"ImageId": image.id})

    def _bake(machine: "Machine", image: Any) -> None:
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


def _check(response: Any, machine: "Machine") -> None:
    if machine.state not in ("running", "stopped"):
        text = f"The instance '{machine.instance.id}' is not in the 'running' or 'stopped' states."
        raise EC2ClientError("IncorrectInstanceState", text)
    name = response._get_param("Name")
    taken = next((image for image in response.ec2_backend.amis.values() if image.name == name), None)
    if taken:
        raise EC2ClientError("InvalidAMIName.Duplicate", f"AMI name {name} is already in use by AMI {taken.id}")


def _record(response: Any, machine: "Machine") -> Any:
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
