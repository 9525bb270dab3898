"""What is taken out of a machine before an image of it is made: the script on a folder that stands for its disk."""

import os
import shutil
from pathlib import Path

import pytest

from infra.host import script
from infra.shell import LocalShell, Result

OWN = (
    "etc/ssh/ssh_host_ed25519_key",
    "home/provision/.ssh/authorized_keys",
    "home/provision/.bash_history",
    "root/.ssh/authorized_keys",
    "var/lib/provision/ready",
    "var/lib/provision/guard/digits-1/plan.json",
    "var/lib/provision/runs/.gpu-proof",
    "var/lib/provision/guard/digits-1/plan.json",
    "var/lib/provision/image/00001-layer.gz",
    "opt/provision/order.json",
    "var/lib/systemd/timers/stamp-provision-deadline.timer",
    "data/sets/mnist/data.mdb",
    "data/code/digits-1/net.py",
)
SHARED = (
    "etc/ssh/sshd_config",
    "etc/systemd/system/provision-deadline.timer",
    "etc/systemd/system/timers.target.wants/other.timer",
    "home/provision/tools/mine.py",
    "data/mine.txt",
)
LINK = "etc/systemd/system/timers.target.wants/provision-deadline.timer"
FSTAB = "UUID=1 / ext4 defaults 0 1\nUUID=2 /volumes/data ext4 noatime,nofail 0 2\n"


class Host:
    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "root"
        for path in (*OWN, *SHARED):
            self.text(path, path)
        self.text("etc/machine-id", "0123\n")
        self.text("etc/fstab", FSTAB)
        self.text(LINK, "").unlink()
        (self.root / LINK).symlink_to("/etc/systemd/system/provision-deadline.timer")
        self.fake("docker", 'case "$*" in "ps --filter"*) ;; *) echo "docker $*" >> "$LOG";; esac')
        self.fake("cloud-init", 'echo "cloud-init $*" >> "$LOG"')

        self.fake("systemctl", 'echo "systemctl $*" >> "$LOG"')
        self.fake("journalctl", 'echo "journalctl $*" >> "$LOG"; exit 1')
        self.fake("systemd-run", 'echo "systemd-run $*" >> "$LOG"')

    def text(self, path: str, text: str) -> Path:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)
        return self.root / path

    def fake(self, name: str, body: str) -> None:
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def clean(self, verb: str) -> Result:
        env = {
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}", "ROOT": str(self.root),
            "ASIDE": f"{self.folder}/aside.tar", "LOG": f"{self.folder}/log",
        }  # fmt: skip
        return LocalShell().run(["sh", "-s", verb], stdin=script("clean.sh").encode(), env=env, check=False)

    def has(self, path: str) -> bool:
        return os.path.lexists(self.root / path)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_what_is_its_own_goes_and_the_rest_stays(host: Host) -> None:
    assert host.clean("clean").code == 0
    assert [path for path in (*OWN, LINK) if host.has(path)] == []
    assert [path for path in SHARED if not host.has(path)] == []
    assert (host.root / "etc/machine-id").read_text() == ""
    assert "volumes" not in (host.root / "etc/fstab").read_text()
    assert "cloud-init clean --logs --seed" in (host.folder / "log").read_text()


def test_undo_lets_us_in_again(host: Host) -> None:
    host.clean("clean")
    assert host.clean("undo").code == 0
    for path in ("etc/ssh/ssh_host_ed25519_key", "home/provision/.ssh/authorized_keys", "var/lib/provision/ready"):
        assert (host.root / path).read_text() == path
    assert (host.root / LINK).is_symlink()
    assert (host.root / "etc/machine-id").read_text() == "0123\n"
    assert (host.root / "etc/fstab").read_text() == FSTAB


def test_undo_without_a_clean_does_nothing(host: Host) -> None:
    assert host.clean("undo").code == 0
    assert [path for path in (*OWN, *SHARED) if not host.has(path)] == []


KEPT = ("data/.hidden/list.txt", "data/weights/0123/net.caffemodel", "var/log/syslog", "run/provision/progress")


def test_of_a_machine_that_nobody_logs_in_to_all_data_goes_and_docker_stops(host: Host) -> None:
    for path in KEPT:
        host.text(path, "what a training left")
    assert host.clean("kept").code == 0
    assert not [path for path in (*OWN, *KEPT[:2], "data/mine.txt", LINK) if host.has(path)]
    assert (host.root / "var/log/syslog").read_text() == ""
    assert host.has("run/provision/clean"), "the guard waits for it"
    said = (host.folder / "log").read_text().splitlines()
    end, stop = (next(at for at, line in enumerate(said) if word in line) for word in ("--on-active", "docker.service"))
    quiet, clean = said.index("journalctl --relinquish-var"), said.index("cloud-init clean --logs --seed")
    assert end < quiet < clean < stop, "it has an end before anything is taken away"
    assert said[end].endswith("systemctl start --no-block provision-deadline.service")
    assert "provision-unready.timer" in said[stop], "a machine that is not ready would end"


@pytest.mark.parametrize("fails", ["systemd-run", "systemctl", "cloud-init"])
def test_one_that_could_not_be_cleaned_does_not_say_so(host: Host, fails: str) -> None:
    host.text("run/provision/progress", "ready")
    host.fake(fails, "exit 3")
    assert host.clean("kept").code != 0
    assert not host.has("run/provision/clean")


def test_a_kept_machine_in_use_gets_no_end(host: Host) -> None:
    host.text("run/provision/unfinished", "digits-1\n")
    assert host.clean("kept").code == 41
    assert not (host.folder / "log").exists()


def test_a_second_time_is_refused_as_it_is_not_ready_any_more(host: Host) -> None:
    host.clean("clean")
    assert host.clean("clean").code == 40
    assert host.clean("undo").code == 0
    assert host.has("etc/ssh/ssh_host_ed25519_key"), "what was put aside is lost"


@pytest.mark.parametrize("verb", ["look", "clean"])
def test_a_machine_in_use_is_not_touched(host: Host, verb: str) -> None:
    host.fake("docker", 'case "$*" in "ps --filter"*) echo digits-1;; esac')
    done = host.clean(verb)
    assert (done.code, done.err.strip()) == (41, "a training runs: digits-1")
    host.fake("docker", "")
    host.text("run/provision/unfinished", "digits-1\n")
    done = host.clean(verb)
    assert (done.code, done.err.strip()) == (41, "a training is being saved")
    assert [path for path in (*OWN, *SHARED, LINK) if not host.has(path)] == []


def test_looking_changes_nothing(host: Host) -> None:
    before = sorted(path for path in host.root.rglob("*"))
    assert host.clean("look").code == 0
    assert sorted(path for path in host.root.rglob("*")) == before


def test_a_machine_without_homes_or_runs_is_cleaned_too(host: Host) -> None:
    shutil.rmtree(host.root / "home")
    shutil.rmtree(host.root / "root")
    shutil.rmtree(host.root / "var/lib/provision/runs")
    assert host.clean("clean").code == 0
