"""A machine that dies without notice, and the laptop that started the run away."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cloud.support import LONG, Laptop, bucket_keys, interrupt, run_of, until

pytestmark = [pytest.mark.cloud, pytest.mark.usefixtures("image")]


def wait_state(laptop: Laptop, run: str, state: str, timeout: float = 90) -> None:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        rows = {row["run"]: row for row in json.loads(laptop.ok("runs", "--json"))}
        if run in rows and rows[run]["state"] == state:
            return
        time.sleep(1)
    raise AssertionError(f"{run} is not {state}: {rows.get(run)}")


def test_an_unannounced_death_is_resumed_from_another_laptop(
    laptop: Laptop, another: Callable[[str], Laptop], tmp_path: Path
) -> None:
    """The host is killed with no notice, the laptop that started the run is away, its data folder with it."""
    data = tmp_path / "own-data"
    subprocess.run([sys.executable, "-m", "provision", "data", "digits", str(data)], check=True)
    laptop.ok("up", "--instance", "p3.2xlarge", "--name", "mortal")
    run = run_of(laptop.ok("train", "digits", "--on", "mortal", "--detach", "--data", str(data), *LONG))
    end = time.monotonic() + 60
    while not [key for key in bucket_keys(laptop.emulator, run) if key.endswith("complete.json")]:
        assert time.monotonic() < end, bucket_keys(laptop.emulator, run)
        time.sleep(0.5)
    [first] = laptop.emulator.instances()
    laptop.emulator.client("ec2").terminate_instances(InstanceIds=[first["InstanceId"]])
    wait_state(laptop, run, "lost")
    shutil.rmtree(data)

    other = another("other")
    process = other.start("resume", run, "--no-keeper")
    until(process, r"iteration \d+/2000000")
    [second] = laptop.emulator.instances()
    assert second["InstanceId"] != first["InstanceId"]
    assert second["Placement"]["AvailabilityZone"] != first["Placement"]["AvailabilityZone"]
    interrupt(process)
    assert process.wait(180) == 130
    assert not laptop.emulator.leftovers()["instances"]  # what `resume` rents ends with Ctrl-C
    laptop.ok("down", "mortal")  # the first laptop's machine is dead; its template and group are its owner's to end
    assert laptop.emulator.nothing_left(), laptop.emulator.leftovers()
    attempts = [key for key in bucket_keys(laptop.emulator, run) if key.startswith("attempts/")]
    assert attempts == ["attempts/001.json", "attempts/002.json"]
    log = other.ok("logs", run)
    resumed = [int(at) for at in re.findall(r"Resuming from \S+_iter_(\d+)", log)]
    assert len(resumed) == 1
    assert resumed[0] > 0
    after = log.split("Resuming from", 1)[1]
    first_line = re.search(r"Iteration (\d+)", after)
    assert first_line
    assert int(first_line[1]) == resumed[0]
    other.ok("down", "--all")
