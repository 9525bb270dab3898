"""What Caffe refuses of a single layer, each beside the form that it takes; a test of the engine holds both against
Caffe itself (`tests/engine/test_net_lint_caffe.py`)."""

import pytest

from provision.net import graph
from provision.net.shapes import infer
from provision.net.text import parse
from tests.unit.test_net_shapes import conv, layer, made

Blobs = tuple[tuple[int, ...], ...]

PICTURES, ROWS, SCALAR = (2, 3, 8, 6), (2, 3), ()


def net_of(kind: str, params: str, blobs: Blobs, tops: str = "out") -> str:
    """One layer of that type behind an Input for each blob: b0, b1, …"""
    dims = ["input_param { shape { " + " ".join(f"dim: {size}" for size in one) + " } }" for one in blobs]
    fed = "".join(layer("Input", dim, "", f"b{at}", f"b{at}") for at, dim in enumerate(dims))
    return fed + layer(kind, params, " ".join(f"b{at}" for at in range(len(blobs))), tops)


# type; what is refused: parameters, blobs and tops; what is said; what is taken: parameters, blobs and tops
REFUSED: list[tuple[str, tuple[str, Blobs, str], str, tuple[str, Blobs, str]]] = [
    ("BatchNorm", ("", ((4,),), "a"), "channels are wanted", ("", ((4, 1),), "a")),
    ("PReLU", ("", ((4,),), "a"), "2 to 4 axes", ("", ((4, 2),), "a")),
    ("PReLU", ("", ((1, 2, 3, 4, 5),), "a"), "2 to 4 axes", ("", ((1, 2, 3, 4),), "a")),
    ("MVN", ("", ((1, 2, 3, 4, 5),), "a"), "at most 4 axes", ("", ((1, 2, 3, 4),), "a")),
    ("Reduction", ("", (SCALAR,), "a"), "axis 0 of a blob with 0 axes", ("", ((3,),), "a")),
    (
        "Scale",
        ("scale_param { num_axes: -2 }", (ROWS,), "a"),
        "num_axes is -2",
        ("scale_param { num_axes: -1 }", (ROWS,), "a"),
    ),
    (
        "Scale",
        ("scale_param { axis: 5 bias_term: true }", (ROWS, SCALAR), "a"),
        "axis 5 of",
        ("scale_param { axis: 5 }", (ROWS, SCALAR), "a"),
    ),
    (
        "Bias",
        ("bias_param { axis: 0 }", (ROWS, (3,)), "a"),
        "cannot be spread",
        ("bias_param { axis: 1 }", (ROWS, (3,)), "a"),
    ),
    (
        "Bias",
        ("bias_param { axis: -3 }", (ROWS, (2,)), "a"),
        "axis -3 of",
        ("bias_param { axis: -2 }", (ROWS, (2,)), "a"),
    ),
    (
        "Concat",
        ("concat_param { axis: 1 concat_dim: 1 }", (ROWS, ROWS), "a"),
        "axis and concat_dim are both given",
        ("concat_param { concat_dim: 0 }", (ROWS, ROWS), "a"),
    ),
    (
        "Slice",
        ("slice_param { axis: 1 slice_dim: 1 }", (ROWS,), "a b c"),
        "axis and slice_dim are both given",
        ("slice_param { slice_dim: 0 }", (ROWS,), "a b"),
    ),
    (
        "Reshape",
        ("reshape_param { num_axes: 3 shape { dim: -1 } }", (ROWS,), "a"),
        "num_axes 3 from axis 0 on",
        ("reshape_param { num_axes: 2 shape { dim: -1 } }", (ROWS,), "a"),
    ),
    (
        "Reshape",
        ("reshape_param { axis: -4 shape { dim: 0 } }", (ROWS,), "a"),
        "axis -4 of",
        ("reshape_param { axis: -3 shape { dim: 0 dim: 0 } }", (ROWS,), "a"),
    ),
    (
        "Reshape",
        ("reshape_param { shape { dim: 0 dim: 0 dim: 0 } }", (ROWS,), "a"),
        "no axis 2 to copy",
        ("reshape_param { axis: 2 shape { } }", (ROWS,), "a"),
    ),
    (
        "Flatten",
        ("flatten_param { axis: 3 end_axis: 1 }", (PICTURES,), "a"),
        "end_axis 1 is before",
        ("flatten_param { axis: 3 end_axis: 2 }", (PICTURES,), "a"),
    ),
    (
        "Crop",
        ("crop_param { axis: 0 }", (PICTURES, ROWS), "a"),
        "cannot be cropped",
        ("crop_param { axis: 0 }", (ROWS, (*PICTURES[:2], 9)), "a"),
    ),
    ("BatchReindex", ("", (PICTURES, (3, 1)), "a"), "an index of one axis", ("", (PICTURES, (3,)), "a")),
    ("Filter", ("", (PICTURES, (2, 2)), "a"), "one number for each", ("", (PICTURES, (2, 1)), "a")),
    ("Filter", ("", (PICTURES, (3,)), "a"), "are not of as many", ("", (PICTURES, (2,)), "a")),
    ("Filter", ("", (SCALAR, (1,)), "a"), "are not of as many", ("", ((1,), (1,)), "a")),
    (
        "Filter",
        ("", (PICTURES, ROWS, (2,)), "a"),
        "a top of each bottom but the last",
        ("", (PICTURES, ROWS, (2,)), "a b"),
    ),
    (
        "Convolution",
        (conv("num_output: 2 kernel_size: 4"), ((1, 2, 3, 3),), "a"),
        "does not fit into 3",
        (conv("num_output: 2 kernel_size: 4 stride: 2"), ((1, 2, 3, 3),), "a"),
    ),
    (
        "Convolution",
        (conv("num_output: 2 kernel_size: 0"), (PICTURES,), "a"),
        "a kernel of 0",
        (conv("num_output: 2 kernel_size: 1"), (ROWS,), "a"),
    ),
    (
        "Convolution",
        (conv("num_output: 2 kernel_size: 1"), (PICTURES, SCALAR), "a b"),
        "bottoms of one shape",
        (conv("num_output: 2 kernel_size: 1"), (PICTURES, PICTURES), "a b"),
    ),
    (
        "Deconvolution",
        (conv("num_output: 2 kernel_size: 4 pad: 3"), ((1, 2, 1, 1),), "a"),
        "leaves nothing of 4",
        (conv("num_output: 2 kernel_size: 4 pad: 1"), ((1, 2, 1, 1),), "a"),
    ),
    (
        "Im2col",
        (conv("pad: 1"), (PICTURES,), "a"),
        "kernel_size is not given",
        (conv("kernel_size: 2 pad: 1"), (PICTURES,), "a"),
    ),
    (
        "Im2col",
        (conv("kernel_size: 1"), (ROWS,), "a"),
        "no axis is left",
        (conv("kernel_size: 1 axis: 0"), (ROWS,), "a"),
    ),
    (
        "Pooling",
        ("pooling_param { kernel_size: 3 kernel_size: 3 }", (PICTURES,), "a"),
        "kernel_size is given 2 times",
        ("pooling_param { kernel_h: 3 kernel_w: 3 }", (PICTURES,), "a"),
    ),
    (
        "Pooling",
        ("pooling_param { kernel_size: 3 pad_w: 1 }", (PICTURES,), "a"),
        "pad_w is given without pad_h",
        ("pooling_param { kernel_size: 3 pad_h: 0 pad_w: 1 }", (PICTURES,), "a"),
    ),
    (
        "SPP",
        ("spp_param { pyramid_height: 3 }", ((1, 1, 8, 5),), "a"),
        "needs as large a padding",
        ("spp_param { pyramid_height: 3 }", ((1, 1, 8, 8),), "a"),
    ),
    (
        "SPP",
        ("spp_param { pyramid_height: 1 }", ((1, 1, 8),), "a"),
        "4 axes are wanted",
        ("spp_param { pyramid_height: 1 }", ((1, 1, 8, 8),), "a"),
    ),
    (
        "SPP",
        ("spp_param { pyramid_height: 2 pool: STOCHASTIC }", ((1, 1, 8, 5),), "a"),
        "pool: MAX and AVE alone",
        ("spp_param { pyramid_height: 2 pool: AVE }", ((1, 1, 8, 5),), "a"),
    ),
    (
        "DummyData",
        ("dummy_data_param { }", (), "a"),
        "no shape for 1 top",
        ("dummy_data_param { shape { dim: 2 } }", (), "a"),
    ),
    (
        "DummyData",
        ("dummy_data_param { shape { dim: 2 } shape { dim: 2 } }", (), "a b c"),
        "2 shape for 3 tops",
        ("dummy_data_param { shape { dim: 2 } }", (), "a b c"),
    ),
    (
        "DummyData",
        ("dummy_data_param { num: 1 num: 2 channels: 1 height: 1 width: 1 }", (), "a"),
        "2 num for 1 top",
        ("dummy_data_param { num: 1 num: 2 channels: 1 height: 1 width: 1 }", (), "a b"),
    ),
    (
        "DummyData",
        ("dummy_data_param { num: 1 channels: 1 height: 1 width: 1 shape { dim: 2 } }", (), "a"),
        "are both given",
        ("dummy_data_param { num: 1 channels: 1 height: 1 width: 1 }", (), "a b"),
    ),
    (
        "DummyData",
        ("dummy_data_param { shape { dim: 2 } data_filler { } data_filler { } }", (), "a"),
        "2 data_filler for 1 top",
        ("dummy_data_param { shape { dim: 2 } data_filler { } data_filler { } }", (), "a b"),
    ),
    ("SoftmaxWithLoss", ("", ((2, 3, 2, 2), (8,)), "a"), "not of as many pictures", ("", ((2, 3, 2, 2), (2, 4)), "a")),
    (
        "SoftmaxWithLoss",
        ("softmax_param { axis: 2 }", (ROWS, (2,)), "a"),
        "axis 2 of",
        ("softmax_param { axis: -1 }", (ROWS, (2,)), "a"),
    ),
    (
        "Accuracy",
        ("accuracy_param { axis: 2 }", (ROWS, (2,)), "a"),
        "axis 2 of",
        ("accuracy_param { axis: -1 }", (ROWS, (2,)), "a"),
    ),
    ("EuclideanLoss", ("", (SCALAR, SCALAR), "a"), "a scalar has none", ("", ((1,), (1,)), "a")),
    ("EuclideanLoss", ("", ((1, 1, 1, 1, 2),) * 2, "a"), "at most 4 axes", ("", ((1, 1, 1, 2),) * 2, "a")),
    ("HingeLoss", ("", (ROWS, (3,)), "a"), "not of as many pictures", ("", (ROWS, (2,)), "a")),
    ("MultinomialLogisticLoss", ("", (ROWS, ROWS), "a"), "one label for each picture", ("", (ROWS, (2, 1)), "a")),
    ("SigmoidCrossEntropyLoss", ("", (ROWS, ROWS), "a b"), "at most 1 top, and has 2", ("", (ROWS, ROWS), "a")),
    ("ContrastiveLoss", ("", (ROWS, ROWS, (2, 3)), "a"), "one mark for each pair", ("", (ROWS, ROWS, (2, 1)), "a")),
    ("InfogainLoss", ("", (ROWS, (2,)), "a"), "no matrix", ("", (ROWS, (2,), (3, 3)), "a")),
    ("InfogainLoss", ("", (ROWS, (2,), (3, 2)), "a"), "no matrix of 3 x 3", ("", (ROWS, (2,), (1, 1, 3, 3)), "a")),
    ("InfogainLoss", ("", ((2, 3, 4), (2, 3), (3, 3)), "a"), "8 predictions", ("", ((2, 3, 4), (2, 4), (3, 3)), "a")),
    (
        "InfogainLoss",
        ("loss_param { normalize: true }", (ROWS, (2,), (3, 3)), "a"),
        "normalize is given",
        ("loss_param { normalization: VALID }", (ROWS, (2,), (3, 3)), "a"),
    ),
    (
        "LSTM",
        ("recurrent_param { num_output: 4 }", ((3, 2), (3, 2)), "a"),
        "time x streams x inputs",
        ("recurrent_param { num_output: 4 }", ((3, 2, 5), (3, 2)), "a"),
    ),
    (
        "RNN",
        ("recurrent_param { num_output: 4 }", ((3, 2, 5), (3, 2), (3, 5)), "a"),
        "each of 2 streams",
        ("recurrent_param { num_output: 4 }", ((3, 2, 5), (3, 2), (2, 5)), "a"),
    ),
    (
        "LSTM",
        ("recurrent_param { num_output: 4 expose_hidden: true }", ((3, 2, 5), (3, 2), (1, 2, 4), (1, 2, 3)), "a b c"),
        "a state of 1 x 2 x 4",
        ("recurrent_param { num_output: 4 expose_hidden: true }", ((3, 2, 5), (3, 2), (1, 2, 4), (1, 2, 4)), "a b c"),
    ),
    (
        "RNN",
        ("recurrent_param { num_output: 4 }", ((3, 2, 5), (3, 2)), "a b"),
        "takes 2 or 3 bottoms and 1 tops",
        ("recurrent_param { num_output: 4 expose_hidden: true }", ((3, 2, 5), (3, 2), (1, 2, 4)), "a b"),
    ),
    (
        "Input",
        ("input_param { shape { dim: 100000 dim: 100000 } }", (), "a"),
        "more numbers than a blob holds",
        ("input_param { shape { dim: 100000 dim: 1000 } }", (), "a"),
    ),
    (
        "LRN",
        ("lrn_param { local_size: -1 }", (PICTURES,), "a"),
        "local_size is -1",
        ("lrn_param { local_size: 1 norm_region: WITHIN_CHANNEL }", (PICTURES,), "a"),
    ),
]


def said_of(kind: str, params: str, blobs: Blobs, tops: str) -> str:
    return infer(graph.layers(parse(net_of(kind, params, blobs, tops)), "TEST")).rows[-1].odd


@pytest.mark.parametrize(("kind", "wrong", "said", "sound"), REFUSED)
def test_what_caffe_refuses_and_what_it_takes(
    kind: str, wrong: tuple[str, Blobs, str], said: str, sound: tuple[str, Blobs, str]
) -> None:
    assert said in said_of(kind, *wrong)
    assert said_of(kind, *sound) == ""


@pytest.mark.parametrize(
    ("kind", "params", "blobs", "expected"),
    [
        ("MVN", "", [(2, 6)], (2, 6, 1, 1)),
        ("Flatten", "flatten_param { axis: 3 end_axis: 2 }", [PICTURES], (2, 3, 8, 1, 6)),
        ("Convolution", conv("num_output: 2 kernel_size: 1"), [ROWS], (2, 2)),
        ("Convolution", conv("num_output: 2 kernel_size: 4 stride: 2"), [(1, 2, 3, 3)], (1, 2, 1, 1)),
        ("Reshape", "reshape_param { axis: 2 shape { } }", [ROWS], ROWS),
        ("Reshape", "reshape_param { shape { } }", [(1,)], ()),
        ("Crop", "crop_param { axis: 0 }", [(4, 4), (2, 3, 9)], (2, 3)),
        ("Filter", "", [PICTURES, (2, 1)], PICTURES),
        ("LSTM", "recurrent_param { num_output: 4 }", [(3, 2, 5), (3, 2), (2, 7)], (3, 2, 4)),
    ],
)
def test_shapes_that_caffe_makes_of_odd_words(
    kind: str, params: str, blobs: list[tuple[int, ...]], expected: tuple[int, ...]
) -> None:
    assert made(kind, params, *blobs) == [expected]
