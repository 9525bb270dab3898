"""The whole story as `make demo` tells it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.cloud, pytest.mark.usefixtures("image")]


def test_the_demo(tmp_path: Path) -> None:
    """The story as `make demo` tells it, with its own checks, and the log read here once more."""
    words = [sys.executable, "-m", "provision", "demo", "--out", str(tmp_path / "demo")]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NOT SO" not in done.stdout
    assert "AWS itself took the first machine, in its first hour and so for nothing, and its" in done.stdout
    log = (tmp_path / "demo" / "results" / "log.txt").read_text()
    before, after = re.split(r"Resuming from \S+_iter_\d+", log)
    [resumed] = re.findall(r"Resuming from \S+_iter_(\d+)", log)
    last = max(int(at) for at in re.findall(r"Iteration (\d+) \(", before))
    first = int(re.findall(r"Iteration (\d+) \(", after)[0])
    assert 0 < int(resumed) == first
    assert last <= first <= last + 1
    accuracies = [float(value) for value in re.findall(r"accuracy = ([\d.]+)", after)]
    assert accuracies[-1] >= 0.95
    assert (tmp_path / "demo" / "training.png").read_bytes().startswith(b"\x89PNG")
    left = subprocess.run(
        ["docker", "ps", "-aq", "--filter", "label=provision.local=demo"], capture_output=True, text=True, check=True
    )
    assert left.stdout == ""
