"""Baking a machine image: in which order, what is refused, and what is left where something fails."""

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import pytest

from infra.aws.ec2 import instance_of
from infra.aws.machine_images import BAKED, FROM, ImageRequest, MachineImages, baked
from infra.errors import AuthError, CloudError, HostError, LeftoverError, NotFoundError, ProvisionError, RunError
from infra.shell import Result
from provision.commands import ami
from provision.machines import bake as baking
from tests.unit.fake_aws import FakeAws, Refused, machine, tags

IMAGE, SNAPSHOT = "ami-1", "snap-1"


class Account(FakeAws):
    """One machine with a data volume, and the images that are made of it."""

    def __init__(self, becomes: str = "available") -> None:
        disks = [{"DeviceName": "/dev/sda1"}, {"DeviceName": "/dev/sdf"}]
        self.row = machine(
            "i-1", tags(name="lab", disk="40"), ImageId="ami-base", RootDeviceName="/dev/sda1",
            BlockDeviceMappings=disks,
        )  # fmt: skip
        gpu = {"Name": "V100", "Count": 4, "MemoryInfo": {"SizeInMiB": 16384}}
        kind = {
            "InstanceType": "p3.8xlarge", "VCpuInfo": {"DefaultVCpus": 32}, "MemoryInfo": {"SizeInMiB": 1},
            "GpuInfo": {"Gpus": [gpu]},
        }  # fmt: skip
        self.images: dict[str, dict[str, Any]] = {}
        self.snapshots: dict[str, dict[str, Any]] = {}
        self.becomes = becomes
        super().__init__(
            DescribeInstances={"Reservations": [{"Instances": [self.row]}]},
            DescribeInstanceTypes={"InstanceTypes": [kind]},
            CreateImage=self._create,
            DescribeImages=lambda given: {"Images": list(self.images.values())},
            DescribeSnapshots=lambda given: {"Snapshots": list(self.snapshots.values())},
            DeregisterImage=lambda given: self.images.pop(given["ImageId"], None) and None,
            DeleteSnapshot=lambda given: self.snapshots.pop(given["SnapshotId"], None) and None,
        )

    def _create(self, given: dict[str, Any]) -> Any:
        if given.get("DryRun"):
            raise Refused("DryRunOperation")
        if any(row["Name"] == given["Name"] for row in self.images.values()):
            raise Refused("InvalidAMIName.Duplicate")
        marks = {one["ResourceType"]: one["Tags"] for one in given["TagSpecifications"]}
        self.snapshots[SNAPSHOT] = {"SnapshotId": SNAPSHOT, "State": "pending", "Tags": marks["snapshot"]}
        self.images[IMAGE] = {
            "ImageId": IMAGE, "Name": given["Name"], "State": "pending", "Tags": marks["image"],
            "CreationDate": "2026-11-21T12:00:00.000Z", "RootDeviceName": "/dev/sda1",
            "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": SNAPSHOT, "VolumeSize": 40}}],
        }  # fmt: skip
        return {"ImageId": IMAGE}

    def later(self, _: float) -> None:
        """Time passes while somebody waits."""
        self.images[IMAGE]["State"] = self.becomes


class Host:
    """Answers clean.sh's three verbs; `log` shares the order with AWS's calls."""

    where = "lab"

    def __init__(self, aws: FakeAws, **codes: tuple[int, str]) -> None:
        self.aws, self.codes = aws, codes

    def run(self, words: Sequence[str], *, stdin: bytes | None = None, check: bool = True, **_: Any) -> Result:
        assert list(words[:4]) == ["sudo", "sh", "-s", words[-1]]
        assert stdin is not None and b"cloud-init clean" in stdin
        self.aws.calls.append((words[-1], {}))
        code, said = self.codes.get(words[-1], (0, ""))
        return Result(code, "", said)


def request(aws: Account, host: Any = None) -> ImageRequest:
    return baking.plan(aws.cloud, instance_of(aws.row), host or Host(aws))


def bake(aws: Account, **codes: tuple[int, str]) -> tuple[Any, list[str]]:
    said: list[str] = []
    host: Any = Host(aws, **codes)
    wanted = request(aws)
    aws.calls.clear()
    return baking.bake(aws.cloud, wanted, host, said.append, aws.later), said


def test_the_plan_is_for_the_family_of_its_gpus_and_changes_nothing() -> None:
    aws = Account()
    wanted = request(aws)
    assert (wanted.instance, wanted.name, wanted.family, wanted.made_from) == ("i-1", "lab", "Volta", "ami-base")
    assert (wanted.gb, wanted.left_out) == (40, ("/dev/sdf",))
    assert baking.monthly(wanted) == pytest.approx(2.0)
    assert not [name for name in aws.names() if not name.startswith(("Describe", "look"))]


def test_it_is_cleaned_right_before_the_image_is_made_and_once_aws_would_make_it() -> None:
    aws = Account()
    made, _ = bake(aws)
    assert aws.names()[:3] == ["CreateImage", "clean", "CreateImage"]
    assert [given.get("DryRun") for given in aws.of("CreateImage")] == [True, None]
    assert "undo" not in aws.names()
    assert (made.id, made.state, made.gb, made.family) == (IMAGE, "available", 40, "Volta")


def test_the_image_has_its_tags_and_no_data_volume_from_the_first_call_on() -> None:
    aws = Account()
    bake(aws)
    given = aws.of("CreateImage")[-1]
    assert given["NoReboot"] is False
    assert given["BlockDeviceMappings"] == [{"DeviceName": "/dev/sdf", "NoDevice": ""}]
    for one in (aws.images[IMAGE], aws.snapshots[SNAPSHOT]):
        marks = {tag["Key"]: tag["Value"] for tag in one["Tags"]}
        assert (marks["provision:name"], marks[BAKED], marks[FROM]) == ("lab", "Volta", "ami-base")
    assert baked(aws.cloud, ["Volta"]) == (IMAGE, "/dev/sda1", 40)


def test_an_image_with_another_driver_than_the_tables_is_not_taken() -> None:
    aws = Account()
    aws.row["Tags"] = tags(name="lab", disk="40", driver="535")
    bake(aws)
    [made] = MachineImages(aws.cloud).all()
    assert (made.driver, made.run) == ("535", "")
    assert baked(aws.cloud, ["Volta"], "535") == (IMAGE, "/dev/sda1", 40)
    assert baked(aws.cloud, ["Volta"], "580") is None
    aws.images[IMAGE]["Tags"] = [tag for tag in aws.images[IMAGE]["Tags"] if tag["Key"] != "provision:driver"]
    assert baked(aws.cloud, ["Volta"], "580") is not None  # of an earlier version: nobody knows


@pytest.mark.parametrize(
    ("code", "why", "kind", "mend"),
    [
        (41, "a training runs: digits-1", RunError, "provision stop RUN --cloud fake"),
        (40, "its bootstrap is not done", HostError, "provision up --name lab --cloud fake"),
    ],
)
def test_a_machine_in_use_or_not_ready_is_refused(code: int, why: str, kind: type[ProvisionError], mend: str) -> None:
    aws = Account()
    with pytest.raises(kind) as refused:
        request(aws, Host(aws, look=(code, why)))
    assert refused.value.what == f"lab cannot be baked: {why}"
    assert mend in refused.value.mend
    assert "CreateImage" not in aws.names()


def test_without_permission_the_machine_is_not_touched() -> None:
    aws = Account()
    aws.answers["CreateImage"] = Refused("UnauthorizedOperation")
    with pytest.raises(AuthError):
        bake(aws)
    assert "clean" not in aws.names()


def test_a_training_that_began_meanwhile_stops_it() -> None:
    aws = Account()
    with pytest.raises(RunError):
        bake(aws, clean=(41, "a training runs: digits-2"))
    assert len(aws.of("CreateImage")) == 1, "only the dry run"


def test_a_refused_image_leaves_the_machine_as_it_was() -> None:
    aws = Account()
    aws.answers["CreateImage"] = lambda given: Refused("DryRunOperation" if given.get("DryRun") else "InternalError")
    with pytest.raises(CloudError):
        bake(aws)
    assert aws.names()[-2:] == ["undo", "DescribeImages"]


@pytest.mark.parametrize("end", ["failed", "Ctrl-C"])
def test_half_an_image_is_deleted_and_the_user_told_what_still_costs(end: str) -> None:
    aws = Account(becomes="failed")
    said: list[str] = []
    host: Any = Host(aws)

    def sleep(_: float) -> None:
        if end == "Ctrl-C":
            raise KeyboardInterrupt
        aws.later(_)

    with pytest.raises(KeyboardInterrupt if end == "Ctrl-C" else CloudError):
        baking.bake(aws.cloud, request(aws), host, said.append, sleep)
    assert "undo" in aws.names()
    assert not aws.images and not aws.snapshots
    assert said[-1] == "lab was not ended, and is billed until its deadline: provision down lab --cloud fake"


def test_a_lost_answer_that_was_asked_for_again_is_the_same_image() -> None:
    aws = Account()
    wanted = request(aws)
    images = MachineImages(aws.cloud, aws.later)
    first = images.create(wanted)
    assert images.create(wanted) == first


def test_a_wait_without_end_ends() -> None:
    aws = Account()
    images = MachineImages(aws.cloud, lambda _: None)
    image = images.create(request(aws))
    with pytest.raises(CloudError) as late:
        images.wait(image, print, patience=0.0)
    assert image in late.value.what


def test_rm_deletes_the_image_and_its_snapshot_and_proves_it() -> None:
    aws = Account()
    made, _ = bake(aws)
    baking.remove(aws.cloud, made)
    assert not aws.images and not aws.snapshots
    assert aws.names().index("DeregisterImage") < aws.names().index("DeleteSnapshot")


def test_rm_that_leaves_something_says_so() -> None:
    aws = Account()
    made, _ = bake(aws)
    aws.answers["DeleteSnapshot"] = {}
    with pytest.raises(LeftoverError) as left:
        baking.remove(aws.cloud, made)
    assert left.value.what == f"still there: {SNAPSHOT}"
    assert left.value.mend == f"run it again: provision ami rm {IMAGE} --cloud fake"


def test_others_images_are_not_listed() -> None:
    aws = Account()
    made, _ = bake(aws)
    aws.images["ami-2"] = {"ImageId": "ami-2", "CreationDate": "2026-11-22T12:00:00.000Z", "Tags": tags(name="lab")}
    found = MachineImages(aws.cloud).all()
    assert [one.id for one in found] == [IMAGE]
    assert found[0].created == datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
    with pytest.raises(NotFoundError) as refused:
        MachineImages(aws.cloud).get("ami-2")
    assert refused.value.mend == f"there are: {IMAGE}"
    row = ami.row(aws.cloud, made)
    assert (row["id"], row["family"], row["made_from"], row["dollars_a_month"]) == (IMAGE, "Volta", "ami-base", 2.0)
