"""A copy of annotations with what can be mended without guessing; all other keys stay as they are.

Left out are pictures that lack a key, come a second time, share their id with another one or (where their folder is
given) are not there, and objects
that Detectron would drop or stumble over. Boxes are clipped, areas and polygons that are missing follow from the box,
ids that are there twice or not at all are numbered anew; those that are texts ("7") become numbers.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from infra.disk import is_file
from infra.errors import UsageError
from provision.data import coco, coco_ids, coco_kinds, coco_masks
from provision.data.coco_check import IMAGE_KEYS, Entry, Picture, dropped, entries
from provision.data.coco_ids import is_id
from provision.data.coco_masks import is_box, is_number


def fix(path: Path, target: Path, folder: Path | None, write: bool = True) -> dict[str, int]:
    """Write the mended copy. The result: what was done, in words, and how often. UsageError where both are one file,
    and where nothing would be left."""
    coco.refuse_source(target, path)
    raw = coco.read(path)
    done: Counter[str] = Counter()
    images = list(_images(entries(raw.images), folder, _unclear(entries(raw.images)), done))
    pictures = {image["id"]: Picture(image["width"], image["height"]) for image in images}
    categories = list(_whole_ids(entries(raw.categories), "categories", done))
    names = {entry["id"] for entry in categories if isinstance(entry, dict) and is_id(entry.get("id"))}
    annotations = _some(path, _annotations(raw.annotations, pictures, names, done), done)
    if write:
        lists: dict[str, Iterable[Any]] = {"images": images, "annotations": annotations, "categories": categories}
        coco.write(target, dict(raw.rest), lists)
    else:
        for _ in annotations:
            pass
    return {words: number for words, number in done.most_common() if number}


def _some(path: Path, annotations: Iterator[Entry], done: Counter[str]) -> Iterator[Entry]:
    """The same; UsageError where there is none."""
    some = False
    for entry in annotations:
        some = True
        yield entry
    if not some:
        causes = ", ".join(f"{number:,} {words}" for words, number in done.items() if number)
        causes = causes or "the file has no annotation"
        raise UsageError(f"nothing of {path} would be left to train with: {causes}", "mend what the table says by hand")


def _whole_ids(some: Iterable[Any], what: str, done: Counter[str]) -> Iterator[Any]:
    """The same entries, with their ids as numbers."""
    for entry in some:
        done[f"ids of {what} written as numbers"] += coco_ids.mend(entry)
        yield entry


def _unclear(some: Iterable[Any]) -> set[int]:
    """Ids that two pictures of different files have: whose the objects are, nobody can tell."""
    files: dict[int, object] = {}
    mappings = (entry for entry in some if isinstance(entry, dict))
    pairs = [(coco_ids.number(entry.get("id")), entry.get("file_name")) for entry in mappings]
    return {number for number, name in pairs if number is not None and files.setdefault(number, name) != name}


def _images(some: Iterable[Any], folder: Path | None, unclear: set[int], done: Counter[str]) -> Iterator[Entry]:
    seen: set[int] = set()
    for entry in _whole_ids(some, "pictures", done):
        why = _bad_image(entry, folder, seen)
        if not why and entry["id"] in unclear:
            why = "another picture has their id: whose the objects are cannot be told"
        if why:
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
    if not isinstance(entry["file_name"], str) or not entry["file_name"]:
        return "no file_name"
    if folder is not None and not is_file(folder / entry["file_name"]):
        return "no such file"
    return ""


def _annotations(
    some: list[msgspec.Raw], pictures: dict[int, Picture], names: set[int], done: Counter[str]
) -> Iterator[Entry]:
    """The annotations that can be trained with. New ids are higher than all ids that are there."""
    known = (coco_ids.number(entry.get("id")) for entry in entries(some) if isinstance(entry, dict))
    fresh = max((number for number in known if number is not None), default=0)
    seen: set[int] = set()
    for entry in _whole_ids(entries(some), "annotations", done):
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
    _mend_mask(entry, box, picture, done)


def _mend_mask(entry: Entry, box: coco.Box, picture: Picture, done: Counter[str]) -> None:
    if coco_masks.usable(entry, (picture.width, picture.height)) and not isinstance(entry["segmentation"], list):
        return
    sound = coco_masks.polygons(entry.get("segmentation"))
    if not sound:
        entry["segmentation"] = coco.rectangle(box)
        done["polygons taken from the box (for Faster R-CNN)"] += 1
    elif sound != entry["segmentation"]:
        entry["segmentation"] = sound
        done["polygons left out that are none, or of less than three points"] += 1


def _clipped(box: list[float], picture: Picture) -> coco.Box:
    x, y, w, h = box
    left, top = max(x, 0), max(y, 0)
    return (left, top, min(x + w, picture.width) - left, min(y + h, picture.height) - top)
