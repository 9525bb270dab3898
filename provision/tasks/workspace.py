"""The files around a task: what goes into its container and where its results appear.

Snapshots and data that are only in S3 come into the user's cache, file by file: what is there whole is not fetched
again. Results come into a folder of their own beside the target and take its name when the task has succeeded.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.aws.s3 import S3, parse
from infra.disk import writing
from infra.errors import NotFoundError, RunError, UsageError
from infra.store import Store
from provision import console
from provision.data import PREPARERS
from provision.files import objects
from provision.files.folders import atomic_folder, check_room, staging
from provision.files.objects import Wanted
from provision.files.whole import settled
from provision.recipes.spec import SnapshotFiles
from provision.runs import copies, fetch
from provision.runs.copies import Copied
from provision.runs.manifest import Source
from provision.runs.store import AnyRun, Run
from provision.settings import cache_home
from provision.tasks.job import Subject

NOTE = "task.json"


# what goes in


def fill(folder: Path, files: Mapping[str, str]) -> None:
    """The rendered files in the folder that becomes /work."""
    for name, text in files.items():
        path = fetch.inside(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def inputs(folder: Path, given: Sequence[Path]) -> Path | None:
    """The folder that becomes /in: the one that was given, or `folder` with links to (or copies of) the files."""
    if not given:
        return None
    if missing := next((path for path in given if not path.exists()), None):
        raise UsageError(f"{missing} is not there", "give files, or one folder")
    if len(given) == 1 and given[0].is_dir():
        if not any(given[0].iterdir()):
            raise UsageError(f"{given[0]} is empty", "give files, or a folder of files")
        return given[0].resolve()
    folder.mkdir(parents=True)
    for path in given:
        if path.is_dir():
            raise UsageError(f"{path} is a folder beside other files", "give files, or one folder")
        if (folder / path.name).exists():
            raise UsageError(f"two files have the name {path.name}", "put them into one folder, and give that")
        link_or_copy(path.resolve(), folder / path.name)
    return folder


def listed(given: Sequence[Path]) -> dict[str, list[int]]:
    """Size and time of change of what was given, by name: whether it is the same as before."""
    files = [file for path in given for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return {str(file): [file.stat().st_size, file.stat().st_mtime_ns] for file in files if file.is_file()}


def link_or_copy(source: Path, target: Path) -> None:
    """The same file under another name where the disk is the same, else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def snapshot_home(subject: Subject, chosen: Iterable[SnapshotFiles | None]) -> Path | None:
    """The folder below which the files of those snapshots lie; None where none is chosen."""
    iterations = {snapshot.iteration for snapshot in chosen if snapshot is not None}
    if subject.run is None or not iterations:
        return subject.folder if iterations else None
    target = cache_home() / "runs" / subject.run.id
    _have_all(subject.run.store, _files(subject.run, iterations, target), target, "snapshots")
    return target


def _files(run: AnyRun, iterations: set[int], target: Path) -> list[Wanted]:
    chosen = [snapshot for snapshot in run.snapshots() if snapshot.iteration in iterations]
    return [fetch.part(target, snapshot.prefix, file) for snapshot in chosen for file in snapshot.files]


def local_data(subject: Subject, given: str | None, needed: bool) -> Path | None:
    """The data's folder on this laptop: the one that is given, else the run's; None for a run without data.

    What is not `needed` is taken where it is here, and not brought. RunError where it is needed and cannot be had.
    """
    if given is not None and not given.startswith("s3://"):
        if not Path(given).is_dir():
            raise UsageError(f"--data {given} is not a folder", "give a folder that exists")
        return Path(given).resolve()
    source = subject.data if given is None else Source("s3", given.rstrip("/") + "/")
    here = _here(subject, source)
    if here is not None and here.is_dir():
        return here
    return _brought(subject, source) if source.kind and (needed or given is not None) else None


def local_project(subject: Subject, given: str | None) -> Path | None:
    """The user's code on this laptop: the folder that is given, else the run's where it is here."""
    if given is not None and not Path(given).is_dir():
        raise UsageError(f"--project {given} is not a folder", "give a folder that exists")
    here = Path(given) if given else _here(subject, subject.project)
    return here.resolve() if here is not None and here.is_dir() else None


def _here(subject: Subject, source: Source) -> Path | None:
    """Where the source is on this laptop: a folder only where this laptop's user gave it for the run."""
    if source.kind == "folder" and source.value in subject.given:
        return Path(source.value)
    if source.kind == "prepared" and source.value in PREPARERS:
        return cache_home() / "data" / source.value
    return None


def _brought(subject: Subject, source: Source) -> Path:
    run = subject.run
    if source.kind == "prepared" and source.value in PREPARERS:
        with console.step(f"data {source.value}"):
            return PREPARERS[source.value](cache_home() / "data" / source.value)
    if isinstance(run, Run) and source.kind == "s3":
        there = parse(source.value)
        digest = hashlib.sha256(source.value.encode()).hexdigest()[:8]
        store = S3(run.store.cloud, there.bucket, source.owner)
        return _below(store, there.prefix, cache_home() / "data" / f"s3-{digest}")
    index = copies.whole(run, "data") if run is not None else None
    if run is not None and index is not None:
        return _copy(run, index, cache_home() / "runs" / run.id / "data")
    raise RunError(
        f"the data of {subject.name} was not given on this laptop, or is gone: {source.value}",
        "give its folder: --data DIR",
    )


def _copy(run: AnyRun, index: Sequence[Copied], target: Path) -> Path:
    """Bring the run's own copy of its data, each file with its sum."""
    below = copies.below(run, "data")
    files = [Wanted(below + file.path, fetch.inside(target, file.path), file.size, file.sha256) for file in index]
    _have_all(run.store, files, target, "data")
    return target


def _below(store: S3, prefix: str, target: Path) -> Path:
    """Bring all objects of a prefix as files into `target`."""
    found = [stored for stored in store.objects(prefix) if not stored.key.endswith("/")]
    if not found:
        raise NotFoundError(f"there is nothing under s3://{store.bucket}/{prefix}", "give the folder: --data DIR")
    names = {stored.key: fetch.inside(target, stored.key.removeprefix(prefix)) for stored in found}
    _have_all(store, [Wanted(stored.key, names[stored.key], stored.size) for stored in found], target, "data")
    return target


def _have_all(store: Store, files: Sequence[Wanted], target: Path, what: str) -> None:
    """Bring those files below `target` that are not there whole. One whose sum is not known is known by its size.

    RunError for one that comes damaged: its place stays as it was. DiskError, UsageError where the disk refuses.
    """
    missing = objects.missing(files, trust_size=True)
    if not missing:
        return
    size = sum(file.size for file in missing)
    with writing(target), console.step(f"{what} from S3: {len(missing)} files, {console.size(size)}"):
        check_room(target, size)
        with staging(target) as aside:
            objects.bring(store, missing, aside)


# what comes out


def done_before(out: Path, asked: Mapping[str, Any], replace: bool) -> bool:
    """Whether `out` holds the results of just this. UsageError where it holds anything else, unless to `replace`."""
    if replace or not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    try:
        return bool(json.loads((out / NOTE).read_text(encoding="utf-8")) == json.loads(json.dumps(asked)))
    except (OSError, ValueError, RecursionError):
        return False


def refuse_other(out: Path, replace: bool) -> None:
    """UsageError where `out` is there and is not to be replaced."""
    if not replace and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and holds something else", "give another --out, or --replace it")


@contextmanager
def results(out: Path, asked: Mapping[str, Any]) -> Iterator[Path]:
    """A folder for the task to write to, which takes the place of `out` at the end, with a note of what was asked."""
    out = settled(out)
    aside = out.with_name(f".{out.name}.{os.getpid()}.old")
    with atomic_folder(out) as part:
        yield part
        (part / NOTE).write_text(json.dumps(asked, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        if out.exists():
            out.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)
