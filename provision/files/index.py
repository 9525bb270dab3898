"""What lies in a folder of this laptop, without what .provisionignore leaves out."""

import fnmatch
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from infra.errors import ProvisionError, RunError, UsageError
from provision import console

IGNORE_FILE = ".provisionignore"


_ALWAYS = (".git/", "__pycache__/", ".venv/", IGNORE_FILE)


@dataclass(frozen=True)
class Entry:
    """One file: path relative to the folder, bytes, time of change in whole seconds."""

    path: str
    size: int
    time: int


def ignored(path: str, patterns: tuple[str, ...]) -> bool:
    """Whether a file is left out: it, or a folder that it is in. As in .gitignore: the last pattern that fits
    decides, `/` at the front anchors, at the end means a folder and all below it, `!` takes back."""
    parts = path.split("/")
    return any(_left_out("/".join(parts[:depth]), depth < len(parts), patterns) for depth in range(1, len(parts) + 1))


def _left_out(path: str, is_folder: bool, patterns: tuple[str, ...]) -> bool:
    """The same for this path alone, where the folders above it are known to be sent."""
    verdict = False
    for pattern in patterns:
        if _fits(path, is_folder, pattern.removeprefix("!")):
            verdict = not pattern.startswith("!")
    return verdict


def _fits(path: str, is_folder: bool, pattern: str) -> bool:
    anchored = "/" in pattern.rstrip("/")
    name = path if anchored else path.rsplit("/", 1)[-1]
    return (is_folder or not pattern.endswith("/")) and fnmatch.fnmatchcase(name, pattern.strip("/"))


def patterns_of(folder: Path) -> tuple[str, ...]:
    """What the folder's ignore file says, behind what is always left out."""
    path = folder / IGNORE_FILE
    lines = os.fsdecode(path.read_bytes()).splitlines() if path.is_file() else []  # names of files may be any bytes
    return (*_ALWAYS, *(line.strip() for line in lines if line.strip() and not line.startswith("#")))


def local_index(folder: Path) -> dict[str, Entry]:
    """The folder's files that are not ignored. UsageError where a folder cannot be read."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", "give a folder that exists")
    return {entry.path: entry for entry in _walk(folder, "", patterns_of(folder), ())}


def _walk(folder: Path, inside: str, patterns: tuple[str, ...], above: tuple[os.stat_result, ...]) -> Iterator[Entry]:
    """Files below `folder`/`inside`, by name; `above` are the folders on the way there."""
    way = (*above, (folder / inside).stat())
    for name in _names(folder / inside):
        path = inside + name
        status = _status(folder / path)
        if status is None or _left_out(path, stat.S_ISDIR(status.st_mode), patterns):
            continue
        if stat.S_ISREG(status.st_mode):
            yield Entry(path, status.st_size, int(status.st_mtime))
        elif not stat.S_ISDIR(status.st_mode):
            console.line(f"  left out: {folder / path} is no file")
        elif any(os.path.samestat(status, folder) for folder in way):
            console.line(f"  left out: {folder / path} leads back to a folder that it is in")
        else:
            yield from _walk(folder, f"{path}/", patterns, way)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names alone
    except OSError as error:
        raise unsent(folder, error) from error


def _status(path: Path) -> os.stat_result | None:
    """Of what is there, behind a link too. None where there is nothing (any more)."""
    try:
        return path.stat()
    except PermissionError as error:
        raise unsent(path, error) from error
    except OSError:
        if path.is_symlink():
            console.line(f"  left out: {path} is a link to nothing")
        return None


def unsent(path: Path, error: OSError) -> ProvisionError:
    if isinstance(error, FileNotFoundError):
        return RunError(f"{path} vanished while it was sent", "run the same command again")
    mend = f"make it readable, or name it in {IGNORE_FILE}"
    return UsageError(f"cannot send {path}: {error.strerror}", mend)
