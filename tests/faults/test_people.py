"""Two people of one account, each at a laptop, on a local cloud whose hosts are no containers: nobody's Ctrl-C, failed
launch, `down` or `audit --fix` ends what somebody else launched."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.support import Emulator, Laptop, interrupt, start_cloud, stop_cloud, tag_of, until

pytestmark = pytest.mark.timeout(600)
LAB = ("up", "--instance", "p3.8xlarge", "--name", "lab")


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """A local cloud of these tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROVISION_LOCAL_HOME", str(tmp_path_factory.mktemp("local")))
        one = start_cloud(f"people{os.getpid()}", "--edge")
        yield one
        stop_cloud(one)


class People:
    """Alice and Bob."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        self.emulator = emulator
        self.alice, self.bob = (self._laptop(folder / name) for name in ("alice", "bob"))

    def _laptop(self, folder: Path) -> Laptop:
        folder.mkdir()
        return Laptop(self.emulator, folder / "home", folder, {"LOGNAME": folder.name})

    def living(self) -> list[dict[str, Any]]:
        return self.emulator.instances("pending", "running")

    def owners(self) -> list[str]:
        """Whose machines live: users' names."""
        return sorted(tag_of(one, "owner").partition("@")[0] for one in self.living())


@pytest.fixture
def people(emulator: Emulator, tmp_path: Path) -> Iterator[People]:
    two = People(emulator, tmp_path)
    yield two
    emulator.page("faults", [])
    two.alice.run("down", "--all", "--volumes", "--force")


def paused(emulator: Emulator, action: str, when: str) -> None:
    """Make the next call of that action wait."""
    emulator.page("faults", [{"service": "ec2", "action": action, "pause": when}])


def wait_paused(emulator: Emulator) -> None:
    end = time.monotonic() + 120
    while not emulator.page("paused", {"seconds": 1}):
        assert time.monotonic() < end, "no call waits"


def said(done: "subprocess.CompletedProcess[str]") -> str:
    return done.stdout + done.stderr


def test_a_name_that_somebody_else_has_is_refused_before_anything_is_paid(people: People) -> None:
    people.alice.ok(*LAB)
    refused = people.bob.run(*LAB)
    assert refused.returncode == 2
    assert "of alice@" in refused.stderr
    assert "--name lab-bob" in refused.stderr
    assert people.owners() == ["alice"]
    people.bob.ok("up", "--instance", "p3.8xlarge", "--name", "lab-bob")
    assert people.owners() == ["alice", "bob"]


def test_ctrl_c_ends_ones_own_launch_and_not_the_other_of_that_name(people: People) -> None:
    """Both ask for the same name at once, as with a default name: Bob looked before Alice's machine was there."""
    paused(people.emulator, "CreateLaunchTemplate", "before")
    bob = people.bob.start(*LAB)
    wait_paused(people.emulator)
    people.emulator.page("faults", [])
    people.alice.ok(*LAB)
    interrupt(bob)
    people.emulator.page("release", {})
    out, _ = bob.communicate(timeout=120)
    assert bob.returncode not in (0, None), out
    assert people.owners() == ["alice"]
    assert "running" in people.alice.ok("ls")


def test_of_two_at_once_the_later_gives_way_and_says_to_whom(people: People) -> None:
    paused(people.emulator, "CreateLaunchTemplate", "before")
    bob = people.bob.start(*LAB)
    wait_paused(people.emulator)
    people.emulator.page("faults", [])
    people.alice.ok(*LAB)
    time.sleep(1.1)  # AWS tells the time of a launch in whole seconds
    people.emulator.page("release", {})
    out, _ = bob.communicate(timeout=120)
    assert bob.returncode == 2, out
    assert "of alice@" in out
    assert people.owners() == ["alice"]


def test_down_of_somebody_elses_machine_wants_force(people: People) -> None:
    people.alice.ok(*LAB)
    people.bob.ok("up", "--instance", "p3.2xlarge", "--name", "mine")
    for words in (("down", "lab"), ("down", "--all")):
        refused = people.bob.run(*words)
        assert refused.returncode == 2
        assert "of alice@" in refused.stderr
        assert f"provision {' '.join(words)} --force" in refused.stderr
        assert people.owners() == ["alice", "bob"]
    people.bob.ok("down", "--all", "--mine")
    assert people.owners() == ["alice"]
    people.bob.ok("down", "lab", "--force")
    assert people.living() == []


def test_fixing_leaves_the_machines_of_others(people: People) -> None:
    people.alice.ok(*LAB)
    (machine,) = people.living()
    past = {"Key": "provision:deadline", "Value": "2020-01-01T00:00:00+00:00"}
    people.emulator.client("ec2").create_tags(Resources=[machine["InstanceId"]], Tags=[past])
    fixed = people.bob.run("audit", "--fix", "--grace", "0")
    assert fixed.returncode == 18
    assert "down lab --force" in fixed.stderr
    assert people.owners() == ["alice"]
    people.alice.ok("audit", "--fix", "--grace", "0")
    assert people.owners() == []


def test_ls_says_whose_each_machine_is(people: People) -> None:
    people.alice.ok(*LAB)
    assert "owner" not in people.alice.ok("ls")
    assert "alice@" in people.bob.ok("ls")
    (row,) = json.loads(people.bob.ok("ls", "--json"))
    assert row["owner"].startswith("alice@")


@pytest.mark.parametrize("effect", [{"hold": 30}, {"pause": "after"}])
def test_a_client_that_is_killed_while_the_fleet_is_launched_leaves_nothing(
    people: People, effect: dict[str, Any]
) -> None:
    """`down` comes at once, while AWS may still be launching; what it cannot see, a later command ends."""
    emulator, alice = people.emulator, people.alice
    emulator.page("faults", [{"service": "ec2", "action": "CreateFleet", **effect}])
    up = alice.start(*LAB)
    until(up, "asking for spot")
    (template,) = _templates(emulator)
    time.sleep(1.5)  # the call is on its way
    os.killpg(up.pid, signal.SIGKILL)
    up.wait()
    done = alice.run("down", "lab")
    assert done.returncode == 0, said(done)
    emulator.page("faults", [])
    emulator.page("release", {})
    assert people.living() == []
    unseen = "hold" in effect
    assert (f"no machine of {template}" in done.stdout) == unseen
    if unseen:
        _shows_up(emulator, template)
        assert f"the machine of {template}, which was ended" in alice.run("ls").stderr
        assert people.living() == []
        assert "which was ended" not in alice.run("ls").stderr


def _templates(emulator: Emulator) -> list[str]:
    rows = emulator.client("ec2").describe_launch_templates()["LaunchTemplates"]
    return [row["LaunchTemplateName"] for row in rows]


def _shows_up(emulator: Emulator, launch: str) -> None:
    """What AWS may do long after the call: the launch's machine is there."""
    ec2 = emulator.client("ec2")
    marks = {"provision:name": "lab", "provision:resource": launch}
    tags = [{"Key": key, "Value": value} for key, value in marks.items()]
    image = ec2.describe_images(Owners=["amazon", "099720109477"])["Images"][0]["ImageId"]
    ec2.run_instances(
        ImageId=image, InstanceType="p3.8xlarge", MinCount=1, MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )  # fmt: skip
