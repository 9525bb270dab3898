"""Shapes and parameters by the rules; tests/engine/test_net_shapes.py holds them against Caffe itself."""

import pytest

from provision.net import graph
from provision.net.shapes import Inferred, infer, words
from provision.net.text import parse


def of(text: str, phase: graph.Phase = "TRAIN", **given: tuple[int, ...]) -> Inferred:
    return infer(graph.layers(parse(text), phase), given)


def layer(kind: str, params: str = "", bottoms: str = "data", tops: str = "out", name: str = "x") -> str:
    wires = "".join(f' bottom: "{one}"' for one in bottoms.split()) + "".join(f' top: "{one}"' for one in tops.split())
    return f'layer {{ name: "{name}" type: "{kind}"{wires} {params} }}\n'


def conv(words: str) -> str:
    return f"convolution_param {{ {words} }}"


def made(kind: str, params: str, *shapes: tuple[int, ...], tops: str = "out") -> list[tuple[int, ...] | None]:
    """The tops of one layer that is given bottoms of those shapes."""
    names = [f"in{at}" for at in range(len(shapes))]
    dims = ["input_param { shape { " + " ".join(f"dim: {size}" for size in one) + " } }" for one in shapes]
    text = "".join(layer("Input", dim, "", name, name) for name, dim in zip(names, dims, strict=True))
    found = of(text + layer(kind, params, " ".join(names), tops)).rows[-1]
    assert not found.odd, found.odd
    return list(found.tops)


@pytest.mark.parametrize(
    ("kind", "params", "shapes", "expected"),
    [
        ("Convolution", conv("num_output: 8 kernel_size: 3 stride: 2"), [(1, 3, 10, 11)], (1, 8, 4, 5)),
        ("Convolution", conv("num_output: 8 kernel_h: 3 kernel_w: 1 pad_h: 1 pad_w: 0"), [(1, 3, 9, 9)], (1, 8, 9, 9)),
        ("Convolution", conv("num_output: 4 kernel_size: 3 pad: 2 dilation: 2"), [(2, 3, 9, 9)], (2, 4, 9, 9)),
        ("Convolution", conv("num_output: 4 kernel_size: 3 axis: 1"), [(2, 3, 9, 8, 7)], (2, 4, 7, 6, 5)),
        ("Deconvolution", conv("num_output: 2 kernel_size: 4 stride: 2 pad: 1"), [(1, 3, 5, 6)], (1, 2, 10, 12)),
        ("Pooling", "pooling_param { kernel_size: 3 stride: 2 }", [(1, 3, 32, 32)], (1, 3, 16, 16)),  # not 15
        ("Pooling", "pooling_param { kernel_size: 2 stride: 2 pad: 1 }", [(1, 3, 4, 4)], (1, 3, 3, 3)),
        ("Pooling", "pooling_param { kernel_size: 3 stride: 2 round_mode: FLOOR }", [(1, 3, 32, 32)], (1, 3, 15, 15)),
        ("Pooling", "pooling_param { global_pooling: true }", [(1, 3, 32, 31)], (1, 3, 1, 1)),
        ("InnerProduct", "inner_product_param { num_output: 5 }", [(2, 3, 4, 4)], (2, 5)),
        ("InnerProduct", "inner_product_param { num_output: 5 axis: 2 }", [(2, 3, 4, 4)], (2, 3, 5)),
        ("Concat", "", [(1, 3, 4, 4), (1, 5, 4, 4)], (1, 8, 4, 4)),
        ("Concat", "concat_param { axis: 0 }", [(1, 3), (4, 3)], (5, 3)),
        ("Eltwise", "", [(1, 3, 4, 4), (1, 3, 4, 4)], (1, 3, 4, 4)),
        ("Crop", "crop_param { offset: 1 }", [(1, 3, 9, 9), (1, 7, 5, 6)], (1, 3, 5, 6)),
        ("Reshape", "reshape_param { shape { dim: 0 dim: -1 } }", [(2, 3, 4)], (2, 12)),
        ("Reshape", "reshape_param { shape { dim: 2 dim: -1 } axis: 1 num_axes: 1 }", [(5, 6, 7)], (5, 2, 3, 7)),
        ("Flatten", "flatten_param { axis: 1 end_axis: 2 }", [(2, 3, 4, 5)], (2, 12, 5)),
        ("ArgMax", "argmax_param { axis: 1 }", [(2, 3, 4, 5)], (2, 1, 4, 5)),
        ("ArgMax", "argmax_param { top_k: 3 out_max_val: true }", [(2, 10)], (2, 2, 3)),
        ("Tile", "tile_param { axis: 1 tiles: 3 }", [(2, 3, 4)], (2, 9, 4)),
        ("Reduction", "reduction_param { axis: 1 }", [(2, 3, 4)], (2,)),
        ("SPP", "spp_param { pyramid_height: 3 }", [(2, 3, 16, 16)], (2, 63)),
        ("Im2col", conv("kernel_size: 3"), [(1, 2, 5, 5)], (1, 18, 3, 3)),
        ("Embed", "embed_param { input_dim: 9 num_output: 4 }", [(7, 2)], (7, 2, 4)),
        ("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }", [(1, 2, 3, 4)], (1, 3, 4, 2)),
        ("SoftmaxWithLoss", "", [(4, 10), (4,)], ()),
        ("LSTM", "recurrent_param { num_output: 6 }", [(5, 2, 7), (5, 2)], (5, 2, 6)),
        ("BatchReindex", "", [(4, 3, 2), (9,)], (9, 3, 2)),
    ],
)  # fmt: skip
def test_each_rule(kind: str, params: str, shapes: list[tuple[int, ...]], expected: tuple[int, ...]) -> None:
    assert made(kind, params, *shapes) == [expected]


def test_a_slice_has_a_top_for_each_part() -> None:
    assert made("Slice", "slice_param { axis: 1 slice_point: 2 }", (1, 5, 3), tops="a b") == [(1, 2, 3), (1, 3, 3)]
    assert made("Slice", "slice_param { axis: 1 }", (1, 6, 3), tops="a b c") == [(1, 2, 3)] * 3


def test_parameters_and_multiply_adds() -> None:
    net = of(
        'input: "data" input_dim: 2 input_dim: 4 input_dim: 8 input_dim: 8\n'
        + layer("Convolution", conv("num_output: 6 kernel_size: 3 pad: 1 group: 2"), tops="c", name="c")
        + layer("BatchNorm", bottoms="c", tops="c", name="bn")
        + layer("Scale", "scale_param { bias_term: true }", "c", "c", "s")
        + layer("PReLU", "", "c", "c", "p")
        + layer("InnerProduct", "inner_product_param { num_output: 10 bias_term: false }", "c", "out", "ip")
    )
    assert {row.layer.name: row.counted for row in net.rows} == {
        "data": 0, "c": 6 * 2 * 9 + 6, "bn": 13, "s": 12, "p": 6, "ip": 10 * 6 * 64
    }  # fmt: skip
    assert net.rows[1].macs == 2 * 6 * 64 * 2 * 9
    assert net.rows[-1].macs == 2 * 10 * 6 * 64
    assert net.params == sum(row.counted or 0 for row in net.rows) and net.whole


def test_a_shared_parameter_counts_once() -> None:
    params = 'param { name: "w" } param { name: "b" } inner_product_param { num_output: 3 }'
    dense = [layer("InnerProduct", params, tops=name, name=name) for name in "ab"]
    net = of('input: "data" input_dim: 1 input_dim: 4 input_dim: 1 input_dim: 1\n' + "".join(dense))
    assert [row.counted for row in net.rows] == [0, 15, 0]


def test_what_hangs_on_the_data_is_unknown_until_it_is_told() -> None:
    text = layer("Data", "data_param { batch_size: 4 }", "", "data label", "d") + layer(
        "Convolution", conv("num_output: 8 kernel_size: 3")
    )
    assert [words(shape) for row in of(text).rows for shape in row.tops] == ["?", "4", "?"]
    assert of(text).rows[1].params is None
    assert of(text, data=(4, 1, 28, 28)).blobs["out"] == (4, 8, 26, 26)


@pytest.mark.parametrize(
    ("kind", "params", "shapes", "said"),
    [
        ("Eltwise", "", [(1, 3, 4, 4), (1, 3, 4, 5)], "not of one shape"),
        ("Concat", "", [(1, 3, 4, 4), (1, 3, 5, 4)], "more than axis 1"),
        ("Convolution", conv("num_output: 8 kernel_size: 9"), [(1, 3, 5, 5)], "does not fit into 5"),
        ("Convolution", conv("num_output: 8 kernel_size: 3 group: 2"), [(1, 3, 5, 5)], "group 2"),
        ("Reshape", "reshape_param { shape { dim: 7 } }", [(2, 3)], "do not make up"),
        ("Crop", "", [(1, 3, 4, 4), (1, 3, 5, 5)], "cannot be cropped"),
        ("InnerProduct", "", [(1, 3)], "num_output is not given"),
    ],
)
def test_what_does_not_fit_is_said(kind: str, params: str, shapes: list[tuple[int, ...]], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        made(kind, params, *shapes)


OLD = """
layers { name: "d" type: DATA top: "data" top: "label" include { phase: TRAIN } }
layers { name: "c" type: INNER_PRODUCT bottom: "data" top: "c" inner_product_param { num_output: 2 } }
layers { name: "l" type: SOFTMAX_LOSS bottom: "c" bottom: "label" top: "l" include { not_stage: "deploy" } }
layers { name: "a" type: ACCURACY bottom: "c" bottom: "label" top: "a" exclude { phase: TRAIN } }
"""


def test_the_old_style_is_read_as_the_new_one() -> None:
    assert [one.type for one in graph.layers(parse(OLD), "TRAIN")] == ["Data", "InnerProduct", "SoftmaxWithLoss"]
    assert [one.type for one in graph.layers(parse(OLD), "TEST")] == ["InnerProduct", "SoftmaxWithLoss", "Accuracy"]
    assert [one.name for one in graph.layers(parse(OLD), "TEST", frozenset({"deploy"}))] == ["c", "a"]
