"""Objects as files: each is whole or not there, whoever wants them.

They come into a folder beside their places first, are held against their sums there, and are moved. Small objects cost
a round trip each, so several come at a time. The threads that bring them are daemons: Ctrl-C does not wait for a large
one.
"""

import contextlib
import hashlib
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from infra.download import digests
from infra.errors import RunError
from infra.store import Store
from provision.files.bar import Bar

T = TypeVar("T")

_AT_ONCE = 8  # files
_LARGE = 20_000_000  # bytes: less comes without a word


@dataclass(frozen=True)
class Wanted:
    """An object to have as the file `path`: its key, its size in bytes, and its sha256 where that is known."""

    key: str
    path: Path
    size: int
    sha256: str = ""


def missing(files: Sequence[Wanted], trust_size: bool = False) -> list[Wanted]:
    """Those that are not there whole. A file whose sum is not known counts as there only with `trust_size`."""
    return [file for file in files if not _is_there(file, trust_size)]


def _is_there(file: Wanted, trust_size: bool) -> bool:
    if not file.path.is_file() or file.path.stat().st_size != file.size:
        return False
    return _sha256(file.path) == file.sha256 if file.sha256 else trust_size


def _sha256(path: Path) -> str:
    return digests(path, ["sha256"])["sha256"]


def bring(store: Store, files: Sequence[Wanted], aside: Path) -> None:
    """Bring them by way of the folder `aside`, which lies on the same disk.

    RunError for a file that comes damaged: its place stays as it was. OSError where the disk refuses.
    """
    moved: list[int] = []

    def bring_one(file: Wanted) -> None:
        fresh = aside / hashlib.sha256(file.key.encode()).hexdigest()
        store.download(file.key, fresh)
        if file.sha256 and _sha256(fresh) != file.sha256:
            raise RunError(
                f"{file.path.name} came damaged: its sha256 is not the one that was written down",
                "run the same command again; if it stays so, the stored copy is damaged",
            )
        file.path.parent.mkdir(parents=True, exist_ok=True)
        fresh.replace(file.path)
        moved.append(file.size)

    with Bar("fetched", sum(file.size for file in files), least=_LARGE) as bar:
        each(bring_one, files, lambda: bar.at(sum(moved) + _bytes_in(aside)))


def _bytes_in(folder: Path) -> int:
    found = 0
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # moved meanwhile
            found += path.stat().st_size
    return found


def each(work: Callable[[T], None], items: Sequence[T], meanwhile: Callable[[], None]) -> None:
    """`work` on each item, a few at a time; its first error ends it. `meanwhile` is called twice a second or more."""
    todo: queue.SimpleQueue[T] = queue.SimpleQueue()
    ended: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
    stopped = threading.Event()
    for item in items:
        todo.put(item)

    def worker() -> None:
        with contextlib.suppress(queue.Empty):
            while not stopped.is_set():
                item = todo.get_nowait()
                try:
                    work(item)
                    ended.put(None)
                except Exception as error:  # the caller's to see
                    ended.put(error)

    for _ in items[:_AT_ONCE]:
        threading.Thread(target=worker, daemon=True).start()
    try:
        _await(ended, len(items), meanwhile)
    finally:
        stopped.set()


def _await(ended: "queue.SimpleQueue[Exception | None]", count: int, meanwhile: Callable[[], None]) -> None:
    while count:
        meanwhile()
        with contextlib.suppress(queue.Empty):
            if error := ended.get(timeout=0.5):
                raise error
            count -= 1
