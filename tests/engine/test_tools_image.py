"""The image `tools`: our own source in it does to data what it does here."""

import hashlib
import json
import subprocess
import time
from pathlib import Path

import pytest

from images.build import Image, build
from images.check import check
from images.choose import choose
from infra.shell import LocalShell
from provision.data.digits import prepare
from tests.engine.security import overlooked

pytestmark = pytest.mark.engine
SHELL = LocalShell()


@pytest.fixture(scope="module")
def tools() -> Image:
    return build(choose("tools"), SHELL)


def docker(image: Image, *words: str, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
    mount = ["--volume", f"{folder}:/data"] if folder else []
    command = ["docker", "run", "--rm", "--network", "none", "--user", "12345:12345", *mount, image.tag, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_every_check_passes_in_it(tools: Image) -> None:
    results = check(tools, SHELL)
    assert [one.name for one in results] == ["user", "tools-digits", "tools-modules"]
    assert all(one.ok for one in results), results
    assert tools.size < 900e6


def test_nothing_in_it_is_behind_a_security_fix() -> None:
    assert overlooked(lambda: build(choose("tools"), SHELL)) == []


def test_it_makes_the_same_bytes_as_this_machine(tools: Image, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    done = docker(tools, "provision", "data", "digits", "/data/there", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["test"] == 359
    here = prepare(tmp_path / "here")
    sums = [hashlib.sha256((folder / "train_lmdb/data.mdb").read_bytes()).hexdigest()
            for folder in (here, tmp_path / "there")]  # fmt: skip
    assert sums[0] == sums[1]
    assert (tmp_path / "there").stat().st_uid == 12345


def test_what_is_half_made_goes_when_it_is_stopped(tools: Image, tmp_path: Path) -> None:
    """docker stop sends SIGINT, which is Ctrl-C to Python."""
    tmp_path.chmod(0o777)
    line = "import time; from provision.files.whole import atomic_folder; from pathlib import Path\n"
    line += "with atomic_folder(Path('/data/set')): Path('/data/begun').touch(); time.sleep(60)"
    words = ["docker", "run", "--detach", "--rm", "--init", "--user", "12345:12345", "--volume", f"{tmp_path}:/data",
             tools.tag, "/opt/provision/venv/bin/python", "-c", line]  # fmt: skip
    name = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    until = time.monotonic() + 30
    while not (tmp_path / "begun").exists() and time.monotonic() < until:
        time.sleep(0.2)
    subprocess.run(["docker", "stop", "--time", "20", name], capture_output=True, check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["begun"]


def test_a_wrong_word_is_one_message_there_too(tools: Image) -> None:
    done = docker(tools, "provision", "data", "get", "voc2013")
    assert done.returncode == 2
    assert done.stderr.startswith("provision: there is no data set 'voc2013'")
