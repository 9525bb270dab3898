"""What the embedded cloud has beyond single machines: fleets, schedules, quotas, regions, prices, volumes, images."""

import json
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.localcloud_kit import Box, Cloud, boot, docker, eventually, refused, running_cloud, words

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(300)]
FULL, BARE = "ami-010ca1000deb1a012", "ami-010ca1000deb1aba2"
MARK = [{"Key": "provision:name", "Value": "tiny"}]
ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")
NOBODY = {"Version": "2012-10-17", "Statement": []}
SCHEDULER = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
END_OURS = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "ec2:TerminateInstances",
            "Resource": "*",
            "Condition": {"Null": {"aws:ResourceTag/provision:name": "false"}},
        }
    ],
}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running_cloud(tmp_path_factory.mktemp("local")) as running:
        yield running


@pytest.fixture(autouse=True)
def _nothing_stays(cloud: Cloud) -> Iterator[None]:
    """Each test begins with an empty market and ends its instances."""
    yield
    for region in ("us-east-1", "us-west-2"):
        end_all(cloud, region)
    cloud.page("capacity", {})
    cloud.page("quotas", dict.fromkeys(("L-3819A6DF", "L-7212CCBC", "L-417A185B"), 2000))


def end_all(cloud: Cloud, region: str) -> None:
    ec2 = cloud.client("ec2", region_name=region)
    rows = [one for group in ec2.describe_instances()["Reservations"] for one in group["Instances"]]
    living = [one["InstanceId"] for one in rows if one["State"]["Name"] != "terminated"]
    if living:
        ec2.terminate_instances(InstanceIds=living)


def template(cloud: Cloud, **data: Any) -> str:
    name = f"provision-{secrets.token_hex(4)}"
    kinds = ("instance", "volume", "network-interface", "spot-instances-request")
    marks = [{"ResourceType": kind, "Tags": MARK} for kind in kinds]
    cloud.ec2.create_launch_template(
        LaunchTemplateName=name,
        LaunchTemplateData={"ImageId": FULL, "InstanceType": "p3.2xlarge", "TagSpecifications": marks, **data},
        TagSpecifications=[{"ResourceType": "launch-template", "Tags": MARK}],
    )
    return name


def fleet(cloud: Cloud, name: str, market: str = "spot", **asked: Any) -> dict[str, Any]:
    """CreateFleet over all zones that have the template's type."""
    overrides = asked.pop("overrides", [{"AvailabilityZone": zone} for zone in ZONES])
    which = {"LaunchTemplateName": name, "Version": "$Latest"}
    answer: dict[str, Any] = cloud.ec2.create_fleet(
        Type="instant",
        LaunchTemplateConfigs=[{"LaunchTemplateSpecification": which, "Overrides": overrides}],
        TargetCapacitySpecification={"TotalTargetCapacity": 1, "DefaultTargetCapacityType": market},
        SpotOptions={"AllocationStrategy": "price-capacity-optimized"},
        **asked,
    )
    return answer


def only(answer: dict[str, Any]) -> str:
    """The id of the one instance that a fleet made."""
    (row,) = answer["Instances"]
    (found,) = row["InstanceIds"]
    return str(found)


def prices(cloud: Cloud, kind: str) -> dict[str, float]:
    now = datetime.now(timezone.utc)
    rows = cloud.ec2.describe_spot_price_history(InstanceTypes=[kind], StartTime=now)["SpotPriceHistory"]
    return {row["AvailabilityZone"]: float(row["SpotPrice"]) for row in reversed(rows)}


def test_a_fleet_takes_the_cheapest_place_and_marks_all_that_it_makes(cloud: Cloud) -> None:
    name = template(
        cloud,
        InstanceInitiatedShutdownBehavior="terminate",
        MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
        BlockDeviceMappings=[
            {"DeviceName": device, "Ebs": {"VolumeSize": size, "VolumeType": "gp3"}}
            for device, size in (("/dev/xvda", 40), ("/dev/sdf", 2))
        ],
    )
    answer = fleet(cloud, name)
    instance = cloud.about(only(answer))
    market = prices(cloud, "p3.2xlarge")
    assert instance["Placement"]["AvailabilityZone"] == min(market, key=lambda zone: market[zone])
    assert (instance["InstanceLifecycle"], instance["MetadataOptions"]["HttpTokens"]) == ("spot", "required")
    assert {"Key": "aws:ec2:fleet-id", "Value": answer["FleetId"]} in instance["Tags"]
    ours = [{"Name": "tag:provision:name", "Values": ["tiny"]}]
    volumes = cloud.ec2.describe_volumes(Filters=ours)["Volumes"]
    assert [(volume["Size"], volume["VolumeType"]) for volume in volumes] == [(40, "gp3"), (2, "gp3")]
    assert len(cloud.ec2.describe_network_interfaces(Filters=ours)["NetworkInterfaces"]) == 1
    assert cloud.ec2.describe_spot_instance_requests(Filters=ours)["SpotInstanceRequests"][0]["State"] == "active"
    assert len(cloud.ec2.describe_launch_templates(Filters=ours)["LaunchTemplates"]) == 1
    cloud.running(instance["InstanceId"])
    assert not has_losetup() or inside(cloud, instance["InstanceId"], "blockdev --getsize64 /dev/xvdf") == str(
        2 * 2**30
    )
    cloud.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    eventually(lambda: cloud.gone(instance["InstanceId"]))
    assert cloud.ec2.describe_network_interfaces(Filters=ours)["NetworkInterfaces"] == []
    assert cloud.ec2.describe_volumes(Filters=ours)["Volumes"] == []
    cloud.ec2.delete_launch_template(LaunchTemplateName=name)
    assert refused(cloud.ec2.delete_launch_template, LaunchTemplateName=name).startswith(
        "InvalidLaunchTemplateName.NotF"
    )


def test_a_place_without_room_is_an_error_in_the_answer(cloud: Cloud) -> None:
    name, market = template(cloud), prices(cloud, "p3.2xlarge")
    cheapest, second, _ = sorted(market, key=lambda zone: market[zone])
    cloud.page("capacity", {"type": "p3.2xlarge", "zone": cheapest, "code": "InsufficientInstanceCapacity"})
    answer = fleet(cloud, name)
    assert [error["ErrorCode"] for error in answer["Errors"]] == ["InsufficientInstanceCapacity"]
    assert answer["Errors"][0]["LaunchTemplateAndOverrides"]["Overrides"]["AvailabilityZone"] == cheapest
    assert cloud.about(only(answer))["Placement"]["AvailabilityZone"] == second
    for zone in ZONES:
        cloud.page("capacity", {"type": "p3.2xlarge", "zone": zone, "code": "InsufficientInstanceCapacity"})
    nothing = fleet(cloud, name)
    assert nothing["Instances"] == [] and len(nothing["Errors"]) == 3
    for zone in ZONES:
        cloud.page("capacity", {"type": "p3.2xlarge", "zone": zone})
    mixed = [{"AvailabilityZone": "us-east-1a", "MaxPrice": "0.01"}, {"AvailabilityZone": "us-east-1f"}]
    codes = {error["ErrorCode"] for error in fleet(cloud, name, overrides=mixed)["Errors"]}
    assert codes == {"SpotMaxPriceTooLow", "InvalidFleetConfiguration"}


def test_the_same_token_is_the_same_fleet(cloud: Cloud) -> None:
    name = template(cloud)
    first = only(fleet(cloud, name, ClientToken="one"))
    assert only(fleet(cloud, name, ClientToken="one")) == first
    assert only(fleet(cloud, name, ClientToken="two")) != first
    with pytest.raises(Exception, match="IdempotentParameterMismatch"):
        fleet(cloud, name, market="on-demand", ClientToken="one")
    asked = {"LaunchTemplateName": f"{name}-2", "LaunchTemplateData": {"ImageId": FULL}}
    made = [cloud.ec2.create_launch_template(ClientToken="t", **asked)["LaunchTemplate"] for _ in range(2)]
    assert made[0]["LaunchTemplateId"] == made[1]["LaunchTemplateId"]
    taken = refused(cloud.ec2.create_launch_template, **asked)
    assert taken == "InvalidLaunchTemplateName.AlreadyExistsException"


def test_an_on_demand_fleet_is_no_spot(cloud: Cloud) -> None:
    instance = cloud.about(only(fleet(cloud, template(cloud), market="on-demand")))
    assert "InstanceLifecycle" not in instance


def test_quotas_are_told_and_kept(cloud: Cloud) -> None:
    quotas = cloud.client("service-quotas")
    cloud.page("quotas", {"L-7212CCBC": 12})
    told = quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-7212CCBC")["Quota"]
    assert (told["Value"], told["QuotaName"]) == (12.0, "All P4, P3 and P2 Spot Instance Requests")
    assert len(quotas.list_service_quotas(ServiceCode="ec2")["Quotas"]) >= 5
    name = template(cloud)
    only(fleet(cloud, name))  # 8 vCPUs
    answer = fleet(cloud, name)
    assert {error["ErrorCode"] for error in answer["Errors"]} == {"MaxSpotInstanceCountExceeded"}
    cloud.page("quotas", {"L-417A185B": 4})
    asked = {"ImageId": FULL, "InstanceType": "p3.2xlarge", "MinCount": 1, "MaxCount": 1}
    assert refused(cloud.ec2.run_instances, **asked) == "VcpuLimitExceeded"
    assert refused(quotas.get_service_quota, ServiceCode="ec2", QuotaCode="L-0") == "NoSuchResourceException"


def test_another_region_has_machines_of_its_own(cloud: Cloud) -> None:
    west = cloud.client("ec2", region_name="us-west-2")
    zones = west.describe_instance_type_offerings(
        LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": ["p3.8xlarge"]}]
    )["InstanceTypeOfferings"]
    assert {row["Location"] for row in zones} == {"us-west-2a", "us-west-2b", "us-west-2c"}
    made = west.run_instances(ImageId=FULL, InstanceType="p3.8xlarge", MinCount=1, MaxCount=1)["Instances"][0]
    assert made["Placement"]["AvailabilityZone"] == "us-west-2a"
    ids = [made["InstanceId"]]

    def state() -> str:
        found: str = west.describe_instances(InstanceIds=ids)["Reservations"][0]["Instances"][0]["State"]["Name"]
        return found

    eventually(lambda: state() == "running")
    assert docker("ps", "-q", "--filter", f"name={made['InstanceId']}")
    assert refused(cloud.ec2.describe_instances, InstanceIds=ids) == "InvalidInstanceID.NotFound"
    west.terminate_instances(InstanceIds=ids)
    eventually(lambda: state() == "terminated")


def test_each_region_that_it_tells_of_answers(cloud: Cloud) -> None:
    names = [row["RegionName"] for row in cloud.ec2.describe_regions()["Regions"]]
    assert {"us-east-1", "us-west-2", "eu-west-1"} <= set(names)
    for name in names:
        zones = cloud.client("ec2", region_name=name).describe_availability_zones()["AvailabilityZones"]
        assert {zone["RegionName"] for zone in zones} == {name}


def test_prices_can_be_moved_and_types_retired(cloud: Cloud) -> None:
    before = datetime.now(timezone.utc) - timedelta(seconds=1)
    usual = prices(cloud, "g4dn.xlarge")["us-east-1a"]
    cloud.page("prices", {"type": "g4dn.xlarge", "zone": "us-east-1a", "price": 0.42})
    rows = cloud.ec2.describe_spot_price_history(
        InstanceTypes=["g4dn.xlarge"], AvailabilityZone="us-east-1a", StartTime=before
    )["SpotPriceHistory"]
    assert [float(row["SpotPrice"]) for row in rows] == [0.42, usual]
    cloud.page("retire", {"retired": True})
    assert refused(cloud.ec2.describe_instance_types, InstanceTypes=["p3.8xlarge"]) == "InvalidInstanceType"
    offers = cloud.ec2.describe_instance_type_offerings(Filters=[{"Name": "instance-type", "Values": ["p2.xlarge"]}])
    assert offers["InstanceTypeOfferings"] == []
    cloud.page("retire", {"retired": False})
    assert cloud.ec2.describe_instance_types(InstanceTypes=["p3.8xlarge"])["InstanceTypes"]


def scheduler_role(cloud: Cloud, policy: dict[str, Any] | None) -> str:
    iam, name = cloud.client("iam"), f"scheduler-{secrets.token_hex(3)}"
    role = iam.create_role(RoleName=name, Path="/provision-account/", AssumeRolePolicyDocument=json.dumps(SCHEDULER))
    if policy:
        iam.put_role_policy(RoleName=name, PolicyName="end", PolicyDocument=json.dumps(policy))
    return str(role["Role"]["Arn"])


def schedule(instance: str, role: str, at: datetime) -> dict[str, Any]:
    return {
        "GroupName": "provision",
        "ScheduleExpression": f"at({at:%Y-%m-%dT%H:%M:%S})",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "Target": {
            "Arn": "arn:aws:scheduler:::aws-sdk:ec2:terminateInstances",
            "RoleArn": role,
            "Input": json.dumps({"InstanceIds": [instance]}),
        },
    }


def test_a_schedule_ends_an_instance_if_its_role_may(cloud: Cloud) -> None:
    api, now = cloud.client("scheduler"), datetime.now(timezone.utc)
    tags = [{"ResourceType": "instance", "Tags": MARK}]
    ours, stranger = cloud.launch(TagSpecifications=tags), cloud.launch()
    role = scheduler_role(cloud, END_OURS)
    early = schedule(ours, role, now + timedelta(hours=1))
    assert refused(api.create_schedule, Name="ours", **early) == "ResourceNotFoundException"  # no such group
    api.create_schedule_group(Name="provision")
    assert refused(api.create_schedule_group, Name="provision") == "ConflictException"
    cloud.client("iam").create_role(RoleName="nobody", AssumeRolePolicyDocument=json.dumps(NOBODY))
    untrusted = schedule(ours, role.replace(role.split("/", 1)[1], "nobody"), now)
    assert refused(api.create_schedule, Name="ours", **untrusted) == "ValidationException"
    api.create_schedule(Name="ours", **early)
    assert refused(api.create_schedule, Name="ours", **early) == "ConflictException"
    api.create_schedule(Name="strange", **schedule(stranger, role, now + timedelta(seconds=4)))
    eventually(lambda: [row["Name"] for row in api.list_schedules(GroupName="provision")["Schedules"]] == ["ours"])
    assert {cloud.state(ours), cloud.state(stranger)} <= {"pending", "running"}  # no right, nothing happens
    api.update_schedule(Name="ours", **schedule(ours, role, now + timedelta(minutes=30)))
    cloud.page("schedules", {"ahead": 1800})
    eventually(lambda: cloud.gone(ours))
    cloud.page("schedules", {"ahead": 0})
    assert api.list_schedules(GroupName="provision")["Schedules"] == []
    assert cloud.state(stranger) != "terminated"
    assert refused(api.delete_schedule, GroupName="provision", Name="ours") == "ResourceNotFoundException"


def test_a_profile_goes_to_a_running_instance(cloud: Cloud) -> None:
    iam, name = cloud.client("iam"), "late"
    instance = cloud.launch()
    profile = {"IamInstanceProfile": {"Name": name}, "InstanceId": instance}
    assert refused(cloud.ec2.associate_iam_instance_profile, **profile) == "IncorrectInstanceState"
    cloud.running(instance)
    assert refused(cloud.ec2.associate_iam_instance_profile, **profile) == "InvalidParameterValue"
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(NOBODY))
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    cloud.ec2.associate_iam_instance_profile(**profile)
    found = cloud.ec2.describe_iam_instance_profile_associations(
        Filters=[{"Name": "instance-id", "Values": [instance]}]
    )["IamInstanceProfileAssociations"]
    assert [one["State"] for one in found] == ["associated"]
    service = "http://169.254.169.254/latest"
    token = f"curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' {service}/api/token"
    ask = f'curl -s -H "X-aws-ec2-metadata-token: $({token})" {service}/meta-data/iam/security-credentials/late'
    keys = docker("exec", cloud.container(instance), "sh", "-c", ask)
    assert json.loads(keys)["AccessKeyId"].startswith("ASIA")


def inside(cloud: Cloud, instance: str, command: str) -> str:
    return docker("exec", cloud.container(instance), "sh", "-c", command)


def attached(cloud: Cloud, volume: str) -> str:
    """The state of the volume's attachment; empty without one."""
    rows = cloud.ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["Attachments"]
    return rows[0]["State"] if rows else ""


def has_losetup() -> bool:
    return subprocess.run(["losetup", "--find"], capture_output=True).returncode == 0


def test_a_disk_goes_with_its_instance_or_stays_as_that_was_told(cloud: Cloud) -> None:
    disks = [
        {"DeviceName": device, "Ebs": {"VolumeSize": 1, "DeleteOnTermination": True}}
        for device in ("/dev/sdf", "/dev/sdg")
    ]
    instance = cloud.launch(BlockDeviceMappings=disks)
    cloud.running(instance)

    def told(device: str, goes: bool, **more: Any) -> Any:
        change = {"DeviceName": device, "Ebs": {"DeleteOnTermination": goes}}
        return {"InstanceId": instance, "BlockDeviceMappings": [change], **more}

    change = cloud.ec2.modify_instance_attribute
    assert refused(change, **told("/dev/sdf", False, DryRun=True)) == "DryRunOperation"
    assert refused(change, **told("/dev/sdz", False)) == "InvalidInstanceAttributeValue"
    for goes in (False, True, False):
        change(**told("/dev/sdf", goes))
        rows = cloud.about(instance)["BlockDeviceMappings"]
        assert {row["DeviceName"]: row["Ebs"]["DeleteOnTermination"] for row in rows}["/dev/sdf"] is goes
    ids = {row["DeviceName"]: row["Ebs"]["VolumeId"] for row in rows}
    [volume] = cloud.ec2.describe_volumes(VolumeIds=[ids["/dev/sdf"]])["Volumes"]
    assert volume["Attachments"][0]["DeleteOnTermination"] is False
    cloud.ec2.terminate_instances(InstanceIds=[instance])
    eventually(lambda: cloud.gone(instance))
    assert refused(change, **told("/dev/sdf", True)) == "IncorrectInstanceState"
    assert attached(cloud, ids["/dev/sdf"]) == ""
    assert refused(cloud.ec2.describe_volumes, VolumeIds=[ids["/dev/sdg"]]) == "InvalidVolume.NotFound"
    cloud.ec2.delete_volume(VolumeId=ids["/dev/sdf"])


@pytest.mark.skipif(not has_losetup(), reason="needs loop devices")
@pytest.mark.parametrize(("kind", "disk"), [("p2.xlarge", "/dev/xvdf"), ("g4dn.xlarge", "/dev/disk/by-id/nvme-*")])
def test_a_volume_is_a_disk_that_outlives_its_instance(cloud: Cloud, kind: str, disk: str) -> None:
    first = cloud.launch(InstanceType=kind, Placement={"AvailabilityZone": "us-east-1a"})
    asked = {"AvailabilityZone": "us-east-1a", "Size": 5, "VolumeType": "gp3", "ClientToken": kind}
    volume = cloud.ec2.create_volume(**asked)["VolumeId"]
    assert cloud.ec2.create_volume(**asked)["VolumeId"] == volume
    elsewhere = cloud.ec2.create_volume(AvailabilityZone="us-east-1b", Size=1)["VolumeId"]
    place = {"InstanceId": first, "Device": "/dev/sdf"}
    cloud.running(first)
    assert refused(cloud.ec2.attach_volume, VolumeId=elsewhere, **place) == "InvalidVolume.ZoneMismatch"
    cloud.ec2.attach_volume(VolumeId=volume, **place)
    assert refused(cloud.ec2.delete_volume, VolumeId=volume) == "VolumeInUse"
    eventually(lambda: attached(cloud, volume) == "attached")
    inside(cloud, first, f"mkfs.ext4 -q {disk} && mount {disk} /mnt && echo kept > /mnt/file")
    assert 4 < int(inside(cloud, first, "df -BG --output=size /mnt | tail -1").rstrip("G")) <= 5
    cloud.ec2.detach_volume(VolumeId=volume)
    assert attached(cloud, volume) == "detaching"  # it is mounted
    cloud.ec2.terminate_instances(InstanceIds=[first])
    eventually(lambda: cloud.gone(first))
    assert attached(cloud, volume) == ""
    second = cloud.launch(InstanceType=kind, Placement={"AvailabilityZone": "us-east-1a"})
    cloud.running(second)
    cloud.ec2.attach_volume(VolumeId=volume, InstanceId=second, Device="/dev/sdf")
    eventually(lambda: attached(cloud, volume) == "attached")
    assert inside(cloud, second, f"mount {disk} /mnt && cat /mnt/file && umount /mnt") == "kept"
    cloud.ec2.detach_volume(VolumeId=volume)
    eventually(lambda: attached(cloud, volume) == "")
    assert inside(cloud, second, f"ls {disk} 2>/dev/null || true") == ""
    for one in (volume, elsewhere):
        cloud.ec2.delete_volume(VolumeId=one)
    assert volume not in subprocess.run(["losetup", "--list"], capture_output=True, text=True).stdout


@pytest.fixture
def box(cloud: Cloud, tmp_path: Path) -> Box:
    return boot(cloud, tmp_path)


def test_an_image_of_an_instance_starts_with_what_it_had(cloud: Cloud, box: Box, tmp_path: Path) -> None:
    box.ssh("echo baked | sudo tee /opt/mark; tar -c -C /opt mark | sudo docker import - mark:1")
    marks = [{"ResourceType": kind, "Tags": MARK} for kind in ("image", "snapshot")]
    image = cloud.ec2.create_image(InstanceId=box.id, Name="baked", TagSpecifications=marks)["ImageId"]

    def mine() -> list[dict[str, Any]]:
        wanted = [{"Name": "tag:provision:name", "Values": ["tiny"]}]
        found: list[dict[str, Any]] = cloud.ec2.describe_images(Owners=["self"], Filters=wanted)["Images"]
        return found

    eventually(lambda: [one["State"] for one in mine()] == ["available"])
    assert refused(cloud.ec2.create_image, InstanceId=box.id, Name="baked") == "InvalidAMIName.Duplicate"
    (tmp_path / "again").mkdir()
    again = boot(cloud, tmp_path / "again", ImageId=image)  # its own user data, its own keys
    assert again.ssh("cat /opt/mark") == "baked"
    assert again.ssh("sudo docker image inspect -f '{{index .RepoTags 0}}' mark:1") == "mark:1"
    cloud.ec2.deregister_image(ImageId=image)
    assert mine() == []
    assert image not in docker("images", "--format", "{{.Tag}}")
    assert image not in docker("volume", "ls", "-q")


def test_the_bare_image_has_no_docker_and_its_apt_works(cloud: Cloud) -> None:
    name = "/aws/service/canonical/ubuntu/server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id"
    answers = []
    for bare in (True, False):
        cloud.page("bare", {"bare": bare})
        answers.append(cloud.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])
    assert answers == [BARE, FULL]
    instance = cloud.launch(ImageId=BARE, InstanceType="p2.xlarge")
    cloud.running(instance)
    assert inside(cloud, instance, "command -v docker dockerd nvidia-smi nvidia-container-runtime || true") == ""
    assert inside(cloud, instance, "wc -l < /etc/provision-local/gpus") == "1"
    inside(cloud, instance, "cloud-init status --wait && apt-get update -qq && apt-cache show docker.io > /dev/null")


@pytest.mark.skipif(not has_losetup(), reason="needs loop devices")
def test_a_killed_cloud_leaves_no_disk_behind(tmp_path: Path) -> None:
    def disks() -> str:
        return subprocess.run(["losetup", "--list"], capture_output=True, text=True).stdout

    with running_cloud(tmp_path) as brief:
        instance = brief.launch(Placement={"AvailabilityZone": "us-east-1a"})
        volume = brief.ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
        brief.running(instance)
        brief.ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device="/dev/sdf")
        eventually(lambda: volume in disks())
        os.kill(brief.record["pid"], signal.SIGKILL)
        eventually(lambda: "removed disk" in words("sweep", "--name", brief.record["name"], home=tmp_path))
        assert volume not in disks()
