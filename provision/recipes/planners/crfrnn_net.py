"""The layers between image and scores of the recipe `crfrnn`: FCN-8s on VGG-16, or a small body to try things with.

The shape of FCN-8s is that of the paper (Long, Shelhamer, Darrell 2015): VGG-16 behind a border of 100 pixels, its
fully connected layers as convolutions, and scores of three depths brought to the image's size. The border shifts the
scores: `Crop` takes it off by offsets that follow from the layers (5, 9, 31). A net without them learns shifted scores.

Caffe finds trained weights by the names and shapes of layers. Both published nets (fcn-8s-pascal, TVG_CRFRNN_COCO_VOC)
name their score layers `score-fr` and so on and have deconvolutions that mix all channels. Where ours start anew, they
have names of their own, and deconvolutions that keep channels apart: Caffe's bilinear filler fills every pair of
channels alike, so that one which mixes them would give every class the same score.
"""

from dataclasses import dataclass
from typing import NamedTuple

BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))  # convolutions, channels
SMALL = (16, 32, 64)
_BORDER = 100
_LEARNS = "param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }"
_STAYS = "param { lr_mult: 0 decay_mult: 0 }"


class Layer(NamedTuple):
    """A layer's text, and how many numbers it learns or keeps."""

    text: str
    weights: int = 0


@dataclass(frozen=True)
class Names:
    """What layers of a certain number of outputs are called. `suffix` is empty for the published nets' names, which
    also means their shapes."""

    suffix: str = ""

    @property
    def published(self) -> bool:
        return not self.suffix

    def of(self, name: str) -> str:
        return f"{name}{self.suffix}"


def layer(kind: str, name: str, bottoms: tuple[str, ...], more: str = "", top: str = "") -> Layer:
    """A layer without weights; its top has its name where no other is given."""
    joined = " ".join(f'bottom: "{bottom}"' for bottom in bottoms)
    inside = f"  {more}\n" if more else ""
    return Layer(f'layer {{\n  name: "{name}" type: "{kind}" {joined} top: "{top or name}"\n{inside}}}')


def relu(bottom: str) -> Layer:
    return layer("ReLU", f"relu_{bottom}", (bottom,), top=bottom)


def dropout(bottom: str) -> Layer:
    return layer("Dropout", f"drop_{bottom}", (bottom,), "dropout_param { dropout_ratio: 0.5 }", bottom)


def conv(name: str, bottom: str, inputs: int, outputs: int, kernel: int, pad: int = 0, filler: str = "msra") -> Layer:
    """A convolution that learns, its bias at twice the rate. The filler is for what no trained weights replace."""
    shape = f"num_output: {outputs} kernel_size: {kernel}" + (f" pad: {pad}" if pad else "")
    more = f'{_LEARNS}\n  convolution_param {{ {shape} weight_filler {{ type: "{filler}" }} }}'
    return layer("Convolution", name, (bottom,), more)._replace(weights=(inputs * kernel * kernel + 1) * outputs)


def scores(name: str, bottom: str, inputs: int, outputs: int) -> Layer:
    """Scores of each class. They begin at zero, as in FCN: depths that know nothing yet do not disturb the others."""
    return conv(name, bottom, inputs, outputs, 1, filler="constant")


def pool(name: str, bottom: str) -> Layer:
    return layer("Pooling", name, (bottom,), "pooling_param { pool: MAX kernel_size: 2 stride: 2 }")


def bilinear(name: str, bottom: str, channels: int, factor: int, pad: int = 0) -> Layer:
    """Larger by `factor`, each channel by itself, with weights that stay."""
    shape = f"num_output: {channels} group: {channels} kernel_size: {2 * factor} stride: {factor}"
    shape += (f" pad: {pad}" if pad else "") + ' bias_term: false weight_filler { type: "bilinear" }'
    more = f"{_STAYS}\n  convolution_param {{ {shape} }}"
    return layer("Deconvolution", name, (bottom,), more)._replace(weights=channels * 4 * factor * factor)


def trained_double(name: str, bottom: str, channels: int, bias: bool) -> Layer:
    """Larger by 2 as the published nets do it: all channels mixed, with their trained weights."""
    shape = f"num_output: {channels} kernel_size: 4 stride: 2" + ("" if bias else " bias_term: false")
    rates = _LEARNS if bias else "param { lr_mult: 1 decay_mult: 1 }"
    more = f"{rates}\n  convolution_param {{ {shape} }}"
    count = channels * channels * 16 + (channels if bias else 0)
    return layer("Deconvolution", name, (bottom,), more)._replace(weights=count)


def crop(name: str, bottom: str, like: str, offset: int) -> Layer:
    return layer("Crop", name, (bottom, like), f"crop_param {{ axis: 2 offset: {offset} }}")


def vgg16() -> list[Layer]:
    """Five blocks of 3x3 convolutions; the last layer is pool5."""
    layers, bottom, channels = [], "data", 3
    for block, (count, wider) in enumerate(BLOCKS, start=1):
        for number in range(1, count + 1):
            name = f"conv{block}_{number}"
            layers += [conv(name, bottom, channels, wider, 3, _BORDER if bottom == "data" else 1), relu(name)]
            bottom, channels = name, wider
        layers.append(pool(f"pool{block}", bottom))
        bottom = f"pool{block}"
    return layers


def fcn8s(outputs: int, names: Names) -> list[Layer]:
    """From `data` to `coarse`, the scores of each pixel: [1, outputs, height, width]."""
    layers = vgg16()
    layers += [conv("fc6", "pool5", 512, 4096, 7), relu("fc6"), dropout("fc6")]
    layers += [conv("fc7", "fc6", 4096, 4096, 1), relu("fc7"), dropout("fc7")]
    head, at4, at3 = (names.of(name) for name in ("score-fr", "score-pool4", "score-pool3"))
    layers.append(scores(head, "fc7", 4096, outputs))
    layers += _fused(outputs, names, "score2", head, at4, "pool4", 512, 5)
    layers += _fused(outputs, names, "score4", "fused-pool4", at3, "pool3", 256, 9)
    layers += [bilinear("upsample8", "fused-pool3", outputs, 8), crop("coarse", "upsample8", "data", 31)]
    return layers


def _fused(
    outputs: int, names: Names, double: str, deep: str, skip: str, source: str, channels: int, offset: int
) -> list[Layer]:
    """The deeper scores at twice their size, and on them those of `source`."""
    name = names.of(double)
    if names.published:
        larger = trained_double(name, deep, outputs, bias=double == "score2")
    else:
        larger = bilinear(name, deep, outputs, 2)
    return [
        larger,
        scores(skip, source, channels, outputs),
        crop(f"crop-{source}", skip, name, offset),
        layer("Eltwise", f"fused-{source}", (name, f"crop-{source}"), "eltwise_param { operation: SUM }"),
    ]


def small(outputs: int, names: Names) -> list[Layer]:
    """Three convolutions and scores at a quarter of the size: learns a few pictures by heart in a minute on a CPU."""
    layers, bottom, channels = [], "data", 3
    for number, wider in enumerate(SMALL, start=1):
        name = f"small{number}"
        layers += [conv(name, bottom, channels, wider, 3, 1), relu(name)]
        bottom, channels = name, wider
        if number < len(SMALL):
            layers.append(pool(f"pool{number}", name))
            bottom = f"pool{number}"
    head = names.of("score")
    layers += [scores(head, bottom, channels, outputs), bilinear("upsample4", head, outputs, 4, 2)]
    return [*layers, crop("coarse", "upsample4", "data", 0)]


BODIES = {"fcn8s": fcn8s, "small": small}


def text(layers: list[Layer]) -> str:
    return "\n".join(one.text for one in layers)


def weights(layers: list[Layer]) -> int:
    return sum(one.weights for one in layers)
