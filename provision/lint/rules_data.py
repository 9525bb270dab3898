"""Rules that look into the databases: labels against the classes that the net tells apart, tests against their size.

A label that is no class is what most often stands behind error 77 (700 since CUDA 10.1) on a GPU: the loss reads beyond
its memory without a check (softmax_loss_layer.cu).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from provision.lint.case import Case, Records, Rule, batch_of, source_of
from provision.lint.finding import Finding
from provision.lint.records import JUDGES
from provision.net.graph import PHASES, Layer
from provision.net.shapes import words

if TYPE_CHECKING:
    pass


def labels(case: Case) -> Iterator[Finding]:
    """Labels that are no class of the score that they are held against."""
    for phase in PHASES:
        inferred = case.inferred[phase]
        makers = {name: layer for layer in case.layers(phase) for name in layer.tops if layer.source}
        for row in inferred.rows:
            layer = row.layer
            maker = makers.get(layer.bottoms[1]) if len(layer.bottoms) > 1 and layer.type in JUDGES else None
            held = case.records.get(source_of(maker)) if maker else None
            score = inferred.blobs.get(layer.bottoms[0]) if held else None
            if held and score and len(score) > 1:
                yield from _outside(case, layer, held, score[_axis(layer) % len(score)])


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
    named = ", ".join(map(str, wrong[:5])) + (" …" if len(wrong) > 5 else "")
    what = f"{layer.name}: labels {named} are no class of {classes} (0 to {classes - 1})"
    why = (
        "on a GPU the loss reads beyond its memory: error 77 or 700, an illegal memory access; on a CPU it is nonsense"
    )
    mend = f"set num_output to {max(wrong) + 1}"
    if wrong == [255] or wrong[-1] == 255:
        mend = "255 means ignored: write loss_param { ignore_label: 255 }"
    if wrong[0] < 0:
        mend = "number the classes from 0"
    yield case.finding("error", "label", layer.line, what, why, mend)


def rounds(case: Case) -> Iterator[Finding]:
    """test_iter x batch against the records of the test."""
    if case.solver is None or not (given := case.solver.ints("test_iter")):
        return
    for layer in case.layers("TEST"):
        held = case.records.get(source_of(layer))
        batch = batch_of(layer)
        if held is None or not batch or given[0] * batch == held.count:
            continue
        seen = given[0] * batch
        wanted = -(-held.count // batch)
        what = f"a test sees {seen:,} pictures ({given[0]} x {batch}), {layer.name} has {held.count:,}"
        why = (
            "some pictures are seen twice"
            if seen > held.count
            else "the rest is never tested, or only in the next test"
        )
        if seen > held.count and given[0] == wanted:
            continue  # the last batch begins again at the first picture: no number of rounds is better
        yield case.finding("warning", "test", layer.line, what, why, f"set test_iter to {wanted}")


def sizes(case: Case) -> Iterator[Finding]:
    """Databases of TRAIN and TEST whose pictures differ in size, without a crop that makes them alike."""
    shapes = {phase: case.inferred[phase] for phase in PHASES}
    for ours in case.layers("TRAIN"):
        for theirs in case.layers("TEST"):
            if ours == theirs or not source_of(ours) or not source_of(theirs) or ours.tops[:1] != theirs.tops[:1]:
                continue
            train, test = (shapes[phase].blobs.get(ours.tops[0]) for phase in PHASES)
            if train and test and train[1:] != test[1:]:
                what = f"{ours.tops[0]} is {words(train[1:])} in TRAIN and {words(test[1:])} in TEST"
                why = "weights of an InnerProduct fit one of them only"
                yield case.finding("warning", "shape", theirs.line, what, why, "make both of one size, or crop both")


RULES: tuple[Rule, ...] = (labels, rounds, sizes)
