"""Faults that tests ask the local cloud for, and hosts at its edge. What is believed is boto3, a socket, and SSH."""

import base64
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import paramiko
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from infra.errors import CloudError
from localcloud.edge import Edge
from localcloud.engine import Engine
from localcloud.home import Home
from tests.cloud.localcloud_kit import Cloud, eventually, keypair, refused, words

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(120)]

MAKE_GROUP = """
import json, sys, boto3
facts = json.loads(sys.argv[1])
keys = {"aws_access_key_id": facts["access_key"], "aws_secret_access_key": facts["secret_key"]}
ec2 = boto3.client("ec2", region_name=facts["region"], endpoint_url=facts["endpoint"], **keys)
ec2.create_security_group(GroupName=sys.argv[2], Description="test")
"""


@pytest.fixture(scope="module")
def _cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    home = tmp_path_factory.mktemp("local")
    try:
        yield Cloud(home, json.loads(words("start", "--name", "edge", "--edge", "--pending", "0.05", home=home)))
    finally:
        words("stop", "--name", "edge", home=home)


@pytest.fixture
def cloud(_cloud: Cloud) -> Iterator[Cloud]:
    yield _cloud
    ask(_cloud, "faults", [])
    ask(_cloud, "latency", {"seconds": 0})
    ask(_cloud, "release", {})


def ask(cloud: Cloud, page: str, payload: Any = None) -> Any:
    return Home("edge", cloud.home / "edge").ask(page, payload)


def groups(cloud: Cloud) -> list[str]:
    return [one["GroupName"] for one in cloud.ec2.describe_security_groups()["SecurityGroups"]]


def patient(cloud: Cloud) -> Any:
    """A client that tries a call three times, as botocore does."""
    keys = {"aws_access_key_id": cloud.record["access_key"], "aws_secret_access_key": cloud.record["secret_key"]}
    return boto3.client(
        "ec2", endpoint_url=cloud.record["endpoint"], region_name=cloud.record["region"],
        config=Config(retries={"total_max_attempts": 3, "mode": "standard"}), **keys,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("service", "call", "asked"),
    [
        ("ec2", "describe_volumes", {}),
        ("iam", "list_roles", {}),
        ("ssm", "get_parameter", {"Name": "x"}),
        ("sts", "get_caller_identity", {}),
        ("s3", "get_bucket_lifecycle_configuration", {"Bucket": "bucket"}),
        ("scheduler", "create_schedule_group", {"Name": "x"}),
        ("service-quotas", "get_service_quota", {"ServiceCode": "ec2", "QuotaCode": "L-3819A6DF"}),
    ],
)
def test_each_service_refuses_in_its_own_words(cloud: Cloud, service: str, call: str, asked: dict[str, Any]) -> None:
    api = cloud.client(service)
    operation = api.meta.method_to_api_mapping[call]
    error = {"code": "MadeUp", "message": "so & so", "status": 418}
    ask(cloud, "faults", [{"action": operation, "error": error}])
    with pytest.raises(ClientError) as caught:
        getattr(api, call)(**asked)
    assert caught.value.response["Error"]["Code"] == "MadeUp"
    assert caught.value.response["Error"]["Message"] == "so & so"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 418
    last = ask(cloud, "calls")[-1]
    assert (last["action"], last["status"], last["error"], last["fault"]) == (operation, 418, "MadeUp", "error")


@pytest.mark.parametrize(
    ("call", "operation", "asked"),
    [
        ("list_buckets", "ListBuckets", {}),
        ("create_bucket", "CreateBucket", {}),
        ("put_object", "PutObject", {"Key": "a/b", "Body": b"x"}),
        ("copy_object", "CopyObject", {"Key": "c", "CopySource": "names/a/b"}),
        ("list_objects_v2", "ListObjectsV2", {"Prefix": "a/"}),
        ("head_object", "HeadObject", {"Key": "a/b"}),
        ("get_object", "GetObject", {"Key": "a/b"}),
        ("create_multipart_upload", "CreateMultipartUpload", {"Key": "big"}),
        ("delete_objects", "DeleteObjects", {"Delete": {"Objects": [{"Key": "a/b"}]}}),
        ("delete_object", "DeleteObject", {"Key": "c"}),
    ],
)
def test_the_log_names_the_operations_of_s3(cloud: Cloud, call: str, operation: str, asked: dict[str, Any]) -> None:
    bucket = {} if call == "list_buckets" else {"Bucket": "names"}
    getattr(cloud.client("s3"), call)(**bucket, **asked)
    assert ask(cloud, "calls")[-1]["action"] == operation


def test_the_nth_call_and_those_after_it(cloud: Cloud) -> None:
    busy = {"code": "Busy", "status": 503}
    ask(cloud, "faults", [{"service": "ec2", "action": "DescribeVol*", "nth": 2, "times": 2, "error": busy}])
    cloud.ec2.describe_volumes()
    cloud.ec2.describe_subnets()
    assert refused(cloud.ec2.describe_volumes) == "Busy"
    assert refused(cloud.ec2.describe_volumes) == "Busy"
    cloud.ec2.describe_volumes()
    assert ask(cloud, "faults") == [2]
    ask(cloud, "faults", [{"action": "DescribeVolumes", "times": 0, "error": busy}])
    assert [refused(cloud.ec2.describe_volumes) for _ in range(4)] == ["Busy"] * 4
    ask(cloud, "faults", [])
    cloud.ec2.describe_volumes()


def test_parameters_and_callers_choose(cloud: Cloud) -> None:
    denied = {"code": "Denied", "status": 403}
    ask(cloud, "faults", [{"params": {"VolumeId.1": "vol-a*"}, "error": denied}])
    assert refused(cloud.ec2.describe_volumes, VolumeIds=["vol-abc"]) == "Denied"
    assert refused(cloud.ec2.describe_volumes, VolumeIds=["vol-0"]) == "InvalidVolume.NotFound"
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = cloud.client("iam").create_role(RoleName="caller", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    keys = cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="caller")["Credentials"]
    words = {
        "aws_access_key_id": keys["AccessKeyId"],
        "aws_secret_access_key": keys["SecretAccessKey"],
        "aws_session_token": keys["SessionToken"],
    }
    ask(cloud, "faults", [{"action": "GetCallerIdentity", "from": "instance", "times": 0, "error": denied}])
    assert refused(cloud.client("sts", **words).get_caller_identity) == "Denied"
    assert cloud.client("sts").get_caller_identity()["Account"]
    ask(cloud, "faults", [{"action": "GetCallerIdentity", "from": "laptop", "times": 0, "error": denied}])
    assert refused(cloud.client("sts").get_caller_identity) == "Denied"
    assert cloud.client("sts", **words).get_caller_identity()["Account"]
    cloud.client("iam").delete_role(RoleName="caller")


def test_a_lost_answer_is_work_that_was_done(cloud: Cloud) -> None:
    ask(cloud, "faults", [{"action": "CreateSecurityGroup", "lost": True}])
    with pytest.raises(ConnectionClosedError):
        cloud.ec2.create_security_group(GroupName="lost", Description="test")
    assert "lost" in groups(cloud)


def test_botocore_s_retries_meet_the_fault_or_not(cloud: Cloud) -> None:
    broken = {"code": "InternalError", "status": 500}
    ask(cloud, "faults", [{"action": "DescribeVolumes", "error": broken}])
    assert refused(patient(cloud).describe_volumes) == "InternalError"
    assert ask(cloud, "faults") == [1]
    patient(cloud).describe_volumes()
    ask(cloud, "faults", [{"action": "CreateSecurityGroup", "lost": True, "retries": False}])
    asked = {"GroupName": "retried", "Description": "test"}
    assert refused(patient(cloud).create_security_group, **asked) == "InvalidGroup.Duplicate"


def test_latency_and_a_call_that_is_held(cloud: Cloud) -> None:
    def took() -> float:
        begun = time.monotonic()
        cloud.ec2.describe_volumes()
        return time.monotonic() - begun

    cloud.ec2.describe_volumes()
    ask(cloud, "latency", {"seconds": 0.4})
    assert took() >= 0.4
    ask(cloud, "latency", {"seconds": 0})
    ask(cloud, "faults", [{"action": "DescribeVolumes", "hold": 0.6}])
    assert took() >= 0.6
    assert took() < 0.6


@pytest.mark.parametrize(("pause", "done"), [("before", False), ("after", True)])
def test_a_client_dies_before_or_after_its_call_is_done(cloud: Cloud, pause: str, done: bool) -> None:
    ask(cloud, "faults", [{"action": "CreateSecurityGroup", "pause": pause}])
    client = subprocess.Popen([sys.executable, "-c", MAKE_GROUP, json.dumps(cloud.record), f"dies-{pause}"])
    [held] = eventually(lambda: ask(cloud, "paused", {"seconds": 1}))
    assert held["params"]["GroupName"] == f"dies-{pause}"
    client.kill()
    client.wait()
    assert (f"dies-{pause}" in groups(cloud)) is done
    assert ask(cloud, "release", {}) == 1
    time.sleep(0.3)
    assert (f"dies-{pause}" in groups(cloud)) is done
    if not done:
        dropped = [one for one in ask(cloud, "calls") if one.get("error") == "dropped"]
        assert dropped[-1]["params"]["GroupName"] == f"dies-{pause}"


def test_a_client_that_lives_goes_on_after_a_pause(cloud: Cloud) -> None:
    ask(cloud, "faults", [{"action": "CreateSecurityGroup", "pause": "before"}])
    client = subprocess.Popen([sys.executable, "-c", MAKE_GROUP, json.dumps(cloud.record), "waits"])
    eventually(lambda: ask(cloud, "paused", {"seconds": 1}))
    assert "waits" not in groups(cloud)
    ask(cloud, "release", {})
    assert client.wait(20) == 0
    assert "waits" in groups(cloud)


def test_the_daemon_s_own_pages_meet_no_fault(cloud: Cloud) -> None:
    ask(cloud, "faults", [{"times": 0, "lost": True}])
    assert ask(cloud, "status") == []
    assert cloud.my_address() == "127.0.0.1"
    with pytest.raises(ConnectionClosedError):
        cloud.ec2.describe_volumes()


@pytest.mark.parametrize(
    "rule",
    [{"action": "X"}, {"lost": True, "hold": 1}, {"lost": "yes"}, {"pause": "between"}, {"losst": True}],
)
def test_a_rule_that_makes_no_sense_is_refused(cloud: Cloud, rule: dict[str, Any]) -> None:
    with pytest.raises(CloudError):
        ask(cloud, "faults", [rule])
    cloud.ec2.describe_volumes()


def test_rest_calls_without_a_body_are_signed_right(cloud: Cloud) -> None:
    api = cloud.client("scheduler")
    assert api.list_schedules(NamePrefix="provision-")["Schedules"] == []
    wrong = cloud.client("scheduler", aws_secret_access_key="wrong")
    with pytest.raises(ClientError, match="InvalidSignatureException"):
        wrong.list_schedules(NamePrefix="provision-")


def test_a_role_that_is_in_no_profile_cannot_be_taken_out(cloud: Cloud) -> None:
    """Found by the sweep: a killed client leaves such a pair."""
    iam, asked = cloud.client("iam"), {"InstanceProfileName": "pair", "RoleName": "pair"}
    iam.create_role(RoleName="pair", AssumeRolePolicyDocument="{}")
    iam.create_instance_profile(InstanceProfileName="pair")
    assert refused(iam.remove_role_from_instance_profile, **asked) == "NoSuchEntity"
    iam.add_role_to_instance_profile(**asked)
    iam.remove_role_from_instance_profile(**asked)
    iam.delete_instance_profile(InstanceProfileName="pair")
    iam.delete_role(RoleName="pair")


def test_an_interface_is_not_deleted_under_its_instance(cloud: Cloud) -> None:
    """Found by the sweep, as the two above."""
    instance = cloud.launch()
    [nic] = cloud.running(instance)["NetworkInterfaces"]
    asked = {"NetworkInterfaceId": nic["NetworkInterfaceId"]}
    assert refused(cloud.ec2.delete_network_interface, **asked) == "InvalidParameterValue"
    cloud.ec2.terminate_instances(InstanceIds=[instance])
    eventually(lambda: cloud.state(instance) == "terminated")
    assert refused(cloud.ec2.delete_network_interface, **asked) == "InvalidNetworkInterfaceID.NotFound"


def test_a_refusal_comes_through_though_the_body_was_not_read(cloud: Cloud) -> None:
    ask(cloud, "faults", [{"service": "s3", "times": 0, "error": {"code": "SlowDown", "status": 503}}])
    for _ in range(5):
        assert refused(cloud.client("s3").put_object, Bucket="x", Key="y", Body=b"z" * 3_000_000) == "SlowDown"


def test_a_place_without_capacity(cloud: Cloud) -> None:
    code = "InsufficientInstanceCapacity"
    ask(cloud, "capacity", {"type": "t3.*", "market": "on-demand", "code": code})
    asked = {"ImageId": cloud.image(), "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    assert refused(cloud.ec2.run_instances, **asked) == code
    spot = cloud.launch(InstanceMarketOptions={"MarketType": "spot"})
    ask(cloud, "capacity", {"type": "t3.*", "market": "on-demand"})
    again = cloud.launch()
    cloud.ec2.terminate_instances(InstanceIds=[spot, again])


# hosts at the edge


def test_the_edge_takes_the_place_of_all_that_the_engine_does() -> None:
    """What it inherited by mistake would ask Docker, in the middle of a sweep."""
    assert [name for name in vars(Engine) if not name.startswith("_") and name not in vars(Edge)] == []


def login(address: str, folder: Path, user: str = "trainer", key: str = "user") -> paramiko.SSHClient:
    """A connection that trusts the host key of `folder` alone."""
    client = paramiko.SSHClient()
    kind, blob = (folder / "host.pub").read_text().split()[:2]
    client.get_host_keys().add(address, kind, paramiko.Ed25519Key(data=base64.b64decode(blob)))
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    client.connect(address, username=user, key_filename=str(folder / key), look_for_keys=False, allow_agent=False)
    return client


@pytest.fixture
def address(cloud: Cloud, tmp_path: Path) -> Iterator[str]:
    (private, public), (_, mine), _ = (keypair(tmp_path, name) for name in ("host", "user", "stranger"))
    user = {"name": "trainer", "ssh_authorized_keys": [mine]}
    data = {"users": [user], "ssh_keys": {"ed25519_private": private, "ed25519_public": public}}
    instance = cloud.launch(UserData=f"#cloud-config\n{json.dumps(data)}")
    yield str(cloud.running(instance)["PublicIpAddress"])
    cloud.ec2.terminate_instances(InstanceIds=[instance])


def test_a_host_at_the_edge_is_the_one_of_its_user_data(address: str, tmp_path: Path) -> None:
    with login(address, tmp_path) as host:
        assert host.exec_command("cat /run/provision/progress < /dev/null")[1].read() == b"ready\n"
        _, out, error = host.exec_command("rm -rf /")
        assert out.channel.recv_exit_status() == 127
        assert b"not at the edge: rm -rf /" in error.read()
    with pytest.raises(paramiko.AuthenticationException):
        login(address, tmp_path, key="stranger")
    with pytest.raises(paramiko.AuthenticationException):
        login(address, tmp_path, user="root")
    (tmp_path / "host.pub").write_text((tmp_path / "stranger.pub").read_text())
    with pytest.raises(paramiko.BadHostKeyException):
        login(address, tmp_path)


def test_a_host_at_the_edge_is_gone_with_its_instance(cloud: Cloud, address: str) -> None:
    socket.create_connection((address, 22), timeout=2).close()
    [instance] = [one["id"] for one in ask(cloud, "status") if one["ip"] == address]
    cloud.ec2.terminate_instances(InstanceIds=[instance])
    eventually(lambda: cloud.state(instance) == "terminated")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, 22), timeout=2)
