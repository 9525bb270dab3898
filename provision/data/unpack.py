"""Archives (tar, also compressed, and zip) into a folder: nothing outside of it, and no half-written file.

Files are written into a folder beside the others first, and moved when all are there; a killed unpacking leaves that
folder alone, and the next one begins anew. Plain files and folders are all that comes out: a data set has no need
of links, devices or the owners and rights of another machine. Names of zips are never guessed (`archive_names`); those
of tars are bytes, as the disk's are, and stay so where they are no UTF-8.
"""

import contextlib
import errno
import gzip
import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from infra.disk import writing
from infra.errors import UsageError
from provision import console
from provision.console import Say
from provision.data import archive_names
from provision.data.archive_names import SoundArchiveError
from provision.data.usertext import foreign
from provision.files.folders import check_room, inside

Progress = Callable[[int, int], None]
_DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError,
    gzip.BadGzipFile, struct.error, ValueError, OverflowError,
)  # fmt: skip
_ZIPS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_NAMES = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)
_CHUNK = 1 << 20


def unpack(
    archive: Path, target: Path, progress: Progress = lambda done, total: None, *, encoding: str = "",
    say: Say = console.line,
) -> list[str]:  # fmt: skip
    """Unpack into `target`, beside what is there; the names of the topmost files and folders.

    `progress` gets bytes done and in all. `encoding` is that of names that do not tell theirs. UsageError where it is
    no archive, is empty, has a member that would lie outside or is neither file nor folder, or names in an encoding
    that is not told: then nothing of it is kept. DiskError where there is no room.
    """
    part = target / f".{archive.name}.unpacking"
    with writing(target):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            with _explained(archive):
                _all(archive, part, progress, encoding, say)
            names = sorted(path.name for path in part.iterdir())
            if not names:
                raise UsageError(f"{archive} holds no file", "fetch it again; or is it the wrong one?")
            _merge(part, target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return names


def _all(archive: Path, part: Path, progress: Progress, encoding: str, say: Say) -> None:
    """By its first bytes: a tar may hold a zip at its end, where a zip's own table is looked for."""
    with archive.open("rb") as data:
        zipped = data.read(4) in _ZIPS
    if not zipped and tarfile.is_tarfile(archive):
        _tar(archive, part, progress, encoding, say)
    elif zipfile.is_zipfile(archive):
        _zip(archive, part, progress, encoding, say)
    elif zipped:
        raise UsageError(f"{archive} is a zip archive without its end", "fetch it again")
    else:
        raise UsageError(f"{archive} is neither a tar nor a zip archive", "fetch it without --unpack")


def _zip(archive: Path, part: Path, progress: Progress, encoding: str, say: Say) -> None:
    with zipfile.ZipFile(archive) as whole:
        members = whole.infolist()
        names = archive_names.of_zip(archive, members, encoding, say)
        total, done = sum(member.file_size for member in members), 0
        check_room(part, total)
        for member, name in zip(members, names, strict=True):
            if stat.S_ISLNK(member.external_attr >> 16):
                raise _refused(archive, name, "a link")
            path = _place(archive, part, name)
            if name.endswith(("/", "\\")):
                path.mkdir(parents=True, exist_ok=True)
                continue
            with whole.open(member) as data:
                _write(path, data)
            done += member.file_size
            progress(done, total)


def _tar(archive: Path, part: Path, progress: Progress, encoding: str, say: Say) -> None:
    total, odd = archive.stat().st_size, ""
    with (
        archive.open("rb") as raw,
        tarfile.open(fileobj=raw, mode="r|*", encoding=encoding or "utf-8", errors="surrogateescape") as whole,
    ):
        for member in whole:
            path = _place(archive, part, member.name)
            if member.isdir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            data = whole.extractfile(member) if member.isreg() else None
            if data is None:
                why = "a link" if member.islnk() or member.issym() else "neither file nor folder"
                raise _refused(archive, member.name, why)
            check_room(part, member.size)  # what is compressed may hold more than the disk
            with data:
                _write(path, data)
            progress(raw.tell(), total)
            odd = odd or (member.name if foreign(member.name) else "")
    if odd:
        say(f"  {archive.name}: names such as {odd!r} are no UTF-8, and stay as they are: --names-encoding")


def _write(path: Path, data: IO[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        shutil.copyfileobj(data, out, _CHUNK)


def _place(archive: Path, folder: Path, name: str) -> Path:
    """The member's path below `folder`, which "./" is itself; UsageError where it would be elsewhere."""
    plain = name.replace("\\", "/")
    if not PurePosixPath(plain).parts:
        return folder
    if (path := inside(folder, plain)) is None:
        raise _refused(archive, name, "outside of the folder")
    return path


def _refused(archive: Path, name: str, why: str) -> UsageError:
    return UsageError(
        f"{archive.name} holds {name!r}, which is {why}; nothing was unpacked",
        "do not trust this archive; if you do, unpack it by hand: fetch it without --unpack",
    )


@contextlib.contextmanager
def _explained(archive: Path) -> Iterator[None]:
    try:
        yield
    except SoundArchiveError as error:
        raise UsageError(error.what, error.mend) from error
    except RuntimeError as error:  # zipfile's, for a password and for ways of compression that it does not know
        what = f"{archive} cannot be unpacked: {str(error).replace(str(archive), archive.name)}"
        mend = "unpack it by hand: fetch it without --unpack"
        raise UsageError(what, mend) from SoundArchiveError(what, mend)
    except _DAMAGED as error:
        raise UsageError(f"{archive} cannot be unpacked: {error}", "fetch it again") from error
    except OSError as error:
        if error.errno not in _NAMES:
            raise
        what = f"{archive.name} holds a name that this disk does not take: {error.strerror}: {error.filename}"
        mend = "unpack it by hand, where such names can be: fetch it without --unpack"
        raise UsageError(what, mend) from SoundArchiveError(what, mend)


def _merge(source: Path, target: Path) -> None:
    """Move all files to the same place in `target`."""
    for path in sorted(source.iterdir()):
        place = target / path.name
        if path.is_dir() and place.is_dir():
            _merge(path, place)
        else:
            path.replace(place)
