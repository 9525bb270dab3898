"""What the tests of the embedded cloud share: a cloud of their own, machines in it, and the oracles.

The oracles are Docker's own list, the instance itself over SSH, and DescribeInstances.
"""

import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from localcloud.home import Home

REPO = Path(__file__).parents[2]


def words(*args: str, home: Path, check: bool = True) -> str:
    """Output of `python -m localcloud ARGS`."""
    env = {**os.environ, "PROVISION_LOCAL_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", "localcloud", *args], env=env, cwd=REPO, check=check, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def docker(*args: str) -> str:
    return subprocess.run(["docker", *args], check=True, capture_output=True, text=True).stdout.strip()


def left_of(name: str) -> list[str]:
    """All that Docker has of the cloud."""
    label = f"label=provision.local={name}"
    kinds = (("ps", "-aq"), ("volume", "ls", "-q"), ("network", "ls", "-q"))
    return [line for kind in kinds for line in docker(*kind, "--filter", label).split()]


def eventually(check: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The first true answer; the test fails without one."""
    deadline = time.monotonic() + seconds
    while not (answer := check()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
    return answer


def refused(call: Callable[..., Any], **asked: Any) -> str:
    """The error code of a call that must fail."""
    with pytest.raises(ClientError) as error:
        call(**asked)
    return str(error.value.response["Error"]["Code"])


def keypair(folder: Path, name: str) -> tuple[str, str]:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    return (folder / name).read_text(), (folder / f"{name}.pub").read_text().strip()


@dataclass(frozen=True)
class Cloud:
    home: Path
    record: dict[str, Any]

    def client(self, service: str, **keys: str) -> Any:
        mine = {"aws_access_key_id": self.record["access_key"], "aws_secret_access_key": self.record["secret_key"]}
        return boto3.client(
            service,
            endpoint_url=self.record["endpoint"],
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
            **{"region_name": self.record["region"], **mine, **keys},
        )

    def page(self, name: str, payload: Any) -> Any:
        """Post to one of the daemon's own pages."""
        return Home(self.record["name"], Path(self.record["state_dir"])).ask(name, payload, timeout=120)

    @property
    def ec2(self) -> Any:
        return self.client("ec2")

    def my_address(self) -> str:
        with urllib.request.urlopen(self.record["checkip"]) as answer:
            return str(answer.read().decode().strip())

    def image(self) -> str:
        name = "/aws/service/debian/release/12/latest/amd64"
        return str(self.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])

    def launch(self, **asked: Any) -> str:
        wanted = {"ImageId": self.image(), "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1, **asked}
        return str(self.ec2.run_instances(**wanted)["Instances"][0]["InstanceId"])

    def about(self, instance: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
        return found

    def state(self, instance: str) -> str:
        return str(self.about(instance)["State"]["Name"])

    def running(self, instance: str) -> dict[str, Any]:
        eventually(lambda: self.state(instance) == "running")
        return self.about(instance)

    def container(self, instance: str) -> str:
        return f"provision-local-{self.record['name']}-{instance}"

    def gone(self, instance: str) -> bool:
        names = docker("ps", "-a", "--format", "{{.Names}}") + docker("volume", "ls", "-q")
        return self.state(instance) == "terminated" and instance not in names


@dataclass(frozen=True)
class Box:
    """One instance with a user, a pinned host key and a security group that lets only us in."""

    cloud: Cloud
    id: str
    group: str
    folder: Path

    @property
    def address(self) -> str:
        return str(self.cloud.about(self.id)["PublicIpAddress"])

    def ssh(self, command: str, check: bool = True) -> str:
        known = self.folder / "known_hosts"
        known.write_text(f"{self.address} {(self.folder / 'host.pub').read_text()}")
        options = ["-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=2"]
        line = [
            "ssh",
            "-i",
            str(self.folder / "user"),
            *options,
            "-o",
            "BatchMode=yes",
            f"trainer@{self.address}",
            command,
        ]
        done = subprocess.run(line, capture_output=True, text=True)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout.strip() if done.returncode == 0 else ""


@contextlib.contextmanager
def running_cloud(home: Path) -> Iterator[Cloud]:
    """A cloud for as long as the block lasts; Docker must be clean after it."""
    name = f"test-{secrets.token_hex(3)}"
    try:
        yield Cloud(home, json.loads(words("start", "--name", name, home=home)))
    finally:
        words("stop", "--name", name, home=home)
    assert left_of(name) == []


def boot(cloud: Cloud, folder: Path, **asked: Any) -> Box:
    """An instance with user and host keys of its own, up to its first SSH answer."""
    (private, public), (_, mine) = keypair(folder, "host"), keypair(folder, "user")
    user = {"name": "trainer", "shell": "/bin/bash", "sudo": "ALL=(ALL) NOPASSWD:ALL", "ssh_authorized_keys": [mine]}
    data = {"users": [user], "ssh_keys": {"ed25519_private": private, "ed25519_public": public}}
    group = cloud.ec2.create_security_group(GroupName=secrets.token_hex(4), Description="test")["GroupId"]
    allow(cloud, group, f"{cloud.my_address()}/32")
    instance = cloud.launch(UserData=f"#cloud-config\n{json.dumps(data)}", SecurityGroupIds=[group], **asked)
    cloud.running(instance)
    found = Box(cloud, instance, group, folder)
    # once cloud-init has said its last word: it restarts sshd on its way, and a test could meet that
    eventually(lambda: found.ssh("test -e /var/lib/cloud/instance/boot-finished && echo up", check=False))
    return found


def allow(cloud: Cloud, group: str, cidr: str, call: str = "authorize") -> None:
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": cidr}]}
    getattr(cloud.ec2, f"{call}_security_group_ingress")(GroupId=group, IpPermissions=[rule])
