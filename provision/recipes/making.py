"""A recipe of the user's own: recipes/NAME in their project, as a start that trains or as a copy of another one."""

import re
from pathlib import Path

from infra.errors import UsageError
from provision.recipes import loading
from provision.recipes.faults import NAME

_START = loading.OURS / "_new"


def planned(name: str, origin: str | None, project: Path) -> dict[str, str]:
    """The files of the new recipe by their path in its folder. UsageError where it cannot be made."""
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} is not a name", "use a-z, 0-9 and -, and begin with a letter")
    if (project / "recipes" / name).exists():
        raise UsageError(f"recipes/{name} is there already", "take another name, or remove that folder")
    folder = loading.find(origin, project) if origin else _START
    recipe = loading.read(folder)
    text = (folder / "recipe.yaml").read_text(encoding="utf-8")
    return {"recipe.yaml": _named(text, name), **recipe.templates}


def make(name: str, files: dict[str, str], project: Path) -> Path:
    """Write recipes/NAME, whole or not at all; its folder."""
    from provision.files.folders import atomic_folder

    target = project / "recipes" / name
    with atomic_folder(target) as part:
        for path, text in files.items():
            (part / path).parent.mkdir(parents=True, exist_ok=True)
            (part / path).write_text(text, encoding="utf-8")
    return target


def _named(text: str, name: str) -> str:
    """The same recipe.yaml under another name; its comments stay."""
    changed, count = re.subn(r"(?m)^name:[^#\n]*?(?=\s*(#.*)?$)", f"name: {name}", text, count=1)
    if not count:
        raise UsageError("that recipe's name does not stand on a line of its own", "write name: NAME")
    return changed
