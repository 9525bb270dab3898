"""Rules for what a loss or an accuracy is given: bottoms in order, scores and not probabilities, several classes."""

from collections.abc import Iterator

from provision.lint.case import Built, BuiltRule
from provision.lint.finding import Finding
from provision.net.graph import Layer

_WHOLE_BY_ITSELF = {"SoftmaxWithLoss": "Softmax", "SigmoidCrossEntropyLoss": "Sigmoid"}


def swapped(built: Built) -> Iterator[Finding]:
    """Labels first and scores second: the first bottom has no axis of classes."""
    for row in built.inferred.rows:
        layer = row.layer
        if layer.type not in ("SoftmaxWithLoss", "Accuracy") or len(layer.bottoms) != 2:
            continue
        score, label = (built.inferred.blobs.get(name) for name in layer.bottoms)
        own = layer.param("accuracy" if layer.type == "Accuracy" else "softmax")
        if score is None or len(score) != 1 or own.all("axis"):
            continue
        what = f"{layer.name}: {layer.bottoms[0]} has one axis, and none of classes"
        mend = f'bottom: "{layer.bottoms[1]}" bottom: "{layer.bottoms[0]}"' if label and len(label) > 1 else ""
        level = "error" if built.case.speaks_bvlc else "warning"
        why = "the score comes first, the label second; Caffe stops: axis 1 out of range"
        yield built.case.finding(level, "label", layer.line, what, why, mend)  # type: ignore[arg-type]


def probabilities(built: Built) -> Iterator[Finding]:
    """A loss that makes probabilities itself, behind a layer that made them already."""
    makers: dict[str, Layer] = {}
    for layer in built.layers:
        inner = _WHOLE_BY_ITSELF.get(layer.type)
        maker = makers.get(layer.bottoms[0]) if layer.bottoms else None
        if built.trains and inner and maker is not None and maker.type == inner:
            what = f"{layer.name} is given what {maker.name} makes, a {inner}"
            why = f"a {layer.type} has a {inner} of its own: done twice, the gradients nearly vanish"
            mend = f'give it the scores: bottom: "{maker.bottoms[0]}"' if not maker.in_place else "give it the scores"
            yield built.case.finding("warning", "loss", layer.line, what, why, mend, "twice")
        makers.update(dict.fromkeys(layer.tops, layer))


def one_class(built: Built) -> Iterator[Finding]:
    """A softmax over one class is always 1, and its loss always 0."""
    for layer in built.layers if built.trains else ():
        score = built.inferred.blobs.get(layer.bottoms[0]) if layer.bottoms else None
        if layer.type != "SoftmaxWithLoss" or score is None or len(score) < 2:
            continue
        axis = layer.param("softmax").whole("axis", 1) % len(score)
        if score[axis] == 1:
            what, why = (
                f"{layer.name}: one class",
                "a softmax over one class is 1: the loss is 0, and nothing is learned",
            )
            mend = "write num_output: 2 for yes and no, or take a SigmoidCrossEntropyLoss"
            yield built.case.finding("warning", "loss", layer.line, what, why, mend, "one")


RULES: tuple[BuiltRule, ...] = (swapped, probabilities, one_class)
