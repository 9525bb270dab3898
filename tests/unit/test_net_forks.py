"""The layers of Caffe's forks: their shapes and parameters counted by hand, and which fork a net is written for."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.net import forks, graph
from provision.net.shape_rules import RULES
from provision.net.shapes import infer
from provision.net.text import Field, Message, Word, parse
from tests.unit.test_net_shapes import conv, layer, made, of

PICTURE = 'input: "data" input_shape { dim: 2 dim: 4 dim: 8 dim: 8 }\n'


def pool(words: str) -> str:
    return f"pooling_param {{ kernel_size: 3 stride: 2 {words} }}"


@pytest.mark.parametrize(
    ("kind", "params", "shapes", "expected"),
    [
        ("Pooling", pool("pad: 1 ceil_mode: false"), [(1, 3, 112, 112)], (1, 3, 56, 56)),  # rounded up: 57
        ("Pooling", pool("ceil_mode: false"), [(1, 3, 8, 8)], (1, 3, 3, 3)),
        ("Pooling", pool("ceil_mode: true"), [(1, 3, 8, 8)], (1, 3, 4, 4)),
        ("Pooling", pool("round_mode: 1"), [(1, 3, 8, 8)], (1, 3, 3, 3)),
        ("Pooling", "pooling_param { kernel_size: [1, 2, 2] stride: [1, 2, 2] }", [(1, 3, 4, 8, 8)], (1, 3, 4, 4, 4)),
        ("Convolution", conv("num_output: 5 kernel_size: 3 pad: 4 hole: 4"), [(1, 3, 20, 20)], (1, 5, 20, 20)),
        ("Convolution", conv("num_output: 5 kernel_size: 3 hole_h: 2 hole_w: 1"), [(1, 3, 9, 9)], (1, 5, 5, 7)),
        ("NdConvolution", conv("num_output: 5 kernel_shape { dim: [1, 3, 3] } pad_shape { dim: [0, 1, 1] }"),
         [(1, 3, 4, 9, 9)], (1, 5, 4, 9, 9)),
        ("NdPooling", "pooling_param { kernel_shape { dim: [2, 2, 2] } stride_shape { dim: [2, 2, 2] } }",
         [(1, 3, 4, 8, 9)], (1, 3, 2, 4, 5)),
        ("Upsample", "upsample_param { scale: 2 }", [(1, 3, 5, 6), (1, 3, 5, 6)], (1, 3, 10, 12)),
        ("Upsample", "upsample_param { scale: 2 pad_out_h: true }", [(1, 3, 6, 6), (1, 3, 6, 6)], (1, 3, 11, 12)),
        ("Upsample", "upsample_param { upsample_h: 9 upsample_w: 7 }", [(1, 3, 5, 4), (1, 3, 5, 4)], (1, 3, 9, 7)),
        ("Upsample", "upsample_param { scale: 3 }", [(1, 3, 5, 6)], (1, 3, 15, 18)),
        ("Unpooling", "unpooling_param { unpool_size: 14 }", [(1, 3, 7, 7), (1, 3, 7, 7)], (1, 3, 14, 14)),
        ("Unpooling", "unpooling_param { kernel_size: 2 stride: 2 }", [(1, 3, 7, 7)], (1, 3, 15, 15)),
        ("Interp", "interp_param { zoom_factor: 8 }", [(1, 3, 9, 9)], (1, 3, 65, 65)),
        ("Interp", "interp_param { shrink_factor: 2 pad_end: -1 }", [(1, 3, 10, 9)], (1, 3, 5, 4)),
        ("Interp", "interp_param { height: 60 width: 50 }", [(1, 3, 1, 1)], (1, 3, 60, 50)),
        ("Interp", "", [(1, 3, 4, 4), (1, 9, 7, 6)], (1, 3, 7, 6)),
        ("Axpy", "", [(2, 3, 1, 1), (2, 3, 4, 4), (2, 3, 4, 4)], (2, 3, 4, 4)),
        ("ROIPooling", "roi_pooling_param { pooled_h: 7 pooled_w: 6 }", [(1, 9, 40, 50), (30, 5)], (30, 9, 7, 6)),
        ("PSROIPooling", "psroi_pooling_param { output_dim: 4 group_size: 3 }", [(1, 36, 9, 9), (8, 5)], (8, 4, 3, 3)),
        ("Reorg", "reorg_param { stride: 2 }", [(1, 8, 6, 6)], (1, 32, 3, 3)),
        ("Reorg", "reorg_param { stride: 2 reverse: true }", [(1, 8, 6, 6)], (1, 2, 12, 12)),
        ("CReLU", "", [(1, 8, 6, 6)], (1, 16, 6, 6)),
        ("ShuffleChannel", "shuffle_channel_param { group: 3 }", [(1, 9, 6, 6)], (1, 9, 6, 6)),
        ("Correlation", "correlation_param { kernel_size: 1 max_displacement: 4 pad: 4 stride_2: 2 }",
         [(1, 8, 6, 6), (1, 8, 6, 6)], (1, 25, 6, 6)),
        ("Resample", "resample_param { height: 9 width: 8 }", [(1, 2, 3, 3)], (1, 2, 9, 8)),
        ("DetectionOutput", "", [(1, 40), (1, 210), (1, 2, 40)], (1, 1, 1, 7)),
        ("SegAccuracy", "", [(1, 21, 4, 4), (1, 1, 4, 4)], (1, 1, 1, 3)),
        ("Concat", "concat_param { per_fla_fuse: true }", [(1, 2, 3, 3), (1, 4, 2, 2)], (1, 34)),
    ],
)  # fmt: skip
def test_each_rule(kind: str, params: str, shapes: list[tuple[int, ...]], expected: tuple[int, ...]) -> None:
    assert made(kind, params, *shapes) == [expected]


@pytest.mark.parametrize(
    ("kind", "params", "learned", "kept", "macs"),
    [
        ("BatchNorm", "", 0, 9, 0),
        ("BatchNorm", "batch_norm_param { scale_bias: true }", 8, 9, 0),  # NVIDIA's: 4C + 1
        ("BN", "bn_param { bn_mode: INFERENCE }", 8, 0, 0),  # SegNet's
        ("BN", "bn_param { frozen: true }", 8, 8, 0),  # PSPNet's
        ("BN", "param { } param { } param { } param { }", 8, 8, 0),
        ("DepthwiseConvolution", conv("num_output: 4 group: 4 kernel_size: 3 pad: 1"), 4 * 9 + 4, 0, 2 * 64 * 4 * 9),
        ("ConvolutionDepthwise", conv("num_output: 4 kernel_size: 3 pad: 1 bias_term: false"), 36, 0, 2 * 64 * 36),
    ],
)
def test_what_is_learned_and_what_is_kept(kind: str, params: str, learned: int, kept: int, macs: int) -> None:
    net = of(PICTURE + layer(kind, params))
    assert (net.learned, net.kept, net.macs, net.params) == (learned, kept, macs, learned + kept)
    assert net.whole and net.params_known and net.macs_known


def test_offsets_of_a_deformable_convolution_are_no_picture() -> None:
    offsets = layer("Convolution", conv("num_output: 72 kernel_size: 3 pad: 1 bias_term: false"), tops="off", name="o")
    words = "deformable_convolution_param { num_output: 6 kernel_size: 3 pad: 1 deformable_group: 4 }"
    net = of(PICTURE + offsets + layer("DeformableConvolution", words, "data off"))
    assert net.blobs["out"] == (2, 6, 8, 8) and net.rows[-1].counted == 6 * 4 * 9 + 6
    assert net.rows[-1].macs == 2 * 64 * 6 * 4 * 9


REGIONS = (
    'layer { name: "in" type: "Python" top: "data" top: "im_info" top: "gt_boxes" '
    'python_param { module: "roi_data_layer.layer" layer: "RoIDataLayer" param_str: "{\'num_classes\': 3}" } }\n'
    + layer("Convolution", conv("num_output: 8 kernel_size: 3 pad: 1 stride: 16"), tops="feature", name="feature")
    + layer("Convolution", conv("num_output: 18 kernel_size: 1"), "feature", "scores", "scores")
    + layer("Convolution", conv("num_output: 36 kernel_size: 1"), "feature", "sides", "sides")
    + layer("Python", 'python_param { layer: "AnchorTargetLayer" }', "scores gt_boxes im_info data", "l t i o", "rpn")
    + layer("Python", 'python_param { layer: "ProposalLayer" }', "scores sides im_info", "found", "proposal")
    + layer("Python", 'python_param { layer: "ProposalTargetLayer" param_str: "{\'num_classes\': 3}" }',
            "found gt_boxes", "rois labels targets inside outside", "roi-data")
    + layer("ROIPooling", "roi_pooling_param { pooled_h: 2 pooled_w: 2 }", "feature rois", "cut", "cut")
    + layer("InnerProduct", "inner_product_param { num_output: 3 }", "cut", "score", "score")
)  # fmt: skip


def test_regions_have_shapes_once_the_picture_has_one() -> None:
    net = of(REGIONS)
    assert net.unknown == ("data",) and not net.params_known
    net = of(REGIONS, data=(1, 3, 64, 96))
    assert net.blobs["l"] == (1, 1, 9 * 4, 6) and net.blobs["t"] == (1, 36, 4, 6)
    assert net.blobs["found"] == (300, 5) and net.blobs["targets"] == (128, 12)
    assert net.blobs["score"] == (128, 3) and net.rows[-1].counted == 3 * 32 + 3
    assert net.params_known and net.unknown == ()
    assert [row.layer.name for row in net.rows if "else --shape" in row.note] == ["proposal", "roi-data"]
    assert of(REGIONS, data=(1, 3, 64, 96), rois=(50, 5)).blobs["score"] == (50, 3)


def test_an_unknown_layer_keeps_its_bottoms_shape_in_place_and_says_that_it_may_learn() -> None:
    net = of(PICTURE + layer("Brandnew", tops="data") + layer("Convolution", conv("num_output: 3 kernel_size: 1")))
    assert net.blobs["out"] == (2, 3, 8, 8) and net.unknown == ()
    assert net.params == 15 and not net.params_known and not net.macs_known


def test_an_unknown_layer_elsewhere_is_what_has_to_be_told() -> None:
    text = PICTURE + layer("Brandnew", tops="new", name="b") + layer("InnerProduct", ip(5), "new", "out")
    assert of(text).unknown == ("new",)
    told = of(text, new=(2, 7))
    assert told.blobs["out"] == (2, 5) and told.unknown == () and told.rows[-1].counted == 40


def ip(outputs: int) -> str:
    return f"inner_product_param {{ num_output: {outputs} }}"


def test_the_hint_names_the_root_and_not_what_follows_from_it() -> None:
    source = 'layer { name: "d" type: "Python" top: "data" top: "label" }\n'
    text = source + layer("InnerProduct", ip(5), tops="s") + layer("SoftmaxWithLoss", "", "s label", "loss", "loss")
    assert of(text).unknown == ("data", "label")
    assert of(text, data=(2, 7)).unknown == ("label",) and of(text, data=(2, 7)).params_known


def test_layers_that_learn_nothing_have_no_unknown_parameters() -> None:
    text = 'layer { name: "d" type: "HDF5Data" top: "data" }\n' + layer("ReLU") + layer("Pooling", pool(""), "out", "p")
    assert [row.counted for row in of(text).rows] == [0, 0, 0] and of(text).params_known


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (layer("Convolution") + layer("ReLU"), []),
        (layer("PriorBox") + layer("DetectionOutput"), ["SSD"]),
        (layer("BN", "bn_param { bn_mode: INFERENCE }") + layer("Upsample"), ["SegNet"]),
        (layer("BN", "bn_param { slope_filler { value: 1 } }") + layer("Interp"), ["PSPNet"]),
        (layer("ROIPooling") + layer("SmoothL1Loss"), ["Fast R-CNN"]),
        (layer("PSROIPooling") + layer("ROIPooling"), ["R-FCN"]),
        (layer("BatchNorm", "batch_norm_param { scale_bias: true }"), ["NVIDIA's Caffe"]),
        (
            layer("Permute", "permute_param { order: 0 }") + layer("DepthwiseConvolution"),
            ["SSD", "DepthwiseConvolution"],
        ),
        ('layers { name: "c" type: CONVOLUTION convolution_param { hole: 2 } }', ["DeepLab"]),
        (layer("Brandnew"), []),
    ],
)
def test_the_fork_that_a_net_is_written_for(text: str, names: list[str]) -> None:
    assert [fork.name for fork in forks.of_net(parse(text))] == names


def test_forks_are_found_by_type_and_field() -> None:
    assert forks.with_type("DetectionOutput")[0].stack == "caffe-ssd"
    assert [fork.name for fork in forks.with_type("MultiStageMeanfield")] == ["CRF-as-RNN"]
    assert forks.with_type("Convolution") == () == forks.with_type("Brandnew")
    assert "caffe-ssd" in [fork.stack for fork in forks.with_field("prior_box_param")]
    assert all(not fork.types & forks.BVLC for fork in forks.FORKS)


NAMES = st.sampled_from(["data", "out", "a", "b"])
NUMBERS = st.one_of(st.integers(-3, 40), st.sampled_from([10**9, 1.5, -0.5]), st.sampled_from([Word("MAX"), "x"]))
WORDS = (
    "num_output kernel_size kernel_h stride pad dilation hole group axis num_axes dim order slice_point top_k "
    "pooled_h pooled_w output_dim group_size scale upsample_h zoom_factor height width min_size aspect_ratio "
    "pyramid_height tiles batch_size channels max_displacement unpool_size layer param_str bias_term global_pooling "
    "input_dim crop_size"
)
FIELDS = st.sampled_from(WORDS.split())
PARAMS = st.lists(st.builds(Field, FIELDS, NUMBERS), max_size=5).map(lambda fields: Message(tuple(fields)))
SHAPES = PARAMS.map(lambda inner: Message((*inner.fields, Field("shape", inner))))


@st.composite
def nets(draw: st.DrawFn) -> Message:
    """A chain of layers of all types that are known, with fields that mean something to some of them."""
    layers = [Field("input", "data"), *(Field("input_dim", size) for size in (2, 4, 8, 8))]
    for kind in draw(st.lists(st.sampled_from(sorted([*RULES, "Python", "Brandnew", "Filter"])), max_size=6)):
        stem = re.sub(r"(?<=[a-zI])(?=[A-Z][a-z])", "_", kind).lower()
        wires = [Field("bottom", name) for name in draw(st.lists(NAMES, max_size=4))]
        wires += [Field("top", name) for name in draw(st.lists(NAMES, max_size=3))]
        params = [Field(f"{name}_param", draw(SHAPES)) for name in (stem, "convolution", "pooling", "python")]
        layers.append(Field("layer", Message((Field("name", kind), Field("type", kind), *wires, *params))))
    return Message(tuple(layers))


@given(nets())
@settings(max_examples=150, deadline=None)
def test_no_net_is_too_odd_to_be_looked_at(net: Message) -> None:
    found = infer(graph.layers(net, *graph.meant(net)))
    assert len(found.rows) == 1 + len(net.all("layer"))
    assert all(shape is None or all(isinstance(size, int) for size in shape) for shape in found.blobs.values())
    assert set(found.unknown) <= {*found.blobs, "data", "out", "a", "b"}
