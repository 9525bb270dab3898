"""`provision recipe check`: everything that can be known of a recipe without training it, all of it at once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from images.stacks import stacks
from infra.border import did_you_mean
from infra.errors import UsageError
from provision.net import text
from provision.recipes import loading
from provision.recipes.faults import faults
from provision.recipes.rendering import render
from provision.recipes.spec import Rendered

_GPUS = (0, 1, 4)


@dataclass(frozen=True)
class Problem:
    """What is wrong, and the mend ("" where there is no better one than to put it right)."""

    what: str
    mend: str = ""


def problems(name: str, project: Path | None = None) -> list[Problem]:
    """What is wrong with that recipe: as it stands, and filled in with its defaults for 0, 1 and 4 GPUs."""
    folder = loading.find(name, project)
    try:
        recipe = loading.read(folder)
    except UsageError as error:
        return [Problem(error.what, error.mend)]
    where = folder / "recipe.yaml"
    bad = [Problem(f"{where}: {what}", mend) for wrong, what, mend in faults(recipe) if wrong]
    if recipe.name != folder.resolve().name:
        bad.append(Problem(f"{where}: name {recipe.name!r} is not the folder's", "a recipe is found by its folder"))
    if recipe.stack not in stacks():
        bad.append(Problem(f"{where}: stack {recipe.stack!r}", did_you_mean(recipe.stack, stacks())))
    made: dict[Problem, None] = dict.fromkeys(bad)
    for gpus in _GPUS if not bad else ():
        try:
            rendered = render(recipe, {}, gpus)
        except UsageError as error:
            made[Problem(error.what, error.mend)] = None
        else:
            made |= dict.fromkeys(_nets(rendered))
    return list(made)


def _nets(rendered: Rendered) -> Iterator[Problem]:
    """Net and solver files that cannot be read, or name what is not there."""
    for name, content in rendered.files.items():
        if not name.endswith((".prototxt", ".pbtxt")):
            continue
        try:
            tree = text.parse(content, name)
        except UsageError as error:
            yield Problem(error.what, error.mend)
            continue
        yield from _solver(name, tree, rendered.files)


def _solver(name: str, tree: text.Message, files: Mapping[str, str]) -> Iterator[Problem]:
    """The files that a solver names, and the folder that it writes to, are made by the recipe."""
    for key in ("net", "train_net", "test_net"):
        for net in tree.all(key):
            if isinstance(net, str) and not net.startswith("/") and net not in files:
                yield Problem(f"{name}: {key} {net!r} is none of the recipe's files", "name it in `files`")
    prefix = tree.one("snapshot_prefix")
    if isinstance(prefix, str) and not prefix.startswith("/"):
        folder = str(PurePosixPath(prefix).parent)
        if folder != "." and not any(file.startswith(f"{folder}/") for file in files):
            yield Problem(f"{name}: nobody makes the folder of snapshot_prefix {prefix!r}", f"folders: [{folder}]")
