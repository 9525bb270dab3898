"""Recipes: how to train one thing. A folder with `recipe.yaml` and the templates that it names.

Ours are in provision/recipes, a project's own in its folder recipes/; both are the same. `load` reads and checks
everything, `render` is pure: options and the number of GPUs in, files and a command out. Recipe and Rendered are plain
values that survive JSON (`to_dict`, `from_dict`), so a run can be resumed from its manifest alone.

In the container /work is the run's folder (the command starts there), /data the prepared data, /weights trained weights
and /project the user's own files (all three read-only).
"""

from provision.recipe.loading import Found, find, found, load, names
from provision.recipe.rendering import fill, render, split_sets
from provision.recipe.spec import (
    Failure,
    Recipe,
    Rendered,
    SnapshotFiles,
    SnapshotRule,
    Spec,
    Stop,
    Task,
    Weights,
    complete_snapshots,
    explain,
    from_dict,
    to_dict,
)

__all__ = [
    "Failure",
    "Found",
    "Recipe",
    "Rendered",
    "SnapshotFiles",
    "SnapshotRule",
    "Spec",
    "Stop",
    "Task",
    "Weights",
    "complete_snapshots",
    "explain",
    "fill",
    "find",
    "found",
    "from_dict",
    "load",
    "names",
    "render",
    "split_sets",
    "to_dict",
]
