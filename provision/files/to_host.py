"""Folders to a host: changed files only, an ignore file respected, one tar stream over the open connection.

A file counts as changed when its size or its time (in whole seconds) differs, as in rsync's quick check. Links are
followed, as by rsync -L: what they lead to is sent as plain files and folders, wherever it lies, for the far side has
nothing that a link could lead to. A link to nothing, or back to a folder that it is in, is left out with a word.

The tar is made here piece by piece, member by member: the thread that sends it has nobody to tell an error to, so
the stream keeps its own.
"""

import fnmatch
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from infra.errors import ProvisionError, RunError, UsageError
from infra.shell import checked
from infra.ssh import SshShell
from provision import console

IGNORE_FILE = ".provisionignore"
_ALWAYS = (".git/", "__pycache__/", ".venv/", IGNORE_FILE)
_CHUNK = 1 << 18
_ROW_END = "\0\n"  # no name of a file holds it


@dataclass(frozen=True)
class Entry:
    """One file: path relative to the folder, bytes, time of change in whole seconds."""

    path: str
    size: int
    time: int


@dataclass(frozen=True)
class Sent:
    """What a sync did."""

    files: int
    bytes: int
    removed: int


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
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
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
        elif any(os.path.samestat(status, one) for one in way):
            console.line(f"  left out: {folder / path} leads back to a folder that it is in")
        else:
            yield from _walk(folder, f"{path}/", patterns, way)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names alone
    except OSError as error:
        raise _unsent(folder, error) from error


def _status(path: Path) -> os.stat_result | None:
    """Of what is there, behind a link too. None where there is nothing (any more)."""
    try:
        return path.stat()
    except PermissionError as error:
        raise _unsent(path, error) from error
    except OSError:
        if path.is_symlink():
            console.line(f"  left out: {path} is a link to nothing")
        return None


def remote_index(shell: SshShell, folder: str) -> dict[str, Entry]:
    """The files of a folder there; none where the folder is not."""
    words = ["find", folder, "-type", "f", "-printf", r"%P\t%s\t%T@\0\n"]
    rows = (row.rsplit("\t", 2) for row in shell.run(words, check=False).out.split(_ROW_END))
    return {row[0]: Entry(row[0], int(row[1]), int(float(row[2]))) for row in rows if len(row) == 3}


def sync(shell: SshShell, folder: Path, target: str, delete: bool = False) -> Sent:
    """Make `target` there hold what `folder` holds; with `delete`, and nothing else.

    UsageError for what cannot be read, RunError for a file that vanishes or shrinks on the way.
    """
    here, there = local_index(folder), remote_index(shell, target)
    changed = _changed(here, there)
    gone = [path for path in there if path not in here] if delete else []
    shell.run(["mkdir", "-p", target])
    if gone:  # first: a folder may have taken a file's name
        listed = "\0".join(f"{target}/{path}" for path in gone)
        shell.run(["xargs", "-0", "rm", "-f"], stdin=listed.encode())
    if changed:
        _send(shell, folder, changed, target)
    return Sent(len(changed), sum(entry.size for entry in changed), len(gone))


def changes(shell: SshShell, folder: Path, target: str) -> list[Entry]:
    """What `sync` would send."""
    return _changed(local_index(folder), remote_index(shell, target))


def _changed(here: dict[str, Entry], there: dict[str, Entry]) -> list[Entry]:
    return [entry for path, entry in here.items() if there.get(path) != entry]


def _send(shell: SshShell, folder: Path, entries: list[Entry], target: str) -> None:
    words = ["tar", "-x", "-C", target, "-f", "-"]
    stream = Tar(folder, entries)
    done = shell.feed(words, stream, check=False)
    if stream.failure:  # a stream that is cut between two files is whole to the tar there
        raise stream.failure
    checked(done, words, shell.where, True)


class Tar:
    """Some files of a folder as one tar stream. Where one cannot be read the stream ends, and `failure` says why."""

    def __init__(self, folder: Path, entries: list[Entry]) -> None:
        self._folder = folder
        self._entries = entries
        self.failure: ProvisionError | None = None

    def __iter__(self) -> Iterator[bytes]:
        for entry in self._entries:
            path = self._folder / entry.path
            try:
                yield from _member(path, entry.path)
            except OSError as error:
                self.failure = _unsent(path, error)
                return
            except ProvisionError as error:
                self.failure = error
                return
        yield bytes(2 * tarfile.BLOCKSIZE)


def _member(path: Path, name: str) -> Iterator[bytes]:
    """One file's header and its bytes. No names of this laptop's users go along; times are in whole seconds."""
    with path.open("rb") as data:
        status = os.fstat(data.fileno())
        header = tarfile.TarInfo(name)
        header.size, header.mtime, header.mode = status.st_size, int(status.st_mtime), stat.S_IMODE(status.st_mode)
        yield header.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
        left = status.st_size
        while left:
            chunk = data.read(min(left, _CHUNK))
            if not chunk:
                raise RunError(f"{path} became shorter while it was sent", "run the same command again")
            left -= len(chunk)
            yield chunk
        yield bytes(-status.st_size % tarfile.BLOCKSIZE)


def _unsent(path: Path, error: OSError) -> ProvisionError:
    if isinstance(error, FileNotFoundError):
        return RunError(f"{path} vanished while it was sent", "run the same command again")
    mend = f"make it readable, or name it in {IGNORE_FILE}"
    return UsageError(f"cannot send {path}: {error.strerror}", mend)
