"""Where the tree that is meant stands in a folder that a user names: at its top, or in a bundle's subfolder."""

import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from infra.errors import UsageError

_MARK = "src/caffe/proto/caffe.proto"  # every Caffe has it
_DEPTH = 4
_SKIPPED = ("node_modules", "build")


def tree_in(folder: Path, edited: Iterable[str]) -> Path:
    """The tree with the `edited` files in the folder: itself, or the one Caffe in its subfolders.

    UsageError where there is none, or several.
    """
    if (folder / _MARK).is_file():
        return folder
    paths = list(edited)
    bundled = _bundled(folder) if any(path.startswith("src/caffe/") for path in paths) else []
    if len(bundled) > 1:
        names = ", ".join(str(path) for path in bundled)
        raise UsageError(f"{folder} holds several trees of Caffe: {names}", f"name one of them, such as {bundled[0]}")
    if bundled:
        return bundled[0]
    there = (folder / "src" / "caffe").is_dir() or any((folder / path).is_file() for path in paths)
    if paths and not there:
        if any(path.startswith("src/caffe/") for path in paths):
            mend = "name the folder of a checkout of Caffe: the one that holds src/caffe, or one above it"
            if (folder / ".gitmodules").is_file():
                mend += f"; where it is a submodule, git -C {shlex.quote(str(folder))} submodule update --init first"
            raise UsageError(f"{folder} holds no Caffe: no {_MARK}, neither there nor in its subfolders", mend)
        such = "Makefile" if "Makefile" in paths else paths[0]
        what = f"{folder} has none of the files that the patches change, such as {such}"
        raise UsageError(what, "name the folder of a checkout, the one that holds its Makefile or setup.py")
    return folder


def _bundled(folder: Path) -> list[Path]:
    """Folders below this one that hold a Caffe, sorted; no deeper than four."""
    found = []
    for place, folders, _ in os.walk(folder):
        here = Path(place)
        if (here / _MARK).is_file():
            found.append(here)
        deep = (here / _MARK).is_file() or len(here.relative_to(folder).parts) >= _DEPTH
        folders[:] = [] if deep else [name for name in folders if not name.startswith(".") and name not in _SKIPPED]
    return sorted(found)
