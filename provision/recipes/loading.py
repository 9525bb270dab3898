"""Recipes by name or folder: ours are in provision/recipes, a project's own in its folder recipes/ and come first."""

from dataclasses import dataclass
from pathlib import Path

from infra.border import did_you_mean, load_yaml
from infra.errors import UsageError
from provision.files.folders import inside
from provision.recipes.faults import NAME, faults
from provision.recipes.spec import Recipe, Spec

OURS = Path(__file__).parent / "builtin"


@dataclass(frozen=True)
class Found:
    """A recipe's folder; `ours`, or the project's, which may hide one of ours."""

    name: str
    folder: Path
    ours: bool
    hides: bool = False


def found(project: Path | None = None) -> list[Found]:
    """Recipes that can be named, by name: the project's, and ours that these do not hide."""
    ours = {path.name: Found(path.name, path, True) for path in _folders(OURS)}
    theirs = _folders(project / "recipes") if project else []
    own = {path.name: Found(path.name, path, False, hides=path.name in ours) for path in theirs}
    return sorted((ours | own).values(), key=lambda recipe: recipe.name)


def names(project: Path | None = None) -> list[str]:
    """Recipes that can be named: ours, and those of the project's folder."""
    return [recipe.name for recipe in found(project)]


def load(name: str, project: Path | None = None) -> Recipe:
    """The recipe of that name (the project's before ours) or in that folder, checked. UsageError if it is wrong."""
    folder = find(name, project)
    recipe = read(folder)
    for wrong, text, mend in faults(recipe):
        if wrong:
            raise UsageError(f"{folder / 'recipe.yaml'}: {text}", mend)
    return recipe


def find(name: str, project: Path | None = None) -> Path:
    """The recipe's folder. UsageError, with the nearest names, where there is none."""
    if "/" in name or name in (".", ".."):
        if (Path(name) / "recipe.yaml").is_file():
            return Path(name)
        raise UsageError(f"{name} holds no recipe.yaml", "name a recipe or the folder of one")
    for recipe in found(project):
        if recipe.name == name:
            return recipe.folder
    raise UsageError(f"there is no recipe {name!r}", did_you_mean(name, names(project)))


def read(folder: Path) -> Recipe:
    """The recipe in that folder, with the right types and all its files, but not looked at further."""
    spec = load_yaml(folder / "recipe.yaml", Spec)
    templates = {file: _text(folder, file) for file in spec.files}
    return Recipe(**{key: getattr(spec, key) for key in spec.__struct_fields__}, templates=templates)


def _folders(home: Path) -> list[Path]:
    return [path.parent for path in home.glob("*/recipe.yaml") if NAME.fullmatch(path.parent.name)]


def _text(folder: Path, file: str) -> str:
    path = inside(folder, file)
    if path is None:
        raise UsageError(f"{folder / 'recipe.yaml'}: file {file!r} is outside the recipe's folder")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{folder / 'recipe.yaml'}: file {file!r} cannot be read: {error}") from error
