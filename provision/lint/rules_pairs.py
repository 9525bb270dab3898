"""Rules that hold what is trained against what is tested, in whatever files the two nets stand."""

from collections.abc import Iterable, Iterator, Sequence

from provision.lint.case import FILLED, Built, Case, source_of
from provision.lint.finding import Finding
from provision.net.graph import Layer
from provision.net.shapes import words


def findings(cases: Sequence[Case]) -> Iterator[Finding]:
    built = [one for case in cases for one in case.built]
    trains, tests = ([one for one in built if one.trains], [one for one in built if one.tests])
    for train in trains:
        for test in tests:
            yield from () if test.never_runs else _same_data(train, test)
            yield from _sizes(train, test)
            yield from _coded(train, test)
    for case in cases:
        if case.solver is None and trains and not tests:
            yield from _untested(case)


def _same_data(train: Built, test: Built) -> Iterator[Finding]:
    """The test on what was trained on: one layer for both, or one database."""
    trained = {source_of(layer): layer for layer in train.sources if source_of(layer)}
    lines = {layer.line for layer in train.sources} if train.case is test.case else set()
    for layer in test.sources:
        if layer.type in FILLED:
            continue
        if layer.line in lines:
            if layer.type == "Python":
                continue  # it may ask for the phase
            what = f"{layer.name} gives data in both phases"
            why = "the test would see what was trained on, and say nothing of new pictures"
            mend = "write include { phase: TRAIN } in it, and add one for TEST"
            yield test.case.finding("warning", "phase", layer.line, what, why, mend)
        elif source_of(layer) in trained:
            what = f"{layer.name} tests on {source_of(layer)}, which is trained on"
            why = "the test says nothing of new pictures"
            yield test.case.finding("warning", "phase", layer.line, what, why, "give the test a database of its own")


def _sizes(train: Built, test: Built) -> Iterator[Finding]:
    """Databases whose pictures differ in size, without a crop that makes them alike."""
    ours = {layer.tops[0]: layer for layer in train.sources if source_of(layer) and layer.tops}
    for theirs in test.sources:
        mine = ours.get("".join(theirs.tops[:1])) if source_of(theirs) else None
        if mine is None or mine == theirs or not any(layer.type == "InnerProduct" for layer in test.layers):
            continue
        first, second = (built.inferred.blobs.get(mine.tops[0]) for built in (train, test))
        if first and second and first[1:] != second[1:]:
            what = f"{mine.tops[0]} is {words(first[1:])} in TRAIN and {words(second[1:])} in TEST"
            why = "weights of an InnerProduct fit one of them only"
            yield test.case.finding("warning", "shape", theirs.line, what, why, "make both of one size, or crop both")


def _coded(train: Built, test: Built) -> Iterator[Finding]:
    """SSD's boxes are read in the test as the loss wrote them (bbox_util.cpp: DecodeBBox)."""
    losses = [layer for layer in train.layers if layer.type == "MultiBoxLoss"]
    outputs = [layer for layer in test.layers if layer.type == "DetectionOutput"]
    if len(losses) != 1 or len(outputs) != 1:
        return
    loss, output = losses[0].param("multibox_loss"), outputs[0].param("detection_output")
    for name, default in (
        ("num_classes", "0"), ("share_location", "true"), ("background_label_id", "0"), ("code_type", "CORNER"),
    ):  # fmt: skip
        wanted, have = (str(param.one(name, default)) for param in (loss, output))
        if wanted != have:
            what = f"{outputs[0].name}: {name} {have}, and {losses[0].name} of the training has {wanted}"
            why = "boxes are read otherwise than they were learned"
            yield test.case.finding("error", "ssd", outputs[0].line, what, why, f"write {name}: {wanted}", fold=name)


def _untested(case: Case) -> Iterator[Finding]:
    """Layers for TEST alone, and no data for them."""
    lines = {layer.line for built in case.built for layer in built.layers}
    left = [layer for layer in case.every if layer.line not in lines and _for_test(layer)]
    if left:
        what = f"no layer gives data in TEST, and {left[0].name} is for TEST alone"
        why = "a solver with a test_iter would stop: Unknown bottom blob"
        mend = "add a data layer with include { phase: TEST }"
        yield case.finding("warning", "phase", left[0].line, what, why, mend)


def _for_test(layer: Layer) -> bool:
    rules: Iterable[str] = (rule.text("phase") for rule in layer.message.messages("include"))
    return layer.type == "Accuracy" and "TEST" in rules
