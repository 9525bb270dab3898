"""SSD's label maps, where they are here: each label of a map is a class of the layers that count with it."""

from collections.abc import Iterator
from pathlib import Path

from infra.errors import UsageError
from provision.lint.case import Built, BuiltRule
from provision.lint.finding import Finding
from provision.lint.states import bases, there
from provision.net import text
from provision.net.text import Message

# by type: the message that counts classes, and the bottom that holds labels (None: the layer names a map itself)
_COUNTS: dict[str, tuple[str, int | None]] = {
    "MultiBoxLoss": ("multibox_loss", 3),
    "DetectionEvaluate": ("detection_evaluate", 1),
    "DetectionOutput": ("detection_output", None),
}


def classes(built: Built) -> Iterator[Finding]:
    """num_classes against the map that the layer names, or that of the data whose labels it reads."""
    makers = {name: layer for layer in built.sources for name in layer.tops}
    for layer in built.layers:
        message, at = _COUNTS.get(layer.type, ("", None))
        source = layer if at is None else makers.get(layer.bottoms[at]) if at < len(layer.bottoms) else None
        count = layer.param(message).whole("num_classes") if message and source else 0
        name = next(_maps(source.message), "") if count and source else ""
        labels = _labels(Path(built.case.file), name) if name else []
        if labels and (last := max(labels)) + 1 != count:
            what = f"{layer.name}: num_classes {count}, and {name} has labels to {last}"
            why = "some classes have no name"
            if last >= count:
                why = "boxes of the last classes are no class of the net: the loss reads beyond its memory"
            mend = f"write num_classes: {last + 1} (the background is one of them)"
            yield built.case.finding("warning", "label", layer.line, what, why, mend)


def _maps(message: Message) -> Iterator[str]:
    for field in message.fields:
        if isinstance(field.value, Message):
            yield from _maps(field.value)
        elif field.name == "label_map_file":
            yield str(field.value)


def _labels(file: Path, name: str) -> list[int]:
    """The map's labels; none where it is not here, or no map."""
    path = next((base / name for base in bases(file) if there(base / name)), None)
    if path is None:
        return []
    try:
        items = text.read(path).messages("item")
    except UsageError:
        return []
    return [label for item in items for label in item.ints("label")]


RULES: tuple[BuiltRule, ...] = (classes,)
