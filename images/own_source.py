"""Our own packages as files for a build: where `provision` runs in an image, it is the very one that built it."""

from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent.parent
_NOT = ("__pycache__",)


@cache
def files(package: str) -> dict[str, str]:
    """The package's text files (code and data) by their names in the context, below `own/`."""
    folder = _HERE / package
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part in _NOT or part.startswith(".") for part in path.relative_to(folder).parts):
            found[f"own/{path.relative_to(_HERE).as_posix()}"] = path.read_text(encoding="utf-8")
    return found
