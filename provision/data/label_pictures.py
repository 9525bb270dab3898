"""Label pictures as classes: gray values, or a palette's numbers (OpenCV would give its colours).

What programs make of classes besides: one bit, 16 bits, an alpha that hides nothing, three equal channels. These are
read, where they cannot mean anything else. Colours are for `provision data voc-labels`; so is a palette in another
order than VOC's (Image.quantize, pngquant and picture editors sort it anew), whose numbers are other classes than its
colours.
"""

from pathlib import Path
from typing import Any, NamedTuple

from provision.data import voc
from provision.data.extras import extra
from provision.data.heads import BadPictureError, check_size, content, opened

_WIDE = ("I", "I;16", "I;16B", "I;16L")
CODES = {red << 16 | green << 8 | blue: index for index, (red, green, blue) in enumerate(voc.PALETTE)}
_KNOWN = {code: index for code, index in CODES.items() if index < len(voc.CLASSES) or index == voc.IGNORE}


class Labels(NamedTuple):
    """Height x width numbers, or height x width x (red, green, blue); with a palette, [256, 3], where it has one."""

    pixels: Any
    palette: Any = None


def read(path: Path) -> Labels:
    """BadPictureError where the file is none, or holds what can be no class."""
    numpy = extra("numpy")
    content(path)
    with opened(path) as picture:
        check_size(picture.height, picture.width)
        mode = picture.mode
        if mode in ("1", "L", "P"):
            pixels = numpy.array(picture).astype(numpy.uint8)
            palette = _palette(picture) if mode == "P" else None
            return Labels(pixels, palette if palette is None or _tells(pixels, palette) else None)
        if mode in _WIDE:
            return Labels(_narrow(numpy.array(picture)))
        if mode == "LA":
            gray, alpha = numpy.array(picture).transpose(2, 0, 1)
            if alpha.min() < 255:
                raise BadPictureError("has transparent pixels (LA): save it as a gray picture")
            return Labels(gray)
        if mode == "F":
            raise BadPictureError("holds floats (F): save its classes as a gray picture of 8 bits")
        return Labels(numpy.array(picture if mode == "RGB" else picture.convert("RGB")))


def classes_of(path: Path) -> Any:
    """Height x width classes of a label picture, as they are. BadPictureError where it holds colours."""
    pixels, palette = read(path)
    if palette is not None:
        _check_order(pixels, palette)
    if pixels.ndim == 2:
        return pixels
    plane = gray_classes(pixels)
    if plane is None:
        raise BadPictureError("is in colours (RGB), not classes: provision data voc-labels")
    return plane


def gray_classes(pixels: Any, count: int = len(voc.CLASSES)) -> Any:
    """The one plane of three equal ones that hold numbers of `count` classes; None where they may be colours."""
    plane = pixels[..., 0]
    if (plane != pixels[..., 1]).any() or (plane != pixels[..., 2]).any():
        return None
    return plane if bool(((plane < count) | (plane == voc.IGNORE)).all()) else None


def codes(colours: Any) -> Any:
    """Red, green and blue of the last axis as one number."""
    numpy = extra("numpy")
    wide = colours.astype(numpy.uint32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _palette(picture: Any) -> Any:
    numpy = extra("numpy")
    table = numpy.zeros((256, 3), numpy.uint8)
    colours = numpy.array(picture.getpalette(), numpy.uint8).reshape(-1, 3)
    table[: len(colours)] = colours
    return table


def _tells(pixels: Any, palette: Any) -> bool:
    """Whether the palette says anything: programs leave it all black where they mean the numbers."""
    used = extra("numpy").unique(pixels)
    return len(used) < 2 or bool(palette[used].any())


def _narrow(values: Any) -> Any:
    numpy = extra("numpy")
    if values.min() < 0 or values.max() > 255:
        raise BadPictureError(f"has more than 8 bits, and values up to {int(values.max())}: classes are 0 to 255")
    return values.astype(numpy.uint8)


def _check_order(pixels: Any, palette: Any) -> None:
    """BadPictureError where all colours are VOC's, and their numbers others than VOC's."""
    used = extra("numpy").unique(pixels)
    meant = [_KNOWN.get(code) for code in codes(palette[used]).tolist()]
    if None in meant:
        return
    pairs = zip(used.tolist(), meant, strict=True)
    wrong = [(number, index) for number, index in pairs if index is not None and number != index]
    if wrong:
        number, index = wrong[0]
        name = "ignored" if index == voc.IGNORE else voc.CLASSES[index]
        raise BadPictureError(
            f"has VOC's colours in another order ({number} is the colour of {index}, {name}): provision data voc-labels"
            " reads them by their colours, with --by-number as they are"
        )
