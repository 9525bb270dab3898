"""The `segmentation` of an annotation: whether Detectron and pycocotools can use it.

Polygons are lists of x, y, x, y, …; a run-length encoded mask has `size` [height, width] and `counts`, the lengths of
runs of 0 and 1 by columns, as a list or as pycocotools' text. Detectron (04155a0) stops where it is neither a list nor
a mapping, and where one of the polygons has no length; pycocotools (2.0) fails on nested ones, takes all memory for
null as a coordinate, and decodes counts that do not fill the size as nonsense.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from provision.data import coco_kinds as kinds
from provision.data.coco_kinds import Kind

_LEAST = 6  # numbers: three points
_FAR = 0.1  # of the union of a box and its polygons' bounds: what both have at least


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_box(value: object) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(is_number, value))


def is_polygon(value: object) -> bool:
    """Whether it is pairs of numbers; of how many points says nothing."""
    return isinstance(value, list) and len(value) % 2 == 0 and all(map(is_number, value))


def polygons(mask: object) -> list[Any]:
    """Those of the mask's polygons that have three points or more."""
    found = mask if isinstance(mask, list) else []
    return [polygon for polygon in found if is_polygon(polygon) and len(polygon) >= _LEAST]


def fault(entry: Mapping[str, Any], size: tuple[float, float] | None) -> Kind | None:
    """What is wrong with the annotation's mask, in a picture of that width and height."""
    mask = entry["segmentation"]
    if isinstance(mask, list):
        if not all(map(is_polygon, mask)):
            return kinds.NO_POLYGON
        if not (sound := polygons(mask)):
            return kinds.NO_MASK
        return kinds.FAR if is_box(entry.get("bbox")) and _far(entry["bbox"], sound) else None
    if not isinstance(mask, dict) or not mask:
        return kinds.NO_SEGMENTATION
    if not _fills(mask, size):
        return kinds.BAD_RUNS
    return kinds.PACKED if entry.get("iscrowd") == 0 else None


def usable(entry: Mapping[str, Any], size: tuple[float, float]) -> bool:
    """Whether the mask stays as it is in a mended copy."""
    return "segmentation" in entry and fault(entry, size) in (None, kinds.FAR, kinds.PACKED)


def is_rectangle(entry: Mapping[str, Any]) -> bool:
    """Whether the object's one polygon is nothing but its box."""
    mask, box = entry.get("segmentation"), entry.get("bbox")
    if not (isinstance(mask, list) and len(mask) == 1 and is_box(box)):
        return False
    x, y, w, h = box  # type: ignore[misc]
    polygon = mask[0]
    if not is_polygon(polygon) or len(polygon) != 8:
        return False
    return {*zip(polygon[::2], polygon[1::2], strict=True)} == {(x, y), (x + w, y), (x + w, y + h), (x, y + h)}


def _far(box: Sequence[float], sound: Sequence[Sequence[float]]) -> bool:
    """Whether the polygons lie elsewhere than the box."""
    across = [value for polygon in sound for value in polygon[::2]]
    down = [value for polygon in sound for value in polygon[1::2]]
    left, top, right, bottom = min(across), min(down), max(across), max(down)
    x, y, w, h = box
    wide = min(right, x + w) - max(left, x)
    high = min(bottom, y + h) - max(top, y)
    both = wide * high if wide > 0 and high > 0 else 0
    union = (right - left) * (bottom - top) + w * h - both
    return union > 0 and both < _FAR * union


def _fills(mask: Mapping[str, Any], size: tuple[float, float] | None) -> bool:
    """Whether the runs are those of a mask of the picture's size."""
    shape = mask.get("size")
    if not (isinstance(shape, list) and len(shape) == 2 and all(isinstance(side, int) and side > 0 for side in shape)):
        return False
    if size is not None and (shape[1], shape[0]) != size:
        return False
    counts = mask.get("counts")
    runs = _unpacked(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(isinstance(run, int) and run >= 0 for run in runs):
        return False
    return bool(sum(runs) == shape[0] * shape[1])


def _unpacked(text: str) -> list[int] | None:
    """The runs out of pycocotools' text: five bits a letter, from the lowest; each from the third on as the difference
    to the one but last. None where it is no such text."""
    runs: list[int] = []
    value = place = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64:
            return None
        value |= (bits & 31) << 5 * place
        place += 1
        if not bits & 32:
            if bits & 16:
                value -= 1 << 5 * place
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = place = 0
    return None if place else runs
