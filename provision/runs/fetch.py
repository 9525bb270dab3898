"""Bring a run's results home from its place, where they stay after its machine has ended.

Files appear whole or not at all and belong to the user who fetches: they are brought into a folder of their own
beside the results, checked there, and moved. What a run's folder says is believed by no path: all of it must stay
inside the target. The room on the disk is looked at before the first byte. A second fetch brings what is missing.
"""

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.errors import DiskError, RunError
from provision.files import folders, objects
from provision.files.objects import Wanted
from provision.runs import log
from provision.runs.store import AnyRun


def wanted(run: AnyRun, target: Path, every_snapshot: bool = False) -> list[Wanted]:
    """The manifest, the newest snapshot (or all) and the outputs. RunError for a name that leads out of `target`."""
    snapshots = run.snapshots()
    chosen = snapshots if every_snapshot else snapshots[-1:]
    found = [Wanted(run.key("manifest.json"), target / "manifest.json", 0)]
    found += [part(target, snapshot.prefix, file) for snapshot in chosen for file in snapshot.files]
    below = run.key("outputs/")
    outputs = [output for output in run.store.objects(below) if not output.key.endswith("/")]  # a console's folders
    found += [Wanted(output.key, inside(target, output.key.removeprefix(below)), output.size) for output in outputs]
    first = {file.path: file for file in reversed(found)}  # of two with one name, the one whose sum is known
    return [file for file in found if first[file.path] is file]


def part(target: Path, prefix: str, file: Mapping[str, Any]) -> Wanted:
    """A file of a snapshot, as its complete.json says, below `target`; RunError where it would lie elsewhere."""
    path = str(file["path"])
    key = prefix + path.rsplit("/", 1)[-1]
    return Wanted(key, inside(target, path), int(file["size"]), str(file["sha256"]))


def inside(target: Path, name: str) -> Path:
    """The path `name` below `target`; RunError where it would be elsewhere."""
    path = folders.inside(target, name)
    if path is None:
        raise RunError(
            f"the run's folder names a file outside of itself: {name!r}; nothing was fetched",
            "somebody changed it: fetch what you trust from there by hand",
        )
    return path


def fetch(run: AnyRun, target: Path, every_snapshot: bool = False) -> list[Path]:
    """Bring the files of `wanted` that are missing; the paths of all of them.

    DiskError where the disk is full, with no file half-written; RunError for a file that came damaged.
    """
    elsewhere = run.store.hint(f"fetch {run.id} DIR")
    try:
        return _fetched(run, target, wanted(run, target, every_snapshot), elsewhere)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise DiskError(
                f"cannot write to {target}: {error.strerror}", f"give another folder: {elsewhere}"
            ) from error
        raise DiskError(f"no room in {target}: the disk filled up", _more_room(elsewhere)) from error


def _more_room(elsewhere: str) -> str:
    return f"free some space, or fetch into another folder: {elsewhere}; the run stays as it is"


def _fetched(run: AnyRun, target: Path, files: list[Wanted], elsewhere: str) -> list[Path]:
    texts = {inside(target, name): text for name, text in run.manifest.rendered.files.items()}
    missing = objects.missing(files)
    pieces = run.log_pieces()
    size = sum(file.size for file in missing) + sum(piece.size for piece in pieces)
    folders.check_room(target, size, _more_room(elsewhere))
    with folders.staging(target) as aside:
        objects.bring(run.store, missing, aside)
        for path, text in texts.items():
            _write(path, text, aside)
        with (aside / "log.txt").open("wb") as out:
            out.writelines(log.text(run, pieces))
        whole_log = (aside / "log.txt").replace(target / "log.txt")
    return [*(file.path for file in files), whole_log]


def _write(path: Path, text: str, aside: Path) -> None:
    """Write the text to a file, which is whole or not there."""
    fresh = aside / "rendered"
    fresh.write_text(text, encoding="utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh.replace(path)
