"""Whether Detectron can train with annotations in COCO's form: what stops it, what it drops without a word.

What Detectron does was read in its source at 04155a0 (datasets/json_dataset.py, utils/segms.py, roi_data) and tried:

* a missing `segmentation`, `area` or `iscrowd` is a KeyError; a picture that is not there an assertion;
* a box counts as x, y, x + w - 1, y + h - 1, clipped to the picture: one that is no more than a pixel wide or high
  then, or whose area is not above 0, is dropped, silently; so is a polygon of less than three points;
* an object of a category that is not in the list is a KeyError; one of a picture that is not there is never seen;
* with MODEL.NUM_CLASSES below the number of categories + 1 it fails in the first iterations ("could not broadcast"),
  above it trains, and nobody is told that it trains outputs that nothing belongs to.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from infra.errors import UsageError
from provision.data import coco
from provision.data import coco_kinds as kinds
from provision.data.coco_kinds import CocoFault, CocoFaults, Kind

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
    if folder is not None:
        _files(entries(raw.images), folder, sample, found)
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


def is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_box(value: object) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(is_number(number) for number in value)


def _whole(kind: str, entry: Any, keys: Iterable[str], place: str, found: CocoFaults) -> bool:
    """Whether the entry is a mapping with all keys; what is not so is noted."""
    if not isinstance(entry, dict):
        found.add(kinds.NOT_A_MAPPING, place)
        return False
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
        name = str(entry["name"])
        if name.strip("_").lower() == "background":
            found.add(kinds.BACKGROUND, name)
        if name in names.values():
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
        name = str(entry.get("file_name", ""))
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
        kept = _kept(entry, pictures.get(picture), where, found)
        used.kept += kept
        used.boxes += kept and is_rectangle(entry)
    return used


def _kept(entry: Entry, picture: Picture | None, where: str, found: CocoFaults) -> bool:
    """Whether Detectron trains with the object; why not is noted."""
    box, area = entry.get("bbox"), entry.get("area")
    if "iscrowd" in entry and entry["iscrowd"] not in (0, 1):
        found.add(kinds.CROWD, where)
    if "segmentation" in entry and (kind := _mask(entry)):
        found.add(kind, where)
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


def _mask(entry: Entry) -> Kind | None:
    mask = entry["segmentation"]
    if isinstance(mask, list):
        return None if any(isinstance(polygon, list) and len(polygon) >= 6 for polygon in mask) else kinds.NO_MASK
    return kinds.PACKED if entry.get("iscrowd") == 0 else None


def is_rectangle(entry: Entry) -> bool:
    """Whether the object's one polygon is nothing but its box."""
    mask, box = entry.get("segmentation"), entry.get("bbox")
    if not (isinstance(mask, list) and len(mask) == 1 and is_box(box)):
        return False
    x, y, w, h = box  # type: ignore[misc]
    polygon = mask[0]
    if not isinstance(polygon, list) or len(polygon) != 8:
        return False
    return {*zip(polygon[::2], polygon[1::2], strict=True)} == {(x, y), (x + w, y), (x + w, y + h), (x, y + h)}


# what is not in the file


def _files(some: Iterable[Any], folder: Path, sample: int | None, found: CocoFaults) -> None:
    named = [entry for entry in some if isinstance(entry, dict) and isinstance(entry.get("file_name"), str)]
    step = max(1, -(-len(named) // sample)) if sample else 1
    size_of = image_sizer()
    for entry in named[::step]:
        path = folder / entry["file_name"]
        if not path.is_file():
            found.add(kinds.MISSING, entry["file_name"])
            continue
        real = size_of(path)
        if real is None:
            found.add(kinds.UNREADABLE, entry["file_name"])
        elif real != (entry.get("width"), entry.get("height")):
            said = f"{entry.get('width')} x {entry.get('height')}"
            found.add(kinds.OTHER_SIZE, f"{entry['file_name']}: {real[0]} x {real[1]}, not {said}")


def image_sizer() -> Callable[[Path], tuple[int, int] | None]:
    """A function from a file to its (width, height), by its first bytes; None where it is no picture."""
    from provision.data.extras import extra

    pil = extra("PIL.Image")

    def size_of(path: Path) -> tuple[int, int] | None:
        try:
            with pil.open(path) as picture:
                return int(picture.width), int(picture.height)
        except (OSError, ValueError, SyntaxError):  # Pillow raises the last for some broken files
            return None

    return size_of


def _num_classes(given: int, have: int, found: CocoFaults) -> None:
    if given == have + 1:
        return
    effect = "fails with 'could not broadcast input array'" if given <= have else "trains outputs that mean nothing"
    kind = Kind("error", f"NUM_CLASSES is {given} and not {have + 1} ({have} categories, background): it {effect}",
                f"set MODEL.NUM_CLASSES {have + 1}")  # fmt: skip
    found.add(kind, f"{have} categories")
