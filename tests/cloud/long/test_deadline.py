"""Each end of a machine alone, with the others taken away: its own timer, the schedule, idleness; and moving them."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.cloud.support import Laptop, inside, tag_of, timer, until

pytestmark = pytest.mark.cloud

GRACE = timedelta(minutes=10)
OFF = """systemctl stop 'provision-deadline*.timer' provision-idle.timer
rm /etc/systemd/system/provision-deadline.* /etc/systemd/system/provision-idle.*
systemctl daemon-reload"""
# an image of one program, made on the host: what is tested is a container that has the label of a training
TRAIN = """sleep=$(command -v sleep)
tar -ch $sleep $(ldd $sleep | grep -o '/[^ ]*') | docker import - tiny
docker run -d --label provision.run=digits-1 tiny $sleep SECONDS"""


def now() -> datetime:
    return datetime.now(timezone.utc)


def wait(check: Callable[[], Any], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.3)


def moment(expression: str) -> datetime:
    """Out of at(2026-11-21T18:40:00)."""
    return datetime.fromisoformat(expression.removeprefix("at(").removesuffix(")")).replace(tzinfo=timezone.utc)


def ended(laptop: Laptop, instance_id: str) -> str:
    """Why the instance was terminated; empty while it is not."""
    found = [one for one in laptop.emulator.instances("terminated") if one["InstanceId"] == instance_id]
    return str(found[0]["StateReason"]["Code"]) if found and not laptop.emulator.containers() else ""


def test_the_host_ends_with_its_client_its_network_and_its_schedule_gone(laptop: Laptop) -> None:
    process = laptop.start("up", "--instance", "p2.xlarge", "--name", "alone", "--max-hours", "0.022")
    until(process, "waiting for SSH")
    [instance] = laptop.emulator.instances()
    [container] = laptop.emulator.containers()
    wait(lambda: inside(container, "systemctl is-active provision-deadline.timer", check=False) == "active", 75)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    subprocess.run(
        ["docker", "network", "disconnect", f"provision-local-{laptop.emulator.name}-net", container], check=True
    )
    for name in laptop.emulator.schedules():
        laptop.emulator.client("scheduler").delete_schedule(GroupName="provision", Name=name)
    at = timer(container)
    assert at == datetime.fromisoformat(tag_of(instance, "deadline"))
    assert inside(container, f"curl -sm 2 {laptop.emulator.facts['checkip']} || echo cut") == "cut"
    assert laptop.emulator.schedules() == {}

    wait(lambda: ended(laptop, instance["InstanceId"]), (at - now()).total_seconds() + 30)
    assert now() >= at
    assert ended(laptop, instance["InstanceId"]) == "Client.InstanceInitiatedShutdown"


def test_the_schedule_ends_a_machine_whose_own_timers_are_off(laptop: Laptop) -> None:
    laptop.ok("up", "--instance", "p2.xlarge", "--name", "stuck", "--max-hours", "2")
    [instance] = laptop.emulator.instances("running")
    [container] = laptop.emulator.containers()
    inside(container, OFF)
    assert inside(container, "systemctl is-active provision-deadline.timer", check=False) == "inactive"
    [(name, said)] = laptop.emulator.schedules().items()
    assert name == tag_of(instance, "resource")
    at = moment(said)
    assert at == datetime.fromisoformat(tag_of(instance, "deadline")) + GRACE
    try:
        laptop.emulator.page("schedules", {"ahead": (at - now()).total_seconds() - 4})
        time.sleep(2)
        assert [one["InstanceId"] for one in laptop.emulator.instances("running")] == [instance["InstanceId"]]
        wait(lambda: ended(laptop, instance["InstanceId"]), 30)
    finally:
        laptop.emulator.page("schedules", {"ahead": 0})
    assert ended(laptop, instance["InstanceId"]) == "Client.UserInitiatedShutdown"
    assert laptop.emulator.schedules() == {}


def test_an_idle_machine_ends_and_one_that_trains_does_not(laptop: Laptop) -> None:
    out = laptop.ok("up", "--instance", "p2.xlarge", "--name", "lazy", "--idle-minutes", "0.5")
    assert "also after 0.5 idle minutes" in out
    [instance] = laptop.emulator.instances("running")
    [container] = laptop.emulator.containers()
    training = inside(container, TRAIN.replace("SECONDS", "600")).splitlines()[-1]
    time.sleep(36)
    assert inside(container, "cat /run/provision/idle") == "in use: a training runs"
    inside(container, f"docker rm -f {training}")
    done = time.monotonic()
    wait(lambda: ended(laptop, instance["InstanceId"]), 60)
    assert time.monotonic() - done >= 20
    assert ended(laptop, instance["InstanceId"]) == "Client.InstanceInitiatedShutdown"


def test_a_budget_sets_the_end_and_extend_moves_both(laptop: Laptop) -> None:
    out = laptop.ok("up", "--instance", "p2.xlarge", "--name", "thrifty", "--budget", "2", "--json")
    row = json.loads(out)
    [instance] = laptop.emulator.instances("running")
    [container] = laptop.emulator.containers()
    disk = 100 * 0.08 / 720  # gp3, dollars an hour
    assert float(tag_of(instance, "price")) == 0.9  # on demand: spot may come to that
    pays_for = timedelta(hours=2 / (0.9 + disk + 0.005), minutes=-11)
    ends = datetime.fromisoformat(row["ends"])
    assert abs(ends - (instance["LaunchTime"] + pays_for)) < timedelta(seconds=30)
    assert timer(container) == ends

    def ends_of_all() -> list[datetime]:
        [said] = laptop.emulator.schedules().values()
        [listed] = json.loads(laptop.ok("ls", "--json"))
        return [timer(container), moment(said) - GRACE, datetime.fromisoformat(listed["ends"])]

    assert ends_of_all() == [ends] * 3
    moved = json.loads(laptop.ok("extend", "thrifty", "1h", "--json"))
    at = datetime.fromisoformat(moved["ends"])
    assert abs(at - now() - timedelta(hours=1)) < timedelta(seconds=60)
    assert ends_of_all() == [at] * 3

    refused = laptop.run("extend", "thrifty", "20h")
    assert refused.returncode == 2
    assert "the budget of thrifty is $2" in refused.stderr
    assert ends_of_all() == [at] * 3
