"""Machines for the host's own scripts: containers, with systemd in them where that is asked for."""

import hashlib
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra import baseimage, buildx
from infra.host import script
from infra.shell import LocalShell, Result
from tests.engine.test_hostsetup import CAPS, OPEN, Inside

_SYSTEMD = """FROM debian:bookworm
RUN apt-get update \\
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends systemd systemd-sysv dbus \\
 && rm -rf /var/lib/apt/lists/* && useradd provision \\
 && systemctl mask getty.target console-getty.service systemd-networkd.service systemd-udevd.service \\
      systemd-udev-trigger.service systemd-timesyncd.service systemd-resolved.service \\
      apt-daily.timer apt-daily-upgrade.timer
STOPSIGNAL SIGRTMIN+3
CMD ["sh", "-c", "mount -o remount,rw /sys/fs/cgroup; for f in /sys/fs/cgroup /sys/fs/cgroup/*/; do \\
mount -o remount,bind,rw $f; done; exec /sbin/init"]
"""
SYSTEMD = f"provision-test-systemd:{hashlib.sha256(_SYSTEMD.encode()).hexdigest()[:12]}"


class Machine(Inside):
    """A container that is a host."""

    def sh(self, text: str) -> Result:
        return self.run(["sh", "-c", text], check=False)

    def write(self, path: str, text: str, mode: str = "644") -> None:
        self.run(["sh", "-c", f'mkdir -p "$(dirname {path})"; cat > {path}; chmod {mode} {path}'], stdin=text.encode())

    def fake(self, name: str, body: str) -> None:
        """A program of this name that comes before the real one."""
        self.write(f"/usr/local/bin/{name}", f"#!/bin/sh\n{body}\n", "755")

    def script(self, name: str, *words: str) -> Result:
        """Run a script as it is sent to hosts."""
        return self.run(["sh", "-c", script(name), name, *words], check=False)

    @property
    def runs(self) -> bool:
        words = ["docker", "inspect", "--format", "{{json .State}}", self.where]
        state: dict[str, object] = json.loads(LocalShell().run(words).out)
        return state["Status"] == "running"

    def ends_within(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while self.runs and time.monotonic() < until:
            time.sleep(0.2)
        return not self.runs


@contextmanager
def machine(image: str = "debian:bookworm", *options: str) -> Iterator[Machine]:
    """A container that waits; it is removed at the end."""
    baseimage.ensure("debian:bookworm")
    name = f"provision-test-host-{uuid.uuid4().hex[:8]}"
    words = [] if image == SYSTEMD else ["tail", "-f", "/dev/null"]
    shell = LocalShell()
    try:
        shell.run(["docker", "run", "--detach", "--name", name, *options, image, *words])
        yield Machine(name)
    finally:
        shell.run(["docker", "rm", "--force", "--volumes", name], check=False)


@contextmanager
def booted() -> Iterator[Machine]:
    """A machine with systemd and without any network."""
    if buildx.inspect(LocalShell(), SYSTEMD) is None:
        baseimage.ensure("debian:bookworm")
        LocalShell().run(["docker", "build", "--tag", SYSTEMD, "-"], stdin=_SYSTEMD.encode())
    options = [
        "--network=none",
        "--cgroupns=private",
        "--device-cgroup-rule",
        "a *:* rwm",
        "--tmpfs=/run:exec,mode=755",
    ]
    options += [f"--cap-add={cap}" for cap in (*CAPS.split(), "SYS_BOOT", "SYS_TTY_CONFIG", "LEASE")]
    options += [f"--security-opt={option}" for option in OPEN] + ["--tmpfs=/run:exec,mode=755"]
    with machine(SYSTEMD, *options) as made:
        wait_for_systemd(made)
        yield made


def wait_for_systemd(made: Machine) -> None:
    until = time.monotonic() + 60
    while made.sh("systemctl is-system-running").out.strip() not in ("running", "degraded"):
        assert time.monotonic() < until, "systemd does not come up"
        time.sleep(0.3)


def put(made: Machine, *names: str) -> None:
    """Scripts and units at their places, as cloud-init would."""
    for name in names:
        folder = "/etc/systemd/system" if Path(name).suffix in (".service", ".timer") else "/opt/provision"
        made.write(f"{folder}/{name}", script(name))
