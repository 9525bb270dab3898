"""A data volume from its birth with a machine on: what is written there, a killed client, and the next machine."""

import json
import os
import signal
from typing import Any

import pytest

from tests.cloud.support import Laptop, until

pytestmark = pytest.mark.cloud
UP = ("up", "--instance", "g4dn.xlarge", "--name", "lab", "--volume", "data:1", "--volume", "scratch:2:delete")


def volumes(laptop: Laptop) -> dict[int, dict[str, Any]]:
    """EC2's rows by their size in GiB."""
    return {row["Size"]: row for row in laptop.emulator.client("ec2").describe_volumes()["Volumes"]}


def kept(row: dict[str, Any]) -> tuple[str, bool]:
    """Under which name it is kept, and whether AWS deletes it with its machine."""
    tags = {tag["Key"]: tag["Value"] for tag in row["Tags"]}
    return tags.get("provision:keep", ""), any(one["DeleteOnTermination"] for one in row["Attachments"])


def said(laptop: Laptop, *words: str) -> str:
    """All that a command that succeeds says."""
    done = laptop.run(*words)
    assert done.returncode == 0, done.stderr
    return f"{done.stdout}{done.stderr}"


def test_a_kept_volume_goes_from_machine_to_machine(laptop: Laptop) -> None:
    assert "volume data: at /volumes/data (new file system)" in said(laptop, *UP)
    before = volumes(laptop)
    assert (kept(before[1]), kept(before[2])) == (("data", False), ("", True))
    laptop.ok("ssh", "lab", "--", "echo mine > /volumes/data/file; echo gone > /volumes/scratch/file; sync")
    assert "volume data: at /volumes/data already" in said(laptop, *UP)
    assert "kept: volume data" in said(laptop, "down", "lab")
    assert [row["VolumeId"] for row in volumes(laptop).values()] == [before[1]["VolumeId"]]

    [request] = json.loads(laptop.ok(*UP, "--dry-run", "--json"))
    assert request["there"] == ["data"]
    laptop.ok(*UP)
    after = volumes(laptop)
    assert (after[1]["VolumeId"], kept(after[1])) == (before[1]["VolumeId"], ("data", False))
    assert laptop.ok("ssh", "lab", "--", "cat /volumes/data/file; ls /volumes/scratch") == "mine\nlost+found\n"

    other = laptop.run("up", "--instance", "g4dn.xlarge", "--name", "other", "--volume", "data:1")
    assert (other.returncode, "the volume data is in use by" in other.stderr) == (2, True)
    assert len(laptop.emulator.instances()) == 1
    laptop.ok("down", "lab", "--volumes")
    assert volumes(laptop) == {}


def test_a_client_that_is_killed_leaves_a_volume_that_goes_with_its_machine(laptop: Laptop) -> None:
    process = laptop.start(*UP)
    until(process, "host: end")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = volumes(laptop)
    assert kept(before[1]) == ("", True)
    ec2 = laptop.emulator.client("ec2")
    [instance] = laptop.emulator.instances()
    ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[instance["InstanceId"]], WaiterConfig={"Delay": 1})
    assert volumes(laptop) == {}
