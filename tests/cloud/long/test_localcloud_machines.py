"""The embedded cloud's machines: booted by their user data, walled in by their groups, gone when they should be."""

import json
import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.errors import CloudError
from localcloud import preload
from localcloud.engine import BASE
from tests.cloud.localcloud_kit import (
    Box,
    Cloud,
    allow,
    boot,
    docker,
    eventually,
    left_of,
    refused,
    running_cloud,
    words,
)

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(180)]
TOKEN = "curl -s -m 2 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token"
TINY = (  # an image with a shell and curl, made in the instance from its own files
    "cd /tmp && echo /bin/sh > list"
    " && for b in sh curl awk sleep; do command -v $b; ldd $(command -v $b) | grep -o '/[^ ]*'; done"
    " | sort -u >> list && tar -chf - -T list 2>/dev/null | sudo docker import - tiny >/dev/null"
)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running_cloud(tmp_path_factory.mktemp("local")) as running:
        yield running


@pytest.fixture
def make(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Box]]:
    made: list[Box] = []

    def launch(**asked: Any) -> Box:
        made.append(boot(cloud, tmp_path_factory.mktemp("box"), **asked))
        return made[-1]

    yield launch
    cloud.ec2.terminate_instances(InstanceIds=[box.id for box in made])


@pytest.fixture
def box(make: Callable[..., Box]) -> Box:
    return make()


def refused_page(cloud: Cloud, page: str, payload: Any) -> str:
    """What the daemon says to a page that it must refuse."""
    with pytest.raises(CloudError) as error:
        cloud.page(page, payload)
    return error.value.what


def port_open(address: str, port: int = 22) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0


def test_blank_user_data_lets_nobody_in(cloud: Cloud) -> None:
    group = cloud.ec2.create_security_group(GroupName=secrets.token_hex(4), Description="test")["GroupId"]
    allow(cloud, group, "0.0.0.0/0")
    instance = cloud.launch(SecurityGroupIds=[group])
    cloud.running(instance)
    booted = ["docker", "exec", cloud.container(instance), "cloud-init", "status", "--wait"]
    eventually(lambda: subprocess.run(booted, capture_output=True).returncode == 0)
    find = "find / -xdev -name authorized_keys -size +0; getent shadow | cut -d: -f 2 | grep -v '^[!*]'; true"
    assert docker("exec", cloud.container(instance), "sh", "-c", find) == ""
    cloud.ec2.terminate_instances(InstanceIds=[instance])


def test_the_user_data_is_what_boots(cloud: Cloud, box: Box) -> None:
    assert box.ssh("cloud-init status --wait | tail -1") == "status: done"
    assert box.ssh("sudo systemctl is-system-running --wait") == "running"
    assert box.ssh("sudo docker info -f '{{.Driver}} {{.Runtimes.nvidia.Path}}'").startswith("overlay2 /")
    volume = cloud.about(box.id)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    cloud.ec2.terminate_instances(InstanceIds=[box.id])
    assert cloud.state(box.id) in ("shutting-down", "terminated")
    eventually(lambda: cloud.gone(box.id))
    assert refused(cloud.ec2.describe_volumes, VolumeIds=[volume]) == "InvalidVolume.NotFound"


def test_a_security_group_is_a_wall(cloud: Cloud, box: Box) -> None:
    neighbour = cloud.running(cloud.launch())["InstanceId"]
    knock = f"import socket; socket.create_connection(('{box.address}', 22), 2)"
    other = ["docker", "exec", cloud.container(neighbour), "python3", "-c", knock]
    assert port_open(box.address)
    assert subprocess.run(other, capture_output=True).returncode != 0
    its = cloud.about(neighbour)["PublicIpAddress"]
    allow(cloud, box.group, f"{its}/32")
    eventually(lambda: subprocess.run(other, capture_output=True).returncode == 0, 4)
    assert box.ssh("echo a connection made before") == "a connection made before"
    allow(cloud, box.group, f"{cloud.my_address()}/32", "revoke")
    eventually(lambda: not port_open(box.address), 4)
    assert refused(cloud.ec2.delete_security_group, GroupId=box.group) == "DependencyViolation"
    cloud.ec2.terminate_instances(InstanceIds=[neighbour, box.id])
    eventually(lambda: cloud.gone(box.id))
    cloud.ec2.delete_security_group(GroupId=box.group)


def test_the_metadata_service_wants_a_token_and_keeps_its_hop_limit(box: Box) -> None:
    page = "http://169.254.169.254/latest/meta-data/instance-id"
    assert box.ssh(f"curl -s -o /dev/null -w '%{{http_code}}' {page}") == "401"
    assert box.ssh(f'curl -s -H "X-aws-ec2-metadata-token: $({TOKEN})" {page}') == box.id
    box.ssh(TINY)
    inside = TOKEN.replace("'", '"')
    assert box.ssh(f"sudo docker run --rm --network host tiny sh -c '{inside}'")
    assert box.ssh(f"sudo docker run --rm tiny sh -c '{inside}; echo $?'") == "28"  # curl: timed out


def test_containers_get_the_gpus_of_the_instance_type(make: Callable[..., Box]) -> None:
    box = make(InstanceType="p3.8xlarge")
    assert box.ssh("nvidia-smi --query-gpu=name --format=csv,noheader | uniq -c").split()[:2] == ["4", "Tesla"]
    box.ssh(TINY)
    count = "sh -c 'nvidia-smi -L | awk \"END { print NR }\"'"
    for gpus, seen in (("all", "4"), ("2", "2"), ("device=3", "1")):
        assert box.ssh(f"sudo docker run --rm --gpus {gpus} tiny {count}") == seen
    assert box.ssh(f"sudo docker run --rm --runtime=nvidia -e NVIDIA_VISIBLE_DEVICES=0,1 tiny {count}") == "2"
    too_many = box.ssh("sudo docker run --rm --gpus 8 tiny true 2>&1 || true")
    assert "unknown device" in too_many
    assert make().ssh("nvidia-smi || echo $?").endswith("9")


ROLE = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "arn:aws:s3:::runs/mine/*"},
        {
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": "arn:aws:s3:::runs",
            "Condition": {"StringLike": {"s3:prefix": "mine/*"}},
        },
    ],
}


def test_a_role_reaches_its_own_prefix_only(cloud: Cloud, make: Callable[..., Box]) -> None:
    iam, trust = cloud.client("iam"), {"Version": "2012-10-17", "Statement": []}
    iam.create_role(RoleName="trainer", AssumeRolePolicyDocument=json.dumps(trust))
    iam.put_role_policy(RoleName="trainer", PolicyName="runs", PolicyDocument=json.dumps(ROLE))
    iam.create_instance_profile(InstanceProfileName="trainer")
    iam.add_role_to_instance_profile(InstanceProfileName="trainer", RoleName="trainer")
    owner = cloud.client("s3")
    owner.create_bucket(Bucket="runs")
    owner.put_object(Bucket="runs", Key="other/secret", Body=b"x")
    box = make(IamInstanceProfile={"Name": "trainer"})
    page = "http://169.254.169.254/latest/meta-data/iam/security-credentials/trainer"
    keys = json.loads(box.ssh(f'curl -s -H "X-aws-ec2-metadata-token: $({TOKEN})" {page}'))
    mine = {"aws_access_key_id": keys["AccessKeyId"], "aws_secret_access_key": keys["SecretAccessKey"]}
    s3 = cloud.client("s3", **mine, aws_session_token=keys["Token"])
    s3.put_object(Bucket="runs", Key="mine/log", Body=b"hello")
    assert s3.get_object(Bucket="runs", Key="mine/log")["Body"].read() == b"hello"
    assert [one["Key"] for one in s3.list_objects_v2(Bucket="runs", Prefix="mine/")["Contents"]] == ["mine/log"]
    assert refused(s3.put_object, Bucket="runs", Key="other/log", Body=b"x") == "AccessDenied"
    assert refused(s3.get_object, Bucket="runs", Key="other/secret") == "AccessDenied"
    assert refused(s3.list_objects_v2, Bucket="runs") == "AccessDenied"
    assert refused(s3.copy_object, Bucket="runs", Key="mine/x", CopySource="runs/other/secret") == "AccessDenied"
    assert refused(s3.delete_object, Bucket="runs", Key="mine/log") == "AccessDenied"
    assert box.ssh(f"curl -s {cloud.record['checkip']}") == box.address
    ec2 = cloud.client("ec2", **mine, aws_session_token=keys["Token"])
    assert refused(ec2.describe_instances) in ("AccessDenied", "UnauthorizedOperation")


def test_an_interruption_is_announced_and_then_kills(cloud: Cloud, make: Callable[..., Box]) -> None:
    spot = {"MarketType": "spot", "SpotOptions": {"MaxPrice": "9.0"}}
    tags = [
        {"ResourceType": kind, "Tags": [{"Key": "run", "Value": "r1"}]} for kind in ("volume", "spot-instances-request")
    ]
    box = make(InstanceType="p3.2xlarge", InstanceMarketOptions=spot, TagSpecifications=tags)
    page = "http://169.254.169.254/latest/meta-data/spot/instance-action"
    ask = f"curl -s -w ' %{{http_code}}' -H \"X-aws-ec2-metadata-token: $({TOKEN})\" {page}"
    assert box.ssh(ask).endswith("404")
    wanted = [{"Name": "tag:run", "Values": ["r1"]}]
    before = cloud.ec2.describe_spot_instance_requests(Filters=wanted)["SpotInstanceRequests"][0]
    assert (before["State"], before["InstanceId"]) == ("active", box.id)
    assert len(cloud.ec2.describe_volumes(Filters=wanted)["Volumes"]) == 1
    words("interrupt", box.id, "--notice", "3", "--name", cloud.record["name"], home=cloud.home)
    notice = json.loads(box.ssh(ask).removesuffix(" 200"))
    assert notice["action"] == "terminate" and notice["time"].endswith("Z")
    assert cloud.state(box.id) == "running"
    eventually(lambda: cloud.gone(box.id), 8)
    assert cloud.about(box.id)["StateReason"]["Code"] == "Server.SpotInstanceTermination"
    after = cloud.ec2.describe_spot_instance_requests(SpotInstanceRequestIds=[before["SpotInstanceRequestId"]])
    closed = after["SpotInstanceRequests"][0]
    assert (closed["State"], closed["Status"]["Code"]) == ("closed", "instance-terminated-no-capacity")


@pytest.mark.parametrize(("behavior", "end"), [("terminate", "terminated"), ("stop", "stopped")])
def test_power_off_inside(cloud: Cloud, make: Callable[..., Box], behavior: str, end: str) -> None:
    box = make(InstanceInitiatedShutdownBehavior=behavior)
    box.ssh("echo kept > /home/trainer/file")
    box.ssh("sudo systemctl poweroff", check=False)
    eventually(lambda: cloud.state(box.id) == end, 15)
    if end == "terminated":
        eventually(lambda: cloud.gone(box.id))
        return
    cloud.ec2.start_instances(InstanceIds=[box.id])
    cloud.running(box.id)
    assert eventually(lambda: box.ssh("cat /home/trainer/file", check=False)) == "kept"


def test_a_reboot_keeps_the_machine(cloud: Cloud, box: Box) -> None:
    boot = box.ssh("systemctl show -p UserspaceTimestampMonotonic --value; cat /etc/machine-id")
    box.ssh("sudo systemctl reboot", check=False)
    eventually(
        lambda: (
            box.ssh("systemctl show -p UserspaceTimestampMonotonic --value; cat /etc/machine-id", False)
            not in ("", boot)
        )
    )
    assert cloud.state(box.id) == "running"
    assert not port_open(box.address, 2375)


def test_sweep_after_kill_9_leaves_nothing(tmp_path: Path, cloud: Cloud) -> None:
    name = f"test-{secrets.token_hex(3)}"
    second = Cloud(tmp_path, json.loads(words("start", "--name", name, home=tmp_path)))
    assert second.record["endpoint"] != cloud.record["endpoint"]  # two clouds, side by side
    second.running(second.launch())
    assert cloud.ec2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["pending"]}])
    words("sweep", "--name", name, home=tmp_path)
    assert len(left_of(name)) == 4  # a living cloud is not swept: instance, its disk, metadata service, network
    os.kill(second.record["pid"], signal.SIGKILL)
    eventually(lambda: "removed" in words("sweep", "--name", name, home=tmp_path))
    assert left_of(name) == []
    assert left_of(cloud.record["name"]) != []


def test_machines_have_a_preloaded_image_each_its_own(cloud: Cloud, make: Callable[..., Box]) -> None:
    """Another's deletion takes nothing away; a machine that has none when it starts begins with none."""
    images = "sudo docker images --format '{{.Repository}}:{{.Tag}}'"
    tag = f"test-preload-{secrets.token_hex(3)}:1"
    empty = make()
    docker("tag", BASE, tag)
    try:
        cloud.page("preload", {"image": tag})
        first, second = make(), make()
        assert empty.ssh(images) == ""
        assert first.ssh(images) == second.ssh(images) == tag
        first.ssh(f"sudo docker rmi {tag}")
        assert first.ssh(images) == ""
        words = ["run", "--rm", "--network", "none", tag, "cat", "/etc/debian_version"]
        assert second.ssh(f"sudo docker {' '.join(words)}") == docker(*words)
    finally:
        docker("rmi", tag)
        for volume in docker("volume", "ls", "-q", "--filter", f"label={preload.LABEL}={tag}").split():
            docker("volume", "rm", volume)
    assert refused_page(cloud, "preload", {"image": tag}).startswith(f"no image {tag} is here")
