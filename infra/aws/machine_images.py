"""The EC2 machine images that we baked: find the newest for a plan; make, list and wait for them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from botocore.exceptions import ClientError

from infra.aws.errors import code_of, explained
from infra.aws.session import Cloud, client
from infra.aws.tags import DRIVER, NAME, RUN
from infra.errors import CloudError, NotFoundError
from infra.names import literal

BAKED = "provision:baked"
FROM = "provision:from"
_PATIENCE_S = 3600.0  # AWS copies whole disks, which takes minutes as a rule
_SAY_S = 20.0


@dataclass(frozen=True)
class ImageRequest:
    """What an image will be made of: the machine, the disks to leave out of it (`/dev/sdf`), and the image's tags.

    `label` is the image's name, which must be unique in the region. `gb` is the size of the machine's root disk.
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
    """A machine image that we baked. `made_from` is the image it was baked from; `gb` the size of all its disks;
    `driver` the branch that was installed on it, "" where that is not told; `run`: whose keeper made it, or ""."""

    id: str
    label: str
    name: str
    family: str
    made_from: str
    state: str
    created: datetime | None
    gb: int
    snapshots: tuple[str, ...] = ()
    driver: str = ""
    run: str = ""


def baked(cloud: Cloud, families: Sequence[str], driver: str = "") -> tuple[str, str, int] | None:
    """The newest image that we baked for these GPU families: its id, its root device, and the root disk's size in GB.

    One that is known to have another `driver` does not count. None where there is no such image.
    """
    wanted = [
        {"Name": f"tag:{BAKED}", "Values": list(families)},
        {"Name": "state", "Values": ["available"]},
    ]
    with explained("look for baked machine images"):
        found: list[dict[str, Any]] = client(cloud, "ec2").describe_images(Owners=["self"], Filters=wanted)["Images"]
    found = [row for row in found if _tags(row).get(DRIVER, driver) == driver]
    if not found:
        return None
    newest = max(found, key=lambda image: str(image["CreationDate"]))
    root = str(newest["RootDeviceName"])
    sizes = [disk["Ebs"]["VolumeSize"] for disk in newest["BlockDeviceMappings"] if disk["DeviceName"] == root]
    return str(newest["ImageId"]), root, max(sizes, default=0)


class MachineImages:
    """The machine images that we baked in one region. `sleep` is for tests."""

    def __init__(self, cloud: Cloud, sleep: Callable[[float], None] = time.sleep) -> None:
        self._cloud = cloud
        self._sleep = sleep

    @property
    def _api(self) -> Any:
        return client(self._cloud, "ec2")

    def all(self) -> list[Baked]:
        """All machine images that we baked, newest first."""
        return self._found([{"Name": "tag-key", "Values": [BAKED]}])

    def get(self, image: str) -> Baked:
        """Our machine image of that id. NotFoundError, which names the others, where there is none."""
        found = self.all()
        for baked in found:
            if baked.id == image:
                return baked
        known = ", ".join(baked.id for baked in found)
        raise NotFoundError(
            f"no machine image {image!r} of ours in {self._cloud.name} {self._cloud.region}",
            f"there are: {known}" if known else f"there are none; to make one: {self._cloud.hint('ami bake NAME')}",
        )

    def disks(self, instance: str) -> tuple[str, ...]:
        """The instance's disks besides its root disk, as they are attached."""
        with explained("look at an instance's disks"):
            groups = self._api.describe_instances(InstanceIds=[instance])["Reservations"]
        row = groups[0]["Instances"][0]
        names = [mapping["DeviceName"] for mapping in row.get("BlockDeviceMappings", [])]
        return tuple(name for name in names if name != row.get("RootDeviceName"))

    def check(self, request: ImageRequest) -> None:
        """Ask AWS in a dry run to make the image. AuthError, QuotaError or CloudError where it would refuse."""
        with explained("make a machine image"):
            try:
                self._api.create_image(DryRun=True, **_words(request))
            except ClientError as error:
                if code_of(error) != "DryRunOperation":
                    raise

    def create(self, request: ImageRequest) -> str:
        """Begin to make the image, and give its id. AWS restarts the machine for it.

        Where an answer was lost and botocore asked again, the name is taken already: by the very image that we want.
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
        return next((image.id for image in self._found([{"Name": "name", "Values": [literal(label)]}])), "")

    def wait(self, image: str, say: Callable[[str], None], patience: float = _PATIENCE_S) -> Baked:
        """Wait until the image can be used (minutes); `say` gets a line every 20 s. CloudError where AWS fails to make
        it, or it is not ready after `patience` s."""
        begun = time.monotonic()
        said, pause = begun, 0.5
        while True:
            now = next(iter(self._found([{"Name": "image-id", "Values": [literal(image)]}])), None)
            if now and now.state == "available":
                return now
            if now and now.state not in ("pending", "transient"):
                raise CloudError(f"AWS could not make the image {image}: it is {now.state}", "bake again")
            if time.monotonic() - begun > patience:
                raise CloudError(f"the image {image} was not ready after {patience:g} s", "bake again")
            if time.monotonic() - said > _SAY_S:
                said = time.monotonic()
                say(f"  {image} is being made: {said - begun:.0f} s, {self._progress(now)}")
            self._sleep(pause)
            pause = min(pause * 1.5, 5.0)

    def snapshots(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """AWS's descriptions of the snapshots with these ids; absent ones are left out."""
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
        return sorted((image for image in found if image.family), key=lambda image: str(image.created), reverse=True)


def _words(request: ImageRequest) -> dict[str, Any]:
    """CreateImage's arguments, tags among them, so that no image is ever untagged. Data volumes are left out."""
    marks = {
        "Name": request.label, NAME: request.name, BAKED: request.family, FROM: request.made_from,
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


def _tags(row: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in row.get("Tags") or ()}


def _baked(row: Mapping[str, Any]) -> Baked:
    tags = _tags(row)
    disks = [mapping["Ebs"] for mapping in row.get("BlockDeviceMappings") or () if "Ebs" in mapping]
    made = row.get("CreationDate")
    return Baked(
        id=row["ImageId"], label=row.get("Name", ""), name=tags.get(NAME, ""),
        family=tags.get(BAKED, ""), made_from=tags.get(FROM, ""), state=row.get("State", ""),
        created=datetime.fromisoformat(made.replace("Z", "+00:00")).astimezone(timezone.utc) if made else None,
        gb=sum(int(disk.get("VolumeSize") or 0) for disk in disks),
        snapshots=tuple(disk["SnapshotId"] for disk in disks if disk.get("SnapshotId")),
        driver=tags.get(DRIVER, ""), run=tags.get(RUN, ""),
    )  # fmt: skip
