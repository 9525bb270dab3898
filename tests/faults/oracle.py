"""What the emulator has, asked with plain boto3: what could be billed or could clutter. `provision` is not asked."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from localcloud.home import Home, home

ROOT = Path(__file__).parents[2]
OURS = "/provision/"
LIVING = ("pending", "running", "stopping", "stopped", "shutting-down")

Things = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class World:
    """One local cloud of the sweep's own. `edge`: its hosts are no containers."""

    name: str
    edge: bool = True

    @cached_property
    def home(self) -> Home:
        return home(self.name)

    @cached_property
    def record(self) -> dict[str, Any]:
        return self.home.read()

    def start(self) -> None:
        self._localcloud("start", "--name", self.name, "--pending", "0.05", *(["--edge"] if self.edge else []))

    def stop(self) -> None:
        self._localcloud("stop", "--name", self.name)

    def _localcloud(self, *words: str) -> None:
        done = subprocess.run([sys.executable, "-m", "localcloud", *words], cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"localcloud {' '.join(words)}: {done.stderr}")

    def ask(self, page: str, payload: Any = None) -> Any:
        return self.home.ask(page, payload, timeout=60)

    def launched(self) -> frozenset[str]:
        """Ids of all instances that ever were."""
        return frozenset(one["id"] for one in self.ask("status"))

    def named(self) -> dict[str, frozenset[str]]:
        """Names of machines → ids of all instances that ever bore them."""
        groups = self.client("ec2").describe_instances()["Reservations"]
        pairs = [(one["InstanceId"], one.get("Tags", [])) for group in groups for one in group["Instances"]]
        tagged = [(tag["Value"], one) for one, tags in pairs for tag in tags if tag["Key"] == "provision:name"]
        return {name: frozenset(one for label, one in tagged if label == name) for name, _ in tagged}

    def things(self) -> Things:
        """Kind and id of all there is."""
        found = {**self._kinds(), "container": self._containers()}
        return frozenset((kind, str(one)) for kind, ids in found.items() for one in ids)

    def _containers(self) -> list[str]:
        """What Docker has of its instances, running or not."""
        if self.edge:
            return []
        asked = ["docker", "ps", "-aq", "--filter", f"label=provision.local={self.name}"]
        words = [*asked, "--filter", "label=provision.instance"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()

    def instances(self) -> frozenset[str]:
        """Ids of those that are not terminated."""
        wanted = [{"Name": "instance-state-name", "Values": list(LIVING)}]
        groups = self.client("ec2").describe_instances(Filters=wanted)["Reservations"]
        return frozenset(one["InstanceId"] for group in groups for one in group["Instances"])

    def settle(self) -> None:
        """Wait for what is being ended: that ends with no client's help, and who asks twice may see two worlds."""
        ending = [{"Name": "instance-state-name", "Values": ["shutting-down"]}]
        deadline = time.monotonic() + 30
        while self.client("ec2").describe_instances(Filters=ending)["Reservations"] and time.monotonic() < deadline:
            time.sleep(0.1)

    def _kinds(self) -> dict[str, list[str]]:
        ec2, iam = self.client("ec2"), self.client("iam")
        groups = _ids(ec2.describe_security_groups(), "SecurityGroups", "GroupName")
        open_ones = [{"Name": "state", "Values": ["open", "active"]}]
        spots = ec2.describe_spot_instance_requests(Filters=open_ones)
        return {
            "instance": sorted(self.instances()),
            "volume": _ids(ec2.describe_volumes(), "Volumes", "VolumeId"),
            "network interface": _ids(ec2.describe_network_interfaces(), "NetworkInterfaces", "NetworkInterfaceId"),
            "security group": [one for one in groups if one != "default"],
            "launch template": _ids(ec2.describe_launch_templates(), "LaunchTemplates", "LaunchTemplateName"),
            "key pair": _ids(ec2.describe_key_pairs(), "KeyPairs", "KeyName"),
            "elastic address": _ids(ec2.describe_addresses(), "Addresses", "AllocationId"),
            "spot request": _ids(spots, "SpotInstanceRequests", "SpotInstanceRequestId"),
            "role": _ids(iam.list_roles(PathPrefix=OURS), "Roles", "RoleName"),
            "instance profile": _ids(
                iam.list_instance_profiles(PathPrefix=OURS), "InstanceProfiles", "InstanceProfileName"
            ),
            "schedule": _ids(self.client("scheduler").list_schedules(), "Schedules", "Name"),
        }

    @cached_property
    def _clients(self) -> dict[str, Any]:
        return {}

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service,
                region_name=self.record["region"],
                endpoint_url=self.record["endpoint"],
                aws_access_key_id=self.record["access_key"],
                aws_secret_access_key=self.record["secret_key"],
                config=Config(retries={"total_max_attempts": 1}),
            )
        return self._clients[service]


def _ids(answer: dict[str, Any], kind: str, key: str) -> list[str]:
    return [str(one[key]) for one in answer[kind]]


def environment(folder: Path, world: str, cache: Path) -> dict[str, str]:
    """A user's own homes, and the cloud of that name."""
    return {
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_CACHE_HOME": str(cache),
        "PROVISION_LOCAL_HOME": os.environ["PROVISION_LOCAL_HOME"],
        "PROVISION_CLOUD": f"local:{world}",
        "AWS_EC2_METADATA_DISABLED": "true",
        "COLUMNS": "160",
    }
