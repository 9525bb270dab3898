"""Recipes: how to train one thing. A folder with `recipe.yaml` and the templates that it names.

Ours are in provision/recipes/builtin, a project's own in its folder recipes/; both are the same. `loading.load` reads
and checks everything, `rendering.render` is pure: options and the number of GPUs in, files and a command out. Recipe
and Rendered are plain values that survive JSON (`to_dict`, `from_dict`), so a run can be resumed from its manifest
alone.

In the container /work is the run's folder (the command starts there), /data the prepared data, /weights trained weights
and /project the user's own files (all three read-only).
"""
