"""Clients that die or are interrupted in `up`, and machines that must not be ended by mistake."""

import json
import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.cloud.support import LONG, Laptop, interrupt, run_of, until

pytestmark = pytest.mark.cloud


@pytest.mark.parametrize(
    "moment", ["security group and launch template", "asking for spot", "launched in", "waiting for SSH", "host: end"]
)
def test_a_client_killed_in_up_leaves_at_most_one_machine_that_up_adopts_and_down_ends(
    laptop: Laptop, moment: str
) -> None:
    process = laptop.start("up", "--instance", "p3.2xlarge", "--name", "killed")
    until(process, moment)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = laptop.emulator.instances()
    assert len(before) <= 1
    assert [row["id"] for row in json.loads(laptop.ok("ls", "--json"))] == [one["InstanceId"] for one in before]
    laptop.ok("up", "--instance", "p3.2xlarge", "--name", "killed")
    after = laptop.emulator.instances()
    assert len(after) == 1
    assert not before or before[0]["InstanceId"] == after[0]["InstanceId"]
    assert laptop.ok("ssh", "killed", "--", "echo in") == "in\n"
    laptop.ok("down", "killed")
    assert laptop.emulator.nothing_left(), laptop.emulator.leftovers()


@pytest.mark.parametrize("moment", ["security group and launch template", "asking for spot", "host: end"])
def test_what_a_killed_client_left_down_removes(laptop: Laptop, moment: str) -> None:
    process = laptop.start("up", "--instance", "p3.2xlarge", "--name", "killed")
    until(process, moment)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(1.0)  # a call that was on its way arrives
    laptop.ok("down", "killed")
    assert laptop.emulator.nothing_left(), laptop.emulator.leftovers()


def test_ctrl_c_in_up_stops_paying(laptop: Laptop) -> None:
    process = laptop.start("up", "--instance", "p3.2xlarge", "--name", "never")
    until(process, "waiting for SSH")
    interrupt(process)
    rest = process.stdout.read() if process.stdout else ""
    assert process.wait(60) == 130
    assert "nothing of never is left" in rest
    assert "Traceback" not in rest
    assert laptop.emulator.nothing_left(), laptop.emulator.leftovers()


def test_up_never_ends_a_machine_that_was_there(laptop: Laptop, another: Callable[[str], Laptop]) -> None:
    """Another laptop asks for its name, or this one for another type: both are refused, and the machine lives."""
    laptop.ok("up", "--instance", "p2.xlarge", "--name", "shared")
    [before] = laptop.emulator.instances("running")
    stranger = another("stranger").run("up", "--instance", "p2.xlarge", "--name", "shared")
    assert stranger.returncode == 2
    assert "is there already" in stranger.stderr
    other_type = laptop.run("up", "--instance", "p3.2xlarge", "--name", "shared")
    assert other_type.returncode == 2
    assert "is a p2.xlarge, not a p3.2xlarge" in other_type.stderr
    [after] = laptop.emulator.instances("running")
    assert after["InstanceId"] == before["InstanceId"]


@pytest.mark.usefixtures("image")
def test_what_the_user_ends_is_not_rented_again_and_a_namesake_is_left_alone(laptop: Laptop) -> None:
    laptop.ok("up", "--instance", "p2.xlarge", "--name", "mine")
    process = laptop.start("train", "digits", "--on", "mine", "--gpus", "0", *LONG)
    run = run_of(until(process, "run digits-"))
    until(process, r"iteration [1-9]\d*/2000000")
    laptop.ok("down", "mine")
    rest = process.stdout.read() if process.stdout else ""
    assert process.wait(60) == 13
    assert f"provision resume {run}" in rest
    assert laptop.emulator.nothing_left(), laptop.emulator.leftovers()

    laptop.ok("up", "--instance", "p2.xlarge", "--name", "mine")
    [namesake] = laptop.emulator.instances("running")
    assert "Optimization" not in laptop.ok("logs", run)[-200:]
    laptop.ok("resume", run, "--detach")
    [still] = laptop.emulator.instances("running")
    assert still["InstanceId"] == namesake["InstanceId"]
    assert "is stopped" in laptop.ok("stop", run)
