"""Images with boxes as LMDB databases of SSD's `AnnotatedDatum`, and the label map that goes with them.

The records are those of the fork's own convert_annoset (`--anno_type=detection --encoded`): the image's file as it is,
and its boxes as shares of the image, one group for each class in the order in which it first occurs. Three things are
mended: coordinates that are no whole numbers (VOC2012 has some; the tool reads them as 0), a `difficult` that comes
after the box (the tool forgets it), and boxes that reach over the border (they are cut).

The message's fields are few, so it is written by hand, as in `lmdb_writer`.
"""

import json
import os
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from infra.border import read_text
from infra.errors import UsageError
from provision import console
from provision.data.extras import extra
from provision.data.lmdb_writer import varint
from provision.files.folders import atomic_folder

_VARINT, _BYTES, _FIXED32 = 0, 2, 5
_AT_ONCE = 64
_COMMIT = 1000
_ROOM = 1 << 40  # of addresses: the file grows as it is filled


@dataclass(frozen=True)
class Box:
    """An object: its label from 1, and xmin, ymin, xmax, ymax in pixels."""

    label: int
    corners: tuple[float, float, float, float]
    difficult: bool = False


@dataclass(frozen=True)
class Annotated:
    """An image file with its boxes; what was `dropped` by cause."""

    path: str
    data: bytes
    width: int
    height: int
    boxes: tuple[Box, ...]
    dropped: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """The message `caffe.AnnotatedDatum`."""
        datum = b"".join(
            (
                _number(1, 3), _number(2, self.height), _number(3, self.width), _text(4, self.data),
                _number(5, -1), _number(7, 1),
            )
        )  # fmt: skip
        labels = dict.fromkeys(box.label for box in self.boxes)
        groups = (self._group(label, [box for box in self.boxes if box.label == label]) for label in labels)
        return b"".join((_text(1, datum), _number(2, 0), *(_text(3, group) for group in groups)))

    def _group(self, label: int, boxes: Sequence[Box]) -> bytes:
        sides = (self.width, self.height, self.width, self.height)
        out = [_number(1, label)]
        for instance, box in enumerate(boxes):
            shares = [
                _float(at, corner / side) for at, (corner, side) in enumerate(zip(box.corners, sides, strict=True), 1)
            ]
            shares.append(_number(6, int(box.difficult)))
            out.append(_text(2, _number(1, instance) + _text(2, b"".join(shares))))
        return b"".join(out)


@dataclass
class Report:
    """What a database holds. `bad` are images that cannot be read, with the reason."""

    images: int = 0
    boxes: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    without: int = 0
    bad: list[str] = field(default_factory=list)


def _number(tag: int, value: int) -> bytes:
    return varint(tag << 3 | _VARINT) + varint(value & (1 << 64) - 1)


def _text(tag: int, value: bytes) -> bytes:
    return varint(tag << 3 | _BYTES) + varint(len(value)) + value


def _float(tag: int, value: float) -> bytes:
    return varint(tag << 3 | _FIXED32) + struct.pack("<f", value)


# reading


def read_list(path: Path) -> list[tuple[str, str]]:
    """Pairs of image and annotation, as `provision data voc-lists` writes them. UsageError for another line."""
    pairs = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        image, _, annotation = line.strip().rpartition(" ")
        if not image:
            raise UsageError(
                f"{path}:{number}: {line.strip()!r} is not an image and an annotation",
                "write `IMAGE ANNOTATION.xml` on a line",
            )
        pairs.append((image, annotation))
    if not pairs:
        raise UsageError(f"{path} is empty", "write `IMAGE ANNOTATION.xml` on each line")
    return pairs


def boxes_of(text: str, names: Sequence[str], width: int, height: int, others: bool) -> tuple[list[Box], list[str]]:
    """The boxes of a VOC annotation, and what was dropped, by cause. `others`: classes beside `names` are left out.

    ValueError for an unknown class otherwise, and for what is no annotation.
    """
    found, dropped = [], []
    try:
        objects = ElementTree.fromstring(text).findall("object")
    except ElementTree.ParseError as error:
        raise ValueError(f"is no XML: {error}") from error
    for element in objects:
        name = (element.findtext("name") or "").strip()
        if name not in names:
            if not others:
                raise ValueError(f"has an object {name!r}, which is none of the classes")
            dropped.append("of another class")
            continue
        left, top, right, bottom = _corners(element)
        cut = (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
        if cut[2] <= cut[0] or cut[3] <= cut[1]:
            dropped.append("without area")
            continue
        found.append(Box(names.index(name) + 1, cut, (element.findtext("difficult") or "").strip() == "1"))
    return found, dropped


def _corners(element: ElementTree.Element) -> list[float]:
    """The corners of an object's box, rounded: convert_annoset knows whole numbers alone. ValueError without them."""
    try:
        return [round(float(element.findtext(f"bndbox/{key}") or "")) for key in ("xmin", "ymin", "xmax", "ymax")]
    except ValueError as error:
        raise ValueError("has an object without the four corners of its box") from error


def read(root: Path, pair: tuple[str, str], names: Sequence[str], others: bool) -> Annotated | str:
    """The image with its boxes, or why it cannot be used."""
    image, annotation = pair
    try:
        data = (root / image).read_bytes()
        width, height = _size(data)
        text = (root / annotation).read_text(encoding="utf-8")
        boxes, dropped = boxes_of(text, names, width, height, others)
    except FileNotFoundError as error:
        return f"{error.filename} is not there"
    except (OSError, SyntaxError) as error:  # Pillow's for a broken PNG
        return f"{image} is no whole image: {error}"
    except ValueError as error:
        return f"{annotation} {error}"
    return Annotated(image, data, width, height, tuple(boxes), tuple(dropped))


def _size(data: bytes) -> tuple[int, int]:
    """Width and height, of an image that was read to its end. A JPEG is decoded at an eighth, which costs little."""
    import io

    with extra("PIL.Image").open(io.BytesIO(data)) as image:
        width, height = image.size
        image.draft("RGB", (max(width // 8, 1), max(height // 8, 1)))
        image.load()
    return int(width), int(height)


# writing


def prepare(
    target: Path, train: Path, test: Path, root: Path, names: Sequence[str], *, others: bool = False,
    strict: bool = False, jobs: int = 4,
) -> dict[str, Any]:  # fmt: skip
    """Make the folder with train_lmdb, test_lmdb, labelmap.prototxt and data.json, whole or not at all.

    The result is what data.json says.

    Images that cannot be used are listed in bad.txt and left out; UsageError for them where `strict`, and where none
    is left.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is there already", "name a new folder, or remove this one")
    pairs = {"train": read_list(train), "test": read_list(test)}
    shared = len({image for image, _ in pairs["train"]} & {image for image, _ in pairs["test"]})
    with atomic_folder(target) as part:
        reports = {
            kind: _database(part / f"{kind}_lmdb", kind, pairs[kind], root, names, others, strict, jobs)
            for kind in pairs
        }
        bad = [line for report in reports.values() for line in report.bad]
        if bad:
            (part / "bad.txt").write_text("\n".join(bad) + "\n", encoding="utf-8")
        (part / "labelmap.prototxt").write_text(labelmap(names), encoding="utf-8")
        facts = {
            "data": "boxes", "classes": list(names), **{kind: report.images for kind, report in reports.items()},
            "boxes": {kind: {name: report.boxes[name] for name in names} for kind, report in reports.items()},
            "dropped": {kind: dict(report.dropped) for kind, report in reports.items()},
            "without_boxes": {kind: report.without for kind, report in reports.items()},
            "bad": len(bad), "in_both": shared,
        }  # fmt: skip
        (part / "data.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return facts


def labelmap(names: Sequence[str]) -> str:
    """Labels and names as the fork reads them; 0 is the background."""
    lines = ['item { name: "none_of_the_above" label: 0 display_name: "background" }']
    lines += [f'item {{ name: "{name}" label: {label} display_name: "{name}" }}' for label, name in enumerate(names, 1)]
    return "\n".join(lines) + "\n"


def _database(
    folder: Path, kind: str, pairs: Sequence[tuple[str, str]], root: Path, names: Sequence[str], others: bool,
    strict: bool, jobs: int,
) -> Report:  # fmt: skip
    report = Report()
    folder.mkdir()  # lmdb would make it with the files' mode, and nobody could enter
    with extra("lmdb").open(os.fsencode(folder), map_size=_ROOM, mode=0o644) as env:
        for records in _commits(_records(kind, pairs, root, names, others, strict, jobs, report)):
            with env.begin(write=True) as txn:
                for key, value in records:
                    txn.put(key, value, append=True)
    (folder / "lock.mdb").unlink()
    if not report.images:
        raise UsageError(f"no image of the {kind} list can be used: {report.bad[0]}", "look at the list and --root")
    return report


def _commits(records: Iterator[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    while some := list(islice(records, _COMMIT)):
        yield some


def _records(
    kind: str, pairs: Sequence[tuple[str, str]], root: Path, names: Sequence[str], others: bool, strict: bool,
    jobs: int, report: Report,
) -> Iterator[tuple[bytes, bytes]]:  # fmt: skip
    for number, picture in enumerate(_ahead(kind, pairs, root, names, others, jobs)):
        if isinstance(picture, str):
            if strict:
                raise UsageError(picture, "mend the file; or leave out --strict, and bad.txt lists it")
            report.bad.append(picture)
            continue
        report.images += 1
        report.without += not picture.boxes
        report.boxes.update(names[box.label - 1] for box in picture.boxes)
        report.dropped.update(picture.dropped)
        yield b"%08d_%s" % (number, picture.path.encode()), picture.encode()


def _ahead(
    kind: str, pairs: Sequence[tuple[str, str]], root: Path, names: Sequence[str], others: bool, jobs: int
) -> Iterable[Annotated | str]:
    """Read images on several threads, in order, some dozens ahead."""
    done = 0
    with ThreadPoolExecutor(jobs) as pool:
        for at in range(0, len(pairs), _AT_ONCE):
            some = pairs[at : at + _AT_ONCE]
            yield from pool.map(lambda pair: read(root, pair, names, others), some)
            before, done = done, done + len(some)
            if done * 10 // len(pairs) != before * 10 // len(pairs) and len(pairs) > 10 * _AT_ONCE:
                console.line(f"  {kind}: {done:,} of {len(pairs):,} images")
