"""The part of `make bench` of a run that AWS keeps: from the command, and from a spot notice, to the next iteration.

On system containers, with delays like AWS's: 150 ms a call, 30 s from a launch until its own system starts, and
its end 120 s after the notice (of a machine in its first hour, which the keeper leaves to AWS). Cold: a bare image, as
Ubuntu's; all of it is installed. Baked: the image that the first run's keeper made of its machine.

The bound is what no keeper could save: AWS's delays, the machine's own start up to what cloud-init has written, and
what Caffe takes to its first iteration; of a command also the client's part, which sends what is not in S3 yet. All but
the delays is measured in the same run.
"""

import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tests.cloud.kept_kit import Kept, docker, wait_for
from tests.cloud.long.test_bakes import packages
from tests.cloud.long.test_bare import made_by
from tests.cloud.support import Laptop, inside, run_of, start_cloud, stop_cloud

CALL_S, BOOT_S, NOTICE_S = 0.15, 30.0, 120.0
KIND = "p3.2xlarge"
ENDLESS = ("--set", "iterations=5000000", "--set", "snapshot_every=500", "--set", "test_every=100000")
SHORT = ("--set", "iterations=2000", "--set", "snapshot_every=500", "--set", "test_every=2000")
_ITERATION = re.compile(r"(?m)^I(\d{4} \d\d:\d\d:\d\d\.\d+).* Iteration \d+")


@dataclass(frozen=True)
class Measured:
    """Seconds of the parts, in order, and of what no keeper could save."""

    name: str
    parts: tuple[tuple[str, float], ...]
    bound: float

    @property
    def seconds(self) -> float:
        return sum(seconds for _, seconds in self.parts)


@dataclass(frozen=True)
class Attempt:
    """Moments of one attempt, in seconds of Unix time: the launch was asked for, the machine's system began, cloud-init
    had written its files, Docker and GPUs were ready, the container began, Caffe counted."""

    asked: float
    powered: float
    written: float
    ready: float
    container: float
    iterates: float

    def parts(self) -> list[tuple[str, float]]:
        ends = (
            ("AWS: launch until its system starts", self.asked, self.powered),
            ("the machine's own start, cloud-init", self.powered, self.written),
            ("files, Docker and GPUs ready", self.written, self.ready),
            ("image, proof, data, snapshot", self.ready, self.container),
            ("Caffe until it counts", self.container, self.iterates),
        )
        return [(name, until - since) for name, since, until in ends]

    @property
    def bound(self) -> float:
        """Of what comes after the call that asks for the machine."""
        return CALL_S + BOOT_S + (self.written - self.powered) + (self.iterates - self.container)


def kept() -> Iterator[tuple[str, Measured]]:
    """(cold or baked, what was measured), as it comes."""
    with _cloud() as laptop:
        run, measured = _started(laptop, *SHORT)
        yield "cold", measured
        assert run.ended() == ("SUCCEEDED", "")
        assert laptop.emulator.client("ec2").describe_images(Owners=["self"])["Images"], "no image was made"
        run, measured = _started(laptop, *ENDLESS)
        yield "baked", measured
        yield "baked", _noticed(run)
        laptop.ok("stop", run.run)


@contextmanager
def _cloud() -> Iterator[Laptop]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ["PROVISION_LOCAL_HOME"] = str(folder / "clouds")
        emulator = start_cloud("bench-kept", "--bare", "--boot", str(BOOT_S))
        stack.callback(os.environ.pop, "PROVISION_LOCAL_HOME")
        stack.callback(stop_cloud, emulator)
        repository = stack.enter_context(made_by(packages(), emulator, folder / "repository"))
        where = {"PROVISION_TOOLKIT_REPOSITORY": repository.url, "PROVISION_TOOLKIT_KEY": repository.key}
        emulator.page("latency", {"seconds": CALL_S})
        yield Laptop(emulator, folder / "home", folder, where)


def _started(laptop: Laptop, *words: str) -> tuple[Kept, Measured]:
    begun = time.time()
    run = Kept(
        laptop.emulator, run_of(laptop.ok("train", "digits", "--instance", KIND, "--detach", *words, timeout=600))
    )
    first = _attempt(run.trains(1), 1)
    client = ("the client: sends what S3 lacks, starts the keeper", _entered(run, "Begin", 1) - begun)
    keeper = ("the keeper until it asks", first.asked - begun - client[1])
    return run, Measured("from the command", (client, keeper, *first.parts()), client[1] + first.bound)


def _noticed(run: Kept) -> Measured:
    run.trains_on()
    noticed = time.time()
    run.notice(NOTICE_S)
    run.trains(2)
    second = _attempt(run, 2)
    ended = ("AWS ends the machine that it takes", NOTICE_S)
    again = ("the keeper until it asks again", second.asked - noticed - NOTICE_S)
    return Measured("from a notice", (ended, again, *second.parts()), NOTICE_S + second.bound)


def _attempt(run: Kept, number: int) -> Attempt:
    machine = run.container()
    written, ready = (_modified(machine, path) for path in ("/opt/provision/order.json", "/var/lib/provision/ready"))
    began = inside(machine, f"docker inspect -f '{{{{.State.StartedAt}}}}' provision-{run.run}-{number:03d}")
    powered = _moment(docker("inspect", "-f", "{{.State.StartedAt}}", machine))
    lines: list[str] = wait_for(lambda: _ITERATION.findall(run.log(number)), f"iterations of attempt {number}")
    year = datetime.now(timezone.utc).year
    first = datetime.strptime(f"{year}{lines[0]}", "%Y%m%d %H:%M:%S.%f").replace(tzinfo=timezone.utc)
    asked = _entered(run, "Ask spot", number)
    return Attempt(asked, powered, written, ready, _moment(began), first.timestamp())


def _modified(machine: str, path: str) -> float:
    return float(inside(machine, f"stat -c %.Y {path}"))


def _moment(text: str) -> float:
    """Docker's time, which has nanoseconds."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*Z", r"\1+00:00", text)).timestamp()


def _entered(run: Kept, state: str, time_: int) -> float:
    """When the execution entered that state for the time_-th time."""
    states: Any = run.emulator.client("stepfunctions")
    pages = states.get_paginator("get_execution_history").paginate(executionArn=run.keeping["execution"])
    found = [
        event["timestamp"].timestamp()
        for page in pages
        for event in page["events"]
        if event.get("stateEnteredEventDetails", {}).get("name") == state
    ]
    return float(found[time_ - 1])
