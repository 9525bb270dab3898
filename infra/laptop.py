"""Whose this laptop is: the words in the tag `provision:owner` of all that it launches, and in its firewall rules."""

import contextlib
import getpass
import os
import re
import secrets
from pathlib import Path

_ID = re.compile(r"[0-9a-f]{8}")
_SAID = re.compile(r"[^A-Za-z0-9._-]")  # of what tags and the descriptions of rules may hold, the plain part
_LONGEST = 60


def owner(folder: Path) -> str:
    """`alice@thinkpad 3f2a9c1d`: the user, the host, and this laptop's own id, which is made at need and kept in
    `folder`. The id alone tells laptops apart: users and hosts change their names."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no user of that number is known here
        user = str(os.getuid())
    return f"{_plain(user)}@{_plain(os.uname().nodename)} {_id(folder / 'laptop')}"


def id_of(owner: str) -> str:
    """The laptop's id in an owner's words; "" where there is none."""
    last = owner.rpartition(" ")[2]
    return last if _ID.fullmatch(last) else ""


def person_of(owner: str) -> str:
    """The owner as people know it: `alice@thinkpad`. A tag may hold anything: only what can be printed is left."""
    known = owner.removesuffix(id_of(owner)).strip()
    return "".join(one for one in known if one.isprintable())[: 2 * _LONGEST]


def _plain(name: str) -> str:
    return _SAID.sub("-", name)[:_LONGEST] or "unknown"


def _id(path: Path) -> str:
    """The id that is kept there. Where several commands make it at the same time, one wins and all use its id."""
    with contextlib.suppress(OSError):
        if kept := id_of(path.read_text(encoding="ascii", errors="replace").strip()):
            return kept
        path.unlink()  # it is spoiled
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    part.write_text(secrets.token_hex(4) + "\n")
    with contextlib.suppress(FileExistsError):
        os.link(part, path)
    part.unlink()
    return id_of(path.read_text(encoding="ascii").strip())
