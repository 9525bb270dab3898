"""Detectron through a spot interruption in the local cloud: saved when it is announced, and gone on with elsewhere."""

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cloud.support import Emulator, Laptop, bucket_keys, interrupt, start_cloud, stop_cloud, until
from tests.detectron.coco_kit import photos
from tests.detectron.test_detectron import image
from tests.detectron.test_detectron_recipe import OPTIONS

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(1800)]


@pytest.fixture
def emulator(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    monkeypatch.setenv("PROVISION_LOCAL_HOME", str(tmp_path_factory.mktemp("local")))
    one = start_cloud(f"d{os.getpid()}")
    yield one
    stop_cloud(one)


def soon(what: Callable[[], object], timeout: float = 600) -> None:
    end = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(1)


def snapshots(laptop: Laptop, run: str) -> list[int]:
    keys = bucket_keys(laptop.emulator, run)
    return sorted(int(key.split("/")[1].split("-")[0]) for key in keys if key.endswith("complete.json"))


def test_an_announced_interruption_costs_no_iteration(emulator: Emulator, tmp_path: Path) -> None:
    laptop, data = Laptop(emulator, tmp_path / "home", tmp_path), photos(tmp_path / "photos")
    slow = {"extra": f"{OPTIONS['extra']} SOLVER.BASE_LR 0.0001"}  # from nothing it would diverge within a minute
    sets = [word for key, value in {**OPTIONS, **slow}.items() for word in ("--set", f"{key}={value}")]
    sets += ["--set", "iterations=100000", "--set", "snapshot_every=100000"]
    tag = image("detectron").tag
    words = ("train", "detectron", "--instance", "p3.2xlarge", "--no-keeper", "--image", tag, "--data", str(data))
    process = laptop.start(*words, *sets)
    try:
        run = re.findall(r"detectron-\d{8}-\d{6}-\w{4}", until(process, r"run detectron-", 900))[0]
        soon(lambda: "json_stats" in laptop.run("logs", run).stdout)
        [first] = emulator.instances()
        assert snapshots(laptop, run) == [], "the only snapshot is the one saved on the notice"
        laptop.ok("local", "interrupt", first["InstanceId"], "--notice", "90", "--name", emulator.name)
        soon(lambda: snapshots(laptop, run))
        [at] = snapshots(laptop, run)
        soon(lambda: "Resuming from checkpoint" in laptop.run("logs", run).stdout)
        log = laptop.ok("logs", run)
        assert re.findall(r"Resuming from checkpoint \S+/model_iter(\d+)\.pkl at start iter (\d+)", log) == [
            (str(at), str(at + 1))
        ]
        [second] = emulator.instances()
        assert second["InstanceId"] != first["InstanceId"]
    finally:
        interrupt(process)
        process.wait(300)
        print(process.stdout.read() if process.stdout else "", laptop.run("logs", run).stdout[-3000:])  # for failures
        laptop.run("down", "--all", "--volumes")
    assert emulator.nothing_left(), emulator.leftovers()
