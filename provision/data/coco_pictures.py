"""The pictures of annotations in COCO's form, where their folder is given: are they there, and as large as is said?

Detectron reads them by OpenCV's imread (4.1.2 and 4.5.5 in our images), which turns a photo as its EXIF says. So the
size, and the boxes, have to be those of the photo as it is shown.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from infra.disk import is_file
from provision.data import coco_kinds as kinds
from provision.data import near
from provision.data.coco_kinds import CocoFaults
from provision.data.coco_masks import is_number
from provision.data.extras import extra

_ORIENTATION, _UPRIGHT, _ON_ITS_SIDE = 0x0112, (0, 1), (5, 6, 7, 8)  # EXIF


def check(some: Iterable[Any], folder: Path, sample: int | None, found: CocoFaults) -> None:
    """Look at `sample` of the pictures, spread evenly (None: at all); what is wrong is noted."""
    named = [entry for entry in some if isinstance(entry, dict) and isinstance(entry.get("file_name"), str)]
    step = max(1, -(-len(named) // sample)) if sample else 1
    for entry in named[::step]:
        if not is_file(folder / entry["file_name"]):
            found.add(kinds.MISSING, entry["file_name"] + near.said(folder / entry["file_name"]))
        elif (head := _head(folder / entry["file_name"])) is None:
            found.add(kinds.UNREADABLE, entry["file_name"])
        else:
            _compare(entry, *head, found)


def _compare(entry: dict[str, Any], stored: tuple[int, int], orientation: int, found: CocoFaults) -> None:
    name, told = entry["file_name"], (entry.get("width"), entry.get("height"))
    if not all(map(is_number, told)):
        return  # told already: it is no size
    shown = stored[::-1] if orientation in _ON_ITS_SIDE else stored
    said = f"{name}: {shown[0]} x {shown[1]}, not {told[0]} x {told[1]}"
    if told == shown:
        if orientation not in _UPRIGHT:
            found.add(kinds.TURNED, name)
    elif told == stored:
        found.add(kinds.STORED_SIZE, said)
    else:
        found.add(kinds.OTHER_SIZE, said)


def _head(path: Path) -> tuple[tuple[int, int], int] | None:
    """Width and height as they are stored, and the EXIF orientation; None where it is no picture. Only the file's head
    is read, so that no size is too large."""
    pil = extra("PIL.Image")
    most, pil.MAX_IMAGE_PIXELS = pil.MAX_IMAGE_PIXELS, None
    try:
        with pil.open(path) as picture:
            turned = picture.getexif().get(_ORIENTATION, 1)
            return (int(picture.width), int(picture.height)), turned if isinstance(turned, int) else 1
    except (OSError, ValueError, SyntaxError):  # Pillow raises the last for some broken files
        return None
    finally:
        pil.MAX_IMAGE_PIXELS = most
