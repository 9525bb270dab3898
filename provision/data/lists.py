"""Lists of pictures: what each line means, or what a folder holds.

Three kinds, told apart by the end of the lines: `classes` ("path 7", as Caffe's convert_imageset reads; the label is
after the last blank), `pairs` ("image.jpg label.png") and `images` ("path"). An entry's number is its line's, from 0,
counted with empty lines, as convert_imageset counts: it is the record's key.
"""

import os
import random
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from infra.disk import writing
from infra.errors import UsageError

T = TypeVar("T")
KINDS = ("classes", "pairs", "images", "labels")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")


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

    `names` are the classes' where they are folders.
    """

    entries: list[Entry]
    kind: str
    root: Path
    names: list[str] = []


def load(source: Path, *, kind: str = "auto", root: Path | None = None, labels: Path | None = None) -> Pictures:
    """The pictures of a list or a folder. UsageError names the file and line.

    `root` is what the list's paths start from (the list's own folder). `labels` is a folder with a label picture for
    each image, by the same name.
    """
    if source.is_dir():
        found = _folder(source, kind)
    elif source.is_file():
        found = _list(source, kind, root)
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
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", errors="surrogateescape")
        return part.replace(path)


def _list(source: Path, kind: str, root: Path | None) -> Pictures:
    text = source.read_bytes().decode("utf-8", "surrogateescape")
    if "\0" in text:
        raise UsageError(f"{source} is no list of pictures: it holds NUL bytes", "give a text with a picture a line")
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"))]
    lines = [(number, line) for number, line in lines if line]
    if not lines:
        raise UsageError(f"{source} is empty", "write one picture a line: PATH LABEL")
    kind = _kind(lines[0][1]) if kind == "auto" else kind
    entries = [_entry(source, kind, number, line) for number, line in lines]
    return Pictures(entries, kind, root or source.parent)


def _kind(line: str) -> str:
    last = line.rpartition(" ")[2]
    if re.fullmatch(r"[+-]?\d+", last) and " " in line:
        return "classes"
    words = line.split()
    return (
        "pairs"
        if len(words) == 2 and all(Path(path).suffix.lower() in (*SUFFIXES, ".xml") for path in words)
        else "images"
    )


def _entry(source: Path, kind: str, number: int, line: str) -> Entry:
    if kind in ("images", "labels"):
        return Entry(number, line)
    if kind == "classes":
        path, _, label = line.rpartition(" ")
        if path and re.fullmatch(r"[+-]?\d{1,9}", label):
            return Entry(number, path, int(label))
        raise UsageError(
            f"{source}:{number + 1}: no class at the end of {line!r}", "write PATH NUMBER, or give --kind images"
        )
    words = line.split("\t") if "\t" in line else line.split()
    if len(words) != 2:
        raise UsageError(
            f"{source}:{number + 1}: {line!r} is not an image and a label picture",
            "write two paths, with a tab between them where they hold blanks",
        )
    return Entry(number, words[0], label_path=words[1])


def _folder(source: Path, kind: str) -> Pictures:
    paths = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise UsageError(f"{source} holds no pictures", f"pictures are known by these suffixes: {' '.join(SUFFIXES)}")
    if kind == "pairs":
        raise UsageError(
            f"{source} is a folder of pictures, not of pairs",
            "name the folder of their label pictures: --labels FOLDER",
        )
    deep = all("/" in path for path in paths)
    if kind == "classes" and not deep:
        raise UsageError(f"{source} has pictures outside of folders", "make one folder for each class, or give a list")
    if kind in ("images", "labels") or not deep:
        entries = [Entry(number, path) for number, path in enumerate(paths)]
        return Pictures(entries, "images" if kind == "auto" else kind, source)
    names = sorted({path.split("/")[0] for path in paths})
    entries = [Entry(number, path, names.index(path.split("/")[0])) for number, path in enumerate(paths)]
    return Pictures(entries, "classes", source, names)


def _with_labels(found: Pictures, labels: Path) -> Pictures:
    """Each image with the label picture of its name: the same path under `labels`, or the same last part."""
    there = {path.relative_to(labels).with_suffix("").as_posix(): path for path in labels.rglob("*.png")}
    if not there:
        raise UsageError(f"{labels} holds no label pictures (*.png)")
    entries = []
    for entry in found.entries:
        stem = Path(entry.path).with_suffix("")
        path = there.get(stem.as_posix()) or there.get(stem.name)
        if path is None:
            raise UsageError(
                f"{entry.path} has no label picture in {labels}",
                f"put {stem.name}.png there, or leave it out of a list",
            )
        entries.append(Entry(entry.number, entry.path, label_path=str(path.absolute())))
    return Pictures(entries, "pairs", found.root)
