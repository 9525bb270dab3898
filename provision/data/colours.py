"""Which colour of a label picture is which class: VOC's, or those of a file of one's own.

A line of such a file is a colour and a name, `64,128,64 Animal` or `64 128 64 Animal` (CamVid's label_colors.txt), or
CVAT's `Animal:64,128,64::`. Classes are numbered 0, 1, … in the order of the lines, so the background comes first; the
name `ignore` or `void` is the label that a training ignores, 255.
"""

import re
from pathlib import Path

import msgspec

from infra.errors import UsageError
from provision.data import usertext, voc

_MOST = 253  # classes; 254 stands for a colour of none in tables, 255 is ignored
_FIRST = re.compile(r"(?P<red>\d{1,3})[\s,]+(?P<green>\d{1,3})[\s,]+(?P<blue>\d{1,3})[\s,]+(?P<name>\S.*)")
_CVAT = re.compile(r"(?P<name>[^:]+):(?P<red>\d{1,3}),(?P<green>\d{1,3}),(?P<blue>\d{1,3})(:.*)?")
_IGNORED = ("ignore", "void")

Colour = tuple[int, int, int]  # red, green, blue


class Colours(msgspec.Struct, frozen=True):
    """The classes' names and colours in their order, and the colours that are ignored."""

    names: tuple[str, ...]
    colours: tuple[Colour, ...]
    ignored: tuple[Colour, ...]

    def numbers(self) -> dict[Colour, int]:
        """The number of each colour; 255 of those that are ignored."""
        return dict.fromkeys(self.ignored, voc.IGNORE) | {colour: at for at, colour in enumerate(self.colours)}


VOC = Colours(voc.CLASSES, tuple(voc.PALETTE[: len(voc.CLASSES)]), (voc.PALETTE[voc.IGNORE],))


def read(path: Path) -> Colours:
    """A file of colours and names. UsageError for a line of another form, and where a colour or a name stands twice."""
    found: dict[str, Colour] = {}
    ignored: list[Colour] = []
    for number, line in usertext.lines(path, "a file of colours and names"):
        if line.startswith("#"):
            continue
        name, colour = _line(path, number, line)
        if name in found or colour in (*found.values(), *ignored):
            raise UsageError(f"{path}:{number}: {line!r} has a name or a colour that stood before", "write each once")
        if name.lower() in _IGNORED:
            ignored.append(colour)
        else:
            found[name] = colour
    if not found or len(found) > _MOST:
        raise UsageError(f"{path} names {len(found)} classes", f"write 1 to {_MOST}, on each line R,G,B NAME")
    return Colours(tuple(found), tuple(found.values()), tuple(ignored))


def _line(path: Path, number: int, line: str) -> tuple[str, Colour]:
    match = _FIRST.fullmatch(line) or _CVAT.fullmatch(line)
    channels = [int(match[name]) for name in ("red", "green", "blue")] if match else [256]
    if match is None or max(channels) > 255:
        raise UsageError(f"{path}:{number}: {line!r} is no colour with a name", "write R,G,B NAME, each 0 to 255")
    return match["name"].strip(), (channels[0], channels[1], channels[2])
