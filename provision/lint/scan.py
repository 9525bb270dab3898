"""What `data check` must know of databases and lists: one look at every record, on all cores.

Of a record stays its name (the key without its number), a digest of its picture, its size and its classes: some 200
bytes, so a million records fit.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from infra.errors import UsageError
from provision.data import usertext
from provision.data.backends import reader
from provision.data.datum import Datum, boxes, decode
from provision.data.extras import extra
from provision.data.heads import READ_BY_CAFFE, BadPictureError, check_size, content, head
from provision.data.label_pictures import classes_of
from provision.data.lists import Pictures, load
from provision.data.made import expected
from provision.data.mean import planes
from provision.data.orders import boxes_refused
from provision.data.parallel import ordered, tracked

Size = tuple[int, ...]  # channels, height, width; of files height, width


class Seen(NamedTuple):
    """One record. `values` counts the classes of its pixels where it is a label picture, and of its boxes where it has
    such; else it holds its label. `turned`: it is stored lying on its side, or mirrored (EXIF)."""

    key: str
    name: str
    digest: bytes = b""
    size: Size = ()
    values: dict[int, int] = {}  # noqa: RUF012  a NamedTuple's defaults are not shared state: nobody writes to them
    bad: str = ""
    turned: bool = False


class Scan(NamedTuple):
    """All records of a database or list, in order. Of a database also how it is kept, whether its records hold picture
    files or boxes, the names of its classes (labels.txt), and how many records its data.json says that it has."""

    where: str
    records: list[Seen]
    backend: str = ""
    encoded: bool = False
    boxes: bool = False
    names: tuple[str, ...] = ()
    expected: int | None = None

    @property
    def good(self) -> list[Seen]:
        return [record for record in self.records if not record.bad]

    def sizes(self) -> Counter[Size]:
        return Counter(record.size for record in self.good)

    def values(self) -> Counter[int]:
        """How often each class occurs: records, or pixels of label pictures."""
        total: Counter[int] = Counter()
        for record in self.good:
            total.update(record.values)
        return total


def database(folder: Path, *, pixels: bool = False) -> Scan:
    """Scan a database; `pixels` says that its pictures are labels. UsageError where there is none."""
    source = reader(folder)
    try:
        first = next(source.items(), (b"", b""))[1]
        seen = ordered(lambda pair: _record(pair, pixels), source.items())
        records = list(tracked(seen, len(source), folder.name))
        return Scan(
            str(folder), records, source.backend, _encoded(first), boxes(first) is not None, _names(folder),
            expected(folder),
        )  # fmt: skip
    finally:
        source.close()


def listed(path: Path, root: Path | None) -> tuple[Scan, Scan | None]:
    """Scan a list's pictures, and its label pictures where it is a list of pairs."""
    found = load(path, root=root)
    if found.kind == "boxes":
        raise boxes_refused(path)
    images = ordered(lambda entry: _file(found, entry.path, {entry.label: 1}), found.entries)
    scan = Scan(str(path), list(tracked(images, len(found.entries), path.name)))
    if found.kind != "pairs":
        return scan, None
    labels = ordered(lambda entry: _label_file(found.label_at(entry), entry.path), found.entries)
    return scan, Scan(f"{path}, label pictures", list(tracked(labels, len(found.entries), "label pictures")))


def _names(folder: Path) -> tuple[str, ...]:
    """The classes' names that stand beside the records."""
    try:
        return tuple(name for _, name in usertext.lines(folder / "labels.txt"))
    except UsageError:
        return ()


def _encoded(message: bytes) -> bool:
    try:
        return bool(decode(message).encoded)
    except ValueError:
        return False


def _record(pair: tuple[bytes, bytes], pixels: bool) -> Seen:
    key = pair[0].decode(errors="replace")
    number, _, rest = key.partition("_")
    name = rest if rest and number.isdigit() else key
    try:
        datum = decode(pair[1])
        digest = hashlib.blake2b(datum.data or datum.floats, digest_size=16).digest()
        if pixels:
            picture = planes(datum)
            return Seen(key, name, digest, picture.shape, _counted(picture))
        found = boxes(pair[1])
        size, turned = _size(datum)
        return Seen(key, name, digest, size, {datum.label: 1} if found is None else found, turned=turned)
    except (BadPictureError, ValueError) as error:
        return Seen(key, name, bad=str(error))


def _file(found: Pictures, name: str, values: dict[int, int]) -> Seen:
    path = found.at(name)
    try:
        digest = hashlib.blake2b(content(path), digest_size=16).digest()
        found_head = head(path)
        check_size(found_head.height, found_head.width)
        return Seen(name, name, digest, found_head.shown, values)
    except BadPictureError as error:
        return Seen(name, name, bad=str(error))


def _label_file(path: Path, name: str) -> Seen:
    try:
        picture = classes_of(path)
        return Seen(name, name, b"", picture.shape, _counted(picture))
    except BadPictureError as error:
        return Seen(name, name, bad=f"label picture {path} {error}")


def _size(datum: Datum) -> tuple[Size, bool]:
    """The size of a record's picture, and whether EXIF turns it: from its head where it is encoded. BadPictureError
    where Caffe can make nothing of it."""
    if not datum.encoded:
        told = datum.channels * datum.height * datum.width
        held = len(datum.floats) // 4 if datum.in_floats else len(datum.data)
        if told != held or not held:
            raise BadPictureError(f"holds {held} values, not {datum.channels} x {datum.height} x {datum.width}")
        if datum.in_floats:
            planes(datum)  # NaN
        return (datum.channels, datum.height, datum.width), False
    try:
        found = head(datum.data)
    except BadPictureError:
        raise BadPictureError("holds an encoded picture that cannot be decoded") from None
    if found.kind not in READ_BY_CAFFE:
        raise BadPictureError(f"holds a {found.kind}, which Caffe's OpenCV may not decode")
    if found.bits > 8:
        raise BadPictureError(f"holds an encoded picture of {found.bits} bits, and Caffe reads 8 alone")
    return (found.channels, found.height, found.width), found.orientation > 1


def _counted(picture: Any) -> dict[int, int]:
    values, counts = extra("numpy").unique(picture, return_counts=True)
    return dict(_pairs(values, counts))


def _pairs(values: Any, counts: Any) -> Iterator[tuple[int, int]]:
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        yield int(value), int(count)
