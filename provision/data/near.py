"""What a file that is not there may be called: the same name in other capitals (`IMG.JPG`, `img.jpg`), with its accents
written otherwise (one letter, NFC, as most write it; or a letter and its accent, NFD, as macOS does), or with another
ending (`.png`, or none in the list).

Linux keeps names letter by letter, so a list that was made on a laptop names files that are not there. They are told
and not taken: a record's key is the name in the list, and Caffe's own tools would not find them either.
"""

import os
import unicodedata
from functools import lru_cache
from pathlib import Path

from provision.data.lines import SUFFIXES

MEND = "names have to be the files' own, letter by letter: write the list anew, or rename the files"
_SAID = "; there is "
_MANY = 64  # folders whose names are kept at hand
_MOST = 5000  # folders that are looked into: a list of a million lines may be wrong in all of them, in any order


def said(path: Path) -> str:
    """Words to put behind "is not there": the file that may be meant, and how its name differs; or nothing."""
    found = near(path)
    if found is None:
        slashed = Path(os.fspath(path).replace("\\", "/"))
        there = slashed != path and os.path.exists(slashed)  # noqa: PTH110  pathlib's raises ValueError
        return f"{_SAID}{slashed.name}, with / in place of \\" if there else ""
    # what is left of both where they begin to differ; the folders before are the same
    pairs = zip(path.parts, found.parts, strict=True)
    asked, named = next((pair for pair in pairs if pair[0] != pair[1]), (path.name, found.name))
    if plain(asked) == plain(named):
        how = "its accents written otherwise (NFC, NFD)"
    else:
        how = "in other capitals" if _fold(asked) == _fold(named) else "with another ending"
    return f"{_SAID}{os.path.relpath(found, path.parent)}, {how}"


def is_said(text: str) -> bool:
    """Whether such words are in a text."""
    return _SAID in text


def near(path: Path) -> Path | None:
    """A file or folder that is there and may be meant; None where there is none, or the path itself is there."""
    here, other = Path(path.anchor or "."), False
    parts = path.relative_to(path.anchor).parts if path.anchor else path.parts
    try:
        for place, part in enumerate(parts, 1):
            if os.path.lexists(here / part) or part == "..":
                here /= part
                continue
            if _names.cache_info().misses >= _MOST:
                return None
            folds, stems = _names(os.fspath(here), os.stat(here).st_mtime_ns)  # noqa: PTH116  quicker
            named = folds.get(_fold(part)) or (stems.get(_stem(part)) if place == len(parts) else None)
            if named is None:
                return None
            here, other = here / named, True
    except (OSError, ValueError):
        return None
    return here if other else None


def plain(name: str) -> str:
    """The name with its accents as most write them, to be compared."""
    return unicodedata.normalize("NFC", name)


def _fold(name: str) -> str:
    return plain(plain(name).casefold())


def _stem(name: str) -> str:
    """The name without a picture's ending."""
    stem, ending = os.path.splitext(name)  # noqa: PTH122  a name's, not a path's
    return _fold(stem if ending.lower() in SUFFIXES else name)


@lru_cache(maxsize=_MANY)
def _names(folder: str, _changed: int) -> tuple[dict[str, str], dict[str, str]]:
    """A folder's names, by what they are in small letters, and the pictures by that without their ending; the first of
    those that are alike."""
    folds: dict[str, str] = {}
    stems: dict[str, str] = {}
    for name in sorted(os.listdir(folder)):  # noqa: PTH208  names alone
        folds.setdefault(_fold(name), name)
        if name.lower().endswith(SUFFIXES):
            stems.setdefault(_stem(name), name)
    return folds, stems
