"""A box that shows windows, on a real X server whose cookie is of another host's name."""

import hashlib
import os
import subprocess
import time
from pathlib import Path

import pytest

from infra import baseimage, buildx
from infra.shell import LocalShell
from provision.hosts.x_display import SOCKETS
from tests.engine.host_kit import Machine, machine
from tests.engine.test_box import name, provision

pytestmark = [pytest.mark.engine, pytest.mark.long]
__all__ = ["name"]

_X = """FROM debian:bookworm
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends xvfb xauth x11-utils \\
 && rm -rf /var/lib/apt/lists/*
"""
X = f"provision-test-x:{hashlib.sha256(_X.encode()).hexdigest()[:12]}"


@pytest.fixture(scope="module", autouse=True)
def image() -> None:
    if buildx.inspect(LocalShell(), X) is None:
        baseimage.ensure("debian:bookworm")
        LocalShell().run(["docker", "build", "--tag", X, "-"], stdin=_X.encode())


def end(laptop: Machine, number: int) -> None:
    lock = f"/tmp/.X{number}-lock"
    laptop.sh(f"rm -f /cookie; [ ! -e {lock} ] || kill $(cat {lock}); while [ -e {lock} ]; do sleep 0.1; done")


def serve(laptop: Machine, number: int, home: Path) -> None:
    """A display with a new cookie, such as a login makes; the laptop's user has the cookie at `home`."""
    end(laptop, number)
    laptop.run(["sh", "-c", f"xauth -q -f /cookie add laptop/unix:{number} . $(mcookie)"])
    words = ["docker", "exec", "--detach", laptop.where, "Xvfb", f":{number}", "-auth", "/cookie"]
    LocalShell().run([*words, "-screen", "0", "416x303x24"])
    until = time.monotonic() + 30
    while laptop.sh(f"XAUTHORITY=/cookie xdpyinfo -display :{number}").code:
        assert time.monotonic() < until, "no X server"
        time.sleep(0.2)
    laptop.get("/cookie", home / ".Xauthority")


def test_a_boxs_windows_come_to_this_laptops_display(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = 100 + os.getpid() % 800
    monkeypatch.setenv("DISPLAY", f":{number}")
    monkeypatch.setenv("XAUTHORITY", str(tmp_path / ".Xauthority"))
    with machine(X, "--init", "--hostname", "laptop", "--volume", f"{SOCKETS}:{SOCKETS}") as laptop:
        serve(laptop, number, tmp_path)
        provision("box", "up", name, "--gpus", "0", "--image", X, "--x11")
        assert "416x303" in provision("box", "exec", name, "--", "xdpyinfo")

        # the laptop's own file opens nothing in there: its cookie is of the laptop's name
        box = f"provision-box-{name}"
        subprocess.run(["docker", "cp", "-q", str(tmp_path / ".Xauthority"), f"{box}:/theirs"], check=True)
        refused = provision("box", "exec", "--root", name, "--", "env", "XAUTHORITY=/theirs", "xdpyinfo", code=1)
        assert "unable to open display" in refused

        provision("box", "stop", name)
        serve(laptop, number, tmp_path)
        provision("box", "start", name)
        assert "416x303" in provision("box", "exec", name, "--", "xdpyinfo")
        assert "600 " in provision("box", "exec", name, "--", "stat", "-c", "%a %n", "/home/box/.Xauthority")
        end(laptop, number)
        assert not (Path(SOCKETS) / f"X{number}").exists()
