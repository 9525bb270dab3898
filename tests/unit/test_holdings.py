"""What of ours exists, kind by kind, and how each is ended."""

from datetime import datetime, timezone
from typing import Any

import pytest

from infra.aws import resources
from infra.aws.cleanup import Removal
from infra.aws.resources import KINDS, Holding, Holdings, ended_at, machine_of
from infra.concurrency import together
from infra.errors import AuthError, CloudError, ProvisionError
from tests.unit.fake_aws import LAUNCHED, FakeAws, Refused, Region, machine, role, tags


def removal(aws: FakeAws, patience: float = 5.0) -> Removal:
    return Removal(aws.cloud, patience, sleep=lambda _: None)


def test_all_that_belongs_to_a_machine_is_found() -> None:
    found, errors = Holdings(Region().cloud).look("lab")
    assert not errors
    assert [(one.kind, one.label) for one in found] == [
        ("instances", "i-1"),
        ("volumes", "vol-1"),
        ("volumes", "data"),
        ("security groups", Region.LAUNCH),
        ("launch templates", Region.LAUNCH),
        ("spot requests", "sir-1"),
        ("schedules", Region.LAUNCH),
        ("roles", Region.LAUNCH),
        ("instance profiles", Region.LAUNCH),
    ]
    assert {one.name for one in found} == {"lab"}
    assert {one.launch for one in found} == {Region.LAUNCH}
    assert [one.id for one in found if one.kept] == ["vol-2"]


def test_what_cannot_be_seen_does_not_hide_the_rest() -> None:
    aws = Region()
    aws.answers["DescribeVolumes"] = Refused("UnauthorizedOperation")
    found, errors = Holdings(aws.cloud).look("lab")
    assert len(found) == 7
    assert [type(one) for one in errors] == [AuthError]


def test_one_name_is_asked_for_by_its_tag_and_all_by_having_one() -> None:
    aws = Region()
    Holdings(aws.cloud).look("lab")
    Holdings(aws.cloud).look()
    asked = [words["Filters"] for words in aws.of("DescribeVolumes")]
    assert asked[0] == [{"Name": "tag:provision:name", "Values": ["lab"]}]
    assert asked[1] == [{"Name": "tag-key", "Values": ["provision:name"]}]


@pytest.mark.parametrize(
    ("resource", "name"),
    [
        ("provision-lab-01234567", "lab"),
        ("provision-lab-2-01234567", "lab-2"),
        ("provision-scheduler", ""),
        ("something", ""),
    ],
)
def test_which_machine_a_launch_is_of(resource: str, name: str) -> None:
    assert machine_of(resource) == name


def test_another_machine_whose_name_begins_alike_is_another() -> None:
    aws = Region()
    aws.things["Roles"]["provision-lab-2-01234567"] = role("provision-lab-2-01234567")
    found, _ = Holdings(aws.cloud).look("lab")
    assert [one.id for one in found if one.kind == "roles"] == [Region.LAUNCH]


def test_another_regions_roles_are_not_ours_to_end_here() -> None:
    aws = Region()
    aws.things["Roles"] = {"other": role(Region.LAUNCH, "eu-west-1")}
    assert not [one for one in Holdings(aws.cloud).look()[0] if one.kind == "roles"]


def test_things_of_every_other_kind_are_found_too() -> None:
    mine = tags(name="lab")
    aws = FakeAws(
        DescribeNetworkInterfaces={
            "NetworkInterfaces": [{"NetworkInterfaceId": "eni-1", "Status": "available", "TagSet": mine}]
        },
        DescribeKeyPairs={"KeyPairs": [{"KeyPairId": "key-1", "Tags": mine}]},
        DescribeAddresses={"Addresses": [{"AllocationId": "eip-1", "Tags": mine}]},
        DescribeSnapshots={
            "Snapshots": [
                {"SnapshotId": "snap-2", "State": "completed", "VolumeSize": 8, "Tags": tags(baked="Volta")},
            ]
        },
        DescribeImages={
            "Images": [{"ImageId": "ami-1", "CreationDate": "2026-11-20T12:00:00.000Z", "Tags": tags(baked="Volta")}]
        },
    )
    found, _ = Holdings(aws.cloud).look()
    assert {one.id: (one.kind, one.state, one.kept) for one in found} == {
        "eni-1": ("network interfaces", "available", False),
        "key-1": ("key pairs", "", False),
        "eip-1": ("elastic IPs", "unattached", False),
        "snap-2": ("snapshots", "completed", True),
        "ami-1": ("machine images", "", True),
    }
    assert found[0].name == "lab"
    assert found[-1].made == LAUNCHED


def test_spot_requests_that_are_over_are_not_ours_to_end() -> None:
    rows = [
        {"SpotInstanceRequestId": f"sir-{state}", "State": state} for state in ("open", "active", "closed", "failed")
    ]
    found, _ = Holdings(FakeAws(DescribeSpotInstanceRequests={"SpotInstanceRequests": rows}).cloud).look()
    assert [one.id for one in found] == ["sir-open", "sir-active"]


def test_every_kind_that_can_be_found_can_be_ended() -> None:
    aws = FakeAws()
    for kind in KINDS:
        if kind != "instances":
            removal(aws).delete(Holding(kind, "x"))
    assert len(resources._LOOKS) == len(KINDS)
    assert {"DeleteVolume", "DeleteNetworkInterface", "DeleteSecurityGroup", "DeleteLaunchTemplate", "DeleteKeyPair",
            "CancelSpotInstanceRequests", "ReleaseAddress", "DeleteSnapshot", "DeregisterImage", "DeleteSchedule",
            "DeleteRole", "DeleteInstanceProfile"} <= set(aws.names())  # fmt: skip


def in_use(code: str, times: int) -> Any:
    left = [code] * times

    def answer(_: dict[str, Any]) -> Any:
        if left:
            raise Refused(left.pop())

    return answer


@pytest.mark.parametrize(
    ("kind", "operation", "code"),
    [
        ("security groups", "DeleteSecurityGroup", "DependencyViolation"),
        ("volumes", "DeleteVolume", "VolumeInUse"),
        ("elastic IPs", "ReleaseAddress", "InvalidIPAddress.InUse"),
    ],
)
def test_a_thing_in_use_is_waited_for(kind: str, operation: str, code: str) -> None:
    aws = FakeAws(**{operation: in_use(code, 3)})
    removal(aws).delete(Holding(kind, "x"))
    assert aws.names() == [operation] * 4


def test_a_thing_that_stays_in_use_is_an_error_that_names_it() -> None:
    with pytest.raises(CloudError) as refused:
        removal(FakeAws(DeleteSecurityGroup=Refused("DependencyViolation")), 0.0).delete(
            Holding("security groups", "sg-9")
        )
    assert "sg-9 is still in use" in refused.value.what


@pytest.mark.parametrize(
    ("kind", "operation", "code"),
    [
        ("volumes", "DeleteVolume", "InvalidVolume.NotFound"),
        ("launch templates", "DeleteLaunchTemplate", "InvalidLaunchTemplateId.NotFound"),
        ("spot requests", "CancelSpotInstanceRequests", "InvalidSpotInstanceRequestID.NotFound"),
        ("schedules", "DeleteSchedule", "ResourceNotFoundException"),
        ("roles", "DeleteRole", "NoSuchEntity"),
    ],
)
def test_what_is_gone_already_is_as_good_as_ended(kind: str, operation: str, code: str) -> None:
    aws = FakeAws(**{operation: Refused(code)})
    removal(aws).delete(Holding(kind, "x"))
    assert operation in aws.names()


def test_a_missing_right_is_an_error() -> None:
    with pytest.raises(AuthError):
        removal(FakeAws(DeleteVolume=Refused("UnauthorizedOperation"))).delete(Holding("volumes", "vol-1"))


def test_one_bad_id_does_not_save_the_others() -> None:
    ended = []

    def terminate(given: dict[str, Any]) -> Any:
        if "i-bad" in given["InstanceIds"]:
            raise Refused("InvalidInstanceID.NotFound")
        ended.extend(given["InstanceIds"])

    removal(FakeAws(TerminateInstances=terminate)).terminate(["i-1", "i-bad", "i-2"])
    assert sorted(ended) == ["i-1", "i-2"]


def test_the_end_of_an_instance_is_waited_for() -> None:
    states = ["shutting-down", "shutting-down", "terminated"]

    def look(_: dict[str, Any]) -> Any:
        return {"Reservations": [{"Instances": [machine("i-1", [], State={"Name": states.pop(0)})]}]}

    removal(FakeAws(DescribeInstances=look)).wait_ended(["i-1"])
    assert not states


def test_an_instance_that_does_not_end_is_an_error() -> None:
    aws = FakeAws(DescribeInstances={"Reservations": [{"Instances": [machine("i-1", [])]}]})
    with pytest.raises(CloudError) as refused:
        removal(aws, 0.0).wait_ended(["i-1"])
    assert "i-1 did not end" in refused.value.what


def test_nobody_gets_in_any_more() -> None:
    aws = Region()
    found, _ = Holdings(aws.cloud).look()
    removal(aws).shut(next(one for one in found if one.kind == "security groups"))
    (asked,) = aws.of("RevokeSecurityGroupIngress")
    assert asked["IpPermissions"][0]["FromPort"] == 22


@pytest.mark.parametrize(
    ("said", "state", "at"),
    [
        ("User initiated (2026-11-20 18:40:00 GMT)", "terminated", datetime(2026, 11, 20, 18, 40, tzinfo=timezone.utc)),
        (
            "User initiated (2026-11-20 18:40:00 UTC)",
            "shutting-down",
            datetime(2026, 11, 20, 18, 40, tzinfo=timezone.utc),
        ),
        ("User initiated (2026-11-20 18:40:00 GMT)", "running", None),  # of an earlier stop
        ("Server.SpotInstanceTermination: Spot instance termination", "terminated", None),
        ("User initiated (yesterday)", "terminated", None),
        (None, "terminated", None),
    ],
)
def test_when_an_instance_ended(said: str | None, state: str, at: datetime | None) -> None:
    assert ended_at({"State": {"Name": state}, "StateTransitionReason": said}) == at


def test_a_machine_that_has_ended_is_known_for_its_bill_but_is_nothing_left() -> None:
    aws = Region()
    aws._terminate({"InstanceIds": ["i-1"]})
    assert not [one for one in Holdings(aws.cloud).look()[0] if one.kind == "instances"]
    ((instance, ended),) = Holdings(aws.cloud).lives()
    assert instance.id == "i-1"
    assert ended == datetime(2026, 11, 20, 14, tzinfo=timezone.utc)


def test_a_deadline_that_cannot_be_read_is_none() -> None:
    assert Holding("instances", "i-1", tags={"provision:deadline": "soon"}).deadline is None


def test_one_failure_keeps_no_other_from_being_tried() -> None:
    def fail() -> int:
        raise ProvisionError("no")

    results, errors = together([lambda: 1, fail, lambda: 3], at_once=1)
    assert results == [1, 3]
    assert [error.what for error in errors] == ["no"]


def test_a_fault_of_this_program_is_not_hidden() -> None:
    def broken() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        together([broken])
