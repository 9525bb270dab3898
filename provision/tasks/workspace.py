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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.aws.s3 import S3
from infra.errors import NotFoundError, RunError, UsageError
from infra.together import together
from provision import console, fetch
from provision.data import PREPARERS
from provision.data.lmdb_writer import atomic_folder
from provision.recipe import SnapshotFiles
from provision.runs import Run, Source
from provision.settings import cache_home
from provision.tasks import Subject

NOTE = "task.json"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Wanted:
    """A file of S3 to have at `path`: bytes, and the sha256 where it is known."""

    key: str
    path: Path
    size: int
    sha256: str = ""


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
    iterations = {one.iteration for one in chosen if one is not None}
    if subject.run is None or not iterations:
        return subject.folder if iterations else None
    target = cache_home() / "runs" / subject.run.id
    have_all(subject.run.store, _files(subject.run, iterations, target), "snapshots")
    return target


def _files(run: Run, iterations: set[int], target: Path) -> list[Wanted]:
    return [
        Wanted(
            snapshot.prefix + str(file["path"]).rsplit("/", 1)[-1],
            fetch.inside(target, str(file["path"])), int(file["size"]), str(file["sha256"]),
        )
        for snapshot in run.snapshots() if snapshot.iteration in iterations for file in snapshot.files
    ]  # fmt: skip


def local_data(subject: Subject, given: str | None, needed: bool) -> Path | None:
    """The data's folder on this laptop: the one that is given, else the run's; None for a run without data.

       What is not `needed` is taken where it is here, and not brought.
    RunError where it is needed and cannot be had.
    """
    if given is not None and not given.startswith("s3://"):
        if not Path(given).is_dir():
            raise UsageError(f"--data {given} is not a folder", "give a folder that exists")
        return Path(given).resolve()
    source = subject.data if given is None else Source("s3", given.rstrip("/") + "/")
    here = _here(source)
    if here is not None and here.is_dir():
        return here
    return _brought(subject, source) if source.kind and (needed or given is not None) else None


def local_project(subject: Subject, given: str | None) -> Path | None:
    """The user's code on this laptop: the folder that is given, else the run's where it is here."""
    if given is not None and not Path(given).is_dir():
        raise UsageError(f"--project {given} is not a folder", "give a folder that exists")
    words = given or (subject.project.value if subject.project.kind == "folder" else "")
    return Path(words).resolve() if words and Path(words).is_dir() else None


def _here(source: Source) -> Path | None:
    if source.kind == "folder":
        return Path(source.value)
    if source.kind == "prepared":
        return cache_home() / "data" / source.value
    return None


def _brought(subject: Subject, source: Source) -> Path:
    run = subject.run
    if source.kind == "prepared" and source.value in PREPARERS:
        with console.step(f"data {source.value}"):
            return PREPARERS[source.value](cache_home() / "data" / source.value)
    if run is not None and source.kind == "s3":
        bucket, _, prefix = source.value.removeprefix("s3://").partition("/")
        digest = hashlib.sha256(source.value.encode()).hexdigest()[:8]
        return _below(S3(run.store.cloud, bucket, run.store.owner), prefix, cache_home() / "data" / f"s3-{digest}")
    if run is not None and run.store.read_json(run.key("inputs", "data.json")) is not None:
        return _below(run.store, run.key("inputs", "data") + "/", cache_home() / "runs" / run.id / "data")
    raise RunError(
        f"the data of {subject.name} is not on this laptop: {source.value} is not here", "give its folder: --data DIR"
    )


def _below(store: S3, prefix: str, target: Path) -> Path:
    """All objects of a prefix as files in `target`."""
    found = [one for one in store.objects(prefix) if not one.key.endswith("/")]
    if not found:
        raise NotFoundError(f"there is nothing under s3://{store.bucket}/{prefix}", "give the folder: --data DIR")
    have_all(store, [Wanted(one.key, fetch.inside(target, one.key[len(prefix) :]), one.size) for one in found], "data")
    return target


def have_all(store: S3, files: Sequence[Wanted], what: str) -> None:
    """Bring those that are not there whole. RunError for one that comes damaged; its place stays empty."""
    missing = [one for one in files if not _is_whole(one)]
    if not missing:
        return
    size = sum(one.size for one in missing)
    fetch.check_room(missing[0].path.parent, size)
    with console.step(f"{what} from S3: {len(missing)} files, {console.size(size)}"):
        _, errors = together([lambda one=one: _bring(store, one) for one in missing], at_once=8)  # type: ignore[misc]
    if errors:
        raise errors[0]


def _bring(store: S3, one: Wanted) -> None:
    one.path.parent.mkdir(parents=True, exist_ok=True)
    fresh = one.path.with_name(f".{one.path.name}.{os.getpid()}")
    try:
        store.download(one.key, fresh)
        if one.sha256 and _sum(fresh) != one.sha256:
            raise RunError(f"{one.path.name} came damaged: its sha256 is not the snapshot's", "run the command again")
        fresh.replace(one.path)
    finally:
        fresh.unlink(missing_ok=True)


def _is_whole(one: Wanted) -> bool:
    if not one.path.is_file() or one.path.stat().st_size != one.size:
        return False
    return not one.sha256 or _sum(one.path) == one.sha256


def _sum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as data:
        while chunk := data.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


# what comes out


def done_before(out: Path, asked: Mapping[str, Any], replace: bool) -> bool:
    """Whether `out` holds the results of just this. UsageError where it holds anything else, unless to `replace`."""
    if replace or not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    try:
        return bool(json.loads((out / NOTE).read_text(encoding="utf-8")) == json.loads(json.dumps(asked)))
    except (OSError, ValueError):
        return False


def refuse_other(out: Path, replace: bool) -> None:
    """UsageError where `out` is there and is not to be replaced."""
    if not replace and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there and holds something else", "give another --out, or --replace it")


@contextmanager
def results(out: Path, asked: Mapping[str, Any]) -> Iterator[Path]:
    """A folder for the task to write to, which takes the place of `out` at the end, with a note of what was asked."""
    aside = out.with_name(f".{out.name}.{os.getpid()}.old")
    with atomic_folder(out) as part:
        yield part
        (part / NOTE).write_text(json.dumps(asked, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        if out.exists():
            out.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)
