"""VOC's annotations (XML) as boxes for `provision data boxes`, and what makes one of no use.

Against convert_annoset, four things are mended: coordinates that are no whole numbers (VOC2012 has some; the tool reads
them as 0), a `difficult` that comes after the box (the tool forgets it), boxes that reach over the border (they are
cut), and encodings of any kind. As there, boxes are shares of the XML's <size>; where it is another than the picture's,
that is told. A picture that is turned by EXIF has the size that it has when shown, for so Caffe decodes it with
force_color.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from infra.errors import UsageError
from infra.names import shown as shown_name
from provision.data import near, usertext
from provision.data.annotated import Annotated, Box
from provision.data.heads import ON_ITS_SIDE, READ_BY_CAFFE, BadPictureError, Head, check_size, head, opened
from provision.data.lines import pair_of

OTHER_SIZE, GRAY, TURNED = "of another size than their picture", "gray", "turned by EXIF"
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["'][^>]*\?>""")


class Classes(NamedTuple):
    """Names in their order, and whether objects of others are left out (else they make an annotation bad)."""

    names: Sequence[str]
    others: bool = False


class Annotation(NamedTuple):
    """What an XML file says: the objects' boxes, what was dropped by cause, and the width and height that they are
    drawn in."""

    boxes: list[Box]
    dropped: list[str]
    frame: tuple[int, int]


def read_list(path: Path) -> list[tuple[str, str]]:
    """Pairs of image and annotation, as `provision data voc-lists` writes them. UsageError for another line."""
    pairs = []
    for number, line in usertext.lines(path, "a list of images and annotations"):
        pair = pair_of(line)
        if pair is None:
            raise UsageError(
                f"{path}:{number}: {line!r} is not an image and an annotation",
                "write `IMAGE ANNOTATION.xml` on a line, with a tab between them where they hold blanks",
            )
        pairs.append(pair)
    if not pairs:
        raise UsageError(f"{path} is empty", "write `IMAGE ANNOTATION.xml` on each line")
    return pairs


def read(root: Path, pair: tuple[str, str], classes: Classes) -> Annotated | str:
    """The image with its boxes, or why it cannot be used."""
    image, annotation = pair
    return annotated(root, image, annotation, lambda shown: boxes_of((root / annotation).read_bytes(), classes, shown))


def annotated(root: Path, image: str, source: str, boxes: Callable[[tuple[int, int]], Annotation]) -> Annotated | str:
    """The image with what `boxes` gives for its height and width when it is shown, or why it cannot be used. `boxes`
    raises ValueError for what the file `source` says wrong."""
    try:
        data = (root / image).read_bytes()
        picture = _whole(data)
        found = boxes(picture.shown)
    except FileNotFoundError as error:
        return f"{error.filename} is not there{near.said(Path(error.filename))}"
    except OSError as error:
        return f"{error.filename} cannot be read: {error.strerror}"
    except BadPictureError as error:
        return f"{image} {error}"
    except ValueError as error:
        return f"{source} {error}"
    height, width = picture.shown
    if found.frame == (picture.width, picture.height) != (width, height):
        return (
            f"{source} is of {image} as it is stored, not as it is shown and Caffe decodes it (EXIF orientation"
            f" {picture.orientation}): exiftool -Orientation= {image}"
        )
    marks = ((OTHER_SIZE, found.frame != (width, height)), (GRAY, picture.channels == 1), (TURNED, _turned(picture)))
    said = tuple(mark for mark, so in marks if so)
    return Annotated(image, data, width, height, tuple(found.boxes), tuple(found.dropped), said, found.frame)


def boxes_of(xml: bytes, classes: Classes, shown: tuple[int, int]) -> Annotation:
    """The boxes of an annotation whose picture has the height and width `shown`.

    ValueError for an unknown class where others are not left out, and for what is no annotation.
    """
    found: list[Box] = []
    dropped: list[str] = []
    tree = parsed(xml)
    width, height = _frame(tree) or (shown[1], shown[0])
    objects = tree.findall("object")
    for element, (left, top, right, bottom) in zip(objects, _all_corners(objects), strict=True):
        name = (element.findtext("name") or "").strip()
        if name not in classes.names:
            if not classes.others:
                raise ValueError(f"has an object {shown_name(name)}, which is none of the classes")
            dropped.append("of another class")
            continue
        cut = (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
        if cut[2] <= cut[0] or cut[3] <= cut[1]:
            dropped.append("without area")
            continue
        hard = (element.findtext("difficult") or "").strip() == "1"
        found.append(Box(classes.names.index(name) + 1, cut, hard))
    return Annotation(found, dropped, (width, height))


def parsed(xml: bytes) -> ElementTree.Element:
    """The tree, its tags without their namespaces. ValueError where it is none, or not VOC's: what has other tags would
    be taken for an image without objects."""
    try:
        tree = ElementTree.fromstring(_text(xml))
    except ElementTree.ParseError as error:
        raise ValueError(f"is no XML: {error}") from error
    except LookupError as error:
        raise ValueError(f"is written in an unknown encoding: {error}") from error
    for element in tree.iter():
        element.tag = element.tag.rpartition("}")[2]
    if tree.tag != "annotation":
        raise ValueError(f"is no annotation of VOC's form: it begins with <{tree.tag}>, not with <annotation>")
    return tree


def _text(xml: bytes) -> str | bytes:
    """What the parser reads: bytes with a mark as they are; else Python's reading of the encoding that is declared,
    which knows more of them (GB2312, Shift_JIS). What is not written so is taken byte by byte, as the fork takes all:
    tags and numbers are ASCII."""
    if xml.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return xml
    declared = _DECLARED.match(xml)
    try:
        text = xml.decode(declared[1].decode() if declared else "utf-8")
    except UnicodeDecodeError:
        text = xml.decode("latin-1")
    return text[len(declared[0]) :] if declared else text


def _frame(tree: ElementTree.Element) -> tuple[int, int] | None:
    """Width and height that the annotation says; None where it says none, or 0 as some programs do."""
    try:
        sides = [int(float(tree.findtext(f"size/{side}") or "")) for side in ("width", "height")]
    except (ValueError, OverflowError):
        return None
    return (sides[0], sides[1]) if min(sides) > 0 else None


def _all_corners(objects: Sequence[ElementTree.Element]) -> list[tuple[int, int, int, int]]:
    """The corners of all boxes, rounded: convert_annoset knows whole numbers alone. ValueError for shares of the
    picture in place of pixels."""
    exact = [_corners(element) for element in objects]
    flat = [corner for corners in exact for corner in corners]
    if flat and all(0 <= corner <= 1 for corner in flat) and any(corner % 1 for corner in flat):
        raise ValueError("has corners between 0 and 1: write them in pixels")
    return [(round(left), round(top), round(right), round(bottom)) for left, top, right, bottom in exact]


def _corners(element: ElementTree.Element) -> tuple[float, float, float, float]:
    """The corners of an object's box. ValueError without them."""
    try:
        found = [float(element.findtext(f"bndbox/{key}") or "") for key in ("xmin", "ymin", "xmax", "ymax")]
        if not all(abs(corner) < 1 << 31 for corner in found):
            raise ValueError
    except ValueError as error:
        raise ValueError("has an object without the four corners of its box") from error
    return found[0], found[1], found[2], found[3]


def _whole(data: bytes) -> Head:
    """The head of an image that was read to its end. A JPEG is decoded at an eighth, which costs little.

    BadPictureError for what Caffe cannot use.
    """
    found = head(data)
    if found.kind not in READ_BY_CAFFE:
        raise BadPictureError(f"is a {found.kind}, which Caffe may not decode: save it as JPEG or PNG")
    if found.bits > 8:
        raise BadPictureError(f"has {found.bits} bits, and Caffe reads 8 alone: save it with 8")
    check_size(found.height, found.width)
    try:
        with opened(data) as picture:
            picture.draft("RGB", (max(found.width // 8, 1), max(found.height // 8, 1)))
            picture.load()
    except BadPictureError as error:
        raise BadPictureError(f"is no whole image: {error}") from None
    return found


def _turned(picture: Head) -> bool:
    return picture.orientation in (2, 3, 4, *ON_ITS_SIDE)
