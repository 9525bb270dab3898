"""What can be wrong with annotations in COCO's form, for Detectron: a table; and what was found of it.

An `error` stops a training or spoils it; of a `warning` Detectron drops something without a word; a `note` is to be
known. `provision.data.coco_check` says where each rule is from.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

Level = Literal["error", "warning", "note"]

_EXAMPLES = 3
_FIX = "--fix OUT.json"
_LEVELS = ("error", "warning", "note")


@dataclass(frozen=True)
class CocoFault:
    """One thing that is wrong: how many times, and some places."""

    level: Level
    what: str
    count: int
    mend: str
    examples: list[str]


@dataclass(frozen=True)
class Kind:
    """A thing that can be wrong."""

    level: Level
    what: str
    mend: str


@dataclass
class CocoFaults:
    """What was found, by its kind."""

    counts: Counter[Kind] = field(default_factory=Counter)
    places: dict[Kind, list[str]] = field(default_factory=dict)

    def add(self, kind: Kind, place: object) -> None:
        self.counts[kind] += 1
        if self.counts[kind] <= _EXAMPLES:
            self.places.setdefault(kind, []).append(str(place))

    def listed(self) -> list[CocoFault]:
        """The faults that were found, errors first."""
        kinds = sorted(self.counts, key=lambda kind: _LEVELS.index(kind.level))
        return [CocoFault(kind.level, kind.what, self.counts[kind], kind.mend, self.places[kind]) for kind in kinds]


NOT_A_MAPPING = Kind("error", "an entry that is no mapping", "write the file anew")
TWICE = {
    "images": Kind(
        "error", "two pictures with one id: the first is forgotten, and its boxes count for the second", _FIX
    ),
    "annotations": Kind("error", "two annotations with one id: the first is forgotten", _FIX),
    "categories": Kind("error", "two categories with one id", "give each a number of its own"),
}
NO_ID = "an id that is no whole number"
TEXT_ID = Kind("error", 'an id as a text ("7") or with a point (7.0): pycocotools takes a text for its letters', _FIX)
MARKED = Kind("error", "the file begins with a byte order mark: Detectron's reader of JSON stops", _FIX)
NO_NAME = Kind("error", "a picture's file_name is no name", "write the file's name, or leave the picture out")
FILE_TWICE = Kind("warning", "two pictures of one file", "are they the same? keep one")
ELSEWHERE = Kind("warning", "a file_name outside of the pictures' folder", "write it relative to the folder")
NO_SIZE = Kind("error", "a picture's width or height is no number above 0", "write its size, or leave the picture out")
MISSING = Kind("error", "a picture that is not in the folder", "give the right --images; --fix leaves these out")
UNREADABLE = Kind("error", "a file that is no picture", "fetch it again, or leave the picture out")
OTHER_SIZE = Kind("error", "a picture of another size than the file says: boxes lie elsewhere", "write its real size")
STORED_SIZE = Kind(
    "error", "a photo that its EXIF turns, annotated as it is stored: Detectron turns it, and boxes lie elsewhere",
    "take the turn out of the file: exiftool -n -Orientation=1 FILE",
)  # fmt: skip
TURNED = Kind(
    "note", "a photo that its EXIF turns, annotated as it is shown: right for Detectron; others may not turn it", ""
)
LOST = Kind("warning", "an annotation of a picture that is not in the file: never seen", _FIX)
NO_CATEGORY = Kind(
    "error", "an annotation of a category that is not in the file", "add the category; --fix drops these"
)
NO_BOX = Kind("error", "a bbox that is not four numbers", _FIX)
EMPTY = Kind("warning", "a box without width or height: dropped", _FIX)
TINY = Kind("warning", "a box no more than a pixel wide or high (clipped): dropped", _FIX)
OUTSIDE = Kind("warning", "a box wholly outside of its picture: dropped", _FIX)
SPILLS = Kind("note", "a box that leaves its picture: clipped", _FIX)
NO_AREA = Kind("warning", "an area that is not above 0: dropped", _FIX)
CORNERS = Kind(
    "error", "boxes look like x1, y1, x2, y2, and not x, y, width, height: they leave their pictures",
    "write each box as x1, y1, x2 - x1, y2 - y1",
)  # fmt: skip
SHARES = Kind(
    "error",
    "boxes are shares of the picture (0 to 1), and not pixels",
    "multiply them by the picture's width and height",
)
CROWD = Kind("error", "iscrowd is neither 0 nor 1", _FIX)
IGNORED = Kind("note", "an annotation with ignore 1: dropped", "")
NO_MASK = Kind("warning", "no polygon of three points or more: fails a Mask R-CNN", "train Faster R-CNN with it")
NO_SEGMENTATION = Kind("error", "a segmentation that is neither polygons nor run-length encoded: Detectron stops", _FIX)
NO_POLYGON = Kind(
    "error", "a polygon that is no list of numbers x, y, x, y, …: pycocotools fails on it, or takes all memory", _FIX
)
BAD_RUNS = Kind("error", "a run-length encoded mask that does not fill its picture", _FIX)
FAR = Kind("warning", "polygons that lie elsewhere than their box", "draw one of them anew, or drop the object")
PACKED = Kind("warning", "a mask that is run-length encoded, and iscrowd 0: fails a Mask R-CNN", "make it polygons")
BACKGROUND = Kind(
    "warning", "a category for the background: Detectron adds one itself", "take it out of the categories"
)
NAMELESS = Kind("warning", "a category without a name: scores and other commands know it by none", "write its name")
SAME_NAME = Kind("warning", "two categories of one name", "are they the same? make them one")
UNUSED = Kind("note", "a category without an annotation", "more data, or fewer categories")
BARE = Kind("note", "a picture without an annotation: not trained with", "")
ALL_BOXES = Kind("note", "every polygon is its box: a Mask R-CNN would learn rectangles", "train Faster R-CNN with it")
NOTHING = Kind("error", "no annotation is left to train with", "look at the warnings")


def lacks(what: str, key: str) -> Kind:
    """The kind of a key that is not there."""
    mend = _FIX if key in ("area", "iscrowd", "segmentation") else f"write {key}"
    return Kind("error", f"{what} without {key!r}: Detectron stops with KeyError", mend)
