"""Ids in annotations: whole numbers. Some programs write them as texts ("7") or with a point (7.0), which is no guess;
pycocotools takes a text for a list of its letters."""

from collections.abc import MutableMapping
from typing import Any

KEYS = ("id", "image_id", "category_id")
_LONGEST = 18  # digits: a 64-bit number


def is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def number(value: object) -> int | None:
    """The id that is meant; None where it is none."""
    if is_id(value):
        return value  # type: ignore[return-value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.strip().isdecimal() and len(value.strip()) <= _LONGEST:
        return int(value)
    return None


def mend(entry: object) -> bool:
    """Write the ids of a picture, an annotation or a category as numbers; whether any was not."""
    if not isinstance(entry, MutableMapping):
        return False
    plain: dict[str, Any] = {key: number(entry[key]) for key in KEYS if key in entry and not is_id(entry[key])}
    found = {key: value for key, value in plain.items() if value is not None}
    entry.update(found)
    return bool(found)
