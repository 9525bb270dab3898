"""Nets and solvers of earlier Caffes in today's words, each field as Caffe's own tools move it."""

import os
from pathlib import Path

import pytest

from infra.errors import UsageError
from provision.cli import run
from provision.net import graph, upgrade
from provision.net.shapes import infer
from provision.net.text import Message, parse, write

V0 = """
name: "first"
input: "data"  # comments
input_dim: 2 input_dim: 3 input_dim: 9 input_dim: 9
layers {
  layer { name: "pad1" type: "padding" pad: 2 }
  bottom: "data" top: "padded"
}
layers {
  layer {
    name: "c1" type: "conv" num_output: 4 kernelsize: 3 stride: 2 group: 1 biasterm: true
    weight_filler { type: "gaussian" std: 0.5 }
    blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0
  }
  bottom: "padded" top: "c1"
}
layers { layer { name: "n1" type: "lrn" local_size: 3 alpha: 0.5 beta: 0.75 } bottom: "c1" top: "n1" }
layers { layer { name: "p1" type: "pool" pool: AVE kernelsize: 2 stride: 2 } bottom: "n1" top: "p1" }
layers { layer { name: "d1" type: "dropout" dropout_ratio: 0.25 } bottom: "p1" top: "p1" }
layers { layer { name: "ip" type: "innerproduct" num_output: 5 biasterm: false } bottom: "p1" top: "ip" }
layers { layer { name: "loss" type: "softmax_loss" kernelsize: 3 } bottom: "ip" bottom: "label" top: "loss" }
"""
V0_NEW = """
name: "first"
layer { name: "input" type: "Input" top: "data"
  input_param { shape { dim: 2 dim: 3 dim: 9 dim: 9 } } }
layer { name: "c1" type: "Convolution" bottom: "data" top: "c1"
  param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 4 kernel_size: 3 stride: 2 group: 1 bias_term: true
    weight_filler { type: "gaussian" std: 0.5 } pad: 2 } }
layer { name: "n1" type: "LRN" bottom: "c1" top: "n1" lrn_param { local_size: 3 alpha: 0.5 beta: 0.75 } }
layer { name: "p1" type: "Pooling" bottom: "n1" top: "p1" pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layer { name: "d1" type: "Dropout" bottom: "p1" top: "p1" dropout_param { dropout_ratio: 0.25 } }
layer { name: "ip" type: "InnerProduct" bottom: "p1" top: "ip"
  inner_product_param { num_output: 5 bias_term: false } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
V1 = """
layers {
  name: "d" type: IMAGE_DATA top: "data" top: "label" include { phase: TRAIN }
  image_data_param { source: "list" batch_size: 3 scale: 0.5 mirror: true mean_file: "m" crop_size: 7 }
  transform_param { crop_size: 5 force_color: true }
}
layers {
  name: "c" type: CONVOLUTION bottom: "data" top: "c" param: "w" blobs_lr: 1 blobs_lr: 2 blob_share_mode: PERMISSIVE
  convolution_param { num_output: 4 kernel_size: 3 hole: 2 }
}
layers { name: "b" type: BN bottom: "c" top: "c" bn_param { bn_mode: INFERENCE } }
layers { name: "u" type: UPSAMPLE bottom: "c" bottom: "mask" top: "u" }
layers { name: "l" type: SOFTMAX_LOSS bottom: "u" bottom: "label" top: "l" loss_weight: 2 exclude { phase: TEST } }
"""
V1_NEW = """
layer { name: "d" type: "ImageData" top: "data" top: "label" include { phase: TRAIN }
  transform_param { force_color: true scale: 0.5 mirror: true mean_file: "m" crop_size: 7 }
  image_data_param { source: "list" batch_size: 3 } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  param { name: "w" share_mode: PERMISSIVE lr_mult: 1 } param { lr_mult: 2 }
  convolution_param { num_output: 4 kernel_size: 3 hole: 2 } }
layer { name: "b" type: "BN" bottom: "c" top: "c" bn_param { bn_mode: INFERENCE } }
layer { name: "u" type: "Upsample" bottom: "c" bottom: "mask" top: "u" }
layer { name: "l" type: "SoftmaxWithLoss" bottom: "u" bottom: "label" top: "l" loss_weight: 2
  exclude { phase: TEST } }
"""


def same(new: str, old: str) -> None:
    assert write(upgrade.net(parse(old)).message) == write(parse(new))


def test_a_net_of_2013_with_its_padding_folded() -> None:
    same(V0_NEW, V0)
    found = upgrade.net(parse(V0))
    assert found.done == ("layers of 2013 (V0)", "input fields")
    assert found.remarks == ((21, "kernelsize means nothing to a layer of type softmax_loss and is left out"),)


def test_a_net_of_2014_with_rates_names_and_transformations_in_their_places() -> None:
    same(V1_NEW, V1)
    assert upgrade.net(parse(V1)).done == ("layers of 2014 (V1)", "transformations in data layers")


def test_what_is_new_stays_as_it_is() -> None:
    for net in (V0_NEW, V1_NEW):
        found = upgrade.net(parse(net))
        assert found.message == parse(net) and found.done == ()


def test_kept_numbers_of_a_batch_norm_are_not_learned() -> None:
    norm = 'layer { name: "b" type: "BatchNorm" param { lr_mult: 1 name: "m" } param { } param { decay_mult: 2 } }'
    found = upgrade.net(parse(norm))
    specs = found.message.messages("layer")[0].messages("param")
    assert [(one.one("lr_mult"), one.one("decay_mult"), one.text("name")) for one in specs] == [
        (0, 0, "m"), (0, 0, ""), (0, 0, "")
    ]  # fmt: skip
    assert found.done == ("learning rates of batch norms",)
    assert upgrade.net(found.message).done == ()


def test_shapes_of_many_inputs_and_of_none() -> None:
    shapes = 'input: "a" input: "b" input_shape { dim: 2 dim: 3 } input_shape { dim: 4 }'
    net = f'{shapes}\nlayer {{ name: "x" type: "Silence" }}'
    first, second = upgrade.net(parse(net)).message.messages("layer")
    assert first.texts("top") == ["a", "b"] and second.text("name") == "x"
    assert [shape.ints("dim") for shape in first.sub("input_param").messages("shape")] == [[2, 3], [4]]
    bare = upgrade.net(parse('input: "a"\nlayer { name: "x" type: "Silence" }'))
    assert [layer.text("name") for layer in bare.message.messages("layer")] == ["x"]
    assert bare.remarks == ((1, "an input without a shape is left out"),)


def test_padding_that_something_else_reads_stays_and_is_remarked() -> None:
    net = """
    layers { layer { name: "p" type: "padding" pad: 1 } bottom: "data" top: "p" }
    layers { layer { name: "r" type: "relu" } bottom: "p" top: "r" }
    """
    found = upgrade.net(parse(net))
    assert [layer.text("type") for layer in found.message.messages("layer")] == ["Padding", "ReLU"]
    assert found.remarks[0] == (3, "only a convolution or a pooling can read a padding layer")


def test_mixed_styles_are_refused_as_caffe_refuses_them() -> None:
    with pytest.raises(UsageError, match="are mixed"):
        upgrade.net(parse(V1 + V1_NEW))


@pytest.mark.parametrize(("old", "new"), [("NESTEROV", "Nesterov"), ("5", "Adam"), ("ADADELTA", "AdaDelta")])
def test_a_solvers_type(old: str, new: str) -> None:
    found = upgrade.solver(parse(f"base_lr: 0.1\nsolver_type: {old}\nmax_iter: 9"))
    assert write(found.message) == f'base_lr: 0.1\ntype: "{new}"\nmax_iter: 9\n'
    assert upgrade.solver(found.message).done == ()


def test_a_solver_with_two_types_or_a_strange_one() -> None:
    for text, said in (('solver_type: SGD type: "Adam"', "both"), ("solver_type: SPEEDY", "no solver_type SPEEDY")):
        with pytest.raises(UsageError, match=said):
            upgrade.solver(parse(text))


def test_old_nets_are_seen_as_their_upgrade_is() -> None:
    """Their shapes: 9 + 2 x 2 in steps of 2 is 6, pooled 3; each field keeps its line of the old file."""
    net = parse(V0)
    found = infer(graph.layers(net, "TRAIN"), {"label": (2,)})
    assert [row.layer.type for row in found.rows][:4] == ["Input", "Convolution", "LRN", "Pooling"]
    assert found.blobs["c1"] == (2, 4, 6, 6) and found.blobs["p1"] == (2, 4, 3, 3) and found.blobs["ip"] == (2, 5)
    assert found.params == 4 * 27 + 4 + 5 * 36 and found.whole
    layer = graph.every(net)[0]
    assert layer.old and layer.line == 9 and layer.message.sub("convolution_param").line_of("num_output") == 11
    assert [one.name for one in graph.layers(parse(V1), "TEST")] == ["c", "b", "u"]


def test_a_new_types_word_in_an_old_layer_is_taken_as_it_is() -> None:
    assert upgrade.new_type(parse('type: "InnerProduct"').one("type")) == "InnerProduct"
    assert upgrade.new_type(parse("type: SIGMOID_CROSS_ENTROPY_LOSS").one("type")) == "SigmoidCrossEntropyLoss"
    assert (upgrade.new_type(3), upgrade.new_type(99)) == ("Concat", "")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    (tmp_path / "old.prototxt").write_text(V0)
    return tmp_path / "old.prototxt"


def test_the_command_writes_another_file_and_says_what_is_lost(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = old.with_name("new.prototxt")
    assert run(["net", "upgrade", str(old), str(out)]) == 0
    said = capsys.readouterr().out
    assert (
        "layers of 2013 (V0), input fields" in said and f"{old}:21: kernelsize" in said and "1 comment is not" in said
    )
    assert isinstance(parse(out.read_text()), Message) and out.read_text() == write(parse(V0_NEW))
    assert run(["net", "upgrade", str(out), str(old.with_name("again.prototxt"))]) == 0
    assert "today's words already" in capsys.readouterr().out
    assert old.with_name("again.prototxt").read_text() == out.read_text()


def test_the_command_overwrites_nothing_unasked(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["net", "upgrade", str(old), str(old)]) == 2
    assert "is the file that is to be read" in capsys.readouterr().err and old.read_text() == V0
    there = old.with_name("there.prototxt")
    there.write_text("mine")
    assert run(["net", "upgrade", str(old), str(there)]) == 2 and there.read_text() == "mine"
    assert "--force" in capsys.readouterr().err
    assert run(["net", "upgrade", str(old), str(there), "--dry-run", "--force"]) == 0 and there.read_text() == "mine"
    assert 'type: "Convolution"' in capsys.readouterr().out
    assert run(["net", "upgrade", str(old), str(old), "--force"]) == 0
    assert old.read_text() == write(parse(V0_NEW)) and sorted(path.name for path in old.parent.iterdir()) == [
        "old.prototxt", "there.prototxt"
    ]  # fmt: skip


def test_the_command_takes_solvers_and_refuses_a_folder(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old.write_text('net: "n.prototxt"\nsolver_type: ADAGRAD\n# why\n')
    assert run(["net", "upgrade", str(old), str(old.parent)]) == 2
    assert "name a file in it" in capsys.readouterr().err
    assert run(["net", "upgrade", str(old), str(old.with_name("new"))]) == 0
    assert old.with_name("new").read_text() == 'net: "n.prototxt"\ntype: "AdaGrad"\n'
    assert run(["net", "upgrade", str(old), str(old.parent / "new" / "deeper")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_lint_reads_old_nets(old: Path) -> None:
    from provision.lint.net import lint

    old.write_text(V0.replace('bottom: "p1" top: "ip"', 'bottom: "p9" top: "ip"'))
    found = [(one.line, one.what) for one in lint(old).findings if one.rule == "bottom"]
    assert (20, "ip reads p9, which nothing makes before it") in found


def test_what_is_no_file_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old.prototxt").write_text(V0)
    os.mkfifo(tmp_path / "pipe")
    assert run(["net", "upgrade", str(tmp_path / "old.prototxt"), str(tmp_path / "pipe"), "--force"]) == 2
    assert "is no file that can be replaced" in capsys.readouterr().err and (tmp_path / "pipe").is_fifo()
