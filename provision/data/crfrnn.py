"""VOC's segmentations as the databases that the recipe `crfrnn` trains on: train/ and test/, each with images_lmdb and
labels_lmdb of the same keys in the same order.

Images are filled up to a square, with the mean colour; labels there and on VOC's borders are 255, which counts nowhere.
The write-up's converter made both background, and trained them. What was begun and killed is gone on with.
"""

import fcntl
import glob
import hashlib
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from infra.disk import is_file
from infra.errors import UsageError
from provision import console
from provision.data import convert, devkit, labels, voc_aug
from provision.data.digits import already
from provision.data.lists import write_lines
from provision.data.pictures import Shape

MEAN = (104, 117, 123)  # blue, green, red: the nearest to the recipe's mean
SETS = {"train": "train", "test": "val"}  # labels of VOC's own test sets are not public
SIZE = 500  # no photo of VOC is larger


def prepare(
    kit: Path, target: Path, *, classes: tuple[str, ...] = (), years: tuple[str, ...] = ("2012",), size: int = SIZE,
    augmented: bool = False, jobs: int = 0,
) -> Path:  # fmt: skip
    """The folder `target`, from an unpacked development kit; found as it is where it was made with the same options.

    `augmented` trains on VOC's trainaug (see `voc_aug`). With `classes` these become 1, 2, …, the others background,
    and images that show none of them are left out.
    UsageError for a kit that is none or damaged, for photos larger than `size` pixels, and where `target` is something
    else, or is made from another kit.
    """
    asked: dict[str, Any] = {"data": "crfrnn", "classes": list(classes), "years": list(years), "size": size}
    if augmented:
        asked["augmented"] = True
    if (target / "data.json").exists() and already(target, asked):
        _refuse_another(target, kit, augmented)
        return target
    sets = sets_of(augmented)
    listed = devkit.read(devkit.Wanted(kit, tuple(sets.values()), years, classes, segmentation=True))
    lists = target.with_name(f".{target.name}.lists")
    counts = {}
    try:
        for phase, name in sets.items():
            source = write_lines(lists / f"{name}.txt", listed.sets[name])
            pictures = _labels(kit, target, classes, years, name) if classes else None
            counts[phase] = _converted(
                convert.Order(
                    source, target / phase, kind="pairs", root=kit, labels=pictures, shape=Shape(pad=size, fill=MEAN),
                    strict=True, jobs=jobs, resume=True,
                )
            )  # fmt: skip
    finally:
        shutil.rmtree(lists, ignore_errors=True)
    write_lines(target / "data.json", [json.dumps(asked | counts | {"kit": str(kit.resolve())}, indent=2)])
    for folder in target.parent.glob(f".{glob.escape(target.name)}.labels-*"):
        shutil.rmtree(folder, ignore_errors=True)
    return target


def _refuse_another(target: Path, kit: Path, augmented: bool) -> None:
    """UsageError where the folder is of another kit, or another training set, or lacks a database. Older ones do not
    tell their kit."""
    facts = json.loads((target / "data.json").read_text(encoding="utf-8"))
    if facts.get("kit") not in (None, str(kit.resolve())):
        raise UsageError(
            f"{target} was prepared from another kit: {facts['kit']}", "name a new folder, or remove this one"
        )
    if facts.get("augmented", False) != augmented:
        before = "with" if facts.get("augmented") else "without"
        raise UsageError(f"{target} was prepared {before} --augmented", "name a new folder, or remove this one")
    for phase in SETS:
        for name in ("images_lmdb", "labels_lmdb"):
            path = target / phase / name / "data.mdb"
            if not is_file(path) or not path.stat().st_size:
                raise UsageError(
                    f"{path} is not there, though {target / 'data.json'} tells of it",
                    f"remove {target}, and give the same command again",
                )


def _converted(order: convert.Order) -> int:
    """How many records were made. What was begun with other options is thrown away; UsageError as of `convert`, with
    mends that the command crfrnn has."""
    part = order.out.with_name(f".{order.out.name}.part")
    if part.is_dir() and not _fits(part, convert.plan(order).digest):
        _throw_away(part, order.out)
    try:
        return convert.convert(order).records
    except UsageError as error:
        if "--resume" not in error.mend and "--strict" not in error.mend:
            raise
        mend = "mend that file, or give a larger --size for larger photos; the same command goes on where it stopped"
        raise UsageError(error.what, mend) from error


def _fits(part: Path, digest: str) -> bool:
    """Whether what was begun is of the same list and options."""
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        return bool(json.loads((part / "resume.json").read_text(encoding="utf-8"))["digest"] == digest)
    return False


def _throw_away(part: Path, out: Path) -> None:
    """Remove it, unless another conversion is at it: then that is told by `convert`."""
    handle = os.open(part, os.O_RDONLY)
    try:
        with suppress(OSError):  # of a disk on a network, which may know no locks
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
        console.line(f"what was begun of {out} with other options is thrown away")
        shutil.rmtree(part, ignore_errors=True)
    finally:
        os.close(handle)


def sets_of(augmented: bool) -> dict[str, str]:
    """VOC's set of each phase."""
    return SETS | {"train": voc_aug.LIST} if augmented else SETS


def _labels(kit: Path, target: Path, classes: tuple[str, ...], years: tuple[str, ...], name: str) -> Path:
    """Label pictures of these classes alone; a folder for each choice, as another may have been killed before."""
    source = voc_aug.LABELS if name == voc_aug.LIST else "SegmentationClass"
    choice = hashlib.sha256(",".join((*classes, *years, source)).encode()).hexdigest()[:8]
    folder = target.with_name(f".{target.name}.labels-{choice}")
    for year in years:
        made = folder / f"VOC{year}" / "JPEGImages"  # a label picture is found by its photo's path
        if not made.exists() and (kit / f"VOC{year}" / source).is_dir():
            labels.convert(kit / f"VOC{year}" / source, made, labels.Rule(classes=classes))
    return folder


def prepare_voc2012(target: Path) -> Path:
    """VOC2012, downloaded (2 GB) to a folder beside `target` that stays, and prepared with all its classes."""
    from provision.data import datasets, downloads

    kit = target.with_name("voc2012")
    if not (target / "data.json").exists():
        downloads.get(datasets.find("voc2012")[1], kit)
    return prepare(kit / "VOCdevkit", target)
