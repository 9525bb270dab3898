"""What BVLC's losses and scores want of their bottoms' shapes (Caffe's layers at 9b89154); a loss makes one number.

Numbers of labels against those of predictions are told by `lint`, with a mend.
"""

from collections.abc import Sequence

from provision.net.graph import Layer
from provision.net.shape_kit import Made, Odd, PartRule, Shape, axis_of, legacy, size, sizes


def euclidean(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    """Both bottoms hold as many numbers for each picture."""
    if (pair := _pair(bottoms)) and size(pair[0][1:]) != size(pair[1][1:]):
        raise _unlike(*pair)
    _legacy(bottoms[:1])
    return _one(layer, bottoms)


def cross_entropy(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    """A target for each number."""
    if (pair := _pair(bottoms)) and size(pair[0]) != size(pair[1]):
        raise _unlike(*pair)
    return _one(layer, bottoms)


def contrastive(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    """Two rows of features for each pair, and whether it is one."""
    _pair(bottoms)
    known = _legacy(bottoms)
    if len(known) > 1 and known[0] and known[1] and known[0][1] != known[1][1]:
        raise _unlike(known[0], known[1])
    for shape in known[:2]:
        if shape is not None and size(shape[2:]) != 1:
            raise Odd(f"features without height and width are wanted, not {sizes(shape)}")
    if len(known) > 2 and (marks := known[2]) and size(marks[1:]) != 1:
        raise Odd(f"one mark for each pair is wanted, not {sizes(bottoms[2] or ())}")
    return _one(layer, bottoms)


def hinge(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    _pair(bottoms)
    _legacy(bottoms[:1])
    return _one(layer, bottoms)


def multinomial(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    """One label for each picture."""
    _pair(bottoms)
    known = _legacy(bottoms)
    if len(known) > 1 and (labels := known[1]) and size(labels[1:]) != 1:
        raise Odd(f"one label for each picture is wanted, not {sizes(bottoms[1] or ())}")
    return _one(layer, bottoms)


def softmax_loss(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    score = bottoms[0] if bottoms else None
    given = layer.param("softmax")
    if score is not None and (len(score) != 1 or given.all("axis")):  # one axis alone: lint tells, with a mend
        axis = axis_of(score, given.whole("axis", 1))
        places = size(score[:axis]) * size(score[axis + 1 :])
        if len(bottoms) > 1 and (label := bottoms[1]) is not None and size(label) == places:
            _pair(bottoms)
    return _one(layer, bottoms)


def infogain(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    """A score and a label for each place; the matrix, classes x classes, is a third bottom or a file."""
    if len(bottoms) < 3 and not layer.param("infogain_loss").all("source"):
        raise Odd("no matrix: neither a third bottom nor a source is given")
    if layer.param("loss").all("normalize"):
        raise Odd("normalize is given: this loss takes normalization alone")
    if (pair := _pair(bottoms)) is None:
        return _one(layer, bottoms)
    score, label = pair
    axis = axis_of(score, layer.param("infogain_loss").whole("axis", 1))
    places = size(score[:axis]) * size(score[axis + 1 :])
    if places != size(label):
        raise Odd(f"{places:,} predictions ({sizes(score)}) and {size(label):,} labels ({sizes(label)})")
    if len(bottoms) > 2 and (matrix := bottoms[2]) is not None and size(matrix) != score[axis] ** 2:
        raise Odd(f"{sizes(matrix)} is no matrix of {score[axis]} x {score[axis]} classes")
    return _one(layer, bottoms)


def accuracy(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    """The share of right answers, and with a second top that of each class."""
    score, given = (bottoms[0] if bottoms else None), layer.param("accuracy")
    if score is None or (len(score) == 1 and not given.all("axis")):
        return Made(((), None)[: len(layer.tops)])
    return Made(((), (score[axis_of(score, given.whole("axis", 1))],))[: len(layer.tops)])


def _pair(bottoms: Sequence[Shape | None]) -> tuple[Shape, Shape] | None:
    """The first two bottoms where both are known. Odd where they are not of as many pictures."""
    if len(bottoms) < 2 or bottoms[0] is None or bottoms[1] is None:
        return None
    first, second = bottoms[0], bottoms[1]
    if not first or not second:
        raise Odd(f"{sizes(first)} and {sizes(second)}: a loss wants pictures, and a scalar has none")
    if first[:1] != second[:1]:
        raise Odd(f"{sizes(first)} and {sizes(second)} are not of as many pictures")
    return first, second


def _legacy(bottoms: Sequence[Shape | None]) -> list[Shape | None]:
    return [None if shape is None else legacy(shape) for shape in bottoms]


def _unlike(first: Shape, second: Shape) -> Odd:
    return Odd(f"{sizes(first)} and {sizes(second)} do not hold as many numbers")


def _one(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    return Made(((), *bottoms[:1])[: len(layer.tops)])


PART_RULES: dict[str, PartRule] = {
    "Accuracy": accuracy, "ContrastiveLoss": contrastive, "EuclideanLoss": euclidean, "HingeLoss": hinge,
    "InfogainLoss": infogain, "MultinomialLogisticLoss": multinomial, "SigmoidCrossEntropyLoss": cross_entropy,
    "SoftmaxWithLoss": softmax_loss,
}  # fmt: skip
