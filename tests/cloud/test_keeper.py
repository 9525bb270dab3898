"""A run that needs no laptop: the client is gone once it has said the run's id, AWS itself keeps the run."""

import json
import os
import re
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.cloud.support import Emulator, Laptop, bucket_keys, run_of, until

pytestmark = [pytest.mark.cloud, pytest.mark.usefixtures("image")]
MIDDLE = ("--set", "iterations=60000", "--set", "snapshot_every=500", "--set", "test_every=5000")
ENDLESS = ("--set", "iterations=2000000", "--set", "snapshot_every=500", "--set", "test_every=100000")
ON_P3 = ("--instance", "p3.2xlarge", "--detach")


def row_of(laptop: Laptop, run: str) -> dict[str, Any]:
    return next(row for row in json.loads(laptop.ok("runs", "--json")) if row["run"] == run)


def wait_for(what: Callable[[], Any], words: str, timeout: float = 300) -> Any:
    """The first thing that is not false; the time is only there so that a broken chain ends."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(1.0)
    raise AssertionError(f"not seen: {words}")


def snapshots(emulator: Emulator, run: str) -> list[str]:
    return [key for key in bucket_keys(emulator, run) if key.endswith("complete.json")]


def killed_after_the_id(laptop: Laptop, *words: str) -> str:
    """Start it, and kill the client with -9 as soon as it has said the run's id."""
    process = laptop.start(*words)
    run = run_of(until(process, r"digits-\d{8}-"))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return run


def test_a_run_ends_well_without_the_laptop_that_started_it(laptop: Laptop, another: Callable[[str], Laptop]) -> None:
    """Client killed with -9, an interruption; seen again from another laptop only when all is over."""
    run = killed_after_the_id(laptop, "train", "digits", *ON_P3, *MIDDLE)
    wait_for(lambda: snapshots(laptop.emulator, run), "a whole snapshot")
    [first] = laptop.emulator.instances()
    laptop.emulator.page("interrupt", {"instance": first["InstanceId"], "notice": 20})

    other = another("other")
    done = wait_for(lambda: row_of(other, run)["state"] == "finished" and row_of(other, run), "finished", 600)
    assert done["attempts"] == 2
    wait_for(laptop.emulator.nothing_left, f"nothing left: {laptop.emulator.leftovers()}", 120)
    machines = {one["InstanceId"] for one in laptop.emulator.instances("terminated")}
    assert len(machines & {key.split("/")[1] for key in bucket_keys(laptop.emulator, run) if "keys/" in key}) == 2

    log = other.ok("logs", run)
    [resumed] = [int(at) for at in re.findall(r"Resuming from \S+_iter_(\d+)", log)]
    assert resumed > 0
    assert "Optimization Done." in log
    other.ok("fetch", run, str(other.folder / "results"))
    assert (other.folder / "results" / "snapshots" / "digits_iter_60000.caffemodel").stat().st_size > 100_000
    words = other.ok("events", run)
    assert re.search(r"(?s)asked.*got.*notice.*saved.*resumed.*ended", words), words


def test_stop_and_go_on_from_other_laptops(laptop: Laptop, another: Callable[[str], Laptop]) -> None:
    run = run_of(laptop.ok("train", "digits", *ON_P3, *ENDLESS))
    wait_for(lambda: snapshots(laptop.emulator, run), "a whole snapshot")
    refused = another("third").run("resume", run, "--detach")
    assert refused.returncode == 13
    assert "goes on" in refused.stderr

    other = another("other")
    assert "is stopped" in other.ok("stop", run)
    assert laptop.emulator.nothing_left(), laptop.emulator.leftovers()
    saved = len(snapshots(laptop.emulator, run))

    other.ok("resume", run, "--detach")
    wait_for(lambda: len(snapshots(laptop.emulator, run)) > saved, "another snapshot")
    assert row_of(other, run)["attempts"] == 2
    assert "is stopped" in laptop.ok("stop", run)
    assert laptop.emulator.nothing_left(), laptop.emulator.leftovers()


def test_a_training_that_fails_by_itself_is_not_repeated(laptop: Laptop) -> None:
    run = run_of(laptop.ok("train", "digits", *ON_P3, "--set", "learning_rate=abc"))
    wait_for(lambda: row_of(laptop, run)["state"] == "failed", "failed")
    wait_for(laptop.emulator.nothing_left, "nothing left", 120)
    assert row_of(laptop, run)["attempts"] == 1
