"""The images in the account's bucket: which there are, what they cost, who uses them, and how they are deleted.

What a run that goes on needs is never deleted: a run tells its image by its manifest, and one whose manifest cannot be
read may need any. Layers that another image has, too, stay; so do those of an upload that broke off in the last week,
which may go on. A run whose image is gone brings it again when it is resumed.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import cached_property, partial
from typing import Any

from infra.aws import prices
from infra.aws.s3 import S3, Stored
from infra.aws.session import Cloud
from infra.concurrency import together
from infra.errors import DamagedError, NotFoundError, RunError, UsageError
from provision.engines import images_claim, images_s3
from provision.engines.capsule import IMAGES
from provision.runs import store, table
from provision.runs.store import Run

INDEXES, BLOBS = f"{IMAGES}sha256/", f"{IMAGES}blobs/"
_INDEX = re.compile(re.escape(INDEXES) + r"([0-9a-f]{64})\.json")
_BLOB = re.compile(re.escape(BLOBS) + r"[0-9a-f]{64}\.gz")
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{6,64})")
_RESUMABLE = timedelta(days=7)  # S3 keeps the parts of an upload that broke off for as long (infra.aws.s3_bucket)
_STARTS = timedelta(days=1)  # a run without an attempt may begin for so long; later its client was killed
_AT_ONCE = 32


@dataclass(frozen=True)
class Image:
    """One image: its id, its tag, and the keys of its blobs. `run` is the newest run of it that there is ("": none),
    `used` when that was last heard of, or the image brought; `needed`: the runs of it that go on."""

    digest: str
    tag: str
    index: Stored
    blobs: frozenset[str]
    used: datetime
    run: str = ""
    needed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Held:
    """What the bucket has of images: `blobs` by key. `unread` are runs that go on and whose image is not known."""

    place: S3
    images: Sequence[Image]
    blobs: Mapping[str, Stored]
    unread: Sequence[str] = ()

    def size(self, image: Image) -> int:
        """Bytes of all its layers."""
        return sum(self.blobs[key].size for key in image.blobs if key in self.blobs)

    def freed(self, images: Sequence[Image]) -> list[Stored]:
        """The blobs that no other image has."""
        left = {key for image in self.images if image not in images for key in image.blobs}
        gone = {key for image in images for key in image.blobs} - left
        return [self.blobs[key] for key in sorted(gone) if key in self.blobs]

    @cached_property
    def loose(self) -> list[Stored]:
        """Blobs of no image: of uploads that broke off."""
        known = {key for image in self.images for key in image.blobs}
        return [blob for key, blob in sorted(self.blobs.items()) if key not in known]

    def monthly(self, size: int) -> float:
        """What S3 asks a month for so many bytes, in US dollars."""
        return prices.s3_monthly(size, self.place.cloud.region)

    def row(self, image: Image) -> dict[str, Any]:
        """The image for programs. `alone`: the bytes that go with it; times in ISO 8601."""
        size = self.size(image)
        return {
            "image": image.digest, "tag": image.tag, "bytes": size,
            "alone": sum(blob.size for blob in self.freed([image])),
            "dollars_a_month": round(self.monthly(size), 4), "used": image.used.isoformat(timespec="seconds"),
            "run": image.run, "needed": list(image.needed),
        }  # fmt: skip


def look(cloud: Cloud) -> Held:
    """All images of the account's bucket in this region, the one that was used last first. DamagedError where an
    image's index makes no sense, AuthError or CloudError where S3 refuses."""
    place = store.store(cloud)
    if not place.exists():
        return Held(place, (), {})
    blobs = {blob.key: blob for blob in place.objects(BLOBS) if _BLOB.fullmatch(blob.key)}
    indexes = [stored for stored in place.objects(INDEXES) if _INDEX.fullmatch(stored.key)]
    images = _all(together([partial(_image, place, stored) for stored in indexes], _AT_ONCE))
    if not images:
        return Held(place, (), blobs)
    seen, unread = _runs(cloud, {image.digest for image in images})
    found = [_with_runs(image, seen.get(image.digest, [])) for image in images]
    return Held(place, sorted(found, key=lambda image: image.used, reverse=True), blobs, unread)


def _all(answers: tuple[list[Any], list[Any]]) -> list[Any]:
    found, errors = answers
    if errors:
        raise errors[0]
    return found


def _image(place: S3, stored: Stored) -> Image:
    raw: Any = place.read_json(stored.key)
    try:
        tag, keys = str(raw["tag"]), frozenset(str(blob["key"]) for blob in raw["blobs"])
    except (LookupError, TypeError) as error:
        raise DamagedError(f"s3://{place.bucket}/{stored.key} is no index of an image", "delete that object") from error
    digest = stored.key.removeprefix(INDEXES).removesuffix(".json")
    return Image(f"sha256:{digest}", tag, stored, keys, _moment(stored))


def _runs(cloud: Cloud, digests: set[str]) -> tuple[dict[str, list[table.Seen]], list[str]]:
    """The runs of each image, by its id; and the runs that go on and whose image is not known."""
    runs = store.all_runs(cloud)
    told = _all(together([partial(_digest, run) for run in runs], _AT_ONCE))
    of = {run.id: digest for run, digest in zip(runs, told, strict=True)}
    seen = table.look(cloud, [run for run in runs if of[run.id] in digests or not of[run.id]])
    found: dict[str, list[table.Seen]] = {}
    for one in seen:
        found.setdefault(of[one.run.id], []).append(one)
    return found, [one.run.id for one in found.get("", []) if _needs(one)]


def _digest(run: Run) -> str:
    """The id of the run's image; "" where its manifest does not tell."""
    try:
        return str(json.loads(run.store.read(run.key("manifest.json")) or b"{}")["digest"])
    except (ValueError, LookupError, TypeError, DamagedError):
        return ""


def _needs(seen: table.Seen) -> bool:
    """Whether the run goes on, or may begin yet, or nobody can tell."""
    begins = seen.now.attempt is None and datetime.now(timezone.utc) - table.created(seen) < _STARTS
    return bool(seen.wrong) or seen.trains or begins


def _with_runs(image: Image, seen: Sequence[table.Seen]) -> Image:
    if not seen:
        return image
    newest = max(seen, key=table.created)
    moments = [_moment(stored) for one in seen for stored in one.objects]
    needed = tuple(one.run.id for one in seen if _needs(one))
    return replace(image, run=newest.run.id, used=max([image.used, *moments]), needed=needed)


def _moment(stored: Stored) -> datetime:
    return datetime.fromtimestamp(stored.modified, timezone.utc)


def named(held: Held, words: Sequence[str]) -> list[Image]:
    """The images of those ids (or their first digits) or tags. NotFoundError where one is not there, UsageError where
    several are meant, RunError where a run that goes on needs one: then none is to be deleted."""
    chosen = list(dict.fromkeys(_one(held, word) for word in words))
    for image in chosen:
        if image.needed or held.unread:
            _refuse(held, image)
    return chosen


def _one(held: Held, word: str) -> Image:
    digits = _DIGEST.fullmatch(word)
    found = [
        image for image in held.images
        if image.tag == word or (digits and image.digest.startswith(f"sha256:{digits[1]}"))
    ]  # fmt: skip
    hint = held.place.cloud.hint("image stored")
    if not found:
        raise NotFoundError(f"s3://{held.place.bucket} has no image {word!r}", f"it has these: {hint}")
    if len(found) > 1:
        raise UsageError(f"{word!r} means {len(found)} images", f"name one by its id: {hint}")
    return found[0]


def _refuse(held: Held, image: Image) -> None:
    hint = held.place.cloud.hint
    if image.needed:
        raise RunError(
            f"{image.needed[0]} needs the image {image.tag}: nothing was deleted",
            f"stop it first: {hint(f'stop {image.needed[0]}')}",
        )
    raise RunError(
        f"the manifest of {held.unread[0]} cannot be read, so that it may need any image: nothing was deleted",
        f"delete that run, if it is none: {hint(f'rm {held.unread[0]}')}",
    )


def unused(held: Held, minutes: float) -> list[Image]:
    """The images that no run has used for so long, and that none needs."""
    before = datetime.now(timezone.utc) - timedelta(minutes=minutes)
    return [] if held.unread else [one for one in held.images if not one.needed and one.used < before]


def gone(held: Held, chosen: Sequence[Image]) -> list[Stored]:
    """The blobs that go when these images do: theirs alone, and those of uploads that broke off long ago."""
    old = datetime.now(timezone.utc) - _RESUMABLE
    return [*held.freed(chosen), *(blob for blob in held.loose if _moment(blob) < old)]


def forget(cloud: Cloud, digests: Sequence[str]) -> list[Stored]:
    """Delete the images of those ids, by what there is now; the blobs that went. An image that is gone is no error.

    The index goes first, so that no image is there by half. BusyError where somebody brings an image or deletes some,
    RunError where a run needs one by now.
    """
    with images_claim.deleting(store.store(cloud)) as time:
        held = look(cloud)
        there = {image.digest for image in held.images}
        chosen = named(held, [digest for digest in digests if digest in there])
        blobs = gone(held, chosen)
        time.check()
        held.place.delete([image.index.key for image in chosen])
        time.check()
        held.place.delete([blob.key for blob in blobs])
    for image in chosen:
        images_s3.forget_note(image.digest)
    return blobs
