"""Boxes of VOC, YOLO or labelme as annotations in COCO's form, for Detectron.

Each image is looked at: Detectron needs its size, as it is shown, and stops at one that is not there. What cannot be
used is left out and told. Boxes are clipped to their picture. An object's polygons are its mask; where it has none, the
box's own outline stands for one, which trains a Faster R-CNN, and no Mask R-CNN. VOC's difficult objects get `ignore`,
which Detectron drops in training.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.errors import UsageError
from provision.data import coco
from provision.data.box_set import Box, Boxes, BoxSet
from provision.data.parallel import ordered, tracked
from provision.data.pictures import BadPictureError
from provision.data.sizes import size_of
from provision.data.usertext import foreign

_LEAST = 1.0  # pixels: Detectron drops what is narrower


@dataclass
class Report:
    """What was written; images that were `bad`, with the reason, and objects that were `dropped`, by cause."""

    images: int = 0
    annotations: int = 0
    masks: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)


def convert(
    found: BoxSet, root: Path, target: Path, names: Sequence[str] = (), *, others: bool = False, strict: bool = False,
    jobs: int = 0,
) -> Report:  # fmt: skip
    """Write the annotations to `target`, with file names below `root`. The classes are `names` in their order (or the
    source's own); with `others` objects of further ones are left out.

    UsageError for an object of another class, for an image that cannot be used where `strict`, and where no object is
    left: then nothing is written.
    """
    classes = {name: number for number, name in enumerate(names or found.names, 1)}
    if not others:
        _refuse_others(found, classes)
    report = Report(dropped=Counter(found.left_out))
    images: list[coco.Image] = []
    annotations: list[dict[str, Any]] = []
    sizes = ordered(lambda image: _size(root, image.image), found.images, jobs)
    for image, size in zip(found.images, tracked(sizes, len(found.images), "images"), strict=True):
        if isinstance(size, str) or (why := _another(image, *size)):
            report.bad.append(f"{image.image} {size if isinstance(size, str) else why}")
            if strict:
                raise UsageError(report.bad[0], "mend it, or leave out --strict: then it is left out")
            continue
        images.append(coco.Image(len(images) + 1, image.image, size[1], size[0]))
        annotations += _annotations(image.in_pixels(size[1], size[0]), images[-1], classes, len(annotations), report)
    if not annotations:
        first = f"; the first image: {report.bad[0]}" if report.bad else ""
        raise UsageError(f"no object is left of {len(found.images)} images{first}", "look at --root and --classes")
    head = {"info": {"description": f"made of {found.form} annotations"}, "licenses": []}
    lists: dict[str, Iterable[Any]] = {
        "images": images, "annotations": annotations, "categories": coco.categories(classes, ""),
    }  # fmt: skip
    coco.write(target, head, lists)
    counts = Counter(one["category_id"] for one in annotations)
    report.images, report.annotations = len(images), len(annotations)
    report.classes = {name: counts[number] for name, number in classes.items()}
    return report


def _refuse_others(found: BoxSet, classes: dict[str, int]) -> None:
    odd = Counter(box.name for image in found.images for box in image.boxes if box.name not in classes)
    if odd:
        name, count = odd.most_common(1)[0]
        raise UsageError(
            f"there are {count} objects {name!r}, which is none of the classes {', '.join(classes)}",
            "name it in --classes, or leave others out: --leave-out-others",
        )


def _size(root: Path, name: str) -> tuple[int, int] | str:
    """Height and width as shown, or why there is none."""
    if foreign(name):
        return "has a name that is not written in UTF-8, and JSON knows no other: rename it"
    try:
        return size_of(root / name)
    except BadPictureError as error:
        return str(error)


def _another(image: Boxes, height: int, width: int) -> str:
    """What tells that the annotation is another picture's; empty where nothing does."""
    if image.shares or 0 in (image.width, image.height) or (image.width, image.height) == (width, height):
        return ""
    return f"is {width} x {height}, and its annotation says {image.width:g} x {image.height:g}"


def _annotations(
    image: Boxes, made: coco.Image, classes: dict[str, int], before: int, report: Report
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for box in image.boxes:
        category = classes.get(box.name)
        left, top, right, bottom = box.corners
        cut = (max(left, 0), max(top, 0), min(right, made.width), min(bottom, made.height))
        wide, high = cut[2] - cut[0], cut[3] - cut[1]
        if category is None:
            report.dropped["of another class"] += 1
        elif min(wide, high) <= _LEAST:
            report.dropped["no more than a pixel wide or high within the picture"] += 1
        else:
            report.masks += bool(box.polygons)
            found.append(_annotation(before + len(found) + 1, made.id, category, box, (cut[0], cut[1], wide, high)))
    return found


def _annotation(number: int, image: int, category: int, box: Box, cut: coco.Box) -> dict[str, Any]:
    polygons = [list(polygon) for polygon in box.polygons] or coco.rectangle(cut)
    area = sum(map(_area, box.polygons)) or cut[2] * cut[3]
    made: dict[str, Any] = {
        "id": number, "image_id": image, "category_id": category, "bbox": cut, "area": area, "iscrowd": 0,
        "segmentation": polygons,
    }  # fmt: skip
    return {**made, "ignore": 1} if box.difficult else made


def _area(polygon: Sequence[float]) -> float:
    """By the shoelace formula."""
    x, y = polygon[::2], polygon[1::2]
    return abs(sum(x[at - 1] * y[at] - x[at] * y[at - 1] for at in range(len(x)))) / 2
