"""Which snapshots of a run count. The machine writes them: nothing is believed that S3's own listing does not show.

snapshots/000001500-002/...    of the iteration and the attempt; earlier versions wrote no attempt
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from infra.store import Stored
from provision.files.folders import inside
from provision.recipes.spec import Recipe, complete_snapshots
from provision.runs.manifest import Attempt, Snapshot

MARK = re.compile(r"(?P<iteration>\d{1,18})(?:-(?P<attempt>\d{1,9}))?/complete\.json")


class _File(msgspec.Struct, frozen=True):
    path: str
    size: int
    sha256: str
    name: str = ""  # of its object: by it the guard finds the sum


class _Mark(msgspec.Struct, frozen=True):
    files: tuple[_File, ...]


def whole(recipe: Recipe, below: str, objects: Sequence[Stored], read: Callable[[str], Any]) -> list[Snapshot]:
    """The complete snapshots among the objects under the prefix `below`, oldest first.

    One is complete when its complete.json can be read, and each file that it names is there, as large as it says, and
    below the run's folder.
    """
    sizes = {stored.key: stored.size for stored in objects}
    found: list[Snapshot] = []
    for key in sizes:
        match = MARK.fullmatch(key.removeprefix(below))
        files = _files(read(key)) if match else ()
        prefix = key.removesuffix("complete.json")
        if match and files and all(_is_there(file, prefix, sizes) for file in files):
            found += _of_mark(recipe, prefix, files, int(match["attempt"] or 0))
    return sorted(found, key=lambda snapshot: (snapshot.iteration, snapshot.attempt))


def _files(raw: Any) -> tuple[_File, ...]:
    """The files of a complete.json; none where it is damaged, or was just deleted with its old snapshot."""
    try:
        return msgspec.convert(raw, _Mark).files
    except msgspec.ValidationError:
        return ()


def _is_there(file: _File, prefix: str, sizes: dict[str, int]) -> bool:
    name = file.path.rsplit("/", 1)[-1]
    lies_in = inside(Path("/work"), file.path) is not None and file.name in ("", name)
    return lies_in and sizes.get(prefix + name) == file.size


def _of_mark(recipe: Recipe, prefix: str, files: tuple[_File, ...], attempt: int) -> list[Snapshot]:
    plain = tuple(msgspec.structs.asdict(file) for file in files)
    return [
        Snapshot(fitting.iteration, prefix, fitting.stem, plain, attempt)
        for fitting in complete_snapshots(recipe, [file.path for file in files])
    ]


def counting(found: Iterable[Snapshot], attempts: Iterable[Attempt]) -> list[Snapshot]:
    """Those from which the run goes on, oldest first: of one iteration the newest attempt's, and of earlier attempts
    none beyond the iteration from which a later one went on by choice."""
    chosen = [attempt for attempt in attempts if attempt.chosen]
    left = [
        snapshot
        for snapshot in found
        if all(snapshot.attempt >= later.number or snapshot.iteration <= later.resumed_from for later in chosen)
    ]
    newest = {snapshot.iteration: snapshot.attempt for snapshot in left}  # sorted: the newest attempt comes last
    return [snapshot for snapshot in left if snapshot.attempt == newest[snapshot.iteration]]
