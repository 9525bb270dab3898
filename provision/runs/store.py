"""Runs. A run's truth is its folder in a place of objects (`infra.store`): who reaches that can list, follow, fetch and
resume it. Of a run on machines of EC2 it is the account's bucket, and any laptop reaches it.

runs/ID/manifest.json             what was asked for: rendered recipe, image, data, machine; only the image's
                                  digest may change, when it had to be built again, and the sums of
                                  trained weights are added when they are first fetched
runs/ID/attempts/001.json         one for each container that worked on it; no two have one number
runs/ID/state.json                the guard's word on how it stands
runs/ID/log/001-000000000000      pieces of the log: attempt and offset
runs/ID/snapshots/000001500-001/  files of an iteration and an attempt, and last complete.json: without it there is
                                  no snapshot
runs/ID/inputs/NAME/...           a copy of data or code that the host made, or a laptop brought, and inputs/NAME.json
                                  when it is whole; NAME is data, project, or one of them with a mark that is another
                                  for each time that somebody gave others: the manifest says which counts
runs/ID/outputs/...

Of a run that is kept without a laptop also:

runs/ID/capsules/SHA256.json      all that an attempt needs; its sum is in the machine's user data
runs/ID/keeper.json               the newest execution that keeps the run
runs/ID/ends/001.json             how each attempt ended, once its machine was gone
runs/ID/control/{i-…,stop}        the order of a machine; that somebody asks the training to save and end
runs/ID/keys/i-…                  a machine's public host key

A laptop writes manifest.json, capsules/, keeper.json and control/stop; a laptop or the keeper attempts/ and ends/;
the keeper the orders. A machine's role may write the rest, which is believed accordingly (`trust`, `snapshots`).
"""

import getpass
import hashlib
import json
import os
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

import msgspec

from infra.aws import s3_bucket
from infra.aws.identity import account
from infra.aws.s3 import S3
from infra.aws.session import Cloud
from infra.border import convert, did_you_mean
from infra.errors import DamagedError, NotFoundError, RunError, UsageError
from infra.store import Store, Stored, decoded
from provision.runs import notes, snapshots
from provision.runs.manifest import Attempt, End, Keeping, Manifest, RunState, Snapshot, plain, read_manifest

ROOT = "runs/"
_TIME = re.compile(r".*-(\d{8}-\d{6})-[0-9a-f]{4}")
ATTEMPT = re.compile(r"attempts/\d{1,9}\.json")
_END = re.compile(r"ends/\d{1,9}\.json")
_PIECE = re.compile(r"\d{1,9}-\d{1,20}")


class AnyRun:
    """One run, wherever it lies."""

    def __init__(self, store: Store, run_id: str) -> None:
        self.store = store
        self.id = run_id
        self.prefix = f"{ROOT}{run_id}/"
        self.digest = ""  # sha256 of the manifest, once it was read or written
        self.checked = False  # the manifest was held against this laptop's notes (`trust`)
        self._written: Manifest | None = None  # the manifest in S3, where another one is intended

    def key(self, *parts: str) -> str:
        return self.prefix + "/".join(parts)

    @cached_property
    def manifest(self) -> Manifest:
        key = self.key("manifest.json")
        raw = self.store.read(key)
        if raw is None:
            raise unknown(self.store, self.id)
        self.digest = hashlib.sha256(raw).hexdigest()
        return read_manifest(decoded(raw, self.store.url(key)), f"{self.id}: manifest")

    def write_manifest(self, manifest: Manifest, folders: tuple[str, ...] = ()) -> None:
        """Write the manifest, and its sum to this laptop's notes; `folders` of this laptop were given by its user for
        this run."""
        raw = json.dumps(plain(manifest), indent=1, sort_keys=True).encode()
        digest = hashlib.sha256(raw).hexdigest()
        notes.begin(self.store, self.id, digest, folders)
        self.store.write(self.key("manifest.json"), raw)
        notes.settle(self.store, self.id, digest)
        self.manifest, self.digest, self._written = manifest, digest, None

    def intend(self, manifest: Manifest) -> None:
        """Go by this manifest from now on; S3 has it with `settle`. So who resumes a run changes nothing of it before
        it is sure that nobody else goes on with it."""
        before = self.manifest
        self.manifest, self._written = manifest, self._written or before

    def settle(self) -> bool:
        """Write the manifest that was intended, now that the run is this one's to go on with; whether there was one."""
        changed = self._written is not None and self._written != self.manifest
        if changed:
            self.write_manifest(self.manifest)
        self._written = None
        return changed

    def use_image(self, tag: str, digest: str) -> None:
        """Write down that the run's image is now this one, which was built again on another laptop."""
        self._amend(image=tag, digest=digest)

    def note_weights(self, fetched: Mapping[str, Any]) -> None:
        """Write down the sums of the trained weights; the next attempt gets the same files or none."""
        both = {**self.manifest.weights, **fetched}
        if both != dict(self.manifest.weights):
            self._amend(weights=both)

    def _amend(self, **changes: Any) -> None:
        """Change the manifest in S3, and as it is intended; what is intended beside that is not written."""
        intended = replace(self.manifest, **changes)
        self.write_manifest(replace(self._written or self.manifest, **changes))
        if intended != self.manifest:
            self.intend(intended)

    def attempts(self) -> list[Attempt]:
        """All attempts, oldest first."""
        return [self.attempt(key) for key in self.attempt_keys()]

    def attempt_keys(self) -> list[str]:
        """The keys of all attempts, oldest first."""
        keys = [stored.key for stored in self.store.objects(self.key("attempts/"))]
        return sorted((key for key in keys if ATTEMPT.fullmatch(key.removeprefix(self.prefix))), key=number_of)

    def attempt(self, key: str) -> Attempt:
        """The attempt that is written down under that key."""
        return convert(self.store.read_json(key) or {}, Attempt, f"{self.id}: {key}")

    def next_number(self) -> int:
        """The number of the next attempt, which no attempt has had, whatever of the run is gone by now."""
        return max(map(number_of, self.attempt_keys()), default=0) + 1

    def add_attempt(self, attempt: Attempt) -> None:
        """Write down the attempt. RunError, which says who was faster, where its number is taken."""
        key = self.key("attempts", f"{attempt.number:03d}.json")
        if not self.store.write_new(key, json.dumps(asdict(attempt), indent=1, sort_keys=True).encode()):
            raise taken(self, self.attempt(key))

    def withdraw(self, attempt: Attempt) -> None:
        """Take back an attempt that this process wrote down, and that got no container."""
        self.store.delete([self.key("attempts", f"{attempt.number:03d}.json")])

    def ends(self) -> list[End]:
        """How the attempts ended that a keeper has seen to their end, oldest first."""
        keys = [stored.key for stored in self.store.objects(self.key("ends/"))]
        known = sorted((key for key in keys if _END.fullmatch(key.removeprefix(self.prefix))), key=number_of)
        return [convert(self.store.read_json(key) or {}, End, f"{self.id}: {key}") for key in known]

    def add_end(self, end: End) -> None:
        """Write down how an attempt ended that its keeper did not see to its end; what the keeper wrote stays."""
        self.store.write_new(self.key("ends", f"{end.number:03d}.json"), msgspec.json.encode(end))

    def keeping(self) -> Keeping | None:
        """Who keeps the run without a laptop, as the laptop wrote it down that asked for it; None where nobody was."""
        raw = self.store.read_json(self.key("keeper.json"))
        return None if raw is None else convert(raw, Keeping, f"{self.id}: keeper")

    def ask_to_stop(self) -> None:
        """Let the machine's guard see that somebody asks the training to save and end."""
        self.store.write(self.key("control", "stop"), whoami().encode())

    def state(self) -> RunState:
        """The guard's last word on the run; one that cannot be understood is none: the machine's role may write it."""
        try:
            return convert(self.store.read_json(self.key("state.json")) or {}, RunState, f"{self.id}: state")
        except (DamagedError, UsageError):
            return RunState()

    def snapshots(self) -> list[Snapshot]:
        """Complete snapshots from which the run may go on, oldest first."""
        found = self.all_snapshots()
        return snapshots.counting(found, self.attempts() if found else ())

    def all_snapshots(self) -> list[Snapshot]:
        """All complete snapshots, oldest first, of each attempt its own."""
        below = self.key("snapshots/")
        objects = self.store.objects(below)
        return snapshots.whole(self.manifest.recipe, below, objects, self.store.read_json)

    def log_pieces(self, after: str = "") -> list[Stored]:
        """Pieces of the log in order, those behind the key `after`. What has another name there is none."""
        found = self.store.objects_after(self.key("log/"), after or self.key("log/"))
        return [piece for piece in found if _PIECE.fullmatch(piece.key.rsplit("/", 1)[-1])]


class Run(AnyRun):
    """One run in the account's bucket, whose machines are EC2's."""

    store: S3


def number_of(key: str) -> int:
    """The number in the key of an attempt."""
    return int(key.rsplit("/", 1)[-1].removesuffix(".json"))


def taken(run: AnyRun, attempt: Attempt) -> RunError:
    """The error that says who works on the run already."""
    who = f", by {attempt.made_by.rpartition(' ')[0]}" if attempt.made_by else ""
    return RunError(
        f"{run.id} goes on already: attempt {attempt.number} began at {attempt.started} on {attempt.name} "
        f"({attempt.instance}){who}",
        f"follow it: {run.store.hint(f'logs {run.id} -f')}",
    )


def attempt_of(log_key: str) -> int:
    """The attempt that a piece of the log belongs to."""
    return int(log_key.rsplit("/", 1)[-1].split("-")[0])


def whoami() -> str:
    """Who calls, and on which machine, as others see it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def store(cloud: Cloud) -> S3:
    """The account's bucket for runs."""
    return s3_bucket.ours(cloud, account(cloud))


def new_id(recipe: str) -> str:
    """A run's id, which sorts by time and names the recipe; two ids of one second differ."""
    now = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    return f"{recipe}-{now}-{secrets.token_hex(2)}"


def made_at(run_id: str) -> datetime | None:
    """When the run was made, as its id tells; None for an id that somebody else made."""
    found = _TIME.fullmatch(run_id)
    try:
        return datetime.strptime(found[1] if found else "", "%Y%m%d-%H%M%S").replace(tzinfo=timezone.utc)
    except ValueError:
        return None


def find(cloud: Cloud, run_id: str) -> Run:
    """The run of that id. NotFoundError, with the nearest ids, where there is none."""
    place = store(cloud)
    if not place.exists():
        raise no_runs(cloud, run_id)
    run = Run(place, run_id)
    _ = run.manifest
    return run


def all_runs(cloud: Cloud) -> list[Run]:
    """All runs, oldest first within a recipe."""
    place = store(cloud)
    return [Run(place, name) for name in place.folders(ROOT)] if place.exists() else []


def stored_bytes(cloud: Cloud) -> tuple[int, int]:
    """How much S3 keeps of the runs, and of the images and host files for those without a laptop, in bytes.

    AuthError or CloudError where that cannot be listed.
    """
    place = store(cloud)
    if not place.exists():
        return 0, 0
    runs, images, host = (sum(one.size for one in place.objects(part)) for part in (ROOT, "images/", "host/"))
    return runs, images + host


def no_runs(cloud: Cloud, run_id: str) -> NotFoundError:
    """The error for a run in an account that has none."""
    return NotFoundError(f"no run {run_id!r}: there are no runs yet", cloud.hint("train RECIPE --on NAME"))


def unknown(place: Store, run_id: str) -> NotFoundError:
    """The error for a run that is not there, with the nearest ids."""
    known = place.folders(ROOT)
    return NotFoundError(
        f"no run {run_id!r}",
        did_you_mean(run_id, known) if known else f"to start one: {place.hint('train RECIPE --on NAME')}",
    )
