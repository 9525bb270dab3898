"""Rules that look into the databases: labels against the classes that the net tells apart, tests against their size.

A label that is no class is what most often stands behind error 77 (700 since CUDA 10.1) on a GPU: the loss reads beyond
its memory without a check (softmax_loss_layer.cu).
"""

from collections.abc import Iterator

from provision.lint.case import Built, BuiltRule, Case, Records, batch_of, source_of
from provision.lint.finding import Finding
from provision.lint.records import JUDGES
from provision.net.graph import Layer

_BEYOND = (
    "on a GPU the loss reads beyond its memory: error 77 or 700, an illegal memory access; on a CPU it is nonsense"
)


def labels(built: Built) -> Iterator[Finding]:
    """Labels that are no class of the score that they are held against."""
    if not built.case.records:
        return
    makers = {name: layer for layer in built.sources for name in layer.tops}
    for layer in built.layers:
        maker = makers.get(layer.bottoms[1]) if len(layer.bottoms) > 1 and layer.type in JUDGES else None
        held = built.case.records.get(source_of(maker)) if maker else None
        score = built.inferred.blobs.get(layer.bottoms[0]) if held else None
        if held and score and len(score) > 1:
            yield from _outside(built.case, layer, held, score[_axis(layer) % len(score)])


def _axis(layer: Layer) -> int:
    return layer.param("accuracy" if layer.type == "Accuracy" else "softmax").whole("axis", 1)


def _outside(case: Case, layer: Layer, held: Records, classes: int) -> Iterator[Finding]:
    ignored = layer.param("accuracy" if layer.type == "Accuracy" else "loss").ints("ignore_label")
    wrong = sorted(label for label in held.labels if not 0 <= label < classes and label not in ignored)
    if not wrong:
        missing = classes - len(held.labels - set(ignored))
        if missing > 0 and held.looked == held.count:
            what = f"{layer.name}: {missing} of {classes} classes have no picture"
            yield case.finding("warning", "label", layer.line, what, "they cannot be learnt", "see the class list")
        return
    what = f"{layer.name}: labels {_named(wrong)} are no class of {classes} (0 to {classes - 1})"
    mend = f"set num_output to {max(wrong) + 1}"
    if wrong == [255] or wrong[-1] == 255:
        mend = "255 means ignored: write loss_param { ignore_label: 255 }"
    if wrong[0] < 0:
        mend = "number the classes from 0"
    yield case.finding("error", "label", layer.line, what, _BEYOND, mend)


def _named(labels: list[int]) -> str:
    return ", ".join(map(str, labels[:5])) + (" …" if len(labels) > 5 else "")


def boxes(built: Built) -> Iterator[Finding]:
    """Labels of SSD's boxes: classes of the MultiBoxLoss, and not its background."""
    if not built.case.records:
        return
    makers = {name: layer for layer in built.sources for name in layer.tops if layer.type == "AnnotatedData"}
    for layer in built.layers:
        at, message = (3, "multibox_loss") if layer.type == "MultiBoxLoss" else (1, "detection_evaluate")
        if layer.type not in ("MultiBoxLoss", "DetectionEvaluate") or len(layer.bottoms) <= at:
            continue
        maker, param = makers.get(layer.bottoms[at]), layer.param(message)
        held = built.case.records.get(source_of(maker)) if maker else None
        classes, background = param.whole("num_classes"), param.whole("background_label_id")
        wrong = (
            sorted(label for label in held.labels if not 0 <= label < classes or label == background) if held else []
        )
        if wrong:
            what = f"{layer.name}: boxes of the labels {_named(wrong)}, and its classes are 1 to {classes - 1}"
            if background:
                what = f"{layer.name}: boxes of the labels {_named(wrong)}, of {classes} classes without {background}"
            mend = f"write num_classes: {max(wrong) + 1}" if max(wrong) >= classes else "number the classes from 1"
            yield built.case.finding("error", "label", layer.line, what, _BEYOND, mend)


def rounds(built: Built) -> Iterator[Finding]:
    """test_iter x batch against the records of the test."""
    given = built.state.rounds
    for layer in built.sources if given and built.tests else ():
        held, batch = built.case.records.get(source_of(layer)), batch_of(layer)
        if held is None or not batch or given * batch == held.count:
            continue
        seen, wanted = given * batch, -(-held.count // batch)
        if seen > held.count and given == wanted:
            continue  # the last batch begins again at the first picture: no number of rounds is better
        what = f"a test sees {seen:,} pictures ({given} x {batch}), {layer.name} has {held.count:,}"
        why = (
            "some pictures are seen twice"
            if seen > held.count
            else "the rest is never tested, or only in the next test"
        )
        yield built.case.finding("warning", "test", layer.line, what, why, f"set test_iter to {wanted}")


RULES: tuple[BuiltRule, ...] = (labels, boxes, rounds)
