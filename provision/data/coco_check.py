"""Whether Detectron can train with annotations in COCO's form: what stops it, what it drops without a word.

What Detectron does was read in its source at 04155a0 (datasets/json_dataset.py, utils/segms.py, roi_data) and tried:

* a missing `segmentation`, `area` or `iscrowd` is a KeyError; a picture that is not there an assertion;
* a box counts as x, y, x + w - 1, y + h - 1, clipped to the picture: one that is no more than a pixel wide or high
  then, or whose area is not above 0, is dropped, silently; so is a polygon of less than three points;
* an object of a category that is not in the list is a KeyError; one of a picture that is not there is never seen;
* with MODEL.NUM_CLASSES below the number of categories + 1 it fails in the first iterations ("could not broadcast"),
  above it trains, and nobody is told that it trains outputs that nothing belongs to.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from infra.errors import UsageError
from provision.data import coco, coco_masks, coco_pictures
from provision.data import coco_ids as ids
from provision.data import coco_kinds as kinds
from provision.data.coco_ids import is_id
from provision.data.coco_kinds import CocoFault, CocoFaults, Kind
from provision.data.coco_masks import is_box, is_number

Entry = dict[str, Any]

IMAGE_KEYS = ("id", "file_name", "width", "height")
ANNOTATION_KEYS = ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation")
CATEGORY_KEYS = ("id", "name")


@dataclass(frozen=True)
class Picture:
    """What the boxes of a picture are held against."""

    width: float
    height: float


def check(
    path: Path, folder: Path | None, sample: int | None, num_classes: int | None
) -> tuple[list[CocoFault], dict[str, int]]:
    """What is wrong with the file, errors first; and how many pictures, annotations and categories it has.

    `folder` holds the pictures; `sample` of them are looked at, spread evenly (None: all). UsageError where it is no
    such file at all.
    """
    raw = coco.read(path)
    found = CocoFaults()
    if raw.marked:
        found.add(kinds.MARKED, path.name)
    categories = entries(raw.categories)
    names = _categories(categories, found)
    pictures = _images(entries(raw.images), found)
    used = _annotations(entries(raw.annotations), pictures, names, found)
    for number, name in names.items():
        if number not in used.categories:
            found.add(kinds.UNUSED, name)
    for number in sorted(pictures.keys() - used.pictures):
        found.add(kinds.BARE, f"image {number}")
    if not used.kept:
        found.add(kinds.NOTHING, path.name)
    elif used.kept == used.boxes:
        found.add(kinds.ALL_BOXES, path.name)
    if kind := used.form.doubt():
        found.add(kind, path.name)
    if folder is not None:
        coco_pictures.check(entries(raw.images), folder, sample, found)
    if num_classes is not None:
        _num_classes(num_classes, len(names), found)
    counts = {"images": len(raw.images), "annotations": len(raw.annotations), "categories": len(names)}
    return found.listed(), counts


def entries(pieces: Sequence[msgspec.Raw]) -> Iterator[Any]:
    """Each piece decoded, one at a time. UsageError for a number that no computer holds, or values too deep."""
    decode = msgspec.json.Decoder().decode
    for piece in pieces:
        try:
            yield decode(piece)
        except (msgspec.DecodeError, RecursionError) as error:
            start = bytes(piece)[:80].decode(errors="replace")
            raise UsageError(f"an entry cannot be read: {error}", f"mend the entry that begins with {start}") from error


def _whole(kind: str, entry: Any, keys: Iterable[str], place: str, found: CocoFaults) -> bool:
    """Whether the entry is a mapping with all keys; what is not so is noted."""
    if not isinstance(entry, dict):
        found.add(kinds.NOT_A_MAPPING, place)
        return False
    if ids.mend(entry):
        found.add(kinds.TEXT_ID, place)
    missing = [key for key in keys if key not in entry]
    for key in missing:
        found.add(kinds.lacks(kind, key), place)
    return not missing


def _new_id(lists: str, entry: Entry, place: str, seen: set[Any], found: CocoFaults) -> bool:
    number = entry["id"]
    if not is_id(number):
        found.add(Kind("error", f"{lists}: {kinds.NO_ID}", "write 1, 2, 3, …"), place)
        return False
    if number in seen:
        found.add(kinds.TWICE[lists], f"id {number}")
    seen.add(number)
    return True


# each list


def _categories(some: Iterable[Any], found: CocoFaults) -> dict[int, str]:
    names: dict[int, str] = {}
    seen: set[Any] = set()
    for place, entry in enumerate(some):
        if not _whole("a category", entry, CATEGORY_KEYS, f"categories[{place}]", found):
            continue
        if not _new_id("categories", entry, f"categories[{place}]", seen, found):
            continue
        name = "" if entry["name"] is None else str(entry["name"]).strip()
        if not name:
            found.add(kinds.NAMELESS, f"id {entry['id']}")
        if name.strip("_").lower() == "background":
            found.add(kinds.BACKGROUND, name)
        if name and name in names.values():
            found.add(kinds.SAME_NAME, name)
        names[entry["id"]] = name
    return names


def _images(some: Iterable[Any], found: CocoFaults) -> dict[int, Picture | None]:
    """Pictures by their ids; None for a picture whose size is not known."""
    pictures: dict[int, Picture | None] = {}
    seen: set[Any] = set()
    files: set[str] = set()
    for place, entry in enumerate(some):
        where = f"images[{place}]"
        whole = _whole("a picture", entry, IMAGE_KEYS, where, found)
        if not isinstance(entry, dict) or "id" not in entry or not _new_id("images", entry, where, seen, found):
            continue
        pictures[entry["id"]] = _size(entry, found) if whole else None
        name = entry.get("file_name", "")
        if "file_name" in entry and not (isinstance(name, str) and name):
            found.add(kinds.NO_NAME, where)
            continue
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            found.add(kinds.ELSEWHERE, name)
        if name in files:
            found.add(kinds.FILE_TWICE, name)
        files.add(name)
    return pictures


def _size(entry: Entry, found: CocoFaults) -> Picture | None:
    width, height = entry["width"], entry["height"]
    if is_number(width) and is_number(height) and width > 0 and height > 0:
        return Picture(width, height)
    found.add(kinds.NO_SIZE, entry["file_name"])
    return None


@dataclass
class _Used:
    """What annotations use; Detectron trains with `kept` of them, and the one polygon of `boxes` is their box."""

    pictures: set[int] = field(default_factory=set)
    categories: set[int] = field(default_factory=set)
    kept: int = 0
    boxes: int = 0
    form: "_Form" = field(default_factory=lambda: _Form())


@dataclass
class _Form:
    """What speaks for boxes that are meant otherwise: how many were seen, leave their pictures, would do as two
    corners, and lie between 0 and 1."""

    seen: int = 0
    spill: int = 0
    corners: int = 0
    shares: int = 0

    def see(self, box: Sequence[float], picture: Picture) -> None:
        x, y, w, h = box
        self.seen += 1
        self.spill += x + w > picture.width or y + h > picture.height
        self.corners += 0 <= x < w <= picture.width + 1 and 0 <= y < h <= picture.height + 1
        self.shares += min(box) >= 0 and max(box) <= 1

    def doubt(self) -> Kind | None:
        """What all boxes together look like, where it is not x, y, width, height in pixels."""
        if self.seen and self.shares == self.seen:
            return kinds.SHARES
        return kinds.CORNERS if self.seen > 3 and self.corners == self.seen and self.spill * 3 >= self.seen else None


def _annotations(
    some: Iterable[Any], pictures: Mapping[int, Picture | None], names: Mapping[int, str], found: CocoFaults
) -> _Used:
    used = _Used()
    seen: set[Any] = set()
    for place, entry in enumerate(some):
        where = f"annotations[{place}]"
        _whole("an annotation", entry, ANNOTATION_KEYS, where, found)
        if not isinstance(entry, dict):
            continue
        if "id" in entry and _new_id("annotations", entry, where, seen, found):
            where = f"id {entry['id']}"
        picture, category = (entry[key] if is_id(entry.get(key)) else -1 for key in ("image_id", "category_id"))
        if "image_id" in entry and picture not in pictures:
            found.add(kinds.LOST, f"{where}: image {entry['image_id']}")
        if "category_id" in entry and category not in names:
            found.add(kinds.NO_CATEGORY, f"{where}: category {entry['category_id']}")
        used.pictures.add(picture)
        used.categories.add(category)
        size = pictures.get(picture)
        kept = _kept(entry, size, where, found) and picture in pictures and category in names
        used.kept += kept
        used.boxes += kept and coco_masks.is_rectangle(entry)
        if size and is_box(entry.get("bbox")):
            used.form.see(entry["bbox"], size)
    return used


def _kept(entry: Entry, picture: Picture | None, where: str, found: CocoFaults) -> bool:
    """Whether Detectron trains with the object; why not is noted."""
    box, area = entry.get("bbox"), entry.get("area")
    if "iscrowd" in entry and entry["iscrowd"] not in (0, 1):
        found.add(kinds.CROWD, where)
    sides = (picture.width, picture.height) if picture else None
    if "segmentation" in entry and (fault := coco_masks.fault(entry, sides)):
        found.add(fault, where)
    if "bbox" in entry and not is_box(box):
        found.add(kinds.NO_BOX, where)
    if entry.get("ignore") == 1:
        found.add(kinds.IGNORED, where)
        return False
    kind = dropped(box, picture) if is_box(box) else None  # type: ignore[arg-type]
    if kind:
        found.add(kind, where)
    if "area" in entry and not (is_number(area) and area > 0):  # type: ignore[operator]
        found.add(kinds.NO_AREA, where)
        return False
    return is_box(box) and (kind is None or kind == kinds.SPILLS)


def dropped(box: Sequence[float], picture: Picture | None) -> Kind | None:
    """Why Detectron drops or clips a box; None where it takes it as it is."""
    x, y, w, h = box
    if w <= 0 or h <= 0:
        return kinds.EMPTY
    if picture is None:
        return kinds.TINY if w <= 1 or h <= 1 else None
    if x >= picture.width or y >= picture.height or x + w <= 0 or y + h <= 0:
        return kinds.OUTSIDE
    # x + w - 1 is another number than x + (w - 1) for some fractions; Detectron computes the second
    across = min(x + max(0, w - 1), picture.width - 1) - max(x, 0)
    down = min(y + max(0, h - 1), picture.height - 1) - max(y, 0)
    if across <= 0 or down <= 0:
        return kinds.TINY
    return kinds.SPILLS if x < 0 or y < 0 or x + w > picture.width or y + h > picture.height else None


# what is not in the file


def _num_classes(given: int, have: int, found: CocoFaults) -> None:
    if given == have + 1:
        return
    effect = "fails with 'could not broadcast input array'" if given <= have else "trains outputs that mean nothing"
    kind = Kind("error", f"NUM_CLASSES is {given} and not {have + 1} ({have} categories, background): it {effect}",
                f"set MODEL.NUM_CLASSES {have + 1}")  # fmt: skip
    found.add(kind, f"{have} categories")
