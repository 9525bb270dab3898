"""What a recipe is, as plain values that survive JSON: what recipe.yaml says, and what it becomes filled in."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from infra.border import convert
from infra.containers import Rights
from provision.logs.failures import Failure

T = TypeVar("T")
Option = bool | int | float | str

TASKS = ("infer", "score", "time")


class Stop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the training is told to save and end: signal, seconds that it may take, and what it says then."""

    signal: str = "SIGTERM"
    timeout: float = 60.0
    said: str = ""


class SnapshotRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`pattern` matches the whole path of a file of a snapshot, relative to the run's folder, and has the groups
    `iteration` and `part`. A snapshot is complete when it has all `parts`. Of complete ones the newest `keep` stay,
    on the host and in S3; 0: all."""

    pattern: str
    parts: tuple[str, ...]
    keep: int = 0


NO_SNAPSHOTS = SnapshotRule(r"(?!)(?P<iteration>)(?P<part>)", ())  # matches nothing


class Weights(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of trained weights, brought to the host before the training: /weights/FILE in the container.

    Its `licence` is shown and, where it is `non_commercial`, has to be accepted. `sha256` or `sha1` (hex) is
    upstream's where it publishes one; the file is pinned by its sha256 when it is first fetched. `mirrors` are tried
    in their order where `url` fails; the same sum holds for them. `when` are options of which all must have these
    values, or the file is not needed. `size` in bytes, 0 where it is not known. `note`: what to know of its address.
    """

    file: str
    url: str
    mirrors: tuple[str, ...] = ()
    note: str = ""
    licence: str
    licence_url: str = ""
    non_commercial: bool = False
    sha256: str = ""
    sha1: str = ""
    size: int = 0
    when: dict[str, Option] = {}


class Task(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something to do with a run's net besides training it: `infer`, `score`, `time`.

    The `command` runs in the run's image, in a copy of its folder (/work), with /data and /weights as in the training;
    `{snapshot}` is the snapshot's path without its part's suffix. /in (read-only) holds what the user gave to work
    on, and what it writes to /out is brought home. `every_snapshot`: the command runs once for each, oldest first.
    """

    command: tuple[str, ...]
    about: str = ""
    gpu: tuple[str, ...] = ()
    every_snapshot: bool = False


# what a recipe may ask for: Docker's own ones, and three that do not give the host away
CAPABILITIES = (
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "IPC_LOCK", "KILL", "MKNOD", "NET_BIND_SERVICE",
    "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT", "SYS_NICE", "SYS_PTRACE",
)  # fmt: skip


class Container(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the recipe's container may do that others may not: `capabilities` of the kernel, by their names without
    CAP_, and how many processes and threads there may be at once (`pids`, 0: any number). Capabilities that are not in
    CAPABILITIES are refused in a manifest as well, which a machine might have written."""

    capabilities: tuple[str, ...] = ()
    pids: int = Rights().pids

    def __post_init__(self) -> None:
        for capability in self.capabilities:
            if capability not in CAPABILITIES:
                raise ValueError(
                    f"{capability!r} is none that a training may have; there are {', '.join(CAPABILITIES)}"
                )
        if self.pids < 0:
            raise ValueError("pids must not be below 0; 0: any number")

    @property
    def rights(self) -> Rights:
        return Rights(self.capabilities, self.pids)


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What recipe.yaml says. `files` are templates (NAME.j2, rendered to NAME) and plain files, copied;
    `gpu` are extra words of the command where GPUs are used, `resume` where it goes on from `{snapshot}`: none where
    the command finds its newest snapshot itself. `environment`: variables of the training and of its tasks;
    `container`: what these may do. `plan` names one of
    provision.recipes.planners.table.PLANNERS, which computes more values for templates from the options and the
    GPUs."""

    name: str
    about: str
    stack: str
    command: tuple[str, ...]
    data: str = ""
    options: dict[str, Option] = {}
    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    gpu: tuple[str, ...] = ()
    resume: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    container: Container = Container()
    stop: Stop = Stop()
    snapshots: SnapshotRule = NO_SNAPSHOTS
    metrics: str = "auto"  # as `--metrics` takes it
    plan: str = ""
    weights: tuple[Weights, ...] = ()
    tasks: dict[str, Task] = {}
    outputs: tuple[str, ...] = ()
    goal: dict[str, float] = {}
    failures: tuple[Failure, ...] = ()


class Recipe(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A recipe with the text of its files, by the names in `files`."""

    templates: dict[str, str] = {}


class Rendered(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A recipe with its options filled in: all that the container needs. `files` go to the run's folder."""

    files: dict[str, str]
    command: tuple[str, ...]
    resume: tuple[str, ...]
    options: dict[str, Option]
    gpus: int = 0
    plan: dict[str, Any] = {}
    weights: tuple[Weights, ...] = ()
    tasks: dict[str, Task] = {}
    environment: dict[str, str] = {}

    def resumed(self, stem: str) -> tuple[str, ...]:
        """The command that goes on from a snapshot, by its path without the part's suffix."""
        return self.command + tuple(word.replace("{snapshot}", stem) for word in self.resume)


class SnapshotFiles(msgspec.Struct, frozen=True):
    """A complete snapshot: its files, relative to the run's folder, and the stem that `resumed` takes."""

    iteration: int
    stem: str
    paths: tuple[str, ...]


def to_dict(value: Recipe | Rendered) -> dict[str, Any]:
    """The value for JSON."""
    plain: dict[str, Any] = msgspec.to_builtins(value)
    return plain


def from_dict(raw: object, kind: type[T], where: str = "manifest") -> T:
    """What `to_dict` made, as a Recipe or Rendered again. UsageError with the key path if it is not that."""
    return convert(raw, kind, where)


def complete_snapshots(recipe: Spec, paths: Iterable[str]) -> list[SnapshotFiles]:
    """Snapshots of which every part is among `paths` (relative to the run's folder), oldest first."""
    rule = recipe.snapshots
    found: dict[tuple[int, str], dict[str, str]] = {}
    for path in paths:
        if match := re.fullmatch(rule.pattern, path):
            stem = path[: match.start("part")].rstrip(".")
            found.setdefault((int(match["iteration"]), stem), {})[match["part"]] = path
    return [
        SnapshotFiles(iteration, stem, tuple(sorted(have.values())))
        for (iteration, stem), have in sorted(found.items())
        if set(have) >= set(rule.parts)
    ]


@dataclass(frozen=True)
class Plan:
    """What was computed: `values` for the templates, `files` (by their path in the run's folder) beside those that the
    recipe names, `shown`, in the order in which `train --dry-run` shows it (JSON values), and `weights` beside the
    recipe's own: provision.recipes.spec.Weights, or the same in recipe.yaml's words."""

    values: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    shown: Mapping[str, Any] = field(default_factory=dict)
    weights: Sequence[Any] = ()


# options, the number of GPUs (0: the CPU), the data's folder where it is on this laptop; UsageError for what cannot be
Planner = Callable[[Mapping[str, Option], int, Path | None], Plan]
