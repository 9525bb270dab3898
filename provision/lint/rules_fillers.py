"""Rules for what weights begin with, and for numbers that a layer refuses (Caffe's filler.hpp, layers; 9b89154)."""

from collections.abc import Iterator

from infra.border import did_you_mean
from provision.lint.case import Built, BuiltRule, Case, Rule
from provision.lint.finding import Finding
from provision.net.graph import Layer
from provision.net.shapes import words
from provision.net.text import Message, Word

_FILLERS = ("constant", "gaussian", "positive_unitball", "uniform", "xavier", "msra", "bilinear")
_OF_FORKS = frozenset(("identity", "diagonal", "gabor", "file", "spectrum", "orthogonal"))
_REFUSED = "Caffe refuses the whole file: Error parsing text-format"


def fillers(case: Case) -> Iterator[Finding]:
    """Fillers that no Caffe known here has, and numbers that they refuse."""
    for layer in case.every:
        for where, filler in _fillers(layer.message):
            kind, line = filler.one("type", "constant"), filler.line_of("type")
            if isinstance(kind, Word) and case.schema is None:
                what = f"{layer.name}: {where} of type {kind} without quotes"
                yield case.finding("error", "field", line, what, _REFUSED, f'write type: "{kind}"', "filler")
            elif isinstance(kind, str) and kind not in _FILLERS and kind not in _OF_FORKS:
                what, why = f"{layer.name}: {where} of type {kind!r}", f"Caffe stops: Unknown filler name: {kind}"
                yield case.finding("error", "field", line, what, why, did_you_mean(kind, _FILLERS), kind)
            elif told := _numbers(filler, str(kind)):
                yield case.finding(
                    "error", "field", filler.line, f"{layer.name}: {where} {told[0]}", *told[1:], "number"
                )


def _fillers(message: Message) -> Iterator[tuple[str, Message]]:
    for field in message.fields:
        if isinstance(field.value, Message):
            if field.name.endswith("filler"):
                yield field.name, field.value
            yield from _fillers(field.value)


def _numbers(filler: Message, kind: str) -> tuple[str, str, str] | None:
    """What is wrong with a filler's numbers, why, and the mend."""
    std, low, high = (_real(filler, name, value) for name, value in (("std", 1.0), ("min", 0.0), ("max", 1.0)))
    if kind == "gaussian" and std <= 0:
        return f"with std {std:g}", "Caffe stops: Check failed: sigma > 0", "write std: 0.01, or a constant"
    if kind == "uniform" and low > high:
        return f"from {low:g} to {high:g}", "Caffe stops: Check failed: a <= b", "write the less one as min"
    if kind in _FILLERS and kind != "gaussian" and filler.one("sparse", -1) != -1:
        return f"{kind} with sparse", "Caffe stops: Sparsity not supported by this Filler", "leave sparse out"
    return None


def _real(message: Message, name: str, default: float) -> float:
    value = message.one(name)
    return float(value) if isinstance(value, int | float) else default


def bilinear(built: Built) -> Iterator[Finding]:
    """It fills square windows alone."""
    for row in built.inferred.rows if built.case.speaks_bvlc else ():
        for name, filler in _fillers(row.layer.message):
            place = {"weight_filler": 0, "bias_filler": 1}.get(name, len(row.params or ()))
            shape = row.params[place] if row.params is not None and place < len(row.params) else None
            if filler.text("type") == "bilinear" and shape and (len(shape) != 4 or shape[2] != shape[3]):
                what = f"{row.layer.name}: a bilinear {name} for {words(shape)}"
                why = "Caffe stops: Filter must be square" if len(shape) == 4 else "Caffe stops: Blob must be 4 dim."
                yield built.case.finding("error", "layer", filler.line, what, why, "take another filler", "bilinear")


def numbers(built: Built) -> Iterator[Finding]:
    """What a layer wants of its own numbers, and texts that it cannot do without."""
    for layer in built.layers if built.case.speaks_bvlc else ():
        if told := _own(layer):
            what, why, mend = told
            yield built.case.finding("error", "layer", layer.line, f"{layer.name}: {what}", why, mend, "own")


def _own(layer: Layer) -> tuple[str, str, str] | None:
    base = _real(layer.param(layer.type.lower()), "base", -1)
    if layer.type in ("Exp", "Log") and base != -1 and base <= 0:
        return f"base is {base:g}", "Caffe stops: base must be strictly positive", "write a base above 0, or none for e"
    clip = layer.param("clip")
    if layer.type == "Clip" and clip.fields and not (clip.all("min") and clip.all("max")):
        return "min or max is not given", _REFUSED, "write both"
    if layer.type == "HDF5Output" and not layer.param("hdf5_output").all("file_name"):
        return (
            "file_name is not given",
            "Caffe stops: Failed to open HDF5 file",
            'write hdf5_output_param { file_name: "…" }',
        )
    python = layer.param("python")
    if layer.type == "Python" and not (python.text("module") and python.text("layer")):
        return "no module and layer are given", "Python stops: Empty module name", 'write module: "…" layer: "…"'
    return None


FILE_RULES: tuple[Rule, ...] = (fillers,)
RULES: tuple[BuiltRule, ...] = (bilinear, numbers)
