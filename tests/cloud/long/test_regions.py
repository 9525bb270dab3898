"""Where a machine is had: the next region, on demand, a stand-in; and what no other place would mend."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.support import Laptop, inside

pytestmark = pytest.mark.cloud

FULL = "InsufficientInstanceCapacity"
P_SPOT = "L-7212CCBC"
PLENTY = 2000


@pytest.fixture(autouse=True)
def _own_answers(laptop: Laptop, tmp_path: Path) -> None:
    """What other tests' laptops have learned of this cloud is not known here."""
    laptop.environment = {"XDG_CACHE_HOME": str(tmp_path / "cache")}


@pytest.fixture
def full(laptop: Laptop) -> Iterator[Callable[..., None]]:
    """Says where there is no room."""
    said: list[dict[str, Any]] = []

    def say(**place: str) -> None:
        said.append(place)
        laptop.emulator.page("capacity", {**place, "code": FULL})

    yield say
    for place in said:
        laptop.emulator.page("capacity", place)


def test_without_room_the_next_region_serves_and_all_commands_find_the_machine(
    laptop: Laptop, full: Callable[..., None]
) -> None:
    west = laptop.emulator.region("us-west-2")
    full(zone="us-east-1*")
    done = laptop.run("up", "--instance", "p2.xlarge", "--name", "far", "--region", "us-east-1",
                      "--region", "us-west-2")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "trying us-west-2" in done.stderr
    assert f"provision down far --cloud local:{laptop.emulator.name} --region us-west-2" in done.stdout
    [instance] = west.instances("running")
    assert instance["Placement"]["AvailabilityZone"].startswith("us-west-2")
    assert laptop.emulator.instances() == []
    assert laptop.emulator.leftovers()["groups"] == []

    [row] = json.loads(laptop.ok("ls", "--json"))
    assert (row["name"], row["id"]) == ("far", instance["InstanceId"])
    assert laptop.ok("ssh", "far", "--", "echo in").strip() == "in"
    assert json.loads(laptop.ok("down", "far", "--json"))["ended"]["instances"] == [instance["InstanceId"]]
    assert west.nothing_left(), west.leftovers()


def test_no_region_has_room(laptop: Laptop, full: Callable[..., None]) -> None:
    full(type="p2.xlarge")
    done = laptop.run("up", "--instance", "p2.xlarge", "--region", "us-east-1", "--region", "us-west-2")
    assert done.returncode == 5, done.stderr
    last = done.stderr[done.stderr.index("provision: ") :]
    assert "us-east-1a" in last
    assert "us-west-2a" in last
    assert "--fallback on-demand" in last
    assert laptop.emulator.region("us-west-2").nothing_left()


def test_without_spot_capacity_it_falls_back_on_demand(laptop: Laptop, full: Callable[..., None]) -> None:
    full(market="spot")
    done = laptop.run("up", "--instance", "p2.xlarge", "--name", "dear", "--fallback", "on-demand")
    assert done.returncode == 0, done.stderr
    assert "asking for on-demand" in done.stderr
    assert "dear is ready: p2.xlarge on-demand" in done.stdout
    [instance] = laptop.emulator.instances("running")
    assert "InstanceLifecycle" not in instance
    assert "dear cost" in laptop.ok("down", "dear")


def test_a_retired_type_leads_to_its_stand_ins(laptop: Laptop) -> None:
    laptop.emulator.page("retire", {"retired": True})
    try:
        done = laptop.run("up", "--instance", "p3.8xlarge")
        assert done.returncode == 7
        assert "--or-equivalent" in done.stderr
        assert "g4dn.12xlarge (4 × T4" in done.stderr
        laptop.ok("up", "--instance", "p3.8xlarge", "--name", "instead", "--or-equivalent")
        [instance] = laptop.emulator.instances("running")
        assert instance["InstanceType"] in ("g4dn.12xlarge", "g5.12xlarge", "g6.12xlarge")
        [container] = laptop.emulator.containers()
        assert inside(container, "nvidia-smi -L | wc -l") == "4"
        laptop.ok("down", "instead")
    finally:
        laptop.emulator.page("retire", {"retired": False})


def test_a_quota_without_room_is_named_before_and_at_the_launch(laptop: Laptop) -> None:
    try:
        laptop.emulator.page("quotas", {P_SPOT: 16})
        refused = laptop.run("up", "--instance", "p3.8xlarge")
        laptop.emulator.page("quotas", {P_SPOT: PLENTY})
        laptop.ok("up", "--instance", "p3.8xlarge", "--dry-run")  # keeps the old answer for some hours
        laptop.emulator.page("quotas", {P_SPOT: 16})
        at_launch = laptop.run("up", "--instance", "p3.8xlarge", "--name", "late")
    finally:
        laptop.emulator.page("quotas", {P_SPOT: PLENTY})
    assert refused.returncode == at_launch.returncode == 4
    assert "p3.8xlarge needs 32 vCPUs, and us-east-1 has 16 left of the 16" in refused.stderr
    assert P_SPOT in refused.stderr
    assert P_SPOT in at_launch.stderr, at_launch.stderr
    assert laptop.emulator.nothing_left(), laptop.emulator.leftovers()
