"""The whole bootstrap in a folder of its own, with stand-ins for the scripts that it calls and for systemd."""

import json
import os
import stat
from pathlib import Path

import pytest

from infra.host import script
from infra.shell import LocalShell

FOLDERS = ("/run/provision", "/var/lib/provision", "/opt/provision", "/data", "/etc/docker", "/dev/console")
CGROUPFS = "native.cgroupdriver=cgroupfs"
NOTE = 'echo "{} $*" >> {}/calls'


class Host:
    def __init__(self, root: Path, **settings: str) -> None:
        self.root = root
        self.settings(**settings)
        self.sub("engine.sh", "echo engine: installing docker.io")
        self.sub("nvidia.sh", "echo nvidia: 4 GPUs, driver 535.1")
        for name in ("systemctl", "systemd-run", "chown", "usermod", "mountpoint", "sleep"):
            self.fake(name, NOTE.format(name, root))
        self.fake("docker", 'case "$1" in info) echo cgroupfs;; *) echo 20.10;; esac')
        self.fake("journalctl", "echo KeyError: bucket")
        (root / "dev").mkdir()

    def settings(self, **more: str) -> None:
        known = {"gpus": "4", "driver": "''", "toolkit_repository": "http://r", "toolkit_key": "K", "kept": "0", **more}
        self.text("opt/provision/settings", "".join(f"{name}={value}\n" for name, value in known.items()))

    def text(self, path: str, text: str) -> Path:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)
        return self.root / path

    def fake(self, name: str, body: str) -> None:
        self.text(f"bin/{name}", f"#!/bin/sh\n{body}\n").chmod(0o755)

    def sub(self, name: str, body: str) -> None:
        """One of the scripts that it calls; its call is noted."""
        self.text(f"opt/provision/{name}", f"{NOTE.format(name, self.root)}\n{body}\n")

    def boot(self) -> list[str]:
        """The progress that the user is shown."""
        text = script("bootstrap.sh")
        for folder in FOLDERS:
            text = text.replace(folder, f"{self.root}{folder}")
        text = text.replace("> " + f"{self.root}/dev/console", ">> " + f"{self.root}/dev/console")  # a file, here
        LocalShell().run(["sh", "-c", text], check=False, env={"PATH": f"{self.root}/bin:{os.environ['PATH']}"})
        return (self.root / "run/provision/progress").read_text().splitlines()

    def calls(self, of: str) -> list[str]:
        lines = (self.root / "calls").read_text().splitlines()
        return [line.removeprefix(f"{of} ").strip() for line in lines if line.startswith(f"{of} ")]

    @property
    def ready(self) -> bool:
        return (self.root / "var/lib/provision/ready").exists()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_it_shows_each_step_and_is_ready_at_the_end(host: Host) -> None:
    assert host.boot() == [
        "engine: installing docker.io",
        "docker: 20.10",
        "nvidia: 4 GPUs, driver 535.1",
        "end: armed",
        "ready",
    ]
    assert host.calls("engine.sh") == ["--no-buildx"]
    assert host.calls("nvidia.sh") == ["4  http://r K"]
    assert "enable -q --now provision-guard.service" in host.calls("systemctl")
    assert host.calls("systemctl")[-1] == "enable -q --now provision-idle.timer"
    assert host.ready
    assert not host.calls("systemd-run")


def test_a_machine_without_gpus_needs_no_driver(tmp_path: Path) -> None:
    host = Host(tmp_path, gpus="0")
    assert host.boot()[-1] == "ready"
    assert host.calls("nvidia.sh") == []


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("engine.sh", "echo E: sorry >&2; echo engine: no Docker engine answers >&2; exit 21", "engine: no Docker"),
        ("nvidia.sh", "echo nvidia: the driver 535 does not work >&2; exit 30", "nvidia: the driver 535 does not work"),
        ("nvidia.sh", "exit 7", "exit code 7 near: nvidia"),
    ],
)
def test_what_fails_is_the_last_line_and_the_machine_is_not_ready(host: Host, name: str, body: str, said: str) -> None:
    host.text("var/lib/provision/ready", "")  # of the machine that this image was made of
    host.sub(name, body)
    assert host.boot()[-1].startswith(f"failed: {said}")
    assert not host.ready
    assert not [call for call in host.calls("systemctl") if "idle" in call]
    [failed] = host.calls("systemd-run")
    assert "--on-active=10min" in failed and failed.endswith("systemctl start provision-unready.service")


def test_the_console_tells_what_happens_and_the_last_errors_where_nobody_can_log_in(host: Host) -> None:
    host.sub("engine.sh", "echo engine: installing; echo E: no network >&2; echo engine: no engine >&2; exit 21")
    host.boot()
    assert (host.root / "dev/console").read_text().splitlines() == [
        "provision: engine: installing",
        "provision: failed: engine: no engine",
        "E: no network",
        "engine: no engine",
    ]


def test_a_machine_without_an_end_is_not_ready(host: Host) -> None:
    host.fake("systemctl", 'case "$*" in *is-active*"provision-deadline*"*) exit 3;; esac')
    assert host.boot()[-1] == "failed: no end of this machine is armed"
    assert not host.ready


def test_docker_makes_the_cgroups_itself_and_what_else_it_was_told_stays(host: Host) -> None:
    host.boot()
    assert json.loads((host.root / "etc/docker/daemon.json").read_text()) == {"exec-opts": [CGROUPFS]}
    assert "restart docker" not in host.calls("systemctl")
    host.text("etc/docker/daemon.json", '{"log-level": "warn", "exec-opts": ["native.cgroupdriver=systemd"]}')
    host.fake("docker", "echo systemd")  # an image that has Docker, which runs
    host.boot()
    known = json.loads((host.root / "etc/docker/daemon.json").read_text())
    assert known == {"log-level": "warn", "exec-opts": [CGROUPFS]}
    assert "restart docker" in host.calls("systemctl")


def test_only_root_gets_at_what_root_believes(host: Host) -> None:
    host.text("var/lib/provision/guard/run/plan.json", "{}")
    (host.root / "var/lib/provision/guard").chmod(0o777)
    host.boot()
    assert stat.S_IMODE((host.root / "var/lib/provision/guard").stat().st_mode) == 0o700
    lib = f"{host.root}/var/lib/provision"
    assert host.calls("chown") == [f"root:root {lib}", f"provision:provision {host.root}/data {lib}/runs"]


def test_a_machine_that_starts_itself_begins_beside_its_bootstrap_and_any_other_does_not(host: Host) -> None:
    host.boot()
    assert not [call for call in host.calls("systemctl") if "attempt" in call]
    (host.root / "calls").unlink()
    host.settings(kept="1")
    assert host.boot()[-2:] == ["end: armed", "ready"]
    calls = host.calls("systemctl")
    begun = calls.index("enable -q --now --no-block provision-attempt.service")
    assert begun < calls.index("enable -q --now provision-guard.service")
    assert (host.root / "calls").read_text().index("attempt.service") < (host.root / "calls").read_text().index(
        "engine.sh"
    )


def test_a_second_run_comes_to_the_same(host: Host) -> None:
    first = host.boot()
    assert host.boot() == first + first
