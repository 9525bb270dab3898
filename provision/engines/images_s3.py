"""The image of this laptop's engine in the account's bucket, where each machine of a run fetches it from.

    images/blobs/HEX.gz       one file of the tar that `docker save` writes, packed; HEX: sha256 of the packed bytes
    images/sha256/HEX.json    the index of the image of that id; it is written last: where it is, all blobs are

This laptop notes the sum of each index that it writes, and vouches for no other one. Blobs are named by their content:
layers that two images have in common, and what an upload that was killed has sent, go over the line once. The tar is
read as a stream; at any time no more than a few of its files lie packed in the cache.
"""

import hashlib
import io
import json
import tarfile
import threading
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from infra.aws import s3_parts
from infra.aws.s3 import S3
from infra.concurrency import pool, together
from infra.disk import writing
from infra.docker_engine import Docker
from infra.errors import EngineError, RunError
from infra.keys import write_private
from provision.engines.capsule import IMAGES, index_key
from provision.files import folders
from provision.files.bar import Bar
from provision.settings import cache_home, state_home

_BLOBS = f"{IMAGES}blobs/"
_MANIFEST = "manifest.json"
_CHUNK = 1 << 20
_LEVEL = 4  # of zlib
_AT_ONCE = 2  # packed files on the disk, besides the one that is being packed
_LINES = 6  # connections; one seldom fills a line


@dataclass(frozen=True)
class Blob:
    """One file of the tar: `name` there, bytes and sha256 unpacked; bytes packed, and the key of its object."""

    name: str
    size: int
    sha256: str
    packed: int
    key: str


@dataclass
class _Count:
    """How much of an image is done, in bytes of the tar; and how much was sent, in bytes of the line.

    `total` is what the engine says of the image, which is less than the tar, and much less where its layers lie packed.
    Where more than that was read nobody knows the total (0) before the tar's end.
    """

    bar: Bar
    total: int
    read: int = 0
    done: float = 0.0
    sent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def come(self, size: int, *, last: bool = False) -> None:
        """So much more of the tar was read; with `last` that was all."""
        with self.lock:
            self.read += size
            self.total = self.read if last else self.total if self.read <= self.total else 0
            self.bar.at(int(self.done), self.total)

    def add(self, more: float, sent: int = 0) -> None:
        """So much more is done, and was sent."""
        with self.lock:
            self.done += more
            self.sent += sent
            self.bar.at(int(self.done), self.total)


def is_there(store: S3, digest: str) -> bool:
    """Whether the bucket has the whole image of that id."""
    return store.head(index_key(digest)) is not None


def vouched(store: S3, digest: str) -> str:
    """The sha256 of the image's index in the bucket, where this laptop wrote it; "" where somebody else did, or none is
    there."""
    text = store.read(index_key(digest))
    found = "" if text is None else hashlib.sha256(text).hexdigest()
    return found if found and found == _noted(digest) else ""


def is_whole(store: S3, digest: str) -> bool:
    """Whether this laptop vouches for the image, and all of its blobs are in the bucket still: somebody may have swept
    there."""
    text = store.read(index_key(digest)) if vouched(store, digest) else None
    if text is None:
        return False
    keys = {str(blob["key"]) for blob in json.loads(text)["blobs"]}
    found, errors = together([partial(store.head, key) for key in keys])
    if errors:
        raise errors[0]
    return None not in found


def send(engine: Docker, store: S3, tag: str, digest: str) -> int:
    """Bring the image to the bucket, unless this laptop did and it is whole; how many bytes were sent.

    RunError where the engine has another image under that tag by now, EngineError where it fails, DiskError where the
    cache has no room for a packed layer; AuthError or CloudError where S3 refuses.
    """
    if is_whole(store, digest):
        return 0
    known = engine.image(tag)
    if known is None or known[0] != digest:
        raise RunError(f"this laptop's engine has no image {tag} of the id {digest[:19]}", "build it again")
    place = cache_home() / "images"
    with Bar(f"image {tag} to s3://{store.bucket}", known[1]) as bar, writing(place), folders.staging(place) as aside:
        count = _Count(bar, known[1])
        told = io.BytesIO()
        blobs = _sent(store, _files(engine.archive(tag), told), aside, count)
    index = {"id": digest, "tag": tag, "config": _config(told.getvalue()), "blobs": [vars(blob) for blob in blobs]}
    text = json.dumps(index).encode()
    store.write(index_key(digest), text)
    write_private(_note(digest), hashlib.sha256(text).hexdigest())
    return count.sent


def _note(digest: str) -> Path:
    return state_home() / "images" / digest.removeprefix("sha256:")


def forget_note(digest: str) -> None:
    """Forget that this laptop brought the image."""
    _note(digest).unlink(missing_ok=True)


def _noted(digest: str) -> str:
    """The sum of the index that this laptop wrote; "" where it wrote none."""
    try:
        return _note(digest).read_text().strip()
    except OSError:
        return ""


def _files(chunks: Iterable[bytes], told: io.BytesIO) -> Iterator[tuple[str, IO[bytes] | str]]:
    """The files of the tar, by name, each to be read before the next one; of a link, the name of what it leads to.
    `told` gets the text of the archive's own manifest."""
    stream: Any = _Stream(iter(chunks))
    try:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                data: IO[bytes] | None = tar.extractfile(member) if member.isfile() else None
                if data is not None and member.name == _MANIFEST:
                    told.write(data.read())
                    data = io.BytesIO(told.getvalue())
                if data is not None:
                    yield member.name, data
                elif member.islnk() or member.issym():
                    yield member.name, _led_to(member)
    except tarfile.TarError as error:
        raise _broken(str(error)) from error


def _broken(why: str) -> EngineError:
    return EngineError(f"the engine's archive of the image is broken: {why}", "run the same command again")


def _led_to(member: tarfile.TarInfo) -> str:
    """The name of the file that a link of the tar leads to: older engines save a layer that comes twice so."""
    if member.islnk():
        return member.linkname
    parts: list[str] = []
    for part in (PurePosixPath(member.name).parent / member.linkname).parts:
        if part == "..":
            parts = parts[:-1]
        else:
            parts.append(part)
    return "/".join(parts)


class _Stream:
    """Chunks as a file that is read from its front to its end."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def read(self, size: int) -> bytes:
        parts, left = [self._rest], size - len(self._rest)
        while left > 0 and (chunk := next(self._chunks, b"")):
            parts.append(chunk)
            left -= len(chunk)
        data = b"".join(parts)
        self._rest = data[size:]
        return data[:size]


def _sent(store: S3, files: Iterable[tuple[str, IO[bytes] | str]], aside: Path, count: _Count) -> list[Blob]:
    """Pack each file and send it, while the next one is packed already; what they became, in the order of the tar."""
    room, broken = threading.Semaphore(_AT_ONCE), threading.Event()
    found: dict[str, Blob] = {}
    waiting: list[Future[None]] = []

    def one(blob: Blob, path: Path) -> None:
        try:
            _put(store, blob, path, lines, count)
        except BaseException:
            broken.set()
            raise
        finally:
            path.unlink(missing_ok=True)
            room.release()

    with pool(_LINES) as lines, pool(_AT_ONCE) as senders:
        for number, (name, data) in enumerate(files):
            if isinstance(data, str):
                found[name] = Blob(name, *_same(found, name, data))
                continue
            room.acquire()
            if broken.is_set():
                break
            path = aside / str(number)
            found[name] = _packed(name, data, path)
            count.come(found[name].size)
            waiting.append(senders.submit(one, found[name], path))
        count.come(0, last=True)
        for future in waiting:
            future.result()
    return list(found.values())


def _same(found: dict[str, Blob], name: str, target: str) -> tuple[int, str, int, str]:
    if target not in found:
        raise _broken(f"{name} leads to {target}, which is not there")
    blob = found[target]
    return blob.size, blob.sha256, blob.packed, blob.key


def _packed(name: str, data: IO[bytes], path: Path) -> Blob:
    """Pack a file; the same bytes always give the same packed bytes: no time and no name is in them."""
    press = zlib.compressobj(_LEVEL, wbits=16 + zlib.MAX_WBITS)
    plain, packed, size, total = hashlib.sha256(), hashlib.sha256(), 0, 0
    with path.open("wb") as out:
        while True:
            chunk = data.read(_CHUNK)
            piece = press.compress(chunk) if chunk else press.flush()
            plain.update(chunk)
            packed.update(piece)
            size, total = size + len(chunk), total + len(piece)
            out.write(piece)
            if not chunk:
                break
    return Blob(name, size, plain.hexdigest(), total, f"{_BLOBS}{packed.hexdigest()}.gz")


def _put(store: S3, blob: Blob, path: Path, lines: Executor, count: _Count) -> None:
    """Send a packed file, unless it is there."""
    there = store.head(blob.key)
    if there is not None and there.size == blob.packed:
        count.add(blob.size)
        return
    share = blob.size / blob.packed
    sent = s3_parts.send(store, path, blob.key, lines, lambda more: count.add(more * share))
    count.add(0, sent)


def _config(manifest: bytes) -> str:
    """The name of the image's configuration in the archive; its sha256 is the image's id at most engines."""
    try:
        return str(json.loads(manifest)[0]["Config"])
    except (ValueError, LookupError, TypeError) as error:
        raise _broken(f"{_MANIFEST}: {error}") from error
