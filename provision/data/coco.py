"""Annotations in COCO's form: what is in a file, and how one is written.

Format: https://cocodataset.org/#format-data (object detection). A file of COCO itself has 860,000 annotations with all
their polygons: here each stays the bytes that it is in the file until somebody looks at it.
"""

import codecs
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from infra.errors import UsageError
from provision.files.whole import atomic_file

Box = tuple[float, float, float, float]

_AT_ONCE = 1000
_PIECE = 1 << 20
_LISTS = ("images", "annotations", "categories")
_MARK = codecs.BOM_UTF8
_OTHERS = (
    (b"\x1f\x8b", "compressed (gzip)", "unpack it: gunzip FILE"), (b"PK\x03\x04", "a zip archive", "unpack it"),
    (codecs.BOM_UTF16_LE, "in UTF-16", "save it as UTF-8"), (codecs.BOM_UTF16_BE, "in UTF-16", "save it as UTF-8"),
)  # fmt: skip


class Image(msgspec.Struct, frozen=True, gc=False):
    """A picture: `file_name` below the images' folder, size in pixels."""

    id: int
    file_name: str
    width: int
    height: int


class Annotation(msgspec.Struct, frozen=True, gc=False):
    """One object: `bbox` is x, y, width, height in pixels; `segmentation` are polygons of x, y, x, y, …"""

    id: int
    image_id: int
    category_id: int
    bbox: Box
    area: float
    iscrowd: int
    segmentation: list[list[float]]


class Category(msgspec.Struct, frozen=True):
    """A class; ids begin with 1, for 0 is the background."""

    id: int
    name: str
    supercategory: str


class Raw(msgspec.Struct, frozen=True):
    """A file in pieces: each image, annotation and category as its JSON; `rest` are all other keys. `marked`: it begins
    with a byte order mark."""

    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]
    categories: list[msgspec.Raw]
    rest: dict[str, msgspec.Raw]
    marked: bool = False


def read(path: Path) -> Raw:
    """The file's pieces. UsageError where it is not JSON, or lacks a list."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "give a file of COCO annotations") from error
    _check_text(path, data)
    text = memoryview(data)[len(_MARK) :] if (marked := data.startswith(_MARK)) else data
    try:
        found = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        images, annotations, classes = (_list(path, found, key) for key in _LISTS)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UsageError(f"{path} is no file of COCO annotations: {error}", _mend(str(error))) from error
    return Raw(images, annotations, classes, found, marked)


def _mend(said: str) -> str:
    """What to do about JSON that cannot be read, by what msgspec says."""
    if "truncated" in said:
        return "it is cut off: copy or fetch it again"
    if "trailing characters" in said:
        return "it holds more than one value (JSON Lines?): write one mapping with the lists " + ", ".join(_LISTS)
    if "got `array`" in said and "$" not in said:
        return "it is a list, as detections are; annotations are a mapping with the lists " + ", ".join(_LISTS)
    if "malformed" in said or "out of range" in said:
        return "JSON has neither NaN nor comments: take them out"
    return "write the lists that a file of COCO annotations has: " + ", ".join(_LISTS)


def _check_text(path: Path, data: bytes) -> None:
    """UsageError for what is compressed, and for bytes that are no UTF-8: msgspec would find them only where it makes a
    text of them."""
    for start, what, mend in _OTHERS:
        if data.startswith(start) or ("UTF-16" in what and b"\0" in data[:2]):
            raise UsageError(f"{path} is {what}, and not the JSON itself", mend)
    decode = codecs.getincrementaldecoder("utf-8")().decode
    whole = memoryview(data)
    try:
        for at in range(0, len(data), _PIECE):
            decode(whole[at : at + _PIECE], at + _PIECE >= len(data))
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text in UTF-8", "write the file again in UTF-8: JSON knows no other") from error


def _list(path: Path, found: dict[str, msgspec.Raw], key: str) -> list[msgspec.Raw]:
    """Take the list out of what was read. UsageError where there is none."""
    if key not in found:
        raise UsageError(
            f"{path} has no {key!r}", f"write the lists that a file of COCO annotations has: {', '.join(_LISTS)}"
        )
    return msgspec.json.decode(found.pop(key), type=list[msgspec.Raw])


def refuse_source(target: Path, *sources: Path) -> None:
    """UsageError where the file to write is one of those that are read, or is there and no JSON."""
    if target.exists() and any(source.exists() and target.samefile(source) for source in sources):
        raise UsageError(f"{target} is the file itself", "give another name: the original stays")
    if target.is_file():
        with target.open("rb") as file:
            head = file.read(_PIECE).removeprefix(_MARK).lstrip()
        if head and not head.startswith(b"{"):
            raise UsageError(f"{target} is there, and is no file of annotations", "name a new file")


def rectangle(box: Box) -> list[list[float]]:
    """The box as a polygon: trains Faster R-CNN, which looks at boxes; a Mask R-CNN would learn rectangles."""
    x, y, width, height = box
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def categories(names: Iterable[str], above: str) -> list[Category]:
    """Classes in that order, from 1."""
    return [Category(number, name, above) for number, name in enumerate(names, 1)]


def write(path: Path, head: dict[str, Any], lists: dict[str, Iterable[Any]]) -> None:
    """A file with the keys of `head` and then the lists, element by element; it appears whole or not at all. UsageError
    for what is no file that can be replaced."""
    with atomic_file(path) as part, part.open("wb") as out:
        _write(out, head, lists)


def _write(out: IO[bytes], head: dict[str, Any], lists: dict[str, Iterable[Any]]) -> None:
    encode = msgspec.json.encode
    out.write(encode(head)[:-1])
    comma = b"," if head else b""
    for key, items in lists.items():
        out.write(comma + encode(key) + b":[")
        between = b""
        for some in _chunks(items):
            out.write(between + encode(some)[1:-1])
            between = b","
        out.write(b"]")
        comma = b","
    out.write(b"}\n")


def _chunks(items: Iterable[Any]) -> Iterator[list[Any]]:
    some: list[Any] = []
    for item in items:
        some.append(item)
        if len(some) == _AT_ONCE:
            yield some
            some = []
    if some:
        yield some
