"""A development container on a machine, from `up` to `rm`, and what `ls` knows of it."""

import json
from collections.abc import Iterator

import pytest

from tests.cloud.support import Emulator, Laptop, rented

pytestmark = [pytest.mark.cloud, pytest.mark.usefixtures("image")]


@pytest.fixture(scope="module")
def host(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    with rented(emulator, tmp_path_factory.mktemp("boxes"), "bench") as one:
        yield one


def boxes(host: Laptop) -> dict[str, str]:
    """As `provision ls` tells, which asks AWS and not the machine."""
    (row,) = json.loads(host.ok("ls", "--json"))
    found: dict[str, str] = row["boxes"]
    return found


def test_a_box_on_a_machine_has_its_gpus_is_kept_and_is_gone(host: Laptop) -> None:
    on = ("--on", "bench")
    asked = ("box", "up", "dev", *on, "--volume", "/data/shared:/shared")
    refused = host.run(*asked, "--gpus", "5")
    assert (refused.returncode, "there are 4 GPUs, not 5" in refused.stderr) == (2, True)
    assert host.run(*asked, "--x11").returncode == 2
    assert boxes(host) == {}

    host.ok("ssh", "bench", "--", "sudo install -d -o provision /data/shared")
    assert "go in: provision box exec dev --on bench" in host.ok(*asked, "--gpus", "2")
    assert list(boxes(host)) == ["dev"]

    line = "tr '\\0' '\\n' < /proc/1/environ | sed -n s/NVIDIA_VISIBLE_DEVICES=//p; id -u; touch /shared/x"
    seen = host.ok("box", "exec", "dev", *on, "--", "sh", "-c", line)
    owner = host.ok("ssh", "bench", "--", "id -u; stat -c %u /data/shared/x").split()
    assert seen.split() == ["0,1", owner[0]]
    assert owner[0] == owner[1] != "0"
    done = host.run("box", "exec", "dev", *on, "--", "sh", "-c", "echo oh >&2; exit 7")
    assert done.returncode == 7

    host.ok("box", "exec", "--root", "dev", *on, "--", "touch", "/usr/local/bin/mine")
    assert "which was running" in host.ok("box", "stop", "dev", *on)
    assert "box dev is stopped" in host.run("box", "exec", "dev", *on, "--", "true").stderr
    host.ok("box", "start", "dev", *on)
    assert "my-caffe:1 is sha256:" in host.ok("box", "commit", "dev", "my-caffe:1", *on)
    host.ok("box", "up", "second", *on, "--image", "my-caffe:1", "--gpus", "0")
    assert host.ok("box", "exec", "second", *on, "--", "ls", "/usr/local/bin/mine").strip() == "/usr/local/bin/mine"
    assert boxes(host)["second"] == "my-caffe:1"

    for name in ("dev", "second"):
        host.ok("box", "rm", name, *on)
    assert boxes(host) == {}
    assert json.loads(host.ok("box", "ls", *on, "--json")) == []
    left = "docker ps -aq; docker volume ls -q"
    assert host.ok("ssh", "bench", "--", left) == ""
