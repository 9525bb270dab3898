"""Pictures as Caffe's records hold them: read, checked, resized, padded, and packed into a Datum.

The steps are those of Caffe's ReadImageToDatum (src/caffe/util/io.cpp) through the same OpenCV, so that records have
the same bytes as convert_imageset's: blue, green, red; channels first in raw records; JPEG and PNG with OpenCV's
defaults; the file's own bytes where nothing was to be changed. What differs: a file that was cut off is refused, where
libjpeg fills it up with gray and goes on; and a file that Caffe's OpenCV could not decode, or to more than 8 bits, does
not go in as it is.
"""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from provision.data import voc
from provision.data.datum import Datum
from provision.data.extras import extra
from provision.data.heads import LARGEST, READ_BY_CAFFE, BadPictureError, check_size, content, head
from provision.data.label_pictures import classes_of
from provision.data.lines import SUFFIXES

__all__ = ["LARGEST", "BadPictureError", "Shape", "image_record", "label_record", "pixels_of", "vision"]

_BUFFER = 31 << 20  # bytes; glibc's highest such size is 32 MB


class Shape(msgspec.Struct, frozen=True):
    """What becomes of each picture.

    `resize` is (height, width); `pad` the side of the square that smaller ones are filled up to, at the bottom and the
    right, images with `fill` (blue, green, red) and labels with VOC's ignore label. `encode` is empty for raw records,
    `auto` for the type of each file's name, or a type that OpenCV writes: jpg, png. With `upright` files that EXIF
    turns are stored as they are shown: Caffe decodes the others as they lie, but for force_color.
    """

    resize: tuple[int, int] | None = None
    gray: bool = False
    pad: int = 0
    fill: tuple[int, ...] = (0, 0, 0)
    encode: str = ""
    upright: bool = False


class Packed(NamedTuple):
    """A record; the height and width in it, and those of its file when it is shown."""

    datum: Datum
    size: tuple[int, int]
    file_size: tuple[int, int]


@cache
def vision() -> Any:
    """OpenCV with one thread: ours are on other pictures meanwhile. Its own complaints stay away; we make ours."""
    cv2 = extra("cv2")
    # glibc asks the kernel for each buffer above a size that only a freed one raises: a third of the time went there
    bytearray(_BUFFER)
    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2


def image_record(path: Path, label: int, shape: Shape) -> Packed:
    """An image's record. BadPictureError where the file makes none."""
    data = content(path)
    kind = _type(path, shape.encode)
    if kind and not shape.resize and not shape.pad and _is(path, kind) and _goes_in(data, shape):
        pixels = pixels_of(data, shape.gray)
        return Packed(Datum(0, 0, 0, data, label, True), pixels.shape[:2], pixels.shape[:2])
    pixels = pixels_of(data, shape.gray)
    file_size = pixels.shape[:2]
    if shape.resize:
        pixels = vision().resize(pixels, shape.resize[::-1])
    if shape.pad:
        pixels = padded(pixels, shape.pad, shape.fill[:1] if shape.gray else shape.fill)
    return Packed(_datum(pixels, label, kind), pixels.shape[:2], file_size)


def label_record(path: Path, shape: Shape) -> Packed:
    """A label picture's record, one channel of classes. Encoded means PNG: JPEG would blur classes into others, and so
    would resizing by any but the nearest pixel."""
    pixels = classes_of(path)
    file_size = pixels.shape[:2]
    if shape.resize:
        pixels = vision().resize(pixels, shape.resize[::-1], interpolation=vision().INTER_NEAREST)
    if shape.pad:
        pixels = padded(pixels, shape.pad, (voc.IGNORE,))
    return Packed(_datum(pixels, 0, "png" if shape.encode else ""), pixels.shape[:2], file_size)


def pixels_of(data: bytes, gray: bool) -> Any:
    """Height x width x (blue, green, red), or height x width, of an encoded picture."""
    cv2, numpy = vision(), extra("numpy")
    _check_claim(data)
    flag = cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR
    try:
        pixels = cv2.imdecode(numpy.frombuffer(data, numpy.uint8), flag)
    except cv2.error as error:
        raise BadPictureError(f"cannot be decoded: {' '.join(str(error.err).split())}") from None
    if pixels is None:
        raise BadPictureError("is not a picture, or is damaged")
    if pixels.dtype != numpy.uint8 or pixels.ndim != (2 if gray else 3):  # a PFM by the name of a PPM
        raise BadPictureError("is decoded by OpenCV to other than 8-bit colours: save it as PNG")
    return pixels


def _check_claim(data: bytes) -> None:
    """BadPictureError where the head claims more pixels than memory should be asked for."""
    try:
        claimed = head(data)
    except BadPictureError:
        return  # OpenCV may know it, or says so
    check_size(claimed.height, claimed.width)


def _goes_in(data: bytes, shape: Shape) -> bool:
    """Whether a file is stored as it is: Caffe's OpenCV decodes it, to 8 bits as its Data layer demands, and the right
    way up."""
    try:
        found = head(data)
    except BadPictureError:
        return False
    return found.kind in READ_BY_CAFFE and found.bits == 8 and not (shape.upright and found.orientation > 1)


def padded(pixels: Any, side: int, fill: tuple[int, ...]) -> Any:
    height, width = pixels.shape[:2]
    if height > side or width > side:
        raise BadPictureError(f"is {width} x {height}, larger than {side} x {side}")
    cv2 = vision()
    return cv2.copyMakeBorder(pixels, 0, side - height, 0, side - width, cv2.BORDER_CONSTANT, value=fill)


def _datum(pixels: Any, label: int, kind: str) -> Datum:
    if kind:
        return Datum(0, 0, 0, _encoded(pixels, kind), label, True)
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    planes = pixels if channels == 1 else pixels.transpose(2, 0, 1)
    return Datum(channels, height, width, planes.tobytes(), label, False)


def _encoded(pixels: Any, kind: str) -> bytes:
    cv2 = vision()
    refused = f"cannot be written as {kind}: --encode-type jpg or png"
    try:
        done, data = cv2.imencode(f".{kind}", pixels)
    except cv2.error:
        raise BadPictureError(refused) from None
    if not done:  # newer OpenCVs raise no error: the data is empty
        raise BadPictureError(refused)
    return bytes(data)


def _type(path: Path, encode: str) -> str:
    """What to encode as: `auto` takes the end of the file's name, as convert_imageset does."""
    if encode != "auto":
        return encode
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        told = f"is of a type ({suffix}) that Caffe may not decode" if suffix else "has no suffix that tells its type"
        raise BadPictureError(f"{told}: --encode-type jpg or png")
    return "jpg" if suffix == ".jfif" else suffix[1:]


def _is(path: Path, kind: str) -> bool:
    suffix = path.suffix[1:].lower()
    return suffix == kind.lower() or (kind.lower() == "jpg" and suffix in ("jpeg", "jfif"))
