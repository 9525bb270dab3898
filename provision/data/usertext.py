"""Texts that users bring (lists, files of classes, labels): the one front door.

Windows writes a byte order mark, UTF-16 (PowerShell's >), its own line ends and names in a code page; old Macs end
lines with a carriage return. A mark is no part of the first name; UTF-16 is read as such; bytes that are no UTF-8 are
kept as they are (Python's surrogateescape), for the file on the disk may be named so.
"""

import re
from pathlib import Path

from infra.errors import UsageError

_UTF8, _UTF16 = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
_LMDB = b"\xde\xc0\xef\xbe"  # its number, behind its first page's head
_KINDS = (
    (b"\xff\xd8\xff", "a JPEG"), (b"\x89PNG", "a PNG"), (b"GIF8", "a GIF"), (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "compressed by gzip"), (b"%PDF", "a PDF"), (b"SQLite format", "a database"),
    (b"\x89HDF", "HDF5"),
)  # fmt: skip


def read(path: Path, what: str = "a list of pictures") -> str:
    """The text, its lines ended by `\\n` alone. UsageError where it cannot be read, or is no text: no `what`."""
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error}", f"name {what}"
        ) from None
    kind = next((kind for head, kind in _KINDS if data.startswith(head)), "")
    if data[16:20] == _LMDB:
        kind = "the file of an LMDB, whose folder is the database"
    if kind:
        raise UsageError(f"{path} is {kind}, not {what}", f"name {what}, a text")
    text = _decoded(path, data, what)
    if "\0" in text:
        raise UsageError(f"{path} is not {what}: it holds NUL bytes", "give a text with one entry a line")
    text = re.sub("\r+\n", "\n", text).replace("\r", "\n").rstrip("\x1a")  # DOS's end of a text
    return re.sub("(?m)^\ufeff", "", text)  # also within: lists that were joined keep each one's mark


def lines(path: Path, what: str = "a list of pictures") -> list[tuple[int, str]]:
    """The lines that hold something, without blanks around them, each with its number from 1."""
    numbered = ((number, line.strip()) for number, line in enumerate(read(path, what).split("\n"), 1))
    return [(number, line) for number, line in numbered if line]


def plain_lines(path: Path, what: str) -> list[tuple[int, str]]:
    """The same, of a text whose words become names in our files. UsageError where it is neither UTF-8 nor UTF-16."""
    found = lines(path, what)
    if odd := next((number for number, line in found if foreign(line)), None):
        raise UsageError(f"{path} is no text in UTF-8 (line {odd})", "save it as UTF-8")
    return found


def foreign(text: str) -> bool:
    """Whether the text holds bytes that were no UTF-8."""
    return re.search("[\udc80-\udcff]", text) is not None


def _decoded(path: Path, data: bytes, what: str) -> str:
    if data.startswith(_UTF8):
        data = data[len(_UTF8) :]
    if data.startswith(_UTF16):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError:
            raise UsageError(f"{path} is not {what}: its UTF-16 is damaged", "save it as UTF-8") from None
    if data[1::2].count(0) > len(data) // 4 or data[::2].count(0) > len(data) // 4:
        raise UsageError(f"{path} looks like UTF-16 without its mark", "save it as UTF-8")
    return data.decode("utf-8", "surrogateescape")
