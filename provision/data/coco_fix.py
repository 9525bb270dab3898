"""A copy of annotations with what can be mended without guessing; all other keys stay as they are.

Left out are pictures that lack a key, come a second time or (where their folder is given) are not there, and objects
that Detectron would drop or stumble over. Boxes are clipped, areas and polygons that are missing follow from the box,
ids that are there twice or not at all are numbered anew.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from infra.errors import UsageError
from provision.data import coco, coco_kinds
from provision.data.coco_check import (
    IMAGE_KEYS,
    Entry,
    Picture,
    dropped,
    entries,
    is_box,
    is_id,
    is_number,
)


def fix(path: Path, target: Path, folder: Path | None, write: bool = True) -> dict[str, int]:
    """Write the mended copy. The result: what was done, in words, and how often. UsageError where both are one file."""
    if target.exists() and target.samefile(path):
        raise UsageError(f"{target} is the file itself", "give another name: the original stays")
    raw = coco.read(path)
    done: Counter[str] = Counter()
    images = list(_images(entries(raw.images), folder, done))
    pictures = {image["id"]: Picture(image["width"], image["height"]) for image in images}
    names = {entry["id"] for entry in entries(raw.categories) if isinstance(entry, dict) and is_id(entry.get("id"))}
    annotations = _annotations(raw.annotations, pictures, names, done)
    if write:
        lists = {"images": images, "annotations": annotations, "categories": raw.categories}
        coco.write(target, dict(raw.rest), lists)
    else:
        for _ in annotations:
            pass
    return dict(done.most_common())


def _images(some: Iterable[Any], folder: Path | None, done: Counter[str]) -> Iterator[Entry]:
    seen: set[int] = set()
    for entry in some:
        if why := _bad_image(entry, folder, seen):
            done[f"pictures left out ({why})"] += 1
        else:
            seen.add(entry["id"])
            yield entry


def _bad_image(entry: Any, folder: Path | None, seen: set[int]) -> str:
    if not isinstance(entry, dict) or any(key not in entry for key in IMAGE_KEYS) or not is_id(entry["id"]):
        return "a key is missing or wrong"
    if not all(is_number(entry[key]) and entry[key] > 0 for key in ("width", "height")):
        return "no size"
    if entry["id"] in seen:
        return "id twice"
    if folder is not None and not (folder / str(entry["file_name"])).is_file():
        return "no such file"
    return ""


def _annotations(
    some: list[msgspec.Raw], pictures: dict[int, Picture], names: set[int], done: Counter[str]
) -> Iterator[Entry]:
    """The annotations that can be trained with. New ids are higher than all ids that are there."""
    fresh = max(
        (entry["id"] for entry in entries(some) if isinstance(entry, dict) and is_id(entry.get("id"))), default=0
    )
    seen: set[int] = set()
    for entry in entries(some):
        if why := _bad(entry, pictures, names):
            done[f"objects left out ({why})"] += 1
            continue
        if not is_id(entry.get("id")) or entry["id"] in seen:
            fresh += 1
            entry["id"] = fresh
            done["ids given anew"] += 1
        seen.add(entry["id"])
        _mend(entry, pictures[entry["image_id"]], done)
        yield entry


def _bad(entry: Any, pictures: dict[int, Picture], names: set[int]) -> str:
    if not isinstance(entry, dict) or not is_box(entry.get("bbox")):
        return "no box"
    if not is_id(entry.get("image_id")) or entry["image_id"] not in pictures:
        return "their picture is not in the file"
    if not is_id(entry.get("category_id")) or entry["category_id"] not in names:
        return "their category is not in the file"
    kind = dropped(entry["bbox"], pictures[entry["image_id"]])
    return "" if kind in (None, coco_kinds.SPILLS) else kind.what.partition(":")[0]


def _mend(entry: Entry, picture: Picture, done: Counter[str]) -> None:
    box = _clipped(entry["bbox"], picture)
    if box != tuple(entry["bbox"]):
        entry["bbox"] = box
        done["boxes clipped"] += 1
    if not (is_number(entry.get("area")) and entry["area"] > 0):
        entry["area"] = box[2] * box[3]
        done["areas taken from the box"] += 1
    if entry.get("iscrowd") not in (0, 1):
        entry["iscrowd"] = 0
        done["iscrowd set to 0"] += 1
    mask = entry.get("segmentation")
    polygons = (
        [polygon for polygon in mask if isinstance(polygon, list) and len(polygon) >= 6]
        if isinstance(mask, list)
        else mask
    )
    if not polygons:
        entry["segmentation"] = coco.rectangle(box)
        done["polygons taken from the box (for Faster R-CNN)"] += 1
    elif polygons != mask:
        entry["segmentation"] = polygons
        done["polygons of less than three points left out"] += 1


def _clipped(box: list[float], picture: Picture) -> coco.Box:
    x, y, w, h = box
    left, top = max(x, 0), max(y, 0)
    return (left, top, min(x + w, picture.width) - left, min(y + h, picture.height) - top)
