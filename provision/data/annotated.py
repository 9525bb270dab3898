"""SSD's `AnnotatedDatum`, and the label map that goes with it.

The records are those of the fork's own convert_annoset (`--anno_type=detection --encoded`): the image's file as it is,
and its boxes as shares of the size that the annotation says, one group for each class in the order in which it first
occurs.

The message's fields are few, so it is written by hand, as in `datum`.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from provision.data.datum import varint

_VARINT, _BYTES, _FIXED32 = 0, 2, 5


@dataclass(frozen=True)
class Box:
    """An object: its label from 1, and xmin, ymin, xmax, ymax in pixels."""

    label: int
    corners: tuple[float, float, float, float]
    difficult: bool = False


@dataclass(frozen=True)
class Annotated:
    """An image file with its boxes; what was `dropped`, and what there is to say of it, by cause.

    `width` and `height` are those of the picture when it is shown; `frame` those that boxes are shares of, where the
    annotation says others.
    """

    path: str
    data: bytes
    width: int
    height: int
    boxes: tuple[Box, ...]
    dropped: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    frame: tuple[int, int] = (0, 0)

    def encode(self) -> bytes:
        """The message `caffe.AnnotatedDatum`."""
        datum = b"".join(
            (
                _number(1, 3), _number(2, self.height), _number(3, self.width), _text(4, self.data),
                _number(5, -1), _number(7, 1),
            )
        )  # fmt: skip
        labels = dict.fromkeys(box.label for box in self.boxes)
        groups = (self._group(label, [box for box in self.boxes if box.label == label]) for label in labels)
        return b"".join((_text(1, datum), _number(2, 0), *(_text(3, group) for group in groups)))

    def _group(self, label: int, boxes: Sequence[Box]) -> bytes:
        width, height = self.frame if all(self.frame) else (self.width, self.height)
        sides = (width, height, width, height)
        out = [_number(1, label)]
        for instance, box in enumerate(boxes):
            shares = [
                _float(at, corner / side) for at, (corner, side) in enumerate(zip(box.corners, sides, strict=True), 1)
            ]
            shares.append(_number(6, int(box.difficult)))
            out.append(_text(2, _number(1, instance) + _text(2, b"".join(shares))))
        return b"".join(out)


def labelmap(names: Sequence[str]) -> str:
    """Labels and names as the fork reads them; 0 is the background."""
    lines = ['item { name: "none_of_the_above" label: 0 display_name: "background" }']
    for label, name in enumerate(names, 1):
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'item {{ name: "{quoted}" label: {label} display_name: "{quoted}" }}')
    return "\n".join(lines) + "\n"


def _number(tag: int, value: int) -> bytes:
    return varint(tag << 3 | _VARINT) + varint(value & (1 << 64) - 1)


def _text(tag: int, value: bytes) -> bytes:
    return varint(tag << 3 | _BYTES) + varint(len(value)) + value


def _float(tag: int, value: float) -> bytes:
    return varint(tag << 3 | _FIXED32) + struct.pack("<f", value)
