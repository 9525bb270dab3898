"""Each clean-up step counts: with any one taken out, something is left, and `down`, `audit` and the emulator say so.

The hosts are the emulator's edge hosts: no containers, the same calls.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.aws import cleanup
from infra.aws.cleanup import Removal
from infra.errors import LeftoverError
from provision import clouds, settings
from provision.account import audit
from provision.machines import down
from tests.faults.oracle import World, environment

pytestmark = pytest.mark.cloud

HELD = {"instance", "volume", "network interface", "security group", "schedule", "role", "instance profile"}


def nothing(*_: Any, **__: Any) -> None:
    """A clean-up step that was taken out."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An edge cloud of these tests' own."""
    before = os.environ.get("PROVISION_LOCAL_HOME")
    os.environ["PROVISION_LOCAL_HOME"] = str(tmp_path_factory.mktemp("edge"))
    one = World(f"e{os.getpid()}")
    one.start()
    yield one
    one.stop()
    os.environ.pop("PROVISION_LOCAL_HOME")
    if before is not None:
        os.environ["PROVISION_LOCAL_HOME"] = before


@pytest.fixture
def machine(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine `kept`, and this process as the laptop that started it."""
    for name, value in environment(tmp_path, world.name, tmp_path / "cache").items():
        monkeypatch.setenv(name, value)
    provision("up", "--instance", "p2.xlarge", "--name", "kept")


def provision(*words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "provision", *words], capture_output=True, text=True)
    assert done.returncode == 0, f"provision {' '.join(words)}: {done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize(
    ("step", "kinds"),
    [
        ("instances", HELD),
        ("security groups", {"security group"}),
        ("launch templates", {"launch template"}),
        ("schedules", {"schedule"}),
        ("roles", {"role", "instance profile"}),
    ],
)
@pytest.mark.usefixtures("machine")
def test_a_clean_up_step_that_is_taken_out_is_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str, kinds: set[str]
) -> None:
    cloud = clouds.resolve(settings.load())
    with monkeypatch.context() as without:
        if step == "instances":
            without.setattr(Removal, "terminate", nothing)
        without.setitem(cleanup._DELETES, step, nothing)
        with pytest.raises(LeftoverError) as refused:
            down.down(cloud, "kept", nothing, patience=2.0)
    assert "not everything is gone" in refused.value.what
    left = world.things()
    assert {kind for kind, _ in left} == kinds
    found = audit.audit(cloud, [cloud.region], timedelta(0)).findings
    assert {(one.thing.kind.removesuffix("s"), one.thing.label) for one in found} == left
    if step != "instances":
        assert all(one.bad for one in found)
    provision("down", "kept")
    assert not world.things()


@pytest.mark.usefixtures("machine")
def test_what_audit_fixes_is_gone(world: World) -> None:
    for one in world.instances():
        world.client("ec2").terminate_instances(InstanceIds=[one])
    assert world.things()
    assert "without a living owner: 0" in provision("audit", "--grace", "60")  # young: a launch in progress
    provision("audit", "--grace", "0", "--fix")
    assert not world.things()
    assert "ended" in provision("cost", "kept")
