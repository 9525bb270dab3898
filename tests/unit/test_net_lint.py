"""Each rule on the smallest net that breaks it; a sound net breaks none."""

from pathlib import Path

import pytest

from infra.errors import UsageError
from provision.data.datum import Datum
from provision.data.lmdb_writer import write
from provision.lint.finding import Finding
from provision.lint.net import NetReport, lint

DATA = """
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
        data_param { source: "/data/train_lmdb" batch_size: 4 backend: LMDB } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
        data_param { source: "/data/test_lmdb" batch_size: 5 backend: LMDB } }
"""
BODY = """
layer { name: "score" type: "InnerProduct" bottom: "data" top: "score" inner_product_param { num_output: 3 } }
layer { name: "accuracy" type: "Accuracy" bottom: "score" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"""
SOLVER = """
net: "net.prototxt"
base_lr: 0.01
lr_policy: "step"
gamma: 0.1
stepsize: 50
max_iter: 100
test_iter: 2
test_interval: 20
snapshot: 50
snapshot_prefix: "net"
"""


def check(folder: Path, net: str, solver: str = "", **more: object) -> NetReport:
    (folder / "net.prototxt").write_text(net)
    if solver:
        (folder / "solver.prototxt").write_text(solver)
    return lint(folder / ("solver.prototxt" if solver else "net.prototxt"), **more)  # type: ignore[arg-type]


def only(report: NetReport, rule: str) -> Finding:
    """The one finding there is, which is of that rule."""
    assert [one.rule for one in report.findings] == [rule], report.findings
    return report.findings[0]


def test_a_sound_net_and_solver_break_no_rule(tmp_path: Path) -> None:
    report = check(tmp_path, DATA + BODY, SOLVER)
    assert report.findings == () and report.errors == 0
    assert any("--stack" in one for one in report.left_out) and any("--data" in one for one in report.left_out)


def test_both_styles_in_one_file(tmp_path: Path) -> None:
    old = 'layers { name: "quiet" type: SILENCE bottom: "label" }'
    found = only(check(tmp_path, DATA + BODY + old), "style")
    assert (found.level, found.line) == ("error", 10) and "write `layer` everywhere" in found.mend


def test_a_placeholder_in_a_path(tmp_path: Path) -> None:
    found = only(check(tmp_path, DATA.replace("/data/test", "${PATH}/test") + BODY), "placeholder")
    assert found.level == "error" and found.line == 5 and "${PATH}" in found.what


def test_a_placeholder_in_the_solver(tmp_path: Path) -> None:
    report = check(tmp_path, DATA + BODY, SOLVER.replace('prefix: "net"', 'prefix: "{{ name }}"'))
    found = only(report, "placeholder")
    assert found.line == 11 and found.where.endswith("solver.prototxt")


def test_a_bottom_that_nobody_makes_names_the_nearest(tmp_path: Path) -> None:
    report = check(tmp_path, DATA + BODY.replace('bottom: "data"', 'bottom: "dat"'))
    (found,) = [one for one in report.findings if one.level == "error"]
    assert found.rule == "bottom" and found.line == 7 and "did you mean data?" in found.mend


def test_a_layer_above_its_bottom(tmp_path: Path) -> None:
    early = """layer { name: "relu" type: "ReLU" bottom: "score" top: "out" }
    layer { name: "s" type: "Silence" bottom: "out" }"""
    found = only(check(tmp_path, DATA + early + BODY), "bottom")
    assert "put that layer above this one" in found.mend


def test_no_data_for_the_test(tmp_path: Path) -> None:
    report = check(tmp_path, DATA[: DATA.index("layer", 10)] + BODY, SOLVER)
    assert {one.rule for one in report.findings} == {"phase", "bottom"}
    assert any("no layer gives data in TEST" in one.what for one in report.findings)


def test_one_data_layer_for_both_phases(tmp_path: Path) -> None:
    both = DATA[: DATA.index("layer", 10)].replace("include { phase: TRAIN }", "")
    found = only(check(tmp_path, both + BODY, SOLVER), "phase")
    assert found.level == "warning" and "both phases" in found.what


def test_a_test_on_what_was_trained_on(tmp_path: Path) -> None:
    found = only(check(tmp_path, DATA.replace("test_lmdb", "train_lmdb") + BODY, SOLVER), "phase")
    assert "which is trained on" in found.what


PIXELS = """
layer { name: "data" type: "DummyData" top: "data" dummy_data_param { shape { dim: 1 dim: 3 dim: 500 dim: 500 } } }
layer { name: "label" type: "DummyData" top: "label" dummy_data_param { shape { dim: 1 dim: 1 dim: 500 dim: 500 } } }
layer { name: "pred" type: "Convolution" bottom: "data" top: "pred"
        convolution_param { num_output: 21 kernel_size: 1 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "pred" bottom: "label" top: "loss" include { phase: TRAIN } }
"""


def test_the_five_and_a_half_million_lines_of_a_test_are_counted(tmp_path: Path) -> None:
    report = check(tmp_path, PIXELS, SOLVER)
    assert [(one.rule, one.level, one.line) for one in report.findings] == [
        ("output", "error", 3),
        ("output", "error", 4),
    ]
    assert "250,000 numbers" in report.findings[0].what
    assert "5,250,000 numbers (1 x 21 x 500 x 500)" in report.findings[1].what
    assert "5,250,000 lines at each test, first at iteration 0" in report.findings[1].why


def test_a_vector_out_of_the_test_is_a_warning(tmp_path: Path) -> None:
    net = DATA + BODY + 'layer { name: "p" type: "Softmax" bottom: "score" top: "p" include { phase: TEST } }'
    found = only(check(tmp_path, net, given={"data": (5, 1, 2, 2)}), "output")
    assert found.level == "warning" and "15 numbers (5 x 3)" in found.what


def test_an_output_of_unknown_size_is_a_warning(tmp_path: Path) -> None:
    net = DATA + BODY + 'layer { name: "p" type: "Softmax" bottom: "score" top: "p" include { phase: TEST } }'
    assert "is not known" in only(check(tmp_path, net), "output").what


def test_a_top_that_nobody_reads(tmp_path: Path) -> None:
    net = DATA + BODY + 'layer { name: "p" type: "Softmax" bottom: "score" top: "p" include { phase: TRAIN } }'
    found = only(check(tmp_path, net), "unread")
    assert found.level == "warning" and "no layer reads p" in found.what and "Silence" in found.mend


def test_two_makers_of_one_top(tmp_path: Path) -> None:
    net = DATA + BODY.replace('top: "loss"', 'top: "data"')
    assert any(one.rule == "top" and one.level == "error" for one in check(tmp_path, net).findings)


def test_layers_of_one_name(tmp_path: Path) -> None:
    again = """layer { name: "score" type: "InnerProduct" bottom: "score" top: "s2"
    inner_product_param { num_output: %d } }"""
    tail = 'layer { name: "quiet" type: "Silence" bottom: "s2" }'
    sizes = {"data": (4, 1, 1, 3)}
    assert only(check(tmp_path, DATA + BODY + again % 3 + tail, given=sizes), "name").level == "warning"
    found = only(check(tmp_path, DATA + BODY + again % 4 + tail, given=sizes), "name")
    assert found.level == "error" and "a snapshot cannot be loaded" in found.why


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        ("Convolution", "error"),
        ("Pooling", "error"),
        ("InnerProduct", "error"),
        ("AbsVal", "error"),
        ("Split", "error"),
        ("BNLL", "warning"),
    ],
)
def test_layers_that_may_not_work_in_place(kind: str, level: str, tmp_path: Path) -> None:
    layer = f'layer {{ name: "x" type: "{kind}" bottom: "score" top: "score" }}\n'
    found = check(tmp_path, DATA + BODY.replace('layer { name: "acc', layer + 'layer { name: "acc')).findings
    assert (level, "in-place") in {(one.level, one.rule) for one in found}


def test_writing_over_what_another_layer_reads(tmp_path: Path) -> None:
    more = """layer { name: "side" type: "InnerProduct" bottom: "score" top: "side"
    inner_product_param { num_output: 3 } }
    layer { name: "relu" type: "ReLU" bottom: "score" top: "score" }
    layer { name: "sum" type: "Eltwise" bottom: "score" bottom: "side" top: "sum" }
    """
    net = DATA + BODY.split("\n")[1] + "\n" + more + "\n".join(BODY.split("\n")[2:]).replace('"score"', '"sum"')
    found = only(check(tmp_path, net), "in-place")
    assert "relu writes over score, which side reads" in found.what


def test_shapes_that_do_not_fit(tmp_path: Path) -> None:
    net = PIXELS.replace("dim: 1 dim: 1 dim: 500 dim: 500", "dim: 1 dim: 1 dim: 500 dim: 400")
    found = only(check(tmp_path, net), "label")
    assert "250,000 predictions" in found.what and "200,000 labels" in found.what
    wide = check(tmp_path, PIXELS.replace("kernel_size: 1", "kernel_size: 600"))
    assert "does not fit into 500" in only(wide, "shape").what


def test_top_five_of_three(tmp_path: Path) -> None:
    net = DATA + BODY.replace('top: "accuracy"', 'top: "accuracy" accuracy_param { top_k: 5 }')
    assert "top_k 5 of 3" in only(check(tmp_path, net, given={"data": (5, 1, 2, 2)}), "label").what


NORM = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 1 %s } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" %s }
%s
"""
SCALE = 'layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }'


@pytest.mark.parametrize(
    ("bias", "stats", "scale", "said"),
    [
        ("", "", SCALE, "has a bias, which bn takes out"),
        ("bias_term: false", "", "", "is not followed by a Scale"),
        ("bias_term: false", "batch_norm_param { use_global_stats: false }", SCALE, "own mean in TEST"),
        ("bias_term: false", "batch_norm_param { use_global_stats: true }", SCALE, "kept numbers in TRAIN"),
    ],
)
def test_the_traps_of_batch_norm(bias: str, stats: str, scale: str, said: str, tmp_path: Path) -> None:
    net = DATA + NORM % (bias, stats, scale) + BODY.replace('bottom: "data"', 'bottom: "conv"')
    assert said in only(check(tmp_path, net), "norm").what


def test_batch_norm_as_it_should_be(tmp_path: Path) -> None:
    net = DATA + NORM % ("bias_term: false", "", SCALE) + BODY.replace('bottom: "data"', 'bottom: "conv"')
    assert check(tmp_path, net).findings == ()


def test_a_training_without_a_loss(tmp_path: Path) -> None:
    report = check(tmp_path, DATA + "\n".join(BODY.split("\n")[:2]), SOLVER)
    assert ("error", "loss") in {(one.level, one.rule) for one in report.findings}


@pytest.mark.parametrize(
    ("old", "new", "rule", "said"),
    [
        ('net: "net.prototxt"', 'net: "other.prototxt"', "net", "other.prototxt is not there"),
        ('lr_policy: "step"', 'lr_policy: "stpe"', "policy", "lr_policy 'stpe'"),
        ("stepsize: 50", "", "policy", "needs stepsize"),
        ("max_iter: 100", "max_iter: 0", "number", "max_iter is 0"),
        ("max_iter: 100\n", "", "number", "max_iter is not given"),
        ("base_lr: 0.01", "base_lr: 0.01\niter_size: 0", "number", "iter_size is 0"),
        ("test_interval: 20\n", "", "test", "test_iter without test_interval"),
        ("test_iter: 2\n", "", "test", "test_interval without test_iter"),
        ("snapshot: 50\n", "", "snapshot", "no snapshot is made before the end"),
        ("snapshot: 50", "snapshot: 500", "snapshot", "more than max_iter"),
        ('prefix: "net"', 'prefix: "nowhere/net"', "snapshot", "the folder nowhere"),
    ],
)
def test_rules_of_solvers(old: str, new: str, rule: str, said: str, tmp_path: Path) -> None:
    found = [one for one in check(tmp_path, DATA + BODY, SOLVER.replace(old, new)).findings if one.rule == rule]
    assert any(said in one.what for one in found), found


def test_a_solver_that_never_tests_a_net_with_an_accuracy(tmp_path: Path) -> None:
    solver = SOLVER.replace("test_iter: 2\ntest_interval: 20\n", "")
    assert "never tests" in only(check(tmp_path, DATA + BODY, solver), "test").what


def test_steps_after_the_end(tmp_path: Path) -> None:
    solver = SOLVER.replace('"step"', '"multistep"').replace("stepsize: 50", "stepvalue: 80 stepvalue: 800")
    assert "800 is not before max_iter 100" in only(check(tmp_path, DATA + BODY, solver), "policy").what


# with data


def databases(folder: Path, train: list[int], test: list[int]) -> Path:
    for name, labels in (("train_lmdb", train), ("test_lmdb", test)):
        write(folder / "data" / name, [Datum(1, 2, 2, bytes(4), label) for label in labels])
    return folder / "data"


def test_labels_that_fit(tmp_path: Path) -> None:
    report = check(tmp_path, DATA + BODY, SOLVER, data=databases(tmp_path, [0, 1, 2] * 2, [2, 1, 0] * 3 + [0]))
    assert report.findings == ()
    assert not any("num_output" in one for one in report.left_out)


def test_a_label_beyond_the_classes_is_the_cause_of_error_77(tmp_path: Path) -> None:
    report = check(tmp_path, DATA + BODY, SOLVER, data=databases(tmp_path, [0, 1, 2, 3], [0, 1, 2, 1, 0] * 2))
    found = only(report, "label")
    assert found.level == "error" and found.line == 9
    assert "labels 3 are no class of 3" in found.what and "error 77" in found.why and "num_output to 4" in found.mend


def test_255_is_told_to_be_ignored(tmp_path: Path) -> None:
    data = databases(tmp_path, [0, 1, 2, 255], [0, 1, 2, 1, 0] * 2)
    assert "ignore_label: 255" in only(check(tmp_path, DATA + BODY, data=data), "label").mend
    net = DATA + BODY.replace('top: "loss"', 'top: "loss" loss_param { ignore_label: 255 }')
    assert check(tmp_path, net, data=data).findings == ()


def test_a_class_without_a_picture(tmp_path: Path) -> None:
    found = check(tmp_path, DATA + BODY, data=databases(tmp_path, [0, 1, 0, 1], [0, 1, 2, 1, 2])).findings
    assert [one.what for one in found] == ["loss: 1 of 3 classes have no picture (in TRAIN)"]


def test_a_test_that_leaves_pictures_out(tmp_path: Path) -> None:
    report = check(tmp_path, DATA + BODY, SOLVER, data=databases(tmp_path, [0, 1, 2], [0, 1, 2] * 5))
    found = only(report, "test")
    assert "sees 10 pictures (2 x 5), data has 15" in found.what and found.mend == "set test_iter to 3"


def test_pictures_of_two_sizes(tmp_path: Path) -> None:
    data = databases(tmp_path, [0, 1, 2], [0, 1, 2])
    write(tmp_path / "data" / "large_lmdb", [Datum(1, 3, 3, bytes(9), label) for label in (0, 1, 2)])
    found = only(check(tmp_path, DATA.replace("test_lmdb", "large_lmdb") + BODY, data=data), "shape")
    assert "1 x 2 x 2 in TRAIN and 1 x 3 x 3 in TEST" in found.what


def test_what_is_neither_a_net_nor_a_solver_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither a net nor a solver"):
        check(tmp_path, 'item { name: "none" }')
