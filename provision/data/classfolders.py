"""Folders of pictures: what lies in them, and which folder is which class.

Links are followed. Hidden files and folders (.ipynb_checkpoints, ._x.jpg) and those that other programs leave
(__MACOSX, @eaDir; databases, be they made there by us) are no pictures of the user's: they are left out, and told. A
folder without pictures is a class all the same: else the numbers of all behind it would be others than in a set where
it has some.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.border import did_you_mean
from infra.errors import UsageError
from provision import console
from provision.data import made, near
from provision.data.backends import backend_of
from provision.data.lines import SUFFIXES

_LEFT = ("__MACOSX", "@eaDir", "lost+found")
_SHOWN = 5


@dataclass
class Found:
    """Paths of files by suffix, below the folder, in order; its own folders; names that were left out, and files of
    other suffixes."""

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


def below(folder: Path, suffixes: Sequence[str] = SUFFIXES) -> Found:
    """All files with one of these suffixes, in small letters, whatever the case of theirs. UsageError where a folder
    cannot be read."""
    found = Found()
    try:
        for path in _walk(folder, "", (), found.hidden):
            suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122  half the time of pathlib's
            if suffix in suffixes:
                found.files.append(path)
            else:
                found.others[suffix] += 1
        entries = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
        found.folders = [name for name in entries if not _left(name) and not _database(folder / name)]
    except OSError as error:
        raise UsageError(f"{error.filename or folder} cannot be read: {error.strerror}", "mend its rights") from None
    found.files.sort()
    return found


def say(folder: Path, found: Found) -> None:
    """Tell what was left out."""
    if found.hidden:
        console.line(f"{folder}: left out, as hidden or made by a program: {_some(sorted(found.hidden))}")
    if found.others:
        words = [f"{suffix or 'without suffix'} ({count})" for suffix, count in found.others.most_common()]
        console.line(f"{folder}: left out, as no pictures by their suffixes: {_some(words)}")


def class_names(folder: Path, found: Found, given: Sequence[str]) -> list[str]:
    """The classes' names in their order: those given, or the folders'. Classes without pictures are told. UsageError
    for a folder that is none of those given."""
    names = list(given) or found.folders
    known = set(map(near.plain, names))
    if len(set(map(near.plain, found.folders))) < len(found.folders):
        raise UsageError(
            f"{folder} has two folders of one name, whose accents are written in two ways", "make them one folder"
        )
    if unknown := [name for name in found.folders if near.plain(name) not in known]:
        mend = did_you_mean(unknown[0], names)
        raise UsageError(f"{folder / unknown[0]} is none of the classes given", f"{mend}; or take the folder away")
    filled = {near.plain(path.split("/")[0]) for path in found.files}
    for number, name in enumerate(names):
        if near.plain(name) not in filled:
            console.line(f"{folder}: class {number}, {name}, has no pictures")
    if not given and all(name.isdigit() for name in names) and names != sorted(names, key=int):
        order = ", ".join(f"{name} is {number}" for number, name in enumerate(names[:_SHOWN]))
        console.line(f"{folder}: folders are classes in the order of their names as texts: {order}; see --classes")
    return names


def _walk(folder: Path, inner: str, above: tuple[tuple[int, int], ...], hidden: list[str]) -> Iterator[str]:
    """Paths of files below `folder`/`inner`. A link to a folder above is not gone round twice."""
    place = folder / inner
    told = place.stat()
    me = (told.st_dev, told.st_ino)
    if me in above:
        return
    for entry in os.scandir(place):
        path = f"{inner}/{entry.name}" if inner else entry.name
        if _left(entry.name) or (entry.is_dir() and _database(folder / path)):
            hidden.append(path)
        elif entry.is_dir():
            yield from _walk(folder, path, (*above, me), hidden)
        else:
            yield path


def _left(name: str) -> bool:
    return name.startswith(".") or name in _LEFT


def _database(folder: Path) -> bool:
    """Whether a folder is what `data lmdb` and others make: a database, or a folder of such."""
    return backend_of(folder) is not None or "data" in made.facts(folder)


def _some(words: Sequence[str]) -> str:
    return ", ".join(words[:_SHOWN]) + (f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else "")
