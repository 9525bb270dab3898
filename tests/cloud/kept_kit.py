"""Runs that AWS keeps, as the tests see them: by the bucket, by Step Functions, by EC2, and by Docker."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cloud.support import Emulator, Laptop, bucket_keys, run_of, runs_bucket, until

FULL = "InsufficientInstanceCapacity"
PATIENCE = 900.0  # seconds; only a broken chain takes so long
NOTES = "state/provision/images"  # of a laptop's home: the images that it has brought to the bucket


def wait_for(what: Callable[[], Any], words: str, timeout: float = PATIENCE) -> Any:
    """The first answer that is not false; the time is only there so that a broken chain ends."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.5)
    raise AssertionError(f"not seen: {words}")


def killed_after_the_id(laptop: Laptop, *words: str) -> "Kept":
    """Start it, and kill the client with -9 as soon as it has said the run's id."""
    process = laptop.start(*words)
    run = run_of(until(process, r"run digits-\d{8}-"))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return Kept(laptop.emulator, run)


def killed_after_their_ids(laptop: Laptop, orders: Sequence[Sequence[str]]) -> list["Kept"]:
    """Several at once; the first brings the image, if that is not in the bucket yet."""
    first = killed_after_the_id(laptop, *orders[0])
    with ThreadPoolExecutor(4) as pool:
        return [first, *pool.map(lambda words: killed_after_the_id(laptop, *words), orders[1:])]


def knows_the_images(home: Path, other: Path) -> None:
    """The laptop with the other home has brought the same images as that with `home`: to pack 0.5 GB takes its time."""
    if (home / NOTES).exists():
        shutil.copytree(home / NOTES, other / NOTES, dirs_exist_ok=True)


def row_of(laptop: Laptop, run: str) -> dict[str, Any]:
    rows = json.loads(laptop.ok("runs", "--json"))
    return next(row for row in rows if row["run"] == run)


@dataclass(frozen=True)
class Kept:
    """One run."""

    emulator: Emulator
    run: str

    def read(self, key: str) -> dict[str, Any] | None:
        """A JSON file of the run's folder; None where it is not there."""
        s3 = self.emulator.client("s3")
        try:
            found = s3.get_object(Bucket=runs_bucket(self.emulator), Key=f"runs/{self.run}/{key}")
        except s3.exceptions.NoSuchKey:
            return None
        return dict(json.loads(found["Body"].read()))

    def files(self) -> list[str]:
        return bucket_keys(self.emulator, self.run)

    def snapshots(self, attempt: int = 0) -> list[int]:
        """The iterations of the whole ones (of one attempt, 0: of all)."""
        of = f"-{attempt:03d}" if attempt else r"-\d+"
        found = [re.match(rf"snapshots/(\d+){of}/complete\.json", key) for key in self.files()]
        return sorted(int(match[1]) for match in found if match)

    @property
    def keeping(self) -> dict[str, Any]:
        found = self.read("keeper.json")
        assert found is not None
        return found

    def execution(self) -> dict[str, Any]:
        """How the newest execution stands: status, error, cause."""
        states = self.emulator.client("stepfunctions")
        return dict(states.describe_execution(executionArn=self.keeping["execution"]))

    def ended(self) -> tuple[str, str]:
        """Status and error of the execution, once it is over."""

        def over() -> dict[str, Any] | None:
            found = self.execution()
            return None if found["status"] == "RUNNING" else found

        found = wait_for(over, f"{self.run}: the keeper's end")
        return str(found["status"]), str(found.get("error", ""))

    def attempts(self) -> int:
        return len([key for key in self.files() if key.startswith("attempts/")])

    def words(self) -> list[str]:
        """How the attempts ended."""
        numbers = sorted(key for key in self.files() if key.startswith("ends/"))
        return [str((self.read(key) or {})["word"]) for key in numbers]

    def machine(self) -> dict[str, Any] | None:
        """Its machine, while EC2 knows one that is not gone."""
        found = [one for one in self.emulator.instances() if run_tag(one) == self.run]
        return found[0] if found else None

    def its_machine(self) -> dict[str, Any]:
        return dict(wait_for(self.machine, f"{self.run}: a machine"))

    def container(self) -> str:
        """The name of the container that stands for its machine."""
        machine = self.its_machine()["InstanceId"]
        return next(name for name in self.emulator.containers() if name.endswith(machine))

    def trains(self, attempt: int = 1) -> "Kept":
        """Wait until that attempt has a whole snapshot."""
        wait_for(lambda: self.snapshots(attempt), f"{self.run}: a snapshot of attempt {attempt}")
        return self

    def trains_on(self) -> None:
        """Wait until it has another snapshot."""
        before = self.snapshots()[-1]
        wait_for(lambda: self.snapshots()[-1] > before, f"{self.run}: a snapshot after {before}")

    def notice(self, seconds: float) -> None:
        self.emulator.page("interrupt", {"instance": self.its_machine()["InstanceId"], "notice": seconds})

    def waits(self, attempt: int) -> None:
        """Wait until it waits for capacity for that attempt, which has been refused at least once."""
        key = f"attempts/{attempt:03d}.json"
        wait_for(lambda: (self.read(key) or {"instance": "-"})["instance"] == "", f"{self.run}: waits, {attempt}")
        wait_for(lambda: "Wait" in self.states_since(attempt), f"{self.run}: refused, {attempt}")

    def states_since(self, attempt: int) -> list[str]:
        """The states of the execution since it claimed that attempt."""
        states = self.emulator.client("stepfunctions")
        pages = states.get_paginator("get_execution_history").paginate(executionArn=self.keeping["execution"])
        names = [
            event["stateEnteredEventDetails"]["name"]
            for page in pages
            for event in page["events"]
            if "stateEnteredEventDetails" in event
        ]
        claims = [at for at, name in enumerate(names) if name == "Claim"]
        before = self.keeping["number"]
        return names[claims[attempt - before] :] if len(claims) > attempt - before else []

    def log(self, attempt: int) -> str:
        s3 = self.emulator.client("s3")
        keys = sorted(key for key in self.files() if key.startswith(f"log/{attempt:03d}-"))
        bucket = runs_bucket(self.emulator)
        parts = [s3.get_object(Bucket=bucket, Key=f"runs/{self.run}/{key}")["Body"].read() for key in keys]
        return b"".join(parts).decode(errors="replace")

    def resumed_from(self, attempt: int) -> int:
        """The iteration from which Caffe itself says that the attempt went on."""
        resumes = lambda: re.findall(r"Resuming from \S+_iter_(\d+)", self.log(attempt))  # noqa: E731
        [at] = wait_for(resumes, f"{self.run}: where attempt {attempt} went on")  # snapshots go before logs
        return int(at)

    def reached(self, attempt: int) -> int:
        """The last iteration that the attempt's log tells."""
        return max(int(at) for at in re.findall(r"Iteration (\d+)", self.log(attempt)))

    def resumed_well(self, attempt: int) -> None:
        """It went on from the newest snapshot that there was."""
        assert self.resumed_from(attempt) == max(at for n in range(1, attempt) for at in self.snapshots(n))

    def nothing_lost(self, attempt: int) -> None:
        """It went on where the one before it was when its notice came: no iteration was made twice."""
        assert self.resumed_from(attempt) == self.snapshots(attempt - 1)[-1] >= self.reached(attempt - 1)


def run_tag(instance: dict[str, Any]) -> str:
    """The run that the machine is for; "" for none."""
    return str({one["Key"]: one["Value"] for one in instance.get("Tags", ())}.get("provision:run", ""))


@contextlib.contextmanager
def one_machine_each(emulator: Emulator) -> Iterator[None]:
    """While this goes on, no run has two machines that are not gone."""
    over, seen = threading.Event(), list[str]()

    def look() -> None:
        while not over.wait(0.3):
            with contextlib.suppress(Exception):  # a call that meets a fault
                runs = Counter(filter(None, map(run_tag, emulator.instances())))
                seen.extend(f"{run} has {many} machines" for run, many in runs.items() if many > 1)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert not seen, seen[0]


def calm(emulator: Emulator) -> None:
    """No faults, capacity everywhere, time as it is."""
    emulator.page("faults", [])
    for kind in ("*", "p2.xlarge", "p3.2xlarge", "g4dn.xlarge", "g4dn.2xlarge"):
        emulator.page("capacity", {"type": kind})
    emulator.page("keeper", {"waits": 1, "heartbeats": 1})
    emulator.page("schedules", {"ahead": 0})


def drought(emulator: Emulator, kind: str = "*") -> None:
    emulator.page("capacity", {"type": kind, "code": FULL})


def rain(emulator: Emulator, kind: str = "*") -> None:
    emulator.page("capacity", {"type": kind})


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout.strip()
