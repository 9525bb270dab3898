"""Runs. A run's truth is its folder in S3: any laptop can list, follow, fetch and resume it from there.

runs/ID/manifest.json             what was asked for: rendered recipe, image, data, machine; only the image's
                                  digest may change, when it had to be built again, and the sums of
                                  trained weights are added when they are first fetched
runs/ID/attempts/001.json         one for each container that worked on it
runs/ID/state.json                the guard's word on how it stands
runs/ID/log/001-000000000000      pieces of the log: attempt and offset
runs/ID/snapshots/000001500/...   files, and last complete.json: without it there is no snapshot
runs/ID/inputs/{data,project}/... copies made by the host, and inputs/{data,project}.json when they are whole
runs/ID/outputs/...
"""

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

from infra.aws.identity import account
from infra.aws.s3 import S3, Stored
from infra.aws.session import Cloud
from infra.border import did_you_mean
from infra.errors import NotFoundError
from provision.recipe import Recipe, Rendered, complete_snapshots, from_dict, to_dict

ROOT = "runs/"
ENDED = ("finished", "failed", "stopped")


@dataclass(frozen=True)
class Source:
    """Where a run's data or code comes from.

    `kind` is "prepared" (a data preparer's name), "folder" (of the laptop `laptop`), "s3" (an s3:// prefix) or "".
    `folder` is its place on the host, the same for every attempt.
    """

    kind: str = ""
    value: str = ""
    folder: str = ""


@dataclass(frozen=True)
class Attempt:
    """One container's work on a run. `resumed_from` is the snapshot's iteration, 0 for a start from nothing."""

    number: int
    instance: str
    name: str
    zone: str
    started: str
    resumed_from: int = 0
    gpus: tuple[int, ...] = ()


@dataclass(frozen=True)
class Snapshot:
    """A complete snapshot in S3; `files` have path, size and sha256; `stem` is what a resumed command takes."""

    iteration: int
    prefix: str
    stem: str
    files: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Manifest:
    """What was asked for. `weights` are those that were fetched: {URL: {file, sha256, size}}."""

    id: str
    created: str
    recipe: Recipe
    rendered: Rendered
    stack: str
    image: str
    digest: str
    data: Source
    project: Source
    gpus: int
    name: str
    type: str
    market: str
    region: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Any] = field(default_factory=dict)


class Run:
    """One run in its bucket."""

    def __init__(self, store: S3, run_id: str) -> None:
        self.store = store
        self.id = run_id
        self.prefix = f"{ROOT}{run_id}/"

    def key(self, *parts: str) -> str:
        return self.prefix + "/".join(parts)

    @cached_property
    def manifest(self) -> Manifest:
        raw = self.store.read_json(self.key("manifest.json"))
        if raw is None:
            raise _unknown(self.store, self.id)
        raw["data"], raw["project"] = Source(**raw["data"]), Source(**raw["project"])
        raw["recipe"] = from_dict(raw["recipe"], Recipe, f"{self.id}: recipe")
        raw["rendered"] = from_dict(raw["rendered"], Rendered, f"{self.id}: rendered")
        return Manifest(**raw)

    def write_manifest(self, manifest: Manifest) -> None:
        plain = {**vars(manifest), "data": asdict(manifest.data), "project": asdict(manifest.project)}
        plain["recipe"], plain["rendered"] = to_dict(manifest.recipe), to_dict(manifest.rendered)
        self.store.write_json(self.key("manifest.json"), plain)

    def use_image(self, tag: str, digest: str) -> None:
        """From now on the run's image is this one (built again on another laptop)."""
        self.manifest = replace(self.manifest, image=tag, digest=digest)
        self.write_manifest(self.manifest)

    def note_weights(self, fetched: Mapping[str, Any]) -> None:
        """What the trained weights were; the next attempt gets the same or none."""
        both = {**self.manifest.weights, **fetched}
        if both != dict(self.manifest.weights):
            self.manifest = replace(self.manifest, weights=both)
            self.write_manifest(self.manifest)

    def attempts(self) -> list[Attempt]:
        found = [self.store.read_json(one.key) for one in self.store.objects(self.key("attempts/"))]
        return [Attempt(**{**raw, "gpus": tuple(raw["gpus"])}) for raw in found]

    def add_attempt(self, attempt: Attempt) -> None:
        self.store.write_json(self.key("attempts", f"{attempt.number:03d}.json"), asdict(attempt))

    def state(self) -> dict[str, Any]:
        """The guard's last word; {"state": "starting"} before there is one."""
        return self.store.read_json(self.key("state.json")) or {"state": "starting", "attempt": 0}

    def snapshots(self) -> list[Snapshot]:
        """Complete snapshots, oldest first."""
        marks = [one.key for one in self.store.objects(self.key("snapshots/")) if one.key.endswith("/complete.json")]
        found = []
        for mark in marks:
            whole = self.store.read_json(mark)
            if whole is None:  # an old one, which the guard has just deleted
                continue
            fitting = complete_snapshots(self.manifest.recipe, [file["path"] for file in whole["files"]])
            found += [
                Snapshot(one.iteration, mark.removesuffix("complete.json"), one.stem, tuple(whole["files"]))
                for one in fitting
            ]
        return sorted(found, key=lambda one: one.iteration)

    def log_pieces(self, after: str = "") -> list[Stored]:
        """Pieces of the log in order, those behind the key `after`."""
        return self.store.objects_after(self.key("log/"), after or self.key("log/"))


def attempt_of(log_key: str) -> int:
    """The attempt that a piece of the log belongs to."""
    return int(log_key.rsplit("/", 1)[-1].split("-")[0])


def store(cloud: Cloud) -> S3:
    """The account's bucket for runs."""
    owner = account(cloud)
    return S3(cloud, f"provision-{owner}-{cloud.region}", owner)


def new_id(recipe: str) -> str:
    """Sorts by time, says what it is, and two at once differ."""
    now = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    return f"{recipe}-{now}-{secrets.token_hex(2)}"


def find(cloud: Cloud, run_id: str) -> Run:
    """The run of that id; NotFoundError that names the nearest."""
    place = store(cloud)
    if not place.exists():
        raise NotFoundError(f"no run {run_id!r}: there are no runs yet", "provision train RECIPE --on NAME")
    run = Run(place, run_id)
    _ = run.manifest
    return run


def all_runs(cloud: Cloud) -> list[Run]:
    """All runs, oldest first within a recipe."""
    place = store(cloud)
    return [Run(place, name) for name in place.folders(ROOT)] if place.exists() else []


def _unknown(place: S3, run_id: str) -> NotFoundError:
    known = place.folders(ROOT)
    return NotFoundError(f"no run {run_id!r}", did_you_mean(run_id, known) if known else "provision train starts one")
