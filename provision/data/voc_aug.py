"""VOC2012's training set for segmentation with SBD's labels, 10,582 images in place of 1,464: trainaug, on which most
nets are trained.

SBD (Hariharan et al., ICCV 2011) has labels of 11,355 of VOC's images as .mat files: GTcls.Segmentation, classes by
their number, without a border of void. Trainaug is all of SBD and of VOC's train, without VOC's val, which scores; an
image that VOC labels itself keeps VOC's label. Made is what VOC's kit would have: VOC2012/SegmentationClassAug and the
list ImageSets/Segmentation/trainaug.txt.
"""

import shutil
from pathlib import Path
from typing import Any

import msgspec

from infra.border import read_text
from infra.disk import is_file, writing
from infra.errors import UsageError
from provision.data import voc
from provision.data.extras import extra
from provision.data.lists import write_lines
from provision.data.parallel import ordered, tracked
from provision.data.pictures import vision
from provision.files.folders import atomic_folder

LABELS, LIST = "SegmentationClassAug", "trainaug"


class Made(msgspec.Struct, frozen=True):
    """How many labels are VOC's and SBD's; images of SBD's lists that the kit, or SBD itself, lacks."""

    voc: int
    sbd: int
    missing: list[str]
    found: bool = False


class _Plan(msgspec.Struct, frozen=True):
    """Each image's label: VOC's own picture, or SBD's file."""

    labels: dict[str, Path]
    missing: list[str]


def prepare(source: Path, kit: Path, jobs: int = 0) -> Made:
    """Make the labels and the list in the kit; found as they are where they are there.

    `source` is benchmark_RELEASE, or the `dataset` in it. UsageError where one of both is another folder, or a label
    cannot be read: then nothing is made.
    """
    home = kit / "VOC2012"
    planned = plan(source, kit)
    own = sum(path.suffix == ".png" for path in planned.labels.values())
    made = Made(own, len(planned.labels) - own, planned.missing)
    labels, listed = home / LABELS, home / "ImageSets" / "Segmentation" / f"{LIST}.txt"
    if labels.is_dir():
        lost = next((name for name in planned.labels if not is_file(labels / f"{name}.png")), None)
        if lost is not None:
            raise UsageError(f"{labels} is there, and lacks {lost}.png", "remove it, and give the same command again")
        write_lines(listed, planned.labels)
        return msgspec.structs.replace(made, found=True)
    with atomic_folder(labels) as part:
        done = ordered(lambda name: _one(planned.labels[name], part / f"{name}.png"), list(planned.labels), jobs)
        wrong = [line for line in tracked(done, len(planned.labels), "labels") if line]
        if wrong:
            raise UsageError(f"{len(wrong)} labels cannot be used, the first: {wrong[0]}", "unpack SBD again")
    write_lines(listed, planned.labels)
    return made


def plan(source: Path, kit: Path) -> _Plan:
    """Which image has which label. UsageError where a folder is not what it should be."""
    data = next((one for one in (source, source / "dataset") if (one / "cls").is_dir()), None)
    if data is None:
        raise UsageError(f"{source} is not SBD: it has no cls", "name benchmark_RELEASE: provision data get sbd")
    home = kit / "VOC2012"
    lists = home / "ImageSets" / "Segmentation"
    if not (home / "SegmentationClass").is_dir():
        raise UsageError(f"{kit} holds no VOC2012 with SegmentationClass", "name VOCdevkit: provision data get voc2012")
    train, val = (set(_names(lists / f"{name}.txt")) for name in ("train", "val"))
    theirs = {name for part in ("train", "val") for name in _names(data / f"{part}.txt")}
    labels: dict[str, Path] = {}
    missing: list[str] = []
    for name in sorted((theirs | train) - val):
        own = home / "SegmentationClass" / f"{name}.png"
        label = own if is_file(own) else data / "cls" / f"{name}.mat"
        lost = [path for path in (home / "JPEGImages" / f"{name}.jpg", label) if not is_file(path)]
        missing += map(str, lost)
        if not lost:
            labels[name] = label
    if not labels:
        raise UsageError(
            f"none of {len(missing)} images is whole, the first: {missing[0]}", "unpack VOC2012 and SBD again"
        )
    return _Plan(labels, missing)


def _names(path: Path) -> list[str]:
    return read_text(path, "unpack it again").removeprefix("\ufeff").split()


def _one(label: Path, target: Path) -> str:
    """Write one label; what is wrong with it."""
    if label.suffix == ".png":
        with writing(target):
            shutil.copyfile(label, target)
        return ""
    loadmat = extra("scipy.io").loadmat
    try:
        values = classes(loadmat(label))
    except Exception as error:  # scipy has many for a damaged file
        return f"{label} is no label of SBD: {error}"
    with writing(target):
        target.write_bytes(vision().imencode(".png", values)[1].tobytes())
    return ""


def classes(found: Any) -> Any:
    """Height x width classes of a .mat file's content. ValueError where it has others than VOC's."""
    values = found["GTcls"]["Segmentation"][0, 0]
    if values.ndim != 2 or int(values.max()) >= len(voc.CLASSES):
        raise ValueError("it has no classes of VOC")
    return values.astype("uint8")
