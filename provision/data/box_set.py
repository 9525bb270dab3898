"""Images with boxes, whatever file they were written in: what the readers of VOC's XML, COCO, YOLO and labelme give."""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from provision.data.lines import SUFFIXES

Corners = tuple[float, float, float, float]


class Box(msgspec.Struct, frozen=True):
    """One object: its class's name; left, top, right, bottom, from 0 to the picture's width and height. `difficult`
    objects count neither way in a score (VOC's difficult, COCO's crowds). `polygons` are lists of x, y, x, y, …"""

    name: str
    corners: Corners
    difficult: bool = False
    polygons: tuple[tuple[float, ...], ...] = ()


class Boxes(msgspec.Struct, frozen=True):
    """The objects of one image: its path below the root, or absolute; the size that its file tells (0: none). Where
    `shares` is set, all numbers are shares of the picture's width and height, and not pixels."""

    image: str
    boxes: tuple[Box, ...]
    width: float = 0
    height: float = 0
    shares: bool = False

    def in_pixels(self, width: int, height: int) -> "Boxes":
        """The same in pixels, for a picture of that size."""
        if not self.shares:
            return self
        found = tuple(
            Box(
                box.name,
                _scaled(box.corners, width, height),  # type: ignore[arg-type]
                box.difficult,
                tuple(_scaled(polygon, width, height) for polygon in box.polygons),
            )
            for box in self.boxes
        )
        return Boxes(self.image, found, width, height)


class BoxSet(msgspec.Struct, frozen=True):
    """All images of a source in order, the classes' names in the source's own order, and how many things were left out
    because they are no boxes, by cause. `seen`: no file says which classes there are; those that occur are taken."""

    form: str
    names: list[str]
    images: list[Boxes]
    left_out: dict[str, int] = {}
    seen: bool = False


def _scaled(numbers: Sequence[float], width: int, height: int) -> tuple[float, ...]:
    return tuple(number * (height if place % 2 else width) for place, number in enumerate(numbers))


def bounds(points: Sequence[float]) -> Corners:
    """The corners of what lies within x, y, x, y, …"""
    across, down = points[::2], points[1::2]
    return (min(across), min(down), max(across), max(down))


def below(root: Path, path: Path) -> str:
    """The path as it is written in a list: below the root, or whole."""
    whole, above = (Path(os.path.abspath(one)) for one in (path, root))  # noqa: PTH100 - resolve() refuses odd names
    return (whole.relative_to(above) if whole.is_relative_to(above) else whole).as_posix()


def is_there(path: Path) -> bool:
    """Whether there is such a file or folder; False also for what cannot be a name."""
    return os.path.exists(path)  # noqa: PTH110 - pathlib's raises OSError


def pictures(folder: Path) -> list[Path]:
    """The pictures below a folder by their names, without hidden ones."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))
