"""The local cloud as the tests see it, and a user at a laptop.

What tests believe is the emulator's state (asked with a plain client of their own) and `docker ps`, never our own
commands' word.
"""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from localcloud.home import Home

ROOT = Path(__file__).parent.parent.parent
SHORT = ("--set", "iterations=400", "--set", "snapshot_every=100", "--set", "test_every=100")
METADATA = "http://169.254.169.254/latest"
ROLE_KEYS = f"""t=$(curl -sX PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' {METADATA}/api/token)
at={METADATA}/meta-data/iam/security-credentials/
curl -s -H "X-aws-ec2-metadata-token: $t" $at$(curl -s -H "X-aws-ec2-metadata-token: $t" $at)"""
LONG = ("--set", "iterations=2000000", "--set", "snapshot_every=2000", "--set", "test_every=10000")


@dataclass(frozen=True)
class Emulator:
    """The local cloud by its API and by Docker."""

    name: str
    facts: dict[str, Any]

    def client(self, service: str) -> Any:
        keys = {"aws_access_key_id": self.facts["access_key"], "aws_secret_access_key": self.facts["secret_key"]}
        return boto3.client(service, region_name=self.facts["region"], endpoint_url=self.facts["endpoint"], **keys)

    def region(self, name: str) -> "Emulator":
        """The same cloud, asked about another region."""
        return dataclasses.replace(self, facts={**self.facts, "region": name})

    def page(self, name: str, payload: Any = None, timeout: float = 60.0) -> Any:
        """Post to one of the local cloud's own pages."""
        return Home(self.name, Path(self.facts["state_dir"])).ask(name, payload, timeout)

    def schedules(self) -> dict[str, str]:
        """Names of the schedules of ours → their expressions."""
        api = self.client("scheduler")
        if "provision" not in [one["Name"] for one in api.list_schedule_groups()["ScheduleGroups"]]:
            return {}
        names = [one["Name"] for one in api.list_schedules(GroupName="provision")["Schedules"]]
        return {name: api.get_schedule(GroupName="provision", Name=name)["ScheduleExpression"] for name in names}

    def instances(self, *states: str) -> list[dict[str, Any]]:
        """Instances that are not terminated (or in the given states)."""
        wanted = list(states or ("pending", "running", "stopping", "stopped", "shutting-down"))
        groups = self.client("ec2").describe_instances(Filters=[{"Name": "instance-state-name", "Values": wanted}])
        return [one for group in groups["Reservations"] for one in group["Instances"]]

    def docker(self, *words: str) -> list[str]:
        """Lines of a docker command, about what belongs to this cloud."""
        command = ["docker", *words, "--filter", f"label=provision.local={self.name}"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    def containers(self) -> list[str]:
        """Names of the containers that stand for instances."""
        return self.docker("ps", "-a", "--filter", "label=provision.instance", "--format", "{{.Names}}")

    def leftovers(self) -> dict[str, list[str]]:
        """All that could be billed or could clutter, by kind; every list is empty when all is gone."""
        ec2, iam = self.client("ec2"), self.client("iam")
        groups = ec2.describe_security_groups()["SecurityGroups"]
        spots = ec2.describe_spot_instance_requests()["SpotInstanceRequests"]
        return {
            "instances": [one["InstanceId"] for one in self.instances()],
            "volumes": [one["VolumeId"] for one in ec2.describe_volumes()["Volumes"]],
            "groups": [one["GroupName"] for one in groups if one["GroupName"] != "default"],
            "templates": [one["LaunchTemplateName"] for one in ec2.describe_launch_templates()["LaunchTemplates"]],
            "interfaces": [one["NetworkInterfaceId"] for one in ec2.describe_network_interfaces()["NetworkInterfaces"]],
            "schedules": list(self.schedules()),
            "keys": [one["KeyName"] for one in ec2.describe_key_pairs()["KeyPairs"]],
            "spot requests": [one["SpotInstanceRequestId"] for one in spots if one["State"] in ("open", "active")],
            "roles": [one["RoleName"] for one in iam.list_roles()["Roles"] if one["Path"].startswith("/provision/")],
            "profiles": [one["InstanceProfileName"] for one in iam.list_instance_profiles()["InstanceProfiles"]],
            "containers": self.containers(),
            # of a machine image there is a copy of its disk
            "docker volumes": [name for name in self.docker("volume", "ls", "-q") if "-ami-" not in name],
        }

    def nothing_left(self) -> bool:
        return not any(self.leftovers().values())


def _as_from_a_shell() -> None:
    """Signals do what they do by default, though these tests may run in the background (`&`) or under nohup."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@dataclass
class Laptop:
    """A user's machine: its own settings, keys and notes."""

    emulator: Emulator
    home: Path
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.settings.exists():
            self.settings.parent.mkdir(parents=True, exist_ok=True)
            self.settings.write_text("bake: false\n")  # tests of that say otherwise

    @property
    def settings(self) -> Path:
        return self.home / "config" / "provision" / "settings.yaml"

    @property
    def _environment(self) -> dict[str, str]:
        own = {
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_STATE_HOME": str(self.home / "state"),
            "XDG_CACHE_HOME": str(Path(self.emulator.facts["state_dir"]).parent / "cache"),  # images are large
            "PROVISION_CLOUD": f"local:{self.emulator.name}",
            "AWS_EC2_METADATA_DISABLED": "true",
            "COLUMNS": "160",
        }
        return {**os.environ, **own, **self.environment}

    def run(self, *words: str, timeout: float = 300) -> "subprocess.CompletedProcess[str]":
        """`provision words…`, to its end."""
        command = [sys.executable, "-m", "provision", *words]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=self.folder, env=self._environment, timeout=timeout
        )

    def ok(self, *words: str, timeout: float = 300) -> str:
        """The same, which must succeed; its standard output."""
        done = self.run(*words, timeout=timeout)
        assert done.returncode == 0, f"provision {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start a command in a process group of its own, as a shell does; Ctrl-C reaches it even if we run with `&`."""
        command = [sys.executable, "-m", "provision", *words]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.folder,
            env=self._environment, start_new_session=True,
            preexec_fn=_as_from_a_shell,
        )  # fmt: skip


@contextmanager
def rented(emulator: Emulator, folder: Path, name: str, kind: str = "p3.8xlarge") -> Iterator[Laptop]:
    """A laptop with a machine that runs, for tests that do not end it; `folder` is where its commands are typed."""
    one = Laptop(emulator, folder / "home", folder)
    one.ok("up", "--instance", kind, "--name", name)
    yield one
    one.ok("down", name)


def until(process: "subprocess.Popen[str]", pattern: str, timeout: float = 240) -> str:
    """Read what a process prints until a line fits."""
    seen = []
    end = time.monotonic() + timeout
    for line in process.stdout or ():
        seen.append(line)
        if re.search(pattern, line):
            return line
        if time.monotonic() > end:
            break
    raise AssertionError(f"{pattern!r} was not printed:\n{''.join(seen)}")


def interrupt(process: "subprocess.Popen[str]") -> None:
    """Ctrl-C: to the whole group, as a terminal sends it."""
    os.killpg(process.pid, signal.SIGINT)


def start_cloud(name: str, *flags: str) -> Emulator:
    words = [sys.executable, "-m", "localcloud", "start", "--name", name, "--pending", "0.5", *flags]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Emulator(name, json.loads(done.stdout))


def stop_cloud(emulator: Emulator) -> None:
    words = [sys.executable, "-m", "localcloud", "stop", "--name", emulator.name]
    subprocess.run(words, check=True, capture_output=True)


def inside(container: str, line: str, check: bool = True) -> str:
    """What a line of shell prints in an instance's container, whatever became of its network."""
    done = subprocess.run(["docker", "exec", container, "sh", "-c", line], capture_output=True, text=True)
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout.strip()


ARMED = "systemctl list-units --plain --no-legend --state=active 'provision-deadline*.timer'"  # the host's own end


def timer(container: str) -> datetime:
    """When the host's own timer ends it."""
    [name] = inside(container, f"{ARMED} | cut -d ' ' -f 1").split()
    show = f"systemctl show -p NextElapseUSecRealtime --value {name}"
    return datetime.fromtimestamp(int(inside(container, f'date -ud "$({show})" +%s')), timezone.utc)


def tag_of(instance: dict[str, Any], key: str) -> str:
    return str({one["Key"]: one["Value"] for one in instance["Tags"]}[f"provision:{key}"])


def run_of(out: str) -> str:
    found = re.search(r"digits-\d{8}-\d{6}-\w{4}", out)
    assert found, out
    return found[0]


def as_the_instance(laptop: Laptop, machine: str) -> Any:
    """S3 with the keys of the machine's role, which root on the host gets from the metadata service."""
    keys = json.loads(laptop.ok("ssh", machine, "--", ROLE_KEYS))
    facts = laptop.emulator.facts
    return boto3.client(
        "s3", region_name=facts["region"], endpoint_url=facts["endpoint"], aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"], aws_session_token=keys["Token"],
        config=Config(s3={"addressing_style": "path"}),
    )  # fmt: skip


def runs_bucket(emulator: Emulator) -> str:
    names = [one["Name"] for one in emulator.client("s3").list_buckets()["Buckets"]]
    return next(name for name in names if name.startswith("provision-"))


def bucket_keys(emulator: Emulator, run: str) -> list[str]:
    s3 = emulator.client("s3")
    bucket = runs_bucket(emulator)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"runs/{run}/")
    return [one["Key"].removeprefix(f"runs/{run}/") for page in pages for one in page.get("Contents", [])]
