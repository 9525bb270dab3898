"""A target's lock: it fixes what the Dockerfile leaves open to its state on one day. A file of the user's project.

It holds the digest of each base image, the day whose packages of the distribution are meant, the moment that no file of
the image is younger than (SOURCE_DATE_EPOCH), and the digest of the stack's checksums. A lock that is there
(`provision.lock/STACK/ROW.yaml`) is taken: the context then carries it, so that the image has another tag than an
unlocked one. A base that was made here has no digest: then the image's id is held, and the lock is good for this
engine only.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import msgspec
import yaml

from images import hashes
from images.target import Target
from infra import basepin, border
from infra.disk import writing
from infra.errors import UsageError
from infra.shell import OnLine, Shell

FOLDER = Path("provision.lock")
NAME = "lock.yaml"  # in a context
_HEAD = "# Written by `provision image lock`; `provision image update` renews it.\n"
_FROM = re.compile(r"(?m)^FROM (\S+)((?: AS \S+)?)[ \t]*$")
_PIN = r"^sha256:[0-9a-f]{64}$"

Digest = Annotated[str, msgspec.Meta(pattern=_PIN)]


class Base(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A base image: `digest` at its registry; or `made_here`, its id at the engine where it was made."""

    digest: Digest | None = None
    made_here: Digest | None = None

    def __post_init__(self) -> None:
        if bool(self.digest) == bool(self.made_here):
            raise ValueError("a base has either a digest or made_here")


class Lock(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a target was locked to.

    `date` is the day (2026-11-29), `snapshot` the state of the distribution's archive (20261129T000000Z, as
    snapshots of Debian's and Ubuntu's archives are named), `epoch` in seconds since 1970, `hashes` the SHA-256 of the
    stack's checksums of Python packages.
    """

    target: str
    date: str
    snapshot: str
    epoch: int
    bases: dict[str, Base]
    hashes: str = ""

    @property
    def made_here(self) -> tuple[str, ...]:
        """The names of the bases that exist at one engine only, and cannot be had again once they are deleted there."""
        return tuple(name for name, base in self.bases.items() if base.made_here)

    @property
    def text(self) -> str:
        """The file, the same bytes for the same lock."""
        return _HEAD + yaml.safe_dump(msgspec.to_builtins(self), sort_keys=True, width=120)


def place(target: Target, folder: Path = FOLDER) -> Path:
    """Where the target's lock lies."""
    return folder / target.stack.name / f"{target.name.partition(':')[2]}.yaml"


def find(target: Target, folder: Path = FOLDER) -> Lock | None:
    """The project's lock of the target, if there is one. UsageError with the key path where it is wrong."""
    path = place(target, folder)
    return load(path, target) if path.exists() else None


def load(path: Path, target: Target) -> Lock:
    """The lock in that file. UsageError where the file is wrong, or is the lock of another target."""
    lock = border.load_yaml(path, Lock)
    if lock.target != target.name:
        raise UsageError(f"{path} is the lock of {lock.target}, not of {target.name}", _mend("lock", target))
    return lock


def make(target: Target, pins: Mapping[str, basepin.Pin], now: datetime) -> Lock:
    """The lock of a target as of the day of `now`, with what its base images are."""
    day = now.astimezone(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    return Lock(
        target=target.name,
        date=f"{day:%Y-%m-%d}",
        snapshot=f"{day:%Y%m%dT%H%M%SZ}",
        epoch=int(day.timestamp()),
        bases={name: Base(pin.digest, pin.made_here) for name, pin in sorted(pins.items())},
        hashes=hashes.digest(target.stack) if target.stack.hashes else "",
    )


def write(lock: Lock, target: Target, folder: Path = FOLDER) -> Path:
    """Write the lock to where `find` looks for it; its path. DiskError or UsageError where it cannot be written."""
    path = place(target, folder)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(lock.text, encoding="utf-8")
    return path


def changes(old: Lock | None, new: Lock) -> list[tuple[str, str, str]]:
    """What differs: a name for it, as it was (empty: it was not there), as it is now."""
    before, after = (_flat(lock) if lock else {} for lock in (old, new))
    names = list(dict.fromkeys([*before, *after]))
    return [(name, before.get(name, ""), after.get(name, "")) for name in names if before.get(name) != after.get(name)]


def _flat(lock: Lock) -> dict[str, str]:
    """The lock's values by names that can be read in a table."""
    found = {"date": lock.date, "snapshot": lock.snapshot, "epoch": str(lock.epoch), "hashes": lock.hashes}
    for name, base in lock.bases.items():
        found[f"base {name}"] = base.digest or f"{base.made_here} (made here)"
    return {name: value for name, value in found.items() if value}


def fixed(files: Mapping[str, str], lock: Lock, target: Target) -> dict[str, str]:
    """A context's files with the lock in them: base images by digest, and the arguments that a build reads.

    UsageError where the lock is of an older matrix or of other checksums.
    """
    if target.stack.hashes and lock.hashes != hashes.digest(target.stack):
        raise UsageError(
            f"the checksums of {target.stack.name}'s Python packages are not those that {target.name} is locked to",
            _mend("update", target),
        )
    names: set[str] = set()
    text = _FROM.sub(lambda found: _from(found, lock, target, names), files["Dockerfile"])
    return {**files, "Dockerfile": text, NAME: lock.text}


def _from(found: "re.Match[str]", lock: Lock, target: Target, names: set[str]) -> str:
    """One FROM, held to the lock unless it starts from a stage of the file itself. `names`: the stages so far."""
    start, called = found[1], found[2]
    own = start in names or start == "scratch"
    names.add(called.removeprefix(" AS "))
    if own:
        return found[0]
    if start not in lock.bases:
        raise UsageError(f"the lock of {target.name} does not know its base image {start}", _mend("update", target))
    digest = lock.bases[start].digest
    where = basepin.with_digest(start, digest) if digest else start
    return f"FROM {where}{called}\nARG SOURCE_DATE_EPOCH={lock.epoch}\nARG PROVISION_SNAPSHOT={lock.snapshot}"


def hold(lock: Lock, shell: Shell, on_line: OnLine | None = None) -> None:
    """Make sure that the engine has the very base images. ImageError where one is another, or cannot be had."""
    mend = f"lock to what there is: provision image update {lock.target}; or build without: --no-lock"
    for name, base in lock.bases.items():
        if base.made_here:
            basepin.must_be(name, base.made_here, shell, mend, on_line)
        elif base.digest:
            basepin.must_have(basepin.with_digest(name, base.digest), shell, mend, on_line)


def _mend(verb: str, target: Target) -> str:
    return f"provision image {verb} {target.name}"
