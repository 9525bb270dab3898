"""Rules that look at a net as a whole: its text, its wiring, its phases. Facts of Caffe are of 9b89154."""

import re
from collections.abc import Iterator
from itertools import product

from infra.border import nearest
from provision.lint.case import Case, Rule, source_of
from provision.lint.finding import Finding
from provision.net import graph
from provision.net.graph import PHASES, Layer
from provision.net.schema import like
from provision.net.shape_rules import RULES as SHAPES
from provision.net.shapes import Row, count, words
from provision.net.text import Message, Word

_MANY = 1000  # lines of one test
_OF_FORKS = {
    "MultiStageMeanfield": "caffe-crfrnn", "multi_stage_meanfield_param": "caffe-crfrnn",
    **dict.fromkeys(
        ("AnnotatedData", "DetectionEvaluate", "DetectionOutput", "MultiBoxLoss", "Normalize", "Permute", "PriorBox",
         "SmoothL1Loss", "VideoData", "annotated_data_param", "multibox_loss_param", "prior_box_param",
         "detection_output_param", "permute_param", "norm_param"), "caffe-ssd",
    ),
}  # fmt: skip
_PLAIN = frozenset(SHAPES) | {"Python", "HDF5Data", "Filter", "HDF5Output"}
_FEW = ("Accuracy", "Python", "DetectionEvaluate")  # outputs of unknown size that are small, or read otherwise
_LOSS = re.compile(r"Loss$|^SoftmaxWithLoss$")


def styles(case: Case) -> Iterator[Finding]:
    """`layer` and `layers` in one file: Caffe upgrades the old ones and drops the new (util/upgrade_proto.cpp)."""
    old, new = (
        next((layer for layer in graph.every(case.net) if layer.old == is_old), None) for is_old in (True, False)
    )
    if old and new:
        why = (
            f"Caffe reads one style in a file: those of the other are lost (the other style begins at line {new.line})"
        )
        yield case.finding(
            "error", "style", old.line, "`layers` and `layer` are mixed", why, "write `layer` everywhere"
        )


def placeholders(case: Case) -> Iterator[Finding]:
    for line, name, value in _texts(case.net):
        if found := re.search(r"\$\{\w+\}|\{\{.*?\}\}|\$\(\w+\)", value):
            yield case.finding("error", "placeholder", line, f"{name}: {found[0]} is left unresolved",
                               "Caffe would look for a file of that very name", "write the value there")  # fmt: skip


def _texts(message: Message) -> Iterator[tuple[int, str, str]]:
    for field in message.fields:
        if isinstance(field.value, Message):
            yield from _texts(field.value)
        elif isinstance(field.value, str) and not isinstance(field.value, Word):
            yield field.line, field.name, field.value


def fields(case: Case) -> Iterator[Finding]:
    """Fields and values that the fork's caffe.proto lacks."""
    if case.schema is None:
        return
    for fault in case.schema.faults(case.net):
        name = fault.path.rpartition(".")[2]
        fork = _OF_FORKS.get(name)
        mend = f"did you mean {' or '.join(fault.near)}?" if fault.near else ""
        if fork and fork != case.schema.stack:
            mend = f"take the stack {fork}, which has it"
        why = f"{case.schema.stack} refuses the whole file: Error parsing text-format"
        yield case.finding("error", "field", fault.line, fault.what, why, mend)


def types(case: Case) -> Iterator[Finding]:
    """Types that the fork has no layer for; without a schema those that none of the forks known here has."""
    known = case.schema.types if case.schema else _PLAIN
    for layer in graph.every(case.net):
        if layer.type in known or not layer.type:
            continue
        fork, where = _OF_FORKS.get(layer.type), case.schema.stack if case.schema else "no Caffe known here"
        near = like(layer.type, known) or tuple(nearest(layer.type, known, 1))
        mend = f"did you mean {' or '.join(near)}?" if near else ""
        if fork and case.schema:
            mend = f"take the stack {fork}, which has it"
        what = f"{layer.name}: {where} has a layer of type {layer.type}"
        what = what if case.schema is None else f"{layer.name}: {where} has no layer of type {layer.type}"
        yield case.finding("error" if case.schema else "warning", "type", layer.line, what,
                           "Caffe stops: Unknown layer type", mend)  # fmt: skip


def wiring(case: Case) -> Iterator[Finding]:
    """Bottoms that nobody makes, and tops that two layers make (net.cpp: AppendBottom, AppendTop)."""
    for phase in PHASES:
        if phase == "TEST" and not case.tests and not case.deploys:
            continue
        made: dict[str, Layer] = {}
        for layer in case.layers(phase):
            for name in layer.bottoms:
                if name not in made:
                    yield _no_bottom(case, layer, name, phase, made)
            for at, name in enumerate(layer.tops):
                if name in made and not (at < len(layer.bottoms) and layer.bottoms[at] == name):
                    what = f"{layer.name} makes {name} in {phase}, which {made[name].name} makes already"
                    yield case.finding("error", "top", layer.line, what, "Caffe stops: produced by multiple sources",
                                       "give it another name, or give each layer its phase")  # fmt: skip
                made[name] = layer


def _no_bottom(case: Case, layer: Layer, name: str, phase: str, made: dict[str, Layer]) -> Finding:
    close = nearest(name, made, 1)
    elsewhere = [layer for layer in graph.every(case.net) if name in layer.tops]
    where = ""
    if not elsewhere:
        mend = f"did you mean {close[0]}?" if close else "name a top of a layer above"
    elif elsewhere[0].line > layer.line:
        mend = f"{elsewhere[0].name} (line {elsewhere[0].line}) makes it: put that layer above this one"
    else:
        where = f" in {phase}"
        mend = f"{elsewhere[0].name} (line {elsewhere[0].line}) makes it in the other phase only: give {phase} one, too"
    what = f"{layer.name} reads {name}, which nothing makes{where or ' before it'}"
    return case.finding("error", "bottom", layer.line, what, "Caffe stops: Unknown bottom blob", mend)


def unread(case: Case) -> Iterator[Finding]:
    """Tops that no layer of the training reads and that are no loss: computed, printed and of no use."""
    if case.deploys:
        return
    left = _unread(case.inferred["TRAIN"].rows)
    for name, row in left.items():
        if row.layer.source and name == "label" and case.solver is None:
            continue
        if not _is_loss(row.layer) and not _LOSS.search(row.layer.type):
            what = f"no layer reads {name} in TRAIN, and it is no loss"
            why = f"{row.layer.name} is computed for nothing, and its numbers are printed at each display"
            mend = f'take it out, or end it: layer {{ name: "silence" type: "Silence" bottom: "{name}" }}'
            yield case.finding("warning", "unread", row.layer.line, what, why, mend)


def _unread(rows: tuple[Row, ...]) -> dict[str, Row]:
    left: dict[str, Row] = {}
    for row in rows:
        for name in row.layer.bottoms:
            left.pop(name, None)
        left.update((name, row) for name in row.layer.tops)
    return left


def _is_loss(layer: Layer) -> bool:
    weights = [float(str(value)) for value in layer.message.all("loss_weight")]
    return any(weights) if weights else bool(_LOSS.search(layer.type))


def loud_tests(case: Case) -> Iterator[Finding]:
    """Outputs of the test that are no scalars: Caffe prints a line for each number (solver.cpp: Solver::Test)."""
    if not case.tests:
        return
    inferred = case.inferred["TEST"]
    for name, row in _unread(inferred.rows).items():
        shape = inferred.blobs[name]
        lines = None if shape is None else count(shape)
        if lines == 1 or (shape is None and (_LOSS.search(row.layer.type) or row.layer.type in _FEW)):
            continue
        mend = f'end it in TEST by a Silence layer, or keep only loss and accuracy: bottom: "{name}"'
        if lines is None:
            why = "Caffe prints one line for each number of an output"
            what = f"{name} is an output of the test, and its size is not known"
            yield case.finding("warning", "output", row.layer.line, what, why, mend)
            continue
        what = f"{name} is an output of the test: {lines:,} numbers ({words(shape)})"
        why = f"Caffe prints {lines:,} lines at each test, first at iteration 0: the training seems to stand still"
        level = "error" if lines > _MANY else "warning"
        yield case.finding(level, "output", row.layer.line, what, why, mend)  # type: ignore[arg-type]


def phases(case: Case) -> Iterator[Finding]:
    """Data for the test: there at all, and not the same as the training's."""
    if case.deploys or not case.tests:
        return
    sources = {phase: [layer for layer in case.layers(phase) if layer.source] for phase in PHASES}
    for phase, have in sources.items():
        if not have:
            line = next((layer.line for layer in graph.every(case.net) if layer.source), 1)
            what = f"no layer gives data in {phase}"
            why = "the solver tests" if phase == "TEST" else "there is nothing to train on"
            yield case.finding("error", "phase", line, what, why, f"add a data layer with include {{ phase: {phase} }}")
    for layer in sources["TRAIN"]:
        if layer in sources["TEST"] and layer.type not in ("Input", "DummyData", "Parameter", "MemoryData"):
            what = f"{layer.name} gives data in both phases"
            why = "the test would see what was trained on, and say nothing of new pictures"
            mend = "write include { phase: TRAIN } in it, and add one for TEST"
            yield case.finding("warning", "phase", layer.line, what, why, mend)
    for ours, theirs in product(sources["TRAIN"], sources["TEST"]):
        if ours != theirs and source_of(ours) and source_of(ours) == source_of(theirs):
            what = f"{theirs.name} tests on {source_of(theirs)}, which is trained on"
            yield case.finding("warning", "phase", theirs.line, what, "the test says nothing of new pictures", "")


def losses(case: Case) -> Iterator[Finding]:
    """Something to learn from: a loss in TRAIN."""
    if case.deploys or any(_is_loss(row.layer) for row in case.inferred["TRAIN"].rows):
        return
    what = "no layer of the training is a loss"
    why = "Caffe runs, and learns nothing"
    yield case.finding("error" if case.solver else "warning", "loss", 1, what, why,
                       "add a loss; for a Python layer write loss_weight: 1")  # fmt: skip


RULES: tuple[Rule, ...] = (styles, placeholders, fields, types, wiring, unread, loud_tests, phases, losses)
