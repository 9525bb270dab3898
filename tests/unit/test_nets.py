"""Nets built in Python: the text that Caffe reads, and that it is sound."""

from pathlib import Path

import pytest

from infra.errors import UsageError
from provision.lint.net import lint
from provision.net import graph
from provision.net.nets import Net, conv_block, crelu_block, residual
from provision.net.shapes import infer
from provision.net.text import parse
from tests.unit.recipe_files import load_file


def small() -> Net:
    net = Net("small")
    data, label = net.data("/data/train_lmdb", 8, "TRAIN", scale=0.5, means=(1, 2, 3), crop=32, mirror=True)
    net.data("/data/test_lmdb", 4, "TEST", scale=0.5, means=(1, 2, 3), crop=32, mirror=True)
    top = crelu_block(net, data, "conv1", 16, stride=2)
    top = residual(net, top, "res2", 16)
    top = residual(net, top, "res3", 32, stride=2)
    top = net.dropout(conv_block(net, top, "conv4", 24, 1), 0.3)
    net.loss_and_accuracy(net.dense(net.pool(top, "pool", how="AVE"), "score", 10), label, (1, 5))
    return net


def test_blocks_have_the_shapes_that_they_promise() -> None:
    found = infer(graph.layers(parse(small().prototxt()), "TRAIN"))
    assert found.whole
    expected = {"conv1/half": (8, 8, 16, 16), "conv1": (8, 16, 16, 16), "res2": (8, 16, 16, 16), "res3": (8, 32, 8, 8),
                "conv4": (8, 24, 8, 8), "score": (8, 10), "loss": ()}  # fmt: skip
    assert {name: found.blobs[name] for name in expected} == expected


def test_a_test_gives_scalars_alone() -> None:
    found = infer(graph.layers(parse(small().prototxt()), "TEST"))
    assert dict(found.outputs()) == {"accuracy": (), "accuracy_top5": (), "loss": ()}


def test_the_text_is_caffes() -> None:
    text = small().prototxt()
    assert "backend: LMDB" in text and "pool: AVE" in text and "bias_term: false" in text
    assert text.count("mirror: true") == 1  # the test sees pictures as they are
    assert text.count("lr_mult: 0") == 3 * text.count('type: "BatchNorm"')


def test_the_net_is_sound(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(small().prototxt())
    assert lint(tmp_path / "net.prototxt").findings == ()


def test_a_name_is_given_once() -> None:
    net = Net("twice")
    net.conv(net.inputs((1, 3, 8, 8)), "conv", 4)
    with pytest.raises(UsageError, match="two layers called 'conv'"):
        net.conv("conv", "conv", 4)


def test_the_example_builds_a_sound_net(tmp_path: Path) -> None:
    example = load_file("caffe-classify/example/make_net.py")
    (tmp_path / "net.prototxt").write_text(example.build().prototxt())
    (tmp_path / "solver.prototxt").write_text(example.SOLVER)
    assert lint(tmp_path / "solver.prototxt").findings == ()
