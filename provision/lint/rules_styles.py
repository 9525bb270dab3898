"""Rules for what belongs to one style of a net's text: `layer` of today, `layers` of 2014 and of 2013. Facts of Caffe
are of 9b89154."""

from collections.abc import Iterator

from provision.lint.case import Case, Rule
from provision.lint.finding import Finding
from provision.net import forks, upgrade
from provision.net.text import Field, Message, Word

_REFUSED = "Caffe refuses the whole file: Error parsing text-format"
_OLD_WORDS = {"blobs_lr": "param { lr_mult: … }", "weight_decay": "param { decay_mult: … }",
              "blob_share_mode": "param { share_mode: … }"}  # fmt: skip
_NEW_WORDS = ("propagate_down", "phase")
_OF_2013 = frozenset(  # upgrade_proto.cpp: UpgradeV0LayerType
    (
        "accuracy", "bnll", "concat", "conv", "data", "dropout", "euclidean_loss", "flatten", "hdf5_data",
        "hdf5_output", "im2col", "images", "infogain_loss", "innerproduct", "lrn", "multinomial_logistic_loss",
        "padding", "pool", "relu", "sigmoid", "softmax", "softmax_loss", "split", "tanh", "window_data",
    )
)  # fmt: skip


def types(case: Case) -> Iterator[Finding]:
    """A type is a text in `layer`, and a word in capitals in `layers`; none is unknown."""
    for style in ("layer", "layers"):
        for message in case.net.messages(style):
            kind, line = message.one("type"), message.line_of("type")
            if message.messages("layer"):
                continue  # of 2013
            if kind is None or kind == "":
                what = f"{message.text('name') or 'a layer'} has no type"
                yield case.finding("error", "type", line, what, "Caffe stops: Unknown layer type", 'write type: "…"')
            elif case.schema is not None:
                continue  # which tells what its values may be
            elif style == "layer" and not (isinstance(kind, str) and not isinstance(kind, Word)):
                mend = f'write type: "{_today(kind)}"'
                yield case.finding("error", "type", line, f"type: {kind} is no text", _REFUSED, mend, "unquoted")
            elif style == "layers" and isinstance(kind, int) and not upgrade.new_type(kind):
                what = f"no layer of 2014 has the number {kind}"
                yield case.finding("warning", "type", line, what, _REFUSED, "write the type's word", "number")
            elif style == "layers" and isinstance(kind, str) and not isinstance(kind, Word):
                what = f'type: "{kind}" is a word of `layer`, and this is a `layers`'
                mend = f"write layer {{ … }} everywhere: provision net upgrade {case.file} NEW.prototxt"
                yield case.finding("error", "type", line, what, _REFUSED, mend, "quoted")


def _today(kind: object) -> str:
    found = upgrade.new_type(Word(str(kind)))
    return next((name for name in forks.BVLC if name.lower() == found.lower()), found)


def words(case: Case) -> Iterator[Finding]:
    """Fields of one style in a layer of the other (caffe.proto: LayerParameter, V1LayerParameter)."""
    for style in ("layer", "layers") if case.schema is None else ():
        for message in case.net.messages(style):
            for field in () if message.messages("layer") else message.fields:
                if mend := _misplaced(style, field):
                    what = f"{message.text('name') or 'a layer'}: {field.name} is no word of `{style}`"
                    yield case.finding("error", "field", field.line, what, _REFUSED, mend, field.name)


def _misplaced(style: str, field: Field) -> str:
    """The mend where the field is one of the other style; empty where it is not."""
    if field.name == "param":
        if style == "layer" and isinstance(field.value, str):
            return f'write param {{ name: "{field.value}" }}'
        return (
            "write blobs_lr, weight_decay or a name" if style == "layers" and isinstance(field.value, Message) else ""
        )
    if style == "layer" and field.name in _OLD_WORDS and not isinstance(field.value, Message):
        return f"write {_OLD_WORDS[field.name]}"
    return (
        "write the layers as `layer`: provision net upgrade" if style == "layers" and field.name in _NEW_WORDS else ""
    )


def of_2013(case: Case) -> Iterator[Finding]:
    """Layers of 2013: all of them, of types that they have. What has no place any more Caffe leaves out, but for a
    padding that nothing takes."""
    both = {bool(message.messages("layer")): message for message in case.net.messages("layers")}
    if len(both) > 1:
        what, why = "layers of 2013 and of 2014 are mixed", "Caffe takes all for those of 2013: Unknown layer type"
        yield case.finding("error", "style", both[False].line, what, why, "write `layer` everywhere")
    for layer in [one.sub("layer") for one in case.net.messages("layers") if one.messages("layer")]:
        if (kind := layer.text("type")) not in _OF_2013:
            named, why = layer.text("name") or "a layer", "Caffe stops: Unknown layer name"
            what = f"{named}: no layer of 2013 is of type {kind!r}"
            yield case.finding("error", "style", layer.line, what, why, "write it as `layer`", "2013")
    remarks: list[tuple[int, str]] = []
    upgrade.layers(case.net, remarks)
    for line, told in remarks:
        if told.startswith("only a"):
            why = "Caffe stops: Padding layer input to non-convolutional / non-pooling layer type"
            yield case.finding("error", "style", line, told, why, "write pad: N into the layer that is to be padded")
        elif "left out" in told:
            yield case.finding("warning", "style", line, told, "Caffe says so in its log, and goes on", "take it out")


RULES: tuple[Rule, ...] = (types, words, of_2013)
