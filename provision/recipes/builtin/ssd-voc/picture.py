"""Boxes and words on an image, and PNG files: numpy alone, for the image that trains has no library for pictures.

Images are [height, width, 3] of bytes, red first.
"""

# ruff: noqa: PTH123, RUF046
# (runs in images with old Pythons)

import struct
import zlib

import numpy

# five bits a row from the left, seven rows: seven digits of base 32 for each letter
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.-_"
_ROWS = (
    "ehhvhhhuhhuhhuehggghe" "uhhhhhuvgguggvvgguggg" "ehgnhhfhhhvhhhe44444e" "72222ichikokihggggggv"
    "hrllhhhhhpljhhehhhhhe" "uhhugggehhhliduhhukih" "fgge11uv444444hhhhhhe" "hhhhha4hhhlllahha4ahh"
    "hhha444v1248gvehjlphe" "4c4444eeh1248vv2421he" "26aiv22vgu11he68guhhe" "v124888ehhehheehhf12c"
    "00000cc000v000000000v"
)  # fmt: skip
_GLYPHS = {letter: _ROWS[7 * at : 7 * at + 7] for at, letter in enumerate(_LETTERS)}


def colour(label):
    """VOC's colour of a class: three bits of its number to each round of red, green, blue, from the top."""
    channels = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            channels[channel] |= (label >> 3 * place + channel & 1) << 7 - place
    return channels


def words(text, scale):
    """The text as an array of 0 and 1, [height, width]; letters that are not known stay empty."""
    columns = []
    for letter in text.lower():
        rows = [int(row, 32) for row in _GLYPHS.get(letter, "0000000")]
        bits = [[row >> 4 - column & 1 for column in range(5)] + [0] for row in rows]
        columns.append(numpy.array(bits, numpy.uint8))
    return numpy.kron(numpy.concatenate(columns, axis=1), numpy.ones((scale, scale), numpy.uint8))


def draw(image, box, label, text):
    """A box [xmin, ymin, xmax, ymax] in pixels with its text above it, or inside where there is no room above."""
    height, width = image.shape[:2]
    left, top, right, bottom = (int(round(one)) for one in box)
    left, right = (min(max(one, 0), width - 1) for one in (left, right))
    top, bottom = (min(max(one, 0), height - 1) for one in (top, bottom))
    thick = max(2, min(height, width) // 150)
    ink = colour(label)
    for edge in range(thick):
        image[top : bottom + 1, [min(left + edge, right), max(right - edge, left)]] = ink
        image[[min(top + edge, bottom), max(bottom - edge, top)], left : right + 1] = ink
    write(image, text, left, top, ink, max(1, min(height, width) // 250))


def write(image, text, left, top, ink, scale):
    mask = numpy.pad(words(text, scale), scale, mode="constant")
    at = top - mask.shape[0] if top >= mask.shape[0] else top
    left = max(0, min(left, image.shape[1] - mask.shape[1]))
    place = image[at : at + mask.shape[0], left : left + mask.shape[1]]
    mask = mask[: place.shape[0], : place.shape[1]]
    place[:] = ink
    dark = 299 * ink[0] + 587 * ink[1] + 114 * ink[2] < 128000
    place[mask == 1] = 255 if dark else 0


def save(image, path):
    """A PNG file of eight bits a channel."""
    height, width = image.shape[:2]
    rows = numpy.concatenate([numpy.zeros((height, 1), numpy.uint8), image.reshape(height, -1)], axis=1)
    with open(path, "wb") as out:
        out.write(b"\x89PNG\r\n\x1a\n")
        for kind, data in (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(rows.tobytes(), 6)),
            (b"IEND", b""),
        ):
            out.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
