"""The records of a database, as far as a net's rules look at them."""

from pathlib import Path
from typing import Any

from infra.errors import UsageError
from provision.data.datum import Datum
from provision.data.extras import extra
from provision.lint.case import Records, source_of
from provision.net import graph
from provision.net.text import Message

_LOOKED = 20_000


JUDGES = ("SoftmaxWithLoss", "Accuracy", "InfogainLoss", "MultinomialLogisticLoss", "HingeLoss")


def records(net: Message, data: Path | None) -> dict[str, Records]:
    """What the databases of a net hold, by the names that the net gives them; absent ones are left out.

    UsageError where `data` is not a folder, or a record is no picture.
    """
    if data is None:
        return {}
    if not data.is_dir():
        raise UsageError(f"--data {data} is not a folder", "name the folder that is /data in the training")
    layers = graph.every(net)
    pictures = {name for layer in layers if layer.type in JUDGES for name in layer.bottoms[1:2]}
    found = {}
    for layer in layers:
        source = source_of(layer)
        if source and source not in found and (place := _place(source, data)) is not None:
            found[source] = _look(place, pixels=bool(pictures & set(layer.tops[:1])))
    return found


def _place(source: str, data: Path) -> Path | None:
    """/data/NAME is NAME in the data's folder; other paths as they are, or by their last part."""
    inner = source.removeprefix("/data/") if source.startswith("/data/") else source
    places = [data / inner.lstrip("/"), Path(source), data / Path(source).name]
    return next((place for place in places if place.is_dir()), None)


def _look(place: Path, pixels: bool) -> Records:
    from provision.data.backends import reader
    from provision.data.datum import decode

    base = reader(place)
    labels: set[int] = set()
    shape: tuple[int, ...] = ()
    looked = 0
    try:
        for looked, (_, value) in enumerate(base.items(), 1):
            datum = decode(value)
            shape = shape or _shape(datum)
            labels |= _pixels(datum) if pixels else _labels(value, datum)
            if looked >= _LOOKED:
                break
        return Records(shape or (0, 0, 0), len(base), frozenset(labels), looked)
    except ValueError as error:
        raise UsageError(
            f"{place} holds a record that is no picture: {error}", "make the database again: provision data lmdb"
        ) from error
    finally:
        base.close()


def _shape(datum: "Datum") -> tuple[int, ...]:
    if not datum.encoded:
        return datum.channels, datum.height, datum.width
    picture = _picture(datum)
    return (1 if picture.ndim == 2 else picture.shape[2], *picture.shape[:2])


def _labels(value: bytes, datum: "Datum") -> set[int]:
    """The record's label; of SSD's AnnotatedDatum those of its boxes (field 1 of each annotation_group, field 3)."""
    from provision.data.datum import fields

    parts = fields(value)
    if not any(number == 1 and isinstance(part, bytes) for number, part in parts):
        return {datum.label}
    groups = [fields(part) for number, part in parts if number == 3 and isinstance(part, bytes)]
    return {label for group in groups for number, label in group if number == 1 and isinstance(label, int)}


def _pixels(datum: "Datum") -> set[int]:
    """The labels in a label picture. Bytes are counted as a set, which needs no library."""
    return set(datum.data) if not datum.encoded else set(_picture(datum).tobytes())


def _picture(datum: "Datum") -> Any:
    picture = extra("cv2").imdecode(extra("numpy").frombuffer(datum.data, "uint8"), -1)
    if picture is None:
        raise ValueError("a picture that cannot be decoded")
    return picture
