"""What `data check` must know of databases and lists: one look at every record, on all cores.

Of a record stays its name (the key without its number), a digest of its picture, its size and its classes: some 200
bytes, so a million records fit.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from provision.data.backends import reader
from provision.data.datum import Datum, decode
from provision.data.extras import extra
from provision.data.lists import load
from provision.data.mean import planes
from provision.data.parallel import ordered, tracked
from provision.data.pictures import BadPictureError, classes_of, content
from provision.data.sizes import size_of

Size = tuple[int, ...]  # channels, height, width; of files height, width


class Seen(NamedTuple):
    """One record. `values` counts the classes of its pixels where it is a label picture, else holds its label."""

    key: str
    name: str
    digest: bytes = b""
    size: Size = ()
    values: dict[int, int] = {}  # noqa: RUF012  a NamedTuple's defaults are not shared state: nobody writes to them
    bad: str = ""


class Scan(NamedTuple):
    """All records of a database or list, in order."""

    where: str
    records: list[Seen]

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
        seen = ordered(lambda pair: _record(pair, pixels), source.items())
        return Scan(str(folder), list(tracked(seen, len(source), folder.name)))
    finally:
        source.close()


def listed(path: Path, root: Path | None) -> tuple[Scan, Scan | None]:
    """Scan a list's pictures, and its label pictures where it is a list of pairs."""
    found = load(path, root=root)
    images = ordered(lambda entry: _file(found.root / entry.path, entry.path, {entry.label: 1}), found.entries)
    scan = Scan(str(path), list(tracked(images, len(found.entries), path.name)))
    if found.kind != "pairs":
        return scan, None
    labels = ordered(lambda entry: _label_file(found.root / entry.label_path, entry.path), found.entries)
    return scan, Scan(f"{path}, label pictures", list(tracked(labels, len(found.entries), "label pictures")))


def _record(pair: tuple[bytes, bytes], pixels: bool) -> Seen:
    key = pair[0].decode(errors="replace")
    number, _, rest = key.partition("_")
    name = rest if number.isdigit() else key
    try:
        datum = decode(pair[1])
        digest = hashlib.blake2b(datum.data or datum.floats, digest_size=16).digest()
        if not pixels:
            return Seen(key, name, digest, _size(datum), {datum.label: 1})
        picture = planes(datum)
        return Seen(key, name, digest, picture.shape, _counted(picture))
    except (BadPictureError, ValueError) as error:
        return Seen(key, name, bad=str(error))


def _file(path: Path, name: str, values: dict[int, int]) -> Seen:
    try:
        return Seen(name, name, hashlib.blake2b(content(path), digest_size=16).digest(), size_of(path), values)
    except BadPictureError as error:
        return Seen(name, name, bad=str(error))


def _label_file(path: Path, name: str) -> Seen:
    try:
        picture = classes_of(path)
        return Seen(name, name, b"", picture.shape, _counted(picture))
    except BadPictureError as error:
        return Seen(name, name, bad=f"label picture {path} {error}")


def _size(datum: Datum) -> Size:
    """The size of a record's picture: from its head where it is encoded. BadPictureError where it is none."""
    if not datum.encoded:
        told = datum.channels * datum.height * datum.width
        held = len(datum.floats) // 4 if datum.floats else len(datum.data)
        if told != held or not held:
            raise BadPictureError(f"holds {held} values, not {datum.channels} x {datum.height} x {datum.width}")
        return datum.channels, datum.height, datum.width
    try:
        with extra("PIL.Image").open(BytesIO(datum.data)) as opened:
            return len(opened.getbands()), opened.height, opened.width
    except (OSError, SyntaxError, ValueError):
        raise BadPictureError("holds an encoded picture that cannot be decoded") from None


def _counted(picture: Any) -> dict[int, int]:
    values, counts = extra("numpy").unique(picture, return_counts=True)
    return dict(_pairs(values, counts))


def _pairs(values: Any, counts: Any) -> Iterator[tuple[int, int]]:
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        yield int(value), int(count)
