"""Data volumes that outlive their machine: made once, found again by their tag, attached to one machine after another.

A volume is kept from the moment it is mounted (`keep`), not before: a failed launch deletes the volumes that it made.
Volumes that go with their machine are in the launch template (`fleet.template_data`).
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from botocore.exceptions import ClientError

from infra.aws.ec2 import tag_list
from infra.aws.errors import code_of, explained
from infra.aws.session import Cloud, client
from infra.aws.types import DataVolume, Instance
from infra.errors import CloudError, UsageError
from infra.names import literal

KEEP = "provision:keep"  # the tag of a kept volume: its name
_PATIENCE_S = 60.0


def kept_zones(cloud: Cloud, names: Sequence[str]) -> dict[str, str]:
    """Volume name → its zone, for those of these names that are kept volumes in this region."""
    wanted = [{"Name": f"tag:{KEEP}", "Values": [literal(name) for name in names]}]
    with explained("look for kept volumes"):
        rows = client(cloud, "ec2").describe_volumes(Filters=wanted)["Volumes"]
    return {tag["Value"]: row["AvailabilityZone"] for row in rows for tag in row["Tags"] if tag["Key"] == KEEP}


class Volumes:
    """Kept volumes of one region. Callers that must be stoppable, and tests, give their own `sleep`."""

    def __init__(self, cloud: Cloud, sleep: Callable[[float], None] = time.sleep) -> None:
        self._cloud = cloud
        self._sleep = sleep

    @property
    def _api(self) -> Any:
        return client(self._cloud, "ec2")

    def attach(self, instance: Instance, volume: DataVolume, device: str) -> str:
        """Attach the volume of that name to a running instance, and give its id. A volume that does not exist is made;
        one that is attached there already stays so.

        UsageError where it is in another zone, or in use by another machine. CloudError where it cannot be attached.
        """
        row = self._kept(volume.name) or self._made(instance, volume)
        holder = next((attachment["InstanceId"] for attachment in row.get("Attachments", [])), "")
        if holder == instance.id:
            return str(row["VolumeId"])
        if holder:
            raise UsageError(
                f"the volume {volume.name} is in use by {holder}",
                f"end that machine first: {self._cloud.hint('ls')}, then {self._cloud.hint('down NAME')}",
            )
        if row["AvailabilityZone"] != instance.zone:
            raise UsageError(
                f"the volume {volume.name} is in {row['AvailabilityZone']}, {instance.name} in {instance.zone}",
                "a volume does not leave its zone: run the same command again, or take another name for a new volume",
            )
        self._attach(instance, row["VolumeId"], device)
        return str(row["VolumeId"])

    def on(self, instance: Instance) -> dict[str, str]:
        """Device → volume id, for each disk attached to the instance."""
        with explained("list an instance's volumes"):
            mine = [{"Name": "attachment.instance-id", "Values": [literal(instance.id)]}]
            rows = self._api.describe_volumes(Filters=mine)["Volumes"]
        return {attachment["Device"]: row["VolumeId"] for row in rows for attachment in row["Attachments"]}

    def keep(self, volume_id: str, name: str) -> None:
        """Mark the volume as kept: from now on `down` leaves it alone."""
        with explained("mark a volume as kept"):
            self._api.create_tags(Resources=[volume_id], Tags=tag_list({KEEP: name}))

    def _kept(self, name: str) -> dict[str, Any] | None:
        with explained(f"look for the volume {name}"):
            rows = self._api.describe_volumes(Filters=[{"Name": f"tag:{KEEP}", "Values": [literal(name)]}])["Volumes"]
        return rows[0] if rows else None

    def _made(self, instance: Instance, volume: DataVolume) -> dict[str, Any]:
        """A new volume. The same call made again gives the same volume, even from another process after a crash."""
        tags = {**instance.tags, "Name": f"provision volume {volume.name}"}
        with explained(f"create the volume {volume.name}"):
            row: dict[str, Any] = self._api.create_volume(
                AvailabilityZone=instance.zone, Size=volume.gb, VolumeType="gp3", Encrypted=True,
                ClientToken=f"{instance.id}-{volume.name}"[:64],
                TagSpecifications=[{"ResourceType": "volume", "Tags": tag_list(tags)}],
            )  # fmt: skip
        return row

    def _attach(self, instance: Instance, volume_id: str, device: str) -> None:
        """Attach it; for 60 s try again while a new volume is being made, or an ended machine still holds it."""
        until = time.monotonic() + _PATIENCE_S
        while True:
            with explained("attach a volume"):
                try:
                    self._api.attach_volume(VolumeId=volume_id, InstanceId=instance.id, Device=device)
                    return
                except ClientError as error:
                    if code_of(error) == "VolumeInUse" and volume_id in self.on(instance).values():
                        return
                    if code_of(error) not in ("IncorrectState", "InvalidVolume.NotFound", "VolumeInUse"):
                        raise
                    if time.monotonic() > until:
                        raise CloudError(f"the volume {volume_id} cannot be attached", "run `up` again") from error
            self._sleep(1.0)
