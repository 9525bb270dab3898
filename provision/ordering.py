"""What the user asked `train` for, and all of it that can be known, shown and refused before a machine is there.

Nothing here imports AWS or Docker: `train RECIPE --dry-run` is quick, and needs neither.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from infra.errors import UsageError
from provision import recipe as recipes
from provision import runimage, weights
from provision.recipe import Recipe, Rendered
from provision.recipe.faults import variable


@dataclass(frozen=True)
class Order:
    """What the user asked for. `gpus` None: all of the machine's. `accepted` are files of trained weights to whose
    terms the user keeps; `diagnose`: a training that has diverged is stopped; `environment`: variables beside the
    recipe's, or in their place."""

    recipe: str
    options: Mapping[str, str]
    image: str | None = None
    data: str | None = None
    project: str | None = None
    gpus: int | None = None
    ports: tuple[int, ...] = ()
    own_machine: bool = False
    accepted: tuple[str, ...] = ()
    diagnose: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Preview:
    """What would train: the recipe filled in, and the image's tag."""

    recipe: Recipe
    rendered: Rendered
    image: str


def load(order: Order) -> Recipe:
    """The recipe: a folder's, the project's, or ours."""
    return recipes.load(order.recipe, Path(order.project) if order.project else Path.cwd())


def render(order: Order, recipe: Recipe, gpus: int) -> Rendered:
    """The recipe filled in for so many GPUs; a planner may look into data that is on this laptop."""
    data = Path(order.data) if order.data and not order.data.startswith("s3://") else None
    for name in order.environment:
        for wrong, what, mend in variable(f"--env {name}", name):
            if wrong:
                raise UsageError(what, mend)
    made = recipes.render(recipe, order.options, gpus, data)
    return msgspec.structs.replace(made, environment={**made.environment, **order.environment})


def preview(order: Order, kind: str | None = None) -> Preview:
    """What would train, on a machine of type `kind` or on none in particular. UsageError for what is wrong."""
    recipe = load(order)
    gpus = _gpus(order, kind)
    image = runimage.planned(image_words(order, recipe, gpus, kind))
    for flag, folder in (("--data", order.data), ("--project", order.project)):
        if folder and not folder.startswith("s3://") and not Path(folder).is_dir():
            raise UsageError(f"{flag} {folder} is not a folder", "give a folder that exists")
    return Preview(recipe, render(order, recipe, gpus if image.target.variant.cuda else 0), image.tag)


def image_words(order: Order, recipe: Recipe, gpus: int, kind: str | None = None) -> str:
    """The image that was asked for; else, for a training on GPUs, the stack's best one for those of that type. A stack
    for CPUs alone trains on these. UsageError where none of the stack's images has code for that GPU."""
    from images.choose import choose
    from images.gpus import aws_types
    from images.stacks import stacks

    stack = stacks().get(recipe.stack)
    if order.image or not gpus or stack is None or "cuda" not in stack.flavours:
        return order.image or recipe.stack
    return choose(recipe.stack, instance=kind if kind in aws_types() else None, flavour="cuda").name


def _gpus(order: Order, kind: str | None) -> int:
    """As many as were asked for, else all of the type's. Of a machine that is not known yet, one."""
    from images.gpus import aws_types

    if order.gpus is not None or kind is None:
        return 1 if order.gpus is None else order.gpus
    return aws_types()[kind].count if kind in aws_types() else 0


def check(order: Order, kind: str | None = None) -> Preview:
    """Refuse what is wrong with the order, and a licence that was not accepted, before a machine is rented for it."""
    found = preview(order, kind)
    weights.refuse_unaccepted(found.rendered.weights, order.accepted)
    return found


def plain(recipe: Recipe, rendered: Rendered, image: str, fetched: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What would train, as JSON values; `fetched` are the sums that the run has already."""
    return {
        "recipe": recipe.name, "options": rendered.options, "command": rendered.command, "image": image,
        "environment": rendered.environment, "gpus": rendered.gpus, "plan": rendered.plan,
        "weights": weights.rows(rendered.weights, fetched), "files": sorted(rendered.files),
    }  # fmt: skip


def table(found: Mapping[str, Any]) -> list[tuple[str, object]]:
    """The same as rows for people."""
    options = ", ".join(f"{key}={value}" for key, value in found["options"].items())
    files = " ".join(name for name in found["files"] if not name.endswith(".keep"))
    return [
        ("recipe", found["recipe"]),
        ("options", options),
        ("command", " ".join(found["command"])),
        *(("environment", f"{name}={value}") for name, value in found["environment"].items()),
        ("image", found["image"]),
        ("GPUs", found["gpus"]),
        *((str(key), value) for key, value in found["plan"].items()),
        *(("weights", weights.words(row)) for row in found["weights"]),
        ("files", files),
    ]
