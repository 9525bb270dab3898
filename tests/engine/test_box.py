"""Boxes for real: files are the user's own, what was installed is kept by a commit, and nothing is left behind."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.shell import LocalShell
from provision.hosts import box

pytestmark = pytest.mark.engine
SHELL = LocalShell()
UID = str(os.getuid())


def provision(*words: str, code: int = 0) -> str:
    done = subprocess.run([sys.executable, "-m", "provision", *words], capture_output=True, text=True, timeout=1200)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def name() -> Iterator[str]:
    one = f"t{uuid.uuid4().hex[:8]}"
    yield one
    SHELL.run(["docker", "rm", "-f", "-v", box.container(one)], check=False)
    SHELL.run(["docker", "volume", "rm", "-f", box.home(one)], check=False)
    SHELL.run(["docker", "rmi", f"{one}-image:1"], check=False)


@pytest.mark.timeout(1200)
def test_a_box_from_up_to_rm(name: str, tmp_path: Path) -> None:
    dry = provision("box", "up", name, "--volume", f"{tmp_path}:/work", "--dry-run")
    assert dry.startswith("docker run --detach")
    said = provision("box", "up", name, "--gpus", "0", "--volume", f"{tmp_path}:/work", "--port", "18999:8999")
    assert f"go in: provision box exec {name}" in said

    provision("box", "exec", name, "--", "sh", "-c", "id -u > /work/who; echo kept > ~/note")
    assert (tmp_path / "who").read_text().strip() == UID
    assert (tmp_path / "who").stat().st_uid == os.getuid()
    assert "caffe version" in provision("box", "exec", name, "--", "caffe", "--version")
    assert provision("box", "exec", name, "--", "sh", "-c", "exit 7", code=7) == ""

    provision("box", "exec", "--root", name, "--", "sh", "-c", "echo '#!/bin/sh\necho mine' > /usr/local/bin/mine; "
              "chmod 755 /usr/local/bin/mine")  # fmt: skip
    assert "there is a box" in provision("box", "up", name, code=2)
    assert "is stopped" in provision("box", "stop", name) + provision("box", "exec", name, code=2)
    provision("box", "start", name)
    assert provision("box", "exec", name, "--", "mine") == "mine\n"

    image = f"{name}-image:1"
    assert "sha256:" in provision("box", "commit", name, image)
    provision("box", "rm", "--keep-home", name)
    provision("box", "up", name, "--gpus", "0", "--image", image)
    assert provision("box", "exec", name, "--", "sh", "-c", "mine; cat ~/note") == "mine\nkept\n"
    (row,) = [one for one in json.loads(provision("box", "ls", "--json")) if one["name"] == name]
    assert (row["image"], row["status"]) == (image, "running")

    provision("box", "rm", name)
    assert "there is no box" in provision("box", "exec", name, code=14)
    assert SHELL.run(["docker", "volume", "ls", "-q", "-f", f"name={box.home(name)}"]).out == ""


def test_a_user_that_the_image_does_not_know_has_a_name_and_can_write_at_home(name: str) -> None:
    from provision.hosts import image as runimage

    box.start(SHELL, box.BoxSpec(name, runimage.obtain("caffe-debian").tag, "4321:4322"))
    done = SHELL.run(
        box.exec_words(name, ["sh", "-c", "whoami && touch ~/x && stat -c %u:%g ~/x && python3 -c 'import caffe'"])
    )
    assert done.out.split() == ["box", "4321:4322"]
