"""What a conversion is asked for, and what that comes to: the entries of a list, and a digest of all that decides the
records (`provision.data.convert`).
"""

import hashlib
import json
import os
from pathlib import Path

import msgspec

from infra.errors import UsageError
from provision.data.backends import BACKENDS
from provision.data.lists import SUFFIXES, Entry, Pictures, load, numbered, shuffled
from provision.data.pictures import LARGEST, Shape, vision

FORMAT = 2  # of the folder; raise it when the same order gives other bytes, or the digest is made of more


class Order(msgspec.Struct, frozen=True):
    """What to convert, into what. `kind`, `root`, `labels` and `classes` as in `lists.load`.

    `limit` keeps the first pictures only (0: all), after the shuffle. `same_size` refuses records of another size than
    the first. With `strict` the first bad picture ends it. `jobs` 0 means one for each core.
    """

    source: Path
    out: Path
    kind: str = "auto"
    root: Path | None = None
    labels: Path | None = None
    classes: tuple[str, ...] = ()
    backend: str = "lmdb"
    shape: Shape = Shape()
    shuffle: bool = False
    seed: int = 1
    limit: int = 0
    same_size: bool = False
    strict: bool = False
    jobs: int = 0
    resume: bool = False


class Plan(msgspec.Struct, frozen=True):
    """What an order comes to. `databases` are folders inside of its `out`; "." is itself."""

    kind: str
    entries: list[Entry]
    found: Pictures
    databases: list[str]
    digest: str


class Made(msgspec.Struct, frozen=True):
    """What was made. `bad` counts the pictures that bad.txt lists; `found`: it was there before."""

    kind: str
    records: int
    bad: int
    backend: str
    databases: list[str]
    found: bool = False


def _plain(asked: object) -> bytes:
    """A form of a value for the digest; names of files may be no UTF-8, which msgspec does not write."""
    try:
        return msgspec.json.encode(asked)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(asked)).encode()


def _writes(suffix: str) -> bool:
    """Whether OpenCV writes such files, and Caffe's older ones read them (GIF and AVIF came late; EXR has floats)."""
    return f".{suffix}" in SUFFIXES and bool(vision().haveImageWriter(f"a.{suffix}"))


def plan(order: Order) -> Plan:
    """Read the list. UsageError where it or the order is wrong."""
    if order.backend not in BACKENDS:
        raise UsageError(f"unknown backend {order.backend!r}", f"give one of these: {', '.join(BACKENDS)}")
    if order.shape.encode not in ("", "auto") and not _writes(order.shape.encode):
        raise UsageError(
            f"OpenCV cannot write pictures of type {order.shape.encode!r}, or Caffe's may not read them",
            "give --encode-type jpg or png",
        )
    for option, sides in (("--resize", order.shape.resize or (0, 0)), ("--pad", (order.shape.pad, order.shape.pad))):
        if sides[0] * sides[1] > LARGEST:
            raise UsageError(
                f"{option}: {sides[0]} x {sides[1]} pixels are more than a picture may have", "give smaller sides"
            )
    found = load(order.source, kind=order.kind, root=order.root, labels=order.labels, classes=order.classes)
    if found.kind == "boxes" or any(entry.label_path.lower().endswith(".xml") for entry in found.entries):
        raise boxes_refused(order.source)
    if order.classes and found.kind != "classes":
        raise UsageError(f"--classes names classes, and {order.source} has none", "leave --classes out")
    beyond = [entry for entry in found.entries if order.classes and not 0 <= entry.label < len(order.classes)]
    if beyond:
        raise UsageError(
            f"{beyond[0].path} has the label {beyond[0].label}, and --classes names {len(order.classes)}",
            "name all classes, from 0 on",
        )
    entries = numbered(shuffled(found.entries, order.seed)) if order.shuffle else found.entries
    entries = entries[: order.limit] if order.limit else entries
    pair = [f"images_{order.backend}", f"labels_{order.backend}"]
    place = os.fspath(found.root.resolve())
    asked = (FORMAT, found.kind, entries, order.backend, order.shape, order.same_size, place, found.below, found.names)
    digest = hashlib.sha256(_plain(asked)).hexdigest()
    return Plan(found.kind, entries, found, pair if found.kind == "pairs" else ["."], digest)


def boxes_refused(source: Path) -> UsageError:
    """The error for a list of images and annotations, which other commands read."""
    return UsageError(
        f"{source} lists images with boxes (.xml), not with classes or label pictures",
        "provision data boxes OUT --train LIST --test LIST makes databases of them",
    )
