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
        for folder in ("bin", "run", "pts", "proc/net", "proc/1"):
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
        self.text("run/unfinished", "")
        self.program(77, "init", 0)

    def program(self, pid: int, name: str, used: int, parent: int = 1, children: int = 0, words: str = "") -> None:
        """A program that has used so many ticks (1/100 s) of CPU; its children that ended have used `children`."""
        stat = f"{pid} ({name}) S {parent} {pid} {pid} 0 -1 4194560 9 9 9 9 {used} 0 {children} 0 20 0 1 0 5 9 9\n"
        self.text(f"proc/{pid}/stat", stat)
        self.text(f"proc/{pid}/cmdline", (words or name).replace(" ", "\0") + "\0")

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
        env |= {name.upper(): f"{self.root}/{name}" for name in ("run", "pts", "proc")}
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
        host.text("run/unfinished", "digits-1\n")
    elif how == "a training is being prepared":
        host.program(77, "python3", 0, words="/usr/bin/python3 /opt/provision/guard begin")
    elif how == "an image is being built":
        host.program(77, "runc", 0, words="runc --log /var/lib/docker/buildkit/executor/x/runc-log.json run")
    elif how == "data comes or goes":
        host.text("proc/net/dev", NET.format(9, 6_000_001))


@pytest.mark.parametrize(
    "how",
    [
        "a GPU works", "a training runs", "a training is being saved", "a training is being prepared",
        "an image is being built", "data comes or goes",
    ],
)  # fmt: skip
def test_whatever_uses_it_begins_the_count_anew(host: Host, how: str) -> None:
    host.look()
    host.look(29 * 60)
    use(host, how)
    assert host.look() == f"in use: {how}"
    host.rest()
    assert host.look() == "idle for 1 of 30 minutes"
    assert not host.ends


def test_what_uses_more_than_half_a_cpu_is_use_and_the_heaviest_is_named(host: Host) -> None:
    host.program(500, "make", 100)
    host.program(501, "updatedb", 0)
    host.look()
    host.program(501, "updatedb", 400)
    host.program(500, "make", 100, children=2599)  # of 60 s: short programs, which have ended, count by their parent
    assert host.look() == "idle for 1 of 30 minutes"
    host.program(500, "make", 110, children=5200)
    host.program(501, "updatedb", 900)
    assert host.look() == "in use: make uses the CPU"
    assert host.look() == "idle for 1 of 30 minutes"
    host.program(502, "convert (1) \\033[2J x\n\x1b[2J", 3200)  # new, and of an odd name
    assert host.look().startswith("in use: ")
    assert "\x1b" not in (host.root / "run" / "idle").read_text()


def test_one_cpu_for_a_minute_is_use_on_a_machine_that_looks_seldom_and_a_blip_is_none(host: Host) -> None:
    host.program(500, "python3", 0)
    host.look()
    host.program(500, "python3", 100)
    assert host.look(1).startswith("idle"), "a second of work between two quick looks is no use"
    host.program(500, "python3", 100 + 5100)
    assert host.look(100) == "in use: python3 uses the CPU"


def test_the_kernel_the_guard_and_this_look_itself_are_no_use(host: Host) -> None:
    def work(used: int) -> None:
        host.program(2, "kthreadd", used, parent=0)
        host.program(40, "kswapd0", used, parent=2)
        host.program(600, "python3", used, words="/usr/bin/python3 /opt/provision/guard watch")
        host.program(601, "sh", used, words="/bin/sh /opt/provision/idle.sh 1800")

    work(0)
    host.look()
    work(9000)
    assert host.look() == "idle for 1 of 30 minutes"


def test_a_command_over_ssh_without_a_terminal_is_use_and_a_session_that_waits_is_none(host: Host) -> None:
    host.program(700, "sshd", 0, words="sshd: provision@notty")
    host.program(701, "sftp-server", 0, parent=700)
    host.program(710, "sshd", 0, words="sshd: provision@pts/0")
    host.program(711, "bash", 0, parent=710)
    host.look()
    assert host.look() == "idle for 1 of 30 minutes"
    host.program(702, "rsync", 0, parent=700)
    assert host.look() == "in use: rsync runs over SSH"


def test_a_box_with_a_program_in_it_is_use_and_one_that_waits_is_none(host: Host) -> None:
    waiting = "PID COMMAND\n9 docker-init\n10 sleep\n11 bash"
    host.fake("docker", f"""case "$*" in "ps -q --filter label=provision.box") echo b0;;
        "top b0 -o pid,comm") printf '%s\n' '{waiting}'; cat {host.root}/more;; esac""")  # fmt: skip
    host.text("more", "")
    host.look()
    assert host.look() == "idle for 1 of 30 minutes"
    host.text("more", "12 jupyter-lab\n")
    assert host.look() == "in use: jupyter-lab runs in a box"


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
