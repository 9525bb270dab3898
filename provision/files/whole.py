"""Files and folders that appear whole or not at all: every command that makes an OUT goes through here.

What is made stands in `.NAME.part` beside OUT, on the same disk, and gets OUT's name at the end. A link is followed:
what it points to is made, on that disk. What a killed command left there is taken away by the next one; two at once are
told apart by a lock on the folder. What stands there and is no leftover of ours, a link above all, is refused: to empty
it, or to write to it, would be to do so to what it points to. What cannot be given the name at the end (a mount point,
the folder one stands in, a device) is refused before the work. The disk's refusals become our errors.
"""

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from infra.disk import FULL, writing
from infra.errors import UsageError

_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)  # file systems without locks


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A folder to fill that becomes `target` at the end, or vanishes if anything fails.

    `target` must not hold files at the end. UsageError and DiskError where it cannot be made.
    """
    whole = settled(target)
    with part_folder(whole) as part:
        try:
            empty(part)
            yield part
            part.rename(whole)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise


@contextmanager
def part_folder(whole: Path) -> Iterator[Path]:
    """The folder `.NAME.part` of a settled `whole`, ours alone meanwhile. It stays, with what it holds, until
    renamed."""
    part = part_of(whole)
    _refuse_in_the_way(part, stat.S_ISDIR)
    with writing(whole):
        part.mkdir(parents=True, exist_ok=True)
        handle = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _lock(handle, part, whole)
        with explained(whole, part):
            yield part
    finally:
        os.close(handle)


def empty(folder: Path) -> None:
    """Take away all that a folder holds. UsageError where it is a link: what that points to is somebody's."""
    _refuse_in_the_way(folder, stat.S_ISDIR)
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """A path to write that becomes the file `target` at the end, or vanishes. A file that is there is replaced."""
    whole = _real(target)
    if whole.is_dir():
        raise UsageError(f"{target} is a folder", "name a file in it, or a new one")
    if whole.exists() and not whole.is_file():
        raise UsageError(f"{target} is no file that can be replaced", "name a new file")
    part = part_of(whole)
    _refuse_in_the_way(part, stat.S_ISREG)
    with writing(whole):
        part.parent.mkdir(parents=True, exist_ok=True)
    try:
        with explained(whole, part):
            yield part
            part.replace(whole)
    except BaseException:
        with suppress(OSError):  # a read-only disk refuses this, too
            part.unlink()
        raise


def settled(target: Path) -> Path:
    """Where the folder `target` really is, links followed. UsageError where nothing can take its place."""
    whole = _real(target)
    if whole.is_dir() and os.path.ismount(whole):
        raise UsageError(f"{target} is a mount point: nothing can take its place", f"name a folder in it: {target}/new")
    if whole.is_dir() and whole == Path.cwd():
        raise UsageError(f"{target} is the folder that you are in", "name a folder in it, or go elsewhere")
    return whole


def _real(target: Path) -> Path:
    with writing(target):
        whole = Path(os.path.realpath(target))
        if whole.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return whole


def _refuse_in_the_way(part: Path, fits: Callable[[int], bool]) -> None:
    """UsageError where something else than a leftover of ours stands at `part`; a link is not followed."""
    try:
        mode = part.lstat().st_mode
    except OSError:  # nothing is there; or whoever makes it will tell
        return
    if not fits(mode):
        what = "a link" if stat.S_ISLNK(mode) else "nothing that this command left"
        raise UsageError(f"{part} is in the way: it is {what}", "look at it, and take it away; it was not touched")


def part_of(whole: Path) -> Path:
    """Where a settled file or folder is made."""
    return whole.with_name(f".{whole.name}.part")


@contextmanager
def explained(whole: Path, part: Path) -> Iterator[None]:
    """The disk's refusals in or at `part` as our errors; what was refused elsewhere (a source) stays as it is."""
    try:
        yield
    except OSError as error:
        named = [os.fspath(name) for name in (error.filename, error.filename2) if isinstance(name, (str, os.PathLike))]
        ours = any(Path(name) == whole or Path(name).is_relative_to(part) for name in named)
        if not ours and error.errno not in (*FULL, errno.EROFS, errno.EFBIG):
            raise
        with writing(whole):
            raise


def _lock(handle: int, part: Path, whole: Path) -> None:
    """Hold the folder alone. UsageError where another process does, or just gave it its last name."""
    busy = UsageError(f"another command is making {whole}", "wait for it, or end it")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise busy from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    try:
        same = os.fstat(handle).st_ino == part.lstat().st_ino
    except FileNotFoundError:
        same = False
    if not same:
        raise busy
