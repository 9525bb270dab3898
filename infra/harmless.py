"""Text of others, made harmless for a terminal and for a spreadsheet.

A log, a manifest, a tag, the name of a file in S3 and a server's words may hold what a terminal obeys: sequences that
move the cursor, clear the screen, set the title, write the clipboard or turn the direction of what is read. All that
goes to a terminal loses them here (by `provision.console` and `provision.logs.read`).
"""

import codecs
import re

# a whole sequence of ECMA-48: CSI (colours, cursor), OSC/DCS/SOS/PM/APC up to their end, and those of two or three
# characters. One that is not whole within 200 characters loses only its beginning.
_SEQUENCES = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]{0,64}[ -/]{0,8}[@-~]"
    "|(?:\x1b[\\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]{0,200}(?:\x07|\x1b\\\\|\x9c)"
    "|\x1b[ -/]{1,2}[0-~]|\x1b[0-Z\\\\`-~]"
)
# C0 but for tab and newline, DEL, C1, and what turns the direction
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_C1_BYTES = re.compile("[\udc80-\udc9f]")  # that are no UTF-8, as surrogateescape has them
_LONGEST = 200
_BEGUN = re.compile(f"(?:\r|\x1b[^\n]{{0,{_LONGEST}}})\\Z")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def plain(text: str) -> str:
    """The text without control sequences. Newlines and tabs stay; a carriage return, which would let the next words
    be written over the last ones, begins a new line."""
    if not _CONTROLS.search(text):
        return text
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("", _SEQUENCES.sub("", lines))


class Plain:
    """`plain` for a stream of bytes that comes in pieces, which may end within a character or a sequence.

    Bytes that are no UTF-8 pass as they are, but for those that a terminal may take for C1.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._rest = ""

    def take(self, piece: bytes) -> bytes:
        """What the pieces up to now have for a terminal, as far as it was not given yet."""
        text = self._rest + self._decoder.decode(piece)
        begun = _BEGUN.search(text, max(0, len(text) - _LONGEST - 1))  # its end may come with the next piece
        at = begun.start() if begun else len(text)
        self._rest = text[at:]
        return _encoded(text[:at])

    def end(self) -> bytes:
        """What waited for more that did not come."""
        rest, self._rest = self._rest + self._decoder.decode(b"", True), ""
        return _encoded(rest)


def _encoded(text: str) -> bytes:
    return _C1_BYTES.sub("", plain(text)).encode("utf-8", "surrogateescape")


def cell(value: object) -> object:
    """A value for a CSV: a text that a spreadsheet would take for a formula gets an apostrophe in front; numbers stay.

    The signs are those of OWASP's page on CSV injection: = + - @ tab, carriage return (and newline).
    """
    if not isinstance(value, str):
        return value
    text = plain(value)
    formula = value.startswith(_FORMULA) or text.startswith(_FORMULA)  # a control sequence may hide the sign
    return f"'{text}" if formula and not _is_number(value) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and "_" not in text and text == text.strip()
