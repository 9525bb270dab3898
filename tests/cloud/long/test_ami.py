"""Baking a machine image of a real host, and starting another machine from it."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localcloud.emulator import BARE_ID
from localcloud.home import Home
from tests.cloud.support import Emulator, Laptop

pytestmark = pytest.mark.cloud

KIND = ("up", "--instance", "t3.medium")


@pytest.fixture(autouse=True)
def _no_image_stays(emulator: Emulator) -> Iterator[None]:
    """Other tests' machines would start from it."""
    yield
    ec2 = emulator.client("ec2")
    for image in ec2.describe_images(Owners=["self"])["Images"]:
        ec2.deregister_image(ImageId=image["ImageId"])


def settings(laptop: Laptop, text: str) -> None:
    path = laptop.home / "config" / "provision" / "settings.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def timed(laptop: Laptop, *words: str) -> float:
    begun = time.monotonic()
    laptop.ok(*words, timeout=600)
    return time.monotonic() - begun


def host(laptop: Laptop, name: str, line: str) -> str:
    return laptop.ok("ssh", name, "--", line).strip()


def test_a_baked_machine_is_ready_sooner_and_has_nothing_of_the_first(
    laptop: Laptop, another: Callable[[str], Laptop]
) -> None:
    settings(laptop, f"amis: {{none: {BARE_ID}}}\n")  # Docker has to be installed
    bare = timed(laptop, *KIND, "--name", "first", "--max-hours", "2")
    public = "$(sudo ls /etc/ssh/ssh_host_*.pub) ~/.ssh/authorized_keys"
    keys = f"for file in {public}; do sudo cut -d' ' -f2 $file; done; cat /etc/machine-id"
    before = host(laptop, "first", keys).splitlines()
    host(laptop, "first", "echo secret > ~/.bash_history; mkdir /var/lib/provision/runs/old; echo tool > ~/mine")

    would = laptop.ok("ami", "bake", "first", "--dry-run")
    assert "would restart first" in would
    assert len(laptop.emulator.instances("running")) == 1
    out = laptop.ok("ami", "bake", "first")
    assert "is ready, for machines without a GPU: " in out
    assert "0 billable resources left besides what is kept" in out
    assert laptop.emulator.nothing_left(), laptop.emulator.leftovers()

    [row] = json.loads(laptop.ok("ami", "ls", "--json"))
    assert (row["family"], row["made_from"], row["dollars_a_month"]) == ("none", BARE_ID, round(row["gb"] * 0.05, 2))
    [snapshot] = laptop.emulator.client("ec2").describe_snapshots(SnapshotIds=row["snapshots"])["Snapshots"]
    assert snapshot["VolumeSize"] == row["gb"] > 0
    assert json.loads(laptop.ok("audit", "--json"))["bad"] == 0

    other = another("other")
    baked = timed(other, *KIND, "--name", "second", "--max-hours", "5")
    assert other.emulator.instances("running")[0]["ImageId"] == row["id"]
    assert baked < bare, f"bare {bare:.1f} s, baked {baked:.1f} s"
    after = host(other, "second", keys).splitlines()
    assert len(before) == len(after) == 3
    assert not set(before) & set(after), "a host key, a login key or the machine's id is the first one's"
    assert host(other, "second", "grep -o machines/provision-[a-z]* /opt/provision/order.json") == (
        "machines/provision-second"
    )
    assert host(other, "second", "cat ~/mine") == "tool"
    assert host(other, "second", "ls /var/lib/provision/runs; ls ~/.bash_history 2>/dev/null || true") == ""
    assert host(other, "second", "sudo find /var/lib/cloud/instances -mindepth 1 -maxdepth 1 | wc -l") == "1"
    [listed] = json.loads(other.ok("ls", "--json"))
    armed = 'date -ud "$(systemctl show -p NextElapseUSecRealtime --value provision-deadline.timer)" +%Y-%m-%dT%H:%M:%S'
    assert host(other, "second", armed) == listed["ends"].removesuffix("+00:00")
    assert host(other, "second", "systemctl is-active provision-idle.timer docker").split() == ["active"] * 2
    assert host(other, "second", "systemctl is-enabled provision-guard") == "enabled"
    print(f"bare {bare:.1f} s, baked {baked:.1f} s")
    other.ok("down", "second")

    gone = other.ok("ami", "rm", row["id"])
    assert f"gone: {row['id']}, snap-" in gone
    assert json.loads(other.ok("ami", "ls", "--json")) == []
    ec2 = other.emulator.client("ec2")
    assert ec2.describe_images(Owners=["self"])["Images"] == []
    assert other.run("ami", "rm", row["id"]).returncode == 14


def test_a_refused_image_leaves_the_machine_reachable(laptop: Laptop) -> None:
    """AWS says yes to the dry run, and no to the call: by then the machine has been cleaned."""
    laptop.ok(*KIND, "--name", "stays")
    [one] = laptop.emulator.instances("running")
    key = host(laptop, "stays", "sudo cat /etc/ssh/ssh_host_ed25519_key.pub")
    cloud = Home(laptop.emulator.name, Path(laptop.emulator.facts["state_dir"]))
    cloud.ask("faults", [{"action": "CreateImage", "nth": 2, "error": {"code": "UnsupportedOperation"}}])
    done = laptop.run("ami", "bake", "stays")
    assert cloud.ask("faults") == [1]
    cloud.ask("faults", [])
    assert done.returncode == 20, done.stderr
    assert "stays was not ended, and is billed until its deadline: provision down stays" in done.stderr
    assert host(laptop, "stays", "sudo cat /etc/ssh/ssh_host_ed25519_key.pub") == key
    assert host(laptop, "stays", "systemctl is-active provision-deadline.timer") == "active"
    assert [row["InstanceId"] for row in laptop.emulator.instances("running")] == [one["InstanceId"]]
    assert json.loads(laptop.ok("ami", "ls", "--json")) == []
