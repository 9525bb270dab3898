"""Folders to and from S3: what changed and no more, in place of a mounted bucket (s3fs).

A file that goes up counts as unchanged when the object is as large and not older; one that comes down when it is as
large and has the object's time, which it gets when it comes. Where size fits and time does not, the content is
compared with S3's ETag: what was only touched is not sent. `checksum` compares every content of equal size.

The folder's .provisionignore holds for both ways: what it leaves out is neither sent, nor fetched, nor deleted.
"""

import os
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from infra.aws import s3_transfer
from infra.aws.iam import Iam
from infra.aws.s3 import S3, Stored
from infra.aws.session import Cloud
from infra.aws.types import Instance
from infra.disk import writing
from infra.errors import UsageError
from infra.ssh import SshShell
from provision import hostcopy, sources, sync
from provision.data.bar import Bar
from provision.data.unpack import check_room
from provision.runs import Run

Action = Literal["upload", "download", "delete"]
AT_ONCE = 10


@dataclass(frozen=True)
class Place:
    """A bucket and a prefix in it, which ends in a slash where it is not empty."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


@dataclass(frozen=True)
class Change:
    """One thing to do, to the file `path` (relative); `size` in bytes, and why. `modified`: the object's time."""

    action: Action
    path: str
    size: int
    why: str
    modified: float = 0.0


def parse(url: str) -> Place:
    """Out of s3://BUCKET/PREFIX. UsageError where it is none."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not bucket:
        raise UsageError(f"{url!r} is no place in S3", "write s3://BUCKET/PREFIX")
    prefix = prefix.strip("/")
    return Place(bucket, f"{prefix}/" if prefix else "")


def plan(store: S3, place: Place, folder: Path, up: bool, delete: bool = False, checksum: bool = False) -> list[Change]:
    """What would be done, by path. UsageError where a key would lie outside of the folder."""
    here = sync.local_index(folder) if up or folder.is_dir() else {}
    patterns = sync.patterns_of(folder)
    there = {
        name: one
        for one in store.objects(place.prefix)
        if (name := one.key.removeprefix(place.prefix)) and not name.endswith("/")
        if not sync.ignored(name, patterns)
    }
    source: Mapping[str, sync.Entry | Stored] = here if up else there
    target: Mapping[str, sync.Entry | Stored] = there if up else here
    changes = []
    for name in sorted(source):
        _check_inside(name, place)
        if why := _why(folder / name, here.get(name), there.get(name), up, checksum):
            modified = 0.0 if up else there[name].modified
            changes.append(Change("upload" if up else "download", name, source[name].size, why, modified))
    if delete:
        changes += [Change("delete", name, target[name].size, "gone") for name in sorted(target) if name not in source]
    return changes


def _why(path: Path, here: sync.Entry | None, there: Stored | None, up: bool, checksum: bool) -> str:
    """Why a file has to be copied; empty: it has not."""
    if here is None or there is None:
        return "new"
    if here.size != there.size:
        return "size"
    same_time = here.time <= there.modified if up else here.time == int(there.modified)
    if same_time and not checksum:
        return ""
    fits = s3_transfer.etag_fits(path, there.etag)
    if fits is None:
        return "" if same_time else "time"
    return "" if fits else "content"


def _check_inside(name: str, place: Place) -> None:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or "\0" in name:
        raise UsageError(f"{place} has a key that leads out of the folder: {name!r}", "nothing was copied")


def apply(store: S3, place: Place, folder: Path, changes: Sequence[Change], up: bool) -> None:
    """Do them: deletions first, for a folder may have taken a file's name. DiskError before the first byte."""
    copies = [one for one in changes if one.action != "delete"]
    gone = [one.path for one in changes if one.action == "delete"]
    total, done = sum(one.size for one in copies), [0]
    if up:
        store.delete([place.prefix + name for name in gone])
    else:
        check_room(folder, total)
        _remove(folder, gone)
    lock = threading.Lock()
    copy = s3_transfer.upload if up else s3_transfer.download
    with Bar(f"{'to' if up else 'from'} {place}", total) as bar:

        def count(more: int) -> None:
            with lock:
                done[0] += more
                bar.at(done[0])

        copy(store, [(folder / one.path, place.prefix + one.path) for one in copies], count, AT_ONCE)
    if not up:
        for one in copies:
            os.utime(folder / one.path, (one.modified, one.modified))


def _remove(folder: Path, names: Sequence[str]) -> None:
    """Files, and the folders that are empty without them."""
    for name in names:
        with writing(folder / name):
            (folder / name).unlink(missing_ok=True)
        for above in (folder / name).parents:
            if above == folder or any(above.iterdir()):
                break
            above.rmdir()


# onto a machine


def host_folder(url: str) -> str:
    """Where the data of an s3:// prefix lies on a machine: there `train --data s3://…` finds it."""
    return sources.data_source("", url).folder


def to_host(cloud: Cloud, instance: Instance, shell: SshShell, place: Place, folder: str) -> None:
    """Let the machine fetch it by itself. Its role may read the prefix for as long as that takes, and no longer.

    The guard's puller goes by name and size: an object that changed and is as large as before is not seen.
    """
    store = S3(cloud, place.bucket, "")
    near = S3(replace(cloud, region=store.region()), place.bucket, "")
    iam, policy = Iam(cloud), f"data-{secrets.token_hex(4)}"
    iam.allow(instance.resource, policy, reading(place))
    try:
        hostcopy.pull(shell, Run(near, "data"), place.prefix, folder, place.bucket)
    finally:
        iam.forbid(instance.resource, policy)


def reading(place: Place) -> dict[str, object]:
    """The policy that lets a role read the prefix."""
    bucket = f"arn:aws:s3:::{place.bucket}"
    listing = {"StringLike": {"s3:prefix": f"{place.prefix}*"}}
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"{bucket}/{place.prefix}*"},
            {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket, "Condition": listing},
        ],
    }
