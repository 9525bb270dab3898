"""VOC's segmentations as the databases that the recipe `crfrnn` trains on: train/ and test/, each with images_lmdb and
labels_lmdb of the same keys in the same order.

Images are filled up to a square, with the mean colour; labels there and on VOC's borders are 255, which counts nowhere.
The write-up's converter made both background, and trained them. What was begun and killed is gone on with.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from provision.data import convert, devkit, labels
from provision.data.digits import already
from provision.data.lists import write_lines
from provision.data.pictures import Shape

MEAN = (104, 117, 123)  # blue, green, red: the nearest to the recipe's mean
SETS = {"train": "train", "test": "val"}  # labels of VOC's own test sets are not public
SIZE = 500  # no photo of VOC is larger


def prepare(
    kit: Path, target: Path, *, classes: tuple[str, ...] = (), years: tuple[str, ...] = ("2012",), size: int = SIZE,
    jobs: int = 0,
) -> Path:  # fmt: skip
    """The folder `target`, from an unpacked development kit; found as it is where it was made with the same options.

    With `classes` these become 1, 2, …, the others background, and images that show none of them are left out.
    UsageError for a kit that is none or damaged, for photos larger than `size` pixels, and where `target` is something
    else.
    """
    asked: dict[str, Any] = {"data": "crfrnn", "classes": list(classes), "years": list(years), "size": size}
    if (target / "data.json").exists() and already(target, asked):
        return target
    lists = target.with_name(f".{target.name}.lists")
    listed = devkit.read(devkit.Wanted(kit, tuple(SETS.values()), years, classes, segmentation=True))
    pictures = _labels(kit, target, classes, years) if classes else None
    counts = {}
    for phase, name in SETS.items():
        source = write_lines(lists / f"{name}.txt", listed.sets[name])
        order = convert.Order(
            source, target / phase, kind="pairs", root=kit, labels=pictures, shape=Shape(pad=size, fill=MEAN),
            strict=True, jobs=jobs, resume=True,
        )  # fmt: skip
        counts[phase] = convert.convert(order).records
    write_lines(target / "data.json", [json.dumps(asked | counts, indent=2)])
    for folder in (lists, pictures):
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
    return target


def _labels(kit: Path, target: Path, classes: tuple[str, ...], years: tuple[str, ...]) -> Path:
    """Label pictures of these classes alone; a folder for each choice, as another may have been killed before."""
    choice = hashlib.sha256(",".join((*classes, *years)).encode()).hexdigest()[:8]
    folder = target.with_name(f".{target.name}.labels-{choice}")
    for year in years:
        made = folder / f"VOC{year}" / "JPEGImages"  # a label picture is found by its photo's path
        if not made.exists():
            labels.convert(kit / f"VOC{year}" / "SegmentationClass", made, labels.Rule(classes=classes))
    return folder


def prepare_voc2012(target: Path) -> Path:
    """VOC2012, downloaded (2 GB) to a folder beside `target` that stays, and prepared with all its classes."""
    from provision.data import datasets, downloads

    kit = target.with_name("voc2012")
    if not (target / "data.json").exists():
        downloads.get(datasets.find("voc2012")[1], kit)
    return prepare(kit / "VOCdevkit", target)
