"""This laptop's X display, for a container that shows windows on it.

A cookie (MIT-MAGIC-COOKIE-1) in Xauthority's file belongs to a host's name, and the X library takes only its own
host's: in a container, whose name is another, it finds none. So the container is given the display's cookies alone,
each good for any host. The file's format: libXau's AuFileName and AuReadAuth (a family, then address, display number,
protocol and cookie, each behind its length, all numbers 16 bits and big-endian).
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.errors import UsageError

SOCKETS = "/tmp/.X11-unix"
_ANY_HOST = 65535  # FamilyWild of Xauth.h


@dataclass(frozen=True)
class Display:
    """A display of this laptop's own (`:0`), and what opens it: an Xauthority file's content, a secret."""

    name: str
    cookies: bytes


def find(environment: Mapping[str, str], home_folder: Path) -> Display:
    """The display that DISPLAY names. UsageError where there is none that can be opened."""
    name = environment.get("DISPLAY", "")
    if not name:
        raise UsageError("--x11: this laptop has no DISPLAY", "leave it out: plots go to files (MPLBACKEND=Agg)")
    if not name.startswith(":"):
        raise UsageError(f"--x11: the display {name} is not this laptop's own", "leave it out, or use ssh -X")
    file = Path(environment.get("XAUTHORITY") or home_folder / ".Xauthority")
    try:
        known = file.read_bytes() if file.exists() else b""
    except OSError as error:
        raise UsageError(f"--x11: {file} cannot be read: {error.strerror}", "let this user read the file") from error
    return Display(name, for_any_host(known, name[1:].partition(".")[0].encode()))


def for_any_host(file: bytes, number: bytes) -> bytes:
    """The cookies of a display number in an Xauthority file, as such a file that is good on any host."""
    return b"".join(
        _ANY_HOST.to_bytes(2, "big")
        + b"".join(struct.pack(">H", len(field)) + field for field in (b"", number, *secret))
        for of, secret in _entries(file)
        if of in (number, b"")
    )


def _entries(file: bytes) -> Iterator[tuple[bytes, tuple[bytes, bytes]]]:
    """Display number, protocol and cookie of each entry, as far as the file is whole."""
    at = 0
    while at < len(file):
        at += 2  # the family
        fields = []
        for _ in range(4):
            size = int.from_bytes(file[at : at + 2], "big")
            fields.append(file[at + 2 : at + 2 + size])
            at += 2 + size
        if at <= len(file):
            yield fields[1], (fields[2], fields[3])
