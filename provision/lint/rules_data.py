"""Rules that look into the databases: labels against the classes that the net tells apart, tests against their size.

A label that is no class is what most often stands behind error 77 (700 since CUDA 10.1) on a GPU: the loss reads beyond
its memory without a check (softmax_loss_layer.cu).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.errors import UsageError
from provision.data.lmdb_writer import extra
from provision.net import graph
from provision.net.graph import PHASES, Layer
from provision.net.lint import Case, Finding, Records, Rule, batch_of, source_of
from provision.net.shapes import words
from provision.net.text import Message

if TYPE_CHECKING:
    from provision.data.datum import Datum

_LOOKED = 20_000
_JUDGES = ("SoftmaxWithLoss", "Accuracy", "InfogainLoss", "MultinomialLogisticLoss", "HingeLoss")


def records(net: Message, data: Path | None) -> dict[str, Records]:
    """What the databases hold that the net names, by the name; those that are not there are left out."""
    if data is None:
        return {}
    if not data.is_dir():
        raise UsageError(f"--data {data} is not a folder", "name the folder that is /data in the training")
    layers = graph.every(net)
    pictures = {name for layer in layers if layer.type in _JUDGES for name in layer.bottoms[1:2]}
    found = {}
    for layer in layers:
        source = source_of(layer)
        if source and source not in found and (place := _place(source, data)) is not None:
            found[source] = _look(place, pixels=bool(pictures & set(layer.tops[:1])))
    return found


def _place(source: str, data: Path) -> Path | None:
    """/data/NAME is NAME in the data's folder; other paths as they are, or by their last part."""
    inner = source.removeprefix("/data/") if source.startswith("/data/") else source
    places = [data / inner.lstrip("/"), Path(source), data / Path(source).name]
    return next((place for place in places if place.is_dir()), None)


def _look(place: Path, pixels: bool) -> Records:
    from provision.data.databases import reader
    from provision.data.datum import decode

    base = reader(place)
    labels: set[int] = set()
    shape: tuple[int, ...] = ()
    looked = 0
    try:
        for looked, (_, value) in enumerate(base.items(), 1):
            datum = decode(value)
            shape = shape or _shape(datum)
            labels |= _pixels(datum) if pixels else {datum.label}
            if looked >= _LOOKED:
                break
        return Records(shape or (0, 0, 0), len(base), frozenset(labels), looked)
    except ValueError as error:
        raise UsageError(f"{place} holds a record that is no picture: {error}", "make it again") from error
    finally:
        base.close()


def _shape(datum: "Datum") -> tuple[int, ...]:
    if not datum.encoded:
        return datum.channels, datum.height, datum.width
    picture = _picture(datum)
    return (1 if picture.ndim == 2 else picture.shape[2], *picture.shape[:2])


def _pixels(datum: "Datum") -> set[int]:
    """The labels in a label picture. Bytes are counted as a set, which needs no library."""
    return set(datum.data) if not datum.encoded else set(_picture(datum).tobytes())


def _picture(datum: "Datum") -> Any:
    picture = extra("cv2").imdecode(extra("numpy").frombuffer(datum.data, "uint8"), -1)
    if picture is None:
        raise ValueError("a picture that cannot be decoded")
    return picture


def labels(case: Case) -> Iterator[Finding]:
    """Labels that are no class of the score that they are held against."""
    for phase in PHASES:
        inferred = case.inferred[phase]
        makers = {name: layer for layer in case.layers(phase) for name in layer.tops if layer.source}
        for row in inferred.rows:
            layer = row.layer
            maker = makers.get(layer.bottoms[1]) if len(layer.bottoms) > 1 and layer.type in _JUDGES else None
            held = case.records.get(source_of(maker)) if maker else None
            score = inferred.blobs.get(layer.bottoms[0]) if held else None
            if held and score and len(score) > 1:
                yield from _outside(case, layer, held, score[_axis(layer) % len(score)])


def _axis(layer: Layer) -> int:
    return layer.param("accuracy" if layer.type == "Accuracy" else "softmax").whole("axis", 1)


def _outside(case: Case, layer: Layer, held: Records, classes: int) -> Iterator[Finding]:
    ignored = layer.param("accuracy" if layer.type == "Accuracy" else "loss").ints("ignore_label")
    wrong = sorted(one for one in held.labels if not 0 <= one < classes and one not in ignored)
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
        why = "some are seen twice" if seen > held.count else "the rest is never tested, or in the next test"
        if seen > held.count and given[0] == wanted:
            continue  # the last batch begins again at the first picture: no number of rounds is better
        yield case.finding("warning", "test", layer.line, what, why, f"set test_iter to {wanted}")


def sizes(case: Case) -> Iterator[Finding]:
    """Databases of TRAIN and TEST whose pictures differ, without a crop that makes them alike."""
    shapes = {phase: case.inferred[phase] for phase in PHASES}
    for ours in case.layers("TRAIN"):
        for theirs in case.layers("TEST"):
            if ours == theirs or not source_of(ours) or not source_of(theirs) or ours.tops[:1] != theirs.tops[:1]:
                continue
            one, other = (shapes[phase].blobs.get(ours.tops[0]) for phase in PHASES)
            if one and other and one[1:] != other[1:]:
                what = f"{ours.tops[0]} is {words(one[1:])} in TRAIN and {words(other[1:])} in TEST"
                why = "weights of an InnerProduct fit one of them only"
                yield case.finding("warning", "shape", theirs.line, what, why, "make both of one size, or crop both")


RULES: tuple[Rule, ...] = (labels, rounds, sizes)
