"""Picture files, as far as they need not be decoded: whether they are whole, and their heads: kind, size and channels
as Caffe's OpenCV (2.4 to 4.6) will see them.

A head may claim any size. What would decode to more pixels than `LARGEST` is a bad picture with a name, before memory
is asked for; heads themselves are read whatever they claim.
"""

import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from provision.data import near
from provision.data.extras import extra

LARGEST = 1 << 28  # pixels
READ_BY_CAFFE = (
    "JPEG",
    "MPO",
    "PNG",
    "BMP",
    "TIFF",
    "WEBP",
    "PPM",
)  # Pillow's names; GIF and AVIF came with later OpenCVs
_DEPTHS = 258  # TIFF's tag of bits for each channel
ORIENTATION, ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)  # EXIF
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_SCAN, _END = b"\xff\xda", b"\xff\xd9"  # start of a scan, end of the image
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, OverflowError, struct.error)  # what Pillow raises


class BadPictureError(Exception):
    """A picture that makes no record; the text says why."""


class Head(NamedTuple):
    """The format by Pillow's name; height and width as they are stored; channels and bits of one as OpenCV's
    `imdecode(-1)` gives them; EXIF's orientation (1: upright)."""

    kind: str
    height: int
    width: int
    channels: int
    bits: int
    orientation: int

    @property
    def shown(self) -> tuple[int, int]:
        """Height and width when it is shown."""
        return (self.width, self.height) if self.orientation in ON_ITS_SIDE else (self.height, self.width)


@contextmanager
def opened(source: Path | bytes) -> Iterator[Any]:
    """A file, or its bytes, opened by Pillow. BadPictureError where it is none, also from what is done with it."""
    image = extra("PIL.Image")
    image.MAX_IMAGE_PIXELS = None  # Pillow's own limit is an error of its own kind, without the file's name
    try:
        if isinstance(source, Path):
            _check_kind(source)
        with image.open(BytesIO(source) if isinstance(source, bytes) else source) as picture:
            yield picture
    except FileNotFoundError:
        raise BadPictureError(f"is not there{near.said(source) if isinstance(source, Path) else ''}") from None
    except _UNREADABLE as error:
        raise BadPictureError(f"is not a picture, or is damaged: {_said(error)}") from None


def head(source: Path | bytes) -> Head:
    """BadPictureError where it has none."""
    with opened(source) as picture:
        orientation = _orientation(picture)
        channels, bits = _channels(picture), _bits(picture)
        return Head(str(picture.format), picture.height, picture.width, channels, bits, orientation)


def content(path: Path) -> bytes:
    """The file's bytes. BadPictureError where it is not there, or not whole."""
    try:
        _check_kind(path)
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise BadPictureError(f"cannot be read: {error.strerror}{near.said(path)}") from None
    except OSError as error:
        raise BadPictureError(f"cannot be read: {error.strerror}") from None
    if not data:
        raise BadPictureError("is empty")
    if data.startswith(_JPEG) and not data.endswith(_END) and data.rfind(_END) <= data.rfind(_SCAN):
        raise BadPictureError("is a JPEG that is cut off")
    if data.startswith(_PNG) and b"IEND" not in data:
        raise BadPictureError("is a PNG that is cut off")
    return data


def _check_kind(path: Path) -> None:
    """BadPictureError for a pipe or a device: reading it may wait for ever. OSError where nothing is there."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise BadPictureError("is no file, but a pipe or a device")


def check_size(height: int, width: int) -> None:
    """BadPictureError where it would take too much memory."""
    if height * width > LARGEST:
        raise BadPictureError(f"is {width} x {height}, more than {LARGEST:,} pixels")


def _orientation(picture: Any) -> int:
    if picture.format == "PNG" and "exif" not in picture.info:
        return 1  # Pillow would decode the whole picture to look behind it
    try:
        return int(picture.getexif().get(ORIENTATION, 1))
    except (*_UNREADABLE, TypeError):
        return 1


def _channels(picture: Any) -> int:
    bands = picture.getbands()
    if picture.format in ("JPEG", "MPO"):
        return 1 if len(bands) == 1 else 3
    clear = "transparency" in picture.info and picture.mode in ("P", "RGB")
    if "A" in bands or clear or picture.mode == "CMYK":  # a TIFF
        return 4
    return 3 if picture.mode == "P" or len(bands) > 1 else 1


def _bits(picture: Any) -> int:
    if picture.format == "PNG":
        picture.fp.seek(24)  # the head's depth: Pillow makes 8 bits of 16 where there are colours
        return 16 if picture.fp.read(1) == b"\x10" else 8
    if picture.format == "TIFF" and _most(picture.tag_v2.get(_DEPTHS, 8)) > 8:  # likewise
        return 16
    if picture.format == "PPM" and any(isinstance(arg, int) and arg > 255 for arg in _args(picture)):
        return 16
    return 8 if picture.mode in ("1", "L", "P", "RGB", "RGBA", "LA", "PA", "CMYK", "YCbCr", "LAB", "RGBX") else 16


def _most(value: Any) -> int:
    return max(value) if isinstance(value, tuple) else int(value)


def _args(picture: Any) -> tuple[Any, ...]:
    """What Pillow decodes a PPM with: among it the largest value, where it is another than 255."""
    args = picture.tile[0][3] if picture.tile else ()
    return args if isinstance(args, tuple) else (args,)


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error)
    return "its format is not known" if text.startswith("cannot identify image file") else text
