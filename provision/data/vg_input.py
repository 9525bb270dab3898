"""Visual Genome's files: objects.json and image_data.json of versions 1.0, 1.2 and 1.4, plain, .gz or .zip.

Read whole, one picture's objects at a time are decoded out of the file's bytes; `stream` reads the file piece by piece
with ijson: slower, and in a fraction of the memory.
"""

import codecs
import contextlib
import gzip
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

import msgspec

from infra.errors import UsageError
from provision.data.extras import extra

_ZIP, _GZIP = b"PK\x03\x04", b"\x1f\x8b"
Progress = Callable[[int, int], None]


class VgImage(msgspec.Struct, frozen=True, gc=False):
    """A picture in image_data.json; version 1.0 calls its number `id`."""

    url: str
    width: int
    height: int
    image_id: int | None = None
    id: int | None = None


class VgObject(msgspec.Struct, frozen=True, gc=False):
    """An object in objects.json, as far as it is needed; box in pixels."""

    x: int | float
    y: int | float
    w: int | float
    h: int | float
    names: tuple[str, ...] = ()
    object_id: int | None = None
    id: int | None = None
    merged_object_ids: tuple[int, ...] = ()


class VgObjects(msgspec.Struct, frozen=True, gc=False):
    """The objects of one picture."""

    objects: tuple[VgObject, ...]
    image_id: int | None = None
    id: int | None = None


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """The JSON in a file, which may be packed by gzip, or a zip with one JSON file in it, whatever its name; and its
    size in bytes (of gzip's: 0).

    UsageError where it cannot be read, or where a .zip holds more than one.
    """
    try:
        with contextlib.ExitStack() as stack:
            with path.open("rb") as file:
                begins = file.read(4)
            if begins.startswith(_ZIP):
                archive = stack.enter_context(zipfile.ZipFile(path))
                name = _only_json(path, archive)
                yield _unmarked(stack.enter_context(archive.open(name))), archive.getinfo(name).file_size
            elif begins.startswith(_GZIP):
                unpacked = stack.enter_context(gzip.open(path))
                yield _unmarked(cast("IO[bytes]", unpacked)), 0
            else:
                yield _unmarked(stack.enter_context(path.open("rb"))), path.stat().st_size
    except (OSError, zipfile.BadZipFile, EOFError) as error:
        said = getattr(error, "strerror", None) or error
        raise UsageError(f"{path} cannot be read: {said}", "fetch it: provision data get visual-genome") from error


def _unmarked(data: IO[bytes]) -> IO[bytes]:
    """The same, behind the byte order mark that editors of Windows write."""
    if data.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
        data.seek(0)
    return data


def _only_json(path: Path, archive: zipfile.ZipFile) -> str:
    names = [name for name in archive.namelist() if name.endswith(".json") and not name.startswith("__MACOSX/")]
    if len(names) != 1:
        raise UsageError(f"{path} holds {len(names)} JSON files, not one", "unpack it, and name the file")
    return names[0]


def read_images(path: Path) -> dict[int, VgImage]:
    """The pictures of image_data.json by their id. UsageError where it is another file."""
    with opened(path) as (data, _):
        try:
            found = msgspec.json.decode(data.read(), type=list[VgImage])
        except (msgspec.DecodeError, RecursionError) as error:
            raise _not(path, "image_data.json", error) from error
    known: dict[int, VgImage] = {}
    for picture in found:
        if known.setdefault(id_of(path, picture), picture) != picture:
            raise UsageError(
                f"{path} has two pictures with the image_id {id_of(path, picture)}: whose objects are these?",
                "take the file as Visual Genome publishes it",
            )
    return known


def read_objects(path: Path, stream: bool, progress: Progress) -> Iterator[VgObjects]:
    """The objects of objects.json, picture by picture. UsageError where it is another file.

    `progress` gets the pictures done and in all, or bytes with `stream`.
    """
    with opened(path) as (data, size):
        yield from _streamed(path, data, size, progress) if stream else _whole(path, data, progress)


def _whole(path: Path, data: IO[bytes], progress: Progress) -> Iterator[VgObjects]:
    try:
        pieces = msgspec.json.decode(data.read(), type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError) as error:
        raise _not(path, "objects.json", error) from error
    decode = msgspec.json.Decoder(VgObjects).decode
    for number, piece in enumerate(pieces):
        try:
            found = decode(piece)
        except (msgspec.DecodeError, RecursionError) as error:
            raise _not(path, "objects.json", error, number) from error
        yield found
        if number % 1000 == 0:
            progress(number, len(pieces))
    progress(len(pieces), len(pieces))


def _streamed(path: Path, data: IO[bytes], size: int, progress: Progress) -> Iterator[VgObjects]:
    ijson = extra("ijson")
    number = -1
    try:
        for number, piece in enumerate(ijson.items(data, "item", use_float=True)):
            yield msgspec.convert(piece, VgObjects)
            if number % 1000 == 0:
                progress(data.tell(), size)
    except (ijson.JSONError, msgspec.ValidationError) as error:
        raise _not(path, "objects.json", error, number) from error
    if number < 0:
        raise _not(path, "objects.json", ValueError("it has no pictures"))
    progress(data.tell(), size)


def _not(path: Path, what: str, error: Exception, number: int | None = None) -> UsageError:
    """Which picture and which key are wrong."""
    said = str(error).replace("`", "'").replace("$.", "")
    at = "" if number is None else f"picture {number}: "
    mend = "name the files the right way round"
    if any(word in said for word in ("truncated", "EOF")):
        mend = "it is cut off: fetch it again"
    elif any(word in said for word in ("malformed", "lexical", "parse error")):
        mend = "it is no JSON in UTF-8: fetch it again"
    return UsageError(f"{path} is not Visual Genome's {what}: {at}{said}", mend)


def id_of(path: Path, picture: VgImage | VgObjects) -> int:
    number = picture.id if picture.image_id is None else picture.image_id
    if number is None:
        raise UsageError(f"{path} has a picture without image_id", "take the file as Visual Genome publishes it")
    return number
