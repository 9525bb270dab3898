"""What Caffe stops for in one layer: each on the smallest net, and the sound form beside it."""

from pathlib import Path

import pytest

from provision.lint.net import lint
from provision.net import graph
from provision.net.shapes import infer
from provision.net.text import parse
from tests.unit.test_net_shapes import conv, layer

FED = 'layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 20 dim: 30 } } }\n'
MORE = """layer { name: "more" type: "Input" top: "cut" top: "row" top: "cont" top: "mark" top: "seq"
  input_param { shape { dim: 2 dim: 3 dim: 10 dim: 15 } shape { dim: 2 dim: 6 } shape { dim: 3 dim: 2 }
                shape { dim: 2 } shape { dim: 3 dim: 2 dim: 4 } } }
"""


def odd(kind: str, params: str = "", bottoms: str = "data", tops: str = "out") -> str:
    """What is said of one layer behind blobs of 2 x 3 x 20 x 30, 2 x 3 x 10 x 15, 2 x 6, 3 x 2, 2 and 3 x 2 x 4."""
    text = FED + MORE + layer(kind, params, bottoms, tops)
    return infer(graph.layers(parse(text), "TRAIN")).rows[-1].odd


STOPS = [
    ("ReLU", "", "data data", "out", "takes 1 bottom, and has 2", "data", "out"),
    ("SoftmaxWithLoss", "", "row", "out", "takes 2 bottoms, and has 1", "row mark", "out"),
    ("Eltwise", "", "data", "out", "at least 2 bottoms", "data data", "out"),
    ("Convolution", conv("num_output: 3 kernel_size: 3"), "data", "", "at least 1 top, and has none", "data", "out"),
    (
        "Convolution",
        conv("num_output: 3 kernel_size: 3"),
        "data data",
        "out",
        "a top of each bottom",
        "data data",
        "a b",
    ),
    (
        "Convolution",
        conv("num_output: 3 kernel_size: 3"),
        "data cut",
        "a b",
        "bottoms of one shape",
        "data data",
        "a b",
    ),
    ("Pooling", "pooling_param { pool: AVE kernel_size: 2 }", "data", "a b", "pool: MAX alone", "data", "a"),
    ("EuclideanLoss", "", "data row", "out", "do not hold as many numbers", "data data", "out"),
    ("EuclideanLoss", "", "cont row", "out", "not of as many pictures", "row row", "out"),
    ("SigmoidCrossEntropyLoss", "", "data row", "out", "do not hold as many numbers", "data data", "out"),
    ("ContrastiveLoss", "", "row data mark", "out", "do not hold as many numbers", "row row mark", "out"),
    ("ContrastiveLoss", "", "data data mark", "out", "without height and width", "row row mark", "out"),
]


@pytest.mark.parametrize(("kind", "params", "bottoms", "tops", "said", "well", "sound"), STOPS)
def test_bottoms_and_tops(kind: str, params: str, bottoms: str, tops: str, said: str, well: str, sound: str) -> None:
    assert said in odd(kind, params, bottoms, tops)
    assert odd(kind, params, well, sound) == ""


VALUES = [
    ("Convolution", conv("num_output: 3.0 kernel_size: 3"), "num_output is 3.0", conv("num_output: 3 kernel_size: 3")),
    ("Convolution", conv('num_output: "3" kernel_size: 3'), "num_output is '3'", conv("num_output: 3 kernel_size: 3")),
    ("Convolution", conv("num_output: 3 kernel_size: 3 pad: -1"), "pad is -1", conv("num_output: 3 kernel_size: 3")),
    ("Convolution", conv("num_output: 3 kernel_size: 3 kernel_h: 3 kernel_w: 3"), "both given",
     conv("num_output: 3 kernel_h: 3 kernel_w: 3")),
    ("Convolution", conv("num_output: 3 kernel_size: 3 stride_h: 2"), "stride_h is given without stride_w",
     conv("num_output: 3 kernel_size: 3 pad_h: 2")),
    ("Pooling", "pooling_param { kernel_w: 3 }", "kernel_w is given without kernel_h",
     "pooling_param { kernel_h: 3 kernel_w: 3 }"),
    ("Pooling", "pooling_param { global_pooling: true kernel_size: 3 }", "no room for kernel_size",
     "pooling_param { global_pooling: true }"),
    ("Pooling", "pooling_param { global_pooling: true stride: 2 }", "no room for stride",
     "pooling_param { global_pooling: true stride: 1 pad: 0 }"),
    ("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 3 pad: 1 }", "MAX and AVE alone",
     "pooling_param { pool: STOCHASTIC kernel_size: 3 }"),
    ("Reshape", "reshape_param { shape { dim: -1 dim: -1 } }", "one may be -1",
     "reshape_param { shape { dim: 0 dim: -1 } }"),
    ("Reshape", "", "no shape", "reshape_param { shape { dim: 0 dim: -1 } }"),
    ("Flatten", "flatten_param { axis: 3 end_axis: 1 }", "before axis 3", "flatten_param { axis: 1 end_axis: 1 }"),
    ("Tile", "tile_param { axis: 1 }", "tiles is not given", "tile_param { axis: -1 tiles: 2 }"),
    ("ArgMax", "argmax_param { top_k: 9 axis: 1 }", "top_k 9 of 3", "argmax_param { top_k: 9 axis: 2 }"),
    ("Scale", "scale_param { axis: 2 num_axes: 9 }", "cannot be spread", "scale_param { axis: 2 num_axes: 2 }"),
    ("LRN", "lrn_param { local_size: 4 }", "not odd", "lrn_param { local_size: 3 }"),
    ("Softmax", "softmax_param { axis: 4 }", "axis 4", "softmax_param { axis: -1 }"),
    ("Embed", "embed_param { num_output: 4 }", "input_dim is not given", "embed_param { num_output: 4 input_dim: 9 }"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "wrong", "said", "sound"), VALUES)
def test_values(kind: str, wrong: str, said: str, sound: str) -> None:
    assert said in odd(kind, wrong)
    assert odd(kind, sound) == ""


@pytest.mark.parametrize(
    ("kind", "wrong", "said", "sound", "bottoms"),
    [
        ("Crop", "crop_param { offset: 11 }", "offset 11 of axis 2", "crop_param { offset: 10 }", "data cut"),
        ("Crop", "crop_param { offset: 1 offset: 1 offset: 1 }", "3 offsets for 2 axes",
         "crop_param { offset: 10 offset: 15 }", "data cut"),
        ("Eltwise", "eltwise_param { coeff: 1 }", "1 coeff for 2", "eltwise_param { coeff: 1 coeff: -1 }", "data data"),
        ("Eltwise", "eltwise_param { operation: PROD coeff: 1 coeff: 1 }", "coeff is of sums",
         "eltwise_param { operation: PROD }", "data data"),
        ("LSTM", "recurrent_param { num_output: 0 }", "is 0", "recurrent_param { num_output: 4 }", "seq cont"),
    ],
)  # fmt: skip
def test_values_of_several_bottoms(kind: str, wrong: str, said: str, sound: str, bottoms: str) -> None:
    assert said in odd(kind, wrong, bottoms)
    assert odd(kind, sound, bottoms) == ""


def test_a_recurrent_layer_wants_a_mark_for_each_step() -> None:
    assert "sequence marks of 2 x 3, not 3 x 2" in odd("LSTM", "recurrent_param { num_output: 4 }", "data cont")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('layer { name: "x" type: "Input" top: "a" top: "b" top: "c" input_param { shape { } shape { dim: 2 } } }',
         "2 shapes for 3 tops"),
        ('layer { name: "x" type: "ImageData" top: "a" top: "b" image_data_param { source: "s" new_height: 3 } }',
         "given together"),
        ('layer { name: "x" type: "MemoryData" top: "a" top: "b" memory_data_param { batch_size: 3 } }', "not all"),
        ('layer { name: "x" type: "ImageData" top: "a" image_data_param { source: "s" } }', "takes 2 tops, and has 1"),
        ('layer { name: "x" type: "Data" top: "a" top: "b" top: "c" data_param { batch_size: 1 } }', "1 or 2 tops"),
    ],
)  # fmt: skip
def test_sources(text: str, said: str) -> None:
    assert said in infer(graph.layers(parse(text), "TRAIN")).rows[0].odd


IP = "inner_product_param { num_output: 9 }"
SPECS = [
    (f"{IP} include {{ phase: TEST }} exclude {{ phase: TRAIN }}", "has include and exclude"),
    (f"{IP} loss_weight: 1 loss_weight: 2", "2 loss_weight for 1 top"),
    (f"{IP} propagate_down: true propagate_down: false", "2 propagate_down for 1 bottom"),
    (f"{IP} param {{ }} param {{ }} param {{ }}", "3 param for 2 blobs"),
    ('inner_product_param { num_output: 9 weight_filler { type: "guassian" } }', "weight_filler of type 'guassian'"),
    ("inner_product_param { num_output: 9 num_output: 8 }", "num_output stands twice"),
    (
        "inner_product_param { num_output: 9 } inner_product_param { bias_term: false }",
        "inner_product_param stands twice",
    ),
    ("inner_product_param { num_output: 9 bias_term: FALSE }", "bias_term is FALSE"),
    ('inner_product_param { num_output: 9 } include { phase: "TEST" }', 'phase is "TEST"'),
]


@pytest.mark.parametrize(("params", "said"), SPECS)
def test_what_stands_beside_the_parameters(params: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(FED + layer("InnerProduct", params))
    found = [one for one in lint(tmp_path / "net.prototxt").findings if said in one.what]
    assert [(one.level, one.line) for one in found] == [("error", 2)]


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (IP, "inner_product_param { num_output: 8 }", "8 x 1800 and 9 x 1800"),
        (f"{IP} ", f"{IP} ", ""),
    ],
)
def test_shared_parameters_are_alike(first: str, second: str, said: str, tmp_path: Path) -> None:
    spec = 'param { name: "w" lr_mult: 1 }'
    text = FED + layer("InnerProduct", f"{first} {spec}", tops="a", name="a")
    (tmp_path / "net.prototxt").write_text(text + layer("InnerProduct", f"{second} {spec}", tops="b", name="b"))
    assert [said in one.what for one in lint(tmp_path / "net.prototxt").findings] == [True] * bool(said)
    other = spec.replace("1", "2")
    (tmp_path / "net.prototxt").write_text(text + layer("InnerProduct", f"{first} {other}", tops="b", name="b"))
    assert ["lr_mult 2 and 1" in one.what for one in lint(tmp_path / "net.prototxt").findings] == [True]


@pytest.mark.parametrize(
    ("text", "said", "mend"),
    [
        ('layer { name: "x" bottom: "data" top: "y" }', "x has no type", "write type"),
        ('layer { name: "x" type: INNER_PRODUCT bottom: "data" top: "y" }', "type: INNER_PRODUCT is no text",
         'write type: "InnerProduct"'),
        ('layer { name: "x" type: "INNER_PRODUCT" bottom: "data" top: "y" }', "of type INNER_PRODUCT", "InnerProduct"),
    ],
)  # fmt: skip
def test_types_in_another_style(text: str, said: str, mend: str, tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(FED + text)
    (found,) = lint(tmp_path / "net.prototxt").findings
    assert (said in found.what, mend in found.mend) == (True, True)


def test_a_new_type_in_an_old_layer_is_for_net_upgrade(tmp_path: Path) -> None:
    old = 'layers { name: "r" type: "ReLU" bottom: "data" top: "r" }'
    (tmp_path / "net.prototxt").write_text('input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8\n' + old)
    (found,) = lint(tmp_path / "net.prototxt").findings
    assert found.level == "error" and "is a word of `layer`" in found.what and "net upgrade" in found.mend


DATA = 'layer {{ name: "d" type: "{}" top: "data" top: "label" {} }}\n'


@pytest.mark.parametrize(
    ("kind", "params", "said"),
    [
        (
            "Data",
            'data_param { source: "s" batch_size: 2 } transform_param { mean_file: "m" mean_value: 1 }',
            "mean_file",
        ),
        (
            "HDF5Data",
            'hdf5_data_param { source: "s" batch_size: 2 } transform_param { scale: 1 }',
            "with transform_param",
        ),
    ],
)
def test_data_layers(kind: str, params: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(DATA.format(kind, params) + layer("SoftmaxWithLoss", "", "data label"))
    assert any(said in one.what and one.level == "error" for one in lint(tmp_path / "net.prototxt").findings)


SCORED = DATA.format("Data", 'data_param { source: "s" batch_size: 2 } transform_param { crop_size: 8 mean_value: 1 }')
SCORED = SCORED.replace("mean_value: 1", "mean_value: 1 mean_value: 2 mean_value: 3")
SPOILT = [
    ("SoftmaxWithLoss", "", "label score", "error", "label has one axis"),
    ("Accuracy", "", "label score", "error", "label has one axis"),
    ("SoftmaxWithLoss", "", "likely label", "warning", "is given what soft makes, a Softmax"),
    ("SoftmaxWithLoss", "", "one label", "warning", "one class"),
]


@pytest.mark.parametrize(("kind", "params", "bottoms", "level", "said"), SPOILT)
def test_what_a_loss_is_given(kind: str, params: str, bottoms: str, level: str, said: str, tmp_path: Path) -> None:
    text = SCORED + layer("InnerProduct", IP, tops="score", name="score")
    text += layer("InnerProduct", IP.replace("9", "1"), tops="one", name="one")
    text += layer("Softmax", "", "score", "likely", name="soft") + layer("SoftmaxWithLoss", "", "score label", "l", "l")
    (tmp_path / "net.prototxt").write_text(text)
    assert not [one for one in lint(tmp_path / "net.prototxt").findings if one.rule in ("label", "loss")]
    (tmp_path / "net.prototxt").write_text(text + layer(kind, params, bottoms, "last", "last"))
    found = [one for one in lint(tmp_path / "net.prototxt").findings if one.rule in ("label", "loss")]
    assert [(one.level, said in one.what) for one in found] == [(level, True)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('input: "a" input_dim: 1 input_dim: 3 input_dim: 8', "3 input_dim for 1 input"),
        ('input: "a" input: "b" input_shape { dim: 2 }', "1 input_shape for 2 inputs"),
        ('input: "a"', "input a has no shape"),
        ('input: "a" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8', ""),
    ],
)
def test_inputs_and_their_shapes(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(text + "\n" + layer("Softmax", "", "a"))
    found = [one.what for one in lint(tmp_path / "net.prototxt").findings if one.rule == "layer"]
    assert [said in what for what in found] == [True] * bool(said)


@pytest.mark.parametrize(
    ("kind", "params", "said"),
    [
        ("Data", 'data_param { source: "train_lmdb" batch_size: 2 }', "reads train_lmdb with backend LEVELDB"),
        ("ImageData", 'image_data_param { source: "s" new_height: 8 new_width: 9 } transform_param { crop_size: 9 }',
         "a crop of 9 does not fit into 8 x 9"),
    ],
)  # fmt: skip
def test_what_a_data_layer_reads(kind: str, params: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(DATA.format(kind, params) + layer("SoftmaxWithLoss", "", "data label"))
    assert any(said in one.what for one in lint(tmp_path / "net.prototxt").findings)


@pytest.mark.parametrize("ratio", ["1", "1.5", "-0.1"])
def test_a_dropout_that_leaves_nothing(ratio: str, tmp_path: Path) -> None:
    text = FED + layer("Dropout", f"dropout_param {{ dropout_ratio: {ratio} }}", tops="data")
    (tmp_path / "net.prototxt").write_text(text)
    assert [f"dropout_ratio is {ratio}" in one.what for one in lint(tmp_path / "net.prototxt").findings] == [True]
    (tmp_path / "net.prototxt").write_text(text.replace(f"_ratio: {ratio}", "_ratio: 0.5"))
    assert lint(tmp_path / "net.prototxt").findings == ()


def test_old_types_by_their_numbers() -> None:
    text = 'layers { name: "d" type: 32 top: "d" } layers { name: "i" type: 14 } layers { name: "c" type: 39 }'
    assert [one.type for one in graph.every(parse(text))] == ["DummyData", "InnerProduct", "Deconvolution"]


@pytest.mark.parametrize(
    ("param", "said"),
    [
        ("batch_size: 2 backend: LMDB", "d: no source is given"),
        ('source: "s"', "d: batch_size is not given"),
        ('source: "s" batch_size: 0', "d: batch_size is 0"),
    ],
)
def test_what_digits_fills_in(param: str, said: str, tmp_path: Path) -> None:
    net, solver = tmp_path / "net.prototxt", tmp_path / "solver.prototxt"
    data = DATA.format("Data", f"data_param {{ {param} }}")
    net.write_text(data + layer("SoftmaxWithLoss", "", "data label"))
    solver.write_text('net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 9 snapshot: 3')
    levels = [[one.level for one in lint(file).findings if one.what == said] for file in (net, solver)]
    assert levels == [["warning"], ["error"]]
    net.write_text(data.replace("top:", 'include { stage: "train" } top:', 1) + layer("Silence", "", "data label", ""))
    assert not [one for one in lint(net).findings if one.what.startswith(said)]
