"""The recipe `digits`, as far as it can be held against something without running Caffe."""

from pathlib import Path

import pytest

from provision.data import PREPARERS
from provision.logs.failures import explain
from provision.recipes.loading import load, names
from provision.recipes.rendering import render
from provision.recipes.spec import complete_snapshots

DATA = Path(__file__).parent.parent / "data"


def log(name: str) -> list[str]:
    return (DATA / f"digits-{name}.log").read_text().splitlines()


def test_every_recipe_of_ours_loads_and_renders() -> None:
    for name in names():
        recipe = load(name)
        assert recipe.name == name
        assert not recipe.data or recipe.data in PREPARERS
        assert render(recipe).files and render(recipe, gpus=2).files


def test_solver_runs_where_it_is_told() -> None:
    recipe = load("digits")
    on_cpu, on_gpus = render(recipe), render(recipe, gpus=2)
    assert "solver_mode: CPU" in on_cpu.files["solver.prototxt"]
    assert "solver_mode: GPU" in on_gpus.files["solver.prototxt"]
    assert on_cpu.command == ("caffe", "train", "-solver", "solver.prototxt")
    assert on_gpus.command == (*on_cpu.command, "-gpu", "0,1")


def test_options_reach_the_files() -> None:
    made = render(load("digits"), {"iterations": 77, "batch": 9, "random_seed": 5, "learning_rate": 0.5})
    solver = made.files["solver.prototxt"].splitlines()
    assert {"max_iter: 77", "random_seed: 5", "base_lr: 0.5"} <= set(solver)
    assert 'source: "/data/train_lmdb" batch_size: 9' in made.files["net.prototxt"]


def test_files_are_what_the_real_log_was_made_with() -> None:
    """Caffe prints the solver that it read: a template that changes asks for new logs in tests/data."""
    said = set(log("interrupted"))
    solver = render(load("digits")).files["solver.prototxt"].splitlines()
    assert {line for line in solver if line.split(":")[0] in ("max_iter", "base_lr", "snapshot", "solver_mode")} <= said


def test_snapshots_of_the_real_log_are_seen() -> None:
    paths = [line.split(" file ")[1] for line in log("interrupted") if "Snapshotting" in line]
    found = complete_snapshots(load("digits"), paths)
    assert [one.iteration for one in found] == [300, 600, 680]
    resumed = render(load("digits")).resumed(found[-1].stem)
    assert resumed[-2:] == ("-snapshot", "snapshots/digits_iter_680.solverstate")


def test_the_word_for_an_early_end_is_in_the_real_log() -> None:
    said = load("digits").stop.said
    assert any(said in line for line in log("interrupted"))
    assert not any(said in line for line in log("resumed"))


@pytest.mark.parametrize(
    ("name", "mend"), [("no-gpu", "--gpus 0"), ("no-data", "provision data digits"), ("diverged", "learning_rate")]
)
def test_real_failures_are_explained(name: str, mend: str) -> None:
    found = explain(load("digits").failures, log(name))
    assert found is not None and mend in found.mend


@pytest.mark.parametrize(
    "line",
    [
        "F1 syncedmem.cpp:71] Check failed: error == cudaSuccess (2 vs. 0)  out of memory",
        "F1 math.cu:2] Check failed: error == cudaSuccess (209 vs. 0)  no kernel image is available for execution",
        "F1 common.cpp:1] Check failed: error == cudaSuccess (35 vs. 0)  CUDA driver version is insufficient for CUDA",
        "I1 solver.cpp:239] Iteration 40 (5 iter/s, 2s/10 iters), loss = 87.3365 (* 1 = 87.3365 loss)",
    ],
)
def test_failures_that_need_a_gpu_are_explained_from_their_words(line: str) -> None:
    assert explain(load("digits").failures, [line]) is not None


def test_good_logs_show_no_failure() -> None:
    assert explain(load("digits").failures, log("interrupted") + log("resumed")) is None
