"""Errors of `net lint` that Caffe stops for: the smallest net or solver that has each, what is said, and how it is
mended. `test_net_lint_errors.py` holds lint against it, `tests/engine/test_net_lint_caffe.py` Caffe itself."""

from dataclasses import dataclass

FEED = """layer { name: "d" type: "DummyData" top: "data" top: "label"
        dummy_data_param { shape { dim: 4 dim: 3 } shape { dim: 4 } } }
"""
SCORE = """layer { name: "score" type: "InnerProduct" bottom: "data" top: "score"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
"""
JUDGED = """layer { name: "accuracy" type: "Accuracy" bottom: "score" bottom: "label" top: "accuracy"
        include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"""
NET = FEED + SCORE + JUDGED
SOLVER = """net: "net.prototxt"
base_lr: 0.01
lr_policy: "step"
gamma: 0.1
stepsize: 50
max_iter: 100
test_iter: 2
test_interval: 20
snapshot: 50
snapshot_prefix: "net"
solver_mode: CPU
"""
PICTURES = 'layer { name: "p" type: "Input" top: "p" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }\n'
OLD = 'input: "p" input_dim: 2 input_dim: 3 input_dim: 8 input_dim: 8\n'


@dataclass(frozen=True)
class Error:
    """A text with the error, the rule and words of the finding, and the mended text."""

    wrong: str | bytes
    rule: str
    said: str
    mended: str


def _in(text: str, old: str, new: str, rule: str, said: str, mended: str = "") -> Error:
    assert old in text, old
    return Error(text.replace(old, new), rule, said, text.replace(old, mended) if mended else text)


def _net(old: str, new: str, rule: str, said: str, mended: str = "") -> Error:
    return _in(NET, old, new, rule, said, mended)


def _behind(layer: str, old: str, new: str, rule: str, said: str) -> Error:
    """A layer behind pictures that is sound with `old`, and not with `new`."""
    return _in(PICTURES + layer, old, new, rule, said)


def _solver(old: str, new: str, rule: str, said: str, mended: str = "") -> Error:
    return _in(SOLVER, old, new, rule, said, mended)


def _added(text: str, rule: str, said: str, mended: str = "") -> Error:
    return Error(SOLVER + text, rule, said, SOLVER + mended)


_TWO = """layer { name: "a" type: "InnerProduct" bottom: "p" top: "a" param { name: "w" lr_mult: 1 decay_mult: 1 }
        inner_product_param { num_output: 2 } }
layer { name: "b" type: "InnerProduct" bottom: "p" top: "b" param { name: "w" lr_mult: 1 decay_mult: 1 }
        inner_product_param { num_output: 2 } }
"""
_INFOGAIN = """layer { name: "in" type: "Input" top: "score" top: "label" top: "matrix"
        input_param { shape { dim: 4 dim: 3 } shape { dim: 4 } shape { dim: 3 dim: 3 } } }
layer { name: "loss" type: "InfogainLoss" bottom: "score" bottom: "label" bottom: "matrix" top: "loss" top: "prob"
        loss_weight: 1 loss_weight: 0 }
"""
_NORM = 'layer { name: "bn" type: "BatchNorm" bottom: "p" top: "p" param { lr_mult: 0 } }\n'
_RELU = """layer { name: "side" type: "ReLU" bottom: "p" top: "side" }
layer { name: "r" type: "ReLU" bottom: "p" top: "r" }
"""
_OLD_IP = OLD + 'layers { name: "x" type: INNER_PRODUCT bottom: "p" top: "x" inner_product_param { num_output: 3 } }\n'
_OF_2013 = OLD + 'layers { layer { name: "x" type: "relu" } bottom: "p" top: "x" }\n'
_DECONV = """layer { name: "x" type: "Deconvolution" bottom: "p" top: "x"
        convolution_param { num_output: 3 kernel_size: 4 weight_filler { type: "bilinear" } } }
"""
_DENSE = """layer { name: "x" type: "InnerProduct" bottom: "p" top: "x"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
"""
_MEMORY = """layer { name: "m" type: "MemoryData" top: "a" top: "b"
        memory_data_param { batch_size: 1 channels: 1 height: 1 width: 1 } transform_param { mean_value: 1 } }
"""

NETS: dict[str, Error] = {
    "mark of UTF-8": Error(b"\xef\xbb\xbf" + NET.encode(), "encoding", "byte order mark", NET),
    "UTF-16": Error(NET.encode("utf-16"), "encoding", "UTF-16", NET),
    "placeholder": Error(
        'layer { name: "i" type: "ImageData" top: "a" top: "b" image_data_param { source: "${LIST}" } }',
        "placeholder",
        "${LIST}",
        PICTURES,
    ),
    "styles mixed": Error(
        NET + 'layers { name: "quiet" type: SILENCE bottom: "label" }\n',
        "style",
        "are mixed",
        NET + 'layer { name: "quiet" type: "Silence" bottom: "label" }\n',
    ),
    "ages mixed": Error(
        _OF_2013 + _OLD_IP.replace(OLD, "").replace('"p"', '"x"').replace('"x"', '"y"'),
        "style",
        "2013 and of 2014",
        _OF_2013,
    ),
    "type of 2013": _in(_OF_2013, '"relu"', '"ReLU"', "style", "no layer of 2013"),
    "padding of an lrn": Error(
        OLD
        + 'layers { layer { name: "q" type: "padding" pad: 1 } bottom: "p" top: "q" }\n'
        + _OF_2013.replace(OLD, "").replace('bottom: "p"', 'bottom: "q"'),
        "style",
        "padding layer",
        _OF_2013,
    ),
    "type without quotes": _net('"InnerProduct"', "InnerProduct", "type", "is no text"),
    "no type": _net(' type: "InnerProduct"', "", "type", "has no type"),
    "empty type": _net('"InnerProduct"', '""', "type", "has no type"),
    "new type in an old layer": _in(_OLD_IP, "INNER_PRODUCT", '"InnerProduct"', "type", "is a word of `layer`"),
    "blobs_lr in a new layer": _net(
        'top: "score"\n', 'top: "score" blobs_lr: 1\n', "field", "blobs_lr is no word of `layer`"
    ),
    "param of 2014": _net('top: "score"\n', 'top: "score" param: "w"\n', "field", "param is no word of `layer`"),
    "param of today": _in(
        _OLD_IP, 'top: "x"', 'top: "x" param { lr_mult: 1 }', "field", "param is no word of `layers`"
    ),
    "propagate_down of today": _in(
        _OLD_IP, 'top: "x"', 'top: "x" propagate_down: true', "field", "no word of `layers`"
    ),
    "no whole number": _net("num_output: 3", "num_output: 3.0", "field", "no whole number"),
    "quoted number": _net("num_output: 3", 'num_output: "3"', "field", "no whole number"),
    "below 0": _net("num_output: 3", "num_output: -3", "field", "may not be below 0"),
    "too large": _net("num_output: 3", "num_output: 99999999999", "field", "beyond what an integer holds"),
    "twice": _net("num_output: 3", "num_output: 3 num_output: 3", "field", "num_output stands twice"),
    "message twice": _net(
        "inner_product_param {",
        "inner_product_param { axis: 1 } inner_product_param {",
        "field",
        "inner_product_param stands twice",
    ),
    "filler twice": _net("weight_filler", "weight_filler { } weight_filler", "field", "weight_filler stands twice"),
    "phase twice": _net("phase: TEST", "phase: TEST phase: TEST", "field", "phase stands twice"),
    "state twice": Error("state { } state { }\n" + NET, "field", "state stands twice", NET),
    "no message": _net("weight_filler {", "bias_filler: 3 weight_filler {", "field", "is a message"),
    "no bool": _net("num_output: 3", "num_output: 3 bias_term: FALSE", "field", "may be true or false"),
    "quoted enum": _net("phase: TEST", 'phase: "TEST"', "field", "none of TRAIN, TEST"),
    "number of no enum": _net("phase: TEST", "phase: 7", "field", "none of TRAIN, TEST"),
    "enum's word": _net('type: "xavier"', 'type: "xavier" variance_norm: fan_in', "field", "none of FAN_IN"),
    "name without quotes": _net('name: "score"', "name: score", "field", "without quotes"),
    "stage without quotes": _net("phase: TEST", "stage: test", "field", "without quotes"),
    "level": _net("phase: TEST", "min_level: 0.0", "field", "no whole number"),
    "filler": _net('"xavier"', '"xaver"', "field", "type 'xaver'"),
    "filler without quotes": _net('"xavier"', "xavier", "field", "xavier without quotes"),
    "std of 0": _net('type: "xavier"', 'type: "gaussian" std: 0', "field", "std 0"),
    "turned uniform": _net('type: "xavier"', 'type: "uniform" min: 1 max: 0', "field", "from 1 to 0"),
    "sparse": _net('type: "xavier"', 'type: "xavier" sparse: 2', "field", "xavier with sparse"),
    "slip in a bottom": _net('bottom: "data"', 'bottom: "dat"', "bottom", "reads dat"),
    "layer too late": Error(SCORE + FEED + JUDGED, "bottom", "reads data", NET),
    "bottom of the test": _net('"label" top: "loss"', '"accuracy" top: "loss"', "bottom", "reads accuracy"),
    "made twice": _net('top: "loss"', 'top: "data"', "top", "loss makes data"),
    "include and exclude": _net(
        "phase: TEST }", "phase: TEST } exclude { phase: TRAIN }", "phase", "include and exclude"
    ),
    "loss weights": _net(
        'top: "loss"', 'top: "loss" loss_weight: 1 loss_weight: 1', "layer", "2 loss_weight for 1 top"
    ),
    "two tops of a loss": _net(
        'top: "loss"', 'top: "loss" top: "prob" loss_weight: 1 loss_weight: 0', "layer", "two tops of SoftmaxWithLoss"
    ),
    "two tops of an infogain": _in(
        _INFOGAIN, " loss_weight: 1 loss_weight: 0", "", "layer", "two tops of InfogainLoss"
    ),
    "propagate_down": _net('top: "loss"', 'top: "loss" propagate_down: true', "layer", "1 propagate_down for 2"),
    "params": _net('top: "score"\n', 'top: "score" param { } param { } param { }\n', "layer", "3 param for 2 blobs"),
    "shared shapes": _in(PICTURES + _TWO, "num_output: 2 } }\nlayer", "num_output: 4 } }\nlayer", "layer", "shares w"),
    "shared rates": _in(
        PICTURES + _TWO,
        "lr_mult: 1 decay_mult: 1 }\n        inner_product_param { num_output: 2 } }\nlayer",
        "lr_mult: 2 decay_mult: 1 }\n        inner_product_param { num_output: 2 } }\nlayer",
        "layer",
        "lr_mult",
    ),
    "norm that is learned": _behind(
        _NORM, "param { lr_mult: 0 }", "param { decay_mult: 0 }", "norm", "lr_mult is not 0"
    ),
    "both means": _in(_MEMORY, "mean_value: 1", 'mean_value: 1 mean_file: "m"', "layer", "a mean_file and mean_value"),
    "HDF5 transformed": Error(
        'layer { name: "h" type: "HDF5Data" top: "a" hdf5_data_param { source: "s" batch_size: 1 }\n'
        "transform_param { scale: 1 } }",
        "layer",
        "HDF5Data with transform_param",
        PICTURES,
    ),
    "input_dim": Error(
        'input: "p" input_dim: 2 input_dim: 3\nlayer { name: "r" type: "ReLU" bottom: "p" top: "r" }',
        "layer",
        "2 input_dim for 1 input",
        OLD + 'layer { name: "r" type: "ReLU" bottom: "p" top: "r" }',
    ),
    "input without a shape": Error(
        'input: "p"\nlayer { name: "r" type: "ReLU" bottom: "p" top: "r" }',
        "layer",
        "p has no shape",
        OLD + 'layer { name: "r" type: "ReLU" bottom: "p" top: "r" }',
    ),
    "too many labels": _in(NET, "shape { dim: 4 } }", "shape { dim: 5 } }", "label", "4 predictions"),
    "score and label swapped": _net(
        '"score" bottom: "label" top: "loss"', '"label" bottom: "score" top: "loss"', "label", "label has one axis"
    ),
    "top_k": _net('top: "accuracy"\n', 'top: "accuracy" accuracy_param { top_k: 4 }\n', "label", "top_k 4 of 3"),
    "dropout": _in(
        NET,
        JUDGED,
        JUDGED + 'layer { name: "x" type: "Dropout" bottom: "data" top: "x"\n'
        'dropout_param { dropout_ratio: 1.5 } }\nlayer { name: "q" type: "Silence" bottom: "x" }\n',
        "layer",
        "dropout_ratio is 1.5",
    ),
    "bilinear of no square": _behind(_DECONV, "kernel_size: 4", "kernel_h: 4 kernel_w: 3", "layer", "a bilinear"),
    "bilinear of two axes": _behind(_DENSE, '"xavier"', '"bilinear"', "layer", "a bilinear"),
    "base": _behind(
        'layer { name: "x" type: "Log" bottom: "p" top: "x" log_param { base: 2 } }\n',
        "base: 2",
        "base: 0",
        "layer",
        "base is 0",
    ),
    "clip": _behind(
        'layer { name: "x" type: "Clip" bottom: "p" top: "x" clip_param { min: 0 max: 1 } }\n',
        " max: 1",
        "",
        "layer",
        "min or max",
    ),
    "python": Error(
        PICTURES + 'layer { name: "x" type: "Python" bottom: "p" top: "x" }', "layer", "no module", PICTURES
    ),
    "no file to write": Error(
        PICTURES + 'layer { name: "x" type: "HDF5Output" bottom: "p" bottom: "p" }',
        "layer",
        "file_name is not given",
        PICTURES,
    ),
    "Reshape in place": _behind(
        'layer { name: "x" type: "Flatten" bottom: "p" top: "x" }\n',
        'top: "x"',
        'top: "p"',
        "in-place",
        "no Flatten works in place",
    ),
    "AbsVal in place": _behind(
        'layer { name: "x" type: "AbsVal" bottom: "p" top: "x" }\n',
        'top: "x"',
        'top: "p"',
        "in-place",
        "no AbsVal works in place",
    ),
    "in place of what another reads": _behind(_RELU, 'top: "r"', 'top: "p"', "in-place", "which side reads"),
    "in place of what it reads twice": _behind(
        'layer { name: "x" type: "Eltwise" bottom: "p" bottom: "p" top: "x" }\n',
        'top: "x"',
        'top: "p"',
        "in-place",
        "itself reads twice",
    ),
    "in place of a loss": _behind(
        'layer { name: "x" type: "Power" bottom: "p" top: "x" loss_weight: 1 }\n'
        'layer { name: "y" type: "ReLU" bottom: "x" top: "y" }\n',
        'top: "y"',
        'top: "x"',
        "in-place",
        "the loss of x",
    ),
}

SOLVERS: dict[str, Error] = {
    "no such net": _solver('net: "net.prototxt"', 'net: "gone.prototxt"', "net", "gone.prototxt is not there"),
    "no net": _solver('net: "net.prototxt"\n', "", "net", "names no net"),
    "two nets": _solver(
        'net: "net.prototxt"', 'net: "net.prototxt" train_net: "net.prototxt"', "net", "both name a net"
    ),
    "policy": _solver('"step"', '"stpe"', "policy", "'stpe'"),
    "no policy": _solver('lr_policy: "step"\n', "", "policy", "is not given"),
    "no stepsize": _solver("stepsize: 50\n", "", "policy", "needs stepsize"),
    "stepsize of 0": _solver("stepsize: 50", "stepsize: 0", "policy", "stepsize is 0"),
    "stepsize below 0": _solver("stepsize: 50", "stepsize: -5", "policy", "stepsize is -5"),
    "gamma below 0": _solver("gamma: 0.1", "gamma: -0.1", "policy", "gamma is -0.1"),
    "gamma of nothing": _solver("gamma: 0.1", "gamma: nan", "policy", "gamma is nan"),
    "no interval": _solver("test_interval: 20\n", "", "test", "without test_interval"),
    "interval below 0": _solver("test_interval: 20", "test_interval: -1", "number", "test_interval is -1"),
    "rounds of two tests": _solver(
        "test_iter: 2",
        'test_iter: 2 test_net: "net.prototxt" test_net: "net.prototxt"',
        "test",
        "1 test_iter for 2",
        'test_iter: 2 test_net: "net.prototxt"',
    ),
    "no net to test": _solver('net: "net.prototxt"', 'train_net: "net.prototxt"', "test", "without a test_net"),
    "states": _added("test_state { } test_state { }", "test", "2 test_state for 1", "test_state { }"),
    "state of the training twice": _added("train_state { } train_state { }", "field", "train_state stands twice"),
    "average of nothing": _added("average_loss: 0", "number", "average_loss is 0", "average_loss: 1"),
    "type in capitals": _added('type: "ADAM"', "solver", "'ADAM'", 'type: "Adam"'),
    "type without quotes": _added("type: Adam", "field", "without quotes", 'type: "Adam"'),
    "quoted old type": _added('solver_type: "ADAM"', "solver", "solver_type is 'ADAM'", "solver_type: ADAM"),
    "both types": _added('solver_type: ADAM type: "Adam"', "solver", "both given", "solver_type: ADAM"),
    "momentum": _added('type: "AdaGrad" momentum: 0.9', "solver", "AdaGrad with momentum", 'type: "AdaGrad"'),
    "rms_decay": _added('type: "RMSProp" rms_decay: 1', "solver", "rms_decay is 1", 'type: "RMSProp" rms_decay: 0.9'),
    "regularization": _added(
        'weight_decay: 0.1 regularization_type: "L3"', "solver", "'L3'", 'weight_decay: 0.1 regularization_type: "L1"'
    ),
    "mode": _solver("solver_mode: CPU", "solver_mode: cpu", "field", "none of CPU, GPU"),
    "mode's number": _solver("solver_mode: CPU", "solver_mode: 2", "field", "none of CPU, GPU", "solver_mode: 0"),
    "whole number": _solver("max_iter: 100", "max_iter: 1e2", "field", "no whole number"),
    "rate in quotes": _solver("base_lr: 0.01", 'base_lr: "0.01"', "field", "no number"),
}
