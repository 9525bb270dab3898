"""Saved images: each host of a run gets the same one, and saving and packing it costs more than sending it.

One gzipped `docker save` for each image id, in the user's cache; the few newest are kept. The cache is a help and no
more: where it cannot be read or written (a full disk, another process that prunes) the image is sent without it.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from infra.docker_engine import Docker
from provision.settings import cache_home

_KEEP = 2
_CHUNK = 1 << 18
_DEAD_S = 86400.0  # no image takes a day: its process was killed


def chunks(engine: Docker, tag: str, digest: str) -> Iterator[bytes]:
    """The image of that id, packed; from the cache where it is there, else into it on the way."""
    path = cache_home() / "images" / f"{digest.removeprefix('sha256:')}.tar.gz"
    try:
        saved = path.open("rb")
    except OSError:
        yield from _filled(engine, tag, path)
        return
    with saved:
        with contextlib.suppress(OSError):
            path.touch()
        while chunk := saved.read(_CHUNK):
            yield chunk


def _filled(engine: Docker, tag: str, path: Path) -> Iterator[bytes]:
    """A reader that stops early, or a full disk here, leaves no half file."""
    copy = _Copy(path)
    try:
        for chunk in engine.save(tag):
            copy.write(chunk)
            yield chunk
        copy.keep()
    finally:
        copy.drop()
    _prune(path.parent)


class _Copy:
    """A file of this process that takes its name once it is whole. The first write that fails ends it, silently."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.{os.getpid()}.part")  # others may fill the same at once
        self._out: IO[bytes] | None = None
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._out = self._part.open("xb")

    def write(self, chunk: bytes) -> None:
        if self._out is None:
            return
        try:
            self._out.write(chunk)
        except OSError:
            self.drop()

    def keep(self) -> None:
        if self._out is not None:
            with contextlib.suppress(OSError):
                self._out.close()
                self._part.replace(self._path)

    def drop(self) -> None:
        """Of a copy that was kept nothing is left to drop."""
        out, self._out = self._out, None
        if out is not None:
            with contextlib.suppress(OSError):
                out.close()  # writes what it held back, which may fail again
            with contextlib.suppress(OSError):
                self._part.unlink()


def _prune(folder: Path) -> None:
    """Keep the newest images, and no part whose process must be dead. Another process may prune at the same time."""
    saved = sorted(folder.glob("*.tar.gz"), key=_changed)
    dead = [part for part in folder.glob("*.part") if _changed(part) < time.time() - _DEAD_S]
    for path in [*saved[:-_KEEP], *dead]:
        with contextlib.suppress(OSError):
            path.unlink()


def _changed(path: Path) -> float:
    """The time of the file's last change, in seconds since 1970; 0 where the file is gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
