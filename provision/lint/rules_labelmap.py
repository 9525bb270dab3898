"""SSD's label maps, where they are here: each label of a map is a class of the layers that count with it."""

from collections.abc import Iterator
from pathlib import Path

from infra.errors import UsageError
from provision.lint.case import Built, BuiltRule
from provision.lint.finding import Finding
from provision.lint.states import bases, there
from provision.net import text
from provision.net.text import Message

_COUNTS = {
    "MultiBoxLoss": "multibox_loss",
    "DetectionOutput": "detection_output",
    "DetectionEvaluate": "detection_evaluate",
}


def classes(built: Built) -> Iterator[Finding]:
    """num_classes against the map that the net's own layers name: its labels, with the background's 0."""
    named = {name: layer for layer in built.layers for name in _maps(layer.message)} if _any_counts(built) else {}
    maps = {name: labels for name in named if (labels := _labels(Path(built.case.file), name))}
    for layer in built.layers:
        if not maps or layer.type not in _COUNTS:
            continue
        count = layer.param(_COUNTS[layer.type]).whole("num_classes")
        name, labels = max(maps.items(), key=lambda item: max(item[1]))
        last = max(labels)
        if count and last + 1 != count:
            what = f"{layer.name}: num_classes {count}, and {name} has labels to {last}"
            why = (
                "boxes of the last classes are beyond the loss's memory"
                if last >= count
                else "some classes have no name"
            )
            mend = f"write num_classes: {last + 1} (the background is one of them)"
            level = "error" if last >= count else "warning"
            yield built.case.finding(level, "label", layer.line, what, why, mend)  # type: ignore[arg-type]


def _any_counts(built: Built) -> bool:
    return any(layer.type in _COUNTS for layer in built.layers)


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
