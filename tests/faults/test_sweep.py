"""The whole sweep, in processes of its own: it forks, which a process with threads must not."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
AT_LEAST = {"up": 150, "down": 240, "up again": 50, "extend": 20, "train": 20, "stop": 20}
ON_MACHINES = 20

# What `down` asks for that AWS also does by itself when the instance goes or the group is deleted. No fault can show
# that they are missing, as long as AWS keeps its word.
SECOND = {
    "RevokeSecurityGroupIngress",
    "CancelSpotInstanceRequests",
    "DeleteNetworkInterface",
    "DeleteVolume",
}


def sweep(*words: str, to: Path) -> list[dict[str, Any]]:
    """Each fault's outcome; its lines are shown."""
    subprocess.run([sys.executable, "-m", "tests.faults.sweep", "--json", str(to), *words], cwd=ROOT)
    assert to.exists(), "the sweep could not begin"
    found: list[dict[str, Any]] = json.loads(to.read_text(encoding="utf-8"))["tried"]
    return found


@pytest.mark.timeout(2400)
def test_no_fault_leaves_anything_or_launches_twice(tmp_path: Path) -> None:
    tried = sweep(to=Path(os.environ.get("FAULTS_FILE", tmp_path / "faults.json")))
    assert [one for one in tried if one["wrong"]] == []
    reached = [one for one in tried if one["reached"]]
    for step, least in AT_LEAST.items():
        assert sum(one["fault"]["step"] == step for one in reached) >= least, step
    assert sum(one["part"] == "machines" for one in reached) >= ON_MACHINES
    assert {one["fault"]["step"] for one in reached if one["part"] == "crowd"} == {"up", "down"}


@pytest.mark.timeout(900)
def test_a_clean_up_that_is_taken_out_turns_the_sweep_red(tmp_path: Path) -> None:
    tried = sweep("--take-out", to=tmp_path / "out.json")
    left = {(one["part"], one["fault"]["without"]) for one in tried}
    red = {(one["part"], one["fault"]["without"]) for one in tried if one["wrong"]}
    green = left - red
    assert {("edge", "TerminateInstances"), ("machines", "TerminateInstances"), ("crowd", "DeleteRole")} <= red
    assert {("training", "plan"), ("training", "DeleteRolePolicy")} <= red
    assert green <= {("edge", one) for one in SECOND}
