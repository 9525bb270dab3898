"""Bring a run's results home, from S3: they are there whether or not its machine still is.

Files appear whole or not at all and belong to the user who fetches: they are brought into a folder of their own
beside the results, checked there, and moved. What a run's folder says is believed by no path: all of it must stay
inside the target. The room on the disk is looked at before the first byte. A second fetch brings what is missing.

Small objects cost a round trip each, and a day's log is 17,000 of them: several are read at a time. The threads that
bring files are daemons, so that Ctrl-C does not wait for a large one.
"""

import contextlib
import errno
import hashlib
import queue
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from infra.aws.s3 import Stored
from infra.errors import DiskError, RunError
from provision import console
from provision.runs import Run, attempt_of

T = TypeVar("T")

_RESERVE = 50_000_000
_FILES = 8  # at a time
_PIECES = 16
_LARGE = 20_000_000
_MANY = 2000
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Wanted:
    """One file to bring: from which key, to which path, how many bytes; its sha256 where the run knows it."""

    key: str
    path: Path
    size: int
    sha256: str | None = None


def wanted(run: Run, target: Path, every_snapshot: bool = False) -> list[Wanted]:
    """The manifest, the newest snapshot (or all) and the outputs. RunError where one would leave `target`."""
    snapshots = run.snapshots()
    chosen = snapshots if every_snapshot else snapshots[-1:]
    found = [Wanted(run.key("manifest.json"), target / "manifest.json", 0)]
    found += [_part(target, snapshot.prefix, file) for snapshot in chosen for file in snapshot.files]
    below = run.key("outputs/")
    outputs = [one for one in run.store.objects(below) if not one.key.endswith("/")]  # a folder made in a console
    found += [Wanted(one.key, inside(target, one.key.removeprefix(below)), one.size) for one in outputs]
    first = {one.path: one for one in reversed(found)}  # of two with one name, the one whose sum is known
    return [one for one in found if first[one.path] is one]


def _part(target: Path, prefix: str, file: Mapping[str, Any]) -> Wanted:
    """A file of a snapshot, as its complete.json says."""
    path = str(file["path"])
    key = prefix + path.rsplit("/", 1)[-1]
    return Wanted(key, inside(target, path), int(file["size"]), str(file["sha256"]))


def inside(target: Path, name: str) -> Path:
    """The path `name` below `target`; RunError where it would be elsewhere."""
    pure = PurePosixPath(name)
    if not pure.parts or pure.is_absolute() or ".." in pure.parts or "\0" in name:
        raise RunError(
            f"the run's folder in S3 names a file outside of itself: {name!r}; nothing was fetched",
            "somebody changed it: fetch what you trust from the bucket by hand",
        )
    return target / pure


def fetch(run: Run, target: Path, every_snapshot: bool = False) -> list[Path]:
    """Bring them; the files that are there now.

    DiskError, with nothing half-written, where the disk is full; RunError for a file that came damaged.
    """
    try:
        return _fetched(run, target, wanted(run, target, every_snapshot))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise DiskError(
                f"cannot write to {target}: {error.strerror}", "give another folder: provision fetch RUN DIR"
            ) from error
        raise _full(target, "the disk filled up") from error


def _fetched(run: Run, target: Path, files: list[Wanted]) -> list[Path]:
    texts = {inside(target, name): text for name, text in run.manifest.rendered.files.items()}
    pieces = run.log_pieces()
    missing = [one for one in files if not _have(one)]
    check_room(target, sum(one.size for one in missing) + sum(piece.size for piece in pieces))
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target, ignore_cleanup_errors=True) as staging:
        _bring(run, missing, Path(staging))
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        log = _log(run, pieces, Path(staging) / "log.txt").replace(target / "log.txt")
    return [*(one.path for one in files), log]


def check_room(target: Path, need: int) -> None:
    """DiskError where `need` bytes do not fit beside a small reserve."""
    place = target
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if need + min(_RESERVE, need) > free:
        raise _full(target, f"{console.size(need)} are needed and {console.size(free)} are free")


def _full(target: Path, why: str) -> DiskError:
    return DiskError(
        f"no room in {target}: {why}; the run stays in S3 as it is",
        "free some space, or fetch into another folder: provision fetch RUN DIR",
    )


def _have(one: Wanted) -> bool:
    """Whether this very file is there already; where its sum is not known nobody can say."""
    path = one.path
    return bool(one.sha256) and path.is_file() and path.stat().st_size == one.size and _sum(path) == one.sha256


def _sum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as data:
        while chunk := data.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _bring(run: Run, files: list[Wanted], staging: Path) -> None:
    share = _Share("fetched", sum(one.size for one in files), _LARGE, console.size)
    moved: list[int] = []

    def one_file(one: Wanted) -> None:
        fresh = staging / hashlib.sha256(one.key.encode()).hexdigest()
        run.store.download(one.key, fresh)
        if one.sha256 is not None and _sum(fresh) != one.sha256:
            raise RunError(
                f"{one.path.name} came damaged: its sha256 is not the one in the snapshot's complete.json",
                "run the same command again; if it stays so, the copy in S3 is damaged",
            )
        one.path.parent.mkdir(parents=True, exist_ok=True)
        fresh.replace(one.path)
        moved.append(one.size)

    _each(one_file, files, lambda: share.at(sum(moved) + _bytes_in(staging)))


def _bytes_in(folder: Path) -> int:
    found = 0
    for path in folder.iterdir():
        try:
            found += path.stat().st_size
        except FileNotFoundError:  # moved meanwhile
            continue
    return found


def _each(work: Callable[[T], None], items: Sequence[T], meanwhile: Callable[[], None]) -> None:
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

    for _ in items[:_FILES]:
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


class _Share:
    """How much of something large is done: a line for each tenth, or each ten seconds; none below `least`."""

    def __init__(self, what: str, total: int, least: int, show: Callable[[float], str]) -> None:
        self._what, self._total, self._show = what, total, show
        self._silent = total < least
        self._tenth, self._said = 0, time.monotonic()

    def at(self, count: int) -> None:
        now, tenth = time.monotonic(), count * 10 // max(self._total, 1)
        if self._silent or (tenth == self._tenth and now - self._said < 10):
            return
        self._tenth, self._said = tenth, now
        console.line(f"  {self._what}: {self._show(count)} of {self._show(self._total)}")


def log(run: Run) -> Iterator[tuple[int, str]]:
    """(attempt, text) of each piece of the log in order, read several at a time."""
    for attempt, data in _pieces(run, run.log_pieces()):
        yield attempt, data.decode(errors="replace")


def _pieces(run: Run, pieces: Sequence[Stored]) -> Iterator[tuple[int, bytes]]:
    share = _Share("pieces of the log", len(pieces), _MANY, lambda count: f"{count:,.0f}")
    read = _ahead(lambda piece: run.store.read(piece.key) or b"", pieces, _PIECES)
    for done, (piece, data) in enumerate(zip(pieces, read, strict=True), 1):
        share.at(done)
        yield attempt_of(piece.key), data


def _ahead(work: Callable[[Stored], T], items: Sequence[Stored], wide: int) -> Iterator[T]:
    """`work` on each item, in order, at most `wide` of them ahead of the reader."""
    from concurrent.futures import Future, ThreadPoolExecutor

    waiting: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(wide)
    try:
        for item in items:
            if len(waiting) == wide:
                yield waiting.popleft().result()
            waiting.append(pool.submit(work, item))
        while waiting:
            yield waiting.popleft().result()
    finally:  # also for a reader that stops early
        pool.shutdown(wait=False, cancel_futures=True)


def _log(run: Run, pieces: list[Stored], path: Path) -> Path:
    """All of the log as one file. The last line of an attempt that was cut off ends with the attempt."""
    before, end = 0, b"\n"
    with path.open("wb") as out:
        for attempt, data in _pieces(run, pieces):
            if attempt != before and not end.endswith(b"\n"):
                out.write(b"\n")
            out.write(data)
            before, end = attempt, data[-1:] or end
    return path
