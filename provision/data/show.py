"""What is in a database: `provision data lmdb-show`."""

import hashlib
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

from infra.disk import writing
from infra.errors import UsageError
from provision import console
from provision.data import voc
from provision.data.backends import reader
from provision.data.datum import Datum, boxes, decode
from provision.data.extras import extra
from provision.data.heads import BadPictureError
from provision.data.made import expected
from provision.data.mean import planes
from provision.data.pictures import vision
from provision.files.whole import atomic_file

_LONGEST = 240  # bytes of a file's name, with room for .png and what stands around it while it is written


def look(folder: Path, count: int) -> dict[str, Any]:
    """Records, sizes, how they are stored, labels and how often each occurs, and the first `count` records.

    Labels of label pictures are those of their pixels, of SSD's records those of their boxes. Sizes of encoded pictures
    are told of the first ones only: the others would have to be decoded.
    """
    source = reader(folder)
    try:
        records, labels, sizes, stored = 0, Counter[int](), Counter[str](), Counter[str]()
        pixels = False
        for key, value in source.items():
            datum = _datum(folder, key, value)
            pixels = _holds_classes(datum) if not records else pixels
            objects = boxes(value)
            if objects is not None:
                labels.update(objects)
            else:
                labels.update(_pixels(datum) if pixels else {datum.label: 1})
            stored[kind(datum)] += 1
            records += 1
            if not datum.encoded:
                sizes[f"{datum.channels} x {datum.height} x {datum.width}"] += 1
        return {
            "database": str(folder),
            "backend": source.backend,
            "records": records,
            "lost": max(0, (expected(folder) or 0) - records),
            "stored": dict(stored.most_common()),
            "sizes": dict(sizes.most_common()),
            "label_pictures": pixels,
            "labels": {str(label): labels[label] for label in sorted(labels)},
            "first": [_row(key, decode(value)) for key, value in islice(source.items(), count)],
        }
    finally:
        source.close()


def summary(told: dict[str, Any]) -> str:
    """A few lines for people."""
    lines = [f"{told['database']}: {told['records']} records ({told['backend']})"]
    if told["lost"]:
        lines.append(f"  {told['lost']} more are in its data.json: a part of the database is lost")
    for name in ("stored", "sizes", "labels"):
        words = [f"{key} ({number})" for key, number in told[name].items()]
        if words:
            what = "pixels of each label" if name == "labels" and told["label_pictures"] else name
            lines.append(f"  {what}: {', '.join(words[:25])}{' …' if len(words) > 25 else ''}")
    return "\n".join(lines)


def save(folder: Path, count: int, out: Path) -> list[Path]:
    """The first `count` pictures as PNG in `out`; pictures of classes in VOC's colours. The paths of those saved."""
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    source = reader(folder)
    try:
        made = [_save(folder, key, value, out) for key, value in islice(source.items(), count)]
        return [path for path in made if path is not None]
    finally:
        source.close()


def kind(datum: Datum) -> str:
    """How a record holds its picture."""
    if not datum.encoded:
        return "floats" if datum.in_floats else "raw"
    for head, name in ((b"\xff\xd8", "encoded jpg"), (b"\x89PNG", "encoded png")):
        if datum.data.startswith(head):
            return name
    return "encoded, other"


def _datum(folder: Path, key: bytes, value: bytes) -> Datum:
    try:
        return decode(value)
    except ValueError as error:
        name = key.decode(errors="replace")
        raise UsageError(
            f"{folder}: the record {name} is {error}",
            "make the database again: Caffe's Data layer cannot read this record either",
        ) from None


def _holds_classes(datum: Datum) -> bool:
    """Whether a record is a label picture: no label of its own, one channel, nothing but VOC's classes in it."""
    if datum.label or datum.in_floats:
        return False
    try:
        pixels = planes(datum)
    except BadPictureError:
        return False
    return pixels.shape[0] == 1 and _are_classes(pixels)


def _are_classes(pixels: Any) -> bool:
    return bool(((pixels < len(voc.CLASSES)) | (pixels == voc.IGNORE)).all())


def _pixels(datum: Datum) -> dict[int, int]:
    try:
        counts = extra("numpy").bincount(planes(datum).ravel(), minlength=256)
    except BadPictureError:
        return {}
    return {value: int(number) for value, number in enumerate(counts) if number}


def _row(key: bytes, datum: Datum) -> dict[str, Any]:
    try:
        channels, height, width = planes(datum).shape
        stored = kind(datum)
    except BadPictureError as error:
        channels, height, width, stored = datum.channels, datum.height, datum.width, str(error)
    return {
        "key": key.decode(errors="replace"),
        "channels": channels,
        "height": height,
        "width": width,
        "stored": stored,
        "bytes": len(datum.floats if datum.in_floats else datum.data),
        "label": datum.label,
    }


def _save(folder: Path, key: bytes, value: bytes, out: Path) -> Path | None:
    name = key.decode(errors="replace").replace("/", "_").replace("\0", "_")
    try:
        pixels = _drawable(planes(_datum(folder, key, value)))
    except BadPictureError as error:
        console.line(f"{name} {error}")
        return None
    if len(name.encode()) > _LONGEST:
        name = name.encode()[: _LONGEST - 9].decode(errors="ignore") + "-" + hashlib.sha256(key).hexdigest()[:8]
    path = out / f"{name}.png"
    with atomic_file(path) as part:
        part.write_bytes(vision().imencode(".png", pixels)[1])
    return path


def _drawable(pixels: Any) -> Any:
    """Height x width x (blue, green, red), or height x width."""
    numpy = extra("numpy")
    if pixels.dtype != numpy.uint8:
        low, high = float(pixels.min()), float(pixels.max())
        pixels = ((pixels - low) * (255 / ((high - low) or 1))).astype(numpy.uint8)
    if pixels.shape[0] == 3:
        return numpy.ascontiguousarray(pixels.transpose(1, 2, 0))
    plane = pixels[0]
    if _are_classes(plane):
        return numpy.array(voc.PALETTE, numpy.uint8)[plane][..., ::-1]
    return plane
