"""A folder of this laptop as a place of objects: each key is a file below it.

An object is written beside its place and moved there, so that a reader sees all of it or none; so does whoever comes
after a crash (fsync). The folder is its user's alone (0700).
"""

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from infra.disk import writing
from infra.errors import DamagedError, NotFoundError
from infra.store import LARGEST, Stored, decoded, too_large

_ASIDE = ".new"  # where objects are until they are whole
_LOCK = ".lock"
_TRIES = 100  # to give an object its name while others delete its folder
_GONE = (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST)


def _plain(command: str) -> str:
    return f"provision {command}"


class Folder:
    """The objects below `root`. `where` tells it from other places; `hint` makes a command that can be typed."""

    def __init__(self, root: Path, where: tuple[str, str, str], hint: Callable[[str], str] = _plain) -> None:
        self.root = root
        self.where = where
        self.hint = hint

    def url(self, key: str) -> str:
        return str(self.root / key)

    def path(self, key: str) -> Path:
        """The object's file. DamagedError for a key that leads out of the folder."""
        steps = key.split("/")
        if any(step in ("", ".", "..") for step in steps) or "\0" in key or steps[0] in (_ASIDE, _LOCK):
            raise DamagedError(f"{key!r} names nothing in {self.root}", "somebody changed a file there")
        return self.root.joinpath(*steps)

    def exists(self) -> bool:
        return self.root.is_dir()

    def objects(self, prefix: str) -> list[Stored]:
        """All objects whose key begins with `prefix`, by key."""
        below, _, name = prefix.rpartition("/")
        found = _files(self.path(below) if below else self.root, f"{below}/" if below else "", name)
        return sorted(found, key=lambda stored: stored.key)

    def objects_after(self, prefix: str, after: str) -> list[Stored]:
        """Those of them whose key sorts behind `after`."""
        return [stored for stored in self.objects(prefix) if stored.key > after]

    def folders(self, prefix: str) -> list[str]:
        """Names of the folders right under `prefix` (which ends in a slash), as their keys sort."""
        try:
            with os.scandir(self.path(prefix.rstrip("/")) if prefix else self.root) as entries:
                names = [one.name for one in entries if one.is_dir(follow_symlinks=False)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted((name for name in names if prefix or name != _ASIDE), key=lambda name: f"{name}/")

    def read(self, key: str) -> bytes | None:
        """The object's bytes; None where there is none. DamagedError where it is larger than anything of ours."""
        try:
            with self.path(key).open("rb") as data:
                size = os.fstat(data.fileno()).st_size
                if size > LARGEST:
                    raise too_large(self.url(key), size)
                return data.read()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def read_json(self, key: str) -> Any:
        """The object's JSON; None where there is no such object. DamagedError where it is not JSON."""
        raw = self.read(key)
        return None if raw is None else decoded(raw, self.url(key))

    def write(self, key: str, data: bytes) -> None:
        self.write_pieces(key, (data,))

    def write_pieces(self, key: str, pieces: Iterable[bytes]) -> None:
        """Write an object that comes in pieces, which need not be in memory together."""
        with self._fresh(key, pieces) as part, self._alone():
            self._into_place(part.replace, key)

    def write_new(self, key: str, data: bytes) -> bool:
        """Write an object that must not be there yet; False where another one is. Of several writers one wins."""
        with self._fresh(key, (data,)) as part:
            try:
                self._into_place(lambda place: os.link(part, place), key)
            except FileExistsError:
                return False
        return True

    def replace(self, key: str, data: bytes, etag: str) -> bool:
        """Write an object in the place of the one of that mark; False where another one is there by now."""
        with self._fresh(key, (data,)) as part, self._alone():
            found = self.head(key)
            if found is None or found.etag != etag:
                return False
            self._into_place(part.replace, key)
        return True

    def head(self, key: str) -> Stored | None:
        """The object, without its bytes; None where there is none."""
        try:
            about = self.path(key).stat(follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return _stored(key, about)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, and folders that are empty then; absent ones are no error."""
        for key in keys:
            place = self.path(key)
            with writing(place), suppress(FileNotFoundError, NotADirectoryError):
                place.unlink()
            for folder in place.parents:
                if folder == self.root or not _removed(folder):
                    break

    def download(self, key: str, target: Path) -> None:
        """Write the object to a file, which appears whole or not at all. OSError where the disk is full."""
        source, part = self.path(key), target.with_name(target.name + ".part")
        if not source.is_file():
            raise NotFoundError(f"{source} is not there", "somebody has deleted it")
        try:
            shutil.copyfile(source, part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    @contextmanager
    def _fresh(self, key: str, pieces: Iterable[bytes]) -> Iterator[Path]:
        """A file with these bytes, on the same disk and out of every reader's sight, until the block ends."""
        with writing(self.path(key)):
            aside = self.root / _ASIDE
            aside.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.root.chmod(0o700)
            part = aside / secrets.token_hex(8)
            try:
                with part.open("xb") as out:
                    out.writelines(pieces)
                    out.flush()
                    os.fsync(out.fileno())
                yield part
            finally:
                part.unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One writer at a time, so that nobody writes between a look and what it decides."""
        with (self.root / _LOCK).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _into_place(self, move: Callable[[Path], object], key: str) -> None:
        """Give the object its name. Its folders are made; one that `delete` takes away meanwhile is made again."""
        place = self.path(key)
        for left in reversed(range(_TRIES)):
            try:
                with suppress(FileExistsError):  # it was there, and is not any more
                    place.parent.mkdir(parents=True, exist_ok=True)
                move(place)
                break
            except FileNotFoundError:
                if not left:
                    raise
        with suppress(FileNotFoundError):  # somebody has deleted it already
            _settle(place.parent)


def _files(folder: Path, key: str, name: str = "") -> Iterator[Stored]:
    """The files below the folder, which has that key; at its top those whose name begins so."""
    try:
        with os.scandir(folder) as entries:
            known = [one for one in entries if one.name.startswith(name)]
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in known:
        if not key and entry.name in (_ASIDE, _LOCK):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(folder / entry.name, f"{key}{entry.name}/")
        elif entry.is_file(follow_symlinks=False):
            with suppress(FileNotFoundError):  # deleted meanwhile
                yield _stored(key + entry.name, entry.stat(follow_symlinks=False))


def _stored(key: str, about: os.stat_result) -> Stored:
    """Each write makes another file: its number, time and size tell one from the next."""
    return Stored(key, about.st_size, f"{about.st_ino:x}-{about.st_mtime_ns:x}-{about.st_size:x}", about.st_mtime)


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno not in _GONE:
            raise
        return error.errno == errno.ENOENT
    return True


def _settle(folder: Path) -> None:
    """Let the folder's list of names reach the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
