"""A machine that starts itself, with the real Docker engine: the image out of S3, and the whole way to the container
and to the keeper's answer."""

import hashlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra import baseimage
from infra.shell import LocalShell
from provision.files import bundle
from tests.engine.kept_kit import INSTANCE, Aws, served, upload

pytestmark = pytest.mark.engine
SHELL = LocalShell()
# the guard of a bundle, with this test's folders in the place of the machine's
_DRIVER = """
import os, sys
root, word = sys.argv[1:]
sys.path.insert(0, root + "/opt")
from guard import begin, order, steps, watch
order.ORDER = root + "/opt/order.json"
steps.READY, steps.PROGRESS, steps.SPOOL = root + "/ready", root + "/progress", root + "/image"
begin.HOST_KEY, begin.TURN_S, begin.LOOK_S = root + "/host.pub", 0.2, 0.2
begin.ORDERED_S, begin.ANSWER_S, order.BEAT_S, order.STOP_S, order.AGAIN_S = 60, 20, 0.5, 0.5, 0.2
watch.STATE, watch.SETTINGS, watch.TURN_S = root + "/state", root + "/settings", 0.3
begin.POWER_OFF = ["touch", root + "/powered-off"]
begin.main() if word == "begin" else watch.Guard().watch()
"""
PYTHON_36 = Path("/root/.pyenv/versions/3.6.15/bin/python")
PYTHONS = [sys.executable] + ([str(PYTHON_36)] if os.access(PYTHON_36, os.X_OK) else [])
TRAINER = """
echo "from ${1:-nothing}" # the log's first line
trap 'echo saved; exit 0' INT
[ -z "$1" ] || cat "$1.m"
echo model > snapshots/n_7.m
n=0
while [ $n -lt ${SECONDS_:-1200} ]; do sleep 0.1; n=$((n + 1)); done
"""


class Machine:
    """One machine's folders and its run, and a world to talk to."""

    def __init__(self, root: Path, aws: Aws, image: dict[str, str]) -> None:
        self.root, self.aws, self.image = root, aws, image
        self.run = f"r{uuid.uuid4().hex[:8]}"
        self.capsule = {
            "version": 1, "id": self.run, "name": "one", "image": image,
            "files": {"log/": "", "snapshots/": "", "train.sh": TRAINER}, "inputs": [], "weights": [],
            "container": {
                "flags": [
                    "--init", "--cap-drop", "ALL", "--workdir", "/work", "--label", f"provision.run={self.run}",
                    "--mount", f"type=bind,source={root}/runs/{self.run},target=/work",
                ],
                "image": image["tag"], "command": ["sh", "train.sh"], "resumed": ["sh", "train.sh", "@SNAPSHOT@"],
                "environment": {"HOME": "/tmp"},
            },
            "gpus": 0, "proof": None,
            "plan": {
                "id": self.run, "snapshots": {"pattern": r"snapshots/n_(?P<iteration>\d+)\.(?P<part>m)",
                "parts": ["m"], "keep": 0}, "stop": {"signal": "SIGINT", "timeout": 5, "said": "saved"},
                "outputs": ["out.txt"], "push_seconds": 1,
            },
            "chosen": [], "stem": {"pattern": r"snapshots/n_(?P<iteration>\d+)\.(?P<part>m)", "parts": ["m"]},
        }  # fmt: skip
        self.processes: list[subprocess.Popen[bytes]] = []

    @property
    def name(self) -> str:
        return f"provision-{self.run}-001"

    def boot(self) -> None:
        """The user data's files, the bundle's, a host key, and a bootstrap that is done."""
        import io
        import tarfile

        with tarfile.open(fileobj=io.BytesIO(bundle.pack()[1])) as tar:
            tar.extractall(self.root / "opt")
        text = json.dumps(self.capsule).encode()
        self.aws.put(f"runs/{self.run}/capsule.json", text)
        order = {
            "run": self.run, "bucket": "bucket", "prefix": f"runs/{self.run}/", "region": "us-east-1",
            "s3": self.aws.url, "states": self.aws.url, "owner": "123456789012", "bundle": "",
            "capsule": hashlib.sha256(text).hexdigest(),
        }  # fmt: skip
        (self.root / "opt/order.json").write_text(json.dumps(order))
        (self.root / "host.pub").write_text("ssh-ed25519 AAAA root@host\n")
        (self.root / "ready").touch()

    def order(self, number: int = 1, token: str = "token") -> None:
        self.aws.put(
            f"runs/{self.run}/control/{INSTANCE}", json.dumps({"number": f"{number:03d}", "token": token}).encode()
        )

    def start(self, word: str, python: str = sys.executable) -> "subprocess.Popen[bytes]":
        env = {
            "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PROVISION_RUNS": f"{self.root}/runs",
            "PROVISION_GUARD": f"{self.root}/guard", "PROVISION_IMDS": f"{self.aws.url}/latest/",
        }  # fmt: skip
        with (self.root / f"{word}.log").open("ab") as log:
            process = subprocess.Popen(
                [python, "-c", _DRIVER, str(self.root), word], env=env, stdout=log, stderr=log, cwd="/"
            )
        self.processes.append(process)
        return process

    def begin(self, python: str = sys.executable) -> str:
        """Run `begin` to its end; its words."""
        assert self.start("begin", python).wait(300) == 0, self.said("begin")
        return self.said("begin")

    def said(self, word: str) -> str:
        return (self.root / f"{word}.log").read_text()

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        SHELL.run(["docker", "rm", "-f", "-v", self.name], check=False)

    def inspect(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(SHELL.run(["docker", "inspect", self.name]).out)
        return found[0]

    def until(self, what: Any) -> None:
        last = time.monotonic() + 120
        while not what():
            assert time.monotonic() < last, self.said("begin") + "".join(
                self.said("watch") for _ in [0] if (self.root / "watch.log").exists()
            )
            time.sleep(0.1)


@pytest.fixture(scope="module")
def tag() -> Iterator[str]:
    """An image with a layer of its own."""
    baseimage.ensure("debian:bookworm")
    name = f"provision-test-kept:{uuid.uuid4().hex[:8]}"
    text = f"FROM debian:bookworm\nRUN head -c 3000000 /dev/urandom > /blob && echo {name} > /name\n"
    SHELL.run(["docker", "build", "--tag", name, "-"], stdin=text.encode())
    yield name
    SHELL.run(["docker", "rmi", "-f", name], check=False)


@pytest.fixture
def machine(tmp_path: Path, tag: str) -> Iterator[Machine]:
    for folder in ("runs", "guard", "s3"):
        (tmp_path / folder).mkdir()
    with served(tmp_path / "s3") as aws:
        made = Machine(tmp_path, aws, upload(aws, tag, tmp_path))
        made.boot()
        try:
            yield made
        finally:
            made.end()


@pytest.mark.parametrize("python", PYTHONS, ids=["this Python", "3.6"][: len(PYTHONS)])
def test_from_its_order_to_the_keepers_answer(machine: Machine, tag: str, python: str) -> None:
    """The image comes out of S3 though a blob breaks off; the training is kept, stopped through S3, and told of."""
    SHELL.run(["docker", "rmi", "-f", tag])
    blobs = json.loads((machine.aws.folder / machine.image["index"]).read_text())["blobs"]
    largest = max(blobs, key=lambda blob: int(blob.get("packed", 0)))
    machine.aws.cut.append(largest["key"])
    process = machine.start("begin", python)
    machine.until(lambda: f"runs/{machine.run}/keys/{INSTANCE}" in machine.aws.held())
    machine.order()
    assert process.wait(300) == 0, machine.said("begin")
    assert machine.inspect()["State"]["Status"] == "running", machine.said("begin")
    assert machine.inspect()["Image"] == machine.image["id"]
    assert len([one for one in machine.aws.asked if one.startswith(largest["key"])]) == 2
    assert not (machine.root / "image").exists()
    assert (machine.aws.folder / f"runs/{machine.run}/keys/{INSTANCE}").read_text() == "ssh-ed25519 AAAA"

    machine.start("watch", python)
    machine.until(lambda: 7 in snapshots(machine))
    beats = len([one for one in machine.aws.said if one[0] == "SendTaskHeartbeat"])
    machine.until(lambda: len([one for one in machine.aws.said if one[0] == "SendTaskHeartbeat"]) > beats + 1)
    machine.aws.put(f"runs/{machine.run}/control/stop", b"somebody")
    machine.until(machine.aws.answers)
    assert machine.aws.answers() == [{"state": "stopped", "reason": "", "iteration": 7, "free": False}]
    assert json.loads((machine.aws.folder / f"runs/{machine.run}/state.json").read_text())["state"] == "stopped"
    assert {value["taskToken"] for _, value in machine.aws.said} == {"token"}
    assert not (machine.root / "powered-off").exists()


def snapshots(machine: Machine) -> list[int]:
    """Those in S3 by the guard's own notes: state.json is written but each minute."""
    note = machine.root / f"guard/{machine.run}/note-001.json"
    found: list[int] = json.loads(note.read_text())["snapshots"] if note.exists() else []
    return found
