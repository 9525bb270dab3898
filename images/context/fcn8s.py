#!/usr/bin/env python3
"""Print a net of the size of FCN-8s on VGG-16, with random weights and inputs, to measure with.

    python3 fcn8s.py --size 500 > fcn8s.prototxt && caffe time -model fcn8s.prototxt -iterations 1

Its shape is that of the paper (Long, Shelhamer, Darrell 2015): five blocks of 3x3 convolutions behind a border of 100,
fully connected layers as convolutions, and scores of three depths brought to the input's size by deconvolutions.
"""

# ruff: noqa: UP031
# (f-strings are of Python 3.6)

import argparse
from collections.abc import Iterator
from itertools import chain

BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))  # convolutions, channels
CROP_POOL4, CROP_POOL3, CROP_IMAGE = 5, 9, 31  # pixels by which the border of 100 shifts the scores


def layer(kind: str, name: str, bottoms: "tuple[str, ...]", parameters: str = "") -> str:
    """One layer; its top has its name."""
    joined = " ".join('bottom: "%s"' % bottom for bottom in bottoms)
    return 'layer { name: "%s" type: "%s" %s top: "%s" %s}' % (name, kind, joined, name, parameters)


def dummy(name: str, shape: "tuple[int, ...]", filler: str) -> str:
    sizes = " ".join("dim: %d" % size for size in shape)
    return layer("DummyData", name, (), "dummy_data_param { shape { %s } data_filler { %s } } " % (sizes, filler))


def conv(name: str, bottom: str, channels: int, kernel: int, pad: int = 0) -> str:
    return layer(
        "Convolution",
        name,
        (bottom,),
        'convolution_param { num_output: %d kernel_size: %d pad: %d weight_filler { type: "xavier" } } '
        % (channels, kernel, pad),
    )


def deconv(name: str, bottom: str, channels: int, kernel: int, stride: int) -> str:
    return layer(
        "Deconvolution",
        name,
        (bottom,),
        "convolution_param { num_output: %d kernel_size: %d stride: %d bias_term: false "
        'weight_filler { type: "bilinear" } } ' % (channels, kernel, stride),
    )


def crop(name: str, bottom: str, like: str, offset: int) -> str:
    return layer("Crop", name, (bottom, like), "crop_param { axis: 2 offset: %d } " % offset)


def relu(bottom: str) -> str:
    return 'layer { name: "relu_%s" type: "ReLU" bottom: "%s" top: "%s" }' % (bottom, bottom, bottom)


def trunk() -> "Iterator[str]":
    """VGG-16's five blocks; the last layer is pool5."""
    bottom = "data"
    for block, (count, channels) in enumerate(BLOCKS, start=1):
        for number in range(1, count + 1):
            name = "conv%d_%d" % (block, number)
            yield conv(name, bottom, channels, 3, 100 if name == "conv1_1" else 1)
            yield relu(name)
            bottom = name
        yield layer("Pooling", "pool%d" % block, (bottom,), "pooling_param { pool: MAX kernel_size: 2 stride: 2 } ")
        bottom = "pool%d" % block


def head(classes: int) -> "Iterator[str]":
    """From pool5 to scores of the input's size."""
    yield conv("fc6", "pool5", 4096, 7)
    yield relu("fc6")
    yield conv("fc7", "fc6", 4096, 1)
    yield relu("fc7")
    yield conv("score_fc7", "fc7", classes, 1)
    yield deconv("up_fc7", "score_fc7", classes, 4, 2)
    yield conv("score_pool4", "pool4", classes, 1)
    yield crop("crop_pool4", "score_pool4", "up_fc7", CROP_POOL4)
    yield layer("Eltwise", "fused_pool4", ("up_fc7", "crop_pool4"))
    yield deconv("up_pool4", "fused_pool4", classes, 4, 2)
    yield conv("score_pool3", "pool3", classes, 1)
    yield crop("crop_pool3", "score_pool3", "up_pool4", CROP_POOL3)
    yield layer("Eltwise", "fused_pool3", ("up_pool4", "crop_pool3"))
    yield deconv("up_pool3", "fused_pool3", classes, 16, 8)
    yield crop("score", "up_pool3", "data", CROP_IMAGE)
    yield layer("SoftmaxWithLoss", "loss", ("score", "label"))


def net(size: int, classes: int, batch: int) -> str:
    """The net's text; `size` is the input's width and height in pixels."""
    inputs = [
        dummy("data", (batch, 3, size, size), 'type: "gaussian" std: 50'),
        dummy("label", (batch, 1, size, size), 'type: "constant" value: 1'),
    ]
    return "\n".join(chain(['name: "fcn8s"'], inputs, trunk(), head(classes))) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Print a net of the size of FCN-8s.")
    parser.add_argument("--size", type=int, default=500, help="width and height of the input in pixels (500)")
    parser.add_argument("--classes", type=int, default=21, help="classes to tell apart (21)")
    parser.add_argument("--batch", type=int, default=1, help="images at once (1)")
    given = parser.parse_args()
    print(net(given.size, given.classes, given.batch), end="")


if __name__ == "__main__":
    main()
