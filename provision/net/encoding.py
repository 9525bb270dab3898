"""A prototxt's bytes as text, whatever an editor made of them; what is no text is named."""

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path

from infra.errors import UsageError

# how files begin that are taken for a prototxt
_BINARY = ((b"\x89HDF", "an HDF5 file"), (b"\x89PNG", "a picture"), (b"\x1f\x8b", "a gzip archive"),
           (b"PK\x03\x04", "a zip archive"), (b"\xff\xd8\xff", "a picture"))  # fmt: skip
_PAGE = re.compile(rb"\s*<(?:!doctype|html)", re.IGNORECASE)
_CONTROL = re.compile(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f]")


def text_of(path: Path) -> str:
    """The file's text: UTF-8 with or without its mark, UTF-16, and else the bytes that are no UTF-8 replaced.

    UsageError where it cannot be read, or is no text: a caffemodel, HDF5, a web page.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "name a .prototxt file") from error
    if strange := unlike_caffe(content):
        return content.decode("utf-16" if content[:2] in (BOM_UTF16_BE, BOM_UTF16_LE) else strange[0], "replace")
    kind = next((name for begin, name in _BINARY if content.startswith(begin)), "")
    if _PAGE.match(content):
        raise UsageError(f"{path} is a web page, not a prototxt", "download the file itself (on GitHub: Raw)")
    if kind or _CONTROL.search(content) or b"\x00" in content:
        what = kind or "binary (a caffemodel, or a file that was damaged)"
        raise UsageError(f"{path} is {what}, not a prototxt", "name the net's .prototxt, which is a text")
    return content.decode("utf-8", "replace")


def unlike_caffe(content: bytes) -> tuple[str, str] | None:
    """The encoding and its name where the text is one that Caffe cannot read; None for plain UTF-8."""
    if content.startswith(BOM_UTF8):
        return "utf-8-sig", "UTF-8 with a byte order mark"
    if content[:2] in (BOM_UTF16_BE, BOM_UTF16_LE):
        return "utf-16", "UTF-16"
    for at, name in ((0, "utf-16-be"), (1, "utf-16-le")):  # every other byte of plain words is 0
        half = content[at:200:2]
        if len(half) > 1 and not any(half):
            return name, "UTF-16"
    return None
