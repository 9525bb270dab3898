"""The mean picture of a database, as Caffe's compute_image_mean makes it, byte for byte: `provision data mean`.

The sum is kept in floats of 4 bytes and grows record by record, as there: beyond 65,793 pictures such a sum is
rounded, and another order or precision would give other bytes.
"""

from pathlib import Path
from typing import Any

import msgspec

from infra.errors import UsageError
from provision.data.backends import reader
from provision.data.datum import Datum, decode, decode_blob, encode_blob
from provision.data.extras import extra
from provision.data.heads import BadPictureError
from provision.data.made import expected
from provision.data.parallel import ordered, tracked
from provision.data.pictures import vision
from provision.files.whole import atomic_file


class Mean(msgspec.Struct, frozen=True):
    """The mean of `records` pictures: [channels, height, width], and one number for each channel (blue, green, red)."""

    records: int
    shape: tuple[int, int, int]
    channels: tuple[float, ...]


def mean(database: Path, out: Path, *, npy: bool = False, jobs: int = 0) -> Mean:
    """Write the mean to `out`, and as numpy's array beside it with `npy`. UsageError where pictures differ in size."""
    numpy = extra("numpy")
    _refuse_other(out)
    if npy:
        _refuse_other_array(out.with_suffix(".npy"))
    total, count = _sum(database, jobs)
    average = total / numpy.float32(count)
    with atomic_file(out) as part:
        part.write_bytes(encode_blob(average.tobytes(), *average.shape))
    if npy:
        with atomic_file(out.with_suffix(".npy")) as part, part.open("wb") as file:
            numpy.save(file, average)
    means = tuple(float(mean) for mean in average.reshape(average.shape[0], -1).mean(axis=1, dtype=numpy.float64))
    return Mean(count, average.shape, means)


def _refuse_other(out: Path) -> None:
    """UsageError where `out` is a file that is no mean: to write over it (a data.mdb) would lose it."""
    if not out.is_file():
        return
    try:
        decode_blob(out.read_bytes())
    except (OSError, ValueError):
        raise UsageError(f"{out} is there, and is no mean file", "name a new file") from None


def _refuse_other_array(out: Path) -> None:
    """UsageError where `out` is a file that is no array of numpy's."""
    if out.is_file():
        with out.open("rb") as file:
            if file.read(6) != b"\x93NUMPY":
                raise UsageError(f"{out} is there, and is no array of numpy's", "name another OUT")


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
    if count != (told := expected(database) or count):
        what = f"{database} holds {count} records, and its data.json says {told}: a part of it is lost"
        raise UsageError(what, "copy it again, or make it again: provision data lmdb")
    return total, count


def planes(datum: Datum) -> Any:
    """A record's picture as Caffe decodes it: [channels, height, width], bytes or floats.

    BadPictureError where it cannot be decoded.
    """
    numpy = extra("numpy")
    if datum.encoded:
        pixels = _decoded(datum.data)
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    shape = (datum.channels, datum.height, datum.width)
    flat = numpy.frombuffer(datum.floats, "<f4") if datum.in_floats else numpy.frombuffer(datum.data, numpy.uint8)
    if not flat.size:
        raise BadPictureError("holds no picture")
    if flat.size != shape[0] * shape[1] * shape[2]:
        raise BadPictureError(f"holds {flat.size} values where {shape[0]} x {shape[1]} x {shape[2]} are announced")
    if datum.in_floats and not numpy.isfinite(flat).all():
        raise BadPictureError("holds floats that are no numbers (NaN, infinity): nothing can be learnt with them")
    return flat.reshape(shape)


def _decoded(data: bytes) -> Any:
    """The picture of a file's bytes, as they lie in it. BadPictureError where Caffe could not use it."""
    numpy, cv2 = extra("numpy"), vision()
    try:
        pixels = cv2.imdecode(numpy.frombuffer(data, numpy.uint8), -1) if data else None
    except cv2.error:
        pixels = None
    if pixels is None:
        raise BadPictureError("holds an encoded picture that cannot be decoded")
    if pixels.dtype != numpy.uint8:
        raise BadPictureError(f"holds an encoded picture of {8 * pixels.itemsize} bits, and Caffe reads 8 alone")
    return pixels


def _words(pixels: Any) -> str:
    return " x ".join(str(side) for side in pixels.shape)
