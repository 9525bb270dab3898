"""Who makes the next attempt, and how a program is told: what runs in a job, without Slurm."""

import ast
import importlib
import json
import signal
import sys
from pathlib import Path
from types import ModuleType

import pytest

import infra
from infra.cluster.objects import Objects
from infra.cluster.program import Program
from provision.engines.slurm import bundle

ORDER = {"run": "r", "cluster": "campus", "made_by": "alice@laptop 1"}


@pytest.fixture
def claim(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module as it lies on a cluster, with the guard's beside it."""
    monkeypatch.syspath_prepend(str(Path(infra.__file__).parent / "host"))
    before = set(sys.modules)
    yield importlib.import_module("infra.cluster.claim")  # type: ignore[misc]
    for name in set(sys.modules) - before:
        if name.split(".")[0] == "guard" or name == "infra.cluster.claim":
            del sys.modules[name]


def _attempt(store: Objects, number: int, job: str, state: str = "running") -> None:
    store.write(f"runs/r/attempts/{number:03d}.json", json.dumps({"launch": job, "resumed_from": 0}).encode())
    store.write("runs/r/state.json", json.dumps({"state": state, "attempt": number}).encode())


@pytest.mark.parametrize(
    ("job", "state", "answer", "number"),
    [
        ("7", "running", (0, "RUNNING"), 2),  # this very job, queued again
        ("6", "running", (0, "RUNNING"), 0),  # another one works
        ("6", "running", (0, "COMPLETING"), 0),  # its program may still write
        ("6", "running", (0, ""), 2),  # it is gone
        ("6", "running", (1, "slurm_load_jobs error: Invalid job id specified"), 2),
        ("6", "interrupted", (0, "RUNNING"), 2),  # it has said its last word
        ("6", "starting", (0, "PENDING"), 2),
    ],
)
def test_of_all_jobs_of_a_run_one_works(
    claim: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: str, state: str, answer: tuple[int, str],
    number: int,
) -> None:  # fmt: skip
    store = Objects(str(tmp_path))
    _attempt(store, 1, job, state)
    assert bool(claim.busy(store, "r", 1, "7", lambda words: answer)) == (number == 0)


def test_a_number_is_one_attempts_and_says_what_it_went_on_from(
    claim: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    monkeypatch.setenv("SLURM_JOB_GPUS", "0,3")
    store = Objects(str(tmp_path))
    assert claim.claim(store, ORDER, "7", 0, False) == 1
    assert claim.claim(store, ORDER, "7", 400, False) == 2
    found = json.loads((tmp_path / "runs/r/attempts/002.json").read_text())
    assert (found["number"], found["resumed_from"], found["instance"], found["gpus"]) == (2, 400, "slurm-7.2", [0, 3])
    assert claim.superseded(store, "r", 1) and not claim.superseded(store, "r", 2)


@pytest.mark.parametrize("text", ["-1", "0", "1", "nonsense", ""])
def test_what_a_program_writes_as_its_number_tells_nobody_else(tmp_path: Path, text: str) -> None:
    program = Program.__new__(Program)
    program.pid_file = str(tmp_path / ".pid")
    Path(program.pid_file).write_text(text)
    assert not program.signal(signal.SIGCONT)


def test_what_runs_on_a_cluster_is_python_3_6_and_comes_whole() -> None:
    digest, found = bundle.contents()
    assert {"cluster/__main__.py", "cluster/runner.py", "guard/run.py", "guard/__main__.py"} <= set(found)
    for text in found.values():
        ast.parse(text, feature_version=(3, 6))
    assert bundle.contents()[0] == digest
