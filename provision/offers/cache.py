"""What AWS said some hours ago and will say again: types, zones, subnets, machine images, quotas.

One small file for each answer, in a folder for each account, region and endpoint: two clients at once cannot spoil each
other's. Spot prices and instances are never kept. A refusal that rests on an old answer is asked again (`forget`).
"""

import dataclasses
import hashlib
import math
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from infra.aws import identity
from infra.aws.session import Cloud, signer
from provision.settings import cache_home

T = TypeVar("T")

KEPT_S = 6 * 3600.0  # a working day asks once or twice; a refusal that rests on a kept answer asks again at once
_SWEPT_S = 7 * 24 * 3600.0


class _Owner(msgspec.Struct, frozen=True):
    """Whose an access key is; `key` is a hash of its id."""

    key: str
    account: str


def look(cloud: Cloud, what: str, kind: type[T], ask: Callable[[], T], kept_s: float = KEPT_S) -> T:
    """The answer to `what` ("zones of p3.8xlarge") as a `kind`: the kept one where it is younger than `kept_s`, else
    that of `ask`, whose errors it raises."""
    path = _folder(cloud) / _file_name(what)
    young = _read(path, kind, kept_s)
    if young is not None:
        return young
    answer = ask()
    _write(path, answer)
    return answer


def kept(cloud: Cloud, what: str, kind: type[T]) -> T | None:
    """The kept answer to `what`, however old it is; None where there is none."""
    return _read(_folder(cloud) / _file_name(what), kind, math.inf)


def account(cloud: Cloud) -> str:
    """The number of the account that the credentials are of. AuthError where there are no good ones.

    It is kept with the access key, as a profile may be given the keys of another account.
    """
    key, told = signer(cloud)
    if told:
        return told
    mark = hashlib.sha256(key.encode()).hexdigest()[:16]
    path = _folder(dataclasses.replace(cloud, region="all-regions")) / "account.json"  # the answer is the same in each
    known = _read(path, _Owner)
    if known is not None and known.key == mark:
        return known.account
    owner = _Owner(mark, identity.account(cloud))
    _write(path, owner)
    return owner.account


def forget(cloud: Cloud, before: float | None = None) -> bool:
    """Drop what is kept of this region (only what is older than the time `before`); whether there was any."""
    old = [path for path in _folder(cloud).glob("*.json") if before is None or _age_of(path) < before]
    for path in old:
        path.unlink(missing_ok=True)
    return bool(old)


def _folder(cloud: Cloud) -> Path:
    """Another account, or a local cloud that was started anew, gives other answers."""
    who = (cloud.endpoint, cloud.profile, cloud.access_key, *map(os.environ.get, ("AWS_PROFILE", "AWS_ACCESS_KEY_ID")))
    mark = hashlib.sha256(repr(who).encode()).hexdigest()[:8]
    return cache_home() / "lookups" / f"{cloud.name.replace(':', '-')}-{mark}" / cloud.region


def _file_name(what: str) -> str:
    mark = hashlib.sha256(what.encode()).hexdigest()[:12]
    return f"{re.sub(r'[^a-z0-9]+', '-', what.lower())[:40]}-{mark}.json"


def _age_of(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another client dropped it just now
        return 0.0


def _read(path: Path, kind: type[T], kept_s: float = KEPT_S) -> T | None:
    try:
        if time.time() - path.stat().st_mtime > kept_s:
            return None
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError, RecursionError):  # absent, or written by another version
        return None


def _write(path: Path, answer: object) -> None:
    """A cache that cannot be written is no reason to fail."""
    part = path.with_suffix(f".{os.getpid()}-{time.monotonic_ns()}")
    try:
        if not path.parent.is_dir():
            _sweep(cache_home() / "lookups")
            path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(msgspec.json.encode(answer))
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)


def _sweep(base: Path) -> None:
    """Folders of local clouds that are long gone."""
    for old in base.iterdir() if base.is_dir() else ():
        if time.time() - _age_of(old) > _SWEPT_S:
            shutil.rmtree(old, ignore_errors=True)
