"""Images with boxes as LMDB databases of SSD's `AnnotatedDatum`, a folder whole or not at all: `provision data
boxes`."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.errors import UsageError
from provision.data.annotated import labelmap
from provision.data.backends import LONGEST_KEY
from provision.data.drawn import Drawn, load, place
from provision.data.lmdb_store import LmdbWriter
from provision.data.parallel import ordered, tracked
from provision.data.voc_xml import Classes
from provision.files.folders import check_room
from provision.files.whole import atomic_folder

_COMMIT, _COMMIT_BYTES = 1000, 1 << 25


@dataclass
class Report:
    """What a database holds. `bad` are images that cannot be used, with the reason; `remarks` counts what there is to
    say of those that can, `such` names one of each."""

    images: int = 0
    boxes: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)
    such: dict[str, str] = field(default_factory=dict)
    without: int = 0
    bad: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Asked:
    """How to read a list: where its paths start, the classes, whether the first bad image ends it, and on how many
    threads."""

    root: Path
    classes: Classes
    strict: bool = False
    jobs: int = 4


def prepare(
    target: Path, train: Path, test: Path, root: Path, names: Sequence[str], *, others: bool = False,
    strict: bool = False, jobs: int = 4,
) -> dict[str, Any]:  # fmt: skip
    """Make the folder with train_lmdb, test_lmdb, labelmap.prototxt and data.json, whole or not at all.

    The result is what data.json says.

    Images that cannot be used are listed in bad.txt and left out; UsageError for them where `strict`, and where no
    image or no object is left.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is there already", "name a new folder, or remove this one")
    if "background" in names:
        raise UsageError(
            "a class is called background, which is label 0 by itself",
            "name the others: --classes NAME,… --leave-out-others",
        )
    drawn = {"train": load(train, root, "train", names), "test": load(test, root, "test", names)}
    shared = len({*drawn["train"].paths} & {*drawn["test"].paths})
    asked = Asked(root, Classes(names, others), strict, jobs)
    with atomic_folder(target) as part:
        check_room(target, sum(_bytes(root / path) for some in drawn.values() for path in some.paths))
        reports = {kind: _database(part / f"{kind}_lmdb", kind, drawn[kind], asked) for kind in drawn}
        bad = [line for report in reports.values() for line in report.bad]
        if bad:
            _write(part / "bad.txt", "\n".join(bad) + "\n")
        _write(part / "labelmap.prototxt", labelmap(names))
        facts = _facts(names, reports) | {"bad": len(bad), "in_both": shared}
        _write(part / "data.json", json.dumps(facts, indent=2) + "\n")
    return facts


def _facts(names: Sequence[str], reports: dict[str, Report]) -> dict[str, Any]:
    return {
        "data": "boxes", "classes": list(names), **{kind: report.images for kind, report in reports.items()},
        "boxes": {kind: {name: report.boxes[name] for name in names} for kind, report in reports.items()},
        "dropped": {kind: dict(report.dropped) for kind, report in reports.items()},
        "remarks": {kind: dict(report.remarks) for kind, report in reports.items()},
        "such_as": {cause: path for report in reports.values() for cause, path in report.such.items()},
        "without_boxes": {kind: report.without for kind, report in reports.items()},
    }  # fmt: skip


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="surrogateescape")


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):  # no name that could be a file's
        return 0


def _database(folder: Path, kind: str, drawn: Drawn, asked: Asked) -> Report:
    report = Report(dropped=Counter(drawn.left_out))
    writer = LmdbWriter(folder)
    try:
        for records in _commits(_records(kind, drawn, asked, report)):
            writer.put(records)
    finally:
        writer.close()
    if not report.images:
        raise UsageError(f"no image of the {kind} list can be used: {report.bad[0]}", "look at the list and --root")
    if not report.boxes:
        what = f"no image of the {kind} list has an object of the classes: there is nothing to learn or to score"
        if report.bad:
            what += f"; {len(report.bad)} images cannot be used, the first: {report.bad[0]}"
        raise UsageError(what, "look at the names in the annotations, and at --classes")
    return report


def _commits(records: Iterator[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    some: list[tuple[bytes, bytes]] = []
    size = 0
    for record in records:
        some.append(record)
        size += len(record[1])
        if len(some) >= _COMMIT or size >= _COMMIT_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


def _records(kind: str, drawn: Drawn, asked: Asked, report: Report) -> Iterator[tuple[bytes, bytes]]:
    names = asked.classes.names
    pictures = ordered(lambda image: place(asked.root, image, asked.classes), drawn.images, asked.jobs)
    paths = drawn.paths
    for number, picture in enumerate(tracked(pictures, len(paths), f"{kind} images")):
        key = b"%08d_%s" % (number, os.fsencode(paths[number]))
        if not isinstance(picture, str) and len(key) > LONGEST_KEY:
            picture = f"{picture.path} has too long a path: its key has {len(key)} bytes, LMDB takes {LONGEST_KEY}"
        if isinstance(picture, str):
            if asked.strict:
                raise UsageError(picture, "mend the file; or leave out --strict, and bad.txt lists it")
            report.bad.append(picture)
            continue
        report.images += 1
        report.without += not picture.boxes
        report.boxes.update(names[box.label - 1] for box in picture.boxes)
        report.dropped.update(picture.dropped)
        report.remarks.update(picture.remarks)
        for cause in picture.remarks:
            report.such.setdefault(cause, picture.path)
        yield key, picture.encode()
