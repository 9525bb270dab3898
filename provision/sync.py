"""Folders to a host: changed files only, an ignore file respected, one tar stream over the open connection.

A file counts as changed when its size or its time (in whole seconds) differs, as in rsync's quick check.
"""

import fnmatch
import os
import queue
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from infra.errors import UsageError
from infra.ssh import SshShell

IGNORE_FILE = ".provisionignore"
_ALWAYS = (".git/", "__pycache__/", ".venv/", IGNORE_FILE)


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
    """Whether the last pattern that fits says so. As in .gitignore: `/` at the front anchors, at the end means a
    folder and all below it, `!` takes back."""
    verdict = False
    for pattern in patterns:
        word = pattern.removeprefix("!")
        if _fits(path, word):
            verdict = not pattern.startswith("!")
    return verdict


def _fits(path: str, pattern: str) -> bool:
    anchored = pattern.startswith("/") or "/" in pattern.rstrip("/")[1:]
    word = pattern.strip("/")
    parts = path.split("/")
    folders = ["/".join(parts[:count]) for count in range(1, len(parts))]
    whole = folders if pattern.endswith("/") else [*folders, path]
    names = whole if anchored else [one.rsplit("/", 1)[-1] for one in whole]
    return any(fnmatch.fnmatchcase(name, word) for name in names)


def patterns_of(folder: Path) -> tuple[str, ...]:
    """What the folder's ignore file says, behind what is always left out."""
    path = folder / IGNORE_FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return (*_ALWAYS, *(line.strip() for line in lines if line.strip() and not line.startswith("#")))


def local_index(folder: Path) -> dict[str, Entry]:
    """The folder's files that are not ignored."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", "give a folder that exists")
    patterns = patterns_of(folder)
    found = {}
    for base, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(base, name)
            relative = path.relative_to(folder).as_posix()
            if path.is_file() and not ignored(relative, patterns):
                status = path.stat()
                found[relative] = Entry(relative, status.st_size, int(status.st_mtime))
    return found


def remote_index(shell: SshShell, folder: str) -> dict[str, Entry]:
    """The files of a folder there; none where the folder is not."""
    words = ["find", folder, "-type", "f", "-printf", r"%P\t%s\t%T@\n"]
    rows = (line.split("\t") for line in shell.run(words, check=False).out.splitlines())
    return {row[0]: Entry(row[0], int(row[1]), int(float(row[2]))) for row in rows if len(row) == 3}


def sync(shell: SshShell, folder: Path, target: str, delete: bool = False) -> Sent:
    """Make `target` there hold what `folder` holds; with `delete`, and nothing else."""
    here = local_index(folder)
    there = remote_index(shell, target)
    changed = [entry for path, entry in here.items() if there.get(path) != entry]
    gone = [path for path in there if path not in here] if delete else []
    shell.run(["mkdir", "-p", target])
    if changed:
        shell.feed(["tar", "-x", "-C", target, "-f", "-"], _tar(folder, changed))
    if gone:
        listed = "\0".join(f"{target}/{path}" for path in gone)
        shell.run(["xargs", "-0", "rm", "-f"], stdin=listed.encode())
    return Sent(len(changed), sum(entry.size for entry in changed), len(gone))


class _Pipe:
    """A file to write to whose chunks another thread takes; at most a few are held."""

    def __init__(self) -> None:
        self.chunks: queue.Queue[bytes | None] = queue.Queue(maxsize=16)

    def write(self, data: bytes) -> int:
        self.chunks.put(bytes(data))
        return len(data)


def _tar(folder: Path, entries: list[Entry]) -> Iterator[bytes]:
    pipe = _Pipe()

    def fill() -> None:
        try:
            with tarfile.open(fileobj=pipe, mode="w|", bufsize=1 << 18) as tar:  # type: ignore[call-overload]
                for entry in entries:
                    tar.add(folder / entry.path, entry.path, recursive=False, filter=_plain)
        finally:
            pipe.chunks.put(None)

    threading.Thread(target=fill, daemon=True).start()
    while (chunk := pipe.chunks.get()) is not None:
        yield chunk


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """No names of this laptop's users go along, and times in whole seconds so that they compare."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = int(member.mtime)
    return member
