"""The lists that trainings on PASCAL VOC begin with, from an unpacked development kit: `provision data voc-lists`.

`trainval` is that of VOC2007 and VOC2012 together, shuffled; `test` is VOC2007's, for VOC2012's is not public. A line
is an image and its annotation, or for segmentation its label picture, as paths in the kit. What is in a list of the
kit but not on the disk is left out, and told.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from infra.border import did_you_mean
from infra.disk import is_file
from infra.errors import UsageError
from provision.data import near, usertext, voc
from provision.data.lines import pair_of
from provision.data.lists import refuse_other, shuffled, write_lines
from provision.data.sizes import size_lines
from provision.data.voc_aug import LABELS, LIST

_TASKS = {"Main": ("Annotations", ".xml"), "Segmentation": ("SegmentationClass", ".png")}


class Wanted(msgspec.Struct, frozen=True):
    """Which lists: sets such as trainval, test, train, val; years of the kit; images that show one of `classes`."""

    kit: Path
    sets: tuple[str, ...] = ("trainval", "test")
    years: tuple[str, ...] = ("2007", "2012")
    classes: tuple[str, ...] = ()
    segmentation: bool = False
    seed: int = 1
    strict: bool = False


class Listed(msgspec.Struct, frozen=True):
    """The lines of each set, and the files that are missing."""

    sets: dict[str, list[str]]
    missing: list[str]


def read(wanted: Wanted) -> Listed:
    """The lists, out of the kit. UsageError where it is not a kit, or where it lacks files and `strict` is set."""
    for what, some in (("set", wanted.sets), ("year", wanted.years)):
        if not some:
            raise UsageError(f"no {what} is named", f"give one: --{what}s {'trainval' if what == 'set' else '2012'}")
    for name in wanted.classes:
        if name not in voc.CLASSES[1:]:
            raise UsageError(f"VOC has no class {name!r}", did_you_mean(name, voc.CLASSES[1:]))
    if not any((wanted.kit / f"VOC{year}").is_dir() for year in wanted.years):
        raise UsageError(
            f"{wanted.kit} holds no {' or '.join(f'VOC{year}' for year in wanted.years)}", _where(wanted.kit)
        )
    missing: list[str] = []
    sets = {name: _set(wanted, name, missing) for name in wanted.sets}
    if missing and wanted.strict:
        raise UsageError(
            f"{len(missing)} files of the kit's lists are not there, the first: {missing[0]}"
            f"{near.said(wanted.kit / missing[0])}",
            "unpack the kit again; or leave out --strict",
        )
    return Listed(sets, missing)


def write(listed: Listed, kit: Path, out: Path) -> list[Path]:
    """NAME.txt of each set, test_name_size.txt (for SSD's score), missing.txt if any is. Each is whole."""
    files = {f"{name}.txt": lines for name, lines in listed.sets.items()}
    if listed.missing:
        files["missing.txt"] = listed.missing
    if "test" in listed.sets:
        images = [pair[0] for pair in map(pair_of, listed.sets["test"]) if pair]
        files["test_name_size.txt"] = list(size_lines(kit, images))
    for name in files:
        refuse_other(out / name, "list of ours", r"VOC\d+/.*" if name == "missing.txt" else r".*\S \S.*")
    return [write_lines(out / name, lines) for name, lines in files.items()]


def _set(wanted: Wanted, name: str, missing: list[str]) -> list[str]:
    alone = {"test": "2007", LIST: "2012"}.get(name)
    years = [year for year in wanted.years if alone in (None, year)]
    if not years and name == LIST:
        raise UsageError(f"only VOC2012 has a set {LIST}", "give --years 2012")
    if not years:
        raise UsageError("VOC2012's test set is not public", "choose --sets trainval, train or val, or --years 2007")
    before = len(missing)
    lines = [line for year in years for line in _year(wanted, name, year, missing)]
    if not lines and len(missing) > before:
        raise UsageError(
            f"none of the images of {name} is whole: {len(missing) - before} files of {wanted.kit} are not there, the "
            f"first: {missing[before]}{near.said(wanted.kit / missing[before])}",
            "unpack VOC's tars there again: provision data get voc2007, voc2012",
        )
    if not lines:
        raise UsageError(f"no image is left for {name}", "choose other classes or sets")
    return lines if name in ("test", "val") else shuffled(lines, wanted.seed)


def _year(wanted: Wanted, name: str, year: str, missing: list[str]) -> list[str]:
    task = "Segmentation" if wanted.segmentation else "Main"
    folder, suffix = _TASKS[task]
    if name == LIST:
        if not wanted.segmentation:
            raise UsageError(f"{LIST} has label pictures alone", "add --segmentation")
        folder = LABELS
    root = wanted.kit / f"VOC{year}"
    source = root / "ImageSets" / task / f"{name}.txt"
    if not source.is_file():
        part = "VOCtest_06-Nov-2007.tar" if name == "test" else f"VOC{year}'s trainval tar"
        mend = f"unpack {part} in the same place; or choose --sets, --years"
        if name == LIST:
            mend = f"make it of SBD's labels: provision data voc-aug benchmark_RELEASE {wanted.kit}"
        raise UsageError(f"{source} is not there", mend)
    names = [_stem(root / "JPEGImages", line) for _, line in usertext.plain_lines(source, "a list of VOC's")]
    if wanted.classes:
        shown = _showing(root, wanted.classes)
        names = [stem for stem in names if stem in shown]
    found = []
    for stem in names:
        pair = (f"VOC{year}/JPEGImages/{stem}.jpg", f"VOC{year}/{folder}/{stem}{suffix}")
        lost = [path for path in pair if not is_file(wanted.kit / path)]
        missing += lost
        if not lost:
            found.append(("\t" if " " in stem else " ").join(pair))
    return found


def _stem(folder: Path, line: str) -> str:
    """The image of a list's line. Names in a kit of one's own may hold blanks; lists of a class have 1, 0 or -1 behind
    the name, and some have files."""
    flag = re.fullmatch(r"(?P<stem>.*\S)\s+(-1|0|1)", line)
    file = re.fullmatch(r"(.*[/\\])?(?P<stem>[^/\\]+?)(\.(jpg|JPG|jpeg))?", line)
    stems = [line, *(found["stem"] for found in (flag, file) if found)]
    return next((stem for stem in stems if is_file(folder / f"{stem}.jpg")), line)


def _showing(root: Path, classes: Iterable[str]) -> set[str]:
    """Names of the images that show one of these classes, as the kit's own lists of each class say (1: yes)."""
    shown = set()
    for name in classes:
        files = sorted((root / "ImageSets" / "Main").glob(f"{name}_*.txt"))
        if not files:
            raise UsageError(f"{root} has no list of the class {name}", "unpack the kit's ImageSets/Main")
        for path in files:
            for _, line in usertext.plain_lines(path, "a list of VOC's"):
                stem, _, flag = line.rpartition(" ")
                if flag == "1":
                    shown.add(stem.strip())
    return shown


def _where(kit: Path) -> str:
    if (kit / "JPEGImages").is_dir() or (kit / "ImageSets").is_dir():
        return f"it is the folder of one year: name the folder that it is in, {kit.resolve().parent}"
    inside = kit / "VOCdevkit"
    return f"it holds {inside}: name that" if inside.is_dir() else "unpack VOC's tars there: provision data get"
