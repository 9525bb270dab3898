"""Shapes and parameters against Caffe itself: what pycaffe makes of the same nets."""

import json
from functools import cache
from pathlib import Path

import pytest

from images.build import build
from images.choose import choose
from infra import buildx
from infra.shell import LocalShell
from provision.net import graph, schema_source
from provision.net.nets import Net, conv_block, crelu_block, residual
from provision.net.shapes import infer
from provision.net.text import parse
from provision.recipes.loading import load
from provision.recipes.rendering import render

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]
SHELL = LocalShell()

_ASK = """
import json, sys, caffe
found = {}
for name, text in json.load(sys.stdin).items():
    open("/tmp/net.prototxt", "w").write(text)
    net = caffe.Net("/tmp/net.prototxt", caffe.TEST)
    names = [n for n in net.blobs if "_split_" not in n]
    found[name] = {
        "blobs": {n: list(net.blobs[n].data.shape) for n in names},
        "params": {n: [list(p.data.shape) for p in net.params[n]] for n in net.params},
        "outputs": list(net.outputs),
    }
print(json.dumps(found))
"""

SEQUENCES = "num: 5 num: 5 channels: 2 channels: 2 height: 3 height: 1 width: 1 width: 1"
_HEAD = 'input: "data" input_shape { dim: 2 dim: 6 dim: 13 dim: 17 }\n'


def one(kind: str, params: str, bottoms: str = "data", tops: str = "out") -> str:
    wires = "".join(f' bottom: "{name}"' for name in bottoms.split()) + "".join(f' top: "{t}"' for t in tops.split())
    return f'layer {{ name: "{tops.split()[0]}" type: "{kind}"{wires} {params} }}\n'


def conv(words: str) -> str:
    return f"convolution_param {{ num_output: 4 {words} }}"


def windows() -> str:
    kinds = [
        ("Convolution", conv("kernel_size: 3")), ("Convolution", conv("kernel_size: 3 stride: 2 pad: 1")),
        ("Convolution", conv("kernel_h: 5 kernel_w: 1 stride_h: 2 stride_w: 3 pad_h: 2 pad_w: 0 group: 2")),
        ("Convolution", conv("kernel_size: 3 dilation: 2 bias_term: false")),
        ("Deconvolution", conv("kernel_size: 4 stride: 2 pad: 1 group: 2")),
        ("Deconvolution", conv("kernel_size: 3 stride: 3 dilation: 2")),
        ("Pooling", "pooling_param { kernel_size: 3 stride: 2 }"),
        ("Pooling", "pooling_param { kernel_size: 2 stride: 2 }"),
        ("Pooling", "pooling_param { kernel_size: 3 stride: 2 pad: 1 pool: AVE }"),
        ("Pooling", "pooling_param { kernel_size: 2 stride: 2 pad: 1 }"),
        ("Pooling", "pooling_param { kernel_h: 4 kernel_w: 5 stride: 3 }"),
        ("Pooling", "pooling_param { global_pooling: true }"),
        ("SPP", "spp_param { pyramid_height: 3 }"), ("LRN", "lrn_param { local_size: 3 }"),
        ("Im2col", "convolution_param { kernel_size: 3 pad: 1 }"),
    ]  # fmt: skip
    return _HEAD + "".join(one(kind, params, tops=f"x{at}") for at, (kind, params) in enumerate(kinds))


def others() -> str:
    return _HEAD + "".join((
        one("InnerProduct", "inner_product_param { num_output: 7 }", tops="ip"),
        one("InnerProduct", "inner_product_param { num_output: 7 axis: 2 transpose: true }", tops="ip2"),
        one("BatchNorm", "", tops="bn"), one("Scale", "scale_param { bias_term: true }", tops="scale"),
        one("Scale", "scale_param { axis: 2 num_axes: 2 }", tops="scale2"), one("Bias", "", tops="bias"),
        one("PReLU", "", tops="prelu"), one("PReLU", "prelu_param { channel_shared: true }", tops="prelu2"),
        one("Slice", "slice_param { axis: 1 slice_point: 1 slice_point: 4 }", tops="s1 s2 s3"),
        one("Concat", "", "s3 s1 s2", "concat"), one("Concat", "concat_param { axis: 0 }", "data bn", "concat0"),
        one("Eltwise", "eltwise_param { operation: MAX }", "data bn", "max"),
        one("Pooling", "pooling_param { kernel_size: 3 stride: 2 }", tops="small"),
        one("Crop", "crop_param { axis: 2 offset: 1 }", "data small", "crop"),
        one("Reshape", "reshape_param { shape { dim: 0 dim: -1 dim: 13 } }", tops="reshape"),
        one("Reshape", "reshape_param { shape { dim: 3 dim: 2 } axis: 1 num_axes: 1 }", tops="reshape2"),
        one("Flatten", "", tops="flat"), one("Flatten", "flatten_param { axis: 0 end_axis: 2 }", tops="flat2"),
        one("ArgMax", "argmax_param { axis: 1 }", tops="am"),
        one("ArgMax", "argmax_param { out_max_val: true top_k: 3 }", tops="am2"),
        one("Reduction", "reduction_param { axis: 2 }", tops="red"),
        one("Tile", "tile_param { axis: 2 tiles: 3 }", tops="tile"),
        one("Softmax", "", tops="sm"), one("Split", "", tops="sp1 sp2"),
        one("Power", "power_param { scale: -1 }", tops="neg"),
        one("Parameter", "parameter_param { shape { dim: 3 dim: 5 } }", "", "par"),
        one("DummyData", "dummy_data_param { shape { dim: 2 dim: 1 dim: 13 dim: 17 } }", "", "label"),
        one("SoftmaxWithLoss", "", "data label", "loss"), one("Accuracy", "", "data label", "acc each"),
        one("EuclideanLoss", "", "data bn", "l2"),
        one("DummyData", f"dummy_data_param {{ {SEQUENCES} }}", "", "seq cont"),
        one("Reshape", "reshape_param { shape { dim: 5 dim: 2 } }", "cont", "contr"),
        one("LSTM", 'recurrent_param { num_output: 4 weight_filler { type: "xavier" } }', "seq contr", "lstm"),
        one("RNN", 'recurrent_param { num_output: 4 weight_filler { type: "xavier" } }', "seq contr", "rnn"),
        one("Embed", "embed_param { input_dim: 9 num_output: 4 }", "contr", "emb"),
    ))  # fmt: skip


def deep() -> str:
    net = Net("deep")
    top = crelu_block(net, net.inputs((2, 3, 33, 31)), "conv1", 8, stride=2)
    for number in range(4):
        top = residual(net, top, f"res{number}", 8 * (number + 1), stride=2 if number % 2 else 1, project=True)
    top = net.dropout(conv_block(net, top, "conv2", 16, 1))
    net.dense(net.pool(top, "pool", how="AVE"), "score", 10)
    return net.prototxt()


def detector() -> str:
    """The detecting recipe's net as it is used; its own stage is taken by hand, for pycaffe's sake."""
    text = render(load("caffe-detect"), {"size": 64, "width": 8}).files["net.prototxt"]
    return text.replace('phase: TEST stage: "infer"', "phase: TEST").replace('not_stage: "infer"', 'stage: "train"')


def of_2013() -> str:
    """V0, with a padding layer that Caffe folds into the convolution behind it."""
    kinds = [
        ("pad", 'type: "padding" pad: 2', "data", "pad"),
        ("c", 'type: "conv" num_output: 4 kernelsize: 5 stride: 2 group: 2 blobs_lr: 1 blobs_lr: 2', "pad", "c"),
        ("r", 'type: "relu"', "c", "c"), ("n", 'type: "lrn" local_size: 3', "c", "n"),
        ("p", 'type: "pool" pool: MAX kernelsize: 3 stride: 2', "n", "p"), ("d", 'type: "dropout"', "p", "p"),
        ("f", 'type: "flatten"', "p", "f"), ("ip", 'type: "innerproduct" num_output: 7 biasterm: false', "f", "ip"),
        ("sm", 'type: "softmax"', "ip", "sm"),
    ]  # fmt: skip
    layers = (f'layers {{ layer {{ name: "{name}" {words} }} bottom: "{bottom}" top: "{top}" }}\n'
              for name, words, bottom, top in kinds)  # fmt: skip
    return 'input: "data" input_dim: 2 input_dim: 6 input_dim: 13 input_dim: 17\n' + "".join(layers)


def of_2014() -> str:
    """V1, with parameters that two layers share."""
    kinds = [
        ("a", "INNER_PRODUCT", "data", 'param: "w" param: "b" blobs_lr: 1 inner_product_param { num_output: 3 }'),
        ("b", "INNER_PRODUCT", "data", 'param: "w" param: "b" inner_product_param { num_output: 3 }'),
        ("c", "CONVOLUTION", "data", "blobs_lr: 1 blobs_lr: 2 convolution_param { num_output: 5 kernel_size: 3 }"),
        ("p", "POOLING", "c", "pooling_param { kernel_size: 3 stride: 2 pad: 1 }"), ("s", "SIGMOID", "p", ""),
        ("t", "TANH", "p", "include { phase: TRAIN }"),
    ]  # fmt: skip
    layers = (f'layers {{ name: "{name}" type: {kind} bottom: "{bottom}" top: "{name}" {words} }}\n'
              for name, kind, bottom, words in kinds)  # fmt: skip
    return 'input: "data" input_dim: 2 input_dim: 6 input_dim: 13 input_dim: 17\n' + "".join(layers)


NETS = {
    "windows": windows, "others": others, "deep": deep, "detector": detector, "of_2013": of_2013, "of_2014": of_2014,
}  # fmt: skip


@cache
def caffes() -> dict[str, dict[str, object]]:
    """What Caffe says of all of them, asked at once."""
    texts = json.dumps({name: make() for name, make in NETS.items()})
    told = buildx.run_in(SHELL, build(choose("caffe-debian"), SHELL).tag, ["python3", "-c", _ASK], stdin=texts)
    assert told.ok, told.err
    found: dict[str, dict[str, object]] = json.loads(told.out.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", sorted(NETS))
def test_shapes_and_parameters_are_caffes(name: str) -> None:
    ours, theirs = infer(graph.layers(parse(NETS[name]()), "TEST")), caffes()[name]
    assert [row.odd for row in ours.rows if row.odd] == []
    assert {blob: list(shape or ()) for blob, shape in ours.blobs.items()} == theirs["blobs"]
    params = {row.layer.name: [list(shape) for shape in row.params or ()] for row in ours.rows}
    assert {layer: shapes for layer, shapes in params.items() if shapes} == theirs["params"]
    assert sorted(blob for blob, _ in ours.outputs()) == sorted(theirs["outputs"])  # type: ignore[call-overload]


def test_the_images_schema_reads_what_the_image_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The schema out of the built image: it takes all nets above, and knows the layers that Caffe registered."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    build(choose("caffe-debian"), SHELL)
    schema = schema_source.find("caffe-debian")
    assert schema is not None and schema.origin.startswith("image ")
    assert {"Convolution", "Python", "SoftmaxWithLoss"} <= schema.types and "MultiStageMeanfield" not in schema.types
    for make in NETS.values():
        assert list(schema.faults(parse(make()))) == []
    assert [fault.near for fault in schema.faults(parse("layer { convolution_parm { } }"))] == [("convolution_param",)]
