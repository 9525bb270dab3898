"""Bytes of a log as UTF-8, however they were kept: packed (known by its first bytes, not by its name), or in UTF-16.

PowerShell's `>`, `>>` and `Tee-Object` write UTF-16, `>>` also behind a text that is none: so the encoding is looked
for wherever the bytes change their kind, not at the beginning alone.
"""

import bz2
import codecs
import lzma
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from infra.errors import UsageError
from provision.logs import tensorboard

_UNPACKERS: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(31),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\x00": lzma.LZMADecompressor,
}
_OTHERS = {
    b"PK\x03\x04": ("a zip archive", "unzip it, and name the log in it"),
    b"\x28\xb5\x2f\xfd": ("packed with zstd", "unpack it: zstd -d FILE"),
    b"\x04\x22\x4d\x18": ("packed with lz4", "unpack it: lz4 -d FILE"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "unpack it: 7z x FILE"),
}
_MAGIC = 6  # bytes of the longest
_RUN = rb"[\t\n\r\x1b-\x7e]"
# where another encoding begins: ASCII with a NUL in every second place, or ASCII without any
_WIDE = re.compile(b"(?s)(?:\xff\xfe|\xfe\xff|\xff\xfe\0\0|\0\0\xfe\xff)?(?:(?P<le>(?:" + _RUN + rb"\0){12})"
                   rb"|(?P<be>(?:\0" + _RUN + rb"){12})|(?P<le4>(?:" + _RUN + rb"\0\0\0){12})"
                   rb"|(?P<be4>(?:\0\0\0" + _RUN + rb"){12}))")  # fmt: skip
_NARROW = re.compile(_RUN + rb"{48}")
_CODECS = {"le": "utf-16-le", "be": "utf-16-be", "le4": "utf-32-le", "be4": "utf-32-be"}
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le", codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be",
}  # fmt: skip
_KEPT = 100  # bytes of a piece's end that may belong to the next one's text


def unpacked(pieces: Iterable[bytes], cut_off: Callable[[], None] = lambda: None) -> Iterator[bytes]:
    """The bytes, unpacked where they are packed with gzip, bzip2 or xz (and an event file of TensorBoard's as lines);
    `cut_off` is called if the end of the packed ones is missing, and what is there is given. UsageError for archives of
    other kinds, and for what is damaged."""
    source = iter(pieces)
    first = b""
    while len(first) < tensorboard.HEADER and (piece := next(source, None)) is not None:
        first += piece
    for magic, (what, mend) in _OTHERS.items():
        if first.startswith(magic):
            raise UsageError(f"the log is {what}", mend)
    if tensorboard.begins(first):
        yield from tensorboard.lines(_chained(first, source))
        return
    make = next((make for magic, make in _UNPACKERS.items() if first.startswith(magic)), None)
    if make is None:
        yield from filter(None, (first,))
        yield from source
        return
    unpacker = make()
    for packed in _chained(first, source):
        rest = packed
        while rest:
            if unpacker.eof:  # several files packed one behind the other are one
                unpacker = make()
            try:
                piece = unpacker.decompress(rest)
            except (OSError, ValueError, zlib.error, lzma.LZMAError, EOFError) as error:
                raise UsageError(f"the packed log is damaged: {error}", "take another copy of it") from error
            if piece:
                yield piece
            rest = unpacker.unused_data if unpacker.eof else b""
    if not unpacker.eof:
        cut_off()


def _chained(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def decoded(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same text in UTF-8 and without its byte order mark. Bytes that are no text of UTF-16 or UTF-32 stay."""
    text, begun = _Text(), b""
    for piece in pieces:
        if len(begun) < _MAGIC:  # the mark may be cut in two
            begun += piece
            if len(begun) >= _MAGIC:
                yield text.begin(begun)
        else:
            yield text.take(piece)
    if len(begun) < _MAGIC:
        yield text.begin(begun)
    yield text.end()


class _Text:
    """Turns bytes into UTF-8, whichever of the encodings they are in at the time."""

    def __init__(self) -> None:
        self._decoder: Any = None  # of wide characters
        self._big = False  # their first byte is the high one
        self._rest = b""

    def begin(self, first: bytes) -> bytes:
        """Take the first bytes, and the encoding from their byte order mark, if they have one."""
        for mark, kind in _MARKS.items():
            if self._decoder is None and first.startswith(mark):
                self._use(kind)
        return self.take(first.removeprefix(codecs.BOM_UTF8))

    def take(self, piece: bytes) -> bytes:
        """The text of the bytes up to now, as far as it was not given yet."""
        if self._decoder is None and not self._rest and b"\0" not in piece and b"\xff" not in piece[-2:]:
            return piece
        return self._turned(self._rest + piece, last=False)

    def end(self) -> bytes:
        """What waited for more that did not come."""
        return self._turned(self._rest, last=True)

    def _turned(self, data: bytes, last: bool) -> bytes:
        out = []
        while (found := (_WIDE if self._decoder is None else _NARROW).search(data)) is not None:
            at = found.start()
            if self._decoder is None:
                out.append(data[:at])
                self._use(_CODECS[str(found.lastgroup)])
            else:
                at += self._big and data[at - 1 : at] == b"\0"  # the newline is the second half of a character
                out.append(self._utf8(data[:at], True))
                self._decoder = None
            data = data[at:]
        self._rest = b"" if last else self._waiting(data[-_KEPT:])
        data = data[: len(data) - len(self._rest)]
        out.append(data if self._decoder is None else self._utf8(data, last))
        return b"".join(out)

    def _use(self, kind: str) -> None:
        self._decoder, self._big = codecs.getincrementaldecoder(kind)("replace"), kind.endswith("be")

    def _waiting(self, end: bytes) -> bytes:
        """Of the bytes at the end those that may be the beginning of another encoding."""
        if self._decoder is None:
            return end if b"\0" in end or end.endswith((b"\xff", b"\xff\xfe")) else b""
        return end[end.rfind(b"\0") + (not self._big) :]

    def _utf8(self, data: bytes, last: bool) -> bytes:
        text: str = self._decoder.decode(data, last)
        return text.replace("\ufeff", "").encode("utf-8", "replace")
