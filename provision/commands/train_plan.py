"""The plan of a training, decided once; `--dry-run` shows it, and so does `train` before it rents anything."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.errors import UsageError
from provision import clouds, console

if TYPE_CHECKING:
    from infra.aws.types import DataVolume, Instance, SpotRequest
    from provision.clouds import Session
    from provision.offers.requirements import Requirements
    from provision.settings import Settings
    from provision.training.request import TrainPlan, TrainRequest


@dataclass(frozen=True)
class Rental:
    """What is rented for a training: a type (with `equivalent` its stand-ins, too), or as many GPUs as it uses, of so
    much memory each (GB)."""

    type: str = ""
    gpu_memory_gb: float = 0.0
    equivalent: bool = False
    market: str = "spot"
    volumes: "tuple[DataVolume, ...]" = ()


def for_rental(chosen: "Settings", wanted: "TrainRequest", rental: Rental) -> "TrainPlan":
    """The plan for a machine that is rented for the training. UsageError for GPUs by memory for a training on none."""
    from provision.training import request

    request.load(wanted)  # a wrong recipe is refused before AWS is asked
    kind = rental.type
    if not kind:
        if wanted.gpus == 0:
            raise UsageError("--gpus 0 uses no GPU, and --gpu-memory asks for one", "leave out one of them")
        return request.resolve(wanted, request.Host(gpus=wanted.gpus or 1))
    gpus = None if wanted.gpus is not None or request.is_known(kind) else _gpus(chosen, kind)
    return request.resolve(wanted, request.host_of_type(chosen, kind, gpus))


def _gpus(chosen: "Settings", kind: str) -> int:
    """The number of GPUs that the type has by AWS."""
    from infra.aws.ec2 import Ec2

    return Ec2(clouds.resolve(chosen)).instance_type(kind).gpus


def wish_of(plan: "TrainPlan", rental: Rental) -> "Requirements":
    """The requirements of the machine that is rented for the plan."""
    from provision.offers.requirements import Requirements

    return Requirements(
        own_name(plan.request.recipe), rental.type, rental.market, gpus=0 if rental.type else plan.gpus,
        gpu_memory_gb=rental.gpu_memory_gb, or_equivalent=rental.equivalent, volumes=rental.volumes,
        image=plan.target, own_run=True,
    )  # fmt: skip


def show_requests(session: "Session", wish: "Requirements", kept: "SpotRequest | None", as_json: bool) -> None:
    """Show what AWS would be asked for; `kept`: by the training's keeper, where it has one."""
    from provision.commands.request_table import show_request
    from provision.offers import plan

    requests = plan.plan(session, wish) if kept is None else [kept]
    show_request(requests, as_json, kept=kept is not None, bakes=session.settings.bake)


def show(plan: "TrainPlan", instance: "Instance | None", *, dry_run: bool, as_json: bool = False) -> None:
    """Print the plan: on standard output with `dry_run`, else, before a training, on standard error."""
    from provision.runs import weights
    from provision.training import request

    found: dict[str, Any] = request.plain(plan)
    if instance is not None:
        found |= {"on": instance.name, "type": instance.type, "data": vars(plan.data)}
    if dry_run and as_json:
        console.emit_json(found)
        return
    on = [("on", f"{instance.name} ({instance.type})")] if instance is not None else []
    title = "would train" if dry_run else "trains"
    console.table(title, ("what", "value"), [*request.table(found), *on], meanwhile=not dry_run)
    for file in () if dry_run else plan.rendered.weights:  # the terms stand on a line of their own, whatever the width
        console.line(f"weights {file.file}: {weights.terms(file)}")


def own_name(recipe: str) -> str:
    """A name for the machine that is rented for a training of this recipe."""
    import secrets

    return f"train-{Path(recipe).name}-{secrets.token_hex(2)}"[:40]
