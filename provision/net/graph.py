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

    @property
    def loss(self) -> bool:
        """Whether it adds to what is minimised: by its type, or by a loss_weight."""
        weights = [weight for weight in self.message.all("loss_weight") if isinstance(weight, int | float)]
        return any(weights) if weights else self.type.endswith(("Loss", "LossOHEM", "Yolov3"))

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


def has_data(net: Message, phase: Phase, stages: frozenset[str] = frozenset(), level: int = 0) -> bool:
    """Whether anything brings data into the net of that phase."""
    return any(layer.source for layer in layers(net, phase, stages, level))


def stages_of(net: Message) -> list[str]:
    """The stages that the layers' rules name, in the order of the file."""
    rules = [rule for layer in every(net) for name in ("include", "exclude") for rule in layer.message.messages(name)]
    return list(dict.fromkeys(stage for rule in rules for stage in rule.texts("stage") + rule.texts("not_stage")))


def meant(
    net: Message, phase: Phase | None = None, stages: frozenset[str] = frozenset(), level: int = 0
) -> tuple[Phase, frozenset[str]]:
    """The phase and stages that the file is for, as far as they are not asked for.

    TEST is a net for use (data come in from outside, and no loss is made of them) and one with data for the test alone.
    A stage is taken where nothing else has data: the training's for TRAIN, another for TEST.
    """
    asked: tuple[Phase, ...] = PHASES if phase is None else (phase,)
    if not stages and not any(has_data(net, one, stages, level) for one in asked):
        firsts = ("val", "test", "deploy") if phase == "TEST" else ("train",)
        words = sorted(stages_of(net), key=lambda stage: firsts.index(stage) if stage in firsts else len(firsts))
        with_data = (stage for stage in words if any(has_data(net, one, frozenset((stage,)), level) for one in asked))
        stages = frozenset(next(([stage] for stage in with_data), []))
    return phase or _meant(net, stages, level), stages


def _meant(net: Message, stages: frozenset[str], level: int) -> Phase:
    train = layers(net, "TRAIN", stages, level)
    sources = [layer for layer in train if layer.source]
    if not sources and has_data(net, "TEST", stages, level):
        return "TEST"
    fed = all(layer.type in ("Input", "DummyData", "Parameter") for layer in sources)
    return "TEST" if fed and not any(layer.loss for layer in train) else "TRAIN"


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
