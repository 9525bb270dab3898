"""Visual Genome's files: objects.json and image_data.json of versions 1.0, 1.2 and 1.4, plain, .gz or .zip.

Read whole, one picture's objects at a time are decoded out of the file's bytes; `stream` reads the file piece by piece
with ijson: slower, and in a fraction of the memory.
"""

import contextlib
import gzip
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

import msgspec

from infra.errors import UsageError
from provision.data.extras import extra

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
    """The JSON in a file, which may be a .gz or a .zip with one JSON file in it; and its size in bytes (of .gz: 0).

    UsageError where it cannot be read, or where a .zip holds more than one.
    """
    try:
        with contextlib.ExitStack() as stack:
            if path.suffix == ".zip":
                archive = stack.enter_context(zipfile.ZipFile(path))
                name = _only_json(path, archive)
                yield stack.enter_context(archive.open(name)), archive.getinfo(name).file_size
            elif path.suffix == ".gz":
                unpacked = stack.enter_context(gzip.open(path))
                yield cast("IO[bytes]", unpacked), 0
            else:
                yield stack.enter_context(path.open("rb")), path.stat().st_size
    except (OSError, zipfile.BadZipFile, EOFError) as error:
        said = getattr(error, "strerror", None) or error
        raise UsageError(f"{path} cannot be read: {said}", "fetch it: provision data get visual-genome") from error


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
    return {id_of(path, picture): picture for picture in found}


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
    return UsageError(f"{path} is not Visual Genome's {what}: {at}{said}", "name the files the right way round")


def id_of(path: Path, picture: VgImage | VgObjects) -> int:
    number = picture.id if picture.image_id is None else picture.image_id
    if number is None:
        raise UsageError(f"{path} has a picture without image_id", "take the file as Visual Genome publishes it")
    return number
