"""Who brings an image to the bucket, and who deletes images there, stay out of each other's way.

    images/claims/WHO-TOKEN   a laptop counts on layers that are there, from before its first look until a keeper is
                              written down: then the run itself tells that its image is needed
    images/forgetting         a laptop deletes images

Each writes its own mark first and looks for the other's then; S3 shows what was written to everybody at once, so that
at least one of two sees the other. Who brings waits for the other, who deletes gives way. A mark that a killed client
left counts for a while by AWS's clock, and no client goes on once its own may count no more.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from infra.aws.identity import caller
from infra.aws.s3 import S3, Stored
from infra.errors import BusyError, ProvisionError, RunError
from provision.engines.capsule import IMAGES
from provision.runs.store import whoami

CLAIMS, FORGETTING = f"{IMAGES}claims/", f"{IMAGES}forgetting"
LIVES = timedelta(hours=24)  # a claim: an image of 5 GB takes 14 hours at 100 KB/s
QUICK = timedelta(minutes=15)  # a mark of who deletes
_BEFORE = timedelta(hours=1)  # before a claim counts no more it is worth nothing to its holder
_SHORT_S = 300.0  # of the 15 minutes, in which deletions are begun
_LOOK_S = 2.0


@dataclass(frozen=True)
class Claim:
    """That layers which are in the bucket stay there."""

    store: S3
    key: str

    def check(self) -> None:
        """RunError where somebody may have taken it for a killed client's by now: this laptop slept too long."""
        mark = self.store.head(self.key)
        if mark is None or _age(self.store, mark) > LIVES - _BEFORE:
            raise RunError(
                "bringing the image took more than a day, and layers of it may have been deleted meanwhile",
                "give the same command again: what is there is not sent twice",
            )


@contextmanager
def claimed(store: S3, say: Callable[[str], object] = lambda _: None) -> Iterator[Claim]:
    """Hold a claim for as long as the context lasts, once nobody deletes images any more; a wait for that is said."""
    claim = Claim(store, f"{CLAIMS}{secrets.token_hex(8)}")
    store.write(claim.key, _text())
    try:
        said = False
        while (mark := store.head(FORGETTING)) is not None and _age(store, mark) < QUICK:
            if not said:
                say(f"{_said(store, FORGETTING)} is deleting images in s3://{store.bucket}: waiting for that")
            said = True
            time.sleep(_LOOK_S)
        yield claim
    finally:
        with suppress(ProvisionError):  # it counts for a day
            store.delete([claim.key])


class Deleting:
    """The time in which images may be deleted."""

    def __init__(self) -> None:
        self._until = time.monotonic() + _SHORT_S

    @property
    def over(self) -> bool:
        """Whether somebody may take the mark for a killed client's soon."""
        return time.monotonic() > self._until

    def check(self) -> None:
        """RunError where it is over: this laptop slept."""
        if self.over:
            raise RunError("deleting images took too long, and somebody may bring one now", "give the command again")


@contextmanager
def deleting(store: S3) -> Iterator[Deleting]:
    """Be the one who deletes images, while nobody brings one. BusyError, which says who, where somebody does."""
    _mark(store)
    ours = Deleting()
    try:
        for mark in store.objects(CLAIMS):
            if _age(store, mark) < LIVES:
                raise BusyError(
                    f"{_said(store, mark.key)} is bringing an image to s3://{store.bucket}: nothing is deleted",
                    "wait until it is there, and give the same command again; the mark of a client that was killed "
                    f"counts for a day: s3://{store.bucket}/{mark.key}",
                )
            store.delete([mark.key])
        yield ours
    finally:
        if not ours.over:
            with suppress(ProvisionError):  # it counts for a quarter of an hour
                store.delete([FORGETTING])


def _mark(store: S3) -> None:
    """Write down that this laptop deletes; in the place of a mark that counts no more."""
    there = store.head(FORGETTING)
    if there is None:
        written = store.write_new(FORGETTING, _text())
    else:
        written = _age(store, there) >= QUICK and store.replace(FORGETTING, _text(), there.etag)
    if not written:
        raise BusyError(f"{_said(store, FORGETTING)} is deleting images already", "give the same command again later")


def _text() -> bytes:
    return json.dumps({"who": whoami(), "token": secrets.token_hex(8)}).encode()


def _said(store: S3, key: str) -> str:
    """Who wrote a mark, as it says; it is shown, and decides nothing."""
    with suppress(ProvisionError, LookupError, TypeError):
        return str(store.read_json(key)["who"])
    return "somebody"


def _age(store: S3, mark: Stored) -> timedelta:
    now = caller(store.cloud).clock or datetime.now(timezone.utc)
    return now - datetime.fromtimestamp(mark.modified, timezone.utc)
