"""Whether a conversion's disk has room for what it will write, told before the work.

Where all pictures get one size, the sum is known; else the size of the first one stands for all, or that of the files
where they are stored as they are, which is a word of warning and no refusal.
"""

from contextlib import suppress
from typing import TYPE_CHECKING

from infra.errors import DiskError
from provision import console
from provision.data.pictures import BadPictureError, Shape
from provision.data.sizes import size_of
from provision.files.folders import check_room

if TYPE_CHECKING:
    from provision.data.orders import Order, Plan


def check(order: "Order", planned: "Plan") -> None:
    """DiskError where records of a known size do not fit. A line on standard error where they may not."""
    side = order.shape.pad
    area = side * side if side else order.shape.resize[0] * order.shape.resize[1] if order.shape.resize else 0
    if order.shape.encode:
        known, need, guess = False, 0 if area else _files(planned), "if all are stored as they are"
    else:
        known, guess = bool(area), "if all pictures are as large as the first"
        need = len(planned.entries) * _bytes(planned.kind, order.shape) * (area or _first(planned))
    try:
        check_room(order.out, need, "free some space, name a folder on another disk, or give --encoded")
    except DiskError as error:
        if known:
            raise
        console.line(f"warning: {error.what}, {guess}")


def _files(planned: "Plan") -> int:
    """Bytes of all files that are there."""
    total = 0
    for entry in planned.entries:
        with suppress(OSError):
            total += planned.found.at(entry.path).stat().st_size
    return total


def _bytes(kind: str, shape: Shape) -> int:
    """Bytes of a pixel in all databases."""
    image = 1 if shape.gray else 3
    return {"labels": 1, "pairs": image + 1}.get(kind, image)


def _first(planned: "Plan") -> int:
    """Pixels of the first picture; 0 where it cannot be read."""
    try:
        height, width = size_of(planned.found.at(planned.entries[0].path))
    except BadPictureError:
        return 0
    return height * width
