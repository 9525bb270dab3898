"""Rules that look at single layers: names, in-place work, shapes, batch norms. Facts of Caffe are of 9b89154."""

import math
from collections.abc import Iterator, Mapping

from provision.lint.case import Case, Rule
from provision.lint.finding import Finding
from provision.net import graph
from provision.net.graph import PHASES, Layer
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


def same_names(case: Case) -> Iterator[Finding]:
    """Layers of one name: weights are found by it (net.cpp: CopyTrainedLayersFrom)."""
    for phase in PHASES:
        seen: dict[str, Row] = {}
        for row in case.inferred[phase].rows:
            first = seen.setdefault(row.layer.name, row)
            if first is row or not {row.layer.type, first.layer.type} & _LEARNS:
                continue
            what = f"two layers are called {row.layer.name} (the first at line {first.layer.line})"
            differ = bool(row.params and first.params and row.params != first.params)
            why = "weights are copied by name" + (
                ": the shapes differ, so a snapshot cannot be loaded" if differ else ""
            )
            level = "error" if differ else "warning"
            yield case.finding(level, "name", row.layer.line, what, why, "rename one")  # type: ignore[arg-type]


def in_place(case: Case) -> Iterator[Finding]:
    """Layers that write over what they, or another, still read."""
    for phase in PHASES:
        readers: dict[str, list[Layer]] = {}
        for layer in case.layers(phase):
            over = set(layer.bottoms) & set(layer.tops)
            if over and layer.type in _NOT_IN_PLACE:
                why = "it reads its bottom again after it has written its top: wrong numbers, without a word"
                yield case.finding("error", "in-place", layer.line, f"{layer.name}: no {layer.type} works in place",
                                   why, f"give it a top of its own: top: \"{layer.name}\"")  # fmt: skip
            elif over and layer.type in _NOT_LEARNT_IN_PLACE:
                why = "its gradient needs the bottom, which is gone by then"
                yield case.finding("warning", "in-place", layer.line, f"{layer.name}: a {layer.type} in place",
                                   why, f"give it a top of its own: top: \"{layer.name}\"")  # fmt: skip
            for name in over & set(readers):
                others = ", ".join(reader.name for reader in readers[name])
                what = f"{layer.name} writes over {name}, which {others} reads"
                why = f"the gradient of {others} is computed from the changed numbers"
                yield case.finding("warning", "in-place", layer.line, what, why, "give it a top of its own")
            for name in layer.bottoms:
                if name not in over:
                    readers.setdefault(name, []).append(layer)
            for name in layer.tops:
                readers.pop(name, None)


def shapes(case: Case) -> Iterator[Finding]:
    for phase in PHASES:
        for row in case.inferred[phase].rows if phase == "TRAIN" or case.tests or case.deploys else ():
            if row.odd:
                what = f"{row.layer.name}: {row.odd}"
                yield case.finding("error", "shape", row.layer.line, what, "Caffe stops at this layer")
            yield from _labels_fit(case, row, case.inferred[phase].blobs)


def _labels_fit(case: Case, row: Row, blobs: Mapping[str, Shape | None]) -> Iterator[Finding]:
    layer = row.layer
    if layer.type not in ("SoftmaxWithLoss", "Accuracy") or len(layer.bottoms) < 2:
        return
    score, label = (blobs.get(name) for name in layer.bottoms[:2])
    if score is None or len(score) < 2:
        return
    param = layer.param("softmax") if layer.type == "SoftmaxWithLoss" else layer.param("accuracy")
    axis = param.whole("axis", 1) % len(score)
    places = math.prod(score) // score[axis]
    if label is not None and count(label) != places:
        what = f"{layer.name}: {places:,} predictions ({words(score)}) and {count(label):,} labels ({words(label)})"
        yield case.finding("error", "label", layer.line, what, "Caffe stops: Number of labels must match",
                           "make labels of the score's size, or crop the score to theirs")  # fmt: skip
    top = layer.param("accuracy").whole("top_k", 1)
    if layer.type == "Accuracy" and top > score[axis]:
        what = f"{layer.name}: top_k {top} of {score[axis]} classes"
        yield case.finding("error", "label", layer.line, what, "Caffe stops", f"take at most {score[axis]}")


def batch_norms(case: Case) -> Iterator[Finding]:
    """use_global_stats by hand, a bias before the norm, no Scale behind it."""
    for layer in graph.every(case.net):
        if layer.type == "BatchNorm":
            yield from _stats(case, layer)
    rows = case.inferred["TRAIN"].rows
    for row, following in zip(rows, (*rows[1:], None), strict=True):
        if row.layer.type != "BatchNorm":
            continue
        top = row.layer.tops[0] if row.layer.tops else ""
        if following is None or following.layer.type != "Scale" or top not in following.layer.bottoms:
            what = f"{row.layer.name} is not followed by a Scale"
            why = "Caffe's BatchNorm has no scale and shift of its own: the net can say less than it is meant to"
            yield case.finding("warning", "norm", row.layer.line, what, why, "add a Scale with bias_term: true")
        before = next((other for other in rows if row.layer.bottoms[:1] == other.layer.tops[:1]), None)
        if before and before.layer.type == "Convolution" and before.layer.param("convolution").flag("bias_term", True):
            what = f"{before.layer.name} has a bias, which {row.layer.name} takes out again"
            yield case.finding("warning", "norm", before.layer.line, what, "", "write bias_term: false")


def _stats(case: Case, layer: Layer) -> Iterator[Finding]:
    given = layer.param("batch_norm").one("use_global_stats")
    if given is None:
        return
    fixed = layer.param("batch_norm").flag("use_global_stats")
    trains, tests = (graph.present(layer, phase, case.stages) for phase in PHASES)
    mend = "leave use_global_stats out: Caffe takes the batch's numbers in TRAIN and the kept ones in TEST"
    if not fixed and tests:
        what = f"{layer.name} takes the batch's own mean in TEST (use_global_stats: false)"
        why = "a test of few or alike pictures says nothing, and one picture alone becomes all zeros"
        yield case.finding("warning", "norm", layer.line, what, why, mend)
    elif fixed and trains and not case.deploys:
        what = f"{layer.name} takes kept numbers in TRAIN (use_global_stats: true)"
        why = "without trained weights they are zeros, and they never change"
        yield case.finding("warning", "norm", layer.line, what, why, mend)


RULES: tuple[Rule, ...] = (same_names, in_place, shapes, batch_norms)
