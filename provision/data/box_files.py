"""Images with boxes from whatever they were drawn with: VOC's XML, COCO, YOLO, labelme; by the form that a source has.

source                                           form
FILE.yaml                                        yolo: Ultralytics' file of data
FILE.json with `images` and `annotations`        coco
FILE.json with `shapes`, or a folder of such     labelme
a list of images and XML files, a folder of XML  voc
a list of images, a folder of images             yolo: with files of labels
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from infra.errors import UsageError
from provision.data import box_coco, box_labelme, box_voc, box_yolo, usertext
from provision.data.box_set import BoxSet, pictures
from provision.data.lines import SUFFIXES

_LOOKED_AT = 3  # files of a folder

FORMS = ("voc", "coco", "yolo", "labelme")


def read(
    source: Path, root: Path, form: str = "", split: Literal["train", "test"] = "train", names: Sequence[str] = ()
) -> BoxSet:
    """The images and classes of a source. `form` is seen where it is not given. `root`: what paths are relative to.
    `split` is for a YAML file, which has both; `names` are the classes of YOLO's numbers, where no file tells them.

    UsageError for what is none of the forms, for two classes of one name, and for a source without an object.
    """
    form = form or form_of(source)
    if form == "coco":
        found = box_coco.read(source)
    elif form == "labelme":
        found = box_labelme.read(source, root)
    elif form == "voc":
        found = box_voc.read(source, root)
    else:
        found = box_yolo.read(source, root, split, names)
    if twice := next((name for name in found.names if found.names.count(name) > 1), None):
        raise UsageError(f"{source} has two classes of one name, {twice}", "make them one, or give each its own name")
    if _shares(found):
        raise UsageError(
            f"{source} has boxes between 0 and 1 (read as {form})", "write them in pixels, as this form has them"
        )
    if not any(image.boxes for image in found.images):
        raise UsageError(
            f"{source} has no object in {len(found.images)} images (read as {form})", "is it the right one?"
        )
    return found


def _shares(found: BoxSet) -> bool:
    """Whether all boxes of a form in pixels lie within its first pixel: they are shares of the picture."""
    corners = [corner for image in found.images for box in image.boxes for corner in box.corners]
    in_pixels = found.form != "voc" and not any(
        image.shares for image in found.images
    )  # of VOC's each file is looked at
    return bool(corners) and in_pixels and min(corners) >= 0 and max(corners) <= 2 and any(c % 1 for c in corners)


def form_of(source: Path) -> str:
    """The form that a source has. UsageError where it is not there, or has none."""
    if source.is_dir():
        return _folder(source)
    if not source.is_file():
        raise UsageError(f"{source} is not there", "give a file or a folder of annotations")
    suffix = source.suffix.lower()
    if suffix in (".yaml", ".yml"):
        return "yolo"
    if suffix == ".json":
        return "labelme" if box_labelme.is_labelme(source) else "coco"
    lines = usertext.lines(source, "a list of images")
    return "yolo" if lines and lines[0][1].lower().endswith(SUFFIXES) else "voc"


def _folder(source: Path) -> str:
    if any(not path.name.startswith(".") for path in source.rglob("*.xml")):
        return "voc"
    if any(map(box_labelme.is_labelme, box_labelme.files_of(source)[:_LOOKED_AT])):
        return "labelme"
    if any(True for _ in source.rglob("*.txt")) or any(map(box_yolo.labels_of, pictures(source)[:_LOOKED_AT])):
        return "yolo"
    raise UsageError(
        f"{source} has no annotations: neither XML, nor labelme's JSON, nor YOLO's text files",
        "give the folder of the annotations, or a list",
    )
