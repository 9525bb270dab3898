"""A machine that starts itself, with the real Docker engine: the image out of S3, and the whole way to the container
and to the keeper's answer."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra import baseimage
from infra.containers import Bind, ContainerSpec, Rights
from infra.docker_engine import open_local
from infra.shell import LocalShell
from provision.files import bundle
from tests.engine.kept_kit import INSTANCE, Aws, served, upload
from tests.unit.test_guard_begin import flags_of

pytestmark = pytest.mark.engine
SHELL = LocalShell()
# the guard of a bundle, with this test's folders in the place of the machine's
_DRIVER = """
import os, sys
root, word = sys.argv[1:]
sys.path.insert(0, root + "/opt")
from guard import begin, hostkey, order, steps, watch
order.ORDER = root + "/opt/order.json"
steps.READY, steps.PROGRESS, steps.SPOOL = root + "/ready", root + "/progress", root + "/image"
hostkey.HOST_KEY, hostkey.CONSOLE, begin.TURN_S, begin.LOOK_S = root + "/host.pub", "/dev/stderr", 0.2, 0.2
begin.ORDERED_S, begin.ANSWER_S, order.BEAT_S, order.STOP_S, order.AGAIN_S = 60, 20, 0.5, 0.5, 0.2
watch.STATE, watch.SETTINGS, watch.TURN_S = root + "/state", root + "/settings", 0.3
begin.POWER_OFF = ["touch", root + "/powered-off"]
sys.exit({"begin": begin.main, "key": hostkey.main, "watch": lambda: watch.Guard().watch()}[word]())
"""
_PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
PYTHONS = [sys.executable, *map(str, sorted(_PYENV.glob("versions/3.6*/bin/python3.6"))[-1:])]
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
        self.driver = _DRIVER
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
        (self.root / "settings").write_text("")
        text = json.dumps(self.capsule).encode()
        self.aws.put(f"runs/{self.run}/capsules/{hashlib.sha256(text).hexdigest()}.json", text)
        order = {
            "run": self.run, "bucket": "bucket", "prefix": f"runs/{self.run}/", "region": "us-east-1",
            "s3": self.aws.url, "states": self.aws.url, "owner": "123456789012", "bundle": "",
            "capsule": hashlib.sha256(text).hexdigest(), "keys": f"runs/{self.run}/keys/",
        }  # fmt: skip
        (self.root / "opt/order.json").write_text(json.dumps(order))
        (self.root / "host.pub").write_text("ssh-ed25519 AAAA root@host\n")
        (self.root / "ready").touch()

    def forget_image(self) -> None:
        SHELL.run(["docker", "rmi", "-f", self.image["tag"]], check=False)

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
                [python, "-c", self.driver, str(self.root), word], env=env, stdout=log, stderr=log, cwd="/"
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
        for number in (1, 2):
            SHELL.run(["docker", "rm", "-f", "-v", f"provision-{self.run}-{number:03d}"], check=False)

    def inspect(self, number: int = 1) -> dict[str, Any]:
        name = f"provision-{self.run}-{number:03d}"
        found: list[dict[str, Any]] = json.loads(SHELL.run(["docker", "inspect", name]).out)
        return found[0]

    def until(self, what: Any) -> None:
        last = time.monotonic() + 120
        while not what():
            assert time.monotonic() < last, self.said("begin") + "".join(
                self.said("watch") for _ in [0] if (self.root / "watch.log").exists()
            )
            time.sleep(0.1)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """An image with a layer of its own, in a bucket's folder; what a capsule says of it."""
    baseimage.ensure("debian:bookworm")
    name, folder = f"provision-test-kept:{uuid.uuid4().hex[:8]}", tmp_path_factory.mktemp("bucket")
    text = f"FROM debian:bookworm\nRUN head -c 3000000 /dev/urandom > /blob && echo {name} > /name\n"
    SHELL.run(["docker", "build", "--tag", name, "-"], stdin=text.encode())
    try:
        yield folder, upload(Aws(folder, ""), name, folder)
    finally:
        SHELL.run(["docker", "rmi", "-f", name], check=False)


@pytest.fixture
def machine(tmp_path: Path, stored: tuple[Path, dict[str, str]]) -> Iterator[Machine]:
    folder, image = stored
    for name in ("runs", "guard"):
        (tmp_path / name).mkdir()
    shutil.copytree(folder, tmp_path / "s3", copy_function=os.link)
    with served(tmp_path / "s3") as aws:
        made = Machine(tmp_path, aws, image)
        made.boot()
        try:
            yield made
        finally:
            made.end()


@pytest.mark.parametrize("python", PYTHONS, ids=["this", "3.6"][: len(PYTHONS)])
def test_from_its_order_to_the_keepers_answer(machine: Machine, python: str) -> None:
    """The image comes out of S3 though a blob breaks off; the training is kept, stopped through S3, and told of."""
    machine.forget_image()
    blobs = json.loads((machine.aws.folder / machine.image["index"]).read_text())["blobs"]
    largest = max(blobs, key=lambda blob: int(blob.get("packed", 0)))
    machine.aws.cut.append(largest["key"])
    assert machine.start("key", python).wait(60) == 0, machine.said("key")
    process = machine.start("begin", python)
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
    assert machine.aws.answers() == [{"state": "stopped", "reason": "", "iteration": 7, "free": False, "left": 0}]
    assert json.loads((machine.aws.folder / f"runs/{machine.run}/state.json").read_text())["state"] == "stopped"
    assert {value["taskToken"] for _, value in machine.aws.said} == {"token"}
    assert not (machine.root / "powered-off").exists()


@pytest.mark.parametrize("damaged", [False, True], ids=["whole", "newest damaged"])
def test_it_goes_on_with_what_the_run_has_in_s3(machine: Machine, damaged: bool) -> None:
    """Snapshot, code and trained weights come by their sums, and of the code nothing that its index does not name; a
    snapshot that is damaged gives way to an older one."""
    base = f"runs/{machine.run}"
    for at in (5, 6):
        place, text = f"{base}/snapshots/{at:09d}-001/", f"model {at}".encode()
        digest = hashlib.sha256(text).hexdigest()
        machine.aws.put(f"{place}n_{at}.m", text if at == 5 or not damaged else text[::-1])
        files = [{"path": f"snapshots/n_{at}.m", "size": len(text), "sha256": digest, "name": f"n_{at}.m"}]
        machine.aws.put(f"{place}complete.json", json.dumps({"files": files}).encode())
    code = b"print('mine')"
    copy = f"{base}/inputs/project-{'a' * 16}"
    machine.aws.put(f"{copy}/net/layer.py", code)
    machine.aws.put(f"{copy}/net/planted.py", b"print('somebody')")
    row = {"path": "net/layer.py", "size": len(code), "sha256": hashlib.sha256(code).hexdigest()}
    index = json.dumps([row]).encode()
    machine.aws.put(f"{copy}.json", index)
    machine.aws.put("files/net.caffemodel", b"weights")
    machine.capsule["inputs"] = [
        {"kind": "project", "bucket": "bucket", "owner": "", "prefix": f"{copy}/",
         "folder": f"{machine.root}/sets/p", "copy": f"{machine.root}/code", "sum": hashlib.sha256(index).hexdigest()},
    ]  # fmt: skip
    machine.capsule["weights"] = [
        {"url": f"{machine.aws.url}/bucket/files/net.caffemodel", "mirrors": [], "size": 7, "sha1": "",
         "sha256": hashlib.sha256(b"weights").hexdigest(), "path": f"{machine.root}/weights/w/net.caffemodel"},
    ]  # fmt: skip
    machine.boot()
    machine.order(number=2)
    machine.begin()
    log = machine.root / f"runs/{machine.run}/log/attempt-002.txt"
    at = 5 if damaged else 6
    machine.until(lambda: log.exists() and f"model {at}" in log.read_text())
    assert log.read_text().startswith(f"from snapshots/n_{at}\n")
    assert (machine.root / "code/net/layer.py").read_bytes() == code
    assert [path.name for path in (machine.root / "code/net").iterdir()] == ["layer.py"]
    assert (machine.root / "weights/w/net.caffemodel").read_bytes() == b"weights"
    assert json.loads((machine.root / f"guard/{machine.run}/plan.json").read_text())["resumed_from"] == at
    assert machine.inspect(2)["Config"]["Labels"]["provision.attempt"] == "2"


@pytest.mark.parametrize(
    "trouble", ["a blob is gone", "a blob is damaged", "the index is gone", "the bootstrap failed"]
)
def test_what_cannot_be_is_told_and_the_machine_ends(machine: Machine, trouble: str) -> None:
    machine.forget_image()
    blobs = json.loads((machine.aws.folder / machine.image["index"]).read_text())["blobs"]
    path = machine.aws.folder / max(blobs, key=lambda blob: int(blob.get("packed", 0)))["key"]
    said = "a part of the image cannot be had from S3 (404)"
    if trouble == "a blob is gone":
        path.unlink()
    elif trouble == "a blob is damaged":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.unlink()  # the file is other tests' too
        path.write_bytes(data)
        said = "a part of the image in S3 is damaged"
    elif trouble == "the index is gone":
        (machine.aws.folder / machine.image["index"]).unlink()
        said = "the image's index cannot be had from S3 (404)"
    else:
        (machine.root / "ready").unlink()
        (machine.root / "progress").write_text("docker: 20.10\nfailed: nvidia: no driver answers\n")
        said = "the machine could not be prepared: nvidia: no driver answers"
    machine.order()
    machine.begin()
    assert machine.aws.answers() == [{"state": "unready", "why": said}]
    assert (machine.root / "powered-off").exists()
    assert SHELL.run(["docker", "image", "inspect", machine.image["tag"]], check=False).code != 0
    assert not (machine.root / f"guard/{machine.run}/plan.json").exists()


def test_killed_while_the_image_comes_it_goes_on_with_what_it_had(machine: Machine) -> None:
    machine.forget_image()
    machine.order()
    (machine.root / "ready").unlink()  # Docker is not there yet: what came stays
    process = machine.start("begin")
    blobs = json.loads((machine.aws.folder / machine.image["index"]).read_text())["blobs"]
    total = sum(int(blob.get("packed", 0)) for blob in blobs)
    folder = machine.root / "image"
    machine.until(lambda: folder.exists() and sum(path.stat().st_size for path in folder.iterdir()) == total)
    process.kill()
    process.wait()
    machine.aws.asked.clear()
    (machine.aws.folder / f"runs/{machine.run}/control/{INSTANCE}").unlink()  # the order was noted
    (machine.root / "ready").touch()
    machine.begin()
    assert machine.inspect()["State"]["Status"] == "running"
    assert not [one for one in machine.aws.asked if one.startswith("images/blobs/")]
    machine.begin()  # and once more changes nothing
    assert machine.said("begin").count("attempt 1 trains") == 1


def test_a_machine_that_nobody_ordered_ends_itself(machine: Machine) -> None:
    driver = _DRIVER.replace("begin.ORDERED_S, begin.ANSWER_S", "begin.ORDERED_S, begin.ANSWER_S, _").replace(
        "= 60, 20, 0.5", "= 1, 20, 0, 0.5"
    )
    machine.driver = driver
    machine.begin()
    assert (machine.root / "powered-off").exists()
    assert machine.aws.said == []


def test_stopped_before_its_container_it_is_stopped(machine: Machine) -> None:
    machine.aws.put(f"runs/{machine.run}/control/stop", b"somebody")
    machine.order()
    machine.begin()
    assert SHELL.run(["docker", "inspect", machine.name], check=False).code != 0
    machine.start("watch")
    machine.until(machine.aws.answers)
    assert machine.aws.answers() == [{"state": "stopped", "reason": "", "iteration": 0, "free": False, "left": 0}]


def test_its_container_is_the_one_that_a_laptop_starts(machine: Machine) -> None:
    """Whatever the engine says of both: by the host's words out of a capsule, and by the product's engine."""
    work = machine.root / f"runs/{machine.run}"
    (machine.root / "data").mkdir()
    about = (machine.root / "runs").stat()
    spec = ContainerSpec(
        name=machine.name, image=machine.image["tag"], user=f"{about.st_uid}:{about.st_gid}",
        command=("sh", "-c", 'exec "$@" >> "$LOG" 2>&1', "sh", "sleep", "600"),
        binds=(Bind(str(work), "/work"), Bind(f"{machine.root}/data", "/data", read_only=True)),
        labels={"provision.run": machine.run, "provision.attempt": "1", "provision.gpus": "",
                "provision.image": machine.image["id"]},
        environment={"A": "b c", "LOG": "log/attempt-001.txt"}, ports=(18765,), stop_signal="SIGINT",
        rights=Rights(("SYS_NICE",), 100),
    )  # fmt: skip
    machine.capsule["container"] = {
        "flags": flags_of(spec), "image": machine.image["tag"], "command": ["sleep", "600"], "resumed": [],
        "environment": {"HOME": "/tmp", "A": "b c"},
    }  # fmt: skip
    machine.boot()
    machine.order()
    machine.begin()
    ours = told(machine.inspect())
    SHELL.run(["docker", "rm", "-f", machine.name])
    open_local().run(spec)
    assert ours == told(machine.inspect())


def told(found: dict[str, Any]) -> dict[str, Any]:
    """What the engine says of a container, without what differs from one to the next of the same kind."""
    config, host = found["Config"], found["HostConfig"]
    binds = [
        {key: one[key] for key in ("Type", "Source", "Destination", "RW", "Propagation")} for one in found["Mounts"]
    ]
    left = {key: value for key, value in host.items() if key not in ("Binds", "Mounts", "ConsoleSize")}
    # two names of one thing; and the SDK declares each folder that it binds as a volume of the image, too
    left["RestartPolicy"] = left["RestartPolicy"]["Name"].replace("no", "")
    left["CapAdd"] = [name.replace("CAP_", "") for name in host["CapAdd"]]
    shown = {
        key: value
        for key, value in config.items()
        if key not in ("Hostname", "AttachStdout", "AttachStderr", "Volumes")
    }
    shown["Env"] = sorted(config["Env"])
    empty = (None, "", 0, [], {}, False)  # what one client says and the other leaves out
    return {
        "path": [found["Path"], *found["Args"]], "binds": sorted(binds, key=str),
        "host": {key: value for key, value in left.items() if value not in empty},
        "config": {key: value for key, value in shown.items() if value not in empty},
    }  # fmt: skip


def snapshots(machine: Machine) -> list[int]:
    """Those in S3 by the guard's own notes: state.json is written but each minute."""
    note = machine.root / f"guard/{machine.run}/note-001.json"
    found: list[int] = json.loads(note.read_text())["snapshots"] if note.exists() else []
    return found
