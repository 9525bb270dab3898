"""What S3 keeps about a run: its manifest, its attempts, its snapshots, and the guard's word on how it stands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from infra.aws.types import DataVolume, Wish
from infra.border import convert
from provision.recipes.spec import Recipe, Rendered

Word = Literal["starting", "running", "interrupted", "finished", "failed", "stopped", "lost"]
GOING: tuple[Word, ...] = ("starting", "running")
ENDED: tuple[Word, ...] = ("finished", "failed", "stopped")


@dataclass(frozen=True)
class Source:
    """Where a run's data or code comes from.

    `kind` is "prepared" (a data preparer's name), "folder" (of the laptop that gave it), "s3" (an s3:// prefix) or "".
    `folder` is its place on the host, the same for every attempt. `owner` is the account of a bucket that is the run's
    own account's; "" where that is not so, or not known. `copy` is the name of the run's own copy of it in S3
    (`copies`); "" for one with the plain name.
    """

    kind: str = ""
    value: str = ""
    folder: str = ""
    owner: str = ""
    copy: str = ""


@dataclass(frozen=True)
class Terms:
    """What an attempt's machine may cost, for when AWS does not know the machine any more.

    `launched` is in ISO 8601. US dollars: `budget` in all, None without a limit; `hourly` the most that an hour costs
    with disks and address, None where that is not known.
    """

    launched: str
    budget: float | None = None
    hourly: float | None = None


@dataclass(frozen=True)
class Attempt:
    """One container's work on a run. `resumed_from` is the snapshot's iteration, 0 for a start from nothing.

    `chosen`: there were newer snapshots, which the user did not want or which were damaged: they count no more.
    `made_by` is who began it, with some letters of its own; `launch` is its machine's, by which what belongs to that is
    known; "" in earlier versions.
    """

    number: int
    instance: str
    name: str
    zone: str
    started: str
    resumed_from: int = 0
    gpus: tuple[int, ...] = ()
    chosen: bool = False
    made_by: str = ""
    terms: Terms | None = None
    launch: str = ""


@dataclass(frozen=True)
class Snapshot:
    """A complete snapshot in S3; `files` have path, size and sha256; `stem` is what a resumed command takes.

    `attempt` is the one that made it; 0 where an earlier version did not write that down.
    """

    iteration: int
    prefix: str
    stem: str
    files: tuple[Mapping[str, Any], ...]
    attempt: int = 0


class RunState(msgspec.Struct, frozen=True):
    """The guard's last word on a run, of the attempt `attempt`; a run without an attempt is starting.

    `instance` and `machine` are the id and the name of the machine that speaks; "" in the words of earlier versions.
    `reason` says why a run was interrupted: "spot interruption", or what ended its machine. `seen` is the guard's time
    (UTC, ISO 8601) when it wrote this, at least each minute while the run goes on; "" in earlier versions.
    """

    state: Word = "starting"
    attempt: int = 0
    instance: str = ""
    machine: str = ""
    exit_code: int | None = None
    out_of_memory: bool = False
    reason: str | None = None
    seen: str = ""


class Keeping(msgspec.Struct, frozen=True):
    """Who keeps a run without a laptop (keeper.json): the newest execution that was asked for, and its launch, by which
    what belongs to it is known; the number of its first attempt; when it was asked for, and when the run ends at the
    latest, waiting for capacity included (UTC, ISO 8601); the names of the copies of data and code that it goes by."""

    execution: str
    launch: str
    number: int
    started: str
    ends: str
    copies: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The execution's own name: RUN-1, RUN-2 and so on."""
        return self.execution.rpartition(":")[2]


class End(msgspec.Struct, frozen=True):
    """How an attempt of a keeper's ended, once its machine was gone: its word is the run's, or "unready" for a machine
    that could not begin; `reason` says why, for people; `time` in ISO 8601."""

    number: int
    instance: str = ""
    word: str = "lost"
    reason: str = ""
    time: str = ""


class RunSettings(msgspec.Struct, frozen=True):
    """How a run was started, and the machine that it began on: another one for it is asked for by the same.

    `push_seconds` between two copies to S3; prices and the budget in US dollars, an hour and in all. `diagnose`: the
    training is stopped once it has diverged; `own_machine`: its machine was rented for it, and ends with it; `wish`:
    what was asked for, where that was not just the machine's type. What is None is as the settings of the laptop say
    that goes on with the run. `wait_hours`: for how long a keeper waits for a machine; `notify`: the SNS topic that it
    tells how the run goes, "" for none.
    """

    push_seconds: float = 5.0
    ports: tuple[int, ...] = ()
    own_machine: bool = False
    diagnose: bool = False
    image_on_host: bool = False
    started_by: str = ""
    disk_gb: int = 100
    max_hours: float = 24.0
    max_price: float | None = None
    budget: float | None = None
    via: str | None = None
    idle_minutes: float | None = None
    fallback: str | None = None
    volumes: tuple[DataVolume, ...] = ()
    wish: Wish = Wish()
    keep_on_error_minutes: float | None = None
    wait_hours: float = 1.0
    notify: str = ""


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
    settings: RunSettings = field(default_factory=RunSettings)
    weights: Mapping[str, Any] = field(default_factory=dict)


def read_manifest(raw: object, where: str) -> Manifest:
    """The manifest out of JSON values; UsageError, with the key and `where` it is from, for a wrong value."""
    return convert(raw, Manifest, where)


def plain(manifest: Manifest) -> dict[str, Any]:
    """The manifest as JSON values."""
    values: dict[str, Any] = msgspec.to_builtins(manifest)
    return values
