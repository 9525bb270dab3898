"""Images with boxes for `provision data boxes`, from any of the forms that `box_files` reads.

VOC's XML files stay with `voc_xml`, whose records are convert_annoset's. Boxes of the other forms are shares of the
size that their file says, or of the picture's.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from infra.names import shown as shown_name
from provision.data import box_files, box_voc, voc
from provision.data.annotated import Annotated, Box
from provision.data.box_set import Boxes
from provision.data.voc_xml import Annotation, Classes, annotated, read, read_list


class Drawn(NamedTuple):
    """The images of a source, the path of each as its key has it, the classes' names in the source's order, and how
    many objects the form itself leaves out, by cause."""

    images: Sequence[tuple[str, str] | Boxes]
    names: list[str]
    left_out: dict[str, int]

    @property
    def paths(self) -> list[str]:
        return [image.image if isinstance(image, Boxes) else image[0] for image in self.images]


def load(source: Path, root: Path, split: Literal["train", "test"], names: Sequence[str] = ()) -> Drawn:
    """All images of a source. UsageError for what is none of the forms.

    `split` is for YOLO's YAML file, which has both sets; `names` are the classes of YOLO's numbers, where no file
    tells them.
    """
    if source.is_dir() and box_files.form_of(source) == "voc":
        return Drawn(box_voc.pairs(source, root), list(voc.CLASSES[1:]), {})
    if (not source.is_file() and not source.is_dir()) or box_files.form_of(source) == "voc":
        return Drawn(read_list(source), list(voc.CLASSES[1:]), {})
    found = box_files.read(source, root, split=split, names=names)
    return Drawn(found.images, found.names, found.left_out)


def place(root: Path, image: tuple[str, str] | Boxes, classes: Classes) -> Annotated | str:
    """The image with its boxes, or why it cannot be used."""
    if not isinstance(image, Boxes):
        return read(root, image, classes)
    source = f"the annotation of {image.image}"
    return annotated(root, image.image, source, lambda shown: _labelled(image, shown, classes))


def _labelled(image: Boxes, shown: tuple[int, int], classes: Classes) -> Annotation:
    """The boxes of these classes, cut at the picture's border, and what was dropped by cause. ValueError for an object
    of another class where these are not left out."""
    odd = next((box.name for box in image.boxes if box.name not in classes.names), None)
    if odd is not None and not classes.others:
        raise ValueError(f"has an object {shown_name(odd)}, which is none of the classes")
    told = not image.shares and image.width >= 1 and image.height >= 1
    width, height = (int(image.width), int(image.height)) if told else (shown[1], shown[0])
    boxes: list[Box] = []
    dropped: list[str] = []
    for box in image.in_pixels(width, height).boxes:
        left, top, right, bottom = box.corners
        cut = (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
        if box.name not in classes.names:
            dropped.append("of another class")
        elif cut[2] <= cut[0] or cut[3] <= cut[1]:
            dropped.append("without area")
        else:
            boxes.append(Box(classes.names.index(box.name) + 1, cut, box.difficult))
    return Annotation(boxes, dropped, (width, height))
