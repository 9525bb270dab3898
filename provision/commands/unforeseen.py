"""The message for an exception that no command foresaw: the disk is full, a file cannot be read or written, or there is
a bug in provision, whose traceback is kept."""

import contextlib
import errno
import os
import platform
import select
import sys
import time
import traceback
from pathlib import Path
from typing import TextIO

from infra.errors import DiskError, ProvisionError, UsageError
from provision import console

_FULL = (errno.ENOSPC, errno.EDQUOT)
_WISH = "PROVISION_TRACEBACK"


def explain(error: Exception) -> ProvisionError | None:
    """The error to tell the user; None where the reader of standard output closed it early, as `head` does."""
    gone = isinstance(error, BrokenPipeError) and _unread(sys.stdout)
    settle(sys.stdout)
    if gone:
        return None
    if isinstance(error, OSError) and error.errno in _FULL:
        where = "" if error.filename is None else f" for {_name(error)}"
        return DiskError(f"no room{where}: {error.strerror}", "free some disk, then give the same command again")
    if isinstance(error, OSError) and error.filename is not None:
        return _of_file(error)
    return _bug(error)


def _unread(stream: TextIO) -> bool:
    """Whether the stream is a pipe that nobody reads any more, so that no other connection broke."""
    poll = select.poll()
    try:
        poll.register(stream.fileno(), 0)
    except (OSError, ValueError):  # no file, or closed
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def settle(stream: TextIO) -> None:
    """Flush the stream, or drop its text where that fails: Python would flush again at its end, and complain."""
    try:
        stream.flush()
    except OSError:
        with contextlib.suppress(OSError):  # a stream in a test has no file descriptor
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _name(error: OSError) -> str:
    return os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)


def _of_file(error: OSError) -> ProvisionError:
    if _wished():
        console.line(_text(error))
    return UsageError(
        f"{_name(error)} cannot be read or written: {error.strerror}",
        f"check that the file exists and that you may use it; {_WISH}=1 prints the traceback",
    )


def _bug(error: Exception) -> ProvisionError:
    """The error, of exit code 1, for a bug of ours. Its traceback goes to a file, and is printed if the user wishes."""
    said = " ".join(str(error).split())
    what = f"this is a bug in provision: {type(error).__name__}{f': {said}' if said else ''}"
    text = _text(error)
    path = None if _wished() else _kept(text)
    if path is not None:
        return ProvisionError(what, f"please report it with the traceback in {path} ({_WISH}=1 prints it)")
    console.line(text)
    return ProvisionError(what, "please report it with the traceback above")


def _wished() -> bool:
    return os.environ.get(_WISH, "") not in ("", "0")


def _text(error: Exception) -> str:
    from infra import distribution

    system = os.uname()
    where = f"{system.sysname} {system.release} {system.machine}"
    head = f"provision {distribution.version() or 'of a source tree'}, Python {platform.python_version()}, {where}"
    return "\n".join([head, "".join(traceback.format_exception(error))])


def _kept(text: str) -> Path | None:
    """Write the traceback beside the logs of machines; its path, or None where it cannot be written."""
    from provision.settings import state_home

    path = state_home() / "logs" / time.strftime(f"bug-%Y%m%d-%H%M%S-{os.getpid()}.log")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError:
        return None
    return path
