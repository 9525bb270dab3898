"""What the user asks `train` for, and the plan that it becomes: decided and shown once, then carried.

Nothing here asks AWS or Docker: `train RECIPE --dry-run` is quick, and needs neither. What a plan counts on of its
machine is a `Host`: a machine that turns out to be another is refused (`training.start`), not planned for again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from images.choose import choose, on_host
from images.gpus import aws_types
from images.stacks import stacks
from infra import ecr_name
from infra.errors import UsageError
from provision.hosts import image
from provision.offers import compatibility
from provision.recipes import loading, rendering
from provision.recipes.faults import variable
from provision.recipes.spec import Recipe, Rendered
from provision.runs import inputs, weights
from provision.runs.manifest import Source
from provision.settings import Settings


@dataclass(frozen=True)
class TrainRequest:
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
class Host:
    """What a plan counts on of its machine: the AWS type, the number of GPUs, which GPU, the driver.

    What is "" is not known. A plan for a machine that is not known at all assumes one GPU.
    """

    type: str = ""
    gpus: int = 1
    gpu: str = ""
    driver: str = ""


@dataclass(frozen=True)
class TrainPlan:
    """What will train: the recipe, filled in for the GPUs, and the image's target and tag.

    `stack` are the words that lead to the image again; `gpus` is how many the container gets, `target` the image's
    where it has to run on GPUs, else "".
    """

    request: TrainRequest
    host: Host
    recipe: Recipe
    rendered: Rendered
    stack: str
    image: str
    target: str
    gpus: int
    data: Source
    project: Source

    @property
    def uses_gpus(self) -> bool:
        return bool(self.target)


def host_of_type(settings: Settings, kind: str, gpus: int | None = None) -> Host:
    """What a machine of that AWS type will be, by our table of types; `gpus` where it is not in the table.

    UsageError for a type that has a share of a GPU, where the settings name no machine image for it.
    """
    known = aws_types().get(kind)
    if known is None:
        return Host(kind, gpus or 0)
    return Host(kind, known.count, known.gpu, compatibility.driver_of(settings, kind))


def is_known(kind: str) -> bool:
    """Whether our table of AWS types has it: it has those with GPUs."""
    return kind in aws_types()


def load(request: TrainRequest) -> Recipe:
    """The recipe: a folder's, the project's, or ours. UsageError for what is wrong with it, and for folders that are
    not there."""
    recipe = loading.load(request.recipe, Path(request.project) if request.project else Path.cwd())
    for flag, folder in (("--data", request.data), ("--project", request.project)):
        if folder and not folder.startswith("s3://") and not Path(folder).is_dir():
            raise UsageError(f"{flag} {folder} is not a folder", "give a folder that exists")
    return recipe


def resolve(request: TrainRequest, host: Host | None = None) -> TrainPlan:
    """Decide what will train on that host. UsageError for what is wrong with the request or cannot run there."""
    host = host or Host()
    recipe = load(request)
    gpus = host.gpus if request.gpus is None else request.gpus
    taken_for, named = of_registry(request.image)
    words = image_words(replace(request, image=taken_for), recipe, gpus, host)
    planned = image.planned(words)
    on_gpus = gpus if planned.target.variant.cuda else 0
    if on_gpus and host.gpu:
        on_host(planned.target.name, host.gpu, host.driver)
    return TrainPlan(
        request, host, recipe, _render(request, recipe, on_gpus), words, named or planned.tag,
        planned.target.name if on_gpus else "", gpus,
        inputs.data_source(recipe.data, request.data), inputs.project_source(request.project),
    )  # fmt: skip


def uses_gpus(request: TrainRequest, recipe: Recipe) -> bool:
    """Whether the training runs on GPUs where the machine has them."""
    if request.gpus == 0:
        return False
    stack = stacks().get(request.image or recipe.stack)
    if request.image and stack is None:
        return bool(image.target_of(request.image).variant.cuda)
    return stack is not None and "cuda" in stack.flavours


def image_words(request: TrainRequest, recipe: Recipe, gpus: int, host: Host) -> str:
    """The image that was asked for; of a stack, for a training on GPUs, its best one for the host's GPU and driver.

    A stack for CPUs alone trains on these. UsageError where none of the stack's images runs there.
    """
    words = request.image or recipe.stack
    if words not in stacks() or not gpus or not uses_gpus(request, recipe):
        return words
    if not host.gpu:
        return choose(words, flavour="cuda").name
    return on_host(words, host.gpu, host.driver, flavour="cuda").name


def _render(request: TrainRequest, recipe: Recipe, gpus: int) -> Rendered:
    """The recipe filled in for so many GPUs; a planner may look into data that is on this laptop."""
    data = Path(request.data) if request.data and not request.data.startswith("s3://") else None
    for name in request.environment:
        for wrong, what, mend in variable(f"--env {name}", name):
            if wrong:
                raise UsageError(what, mend)
    made = rendering.render(recipe, request.options, gpus, data)
    return msgspec.structs.replace(made, environment={**made.environment, **request.environment})


def refuse_unaccepted(plan: TrainPlan) -> None:
    """UsageError, before a machine is rented, for weights to whose terms the user has not agreed, and for those that
    somebody on the way could change without anybody noticing."""
    weights.refuse_unaccepted(plan.rendered.weights, plan.request.accepted)
    weights.refuse_unproven(plan.rendered.weights, {})


def of_registry(words: str | None) -> tuple[str | None, str]:
    """What an image of a registry is taken for (None: an image of the recipe's own stack), and its name there; of words
    that name another image these, and ""."""
    taken_for, _, name = (words or "").rpartition("=")
    return (words, "") if ecr_name.parse(name) is None else (taken_for or None, name)


def refuse_registry(words: str) -> None:
    """UsageError for an image of a registry, where no machine fetches it by itself."""
    if name := of_registry(words)[1]:
        raise UsageError(
            f"the image {name} is fetched by a machine that begins by itself, and a laptop would begin this training",
            "leave it to AWS: --instance or --gpu-memory, without --no-keeper and --on",
        )


def plain(plan: TrainPlan) -> dict[str, Any]:
    """What would train, as JSON values."""
    rendered = plan.rendered
    return {
        "recipe": plan.recipe.name, "options": rendered.options, "command": rendered.command, "image": plan.image,
        "environment": rendered.environment, "gpus": rendered.gpus, "held": plan.gpus if plan.host.type else 0,
        "plan": rendered.plan, "weights": weights.rows(rendered.weights, None), "files": sorted(rendered.files),
    }  # fmt: skip


def _gpus(found: Mapping[str, Any]) -> str:
    idle = f": the image has no CUDA, so the training uses none of the machine's {found['held']}"
    return f"{found['gpus']}" + (idle if found["held"] and not found["gpus"] else "")


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
        ("GPUs", _gpus(found)),
        *((str(key), value) for key, value in found["plan"].items()),
        *(("weights", weights.words(row)) for row in found["weights"]),
        ("files", files),
    ]
