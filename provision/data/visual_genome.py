"""Visual Genome's objects as COCO annotations for a list of classes.

Input: objects.json and image_data.json of Visual Genome 1.0, 1.2 or 1.4, also zipped (formats: the data's readme and
https://homes.cs.washington.edu/~ranjay/visualgenome/api.html). Traps that are taken care of:

* The picture's file is named in its url, and not after its id; the folder (VG_100K, VG_100K_2) belongs to the name.
* An object may have several names: the first that a class knows decides.
* `merged_object_ids` name objects that are the same thing once more: they count once for a class. Of two that name each
  other the lower id stays.
* Boxes leave the picture, or are empty: they are clipped, and what is narrower than `min_size` is dropped, for
  Detectron would drop it silently.
* There are no masks. A box's own outline stands for one: train Faster R-CNN with it, and no Mask R-CNN.

Ids do not depend on the machine or the order of the input: pictures keep Visual Genome's, annotations are numbered by
picture and then by their place in it. Which picture is held out follows from a hash of its id, and stays so for other
classes.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import msgspec

from infra.errors import UsageError
from provision.data import coco
from provision.data.classes import Classes, owners, plain
from provision.data.vg_input import Progress, VgImage, VgObject, VgObjects, id_of, read_images, read_objects

MIN_SIZE = 2.0
SEED = 1

_NO_CLASS = 0
_HOME = "https://homes.cs.washington.edu/~ranjay/visualgenome"  # its old name, visualgenome.org, is in other hands


@dataclass(frozen=True)
class Wanted:
    """What to keep, and how: `val_fraction` of the pictures are held out; `flat` leaves the folder out of file names,
    for those who put all pictures into one; `keep_empty` keeps pictures without an object."""

    classes: Classes
    val_fraction: float = 0.0
    seed: int = SEED
    keep_empty: bool = False
    min_size: float = MIN_SIZE
    flat: bool = False


@dataclass
class Report:
    """What became of the input. `dropped` counts objects of a class by the cause; others are `elsewhere`."""

    images: int = 0
    objects: int = 0
    elsewhere: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    clipped: int = 0
    train: dict[str, int] = field(default_factory=dict)
    val: dict[str, int] = field(default_factory=dict)
    classes: dict[str, dict[str, int]] = field(default_factory=dict)


class _Kept(msgspec.Struct, frozen=True, gc=False):
    """One annotation to be: the picture, the place in it, the class, the box."""

    image: int
    place: int
    category: int
    box: coco.Box


# converting


def convert(
    objects: Path, images: Path, target: Path, wanted: Wanted, stream: bool = False,
    progress: Progress = lambda done, total: None,
) -> Report:  # fmt: skip
    """Write `target` (and the held-out part beside it, see `val_path`); what became of the input.

    UsageError where the input is not Visual Genome's, or would be written over, and where one of the files would have
    no object.
    """
    if not 0 <= wanted.val_fraction < 1:
        raise UsageError(
            f"val fraction {wanted.val_fraction:g} is not between 0 and 1",
            "give 0.05 to hold out every twentieth picture",
        )
    for path in (target, val_path(target)):
        coco.refuse_source(path, objects, images)
    if not wanted.min_size >= 0:
        raise UsageError(f"min size {wanted.min_size:g} is no number of pixels", "give 0 to keep all boxes")
    report = Report()
    known = read_images(images)
    report.images = len(known)
    kept = _keep(objects, known, wanted, report, read_objects(objects, stream, progress))
    parts = {target: [number for number in sorted(known) if not held_out(number, wanted)]}
    if wanted.val_fraction:
        parts[val_path(target)] = [number for number in sorted(known) if held_out(number, wanted)]
    for path, numbers in parts.items():
        _refuse_empty(path, numbers, kept, wanted, report)
    written = [_write(path, numbers, known, kept, wanted) for path, numbers in parts.items()]
    _count(report, kept, wanted, written)
    return report


def _refuse_empty(path: Path, numbers: list[int], kept: list[_Kept], wanted: Wanted, report: Report) -> None:
    """UsageError for a file without an object: nothing could be trained or scored with it."""
    if {box.image for box in kept}.intersection(numbers):
        return
    if kept:
        raise UsageError(
            f"{path} would have no object: its share of the pictures has none of these classes",
            f"give another --val-fraction than {wanted.val_fraction:g}, or another --seed",
        )
    left_out = "; ".join(f"{count:,} left out: {cause}" for cause, count in report.dropped.most_common())
    raise UsageError(
        f"none of {report.objects:,} objects is of one of the {len(wanted.classes)} classes"
        + (f" ({left_out})" if left_out else ""),
        "look at the names in --classes, and whether --objects and --images are of one version",
    )


def val_path(target: Path) -> Path:
    """Where the held-out part goes: clothing.json → clothing-val.json."""
    return target.with_name(f"{target.stem}-val{target.suffix}")


def held_out(image_id: int, wanted: Wanted) -> bool:
    """Whether a picture is for validation: by a hash, so that it stays so whatever else is chosen."""
    digest = hashlib.sha256(f"{wanted.seed}:{image_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < wanted.val_fraction * 2**64


def _keep(
    path: Path, known: Mapping[int, VgImage], wanted: Wanted, report: Report, pictures: Iterable[VgObjects]
) -> list[_Kept]:
    """All annotations to be, sorted by picture and place."""
    known_names = owners(wanted.classes)
    seen: dict[str, int] = {}
    places: Counter[int] = Counter()  # a picture may come twice
    found: list[_Kept] = []
    for picture in pictures:
        number = id_of(path, picture)
        report.objects += len(picture.objects)
        classed = ((_category(thing.names, known_names, seen), thing) for thing in picture.objects)
        chosen = [pair for pair in classed if pair[0]]
        report.elsewhere += len(picture.objects) - len(chosen)
        if chosen:
            found += _annotations(number, known.get(number), chosen, places, wanted.min_size, report)
    found.sort(key=lambda box: (box.image, box.place))
    return found


def _category(names: tuple[str, ...], known: Mapping[str, int], seen: dict[str, int]) -> int:
    """The class of the first name that has one. `seen` remembers each spelling."""
    for name in names:
        category = seen.get(name)
        if category is None:
            category = seen[name] = known.get(plain(name), _NO_CLASS)
        if category:
            return category
    return _NO_CLASS


def _annotations(
    number: int, image: VgImage | None, chosen: list[tuple[int, VgObject]], places: Counter[int], least: float,
    report: Report,
) -> Iterator[_Kept]:  # fmt: skip
    if image is None:
        report.dropped["its picture is not in image_data"] += len(chosen)
        return
    sound = []
    for category, thing in chosen:
        whole = (thing.x, thing.y, thing.w, thing.h)
        box = clip(whole, image.width, image.height)
        if box[2] <= 0 or box[3] <= 0:
            report.dropped["its box is empty, or outside of the picture"] += 1
        elif min(box[2], box[3]) < least:
            report.dropped[f"its box is narrower than {least:g} pixels"] += 1
        else:
            report.clipped += box != whole
            sound.append((category, thing, box))
    twins = _merged([(category, thing) for category, thing, _ in sound])
    for category, thing, box in sound:
        if (category, _object_id(thing)) in twins:
            report.dropped["the same thing once more (merged_object_ids)"] += 1
        else:
            places[number] += 1
            yield _Kept(number, places[number], category, box)


def _object_id(thing: VgObject) -> int:
    number = thing.id if thing.object_id is None else thing.object_id
    return -1 if number is None else number


def _merged(chosen: list[tuple[int, VgObject]]) -> set[tuple[int, int]]:
    """(class, id) of the objects that another one of the same class and picture stands for."""
    merging = [(category, thing) for category, thing in chosen if thing.merged_object_ids]
    if not merging:
        return set()
    names = {(category, _object_id(thing)): thing.merged_object_ids for category, thing in merging}
    return {
        (category, other)
        for category, thing in merging
        for other in thing.merged_object_ids
        if other != _object_id(thing)
        and not (_object_id(thing) in names.get((category, other), ()) and other < _object_id(thing))
    }


def clip(box: coco.Box, width: int, height: int) -> coco.Box:
    """x, y, w, h inside of a picture; w or h is 0 or less where nothing is left."""
    x, y, w, h = box
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
    return (left, top, right - left, bottom - top)


# writing


def _write(
    path: Path, numbers: list[int], known: Mapping[int, VgImage], kept: list[_Kept], wanted: Wanted
) -> dict[str, int]:
    """Write one file. The result: how many pictures and annotations it has."""
    mine = set(numbers)
    some = [box for box in kept if box.image in mine]
    full = {box.image for box in some}
    pictures = [number for number in numbers if wanted.keep_empty or number in full]
    head = {"info": {"description": "Visual Genome, chosen classes", "url": _HOME}, "licenses": []}
    coco.write(path, head, {
        "images": (_image(number, known[number], wanted.flat) for number in pictures),
        "annotations": (_annotation(place, box) for place, box in enumerate(some, 1)),
        "categories": coco.categories(wanted.classes, "visual genome"),
    })  # fmt: skip
    return {"images": len(pictures), "annotations": len(some)}


def _image(number: int, image: VgImage, flat: bool) -> coco.Image:
    return coco.Image(number, file_name(image.url, flat), image.width, image.height)


def file_name(url: str, flat: bool = False) -> str:
    """…/VG_100K_2/2370463.jpg → VG_100K_2/2370463.jpg, or 2370463.jpg."""
    try:
        parts = PurePosixPath(urlsplit(url).path).parts
    except ValueError as error:
        raise UsageError(f"image_data.json: {url!r} is no address: {error}", "mend the picture's `url`") from error
    if not parts:
        raise UsageError(f"image_data.json has a picture whose url is {url!r}", "mend the picture's `url`")
    return "/".join(parts[-1:] if flat else parts[-2:])


def _annotation(number: int, box: _Kept) -> coco.Annotation:
    area = box.box[2] * box.box[3]
    return coco.Annotation(number, box.image, box.category, box.box, area, 0, coco.rectangle(box.box))


def _count(report: Report, kept: list[_Kept], wanted: Wanted, written: list[dict[str, int]]) -> None:
    boxes = Counter(box.category for box in kept)
    pictures: dict[int, set[int]] = {}
    for box in kept:
        pictures.setdefault(box.category, set()).add(box.image)
    report.train, report.val = written[0], written[1] if len(written) > 1 else {}
    report.classes = {
        name: {"annotations": boxes[number], "images": len(pictures.get(number, ()))}
        for number, name in enumerate(wanted.classes, 1)
    }


def as_dict(report: Report) -> dict[str, Any]:
    """The report for JSON."""
    return {**vars(report), "dropped": dict(report.dropped.most_common())}
