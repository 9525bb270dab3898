"""Boxes out of labelme's JSON files, one for each image (labelme 3 to 5): rectangles, polygons, circles, masks.

A polygon's box is what it lies within. Points and lines are no boxes: they are left out, and counted.
"""

import math
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from infra.errors import UsageError
from provision.data.box_set import Box, Boxes, BoxSet, below, bounds, is_there

_UPRIGHT = (("rectangle", 2), ("rectangle", 4), ("mask", 2))  # of four points as X-AnyLabeling writes it
_CORNERS = 36  # of the polygon that stands for a circle


class _Shape(msgspec.Struct, frozen=True):
    label: str
    points: list[tuple[float, float]]
    shape_type: str | None = "polygon"
    flags: dict[str, Any] | None = None


class _File(msgspec.Struct, frozen=True, rename="camel"):
    shapes: list[_Shape]
    image_path: str
    image_width: float | None = None
    image_height: float | None = None


def is_labelme(path: Path) -> bool:
    """Whether a JSON file has labelme's keys."""
    try:
        found = msgspec.json.decode(path.read_bytes().removeprefix(b"\xef\xbb\xbf"), type=dict[str, msgspec.Raw])
    except (OSError, msgspec.DecodeError, RecursionError):
        return False
    return "shapes" in found and "imagePath" in found


def files_of(folder: Path) -> list[Path]:
    """The JSON files below a folder, without hidden ones."""
    return [path for path in sorted(folder.rglob("*.json")) if not path.name.startswith(".")]


def read(source: Path, root: Path) -> BoxSet:
    """The images of a JSON file, or of all below a folder; the classes by their names. UsageError names the file that
    is none of labelme's."""
    files = [source] if source.is_file() else files_of(source)
    lost: Counter[str] = Counter()
    images = [_image(path, root, lost) for path in files]
    if not images:
        raise UsageError(f"{source} has no JSON file", "give a folder of labelme's files")
    names = sorted({box.name for image in images for box in image.boxes})
    return BoxSet("labelme", names, images, dict(lost), seen=True)


def _image(path: Path, root: Path, lost: Counter[str]) -> Boxes:
    try:
        found = msgspec.json.decode(path.read_bytes().removeprefix(b"\xef\xbb\xbf"), type=_File)
    except (OSError, msgspec.DecodeError, RecursionError) as error:
        raise UsageError(f"{path} is no file of labelme's: {error}", "take it out of the folder") from error
    boxes = []
    for shape in found.shapes:
        box = _box(shape)
        if isinstance(box, str):
            lost[box] += 1
        else:
            boxes.append(box)
    named = path.parent / PurePosixPath(found.image_path.replace("\\", "/"))
    beside = path.with_suffix(named.suffix)  # where the files were moved, images lie beside them
    place = named if is_there(named) or not is_there(beside) else beside
    return Boxes(below(root, place), tuple(boxes), found.image_width or 0, found.image_height or 0)


def _box(shape: _Shape) -> Box | str:
    """The object, or why it is left out."""
    points = [number for point in shape.points for number in point]
    name = shape.label.strip()
    if not name:
        return "without a name"
    if (shape.shape_type, len(shape.points)) in _UPRIGHT:
        return Box(name, bounds(points))
    if shape.shape_type == "circle" and len(shape.points) == 2:
        (x, y), edge = shape.points
        radius = math.dist((x, y), edge)
        turns = [2 * math.pi * place / _CORNERS for place in range(_CORNERS)]
        round_it = tuple(c for turn in turns for c in (x + radius * math.cos(turn), y + radius * math.sin(turn)))
        return Box(name, (x - radius, y - radius, x + radius, y + radius), polygons=(round_it,))
    if shape.shape_type in ("polygon", "rotation", None) and len(shape.points) >= 3:
        return Box(name, bounds(points), polygons=(tuple(points),))
    return f"that are {shape.shape_type or 'polygon'}s of {len(shape.points)} points"
