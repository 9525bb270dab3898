"""Pictures become databases for Caffe: `provision data lmdb`.

A list or folder gives entries (`lists`), each entry makes a record on one of the threads (`pictures`), and this thread
keeps the records in order, 1000 or 32 MB at a time (`databases`). Images with label pictures make two databases of the
same keys in the same order.

All is made in `.NAME.part` beside the folder, and gets the folder's name when it is whole: a killed conversion leaves
no half database, and can be gone on with from the last key that was kept, if the list, the place that its paths start
from and the options are still the same (a digest beside the records tells). Bad pictures are noted in bad.txt before
the records that follow them are kept, so a kill forgets none. The finished folder has data.json: how it was made, and
how many records it holds.
"""

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from infra.errors import DiskError, UsageError
from provision import console
from provision.data import made as whole
from provision.data import near, room
from provision.data.backends import LONGEST_KEY
from provision.data.heads import BadPictureError
from provision.data.keeper import Keeper, Record
from provision.data.lists import Entry
from provision.data.orders import FORMAT, Made, Order, Plan, plan
from provision.data.parallel import ordered, tracked
from provision.data.pictures import Packed, Shape, image_record, label_record
from provision.data.usertext import foreign
from provision.files.whole import empty, part_folder, settled

_SHOWN = 200  # letters of a path

__all__ = ["Made", "Order", "Plan", "convert", "plan"]


def convert(order: Order) -> Made:
    """Make the databases; found as they are where they were made before from the same list with the same options.

    UsageError for wrong orders, other things in the way, and bad pictures where `strict`; DiskError where the disk is
    full; MissingExtraError without the extra `data`.
    """
    planned = plan(order)
    out = settled(order.out)
    if found := _already(order, planned):
        return found
    try:
        with part_folder(out) as part:
            if not (order.resume and _begun(part, planned.digest)):
                _clear(part, order.out)
                room.check(order, planned)
            made = _fill(part, order, planned)
            (part / "data.json").write_text(json.dumps(_facts(planned, made), indent=2) + "\n", encoding="utf-8")
            if names := planned.found.names:
                _write_names(part / "labels.txt", names)
            part.rename(out)
            (out / "resume.json").unlink()  # until it had its name, it could be gone on with
    except DiskError as error:
        raise DiskError(error.what, "free some disk space, then convert again with --resume") from error
    return made


def _write_names(path: Path, names: list[str]) -> None:
    path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8", errors="surrogateescape")


def _facts(planned: Plan, made: Made) -> dict[str, object]:
    facts = msgspec.to_builtins(made)
    del facts["found"]
    return {"data": "pictures", "format": FORMAT, "digest": planned.digest, **facts}


def _already(order: Order, planned: Plan) -> Made | None:
    """What is there, made before of the same order and whole. UsageError for anything else in the way."""
    out = order.out
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    told = whole.facts(out)
    try:
        made = msgspec.convert({**told, "found": True}, Made) if told["data"] == "pictures" else None
    except (ValueError, KeyError, TypeError):
        made = None
    if made is None:
        raise UsageError(f"{out} is there, and was not made by this command", "name a new folder")
    if told.get("format") != FORMAT:
        what = "was made by another version of provision, which noted less of its list"
        raise UsageError(f"{out} {what}", "name a new folder, or remove it")
    if told.get("digest") != planned.digest:
        raise UsageError(
            f"{out} was made from another list or folder, or with other options", "name a new folder, or remove it"
        )
    if lost := whole.lost(out):
        raise UsageError(f"{out} is not whole any more: {lost}", "remove it, and give the same command again")
    if made.bad and order.strict:
        raise UsageError(
            f"{out} is there, and {made.bad} bad pictures are not in it: {out / 'bad.txt'} says why",
            "mend the pictures and remove it, then give the same command again; or leave out --strict",
        )
    return made


def _begun(part: Path, digest: str) -> bool:
    """Whether a killed conversion of the same list and options can be gone on with."""
    told = _digest(part / "resume.json")
    if told and told != digest:
        raise UsageError(
            "the conversion to resume had another list or folder, or other options",
            "give the same ones, or leave out --resume",
        )
    return bool(told)


def _digest(path: Path) -> str:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["digest"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def _clear(part: Path, out: Path) -> None:
    if any(part.iterdir()):
        console.line(f"a killed conversion to {out} is thrown away (--resume goes on with one)")
    empty(part)


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
            raise _nothing(keeper.bad, planned, order)
        bad = len(keeper.bad)
    return Made(planned.kind, len(planned.entries) - bad, bad, order.backend, planned.databases)


def _record(entry: Entry, order: Order, planned: Plan) -> Record:
    """Make one entry's record, on a thread."""
    try:
        if order.backend == "lmdb" and len(entry.key) > LONGEST_KEY:
            raise BadPictureError(f"has too long a path: its key has {len(entry.key)} bytes, LMDB takes {LONGEST_KEY}")
        path = planned.found.at(entry.path)
        if planned.kind == "labels":
            packed = label_record(path, order.shape)
            return Record(entry, (packed.datum.encode(),), packed.size)
        packed = image_record(path, entry.label, order.shape)
        if planned.kind != "pairs":
            return Record(entry, (packed.datum.encode(),), packed.size)
        return _pair(entry, packed, planned.found.label_at(entry), order.shape)
    except BadPictureError as error:
        return Record(entry, bad=str(error))


def _pair(entry: Entry, image: Packed, path: Path, shape: Shape) -> Record:
    try:
        label = label_record(path, shape)
    except BadPictureError as error:
        return Record(entry, bad=f"its label picture {path} {error}")
    (height, width), (label_height, label_width) = image.file_size, label.file_size
    if not _alike(image.file_size, label.file_size, bool(shape.resize)):
        return Record(entry, bad=f"is {width} x {height}, its label picture {label_width} x {label_height}")
    return Record(entry, (image.datum.encode(), label.datum.encode()), image.size)


def _alike(one: tuple[int, int], other: tuple[int, int], resized: bool) -> bool:
    """Whether an image and its label picture show the same: of one size, or where both are resized of one shape, but
    for a pixel."""
    apart = abs(one[0] * other[1] - one[1] * other[0])
    return one == other or (resized and apart <= max(*one, *other))


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


def _nothing(bad: list[str], planned: Plan, order: Order) -> UsageError:
    _, path, why = bad[0].split("\t")
    first = path if len(path) <= _SHOWN else f"{path[:_SHOWN]}…"
    what = f"none of {len(planned.entries)} pictures can be used; the first, {first}, {why}"
    if "cannot be read" not in why:
        return UsageError(what, "mend the pictures, or give others")
    if near.is_said(why):
        return UsageError(what, near.MEND)
    if foreign(path):
        return UsageError(what, "its name is not written in UTF-8: save the list as UTF-8, if the files' names are")
    if path.startswith("/") and not planned.found.below:
        return UsageError(what, "the path is absolute; with --root FOLDER it starts from FOLDER, if it is there")
    if order.root:
        return UsageError(what, f"paths start from --root {order.root}: name the folder that holds {path}")
    return UsageError(what, f"paths start from {planned.found.root}; name another folder with --root FOLDER")
