"""Folders to a host: changed files only, an ignore file respected, one tar stream over the open connection.

A file counts as changed when its size or its time (in whole seconds) differs, as in rsync's quick check. Links are
followed, as by rsync -L: what they lead to is sent as plain files and folders, wherever it lies, for the far side has
nothing that a link could lead to. A link to nothing, or back to a folder that it is in, is left out with a word.

The tar is made here piece by piece, member by member: the thread that sends it has nobody to tell an error to, so
the stream keeps its own.
"""

import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from infra.errors import HostError, ProvisionError, RunError
from infra.shell import checked
from infra.ssh import SshShell
from provision.files.index import Entry, local_index, unsent

_CHUNK = 1 << 18
_ROW_END = "\0\n"  # no name of a file holds it


@dataclass(frozen=True)
class Sent:
    """What a sync sent and deleted."""

    files: int
    bytes: int
    removed: int


def remote_index(shell: SshShell, folder: str) -> dict[str, Entry]:
    """The files of a folder there; none where the folder is not. HostError where the host lists what makes no sense."""
    words = ["find", folder, "-type", "f", "-printf", r"%P\t%s\t%T@\0\n"]
    rows = (row.rsplit("\t", 2) for row in shell.run(words, check=False).out.split(_ROW_END))
    try:
        return {row[0]: Entry(row[0], int(row[1]), int(float(row[2]))) for row in rows if len(row) == 3}
    except (ValueError, OverflowError) as error:
        raise HostError(f"{shell.where} lists {folder} in words that make no sense", "look at its `find`") from error


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
    """The files that `sync` would send."""
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
                self.failure = unsent(path, error)
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
