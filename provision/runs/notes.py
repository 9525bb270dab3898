"""This laptop's notes on runs: what it wrote of them, and which of its folders its user gave for a run.

    runs/CLOUD/ACCOUNT/REGION/RUN.json      of a run in a bucket; of another the three names that tell its place

A manifest is held against them (`trust`), as S3 and who may write there are not this laptop.
"""

import json
from pathlib import Path

import msgspec

from infra.disk import writing
from infra.keys import write_private
from infra.store import Store
from provision.settings import state_home


class Note(msgspec.Struct, frozen=True):
    """sha256 of the manifest that this laptop wrote last, and of the one that it was about to write when it was killed:
    none where it wrote none; `folders`: of this laptop, given by its user as the run's data or code."""

    sums: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


def path(store: Store, run_id: str) -> Path:
    """Where the note on that run is."""
    return state_home().joinpath("runs", *store.where, f"{run_id}.json")


def read(store: Store, run_id: str) -> Note | None:
    """The note on that run; None where this laptop has none."""
    return _read(path(store, run_id))


def of_sum(run_id: str, digest: str) -> Note | None:
    """The note of any account on the run whose manifest has this sha256: for a folder that was fetched."""
    found = (_read(place) for place in (state_home() / "runs").glob(f"*/*/*/{run_id}.json"))
    return next((note for note in found if note is not None and digest in note.sums), None)


def _read(place: Path) -> Note | None:
    try:
        return msgspec.json.decode(place.read_bytes(), type=Note)
    except (OSError, msgspec.DecodeError):
        return None


def begin(store: Store, run_id: str, digest: str, folders: tuple[str, ...]) -> None:
    """Note, before it is written, the sum of a manifest; and folders that the user gave, beside those of before."""
    old = read(store, run_id) or Note()
    _write(path(store, run_id), Note((*old.sums, digest), (*old.folders, *folders)))


def give(store: Store, run_id: str, folders: tuple[str, ...]) -> None:
    """Note folders that the user gave for the run, whose manifest may be another laptop's still."""
    old = read(store, run_id) or Note()
    _write(path(store, run_id), Note(old.sums, (*old.folders, *folders)))


def settle(store: Store, run_id: str, digest: str) -> None:
    """The manifest of that sum is written: no other one is this laptop's any more."""
    old = read(store, run_id) or Note()
    _write(path(store, run_id), Note((digest,), old.folders))


def _write(place: Path, note: Note) -> None:
    with writing(place):
        write_private(place, json.dumps(msgspec.to_builtins(note)))


def forget(store: Store, run_id: str) -> None:
    """The run is deleted, or is to be taken as another laptop's."""
    path(store, run_id).unlink(missing_ok=True)
