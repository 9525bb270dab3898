"""Saved images: each host of a run gets the same one, and saving and packing it costs more than sending it.

One gzipped `docker save` for each image id, in the user's cache; the few newest are kept.
"""

from collections.abc import Iterator
from pathlib import Path

from infra.engine import Engine
from provision.settings import cache_home

_KEEP = 2
_CHUNK = 1 << 18


def chunks(engine: Engine, tag: str, digest: str) -> Iterator[bytes]:
    """The image of that id, packed; from the cache where it is there, else into it on the way."""
    folder = cache_home() / "images"
    path = folder / f"{digest.removeprefix('sha256:')}.tar.gz"
    if not path.exists():
        yield from _filled(engine, tag, path)
        _prune(folder)
        return
    path.touch()
    with path.open("rb") as saved:
        while chunk := saved.read(_CHUNK):
            yield chunk


def _filled(engine: Engine, tag: str, path: Path) -> Iterator[bytes]:
    """A reader that stops early, or a full disk here, leaves no half file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    out = part.open("wb")
    try:
        for chunk in engine.save(tag):
            out.write(chunk)
            yield chunk
        out.close()
        part.replace(path)
    finally:
        out.close()
        part.unlink(missing_ok=True)


def _prune(folder: Path) -> None:
    saved = sorted(folder.glob("*.tar.gz"), key=lambda path: path.stat().st_mtime)
    for path in saved[:-_KEEP]:
        path.unlink(missing_ok=True)
