"""The mean picture of a database, as Caffe's compute_image_mean makes it, byte for byte: `provision data mean`.

The sum is kept in floats of 4 bytes and grows record by record, as there: beyond 65,793 pictures such a sum is
rounded, and another order or precision would give other bytes.
"""

from pathlib import Path
from typing import Any

import msgspec

from infra.disk import writing
from infra.errors import UsageError
from provision.data.backends import reader
from provision.data.datum import Datum, decode, encode_blob
from provision.data.extras import extra
from provision.data.parallel import ordered, tracked
from provision.data.pictures import BadPictureError, vision


class Mean(msgspec.Struct, frozen=True):
    """The mean of `records` pictures: [channels, height, width], and one number for each channel (blue, green, red)."""

    records: int
    shape: tuple[int, int, int]
    channels: tuple[float, ...]


def mean(database: Path, out: Path, *, npy: bool = False, jobs: int = 0) -> Mean:
    """Write the mean to `out`, and as numpy's array beside it with `npy`. UsageError where pictures differ in size."""
    numpy = extra("numpy")
    total, count = _sum(database, jobs)
    average = total / numpy.float32(count)
    out.parent.mkdir(parents=True, exist_ok=True)
    _put(out, encode_blob(average.tobytes(), *average.shape))
    if npy:
        with writing(out):
            numpy.save(out.with_suffix(".npy"), average)
    means = tuple(float(mean) for mean in average.reshape(average.shape[0], -1).mean(axis=1, dtype=numpy.float64))
    return Mean(count, average.shape, means)


def _put(path: Path, data: bytes) -> None:
    with writing(path):
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(data)
        part.replace(path)


def _sum(database: Path, jobs: int) -> tuple[Any, int]:
    """The sum of all pictures, [channels, height, width] floats, and their number."""
    numpy = extra("numpy")
    source = reader(database)
    try:
        total, count = None, 0
        pictures = ordered(lambda pair: (pair[0], planes(decode(pair[1]))), source.items(), jobs)
        for key, pixels in tracked(pictures, len(source), "pictures"):
            if total is None:
                total = numpy.zeros(pixels.shape, numpy.float32)
            if pixels.shape != total.shape:
                raise UsageError(
                    f"{database}: {key.decode(errors='replace')} is {_words(pixels)}, the first is {_words(total)}",
                    "make the database again with --resize HEIGHT WIDTH or --pad SIZE",
                )
            total += pixels
            count += 1
    except (BadPictureError, ValueError) as error:
        raise UsageError(f"{database}: {error}", f"provision data check {database}") from None
    finally:
        source.close()
    if total is None:
        raise UsageError(f"{database} is empty", "make it again: provision data lmdb")
    return total, count


def planes(datum: Datum) -> Any:
    """A record's picture as Caffe decodes it: [channels, height, width], bytes or floats.

    BadPictureError where it cannot be decoded.
    """
    numpy = extra("numpy")
    if datum.encoded:
        pixels = vision().imdecode(numpy.frombuffer(datum.data, numpy.uint8), -1) if datum.data else None
        if pixels is None:
            raise BadPictureError("holds an encoded picture that cannot be decoded")
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    shape = (datum.channels, datum.height, datum.width)
    flat = numpy.frombuffer(datum.floats, "<f4") if datum.floats else numpy.frombuffer(datum.data, numpy.uint8)
    if flat.size != shape[0] * shape[1] * shape[2]:
        raise BadPictureError(f"holds {flat.size} values where {shape[0]} x {shape[1]} x {shape[2]} are announced")
    return flat.reshape(shape)


def _words(pixels: Any) -> str:
    return " x ".join(str(side) for side in pixels.shape)
