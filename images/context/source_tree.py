"""A source tree as it will be, and the step that makes it so: all files or none, also when it is killed on the way.

New files are first written whole to FOLDER in the tree. READY marks that all are there; only then are they moved to
their places, one rename each. Who is stopped before READY has changed nothing, and the next run removes FOLDER; who is
stopped after it has decided, and the next run moves the rest. Where a move is refused, the old files come back.
"""

import contextlib
import difflib
import errno
import os
import shutil
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    from images.context.source_text import SUFFIXES
except ImportError:  # inside an image build the modules lie side by side
    from source_text import SUFFIXES  # type: ignore[import-not-found, no-redef]

CHANGED = "changed"  # what became of a change
ALREADY = "already there"
SKIPPED = "skipped"

FOLDER = ".provision-patch"
READY = "ready"

_NOT_CAFFES = ("build", "distribute", "3rdparty", "third_party", "thirdparty", "external", "gtest", "node_modules")


class Misfit(Exception):
    """An edit that does not fit; the message says where, what was expected and what was found."""


class Tree:
    """Files of a source tree as they will be. Nothing is written before `write`.

    Texts have plain line ends here; those of each file (CRLF, or mixed) are kept when it is written.
    """

    def __init__(self, root: Path, planned: "dict[str, str] | None" = None, like: "Tree | None" = None) -> None:
        self.root = root
        self.planned = dict(planned or {})
        self._texts: dict[str, str] = like._texts if like else {}
        self._sources: list[str] = like._sources if like else []

    def draft(self) -> "Tree":
        """A copy to plan in, which can be thrown away."""
        return Tree(self.root, self.planned, self)

    def has(self, path: str) -> bool:
        return path in self.planned or (self.root / path).is_file()

    def read(self, path: str) -> str:
        if path in self.planned:
            return self.planned[path]
        if path not in self._texts:
            self._texts[path] = _read(self.root / path).replace("\r\n", "\n")
        return self._texts[path]

    def sources(self) -> "list[str]":
        """The paths of all C++ and CUDA sources, but for what a build made or others wrote, sorted."""
        if not self._sources:
            for folder, folders, names in os.walk(self.root):
                folders[:] = [
                    name for name in folders if name not in _NOT_CAFFES and not name.startswith((".", "cmake-"))
                ]
                paths = [Path(folder, name).relative_to(self.root).as_posix() for name in names]
                self._sources += [one for one in paths if one.endswith(SUFFIXES) and ".pb." not in one]
            self._sources.sort()
        return sorted({*self._sources, *(path for path in self.planned if path.endswith(SUFFIXES))})

    @property
    def with_crlf(self) -> "list[str]":
        """The planned files whose lines end, or some of them, as on Windows."""
        there = [path for path in self.planned if (self.root / path).is_file()]
        return [path for path in there if b"\r\n" in (self.root / path).read_bytes()]

    def write(self) -> None:
        """Put all planned files in their places, or none. OSError where the disk refuses; the tree is as it was."""
        with _alone(self.root):
            _finish(self.root)
            if self.planned:
                self._put()

    def _put(self) -> None:
        folder = self.root / FOLDER
        try:
            for path, text in self.planned.items():
                self._prepare(path, folder / "new" / path, text)
            (folder / READY).touch()
            _sync(folder)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        _move(self.root)

    def _prepare(self, path: str, new: Path, text: str) -> None:
        place = self.root / path
        new.parent.mkdir(parents=True, exist_ok=True)
        old = _read(place) if place.is_file() else ""
        with new.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
            stream.write(_ended_as(text, old))
            stream.flush()
            os.fsync(stream.fileno())
        if place.is_file():
            shutil.copymode(place, new)


def finish(root: Path) -> bool:
    """End a run that was stopped on the way: forward if it had decided, else back. Whether there was one."""
    if not (root / FOLDER).is_dir():
        return False
    with _alone(root):
        return _finish(root)


def _finish(root: Path) -> bool:
    folder = root / FOLDER
    if not folder.is_dir():
        return False
    if (folder / READY).is_file():
        _move(root)
    else:
        shutil.rmtree(folder)
    return True


def _move(root: Path) -> None:
    """Move the new files to their places, then remove FOLDER. OSError where a move is refused: all is as it was."""
    folder = root / FOLDER
    done: list[tuple[Path, Path]] = []
    try:
        for new in sorted(path for path in (folder / "new").rglob("*") if path.is_file()):
            name = new.relative_to(folder / "new")
            place, old = root / name, folder / "old" / name
            if place.is_symlink():
                place = place.resolve()
            place.parent.mkdir(parents=True, exist_ok=True)
            old.parent.mkdir(parents=True, exist_ok=True)
            if place.is_file() and not old.exists():
                shutil.copy2(place, old)
            _replace(new, place)
            done.append((old, place))
    except OSError:
        for old, place in done:
            _replace(old, place) if old.exists() else place.unlink()
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder)


def _replace(new: Path, place: Path) -> None:
    """Move a file over another in one step, by way of a copy beside it where that is on another disk."""
    try:
        new.replace(place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        near = place.with_name(place.name + FOLDER)
        try:
            shutil.copy2(new, near)
            near.replace(place)
        except OSError:
            near.unlink(missing_ok=True)
            raise
        new.unlink()


@contextlib.contextmanager
def _alone(root: Path) -> "Iterator[None]":
    """Keep other runs from writing to the tree meanwhile, where the system can: they wait."""
    handle = os.open(root, os.O_RDONLY)
    try:
        with contextlib.suppress(ImportError):
            import fcntl  # not on Windows

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _read(path: Path) -> str:
    """The file's text; bytes that are no UTF-8, and line ends, come out as they went in."""
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
        return stream.read()


def _ended_as(text: str, old: str) -> str:
    """The text with the line ends that its lines had; a new line ends as the one before it."""
    if "\r\n" not in old:
        return text
    if old.count("\r\n") == old.count("\n"):
        return text.replace("\n", "\r\n")
    lines, were = text.split("\n"), old.split("\n")
    plain = [line[:-1] if line.endswith("\r") else line for line in were]
    ends = ["\r" if line.endswith("\r") else "" for line in were]
    said, last = [], ends[0]
    for _, old_first, old_end, first, end in difflib.SequenceMatcher(None, plain, lines, autojunk=False).get_opcodes():
        for number in range(first, end):
            if old_end > old_first:  # a line that stayed, or took another's place
                last = ends[min(old_first + number - first, old_end - 1)]
            said.append(lines[number] + last)
    return "\n".join(said)


def _sync(folder: Path) -> None:
    """Have the folder's own entries on the disk, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
