"""A training that AWS keeps while its laptop follows: through an interruption, and what Ctrl-C makes of it."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cloud.kept_kit import Kept, knows_the_images, row_of, wait_for
from tests.cloud.support import SHORT, Laptop, run_of, until
from tests.cloud.test_keeper import ENDLESS, MIDDLE

pytestmark = [pytest.mark.cloud, pytest.mark.usefixtures("image")]
TRAIN = ("train", "digits", "--instance", "p3.2xlarge")


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("brought")


@pytest.fixture
def laptop(laptop: Laptop, brought: Path) -> Iterator[Laptop]:
    knows_the_images(brought, laptop.home)
    yield laptop
    knows_the_images(laptop.home, brought)


def test_ctrl_c_saves_the_work_and_stops_paying_on_the_second_machine_too(laptop: Laptop) -> None:
    process = laptop.start(*TRAIN, *ENDLESS)
    run = Kept(laptop.emulator, run_of(until(process, r"run digits-"))).trains()
    run.notice(30)
    until(process, "attempt 2, from iteration")
    run.trains(2)
    os.kill(process.pid, signal.SIGINT)  # as a cancelled job sends it: to `train` alone
    rest = process.stdout.read() if process.stdout else ""
    assert process.wait(60) == 130, rest
    assert "Traceback" not in rest
    assert f"provision resume {run.run}" in rest
    assert laptop.emulator.nothing_left(), laptop.emulator.leftovers()
    assert run.execution()["status"] == "ABORTED"
    assert row_of(laptop, run.run)["state"] == "stopped"
    run.resumed_well(2)
    saved = run.snapshots()[-1]
    assert saved >= run.reached(2)
    assert f"it would go on from iteration {saved}" in laptop.ok("resume", run.run, "--from", str(saved), "--dry-run")


def test_ctrl_c_twice_leaves_it_to_aws_which_ends_it_well(laptop: Laptop) -> None:
    process = laptop.start(*TRAIN, *MIDDLE)
    run = Kept(laptop.emulator, run_of(until(process, r"run digits-"))).trains()
    os.kill(process.pid, signal.SIGINT)
    until(process, "Ctrl-C again")
    os.kill(process.pid, signal.SIGINT)
    rest = process.stdout.read() if process.stdout else ""
    assert process.wait(60) == 130, rest
    assert f"AWS goes on with {run.run} without this laptop" in rest and f"provision stop {run.run}" in rest
    assert run.ended() == ("SUCCEEDED", "")
    wait_for(laptop.emulator.nothing_left, f"nothing left: {laptop.emulator.leftovers()}")
    assert run.words() == ["finished"]
    again = laptop.run("resume", run.run)
    assert again.returncode == 13 and f"{run.run} is finished" in again.stderr


def test_train_with_instance_rents_trains_and_ends_in_one(laptop: Laptop) -> None:
    done = laptop.run(*TRAIN, *SHORT, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout[done.stdout.index("{") :])
    assert (found["state"], found["iterations"], found["attempts"]) == ("finished", 400, 1)
    assert re.search(r"train-digits-\w{4}: i-\w+ in us-east-1\w, attempt 1", done.stderr)
    assert laptop.emulator.nothing_left(), laptop.emulator.leftovers()


def test_what_aws_has_no_room_for_ends_with_its_own_exit_code(laptop: Laptop) -> None:
    laptop.emulator.page("capacity", {"type": "p3.2xlarge", "code": "MaxSpotInstanceCountExceeded"})
    try:
        done = laptop.run(*TRAIN, "--wait-for-capacity", "0.002", *SHORT)
    finally:
        laptop.emulator.page("capacity", {"type": "p3.2xlarge"})
    assert done.returncode == 4, done.stdout + done.stderr
    assert "provision resume digits-" in done.stderr
    assert laptop.emulator.nothing_left(), laptop.emulator.leftovers()
