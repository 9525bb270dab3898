"""When a machine counts as idle: the script with stand-ins for the GPU, Docker, the kernel's files and systemd."""

import os
import time
from pathlib import Path

import pytest

from infra.host import script
from infra.shell import LocalShell

NET = """Inter-|   Receive
 face |bytes packets
    lo: {0} 0 0 0 0 0 0 0 {0} 0
  eth0: {1} 0 0 0 0 0 0 0 5 0
docker0: {0} 1
"""


class Host:
    """A machine that has nothing to do; its uptime is `up` (seconds)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("bin", "run", "runs", "pts", "proc/net", "proc/1"):
            (root / folder).mkdir(parents=True)
        self.up = 1000
        self.fake("systemctl", f'echo "$*" >> {root}/systemctl')
        self.text("proc/net/dev", NET.format(9, 1))
        self.text("ready", "")
        self.rest()

    def rest(self) -> None:
        """Nothing goes on any more."""
        self.gpus("0\n0")
        self.fake("docker", 'case "$*" in "ps -q --filter label=provision.run") ;; *) exit 1;; esac')
        self.text("runs/.unfinished", "")
        self.text("proc/77/cmdline", "/sbin/init\0")

    def text(self, path: str, text: str) -> Path:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)
        return self.root / path

    def fake(self, name: str, body: str) -> None:
        self.text(f"bin/{name}", f"#!/bin/sh\n{body}\n").chmod(0o755)

    def gpus(self, text: str, code: int = 0) -> None:
        self.fake("nvidia-smi", f"printf '%s\\n' '{text}'; exit {code}")

    def typed(self, seconds_ago: float) -> None:
        at = time.time() - seconds_ago
        os.utime(self.text("pts/0", ""), (at, time.time()))  # its screen changes all the time

    def look(self, after: int = 60, limit: str = "1800") -> str:
        """What the next look finds, some seconds later."""
        self.up += after
        self.text("proc/uptime", f"{self.up}.25 1.0\n")
        env = {"PATH": f"{self.root}/bin:{os.environ['PATH']}", "READY": f"{self.root}/ready"}
        env |= {name.upper(): f"{self.root}/{name}" for name in ("run", "runs", "pts", "proc")}
        said = LocalShell().run(["sh", "-c", script("idle.sh"), "idle", limit], env=env).out
        assert (self.root / "run" / "idle").read_text() == said
        return said.strip()

    @property
    def ends(self) -> bool:
        called = self.root / "systemctl"
        return called.exists() and called.read_text() == "start --no-block provision-deadline.service\n"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_it_counts_minutes_and_then_ends_the_machine(host: Host) -> None:
    assert host.look() == "idle for 0 of 30 minutes"
    assert host.look() == "idle for 1 of 30 minutes"
    assert host.look(28 * 60 + 59) == "idle for 29 of 30 minutes"
    assert not host.ends
    assert host.look(1) == "idle for 30 minutes: power-off"
    assert host.ends


def test_half_minutes_count_too(host: Host) -> None:
    host.look(limit="30")
    assert host.look(29, limit="30") == "idle for 0 of 0 minutes"
    host.look(1, limit="30")
    assert host.ends


def use(host: Host, how: str) -> None:
    if how == "a GPU works":
        host.gpus("0\n5")
    elif how == "a training runs":
        host.fake("docker", "echo 0123456789ab")
    elif how == "a training is being saved":
        host.text("runs/.unfinished", "digits-1\n")
    elif how == "an image is being built":
        host.text("proc/77/cmdline", "runc\0--log\0/var/lib/docker/buildkit/executor/x/runc-log.json\0run\0")
    elif how == "data comes or goes":
        host.text("proc/net/dev", NET.format(9, 6_000_001))


@pytest.mark.parametrize(
    "how",
    ["a GPU works", "a training runs", "a training is being saved", "an image is being built", "data comes or goes"],
)
def test_whatever_uses_it_begins_the_count_anew(host: Host, how: str) -> None:
    host.look()
    host.look(29 * 60)
    use(host, how)
    assert host.look() == f"in use: {how}"
    host.rest()
    assert host.look() == "idle for 1 of 30 minutes"
    assert not host.ends


@pytest.mark.parametrize(
    ("text", "code"),
    [("4\n0", 0), ("[N/A]", 0), ("NVIDIA-SMI has failed because 99", 9)],
)
def test_a_gpu_that_does_nothing_or_has_no_driver_is_no_use(host: Host, text: str, code: int) -> None:
    host.gpus(text, code)
    assert host.look().startswith("idle")


def test_traffic_of_its_own_containers_and_a_little_from_outside_are_no_use(host: Host) -> None:
    host.look()
    host.text("proc/net/dev", NET.format(90_000_000, 5_000_000))
    assert host.look() == "idle for 1 of 30 minutes"


def test_without_docker_and_gpus_it_is_idle(host: Host) -> None:
    for name in ("docker", "nvidia-smi"):
        host.fake(name, "exit 127")
    host.look()
    host.look(1800)
    assert host.ends


def test_who_typed_lately_is_not_thrown_out_and_who_only_watches_is(host: Host) -> None:
    host.look()
    host.typed(600)
    assert host.look(3600) == "idle for 10 of 30 minutes"
    assert not host.ends
    host.typed(1801)
    host.look()
    assert host.ends


def test_nothing_counts_before_the_machine_is_ready(host: Host) -> None:
    (host.root / "ready").unlink()
    assert host.look(7200) == "not counted before the machine is ready"
    host.text("ready", "")
    assert host.look(7200) == "idle for 0 of 30 minutes"
    assert not host.ends


def test_never_is_never(host: Host) -> None:
    host.look(limit="0")
    assert host.look(10**6, limit="0") == "never ends by being idle"
    assert not host.ends
