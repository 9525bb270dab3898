"""Boxes out of annotations in COCO's form. A crowd is difficult, as SSD's own converter takes it."""

from collections import Counter
from pathlib import Path
from typing import Any

from infra.errors import UsageError
from provision.data import coco, coco_ids, coco_masks
from provision.data.box_set import Box, Boxes, BoxSet
from provision.data.coco_check import entries


def read(path: Path) -> BoxSet:
    """All images of the file; the classes are its categories by their ids. UsageError where it is no such file."""
    raw = coco.read(path)
    lost: Counter[str] = Counter()
    names = _named(path, entries(raw.categories))
    objects: dict[int, list[Box]] = {}
    for entry in entries(raw.annotations):
        coco_ids.mend(entry)
        box = _box(entry, names)
        if isinstance(box, str):
            lost[box] += 1
        else:
            objects.setdefault(entry["image_id"], []).append(box)
    images = []
    ids = set[int]()
    for entry in entries(raw.images):
        coco_ids.mend(entry)
        if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str) or "id" not in entry:
            raise UsageError(f"{path} has a picture without id or file_name", f"see: provision data coco-check {path}")
        if entry["id"] in ids:
            what = f"{path} has two pictures with the id {entry['id']}: whose boxes are these?"
            raise UsageError(what, f"see: provision data coco-check {path}")
        ids.add(entry["id"])
        sides = [entry.get(key) if coco_masks.is_number(entry.get(key)) else 0 for key in ("width", "height")]
        images.append(Boxes(entry["file_name"], tuple(objects.pop(entry["id"], ())), *sides))  # type: ignore[arg-type]
    if gone := sum(map(len, objects.values())):
        lost["of a picture that is not in the file"] += gone
    return BoxSet("coco", [names[number] for number in sorted(names)], images, dict(lost))


def _named(path: Path, categories: Any) -> dict[int, str]:
    """The names by their ids. UsageError where an id has two."""
    found: dict[int, str] = {}
    for entry in categories:
        coco_ids.mend(entry)
        if not isinstance(entry, dict) or not coco_ids.is_id(entry.get("id")):
            continue
        name = "" if entry.get("name") is None else str(entry["name"]).strip()
        if name and found.setdefault(entry["id"], name) != name:
            what = f"{path} has two categories with the id {entry['id']}, {found[entry['id']]!r} and {name!r}"
            raise UsageError(what, "give each category a number of its own, in the annotations, too")
    return found


def _box(entry: Any, names: dict[int, str]) -> Box | str:
    """The object, or why it is left out."""
    if not isinstance(entry, dict) or not coco_masks.is_box(entry.get("bbox")):
        return "without a box"
    if not coco_ids.is_id(entry.get("image_id")):
        return "of a picture that is not in the file"
    if entry.get("category_id") not in names:
        return "of a category that is not in the file, or has no name"
    x, y, w, h = entry["bbox"]
    shapes = tuple(tuple(polygon) for polygon in coco_masks.polygons(entry.get("segmentation")))
    hard = entry.get("iscrowd") == 1 or entry.get("ignore") == 1 or entry.get("difficult") == 1
    return Box(names[entry["category_id"]], (x, y, x + w, y + h), hard, shapes)
