"""What BVLC's losses want of their bottoms' shapes (Caffe's layers at 9b89154); each makes one number."""

from collections.abc import Sequence

from provision.net.graph import Layer
from provision.net.shape_kit import Made, Odd, PartRule, Shape, size, sizes


def euclidean(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    """Both bottoms hold as many numbers for each picture."""
    if (pair := _pair(bottoms)) and size(pair[0][1:]) != size(pair[1][1:]):
        raise _unlike(*pair)
    return _one(layer, bottoms)


def cross_entropy(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    """A target for each number."""
    if (pair := _pair(bottoms)) and size(pair[0]) != size(pair[1]):
        raise _unlike(*pair)
    return _one(layer, bottoms)


def contrastive(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    """Two rows of features for each pair, and whether it is one."""
    if (pair := _pair(bottoms)) and pair[0][1:2] != pair[1][1:2]:
        raise _unlike(*pair)
    for shape in bottoms[:2]:
        if shape is not None and size(shape[2:]) != 1:
            raise Odd(f"features without height and width are wanted, not {sizes(shape)}")
    return _one(layer, bottoms)


def hinge(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    _pair(bottoms)
    return _one(layer, bottoms)


def _pair(bottoms: Sequence[Shape | None]) -> tuple[Shape, Shape] | None:
    """The first two bottoms where both are known. Odd where they are not of as many pictures."""
    if len(bottoms) < 2 or bottoms[0] is None or bottoms[1] is None:
        return None
    first, second = bottoms[0], bottoms[1]
    if first[:1] != second[:1]:
        raise Odd(f"{sizes(first)} and {sizes(second)} are not of as many pictures")
    return first, second


def _unlike(first: Shape, second: Shape) -> Odd:
    return Odd(f"{sizes(first)} and {sizes(second)} do not hold as many numbers")


def _one(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    return Made(((), *bottoms[:1])[: len(layer.tops)])


PART_RULES: dict[str, PartRule] = {
    "ContrastiveLoss": contrastive, "EuclideanLoss": euclidean, "HingeLoss": hinge,
    "MultinomialLogisticLoss": hinge, "SigmoidCrossEntropyLoss": cross_entropy,
}  # fmt: skip
