"""How many bottoms and tops the types of BVLC's Caffe take (Caffe's layer.hpp: CheckBlobCounts, at 9b89154).

The tops of a loss may be left out, which Caffe then makes itself.
"""

from provision.net.graph import Layer
from provision.net.shape_kit import Odd

_ANY = 10**6
Least = tuple[int, int, int, int]  # bottoms: least and most; tops: least and most


def _each(words: str, counts: Least) -> dict[str, Least]:
    return dict.fromkeys(words.split(), counts)


_COUNTS: dict[str, Least] = {
    **_each(
        "AbsVal ArgMax BNLL BatchNorm Clip Dropout ELU Embed Exp Flatten Im2col InnerProduct LRN Log MVN PReLU Power "
        "ReLU Reduction Reshape SPP Sigmoid Softmax Swish TanH Threshold Tile",
        (1, 1, 1, 1),
    ),
    **_each("EuclideanLoss HingeLoss MultinomialLogisticLoss SigmoidCrossEntropyLoss", (2, 2, 0, 1)),
    "SoftmaxWithLoss": (2, 2, 0, 2),
    **_each("DummyData HDF5Data Input", (0, 0, 1, _ANY)),
    **_each("ImageData WindowData", (0, 0, 2, 2)),
    **_each("Bias Scale", (1, 2, 1, 1)),
    **_each("BatchReindex Crop", (2, 2, 1, 1)),
    **_each("Convolution Deconvolution", (1, _ANY, 1, _ANY)),
    **_each("Slice Split", (1, 1, 1, _ANY)),
    "Accuracy": (2, 2, 1, 2),
    "Concat": (1, _ANY, 1, 1),
    "ContrastiveLoss": (3, 3, 0, 1),
    "Data": (0, 0, 1, 2),
    "Eltwise": (2, _ANY, 1, 1),
    "Filter": (2, _ANY, 1, _ANY),
    "HDF5Output": (2, 2, 0, 0),
    "InfogainLoss": (2, 3, 0, 2),
    "MemoryData": (0, 0, 2, 3),  # the third is DeepLab's: the sizes before
    "Parameter": (0, 0, 1, 1),
    "Pooling": (1, 1, 1, 2),
    "Silence": (1, _ANY, 0, 0),
}


def counted(layer: Layer) -> None:
    """Odd where a layer of one of these types has other numbers of bottoms or tops than it takes."""
    if layer.type not in _COUNTS:
        return
    least_in, most_in, least_out, most_out = _COUNTS[layer.type]
    for noun, names, least, most in (("bottom", layer.bottoms, least_in, most_in),
                                     ("top", layer.tops, least_out, most_out)):  # fmt: skip
        if not least <= len(names) <= most:
            raise Odd(f"{layer.type} takes {_range(least, most, noun)}, and has {len(names) or 'none'}")
    if layer.type in ("Convolution", "Deconvolution") and len(layer.bottoms) != len(layer.tops):
        raise Odd(f"{layer.type} makes a top of each bottom, and has {len(layer.bottoms)} and {len(layer.tops)}")


def _range(least: int, most: int, noun: str) -> str:
    if most == _ANY:
        return f"at least {least} {noun}{'' if least == 1 else 's'}"
    if most == 0:
        return f"no {noun}"
    number = str(least) if least == most else f"at most {most}" if least == 0 else f"{least} or {most}"
    return f"{number} {noun}{'' if most == 1 else 's'}"
