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
     "Reduction", "Tile", "ArgMax", "Accuracy", "SPP", "Reshape", "Flatten")
)  # fmt: skip
_NOT_LEARNT_IN_PLACE = frozenset(("AbsVal", "BNLL", "Log"))
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
    """Layers that write over what they, or another, still read."""
    readers: dict[str, list[Layer]] = {}
    for layer in built.layers:
        over = set(layer.bottoms) & set(layer.tops)
        if over:
            yield from _over(built, layer)
        for name in sorted(over & set(readers)) if built.trains else ():
            others = ", ".join(reader.name for reader in readers[name][:3])
            what = f"{layer.name} writes over {name}, which {others} reads"
            why = f"the gradient of {others} is computed from the changed numbers"
            yield built.case.finding("warning", "in-place", layer.line, what, why, "give it a top of its own", "reader")
        for name in layer.bottoms:
            if name not in over:
                readers.setdefault(name, []).append(layer)
        for name in layer.tops:
            readers.pop(name, None)


def _over(built: Built, layer: Layer) -> Iterator[Finding]:
    mend = f'give it a top of its own: top: "{layer.name}"'
    if layer.type in _NOT_IN_PLACE:
        what = f"{layer.name}: no {layer.type} works in place"
        why = "it reads its bottom again after it has written its top: wrong numbers, without a word"
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
    if score is None or len(score) < 2:
        return
    param = layer.param("softmax") if layer.type == "SoftmaxWithLoss" else layer.param("accuracy")
    axis = param.whole("axis", 1) % len(score)
    places = math.prod(score) // (score[axis] or 1)
    if label is not None and count(label) != places:
        what = f"{layer.name}: {places:,} predictions ({words(score)}) and {count(label):,} labels ({words(label)})"
        level = "error" if built.case.speaks_bvlc else "warning"
        yield built.case.finding(level, "label", layer.line, what, "Caffe stops: Number of labels must match",  # type: ignore[arg-type]
                                 "make labels of the score's size, or crop the score to theirs")  # fmt: skip
    top = layer.param("accuracy").whole("top_k", 1)
    if layer.type == "Accuracy" and top > score[axis]:
        what = f"{layer.name}: top_k {top} of {score[axis]} classes"
        yield built.case.finding("error", "label", layer.line, what, "Caffe stops", f"take at most {score[axis]}")


RULES: tuple[BuiltRule, ...] = (same_names, in_place, shapes)
