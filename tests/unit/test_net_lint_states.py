"""Each net is checked as the solver builds it, in its phases, stages and levels; nets for use get no advice."""

from pathlib import Path

import pytest

from provision.lint.net import NetReport, lint, read
from tests.unit.test_net_lint import BODY, DATA, NORM, SOLVER, check, only

TRAIN, TEST = (DATA[: DATA.index("layer", 10)], DATA[DATA.index("layer", 10) :])
SCORE, ACCURACY, LOSS = (line + "\n" for line in BODY.strip().split("\n"))
TWO = SOLVER.replace('net: "net.prototxt"', 'train_net: "tr.prototxt" test_net: "te.prototxt"')


def folder_of(folder: Path, **files: str) -> NetReport:
    """The report on the solver among some files, whose names lack .prototxt."""
    for name, text in files.items():
        (folder / f"{name}.prototxt").write_text(text)
    return lint(folder / "solver.prototxt")


def states(path: Path) -> list[str]:
    return [str(state) for named in read(path).nets for state in named.states]


def test_a_net_for_training_and_one_for_the_test(tmp_path: Path) -> None:
    report = folder_of(tmp_path, tr=TRAIN + SCORE + LOSS, te=TEST + SCORE + ACCURACY, solver=TWO)
    assert report.findings == ()
    assert states(tmp_path / "solver.prototxt") == ["TRAIN", "TEST"]


def test_a_fault_in_the_test_net_is_found_there(tmp_path: Path) -> None:
    report = folder_of(tmp_path, tr=TRAIN + SCORE + LOSS, te=TEST + SCORE.replace('"data"', '"dta"'), solver=TWO)
    found = [(one.rule, Path(one.where).name) for one in report.findings if one.level == "error"]
    assert found == [("bottom", "te.prototxt")]


def test_a_training_and_a_test_on_one_database_in_two_files(tmp_path: Path) -> None:
    test = (TEST + SCORE + ACCURACY).replace("test_lmdb", "train_lmdb")
    found = only(folder_of(tmp_path, tr=TRAIN + SCORE + LOSS, te=test, solver=TWO), "phase")
    assert "which is trained on" in found.what and found.where.endswith("te.prototxt")


STAGED = """
layer { name: "train-data" type: "Data" top: "data" top: "label" include { stage: "train" }
        data_param { source: "/data/train_lmdb" batch_size: 4 backend: LMDB } }
layer { name: "val-data" type: "Data" top: "data" top: "label" include { stage: "val" }
        data_param { source: "/data/val_lmdb" batch_size: 4 backend: LMDB } }
layer { name: "use-data" type: "Input" top: "data" include { stage: "deploy" }
        input_param { shape { dim: 1 dim: 1 dim: 8 dim: 8 } } }
layer { name: "scale" type: "Power" bottom: "data" top: "scaled" power_param { scale: 0.1 } }
layer { name: "score" type: "InnerProduct" bottom: "scaled" top: "score" inner_product_param { num_output: 3 } }
layer { name: "accuracy" type: "Accuracy" bottom: "score" bottom: "label" top: "accuracy" include { stage: "val" } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"
        exclude { stage: "deploy" } }
layer { name: "prob" type: "Softmax" bottom: "score" top: "prob" include { stage: "deploy" } }
"""
STATES = 'train_state { stage: "train" } test_state { stage: "val" }'


def test_stages_of_the_solver(tmp_path: Path) -> None:
    report = folder_of(tmp_path, net=STAGED, solver=SOLVER + STATES)
    assert report.findings == ()
    assert states(tmp_path / "solver.prototxt") == ["TRAIN, stage train", "TEST, stage val"]


def test_stages_of_a_net_without_a_solver(tmp_path: Path) -> None:
    assert check(tmp_path, STAGED).findings == ()
    assert states(tmp_path / "net.prototxt") == ["TRAIN, stage train", "TEST, stage val", "TEST, stage deploy"]


def test_a_fault_in_one_stage_names_it(tmp_path: Path) -> None:
    net = STAGED.replace(
        'include { stage: "val" } }\nlayer { name: "loss"', 'include { stage: "vall" } }\nlayer { name: "loss"'
    )
    net = net.replace('top: "data" top: "label" include { stage: "val" }', 'top: "data" include { stage: "val" }')
    found = only(folder_of(tmp_path, net=net, solver=SOLVER + STATES), "bottom")
    assert "loss reads label, which nothing makes before it (in TEST, stage val)" in found.what
    assert "give TEST, stage val one, too" in found.mend


def test_several_test_nets_have_each_its_state_and_its_rounds(tmp_path: Path) -> None:
    more = STAGED + STAGED[STAGED.index('layer { name: "val-data"') : STAGED.index('layer { name: "use-data"')].replace(
        "val", "other"
    )
    states_of = 'train_state { stage: "train" } test_state { stage: "val" } test_state { stage: "other" } test_iter: 9'
    (tmp_path / "net.prototxt").write_text(more)
    (tmp_path / "solver.prototxt").write_text(SOLVER + states_of)
    (named,) = read(tmp_path / "solver.prototxt").nets
    assert [(str(state), state.rounds) for state in named.states] == [
        ("TRAIN, stage train", 0), ("TEST, stage val", 2), ("TEST, stage other", 9),
    ]  # fmt: skip


def test_levels(tmp_path: Path) -> None:
    side = 'layer { name: "side" type: "ReLU" bottom: "nowhere" top: "side" include { min_level: 1 } }'
    quiet = 'layer { name: "quiet" type: "Silence" bottom: "side" include { min_level: 1 } }'
    assert check(tmp_path, DATA + BODY + side + quiet, SOLVER).findings == ()
    found = only(check(tmp_path, DATA + BODY + side + quiet, SOLVER + "train_state { level: 2 }"), "bottom")
    assert "(in TRAIN, level 2)" in found.what


def test_a_state_in_the_net_itself(tmp_path: Path) -> None:
    net = STAGED.replace('stage: "train"', 'stage: "fit"') + 'state { stage: "fit" }'
    (tmp_path / "net.prototxt").write_text(net)
    (tmp_path / "solver.prototxt").write_text('net: "net.prototxt" base_lr: 1 lr_policy: "fixed" max_iter: 9')
    assert states(tmp_path / "solver.prototxt") == ["TRAIN, stage fit"]


def test_nets_inside_the_solver(tmp_path: Path) -> None:
    inside = SOLVER.replace('net: "net.prototxt"', f"net_param {{ {DATA + BODY} }}")
    assert folder_of(tmp_path, solver=inside).findings == ()
    assert only(folder_of(tmp_path, solver=inside.replace('bottom: "data"', 'bottom: "dat"')), "bottom").line > 1


def test_two_nets_to_train(tmp_path: Path) -> None:
    report = folder_of(tmp_path, net=DATA + BODY, solver=SOLVER + 'train_net: "net.prototxt"')
    assert "net and train_net both name a net to train" in [one.what for one in report.findings if one.rule == "net"]


@pytest.mark.parametrize(
    "place", ["/home/somebody/models/net.prototxt", "models/net.prototxt", "C:\\\\models\\\\net.prototxt"]
)
def test_a_net_whose_path_is_of_another_machine_is_checked_all_the_same(place: str, tmp_path: Path) -> None:
    report = check(tmp_path, DATA + BODY.replace('"score"', '"x"', 1), SOLVER.replace("net.prototxt", place))
    assert [(one.rule, one.level) for one in report.findings if one.rule == "net"] == [("net", "warning")]
    (tmp_path / "net.prototxt").write_text(DATA + BODY.replace('bottom: "data"', 'bottom: "dat"'))
    assert any(one.rule == "bottom" for one in lint(tmp_path / "solver.prototxt").findings)


# nets for use

USE = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 64 dim: 64 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 9 kernel_size: 3 } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" batch_norm_param { use_global_stats: true } }
layer { name: "prob" type: "Softmax" bottom: "conv" top: "prob" %s }
"""


@pytest.mark.parametrize("rule", ["", "include { phase: TEST }", "exclude { phase: TRAIN }"])
def test_nets_for_use_get_no_advice_on_training(rule: str, tmp_path: Path) -> None:
    assert check(tmp_path, USE % rule).findings == ()
    assert states(tmp_path / "net.prototxt") == ["TEST"]


def test_faults_in_nets_for_use_are_found(tmp_path: Path) -> None:
    assert only(
        check(tmp_path, (USE % "").replace('bottom: "conv" top: "prob"', 'bottom: "cnv" top: "prob"', 1)), "bottom"
    )
    assert only(check(tmp_path, (USE % "").replace("kernel_size: 3", "kernel_size: 99")), "shape")


def test_the_same_net_in_training_does(tmp_path: Path) -> None:
    net = DATA + NORM % ("", "", "") + BODY.replace('bottom: "data"', 'bottom: "conv"')
    assert [one.rule for one in check(tmp_path, net).findings] == ["norm", "norm"]


def test_a_file_for_the_test_alone(tmp_path: Path) -> None:
    assert check(tmp_path, TEST + SCORE + ACCURACY + LOSS).findings == ()
    assert states(tmp_path / "net.prototxt") == ["TEST"]


def test_an_accuracy_that_nobody_has_data_for(tmp_path: Path) -> None:
    found = only(check(tmp_path, TRAIN + BODY), "phase")
    assert found.level == "warning" and "accuracy is for TEST alone" in found.what


def test_an_accuracy_in_both_phases_is_meant(tmp_path: Path) -> None:
    assert check(tmp_path, DATA + BODY.replace("include { phase: TEST }", ""), SOLVER).findings == ()


def test_a_test_net_that_the_solver_never_runs_may_be_loud(tmp_path: Path) -> None:
    test = TEST + SCORE
    loud = folder_of(tmp_path, tr=TRAIN + SCORE + LOSS, te=test, solver=TWO)
    assert "output" in {one.rule for one in loud.findings}
    never = TWO.replace("test_interval: 20", "test_interval: 999999 test_initialization: false")
    quiet = folder_of(tmp_path, tr=TRAIN + SCORE + LOSS, te=test, solver=never)
    assert "output" not in {one.rule for one in quiet.findings}
