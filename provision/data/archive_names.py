"""Names in archives whose text is not told: what programs of Windows, DOS and old systems wrote there.

A zip says that a name is UTF-8 by a bit, or by Info-ZIP's extra field. Without either it may be in any code page (the
format's own is CP437, Windows writes that of its language), or in UTF-8 all the same, as of macOS; what is UTF-8
throughout is taken as such, for a text of another encoding hardly ever is. All else is asked: a wrong guess would make
names that no list has. Zips have no names in bytes, so there is nothing that could be kept as it is.
"""

import binascii
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from zipfile import ZipInfo

from infra.errors import UsageError
from provision import console
from provision.console import Say

_UTF8, _PATH = 0x800, 0x7075  # the bit of the flags; Info-ZIP's extra field with the name in UTF-8
_OFTEN = ("gbk", "cp932", "big5", "cp949", "cp437", "cp850", "cp866", "cp1251", "cp1252")
_SHOWN, _LONGEST = 5, 40  # encodings that an error shows, and letters of a name there


class SoundArchiveError(Exception):
    """An archive that cannot be unpacked as it was asked, though nothing says that it is damaged: it need not be
    fetched again. `unpack` makes a UsageError of it, whose cause it is."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(what)
        self.what, self.mend = what, mend


def checked(encoding: str) -> str:
    """The same. UsageError for what is no encoding of file names."""
    try:
        plain = b"a/1.jpg".decode(encoding) == "a/1.jpg"
    except (LookupError, ValueError):
        plain = False
    if not plain:
        raise UsageError(
            f"--names-encoding {encoding!r} is no encoding of file names",
            f"give one that Python knows: {', '.join(_OFTEN)}",
        )
    return encoding


def of_zip(archive: Path, members: Sequence[ZipInfo], encoding: str = "", say: Say = console.line) -> list[str]:
    """The members' names. SoundArchiveError where they are not UTF-8, and `encoding` is not given or does not fit.

    What is taken as UTF-8 though the archive does not tell is said: two letters of GBK may be one of UTF-8.
    """
    untold = {raw for member in members if _told(member) is None and not (raw := _raw(member)).isascii()}
    chosen = encoding or "utf-8"
    if not _fits(chosen, untold):
        raise _refused(archive, sorted(untold), encoding)
    if untold and not encoding:
        one = _end(min(untold).decode())
        say(f"  {archive.name}: names such as {one} are taken as UTF-8; in another encoding: --names-encoding")
    return [_raw(member).decode(chosen) if (name := _told(member)) is None else name for member in members]


def _told(member: ZipInfo) -> str | None:
    """The name, where the archive says that it is UTF-8; None where it does not."""
    if member.flag_bits & _UTF8:
        return member.filename
    raw, extra = _raw(member), member.extra
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == _PATH and len(field) > 5 and struct.unpack_from("<I", field, 1)[0] == binascii.crc32(raw):
            return field[5:].decode("utf-8", "surrogateescape")
    return None


def _raw(member: ZipInfo) -> bytes:
    """The name's bytes. Python reads all that is not told as CP437, in which each byte is a letter."""
    return member.orig_filename.encode("utf-8" if member.flag_bits & _UTF8 else "cp437")


def _fits(encoding: str, names: Iterable[bytes]) -> bool:
    try:
        return all(name.decode(encoding) for name in names)
    except UnicodeDecodeError:
        return False


def _refused(archive: Path, names: Sequence[bytes], encoding: str) -> SoundArchiveError:
    """The error, with what one of the names would be in the encodings that all of them fit."""
    fitting = [often for often in _OFTEN if _fits(often, names)][:_SHOWN]
    shown = ", ".join(f"{_end(names[0].decode(often))} in {often}" for often in fitting)
    why = f"that are no {encoding}" if encoding else "in an encoding that it does not tell"
    return SoundArchiveError(
        f"{archive.name} holds names {why} ({len(names)}); one would be {shown}; nothing was unpacked",
        f"say which is right: --names-encoding {fitting[0]}, or another of these",
    )


def _end(name: str) -> str:
    """The last letters of a name, without those that a terminal would act upon."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in name)
    return plain if len(plain) <= _LONGEST else "…" + plain[1 - _LONGEST :]
