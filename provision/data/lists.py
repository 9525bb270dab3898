"""Lists of pictures: what each line means (`lines`), or what a folder holds (`classfolders`).

Kinds, told apart by the end of the first line: `classes` ("path 7", as Caffe's convert_imageset reads), `pairs`
("image.jpg label.png"), `boxes` ("image.jpg boxes.xml") and `images` ("path"). An entry's number is its line's, from 0,
counted with empty lines, as convert_imageset counts: it is the record's key.
"""

import os
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from infra.errors import UsageError
from provision.data import classfolders, lines, near, usertext
from provision.data.lines import SUFFIXES
from provision.files.whole import atomic_file

__all__ = ["SUFFIXES", "Entry", "Pictures", "load", "numbered", "shuffled", "write_lines"]

_FIRST = 1 << 16  # bytes of a line

T = TypeVar("T")


class Entry(msgspec.Struct, frozen=True):
    """A line: its number, the path of a picture as it stands there, and a class or the path of its label picture."""

    number: int
    path: str
    label: int = 0
    label_path: str = ""

    @property
    def key(self) -> bytes:
        """The record's key, as convert_imageset makes it."""
        return b"%08d_" % self.number + os.fsencode(self.path)


class Pictures(msgspec.Struct, frozen=True):
    """A list that was read: entries in order, their kind, and the folder that paths start from.

    `names` are the classes', where they are folders or were given. `below`: paths that begin with / start from `root`,
    too, as with convert_imageset. `apart`: label pictures have paths of their own.
    """

    entries: list[Entry]
    kind: str
    root: Path
    names: list[str] = []
    below: bool = False
    apart: bool = False

    def at(self, path: str) -> Path:
        """Where a picture is."""
        return self.root / (path.lstrip("/") if self.below else path)

    def label_at(self, entry: Entry) -> Path:
        """Where an entry's label picture is."""
        return Path(entry.label_path) if self.apart else self.at(entry.label_path)


def load(
    source: Path, *, kind: str = "auto", root: Path | None = None, labels: Path | None = None,
    classes: Sequence[str] = (),
) -> Pictures:  # fmt: skip
    """The pictures of a list or a folder. UsageError names the file and line.

    `root` is what the list's paths start from (the list's own folder). `labels` is a folder with a label picture for
    each image, by the same name. `classes` are the names of the classes, in their order, where folders or the ends of
    lines are such names.
    """
    if source.is_dir():
        found = _folder(source, "images" if labels and kind == "auto" else kind, classes)
    elif source.exists():
        found = _list(source, kind, root, classes)
    else:
        raise UsageError(f"{source} is not there", "give a list (one picture a line) or a folder of pictures")
    return _with_labels(found, labels) if labels else found


def shuffled(items: Sequence[T], seed: int) -> list[T]:
    """The items in an order that a seed decides, for ever: only `random()` is promised to stay as it is."""
    source = random.Random(seed)
    ranks = [source.random() for _ in items]
    return [items[at] for at in sorted(range(len(items)), key=ranks.__getitem__)]


def numbered(entries: Iterable[Entry]) -> list[Entry]:
    """The same entries, numbered by their new places."""
    return [msgspec.structs.replace(entry, number=number) for number, entry in enumerate(entries)]


def write_lines(path: Path, lines: Iterable[str]) -> Path:
    """A text file, whole or not at all."""
    with atomic_file(path) as part:
        part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", errors="surrogateescape")
    return path


def refuse_other(path: Path, what: str, form: str) -> None:
    """UsageError where a file is there whose first line has not the form (a pattern) of `what` is to be written: it is
    something else of the user's."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        first = file.readline(_FIRST).strip().decode("utf-8", "replace")
    if first and not re.fullmatch(form, first):
        raise UsageError(f"{path} is there, and is no {what}", "name a new one, or take that file away")


def _list(source: Path, kind: str, root: Path | None, classes: Sequence[str]) -> Pictures:
    written = usertext.lines(source)
    if not written:
        raise UsageError(f"{source} is empty", "write one picture a line: PATH LABEL")
    start, known = root or source.parent, lines.numbers(classes)
    if kind == "auto":
        kind = lines.kind_of(written[0][1], known)
        _refuse_head(source, kind, written, start, known)
    entries = [_entry(source, kind, number, line, known) for number, line in written]
    first = entries[0].path
    below = root is not None and first.startswith("/") and not _there(first) and _there(start / first.lstrip("/"))
    found = Pictures(entries, kind, start, list(classes) if kind == "classes" else [], below)
    for entry, (number, line) in zip(entries, written, strict=True):
        odd = lines.odd(line, entry.path)
        if odd and not _there(found.at(entry.path)):
            raise UsageError(f"{source}:{number}: {_shown(line)}: {odd.what}", odd.mend)
    return found


def _refuse_head(
    source: Path, kind: str, written: list[tuple[int, str]], start: Path, known: Mapping[str, int]
) -> None:
    """UsageError where the first line is no picture, and the second is of another kind."""
    line = written[0][1]
    if kind != "images" or len(written) < 2 or line.lower().endswith(SUFFIXES) or _there(start / line):
        return
    if lines.kind_of(written[1][1], known) != "images":
        raise UsageError(f"{source}:{written[0][0]}: {_shown(line)} is no picture: a head line?", "take the line out")


def _entry(source: Path, kind: str, number: int, line: str, known: Mapping[str, int]) -> Entry:
    if kind in ("images", "labels"):
        return Entry(number - 1, line)
    if kind == "classes":
        if found := lines.class_of(line, known):
            return Entry(number - 1, found[0], found[1])
        odd = lines.odd(line, line)
        why = f"{_shown(line)}: {odd.what}" if odd else f"no class at the end of {_shown(line)}"
        raise UsageError(f"{source}:{number}: {why}", odd.mend if odd else "write PATH NUMBER, or give --kind images")
    pair = lines.pair_of(line)
    if pair is None:
        second = "an annotation" if kind == "boxes" else "a label picture"
        raise UsageError(
            f"{source}:{number}: {_shown(line)} is not an image and {second}",
            "write two paths, with a tab between them where they hold blanks",
        )
    return Entry(number - 1, pair[0], label_path=pair[1])


def _folder(source: Path, kind: str, classes: Sequence[str]) -> Pictures:
    found = classfolders.below(source)
    classfolders.say(source, found)
    paths = found.files
    if not paths:
        raise UsageError(f"{source} holds no pictures", f"pictures are known by these suffixes: {' '.join(SUFFIXES)}")
    if kind == "pairs":
        raise UsageError(
            f"{source} is a folder of pictures, not of pairs",
            "name the folder of their label pictures: --labels FOLDER",
        )
    outside = [path for path in paths if "/" not in path]
    deep = len(outside) < len(paths)
    if outside and (kind == "classes" or classes or (deep and kind == "auto")):
        more = f" and {len(outside) - 1} more" if len(outside) > 1 else ""
        raise UsageError(
            f"{source} has pictures in folders, and outside of them {outside[0]}{more}: of which class are these?"
            if deep
            else f"{source} has pictures outside of folders",
            "put them into the folders of their classes, or take them away; or give --kind images: no classes"
            if deep
            else "make one folder for each class, or give a list",
        )
    if kind in ("images", "labels") or outside:
        entries = [Entry(number, path) for number, path in enumerate(paths)]
        return Pictures(entries, "images" if kind == "auto" else kind, source)
    names = classfolders.class_names(source, found, classes)
    numbers = {near.plain(name): number for number, name in enumerate(names)}
    entries = [Entry(number, path, numbers[near.plain(path.split("/")[0])]) for number, path in enumerate(paths)]
    return Pictures(entries, "classes", source, names)


def _with_labels(found: Pictures, labels: Path) -> Pictures:
    """Each image with the label picture of its name: the same path under `labels`, or the same last part."""
    if not labels.is_dir():
        raise UsageError(f"--labels {labels} is no folder", "name the folder that holds the label pictures")
    there = {near.plain(path.rpartition(".")[0]): path for path in classfolders.below(labels, (".png",)).files}
    if not there:
        raise UsageError(f"{labels} holds no label pictures (*.png)", "name the folder that holds them")
    entries, owners = [], dict[str, str]()
    for entry in found.entries:
        stem = Path(entry.path.lstrip("/")).with_suffix("")
        path = next((there[name] for name in map(near.plain, (stem.as_posix(), stem.name)) if name in there), None)
        if path is None:
            raise UsageError(
                f"{entry.path} has no label picture in {labels}{near.said(labels / f'{stem}.png')}",
                f"put {stem.name}.png there, or leave it out of a list",
            )
        if owners.setdefault(path, entry.path) != entry.path:
            raise UsageError(
                f"{owners[path]} and {entry.path} would both have the label picture {labels / path}",
                "put the label pictures into folders as those of the images, or give a list of pairs",
            )
        entries.append(Entry(entry.number, entry.path, label_path=str((labels / path).resolve())))
    return msgspec.structs.replace(found, entries=entries, kind="pairs", names=[], apart=True)


def _there(path: str | Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - pathlib's raises OSError and ValueError


def _shown(line: str) -> str:
    return f"'{line if len(line) <= 200 else line[:199] + '…'}'"
