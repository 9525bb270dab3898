"""EC2's machine images that we baked: finding the newest for planning, making, listing and deleting them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from botocore.exceptions import ClientError

from infra.aws.errors import code_of, explained
from infra.aws.session import Cloud, client
from infra.errors import CloudError, NotFoundError

BAKED = "provision:baked"
FROM = "provision:from"
_PATIENCE_S = 3600.0
_SAY_S = 20.0


@dataclass(frozen=True)
class ImageRequest:
    """What an image will be made of: the machine, its disks that must not be in it (`/dev/sdf`), and its tags.

    `label` is the image's name, which AWS takes once only. `gb` is the size of the machine's root disk.
    """

    instance: str
    name: str
    label: str
    family: str
    made_from: str
    gb: int
    left_out: tuple[str, ...] = ()
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Baked:
    """A machine image of ours. `made_from` is the machine image under it; `gb` what its snapshots' disks have."""

    id: str
    label: str
    name: str
    family: str
    made_from: str
    state: str
    created: datetime | None
    gb: int
    snapshots: tuple[str, ...] = ()


def baked(cloud: Cloud, families: Sequence[str]) -> tuple[str, str, int] | None:
    """The newest image of our own for machines with GPUs of these families: its id, its root device, and that's GB."""
    wanted = [
        {"Name": f"tag:{BAKED}", "Values": list(families)},
        {"Name": "state", "Values": ["available"]},
    ]
    with explained("look for baked machine images"):
        found: list[dict[str, Any]] = client(cloud, "ec2").describe_images(Owners=["self"], Filters=wanted)["Images"]
    if not found:
        return None
    newest = max(found, key=lambda image: str(image["CreationDate"]))
    root = str(newest["RootDeviceName"])
    sizes = [disk["Ebs"]["VolumeSize"] for disk in newest["BlockDeviceMappings"] if disk["DeviceName"] == root]
    return str(newest["ImageId"]), root, max(sizes, default=0)


class MachineImages:
    """Our own of one region. `sleep` is for tests."""

    def __init__(self, cloud: Cloud, sleep: Callable[[float], None] = time.sleep) -> None:
        self._cloud = cloud
        self._sleep = sleep

    @property
    def _api(self) -> Any:
        return client(self._cloud, "ec2")

    def all(self) -> list[Baked]:
        """All that we baked, newest first."""
        return self._found([{"Name": "tag-key", "Values": [BAKED]}])

    def get(self, image: str) -> Baked:
        """The one of that id; NotFoundError that names the others."""
        found = self.all()
        for one in found:
            if one.id == image:
                return one
        known = ", ".join(one.id for one in found)
        raise NotFoundError(
            f"no machine image {image!r} of ours in {self._cloud.name} {self._cloud.region}",
            f"there are: {known}" if known else "there are none: `provision ami bake` makes one",
        )

    def disks(self, instance: str) -> tuple[str, ...]:
        """The instance's disks besides its root disk, as they are attached."""
        with explained("look at an instance's disks"):
            groups = self._api.describe_instances(InstanceIds=[instance])["Reservations"]
        row = groups[0]["Instances"][0]
        names = [one["DeviceName"] for one in row.get("BlockDeviceMappings", [])]
        return tuple(name for name in names if name != row.get("RootDeviceName"))

    def check(self, request: ImageRequest) -> None:
        """Whether AWS would make it (a dry run); AuthError and the like where not."""
        with explained("make a machine image"):
            try:
                self._api.create_image(DryRun=True, **_words(request))
            except ClientError as error:
                if code_of(error) != "DryRunOperation":
                    raise

    def create(self, request: ImageRequest) -> str:
        """Begin to make the image; AWS restarts the machine for it. Its id.

        Where an answer was lost and botocore asked again, the name is taken: by the image that we want.
        """
        with explained("make a machine image"):
            try:
                return str(self._api.create_image(**_words(request))["ImageId"])
            except ClientError as error:
                if code_of(error) != "InvalidAMIName.Duplicate" or not (ours := self.labelled(request.label)):
                    raise
        return ours

    def labelled(self, label: str) -> str:
        """The id of our image of that name; "" where there is none."""
        return next((one.id for one in self._found([{"Name": "name", "Values": [label]}])), "")

    def wait(self, image: str, say: Callable[[str], None], patience: float = _PATIENCE_S) -> Baked:
        """Wait until the image can be used (minutes), with a line now and then. CloudError where it fails."""
        begun = time.monotonic()
        said, pause = begun, 0.5
        while True:
            now = next(iter(self._found([{"Name": "image-id", "Values": [image]}])), None)
            if now and now.state == "available":
                return now
            if now and now.state not in ("pending", "transient"):
                raise CloudError(f"AWS could not make the image {image}: it is {now.state}", "bake again")
            if time.monotonic() - begun > patience:
                raise CloudError(f"the image {image} was not there after {patience:g} s", "bake again")
            if time.monotonic() - said > _SAY_S:
                said = time.monotonic()
                say(f"  {image} is being made: {said - begun:.0f} s, {self._progress(now)}")
            self._sleep(pause)
            pause = min(pause * 1.5, 5.0)

    def snapshots(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Those of these snapshots that are there, as AWS describes them."""
        if not ids:
            return []
        with explained("look at snapshots"):
            rows: list[dict[str, Any]] = self._api.describe_snapshots(
                OwnerIds=["self"], Filters=[{"Name": "snapshot-id", "Values": list(ids)}]
            )["Snapshots"]
        return rows

    def _progress(self, now: Baked | None) -> str:
        rows = self.snapshots(now.snapshots if now else ())
        return ", ".join(str(row.get("Progress") or row["State"]) for row in rows) or "no snapshot yet"

    def _found(self, filters: list[dict[str, Any]]) -> list[Baked]:
        with explained("list machine images"):
            pages = self._api.get_paginator("describe_images").paginate(Owners=["self"], Filters=filters)
            rows = [row for page in pages for row in page["Images"]]
        found = [_baked(row) for row in rows]
        return sorted((one for one in found if one.family), key=lambda one: str(one.created), reverse=True)


def _words(request: ImageRequest) -> dict[str, Any]:
    """Tags in the call itself, so that nothing of ours is ever without. Data volumes stay out of the image."""
    marks = {
        "Name": request.label, "provision:name": request.name, BAKED: request.family, FROM: request.made_from,
        **(request.tags or {}),
    }  # fmt: skip
    tags = [{"Key": key, "Value": value} for key, value in marks.items()]
    words: dict[str, Any] = {
        "InstanceId": request.instance, "Name": request.label, "NoReboot": False,
        "Description": f"provision: a prepared host, baked from {request.name}",
        "TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in ("image", "snapshot")],
    }  # fmt: skip
    if request.left_out:
        words["BlockDeviceMappings"] = [{"DeviceName": name, "NoDevice": ""} for name in request.left_out]
    return words


def _baked(row: Mapping[str, Any]) -> Baked:
    tags = {tag["Key"]: tag["Value"] for tag in row.get("Tags") or ()}
    disks = [one["Ebs"] for one in row.get("BlockDeviceMappings") or () if "Ebs" in one]
    made = row.get("CreationDate")
    return Baked(
        id=row["ImageId"], label=row.get("Name", ""), name=tags.get("provision:name", ""),
        family=tags.get(BAKED, ""), made_from=tags.get(FROM, ""), state=row.get("State", ""),
        created=datetime.fromisoformat(made.replace("Z", "+00:00")).astimezone(timezone.utc) if made else None,
        gb=sum(int(one.get("VolumeSize") or 0) for one in disks),
        snapshots=tuple(one["SnapshotId"] for one in disks if one.get("SnapshotId")),
    )  # fmt: skip
