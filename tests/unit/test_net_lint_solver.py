"""Solvers: their types and what these refuse, who says how long, test nets and their states."""

from pathlib import Path

import pytest

from tests.unit.test_net_lint import BODY, DATA, SOLVER, check, only


@pytest.mark.parametrize(
    ("added", "said", "mend"),
    [
        ('type: "ADAM"', "the solver's type is 'ADAM'", 'write type: "Adam"'),
        ('type: "sgd"', "the solver's type is 'sgd'", 'write type: "SGD"'),
        ('type: "RMSprop"', "the solver's type is 'RMSprop'", 'write type: "RMSProp"'),
        ('type: "Adagrd"', "the solver's type is 'Adagrd'", "did you mean AdaGrad"),
        ("solver_type: Adam", "solver_type is 'Adam'", "ADAM"),
        ('solver_type: "ADAM"', "solver_type is 'ADAM'", "ADAM"),
        ("solver_type: 6", "solver_type is 6", ""),
        ('solver_type: ADAM type: "Adam"', "both given", "leave solver_type out"),
        ('type: "AdaGrad" momentum: 0.9', "AdaGrad with momentum 0.9", "leave momentum out"),
        ("solver_type: RMSPROP momentum: 0.9", "RMSProp with momentum 0.9", "leave momentum out"),
        ('type: "RMSProp" rms_decay: 1', "rms_decay is 1", "below 1"),
    ],
)
def test_types_that_caffe_stops_for(added: str, said: str, mend: str, tmp_path: Path) -> None:
    found = only(check(tmp_path, DATA + BODY, SOLVER + added), "solver")
    assert found.level == "error" and said in found.what and mend in found.mend and found.line == 12


@pytest.mark.parametrize(
    "added", ['type: "Adam" momentum: 0.9', "solver_type: ADADELTA", "solver_type: 5", 'type: "RMSProp"']
)
def test_types_that_are_there(added: str, tmp_path: Path) -> None:
    assert check(tmp_path, DATA + BODY, SOLVER + added).findings == ()


def test_no_max_iter_where_python_may_drive(tmp_path: Path) -> None:
    python = 'layer { name: "data" type: "Python" top: "data" top: "label" python_param { module: "m" layer: "L" } }'
    without = SOLVER.replace("max_iter: 100\n", "")
    assert only(check(tmp_path, DATA + BODY, without), "number").level == "error"
    found = only(check(tmp_path, python + BODY, without), "number")
    assert found.level == "warning" and "a Python program may say how many" in found.why


def test_a_solver_that_only_tests(tmp_path: Path) -> None:
    found = only(check(tmp_path, DATA + BODY, SOLVER.replace("max_iter: 100", "max_iter: 0")), "number")
    assert found.level == "warning" and "Caffe trains nothing" in found.why


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "test_iter: 2",
            'test_net: "net.prototxt" test_net: "net.prototxt" test_iter: 2',
            "1 test_iter for 2 test nets",
        ),
        ("test_iter: 2", "test_iter: 2 test_iter: 3 test_state { }", "1 test_state for 2 test_iter"),
        ('net: "net.prototxt"', 'train_net: "net.prototxt"', "test_iter without a test_net"),
    ],
)
def test_test_nets_and_their_numbers(old: str, new: str, said: str, tmp_path: Path) -> None:
    found = [one for one in check(tmp_path, DATA + BODY, SOLVER.replace(old, new)).findings if one.rule == "test"]
    assert [said in one.what for one in found] == [True] and found[0].level == "error"


def test_a_policy_of_a_fork(tmp_path: Path) -> None:
    solver = SOLVER.replace('"step"', '"multifixed"')
    found = only(check(tmp_path, DATA + BODY, solver), "policy")
    assert found.level == "warning" and "Intel's Caffe" in found.what


def test_a_python_program_that_steps_the_solver_saves_and_tests_by_itself(tmp_path: Path) -> None:
    python = 'layer { name: "data" type: "Python" top: "data" top: "label" python_param { module: "m" layer: "L" } }'
    solver = 'train_net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" snapshot: 0'
    assert only(check(tmp_path, python + BODY, solver), "number").level == "warning"


@pytest.mark.parametrize(
    ("old", "new", "said", "mend"),
    [
        ("max_iter: 100", "max_iter: 1e2", "max_iter is 100.0, no whole number", "write max_iter: 100"),
        ("max_iter: 100", "max_iter: 3000000000", "beyond what an integer holds", "smaller"),
        ("stepsize: 50", "stepsize: 50.0", "stepsize is 50.0, no whole number", "write stepsize: 50"),
        ("stepsize: 50", "stepsize: 0", "stepsize is 0", "write stepsize"),
        ("base_lr: 0.01", 'base_lr: "0.01"', 'base_lr is "0.01", no number', "without quotes"),
        ("base_lr: 0.01", "base_lr: -0.01", "base_lr is -0.01", "0.01"),
        ("base_lr: 0.01", "base_lr: 0.01 base_lr: 0.1", "base_lr stands twice", "keep one"),
        ('"step"', "step", "lr_policy is step without quotes", '"step"'),
        ("base_lr: 0.01", "base_lr: 0.01 momentum: 9", "momentum is 9", "momentum: 0.9"),
        (
            "base_lr: 0.01",
            'base_lr: 0.01 weight_decay: 0.1 regularization_type: "L3"',
            "regularization_type is 'L3'",
            "L2",
        ),
        ("base_lr: 0.01", "base_lr: 0.01 solver_mode: gpu", "solver_mode is gpu", "write solver_mode: GPU"),
        ("base_lr: 0.01", "base_lr: 0.01 debug_info: yes", "debug_info is yes", "true"),
    ],
)
def test_values_that_caffe_refuses_or_that_spoil_the_training(
    old: str, new: str, said: str, mend: str, tmp_path: Path
) -> None:
    (found,) = check(tmp_path, DATA + BODY, SOLVER.replace(old, new)).findings
    assert found.level == "error" and said in found.what and mend in found.mend


def test_a_learning_rate_of_nothing_is_a_warning(tmp_path: Path) -> None:
    found = only(check(tmp_path, DATA + BODY, SOLVER.replace("base_lr: 0.01", "base_lr: 0")), "number")
    assert found.level == "warning" and "learns nothing" in found.why


def test_a_path_with_a_line_end_in_it_is_shown_as_it_was_written(tmp_path: Path) -> None:
    solver = SOLVER.replace('"net.prototxt"', '"C:\\net.prototxt"')
    found = next(one for one in check(tmp_path, DATA + BODY, solver).findings if one.rule == "net")
    assert r"C:\net.prototxt" in found.what and "\n" not in found.what and "write /" in found.mend
