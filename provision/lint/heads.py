"""SSD's heads in a net: for each map of features the priors, and the convolutions that say where and what.

SSD joins what its convolutions say with Concat layers: PriorBox layers make mbox_priorbox; a convolution, a Permute and
a Flatten for each map make mbox_loc and mbox_conf. What is wired in other ways is left alone (None).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from provision.net.graph import Layer

# what has one bottom and keeps its numbers in their order, or tells nothing of how many classes there are
_PASSES = frozenset(
    ("Reshape", "Softmax", "Sigmoid", "Flatten", "Permute", "ReLU", "Dropout", "Split", "BatchNorm", "Scale")
)
DETECTORS = {"MultiBoxLoss": "multibox_loss", "DetectionOutput": "detection_output"}


@dataclass(frozen=True)
class Head:
    """What a join takes from one map: the layer that makes it (a convolution, a PriorBox), and what lies between."""

    layer: Layer
    between: tuple[Layer, ...]

    @property
    def feature(self) -> str:
        return self.layer.bottoms[0] if self.layer.bottoms else ""


@dataclass(frozen=True)
class Join:
    """The heads that one blob is made of, in order, with the Concat that joins them and what is behind it."""

    heads: tuple[Head, ...]
    concat: Layer | None
    behind: tuple[Layer, ...]


Makers = Mapping[str, Sequence[Layer]]  # by blob, the layers that wrote it, in order


def makers_of(layers: Sequence[Layer]) -> dict[str, list[Layer]]:
    made: dict[str, list[Layer]] = {}
    for layer in layers:
        for name in layer.tops:
            made.setdefault(name, []).append(layer)
    return made


def join_of(blob: str, makers: Makers, kind: str) -> Join | None:
    """What a blob is joined of: layers of that kind. None where that cannot be said."""
    first, behind = _back(blob, makers, kind)
    if first is None:
        return None
    if first.type == kind:
        return Join((Head(first, behind),), None, ())
    if first.type != "Concat":
        return None
    heads = []
    for name in first.bottoms:
        layer, between = _back(name, makers, kind)
        if layer is None or layer.type != kind:
            return None
        heads.append(Head(layer, between))
    return Join(tuple(heads), first, behind)


def _back(blob: str, makers: Makers, kind: str) -> tuple[Layer | None, tuple[Layer, ...]]:
    """The first layer before a blob that does more than pass its numbers on, and those that pass them, last first."""
    passed: list[Layer] = []
    while wrote := makers.get(blob, ()):
        for layer in reversed(wrote):
            if layer.type not in _PASSES or layer.type == kind or len(layer.bottoms) != 1:
                return layer, tuple(passed)
            passed.append(layer)
            if not layer.in_place:
                break
        if passed[-1].in_place or len(passed) > _DEEPEST:
            break
        blob = passed[-1].bottoms[0]
    return None, ()


_DEEPEST = 20


@dataclass(frozen=True)
class Detector:
    """A MultiBoxLoss or DetectionOutput with its three joins (None: not followed)."""

    layer: Layer
    loc: Join | None
    conf: Join | None
    priors: Join | None

    @property
    def classes(self) -> int:
        return self.layer.param(DETECTORS[self.layer.type]).whole("num_classes")

    @property
    def boxes_of_each(self) -> int:
        """How many places a prior has: one for all classes, or one for each."""
        shared = self.layer.param(DETECTORS[self.layer.type]).flag("share_location", True)
        return 1 if shared else self.classes


def detectors(layers: Sequence[Layer]) -> list[Detector]:
    found = [layer for layer in layers if layer.type in DETECTORS and len(layer.bottoms) >= 3]
    makers = makers_of(layers) if found else {}
    return [
        Detector(
            layer,
            join_of(layer.bottoms[0], makers, "Convolution"),
            join_of(layer.bottoms[1], makers, "Convolution"),
            join_of(layer.bottoms[2], makers, "PriorBox"),
        )
        for layer in found
    ]


def priors_of(box: Layer) -> int:
    """Priors in each cell (prior_box_layer.cpp): min_size x aspect ratios, flipped ones too, and one for each
    max_size."""
    param = box.param("prior_box")
    ratios = [1.0]
    for ratio in numbers(param.all("aspect_ratio")):
        if not any(abs(ratio - other) < 1e-6 for other in ratios):
            ratios += [ratio, 1 / ratio] if param.flag("flip", True) and ratio else [ratio]
    return len(ratios) * len(param.all("min_size")) + len(param.all("max_size"))


def numbers(values: Sequence[object]) -> list[float]:
    """Those that are numbers."""
    return [float(value) for value in values if isinstance(value, (int, float)) and abs(value) < 1e30]
