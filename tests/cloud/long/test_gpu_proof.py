"""The proof of the GPUs in the image itself, with real containers; the GPUs and the image's Caffe are stand-ins."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from images.build import LABEL
from images.choose import parse
from images.render import render
from tests.cloud.support import Laptop

pytestmark = [pytest.mark.cloud, pytest.mark.usefixtures("image")]

ROW = "caffe:cuda11.8-cudnn8.7-debian12"
WORKS = 'for id in $(echo "$NVIDIA_VISIBLE_DEVICES" | tr , " "); do echo "Device id:   $id"; done'
FAILS = "echo 'Check failed: error == cudaSuccess (35 vs. 0)  CUDA driver version is insufficient'; exit 134"


@pytest.fixture
def image_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Makes an image that passes for one with CUDA; its `caffe device_query` is the given line of shell."""

    def make(line: str) -> str:
        mark = f"{abs(hash(line)):x}"[:12].rjust(12, "0")
        tag = f"provision/{ROW}-{mark}"
        base = render(parse("caffe-debian")).tag
        text = (
            f"FROM {base}\nUSER root\nLABEL {LABEL}={mark}\nCOPY --chmod=755 caffe /usr/local/bin/caffe\nUSER trainer\n"
        )
        (tmp_path / "Dockerfile").write_text(text)
        (tmp_path / "caffe").write_text(f"#!/bin/sh\n{line}\n")
        subprocess.run(["docker", "buildx", "build", "--load", "-q", "-t", tag, str(tmp_path)], check=True)
        request.addfinalizer(lambda: subprocess.run(["docker", "rmi", "-f", tag], capture_output=True))
        return tag

    return make


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A training that does nothing but say so."""
    place = tmp_path / "project"
    (place / "recipes" / "shout").mkdir(parents=True)
    (place / "shout.sh").write_text("touch result.txt; echo trained\n")
    (place / "recipes" / "shout" / "recipe.yaml").write_text(
        f"name: shout\nabout: a user's own\nstack: {ROW}\ncommand: [sh, /project/shout.sh]\noutputs: [result.txt]\n"
    )
    return place


def test_gpus_are_proven_once_and_a_failure_starts_nothing(
    laptop: Laptop, image_of: Callable[[str], str], project: Path
) -> None:
    laptop.ok("up", "--instance", "p3.8xlarge", "--name", "gpus")
    words = ("train", "shout", "--on", "gpus", "--project", str(project))
    works, fails = image_of(WORKS), image_of(FAILS)

    first = laptop.run(*words, "--image", works)
    assert first.returncode == 0, first.stderr
    assert re.search(r"the image finds its 4 GPUs \(driver [\d.]+\)", first.stderr)
    again = laptop.run(*words, "--image", works)
    assert again.returncode == 0, again.stderr
    assert "the image finds" not in again.stderr

    done = laptop.run(*words, "--image", fails)
    assert done.returncode == 13, done.stderr
    assert "cannot train on gpus: it finds 0 of its 4 GPUs" in done.stderr
    assert "CUDA driver version is insufficient" in done.stderr
    assert "Traceback" not in done.stderr
    containers = laptop.ok("ssh", "gpus", "--", "docker ps -a --format '{{.Image}} {{.Names}}'").splitlines()
    assert not [line for line in containers if fails in line or "proof" in line]
