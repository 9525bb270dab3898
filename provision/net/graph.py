"""A net's layers as one phase has them: old and new style alike, rules of `include` and `exclude` applied.

Older styles (`layers` of 2013 and 2014, `input` with its `input_dim`) are read as today's by `provision.net.upgrade`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from provision.net import upgrade
from provision.net.text import Field, Message, Word

Phase = Literal["TRAIN", "TEST"]
PHASES: tuple[Phase, ...] = ("TRAIN", "TEST")

DATA_TYPES = frozenset(
    ("Data", "ImageData", "HDF5Data", "MemoryData", "WindowData", "DummyData", "Input", "AnnotatedData", "VideoData")
)


@dataclass(frozen=True)
class Layer:
    """A layer in one phase; `message` is its text in today's words, `old` whether it was of an older style."""

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
    return [_layer(message, old) for message, old in upgrade.layers(net)]


def present(layer: Layer, phase: Phase, stages: frozenset[str] = frozenset(), level: int = 0) -> bool:
    """Whether the layer is in the net of that phase, level and those stages."""
    include, exclude = layer.message.messages("include"), layer.message.messages("exclude")
    if include:
        return any(_meets(rule, phase, stages, level) for rule in include)
    return not any(_meets(rule, phase, stages, level) for rule in exclude)


def _layer(message: Message, old: bool) -> Layer:
    return Layer(
        message.text("name"),
        message.text("type"),
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
    shapes = upgrade.shapes_of_inputs(net)
    line = net.line_of("input")
    for number, name in enumerate(net.texts("input")):
        shape = (Field("shape", shapes[number], line),) if number < len(shapes) else ()
        fields = (Field("name", name), Field("type", Word("Input")), Field("input_param", Message(shape, line)))
        yield Layer(name, "Input", (), (name,), Message(fields, line))
