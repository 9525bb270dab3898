"""Rules that look at the layers of a net in one state: names, in-place work, shapes. Facts of Caffe are of 9b89154."""

import math
from collections.abc import Iterator, Mapping

from provision.lint.case import Built, BuiltRule
from provision.lint.finding import Finding
from provision.net.graph import Layer
from provision.net.shape_kit import Shape
from provision.net.shapes import Row, count, words

# what reads its bottom again after it has written its top, or changes its size
_NOT_IN_PLACE = frozenset(
    ("Convolution", "Deconvolution", "Pooling", "InnerProduct", "Concat", "LRN", "Slice", "Crop", "Im2col", "Embed",
     "Reduction", "Tile", "ArgMax", "Accuracy", "SPP")
)  # fmt: skip
_REFUSED_IN_PLACE = frozenset(("AbsVal", "Flatten", "Reshape", "Split"))
_NOT_LEARNT_IN_PLACE = frozenset(("BNLL", "Log"))
_LEARNS = frozenset(
    ("Convolution", "Deconvolution", "InnerProduct", "Embed", "BatchNorm", "Scale", "Bias", "PReLU", "LSTM", "RNN",
     "Parameter", "Normalize", "MultiStageMeanfield")
)  # fmt: skip


def same_names(built: Built) -> Iterator[Finding]:
    """Layers of one name: weights are found by it (net.cpp: CopyTrainedLayersFrom)."""
    seen: dict[str, Row] = {}
    for row in built.inferred.rows:
        first = seen.setdefault(row.layer.name, row)
        if first is row or not {row.layer.type, first.layer.type} & _LEARNS:
            continue
        what = f"two layers are called {row.layer.name} (the first at line {first.layer.line})"
        differ = bool(row.params and first.params and row.params != first.params)
        why = "weights are copied by name" + (": the shapes differ, so a snapshot cannot be loaded" if differ else "")
        level = "error" if differ else "warning"
        yield built.case.finding(level, "name", row.layer.line, what, why, "rename one")  # type: ignore[arg-type]


def in_place(built: Built) -> Iterator[Finding]:
    """Layers that write over what they, or another, still read.

    Caffe gives each reader of a blob a copy of its own (insert_splits.cpp), and a loss_weight counts as one: a layer in
    place of what another reads as well, or of what it reads twice, then writes a blob that is there already.
    """
    readers: dict[str, list[Layer]] = {}
    for layer in built.layers:
        over = set(layer.bottoms) & set(layer.tops)
        if over:
            yield from _over(built, layer)
        for name in sorted(over):
            if others := [*readers.get(name, ()), *[layer] * (layer.bottoms.count(name) - 1)]:
                yield _read_too(built, layer, name, others)
        for name in layer.bottoms:
            if name not in over:
                readers.setdefault(name, []).append(layer)
        for name in layer.tops:
            readers.pop(name, None)
        for name, weight in zip(layer.tops, layer.message.all("loss_weight"), strict=False):
            if weight:
                readers[name] = [layer]


def _read_too(built: Built, layer: Layer, name: str, others: list[Layer]) -> Finding:
    tellers = (
        "itself" if other is layer else f"the loss of {other.name}" if name in other.tops else other.name
        for other in others[:3]
    )
    named = ", ".join(dict.fromkeys(tellers))
    what = f"{layer.name} writes over {name}, which {named} reads{' twice' if others[0] is layer else ''}"
    why, mend = f"Caffe stops: Top blob '{name}' produced by multiple sources", "give it a top of its own"
    return built.case.finding("error", "in-place", layer.line, what, why, mend, "reader")


def _over(built: Built, layer: Layer) -> Iterator[Finding]:
    mend = f'give it a top of its own: top: "{layer.name}"'
    if layer.type in _REFUSED_IN_PLACE:
        what, why = (
            f"{layer.name}: no {layer.type} works in place",
            "Caffe stops: Layer does not allow in-place computation",
        )
        yield built.case.finding("error", "in-place", layer.line, what, why, mend)
    elif layer.type in _NOT_IN_PLACE:
        what = f"{layer.name}: no {layer.type} works in place"
        why = "it reads its bottom again after it has written its top: wrong numbers without a word, or a crash"
        yield built.case.finding("error", "in-place", layer.line, what, why, mend)
    elif layer.type in _NOT_LEARNT_IN_PLACE and built.trains:
        what, why = f"{layer.name}: a {layer.type} in place", "its gradient needs the bottom, which is gone by then"
        yield built.case.finding("warning", "in-place", layer.line, what, why, mend)


def shapes(built: Built) -> Iterator[Finding]:
    for row in built.inferred.rows:
        if row.odd:
            what, own = f"{row.layer.name}: {row.odd}", built.case.speaks_bvlc
            why = (
                "Caffe stops at this layer"
                if own
                else "BVLC's Caffe stops at this layer; that fork may compute otherwise"
            )
            yield built.case.finding("error" if own else "warning", "shape", row.layer.line, what, why)
        yield from _labels_fit(built, row, built.inferred.blobs)


def _labels_fit(built: Built, row: Row, blobs: Mapping[str, Shape | None]) -> Iterator[Finding]:
    layer = row.layer
    if layer.type not in ("SoftmaxWithLoss", "Accuracy") or len(layer.bottoms) < 2:
        return
    score, label = (blobs.get(name) for name in layer.bottoms[:2])
    param = layer.param("softmax") if layer.type == "SoftmaxWithLoss" else layer.param("accuracy")
    axis = param.whole("axis", 1)
    if score is None or not -len(score) <= axis < len(score):
        return
    axis %= len(score)
    places = math.prod(score) // (score[axis] or 1)
    if label is not None and count(label) != places:
        what = f"{layer.name}: {places:,} predictions ({words(score)}) and {count(label):,} labels ({words(label)})"
        level = "error" if built.case.speaks_bvlc else "warning"
        first = layer.type == "SoftmaxWithLoss" and label[:1] != score[:1]
        told = "The data and label should have the same first dimension" if first else "Number of labels must match"
        yield built.case.finding(level, "label", layer.line, what, f"Caffe stops: {told}",  # type: ignore[arg-type]
                                 "make labels of the score's size, or crop the score to theirs")  # fmt: skip
    top = layer.param("accuracy").whole("top_k", 1)
    if layer.type == "Accuracy" and top > score[axis]:
        what = f"{layer.name}: top_k {top} of {score[axis]} classes"
        yield built.case.finding("error", "label", layer.line, what, "Caffe stops", f"take at most {score[axis]}")


RULES: tuple[BuiltRule, ...] = (same_names, in_place, shapes)
