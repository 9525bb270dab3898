"""Boxes out of VOC's XML files. A box's corners are pixels from 1, the last one inside: x from xmin - 1 to xmax."""

import math
from pathlib import Path
from xml.etree import ElementTree

import msgspec

from infra.disk import is_file
from infra.errors import UsageError
from provision.data import near, voc
from provision.data.box_set import Box, Boxes, BoxSet, below
from provision.data.voc_xml import parsed, read_list

_BESIDE = ("", "../JPEGImages", "../images", "JPEGImages", "images")


def read(source: Path, root: Path) -> BoxSet:
    """The images of a list (`IMAGE ANNOTATION.xml` on a line, as voc-lists writes) or of a folder of XML files. The
    classes are VOC's, where there are no others; else by their names. UsageError names the file."""
    if source.is_dir():
        files = sorted(source.rglob("*.xml"))
        images = [_image(path, root, None) for path in files if not path.name.startswith(".")]
    else:
        images = [_image(root / xml, root, image) for image, xml in read_list(source)]
    if not images:
        raise UsageError(f"{source} has no XML file", "give a folder of VOC's annotations, or a list")
    named = [msgspec.structs.replace(image, boxes=tuple(filter(_has_name, image.boxes))) for image in images]
    lost = sum(len(image.boxes) for image in images) - sum(len(image.boxes) for image in named)
    names = {box.name for image in named for box in image.boxes}
    ours = list(voc.CLASSES[1:])
    left_out = {"without a name": lost} if lost else {}
    return BoxSet("voc", ours if names <= set(ours) else sorted(names), named, left_out, seen=True)


def _has_name(box: Box) -> bool:
    return bool(box.name)


def pairs(folder: Path, root: Path) -> list[tuple[str, str]]:
    """Each image and its XML file of a folder, as a list has them."""
    files = [path for path in sorted(folder.rglob("*.xml")) if not path.name.startswith(".")]
    return [(_picture(path, _filename(path), root), below(root, path)) for path in files]


def _filename(path: Path) -> str | None:
    try:
        return parsed(path.read_bytes()).findtext("filename")
    except (OSError, ValueError):  # told when its boxes are read
        return None


def _image(path: Path, root: Path, image: str | None) -> Boxes:
    try:
        tree = parsed(path.read_bytes())
    except OSError as error:
        what = f"{path} cannot be read: {error.strerror}{near.said(path)}"
        raise UsageError(what, "mend the list, or --root") from error
    except ValueError as error:
        raise UsageError(f"{path} {error}", "mend it, or take it away") from error
    try:
        width, height = (float(tree.findtext(f"size/{key}") or 0) for key in ("width", "height"))
        boxes = tuple(_box(element) for element in tree.findall("object"))
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{path} has an object without the four corners of its box", "mend it") from error
    return Boxes(image or _picture(path, tree.findtext("filename"), root), boxes, width, height)


def _box(element: ElementTree.Element) -> Box:
    """ValueError without four corners. Some tools write the corners in another order."""
    left, top, right, bottom = (
        float(element.findtext(f"bndbox/{key}") or "") for key in ("xmin", "ymin", "xmax", "ymax")
    )
    if not all(map(math.isfinite, (left, top, right, bottom))):
        raise ValueError("no number")
    name = (element.findtext("name") or "").strip()
    corners = (min(left, right) - 1, min(top, bottom) - 1, max(left, right), max(top, bottom))
    return Box(name, corners, (element.findtext("difficult") or "").strip() == "1")


def _picture(path: Path, name: str | None, root: Path) -> str:
    """The image of an XML file: by its own <filename>, or by the XML's name, in one of the usual places."""
    names = [name.strip()] if name and name.strip() else []
    for word in (*names, *(path.stem + suffix for suffix in (".jpg", ".jpeg", ".png"))):
        for beside in _BESIDE:
            if is_file(found := path.parent / beside / word):
                return below(root, found)
    return below(root, path.with_name(names[0] if names else f"{path.stem}.jpg"))
