"""Pictures become databases for Caffe: `provision data lmdb`.

A list or folder gives entries (`lists`), each entry makes a record on one of the threads (`pictures`), and this thread
keeps the records in order, 1000 or 32 MB at a time (`databases`). Images with label pictures make two databases of the
same keys in the same order.

All is made in `.NAME.part` beside the folder, and gets the folder's name when it is whole: a killed conversion leaves
no half database, and can be gone on with from the last key that was kept, if list and options are still the same (a
digest beside the records tells). Bad pictures are noted in bad.txt before the records that follow them are kept, so a
kill forgets none. The finished folder has data.json: how it was made, and how many records it holds.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from infra.disk import writing
from infra.errors import UsageError
from provision import console
from provision.data.backends import BACKENDS
from provision.data.datum import Datum
from provision.data.keeper import Keeper, Record
from provision.data.lists import Entry, load, numbered, shuffled
from provision.data.parallel import ordered, tracked
from provision.data.pictures import BadPictureError, Shape, image_record, label_record, vision

_FORMAT = 1  # of the folder; raise it when the same order gives other bytes


class Order(msgspec.Struct, frozen=True):
    """What to convert, into what. `kind`, `root` and `labels` as in `lists.load`.

    `limit` keeps the first pictures only (0: all), after the shuffle. `same_size` refuses records of another size than
    the first. With `strict` the first bad picture ends it. `jobs` 0 means one for each core.
    """

    source: Path
    out: Path
    kind: str = "auto"
    root: Path | None = None
    labels: Path | None = None
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
    root: Path
    databases: list[str]
    digest: str
    names: list[str] = []


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
    """Whether OpenCV has a writer for such files; odd characters in its suffix would crash it."""
    return re.fullmatch(r"[a-z0-9]{1,8}", suffix) is not None and bool(vision().haveImageWriter(f"a.{suffix}"))


def plan(order: Order) -> Plan:
    """Read the list. UsageError where it or the order is wrong."""
    if order.backend not in BACKENDS:
        raise UsageError(f"unknown backend {order.backend!r}", f"give one of these: {', '.join(BACKENDS)}")
    if order.shape.encode not in ("", "auto") and not _writes(order.shape.encode):
        raise UsageError(
            f"OpenCV cannot write pictures of type {order.shape.encode!r}", "give --encode-type jpg or png"
        )
    found = load(order.source, kind=order.kind, root=order.root, labels=order.labels)
    entries = numbered(shuffled(found.entries, order.seed)) if order.shuffle else found.entries
    entries = entries[: order.limit] if order.limit else entries
    pair = [f"images_{order.backend}", f"labels_{order.backend}"]
    asked = (_FORMAT, found.kind, entries, order.backend, order.shape, order.same_size)
    digest = hashlib.sha256(_plain(asked)).hexdigest()
    return Plan(found.kind, entries, found.root, pair if found.kind == "pairs" else ["."], digest, found.names)


def convert(order: Order) -> Made:
    """Make the databases; found as they are where they were made before from the same list with the same options.

    UsageError for wrong orders, other things in the way, and bad pictures where `strict`; DiskError where the disk is
    full; MissingExtraError without the extra `data`.
    """
    planned = plan(order)
    if found := _already(order.out, planned.digest):
        return found
    with _part(order.out) as part:
        begun = _begun(part, planned.digest) if order.resume else False
        if not begun:
            _clear(part, order.out)
        made = _fill(part, order, planned)
        (part / "data.json").write_text(json.dumps(_facts(planned, made), indent=2) + "\n", encoding="utf-8")
        if planned.names:
            (part / "labels.txt").write_text("\n".join(planned.names) + "\n", encoding="utf-8")
        (part / "resume.json").unlink()
        part.rename(order.out)
    return made


def _facts(planned: Plan, made: Made) -> dict[str, object]:
    facts = msgspec.to_builtins(made)
    del facts["found"]
    return {"data": "pictures", "format": _FORMAT, "digest": planned.digest, **facts}


def _already(out: Path, digest: str) -> Made | None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        facts = json.loads((out / "data.json").read_text(encoding="utf-8"))
        made = msgspec.convert({**facts, "found": True}, Made) if facts["data"] == "pictures" else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        made = None
    if made is None:
        raise UsageError(f"{out} is there, and was not made by this command", "name a new folder")
    if facts["digest"] != digest:
        raise UsageError(f"{out} was made from another list or with other options", "name a new folder, or remove it")
    return made


@contextmanager
def _part(out: Path) -> Iterator[Path]:
    """The folder to fill, ours alone as long as we live. It stays there if anything fails."""
    part = out.with_name(f".{out.name}.part")
    with writing(out):
        part.mkdir(parents=True, exist_ok=True)
    handle = os.open(part, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another conversion is making {out}", "wait for it, or end it") from None
        yield part
    finally:
        os.close(handle)


def _begun(part: Path, digest: str) -> bool:
    """Whether a killed conversion of the same list and options can be gone on with."""
    try:
        told = json.loads((part / "resume.json").read_text(encoding="utf-8"))["digest"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
    if told != digest:
        raise UsageError(
            "the conversion to resume had another list or other options", "give the same ones, or leave out --resume"
        )
    return True


def _clear(part: Path, out: Path) -> None:
    if any(part.iterdir()):
        console.line(f"a killed conversion to {out} is thrown away (--resume goes on with one)")
    for path in part.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _fill(part: Path, order: Order, planned: Plan) -> Made:
    (part / "resume.json").write_text(json.dumps({"digest": planned.digest}), encoding="utf-8")
    with Keeper(part, planned.databases, order.backend) as keeper:
        todo = [entry for entry in planned.entries if entry.number > keeper.done]
        if len(todo) < len(planned.entries):
            console.line(f"going on after {len(planned.entries) - len(todo)} of {len(planned.entries)} pictures")
        records: Iterable[Record] = ordered(lambda entry: _record(entry, order, planned), todo, order.jobs)
        if order.same_size:
            made = (_record(entry, order, planned) for entry in planned.entries)
            records = _same_size(records, next((record.size for record in made if not record.bad), (0, 0)))
        for record in tracked(records, len(todo), "pictures"):
            if record.bad and order.strict:
                keeper.flush()
                raise _refused(record)
            keeper.take(record)
        keeper.flush()
        if keeper.done < 0:
            shutil.rmtree(part)
            raise _nothing(keeper.bad, planned)
        bad = len(keeper.bad)
    return Made(planned.kind, len(planned.entries) - bad, bad, order.backend, planned.databases)


def _record(entry: Entry, order: Order, planned: Plan) -> Record:
    """Make one entry's record, on a thread."""
    try:
        path = planned.root / entry.path
        if planned.kind == "labels":
            datum, size = label_record(path, order.shape)
            return Record(entry, (datum.encode(),), size)
        datum, size = image_record(path, entry.label, order.shape)
        if planned.kind != "pairs":
            return Record(entry, (datum.encode(),), size)
        return _pair(entry, datum, size, planned.root / entry.label_path, order.shape)
    except BadPictureError as error:
        return Record(entry, bad=str(error))


def _pair(entry: Entry, image: Datum, size: tuple[int, int], path: Path, shape: Shape) -> Record:
    try:
        label, label_size = label_record(path, shape)
    except BadPictureError as error:
        return Record(entry, bad=f"its label picture {path} {error}")
    if label_size != size:
        return Record(entry, bad=f"is {size[1]} x {size[0]}, its label picture {label_size[1]} x {label_size[0]}")
    return Record(entry, (image.encode(), label.encode()), size)


def _same_size(records: Iterable[Record], first: tuple[int, int]) -> Iterator[Record]:
    """Mark records as bad whose size is not that of the first good picture."""
    for record in records:
        if record.bad or record.size == first:
            yield record
        else:
            yield Record(record.entry, bad=f"is {record.size[1]} x {record.size[0]}, not {first[1]} x {first[0]}")


def _refused(record: Record) -> UsageError:
    return UsageError(
        f"{record.entry.path} {record.bad}",
        "mend the picture, then give --resume; or leave out --strict, and bad.txt lists it",
    )


def _nothing(bad: list[str], planned: Plan) -> UsageError:
    _, path, why = bad[0].split("\t")
    return UsageError(
        f"none of {len(planned.entries)} pictures can be used; the first, {path}, {why}",
        f"paths start from {planned.root}; name another folder with --root FOLDER",
    )
