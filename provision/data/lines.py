"""What a line of a list of pictures means, and what is odd about one whose picture is not there.

`classes`: "path 7", as Caffe's convert_imageset reads; blanks or tabs stand before the number, or before a name of the
classes where these are given. `pairs`: "image.jpg label.png"; `boxes`: "image.jpg boxes.xml"; `images`: "path".
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
_PICTURE = rf"(?P<path>.*(?:{'|'.join(map(re.escape, SUFFIXES))}))"
_CLASS = re.compile(r"(?P<path>.*\S)\s+(?P<label>[+-]?\d+)")
_SEPARATED = re.compile(rf"{_PICTURE}\s*(?P<mark>[,;:|=])\s*\S.*", re.IGNORECASE)
_MARKS, _SPACE = re.compile("[,;:|=]"), re.compile(r"\s")
_TURNED = re.compile(rf"[+-]?\d+(\.\d+)?\s+{_PICTURE}", re.IGNORECASE)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://.*", re.IGNORECASE)
_MORE = re.compile(rf"{_PICTURE}['\"]?\s+(?P<rest>\S.*)", re.IGNORECASE)
_PAIR = re.compile(rf"(?P<first>.*?(?:{'|'.join(map(re.escape, SUFFIXES))}))\s+(?P<second>\S.*)", re.IGNORECASE)
_BLANK = re.compile(r"[ \t]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


_NONE: Mapping[str, int] = {}


class Odd(msgspec.Struct, frozen=True):
    """What is odd about a line, and the mend."""

    what: str
    mend: str


def numbers(names: Sequence[str]) -> dict[str, int]:
    """The number of each class by its name, whose accents are as most write them."""
    return {unicodedata.normalize("NFC", name): number for number, name in enumerate(names)}


def kind_of(line: str, known: Mapping[str, int] = _NONE) -> str:
    """classes, pairs, boxes or images."""
    if _CLASS.fullmatch(line) or class_of(line, known):
        return "classes"
    pair = pair_of(line)
    suffix = Path(pair[1]).suffix.lower() if pair and Path(pair[0]).suffix.lower() in SUFFIXES else ""
    return "boxes" if suffix == ".xml" else "pairs" if suffix in SUFFIXES else "images"


def class_of(line: str, known: Mapping[str, int] = _NONE) -> tuple[str, int] | None:
    """The path and the class, which is a number of 32 bits, or one of the `known` names; None where it is neither."""
    for blank in _BLANK.finditer(line) if known else ():  # the longest first: names may hold blanks
        number = known.get(unicodedata.normalize("NFC", line[blank.end() :]))
        if number is not None:
            return line[: blank.start()].rstrip(), number
    found = _CLASS.fullmatch(line)
    if found is None or not -(1 << 31) <= int(found["label"]) < 1 << 31:
        return None
    return found["path"], int(found["label"])


def pair_of(line: str) -> tuple[str, str] | None:
    """The two paths of a line: apart by a tab, by the only blank, or by the blank after the first picture's suffix."""
    if "\t" in line:
        words = [word.strip() for word in line.split("\t") if word.strip()]
    else:
        words = line.split()
        if len(words) != 2 and (found := _PAIR.fullmatch(line)):
            words = [found["first"], found["second"]]
    return (words[0], words[1]) if len(words) == 2 else None


def odd(line: str, path: str) -> Odd | None:
    """What is odd about a line whose `path` is not there: another form of list, or of path; None where nothing is
    seen."""
    if line[0] in "\"'":
        return Odd("quotes are taken for a part of the name", "leave the quotes out")
    if "\\" in path or path[1:3] == ":/":
        return Odd("this is a path of Windows", "write / in place of \\, and paths that start from --root")
    if line[0] in "[{(":
        return Odd("this is JSON, or a program's", "write PATH NUMBER on each line")
    if "://" in path and _ADDRESS.fullmatch(path):
        return Odd("this is an address", "fetch the pictures first, and write their paths")
    if path[0] in "~$":
        return Odd("only a shell reads ~ and $NAME", "write paths that start from --root, or whole ones")
    if line[0] in "+-0123456789" and _TURNED.fullmatch(line):
        return Odd("the label stands before the picture", "write PATH NUMBER")
    if _MARKS.search(path) and (found := _SEPARATED.fullmatch(path)):
        mark = {",": "a comma", ";": "a semicolon"}.get(found["mark"], f"`{found['mark']}`")
        return Odd(f"{mark} stands where a blank is expected", "write PATH NUMBER on each line, with a blank between")
    if _SPACE.search(path) and (found := _MORE.fullmatch(path)):
        return _labels(found["rest"] + line[len(path) :])
    return None


def _labels(rest: str) -> Odd:
    """What is odd about that which stands after a picture's name."""
    words = re.split(r"[\s,;]+", rest)
    if not all(_NUMBER.fullmatch(word) for word in words):
        mend = (
            "number the classes from 0: PATH NUMBER; or name them: --classes NAME,…; or make one folder for each class"
        )
        return Odd(f"{rest!r} is no class's number", mend)
    if len(words) > 1:
        mend = "Caffe's Datum has one whole number: make a database for each label, or let an HDF5Data layer read them"
        return Odd(f"there are {len(words)} labels", mend)
    if not re.fullmatch(r"[+-]?\d+", rest):
        mend = "Caffe's Datum has no other: number the classes, or let an HDF5Data layer read the values"
        return Odd(f"labels are whole numbers, not {rest}", mend)
    if class_of(f"a {rest}"):
        return Odd(f"{rest} stands behind the picture, and the first line has no label", "give each line one, or none")
    return Odd(f"the label {rest} has more than 32 bits", "Caffe's Datum has no longer one: number the classes from 0")
