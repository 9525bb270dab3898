"""Data volumes: which a machine gets, when one is kept, and that no two are kept under one name."""

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

import pytest

from infra.aws.types import DataVolume, Instance
from infra.aws.volumes import Volumes
from infra.errors import CloudError, ProvisionError, UsageError
from tests.unit.fake_aws import CLOUD, FakeAws, Refused

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)
LAB = Instance("i-1", "lab", "running", "p3.8xlarge", "us-east-1a", "spot", "192.0.2.9", NOW, {})
DATA = DataVolume("data", 200)


class Disks(FakeAws):
    """Volumes that can be attached, marked, and told whether they go with their machine. `broken`: the call that fails.
    `meanwhile` is done before each answer about marked volumes."""

    def __init__(self) -> None:
        super().__init__(CLOUD)
        self.rows: dict[str, dict[str, Any]] = {}
        self.meanwhile: Callable[[], None] = lambda: None
        self.answers |= {
            "DescribeVolumes": self._described, "AttachVolume": self._attached,
            "CreateTags": self._marked, "ModifyInstanceAttribute": self._told,
        }  # fmt: skip

    def has(self, id_: str, keep: str | None = None, on: str = "", device: str = "/dev/sdf", goes: bool = False,
            zone: str = "us-east-1a") -> None:  # fmt: skip
        tags = [] if keep is None else [{"Key": "provision:keep", "Value": keep}]
        held = [{"InstanceId": on, "Device": device, "DeleteOnTermination": goes}] if on else []
        self.rows[id_] = {"VolumeId": id_, "AvailabilityZone": zone, "Attachments": held, "Tags": tags}

    def kept(self) -> dict[str, str]:
        return {id_: name for id_, row in self.rows.items() if (name := marks(row).get("provision:keep"))}

    def goes(self, id_: str) -> bool:
        return bool(self.rows[id_]["Attachments"][0]["DeleteOnTermination"])

    def changes(self) -> list[str]:
        return [name for name in self.names() if not name.startswith("Describe")]

    def _described(self, given: Mapping[str, Any]) -> Any:
        [wanted] = given["Filters"]
        if wanted["Name"] == "attachment.instance-id":
            found = [one for one in self.rows.values() if any(at["InstanceId"] in wanted["Values"]
                                                              for at in one["Attachments"])]  # fmt: skip
        else:
            self.meanwhile()
            found = [row for row in self.rows.values() if marks(row).get("provision:keep") in wanted["Values"]]
        return {"Volumes": found}

    def _attached(self, given: Mapping[str, Any]) -> None:
        self.rows[given["VolumeId"]]["Attachments"] = [
            {"InstanceId": given["InstanceId"], "Device": given["Device"], "DeleteOnTermination": False}
        ]

    def _marked(self, given: Mapping[str, Any]) -> None:
        row = self.rows[given["Resources"][0]]
        new = {**marks(row), **{tag["Key"]: tag["Value"] for tag in given["Tags"]}}
        row["Tags"] = [{"Key": key, "Value": value} for key, value in new.items()]

    def _told(self, given: Mapping[str, Any]) -> None:
        [disk] = given["BlockDeviceMappings"]
        for row in self.rows.values():
            for at in row["Attachments"]:
                if (at["InstanceId"], at["Device"]) == (given["InstanceId"], disk["DeviceName"]):
                    at["DeleteOnTermination"] = disk["Ebs"]["DeleteOnTermination"]


def marks(row: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in row["Tags"]}


class Clock:
    """Time that passes when someone sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.then: dict[float, Callable[[], None]] = {}
        monkeypatch.setattr("time.monotonic", lambda: self.now)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now in self.then:
            self.then[self.now]()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def aws() -> Disks:
    return Disks()


def the_volume(clock: Clock, volume: DataVolume = DATA) -> str:
    return Volumes(CLOUD, clock.sleep).of(LAB, volume, "/dev/sdf")


def keep() -> None:
    Volumes(CLOUD).keep(LAB, "vol-1", "data")


# which one it is


def test_a_new_volume_is_the_one_that_the_machine_came_with(aws: Disks, clock: Clock) -> None:
    """EC2 may tell of it some seconds later than of the machine."""
    clock.then[2.0] = lambda: aws.has("vol-1", on="i-1", goes=True)
    assert the_volume(clock) == "vol-1"
    assert aws.changes() == []


@pytest.mark.parametrize("volume", [DATA, DataVolume("scratch", 50, keep=False)])
def test_a_machine_that_came_without_its_volume_gets_none_that_nobody_would_end(
    aws: Disks, clock: Clock, volume: DataVolume
) -> None:
    with pytest.raises(CloudError, match=f"came without its volume {volume.name}") as said:
        the_volume(clock, volume)
    assert "down NAME" in said.value.mend
    assert aws.changes() == []
    assert 60 <= clock.now <= 62


def test_a_kept_volume_is_attached(aws: Disks, clock: Clock) -> None:
    aws.has("vol-1", "data")
    assert the_volume(clock) == "vol-1"
    [words] = aws.of("AttachVolume")
    assert (words["VolumeId"], words["InstanceId"], words["Device"]) == ("vol-1", "i-1", "/dev/sdf")


def test_it_is_attached_again_while_an_ended_machine_holds_it(aws: Disks, clock: Clock) -> None:
    aws.has("vol-1", "data")
    refusals = iter(["VolumeInUse", "IncorrectState"])

    def answer(given: Mapping[str, Any]) -> None:
        if code := next(refusals, None):
            raise Refused(code)
        aws._attached(given)

    aws.answers["AttachVolume"] = answer
    assert the_volume(clock) == "vol-1"
    assert len(aws.of("AttachVolume")) == 3


@pytest.mark.parametrize("device", ["/dev/sdf", "/dev/sdk"])
def test_one_that_is_attached_there_stays_so(aws: Disks, clock: Clock, device: str) -> None:
    """Also where an older version, or a person, attached it."""
    aws.has("vol-1", "data", on="i-1", device=device)
    assert the_volume(clock) == "vol-1"
    keep()
    assert aws.changes() == []


@pytest.mark.parametrize(
    ("there", "why"),
    [({"on": "i-2"}, "in use by i-2"), ({"zone": "us-east-1c"}, "is in us-east-1c, lab in us-east-1a")],
)
def test_one_that_cannot_be_had_is_an_error(aws: Disks, clock: Clock, there: dict[str, str], why: str) -> None:
    aws.has("vol-1", "data", **there)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=why):
        the_volume(clock)
    assert aws.changes() == []


@pytest.mark.parametrize(("holder", "why"), [("i-2", "is in use by i-2"), ("", "there already .vol-2.")])
def test_a_volume_of_that_name_that_was_kept_meanwhile_is_an_error(
    aws: Disks, clock: Clock, holder: str, why: str
) -> None:
    aws.has("vol-1", on="i-1", goes=True)
    aws.has("vol-2", "data", on=holder)
    for act in (lambda: the_volume(clock), keep):
        with pytest.raises(UsageError, match=why):
            act()
    assert aws.changes() == []
    assert aws.goes("vol-1")


def test_of_two_kept_volumes_of_one_name_none_is_taken(aws: Disks, clock: Clock) -> None:
    for id_ in ("vol-1", "vol-2"):
        aws.has(id_, "data")
    with pytest.raises(UsageError, match="there are 2 kept volumes data: vol-1, vol-2"):
        the_volume(clock)
    assert aws.changes() == []


# keeping it


def test_a_volume_is_kept_before_it_is_marked(aws: Disks) -> None:
    aws.has("vol-1", on="i-1", goes=True)
    keep()
    assert aws.changes() == ["ModifyInstanceAttribute", "CreateTags"]
    assert (aws.goes("vol-1"), aws.kept()) == (False, {"vol-1": "data"})
    assert marks(aws.rows["vol-1"])["Name"] == "provision volume data"
    keep()
    assert len(aws.changes()) == 2


def test_a_client_killed_before_the_mark_leaves_the_data_and_the_next_marks_it(aws: Disks) -> None:
    aws.has("vol-1", on="i-1", goes=True)
    marked, aws.answers["CreateTags"] = aws.answers["CreateTags"], Refused("RequestLimitExceeded")
    with pytest.raises(ProvisionError):
        keep()
    assert (aws.goes("vol-1"), aws.kept()) == (False, {})
    aws.answers["CreateTags"] = marked
    keep()
    assert aws.kept() == {"vol-1": "data"}


def test_an_older_machines_volume_which_nobody_marked_is_kept(aws: Disks, clock: Clock) -> None:
    """Older versions attached a new one by a call, and AWS does not delete such a one."""
    aws.has("vol-1", on="i-1", goes=False)
    assert the_volume(clock) == "vol-1"
    keep()
    assert aws.kept() == {"vol-1": "data"}


def test_two_machines_that_keep_a_volume_of_one_name_at_once_leave_no_two(aws: Disks) -> None:
    """Each had looked before the other marked its own."""
    aws.has("vol-1", on="i-1", goes=True)
    aws.has("vol-2", on="i-2", goes=True)

    def other() -> None:
        if "vol-1" in aws.kept():
            aws._marked({"Resources": ["vol-2"], "Tags": [{"Key": "provision:keep", "Value": "data"}]})

    aws.meanwhile = other
    with pytest.raises(UsageError, match="the volume data is in use by i-2"):
        keep()
    assert (aws.goes("vol-1"), aws.kept()) == (True, {"vol-2": "data"})


def test_a_machine_that_lost_its_volume_is_an_error(aws: Disks) -> None:
    with pytest.raises(CloudError, match="lab does not have its volume data any more"):
        keep()
