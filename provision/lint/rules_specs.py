"""Rules for what stands beside a layer's own parameters: its rules, weights of losses, shared parameters,
and the transformation of data. Facts of Caffe are of 9b89154."""

from collections.abc import Iterator

from provision.lint import rules_values
from provision.lint.case import Built, BuiltRule, Case, Rule
from provision.lint.finding import Finding
from provision.net import forks
from provision.net.graph import Layer
from provision.net.shape_kit import Shape
from provision.net.shapes import Row, count, words
from provision.net.text import Message

_READERS = {"Data": "data", "HDF5Data": "hdf5_data", "ImageData": "image_data", "WindowData": "window_data"}
_SIZED = ("Data", "HDF5Data", "WindowData")
_ONCE_FOR_EACH = {
    "loss_weight": "Caffe stops: loss_weight must be unspecified or specified once per top blob",
    "propagate_down": "Caffe stops: propagate_down param must be specified either 0 or bottom_size times",
}
_ONE_BY_ITSELF = ("SoftmaxWithLoss", "InfogainLoss")  # loss_layer.cpp: LayerSetUp
_REFUSED = "Caffe refuses the whole file: Error parsing text-format"


def values(case: Case) -> Iterator[Finding]:
    """What no Caffe can read; with a schema that tells it."""
    if case.schema is None:
        yield from rules_values.findings(case.file, case.net)


def rules_of_phases(case: Case) -> Iterator[Finding]:
    for layer in case.every:
        if layer.message.messages("include") and layer.message.messages("exclude"):
            what, why = f"{layer.name} has include and exclude", "Caffe stops: Specify either include rules or exclude"
            yield case.finding("error", "phase", layer.line, what, why, "keep one of them", "include and exclude")


def weights_of_losses(built: Built) -> Iterator[Finding]:
    """loss_weight and propagate_down come once for each top and bottom (layer.hpp, net.cpp)."""
    for layer in built.layers:
        if len(layer.tops) > 1 and layer.type in _ONE_BY_ITSELF:
            yield from _second_top(built, layer)
            continue
        tops = max(len(layer.tops), 1)
        for name, noun, most in (("loss_weight", "tops", tops), ("propagate_down", "bottoms", len(layer.bottoms))):
            given = len(layer.message.all(name))
            if given not in (0, most):
                what = f"{layer.name}: {given} {name} for {most} {noun if most != 1 else noun[:-1]}"
                yield _stops(built, layer.message.line_of(name), what, _ONCE_FOR_EACH[name], "write as many", name)


def _second_top(built: Built, layer: Layer) -> Iterator[Finding]:
    """The probabilities of a loss, which has a loss_weight of itself. SoftmaxWithLoss hands all of them to the Softmax
    inside it, which has one top, and so none fits."""
    given, never = len(layer.message.all("loss_weight")), layer.type == "SoftmaxWithLoss"
    if never or given != len(layer.tops):
        what = f"{layer.name}: two tops of {layer.type}, and {given or 'no'} loss_weight"
        own = "a Softmax inside it has one top" if never else "of itself it takes one"
        mend = "take the probabilities from a Softmax layer" if never else "write loss_weight: 1 loss_weight: 0"
        yield _stops(built, layer.line, what, f"{_ONCE_FOR_EACH['loss_weight']}, and {own}", mend, "second top")


def learnt(built: Built) -> Iterator[Finding]:
    """No more `param` than the layer has blobs, and those of one name alike in shape and rates (net.cpp)."""
    owners: dict[str, tuple[Row, Shape, Message]] = {}
    for row in built.inferred.rows:
        specs = row.layer.message.messages("param")
        if row.params is None:
            continue
        if len(specs) > len(row.params) and row.layer.type in forks.BVLC and row.layer.type != "Python":
            what = f"{row.layer.name}: {len(specs)} param for {len(row.params)} blobs"
            line = specs[len(row.params)].line
            yield _stops(built, line, what, "Caffe stops: Too many params specified for layer", "leave it out", "param")
        for spec, shape in zip(specs, row.params, strict=False):
            if name := spec.text("name"):
                owner, other, first = owners.setdefault(name, (row, shape, spec))
                yield from _shared(built, row.layer, owner.layer, (shape, other), (spec, first))


def _shared(
    built: Built, layer: Layer, owner: Layer, shapes: tuple[Shape, Shape], specs: tuple[Message, Message]
) -> Iterator[Finding]:
    name, line = specs[0].text("name"), specs[0].line
    loose = str(specs[0].one("share_mode", "STRICT")) in ("PERMISSIVE", "1")
    if shapes[0] != shapes[1] and not (loose and count(shapes[0]) == count(shapes[1])):
        what = f"{layer.name} shares {name} with {owner.name}: {words(shapes[0])} and {words(shapes[1])}"
        yield _stops(built, line, what, f"Caffe stops: Cannot share param '{name}'", "make both alike", "shared")
    for rate in ("lr_mult", "decay_mult"):
        given = [float(str(value)) for spec in specs for value in spec.all(rate) if isinstance(value, int | float)]
        if len(given) == 2 and given[0] != given[1]:
            what = f"{layer.name} shares {name} with {owner.name}: {rate} {given[0]:g} and {given[1]:g}"
            why = f"Caffe stops: Shared param '{name}' has mismatched {rate}"
            yield _stops(built, line, what, why, "make both alike", "shared")


def transformations(built: Built) -> Iterator[Finding]:
    """What data layers want of themselves (data_transformer.cpp, hdf5_data_layer.cpp, data_layer.cpp)."""
    for layer in built.layers:
        transform, line = layer.message.sub("transform_param"), layer.message.line_of("transform_param")
        if transform.all("mean_file") and transform.all("mean_value"):
            what = f"{layer.name} has a mean_file and mean_value"
            why = "Caffe stops: Cannot specify mean_file and mean_value at the same time"
            yield _stops(built, line, what, why, "keep one of them", "means")
        if layer.type == "HDF5Data" and layer.message.messages("transform_param"):
            what, why = (
                f"{layer.name}: an HDF5Data with transform_param",
                "Caffe stops: HDF5Data does not transform data",
            )
            yield _stops(built, line, what, why, "transform the numbers when the file is made", "hdf5")
        yield from _reads(built, layer)


def _reads(built: Built, layer: Layer) -> Iterator[Finding]:
    """Source and batch size, which DIGITS fills in where a net has no solver of its own."""
    own, given = layer.param(_READERS.get(layer.type, "")), ""
    if layer.type in _READERS and not own.text("source"):
        given = "no source is given"
    elif layer.type in _SIZED and not own.whole("batch_size", int(not own.all("batch_size"))):
        given = "batch_size is 0"
    elif layer.type in _SIZED and not own.all("batch_size"):
        given = "batch_size is not given"
    if given and built.case.solver is not None:
        mend = 'write source: "…" and batch_size: N'
        yield _stops(built, layer.line, f"{layer.name}: {given}", "Caffe stops, or reads nothing", mend, "source")
    elif given and not built.state.stages:
        what, why = f"{layer.name}: {given}", "Caffe stops, or reads nothing, unless DIGITS fills it in"
        yield built.case.finding("warning", "layer", layer.line, what, why, "write it into the net", "source")
    if layer.type == "Data" and "lmdb" in own.text("source").lower() and str(own.one("backend", 0)) in ("0", "LEVELDB"):
        what = f"{layer.name} reads {own.text('source')} with backend LEVELDB"
        why = "without a backend Caffe takes LevelDB, and finds none in an LMDB"
        yield built.case.finding("warning", "layer", layer.line, what, why, "write backend: LMDB", "backend")


def dropouts(built: Built) -> Iterator[Finding]:
    for layer in built.layers:
        ratio = layer.param("dropout").one("dropout_ratio")
        if layer.type == "Dropout" and isinstance(ratio, int | float) and not 0 <= ratio < 1:
            what, why = f"{layer.name}: dropout_ratio is {ratio}", "what is left is divided by 1 - ratio: inf, or nan"
            why = why if ratio == 1 else "Caffe stops in the training: Check failed: p, which is 1 - ratio"
            mend, line = "write a number from 0 to below 1", layer.message.line_of("dropout_param")
            yield _stops(built, line, what, why, mend, "dropout")


def inputs(case: Case) -> Iterator[Finding]:
    """`input_dim` comes by fours, `input_shape` once for each input (upgrade_proto.cpp: UpgradeNetInput)."""
    names, line = case.net.texts("input"), case.net.line_of("input")
    read = case.speaks_bvlc and {name for layer in case.every for name in layer.bottoms} & set(names)
    shapes, dims = len(case.net.all("input_shape")), len(case.net.all("input_dim"))
    if names and not shapes and not dims:
        what, why = f"input {names[0]} has no shape", "Caffe makes no such blob: Unknown bottom blob"
        mend = "write input_shape { dim: N dim: C dim: H dim: W }"
        yield case.finding("error" if read else "warning", "layer", line, what, why, mend, "input")
    for given, wanted, word in ((shapes, len(names), "input_shape"), (dims, 4 * len(names), "input_dim")):
        if names and given and given != wanted and not (word == "input_dim" and shapes):
            what = f"{given} {word} for {len(names)} input{'s' if len(names) > 1 else ''}"
            why = "Caffe dies: it reads beyond them" if given < wanted else "Caffe passes over the last ones"
            level = "error" if given < wanted else "warning"
            mend = f"write {wanted}: {'four for each, N C H W' if word == 'input_dim' else 'one for each'}"
            yield case.finding(level, "layer", line, what, why, mend, "input")  # type: ignore[arg-type]


def _stops(built: Built, line: int, what: str, why: str, mend: str, fold: str) -> Finding:
    level = "error" if built.case.speaks_bvlc else "warning"
    return built.case.finding(level, "layer", line, what, why, mend, fold)  # type: ignore[arg-type]


FILE_RULES: tuple[Rule, ...] = (values, inputs, rules_of_phases)
RULES: tuple[BuiltRule, ...] = (weights_of_losses, learnt, transformations, dropouts)
