"""Whether a conversion's disk has room for what it will write, told before the work.

Where all pictures get one size, the sum is known; else the size of the first one stands for all, which is a word of
warning and no refusal.
"""

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
    if order.shape.encode:
        return
    side = order.shape.pad
    area = side * side if side else order.shape.resize[0] * order.shape.resize[1] if order.shape.resize else 0
    need = len(planned.entries) * _bytes(planned.kind, order.shape) * (area or _first(planned))
    try:
        check_room(order.out, need, "free some space, name a folder on another disk, or give --encoded")
    except DiskError as error:
        if area:
            raise
        console.line(f"warning: {error.what}, if all pictures are as large as the first")


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
