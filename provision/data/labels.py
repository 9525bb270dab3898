"""Coloured label pictures (VOC's, or by a file of colours) as class indices: `provision data voc-labels`.

A table of all 2^24 colours (16 MB) holds each colour's class, so a picture is one look-up. A picture with a palette is
read by its palette's colours, whatever their order there (`by_number`: by the numbers themselves). The void border
(224, 224, 192) becomes 255, the ignore label. A colour that is no class's is an error that names the file and the
colour: taking it for background is how borders and mistakes get trained as background.

What is written is a gray PNG whose values are the classes: Caffe and OpenCV would read a palette's colours instead.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from infra.border import did_you_mean
from infra.errors import UsageError
from provision.data import classfolders, label_pictures, voc
from provision.data.colours import VOC, Colours
from provision.data.extras import extra
from provision.data.heads import BadPictureError
from provision.data.label_pictures import codes
from provision.data.parallel import ordered, tracked
from provision.data.pictures import vision
from provision.files.whole import atomic_file, atomic_folder

_UNKNOWN = 254  # in tables: a colour or number of no class
_NO_CLASS = "has pixels of no class"
_SHOWN = 5  # colours and files that an error names


class Rule(msgspec.Struct, frozen=True):
    """Which classes become 1, 2, …, in this order (none: all as they are), and what the others become.

    `colours` says which colour is which class. `numbers` gives gray values another class (255: 1 for black and white).
    `others` and `unknown` are `background` (0) or `ignore` (255); unknown colours are an error where it is `error`.
    """

    classes: tuple[str, ...] = ()
    others: str = "background"
    unknown: str = "error"
    by_number: bool = False
    colours: Colours = VOC
    numbers: dict[int, int] = {}


class Converted(msgspec.Struct, frozen=True):
    """Pictures converted, and pixels of each value that occurs."""

    pictures: int
    pixels: dict[int, int]


def convert(source: Path, out: Path, rule: Rule, jobs: int = 0) -> Converted:
    """A picture, or a folder of PNGs as a folder of the same names. UsageError names colours of no class and files
    that cannot be read, and nothing is left then."""
    tables = Tables(rule)
    if out.exists() and (not out.is_dir() or any(out.iterdir()) or source.is_file()):
        raise UsageError(f"{out} is there already", "name a new file" if source.is_file() else "name a new folder")
    if source.is_file():
        with atomic_file(out) as part:
            return _all([(source, part)], tables, 1)
    paths = pictures_of(source)
    with atomic_folder(out) as folder:
        for path in {Path(path).parent for path in paths}:
            (folder / path).mkdir(parents=True, exist_ok=True)
        return _all([(source / path, folder / path) for path in paths], tables, jobs)


def pictures_of(source: Path) -> list[str]:
    """The label pictures below a folder, whatever the case of their suffix. UsageError where there are none."""
    if not source.exists():
        raise UsageError(f"{source} is not there", "name a label picture, or a folder of them")
    found = classfolders.below(source, (".png",))
    classfolders.say(source, found)
    if not found.files:
        raise UsageError(
            f"{source} holds no label pictures (*.png)", "name the folder that holds them; VOC's is SegmentationClass"
        )
    return found.files


def _all(pairs: Sequence[tuple[Path, Path]], tables: "Tables", jobs: int) -> Converted:
    numpy = extra("numpy")
    pixels = numpy.zeros(256, numpy.int64)
    wrong: list[str] = []
    for found in tracked(ordered(lambda pair: _one(pair, tables), pairs, jobs), len(pairs), "label pictures"):
        if isinstance(found, str):
            wrong.append(found)
        else:
            pixels += found
    if wrong:
        more = f"\n… and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        mend = "mend these files, or take them away"
        if any(_NO_CLASS in line for line in wrong):
            mend = "if these pixels have no class: --unknown ignore (255) or --unknown background (0)"
        raise UsageError("\n".join(wrong[:_SHOWN]) + more, mend)
    return Converted(len(pairs), {value: int(count) for value, count in enumerate(pixels) if count})


def _one(pair: tuple[Path, Path], tables: "Tables") -> Any:
    """Convert one picture. The result: its histogram, [256], or what is wrong with it."""
    source, target = pair
    try:
        values = tables.classes(source)
    except BadPictureError as error:
        return f"{source} {error}"
    target.write_bytes(vision().imencode(".png", values)[1])
    return extra("numpy").bincount(values.ravel(), minlength=256)


class Tables:
    """Classes by colour and by number, for one rule."""

    def __init__(self, rule: Rule) -> None:
        numpy = extra("numpy")
        self._by_number = rule.by_number
        self._count = len(rule.colours.names)
        unknown = {"error": _UNKNOWN, "ignore": voc.IGNORE, "background": 0}[rule.unknown]
        values = _values(rule)
        self.numbers = numpy.full(256, unknown, numpy.uint8)
        for index, value in (values | rule.numbers).items():
            self.numbers[index] = value
        self.colours = numpy.full(1 << 24, unknown, numpy.uint8)
        self._known = set[int]()  # colours that are a class's
        for (red, green, blue), index in rule.colours.numbers().items():
            self.colours[red << 16 | green << 8 | blue] = values[index]
            self._known.add(red << 16 | green << 8 | blue)

    def classes(self, path: Path) -> Any:
        """Height x width classes of a label picture. BadPictureError names what has none."""
        pixels, palette = label_pictures.read(path)
        if palette is not None and not self._by_number:
            of = codes(palette)
            return _checked(self.colours[of][pixels], pixels, lambda number: f"{_colour(of[number])} (number {number})")
        if pixels.ndim == 3:
            plane = label_pictures.gray_classes(pixels, self._count)
            if plane is not None and not self._known.issuperset(extra("numpy").unique(codes(pixels)).tolist()):
                pixels = plane  # three equal channels of numbers: what cv2.imwrite makes of a stack of planes
        if pixels.ndim == 2:
            return _checked(self.numbers[pixels], pixels, str)
        of = codes(pixels)
        return _checked(self.colours[of], of, _colour)


def _values(rule: Rule) -> dict[int, int]:
    """What each class becomes; 0 and 255 stay."""
    names = rule.colours.names
    for name in rule.classes:
        if name not in names[1:]:
            raise UsageError(f"there is no class {name!r} in these colours", did_you_mean(name, names[1:]))
    if not rule.classes:
        return {**{index: index for index in range(len(names))}, voc.IGNORE: voc.IGNORE}
    other = voc.IGNORE if rule.others == "ignore" else 0
    chosen = {name: place for place, name in enumerate(rule.classes, start=1)}
    found = {index: chosen.get(name, other) for index, name in enumerate(names)}
    return {**found, 0: 0, voc.IGNORE: voc.IGNORE}


def _checked(values: Any, pixels: Any, name: Any) -> Any:
    """The values, if all are classes."""
    unknown = values == _UNKNOWN
    if not unknown.any():
        return values
    found, counts = extra("numpy").unique(pixels[unknown], return_counts=True)
    words = [f"{name(int(value))} in {count} pixels" for value, count in zip(found, counts, strict=True)][:_SHOWN]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise BadPictureError(f"{_NO_CLASS}: {', '.join(words)}{more}")


def _colour(code: int) -> str:
    return f"colour {int(code) >> 16 & 255},{int(code) >> 8 & 255},{int(code) & 255}"
