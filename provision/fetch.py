"""Bring a run's results home, from S3: they are there whether or not its machine still is.

Files appear whole or not at all and belong to the user who fetches. The room on the disk is looked at before the
first byte.
"""

import errno
import shutil
from dataclasses import dataclass
from pathlib import Path

from infra.errors import DiskError
from provision import console
from provision.runs import Run

_RESERVE = 50_000_000


@dataclass(frozen=True)
class Wanted:
    """One file to bring: from which key, to which path, how many bytes."""

    key: str
    path: Path
    size: int


def wanted(run: Run, target: Path, every_snapshot: bool = False) -> list[Wanted]:
    """The newest snapshot (or all), outputs, rendered files and the manifest."""
    snapshots = run.snapshots()
    chosen = snapshots if every_snapshot else snapshots[-1:]
    found = [
        Wanted(snapshot.prefix + Path(file["path"]).name, target / str(file["path"]), int(file["size"]))
        for snapshot in chosen
        for file in snapshot.files
    ]
    outputs = run.store.objects(run.key("outputs/"))
    found += [Wanted(one.key, target / one.key.removeprefix(run.key("outputs/")), one.size) for one in outputs]
    found.append(Wanted(run.key("manifest.json"), target / "manifest.json", 0))
    return found


def fetch(run: Run, target: Path, every_snapshot: bool = False) -> list[Path]:
    """Bring them; the files that are there now. DiskError, with nothing half-written, where the disk is full."""
    files = wanted(run, target, every_snapshot)
    log_size = sum(piece.size for piece in run.log_pieces())
    check_room(target, sum(one.size for one in files) + log_size)
    try:
        target.mkdir(parents=True, exist_ok=True)
        for one in files:
            one.path.parent.mkdir(parents=True, exist_ok=True)
            run.store.download(one.key, one.path)
        _rendered(run, target)
        return [*(one.path for one in files), _log(run, target)]
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise DiskError(
                f"cannot write to {target}: {error.strerror}", "give another folder: provision fetch RUN DIR"
            ) from error
        raise _full(target, "the disk filled up") from error


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


def _rendered(run: Run, target: Path) -> None:
    for name, text in run.manifest.rendered.files.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _log(run: Run, target: Path) -> Path:
    path = target / "log.txt"
    part = path.with_name("log.txt.part")
    try:
        with part.open("w", encoding="utf-8") as out:
            for _, text in run.log():
                out.write(text)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path
