"""Data volumes that outlive their machine: found again by their tag, attached to one machine after another.

A new one is born with its machine: it stands in the launch template (`fleet.template_data`), as one does that goes with
the machine, and AWS deletes it with the machine. So a client that is killed leaves none that nobody ends. It is kept
from the moment it is mounted (`keep`), not before. Its name is the account's: a region has one kept volume of a name.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from infra.aws.ec2 import tag_list
from infra.aws.errors import code_of, explained
from infra.aws.session import Cloud, client
from infra.aws.types import DataVolume, Instance
from infra.errors import CloudError, UsageError
from infra.names import literal

KEEP = "provision:keep"  # the tag of a kept volume: its name; empty where another volume had that name already
_PATIENCE_S = 60.0
_Row = Mapping[str, Any]


def kept_zones(cloud: Cloud, names: Sequence[str]) -> dict[str, str]:
    """Volume name → its zone, for those of these names that are kept volumes in this region.

    UsageError where two have one name.
    """
    rows = _kept(cloud, names)
    by_name = {name: [row for row in rows if _tag(row) == name] for name in names}
    return {name: _one(some, name)["AvailabilityZone"] for name, some in by_name.items() if some}


class Volumes:
    """Data volumes of one region. Callers that must be stoppable, and tests, give their own `sleep`."""

    def __init__(self, cloud: Cloud, sleep: Callable[[float], None] = time.sleep) -> None:
        self._cloud = cloud
        self._sleep = sleep

    @property
    def _api(self) -> Any:
        return client(self._cloud, "ec2")

    def of(self, instance: Instance, volume: DataVolume, device: str) -> str:
        """The id of the running instance's volume at that device: it came with the instance, or it is the kept one of
        that name, which is attached here unless it is already.

        UsageError where the kept volume of that name is in another zone, or in use by another machine, or another than
        the one that is there. CloudError where it cannot be attached, or there is none after 60 s.
        """
        names = [volume.name] * volume.keep
        until = time.monotonic() + _PATIENCE_S
        while True:
            own = self._on(instance)
            kept = _kept(self._cloud, [volume.name]) if volume.keep else []
            if there := own.get(device) or next((row for row in own.values() if _tag(row) in names), None):
                self._refuse_others(kept, there["VolumeId"], instance, volume.name)
                return str(there["VolumeId"])
            if kept:
                return self._take(instance, _one(kept, volume.name), volume.name, device)
            if time.monotonic() > until:
                raise CloudError(
                    f"{instance.name} came without its volume {volume.name}",
                    f"end it if it is still there ({self._cloud.hint('down NAME')}), and run this command again",
                )
            self._sleep(1.0)

    def keep(self, instance: Instance, volume_id: str, name: str) -> None:
        """Let the instance's volume outlive it, and mark that as kept: from now on `down` leaves it alone.

        It is marked last: a client that is killed in between leaves a volume that stays without a mark, which `up`
        again gives it. The other way round its data would be lost with the machine.

        UsageError where another kept volume of that name came about meanwhile: then this one goes with the instance, as
        before.
        """
        own = self._on(instance)
        device = next((device for device, row in own.items() if row["VolumeId"] == volume_id), None)
        if device is None:
            raise CloudError(
                f"{instance.name} does not have its volume {name} any more",
                f"end it if it is still there ({self._cloud.hint('down NAME')}), and run this command again",
            )
        if _tag(own[device]) == name and not _goes_with(own[device], device):
            return
        self._refuse_others(_kept(self._cloud, [name]), volume_id, instance, name)
        self._delete_with(instance, device, False)
        self._mark(volume_id, {KEEP: name, "Name": f"provision volume {name}"})
        try:  # two machines may have come as far as this at once
            self._refuse_others(_kept(self._cloud, [name]), volume_id, instance, name)
        except UsageError:
            self._delete_with(instance, device, True)
            self._mark(volume_id, {KEEP: ""})
            raise

    def _on(self, instance: Instance) -> dict[str, _Row]:
        """Device → EC2's row of the volume, for each disk attached to the instance."""
        with explained("list an instance's volumes"):
            mine = [{"Name": "attachment.instance-id", "Values": [literal(instance.id)]}]
            rows = self._api.describe_volumes(Filters=mine)["Volumes"]
        return {attachment["Device"]: row for row in rows for attachment in row["Attachments"]}

    def _refuse_others(self, kept: Sequence[_Row], own: str, instance: Instance, name: str) -> None:
        """UsageError where a volume that is not `own` is kept under that name."""
        other = next((row for row in kept if row["VolumeId"] != own), None)
        if other is None:
            return
        self._refuse_holder(other, name)
        raise UsageError(
            f"a volume {name} is there already ({other['VolumeId']}), and {instance.name} came with another",
            f"end it if it is still there ({self._cloud.hint('down NAME')}), and run this command again",
        )

    def _refuse_holder(self, row: _Row, name: str) -> None:
        """UsageError where a machine has the volume."""
        if holder := next((attachment["InstanceId"] for attachment in row.get("Attachments", [])), ""):
            raise UsageError(
                f"the volume {name} is in use by {holder}",
                f"end that machine first: {self._cloud.hint('ls')}, then {self._cloud.hint('down NAME')}",
            )

    def _take(self, instance: Instance, row: _Row, name: str, device: str) -> str:
        """Attach the kept volume. Its id."""
        self._refuse_holder(row, name)
        if row["AvailabilityZone"] != instance.zone:
            raise UsageError(
                f"the volume {name} is in {row['AvailabilityZone']}, {instance.name} in {instance.zone}",
                "a volume does not leave its zone: run the same command again, or take another name for a new volume",
            )
        self._attach(instance, row["VolumeId"], device)
        return str(row["VolumeId"])

    def _attach(self, instance: Instance, volume_id: str, device: str) -> None:
        """Attach it; for 60 s try again while an ended machine still holds it."""
        until = time.monotonic() + _PATIENCE_S
        while True:
            with explained("attach a volume"):
                try:
                    self._api.attach_volume(VolumeId=volume_id, InstanceId=instance.id, Device=device)
                    return
                except ClientError as error:
                    if (
                        code_of(error) == "VolumeInUse"
                        and self._on(instance).get(device, {}).get("VolumeId") == volume_id
                    ):
                        return
                    if code_of(error) not in ("IncorrectState", "InvalidVolume.NotFound", "VolumeInUse"):
                        raise
                    if time.monotonic() > until:
                        raise CloudError(f"the volume {volume_id} cannot be attached", "run `up` again") from error
            self._sleep(1.0)

    def _delete_with(self, instance: Instance, device: str, goes: bool) -> None:
        """Say whether AWS deletes the volume with the instance."""
        disk = {"DeviceName": device, "Ebs": {"DeleteOnTermination": goes}}
        with explained("say whether a volume goes with its machine"):
            self._api.modify_instance_attribute(InstanceId=instance.id, BlockDeviceMappings=[disk])

    def _mark(self, volume_id: str, tags: Mapping[str, str]) -> None:
        with explained("mark a volume as kept"):
            self._api.create_tags(Resources=[volume_id], Tags=tag_list(tags))


def _kept(cloud: Cloud, names: Sequence[str]) -> list[_Row]:
    """EC2's rows of the kept volumes of these names."""
    wanted = [{"Name": f"tag:{KEEP}", "Values": [literal(name) for name in names]}]
    with explained("look for kept volumes"):
        rows: list[_Row] = client(cloud, "ec2").describe_volumes(Filters=wanted)["Volumes"]
    return rows


def _one(rows: Sequence[_Row], name: str) -> _Row:
    """The only one of these volumes; UsageError where there are more."""
    if len(rows) > 1:
        ids = sorted(str(row["VolumeId"]) for row in rows)
        raise UsageError(
            f"there are {len(ids)} kept volumes {name}: {', '.join(ids)}",
            "look which of them you need, and delete the others: aws ec2 delete-volume does that",
        )
    return rows[0]


def _tag(row: _Row) -> str:
    """Under which name the volume is kept; "" where it is not."""
    return next((str(tag["Value"]) for tag in row.get("Tags", ()) if tag["Key"] == KEEP), "")


def _goes_with(row: _Row, device: str) -> bool:
    """Whether AWS deletes the volume with the instance that has it at that device."""
    return any(bool(one.get("DeleteOnTermination")) for one in row["Attachments"] if one["Device"] == device)
