"""Photos with annotations: the examples in labelme's source distribution, which came from Pascal VOC 2011."""

import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from provision.settings import cache_home

_PACKAGE = "labelme==6.3.1"


def example(name: str, wanted: Callable[[str], bool]) -> Path:
    """A folder, kept between runs, with the files of examples/NAME/ whose paths below it are wanted."""
    target = cache_home() / "tests" / _PACKAGE.replace("==", "-") / name
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        made = Path(scratch) / "made"
        for path, data in _members(_sdist(Path(scratch)), f"/examples/{name}/"):
            if wanted(path):
                (made / path).parent.mkdir(parents=True, exist_ok=True)
                (made / path).write_bytes(data)
        try:
            made.rename(target)
        except OSError:
            if not target.is_dir():  # another process was sooner
                raise
    return target


def _sdist(folder: Path) -> Path:
    """pip asks the sources for their metadata; what that needs may be wheels, or it would be built for ten minutes."""
    words = ["pip", "download", "-q", "--no-deps", "--no-binary", _PACKAGE.partition("==")[0], _PACKAGE]
    subprocess.run([sys.executable, "-m", *words, "-d", str(folder)], check=True)
    (found,) = folder.glob("labelme*.tar.gz")
    return found


def _members(package: Path, below: str) -> list[tuple[str, bytes]]:
    found = []
    with tarfile.open(package) as packed:
        for member in packed:
            _, there, path = member.name.partition(below)
            data = packed.extractfile(member) if there else None
            if data is not None:
                found.append((path, data.read()))
    return found
