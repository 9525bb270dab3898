"""Rules that look at the wiring of a net in one state. Facts of Caffe are of 9b89154."""

from collections.abc import Iterator, Mapping, Sequence

from infra.border import nearest
from provision.lint.case import Built, BuiltRule, is_loss, is_score
from provision.lint.finding import Finding
from provision.net.graph import Layer
from provision.net.shapes import Row, count, words

_MANY = 1000  # lines of one test
_NEAREST = 10  # bottoms that nobody makes, for which a near name is looked for


def wiring(built: Built) -> Iterator[Finding]:
    """Bottoms that nobody makes, and tops that two layers make (net.cpp: AppendBottom, AppendTop)."""
    made: dict[str, Layer] = {}
    missing: set[str] = set()
    for layer in built.layers:
        for name in layer.bottoms:
            if name not in made and name not in missing:
                missing.add(name)
                yield _no_bottom(built, layer, name, made if len(missing) <= _NEAREST else {})
        for at, name in enumerate(layer.tops):
            if name in made and not (at < len(layer.bottoms) and layer.bottoms[at] == name):
                what = f"{layer.name} makes {name}, which {made[name].name} makes already"
                yield built.case.finding("error", "top", layer.line, what, "Caffe stops: produced by multiple sources",
                                         "give it another name, or give each layer its phase")  # fmt: skip
            made[name] = layer


def _no_bottom(built: Built, layer: Layer, name: str, made: Mapping[str, Layer]) -> Finding:
    maker = built.case.makers.get(name)
    if maker is None:
        close = nearest(name, made, 1)
        mend = f"did you mean {close[0]}?" if close else "name a top of a layer above"
    elif maker in built.layers:
        mend = f"{maker.name} (line {maker.line}) makes it: put that layer above this one"
    else:
        mend = f"{maker.name} (line {maker.line}) makes it elsewhere only: give {built.state} one, too"
    what = f"{layer.name} reads {name}, which nothing makes before it"
    return built.case.finding("error", "bottom", layer.line, what, "Caffe stops: Unknown bottom blob", mend)


def unread(built: Built) -> Iterator[Finding]:
    """Tops that no layer of the training reads and that are no loss and no score: computed and of no use."""
    if not built.trains:
        return
    for name, row in _unread(built.inferred.rows).items():
        layer = row.layer
        if (layer.source and (name == "label" or built.unmade)) or is_loss(layer) or is_score(layer):
            continue
        if built.inferred.blobs.get(name) == ():
            continue  # one number, which somebody wants to see
        what = f"no layer reads {name} in TRAIN, and it is no loss"
        why = f"{layer.name} is computed for nothing, and its numbers are printed at each display"
        mend = f'take it out, or end it: layer {{ name: "silence" type: "Silence" bottom: "{name}" }}'
        yield built.case.finding("warning", "unread", layer.line, what, why, mend, fold="unread")


def _unread(rows: Sequence[Row]) -> dict[str, Row]:
    left: dict[str, Row] = {}
    for row in rows:
        for name in row.layer.bottoms:
            left.pop(name, None)
        left.update((name, row) for name in row.layer.tops)
    return left


def loud_tests(built: Built) -> Iterator[Finding]:
    """Outputs of the test that are no scalars: Caffe prints a line for each number (solver.cpp: Solver::Test)."""
    if not built.tests or built.never_runs:
        return
    for name, row in _unread(built.inferred.rows).items():
        shape = built.inferred.blobs[name]
        lines = None if shape is None else count(shape)
        if lines == 1 or (shape is None and (is_loss(row.layer) or row.layer.type == "Python")):
            continue
        if is_score(row.layer) or (row.layer.source and (built.unmade or built.case.solver is None)):
            continue
        mend = f'end it in TEST by a Silence layer, or keep only loss and accuracy: bottom: "{name}"'
        if lines is None:
            why = "Caffe prints one line for each number of an output"
            what = f"{name} is an output of the test, and its size is not known"
            yield built.case.finding("warning", "output", row.layer.line, what, why, mend)
            continue
        what = f"{name} is an output of the test: {lines:,} numbers ({words(shape)})"
        why = f"Caffe prints {lines:,} lines at each test, first at iteration 0: the training seems to stand still"
        loud = "error" if lines > _MANY and built.case.solver is not None else "warning"
        yield built.case.finding(loud, "output", row.layer.line, what, why, mend, fold=loud)  # type: ignore[arg-type]


def feeds(built: Built) -> Iterator[Finding]:
    """Data at all."""
    if built.deploys or built.sources:
        return
    line = next((layer.line for layer in built.case.every if layer.source), 1)
    what = f"no layer gives data in {built.state}"
    why = "the solver tests" if built.tests else "there is nothing to train on"
    mend = f"add a data layer with include {{ phase: {built.phase} }}"
    yield built.case.finding("error", "phase", line, what, why, mend)


def losses(built: Built) -> Iterator[Finding]:
    """Something to learn from: a loss in TRAIN."""
    if not built.trains or any(is_loss(layer) for layer in built.layers):
        return
    what = "no layer of the training is a loss"
    why = "Caffe runs, and learns nothing"
    yield built.case.finding("error" if built.case.solver else "warning", "loss", 1, what, why,
                             "add a loss; for a Python layer write loss_weight: 1")  # fmt: skip


RULES: tuple[BuiltRule, ...] = (wiring, unread, loud_tests, feeds, losses)
