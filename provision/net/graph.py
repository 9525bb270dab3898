"""A net's layers as one phase has them: old and new style alike, rules of `include` and `exclude` applied.

The old style (`layers`, types as enum words, `input` with its `input_dim`) is read as the new one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from provision.net.text import Field, Message, Word

Phase = Literal["TRAIN", "TEST"]
PHASES: tuple[Phase, ...] = ("TRAIN", "TEST")

# old types whose new name is not their words in capitals
_OLD = {
    "ABSVAL": "AbsVal", "ARGMAX": "ArgMax", "BNLL": "BNLL", "HDF5_DATA": "HDF5Data", "HDF5_OUTPUT": "HDF5Output",
    "LRN": "LRN", "MVN": "MVN", "RELU": "ReLU", "PRELU": "PReLU", "SOFTMAX_LOSS": "SoftmaxWithLoss", "TANH": "TanH",
}  # fmt: skip
DATA_TYPES = frozenset(
    ("Data", "ImageData", "HDF5Data", "MemoryData", "WindowData", "DummyData", "Input", "AnnotatedData", "VideoData")
)


@dataclass(frozen=True)
class Layer:
    """A layer in one phase; `message` is its text, `old` whether that is of the old style."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    message: Message
    old: bool = False

    @property
    def line(self) -> int:
        return self.message.line

    @property
    def in_place(self) -> bool:
        return bool(self.bottoms) and self.bottoms[:1] == self.tops[:1]

    @property
    def source(self) -> bool:
        """Whether it makes data out of nothing in the net."""
        return self.type in DATA_TYPES or (not self.bottoms and bool(self.tops))

    def param(self, name: str) -> Message:
        return self.message.sub(f"{name}_param")


def layers(net: Message, phase: Phase, stages: frozenset[str] = frozenset(), level: int = 0) -> list[Layer]:
    """The layers that the phase has, in order."""
    kept = [layer for layer in every(net) if present(layer, phase, stages, level)]
    return [*_inputs(net), *kept]


def every(net: Message) -> list[Layer]:
    """All layers of the file, whatever their phase."""
    return [
        _layer(field.value, field.name == "layers")
        for field in net.fields
        if field.name in ("layer", "layers") and isinstance(field.value, Message)
    ]


def present(layer: Layer, phase: Phase, stages: frozenset[str] = frozenset(), level: int = 0) -> bool:
    """Whether the layer is in the net of that phase, level and those stages."""
    inner = layer.message.sub("layer") if layer.old else layer.message  # the oldest style of all nests
    source = layer.message if layer.message.messages("include") or layer.message.messages("exclude") else inner
    include, exclude = source.messages("include"), source.messages("exclude")
    if include:
        return any(_meets(rule, phase, stages, level) for rule in include)
    return not any(_meets(rule, phase, stages, level) for rule in exclude)


def new_type(word: str) -> str:
    """The new name of an old type: INNER_PRODUCT is InnerProduct."""
    return _OLD.get(word) or "".join(part.capitalize() for part in word.split("_"))


def _layer(message: Message, old: bool) -> Layer:
    kind = message.text("type")
    return Layer(
        message.text("name"),
        new_type(kind) if old else kind,
        tuple(message.texts("bottom")),
        tuple(message.texts("top")),
        message,
        old,
    )


def _meets(rule: Message, phase: Phase, stages: frozenset[str], level: int) -> bool:
    if (wanted := rule.text("phase")) and wanted not in (phase, str(PHASES.index(phase))):
        return False
    low, high = rule.ints("min_level"), rule.ints("max_level")
    if (low and level < low[-1]) or (high and level > high[-1]):
        return False
    return set(rule.texts("stage")) <= stages and not set(rule.texts("not_stage")) & stages


def _inputs(net: Message) -> Iterator[Layer]:
    """`input: "data"` with its shape beside it, as a layer of type Input for each."""
    dims = net.ints("input_dim")
    shapes = net.messages("input_shape") or [
        Message(tuple(Field("dim", dim) for dim in dims[at : at + 4])) for at in range(0, len(dims), 4)
    ]
    line = net.line_of("input")
    for number, name in enumerate(net.texts("input")):
        shape = (Field("shape", shapes[number], line),) if number < len(shapes) else ()
        fields = (Field("name", name), Field("type", Word("Input")), Field("input_param", Message(shape, line)))
        yield Layer(name, "Input", (), (name,), Message(fields, line))
