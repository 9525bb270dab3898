"""`train`: start a training, and see it through."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from infra.errors import BusyError, UsageError
from provision import clouds, console, settings
from provision.commands import attended, here, kept_options, on_cluster, options, train_plan
from provision.commands.options import (
    MACHINE,
    RECIPE,
    WORDS,
    dry_run_option,
    json_option,
    regions_options,
    rental_options,
)
from provision.commands.paid import Paid, finish, see_through, stops_paying

if TYPE_CHECKING:
    from infra.aws.types import Instance, SpotRequest
    from provision.clouds import Session
    from provision.commands.train_plan import Rental
    from provision.offers.requirements import Requirements
    from provision.training.request import TrainPlan, TrainRequest

_BUSY_S = 10.0  # seconds between two looks for free GPUs


@click.command()
@click.argument("recipe", type=RECIPE)
@click.option(
    "--on",
    "name",
    type=MACHINE,
    help="train on this machine, which runs already (see provision ls), or on this cluster (provision cluster ls); "
    "here: on this laptop",
)
@click.option("--set", "sets", multiple=True, help="set an option of the recipe: --set iterations=5000")
@click.option(
    "--env",
    "variables",
    multiple=True,
    metavar="NAME=VALUE",
    help="set an environment variable of the training; give no secret: the run's manifest keeps it",
)
@click.option(
    "--image",
    help="a target (STACK:ROW) or an image's tag; where AWS keeps the training an image of ECR, or TARGET=IMAGE where "
    "it is not one of the recipe's stack (default: the recipe's stack)",
)
@click.option(
    "--gpus",
    type=click.IntRange(min=0),
    help="the number of GPUs (default: all of the machine's; with --gpu-memory: 1)",
)
@click.option("--data", type=WORDS, help="a folder of this laptop, or an s3:// prefix (default: the recipe's own)")
@click.option("--project", type=WORDS, help="a folder with your code: /project in the container")
@click.option("--port", "ports", type=int, multiple=True, help="open a port of the container for `provision forward`")
@click.option(
    "--accept-licence",
    "licences",
    multiple=True,
    metavar="FILE",
    help="agree to the licence of this file of trained weights",
)
@click.option("--diagnose", is_flag=True, help="stop a training that has diverged, and say why")
@click.option(
    "--detach",
    is_flag=True,
    help="start the training, and do not follow it",
)
@kept_options.kept_options
@click.option("--wait", is_flag=True, help="wait until enough GPUs are free")
@rental_options
@regions_options
@dry_run_option
@json_option
def train(recipe: str, name: str | None, detach: bool, wait: bool, **given: Any) -> None:
    """Start RECIPE in a container, and follow it through spot interruptions.

    With --instance or --gpu-memory AWS rents a machine for it, replaces it, and ends it with the training. Ctrl-C saves
    the work and stops paying; Ctrl-C twice, or a closed lid, leaves it to AWS: no laptop is needed to its end.
    --dry-run with neither these nor --on shows what would train, without a question to AWS or Docker.
    """
    dry_run, as_json, alone = (given.pop(key) for key in ("dry_run", "as_json", "alone"))
    cluster = on_cluster.named(name)
    allowed = on_cluster.limits(given) if cluster is not None else None
    _check_where(name, given, dry_run)
    attended.refuse_alone(name, given, alone, detach)
    rental, terms = _rental(given), attended.terms_of(given)
    request, chosen = _request(recipe, given, rental is not None)
    if cluster is not None and allowed is not None:
        on_cluster.train(cluster, chosen, request, allowed, detach=detach, dry_run=dry_run, as_json=as_json)
        return
    if name == here.NAME:
        here.train(chosen, request, detach=detach, wait=wait, dry_run=dry_run, as_json=as_json)
        return
    wanted = _Wanted(chosen, request, rental, terms, alone, detach)
    if dry_run:
        _show(wanted, name, as_json)
        return
    if rental is None:
        session, plan, instance = _there(wanted, str(name))
    else:
        plan = _shown(wanted, rental)
        if not alone and _keep(wanted, plan, rental, as_json):
            return
        session, instance = _rented(wanted, plan, rental)
    paid = Paid(session, instance, own=rental is not None)
    with stops_paying(paid):
        _start(paid, plan, wait)
        if detach:
            assert paid.run is not None
            _tell_begun(session, paid.run.id, instance.name, as_json)
            return
        word = see_through(paid)
    finish(paid, word, as_json=as_json)


@dataclass(frozen=True)
class _Wanted:
    """What the words ask for. `terms` are for a keeper; `alone`: without one."""

    chosen: settings.Settings
    request: "TrainRequest"
    rental: "Rental | None"
    terms: dict[str, Any]
    alone: bool
    detach: bool


def _check_where(name: str | None, given: dict[str, Any], dry_run: bool) -> None:
    rents = bool(given["kind"] or given["gpu_memory"])
    if name and rents:
        raise UsageError(
            "--on names a machine that runs, and --instance or --gpu-memory rent another one", "leave out one of them"
        )
    if not (name or rents or dry_run):
        raise UsageError(
            "say where to train",
            "--on NAME for a machine that runs; or, to rent one, --instance TYPE, or --gpus NUMBER and --gpu-memory GB",
        )
    options.refuse_unused(name, given)


def _rental(given: dict[str, Any]) -> "Rental | None":
    """What is rented for the training; None where nothing is."""
    from provision.commands.train_plan import Rental

    kind, memory, equivalent = (given.pop(key) for key in ("kind", "gpu_memory", "or_equivalent"))
    market = "on-demand" if given.pop("spot") is False else "spot"
    rental = Rental(kind or "", memory or 0.0, equivalent, market, given.pop("volumes"))
    return rental if kind or memory else None


def _request(recipe: str, given: dict[str, Any], own: bool) -> "tuple[TrainRequest, settings.Settings]":
    """The request for the training, and the settings of the remaining flags."""
    from provision.recipes.rendering import split_sets
    from provision.training.request import TrainRequest

    mine = {key: given.pop(key) for key in ("data", "image", "project", "gpus", "ports", "diagnose")}
    sets, licences = split_sets(given.pop("sets")), given.pop("licences")
    variables = split_sets(given.pop("variables"), "--env")
    chosen = settings.load(**options.regions_of(given))
    accepted = (*licences, *chosen.accept_licences)
    return TrainRequest(recipe, sets, **mine, own_machine=own, accepted=accepted, environment=variables), chosen


def _tell_begun(session: "Session", run: str, machine: str, as_json: bool) -> None:
    """Say what trains where, and is not followed."""
    if as_json:
        console.emit_json({"run": run, "machine": machine})
        return
    console.say(f"{run} trains on {machine}")
    console.say(f"  follow it: {session.hint(f'logs {run} -f')}")


def _show(wanted: _Wanted, name: str | None, as_json: bool) -> None:
    """Show what would train, and where. A licence that is not accepted yet is shown, not refused; what AWS could not
    keep is refused, where it is to."""
    from provision.training.request import resolve

    if name:
        _, plan, instance = _planned_on(wanted.chosen, wanted.request, name)
        train_plan.show(plan, instance, dry_run=True, as_json=as_json)
        return
    if wanted.rental is None:
        train_plan.show(resolve(wanted.request), None, dry_run=True, as_json=as_json)
        return
    plan = train_plan.for_rental(wanted.chosen, wanted.request, wanted.rental)
    if not as_json:
        train_plan.show(plan, None, dry_run=True)
    session = clouds.Session(clouds.resolve(wanted.chosen), wanted.chosen)
    wish = train_plan.wish_of(plan, wanted.rental)
    request = None if wanted.alone else _to_keep(session, wanted, plan, wish)
    train_plan.show_requests(session, wish, request, as_json)


def _planned_on(chosen: settings.Settings, request: "TrainRequest", name: str) -> "tuple[Session, TrainPlan, Instance]":
    """The plan for the machine of that name, with the session of its region and the machine."""
    from provision.machines import find
    from provision.training import start
    from provision.training.request import resolve

    resolve(request)  # a request that is wrong on any machine is refused before AWS is asked
    session = clouds.Session(clouds.resolve(chosen), chosen)
    session = session.at(find.locate(session.cloud, name, chosen.more_regions))
    instance = find.find(session.cloud, name)
    return session, start.plan_on(session, request, instance), instance


def _there(wanted: _Wanted, name: str) -> "tuple[Session, TrainPlan, Instance]":
    """The machine of that name, and the plan for it, which is shown."""
    from provision.training.request import refuse_unaccepted

    session, plan, instance = _planned_on(wanted.chosen, wanted.request, name)
    refuse_unaccepted(plan)
    train_plan.show(plan, instance, dry_run=False)
    return session, plan, instance


def _shown(wanted: _Wanted, rental: "Rental") -> "TrainPlan":
    """The plan for a machine that is to be rented, which is shown before AWS is asked for one."""
    from provision.training.request import refuse_unaccepted

    plan = train_plan.for_rental(wanted.chosen, wanted.request, rental)
    refuse_unaccepted(plan)
    train_plan.show(plan, None, dry_run=False)
    return plan


def _rented(wanted: _Wanted, plan: "TrainPlan", rental: "Rental") -> "tuple[Session, Instance]":
    """A machine that this laptop rents for the plan."""
    from provision.machines import rent
    from provision.training.request import refuse_registry

    refuse_registry(plan.image)
    session = clouds.Session(clouds.resolve(wanted.chosen), wanted.chosen)
    cloud, instance = rent.rent(session, train_plan.wish_of(plan, rental))
    return session.at(cloud), instance


def _to_keep(session: "Session", wanted: _Wanted, plan: "TrainPlan", wish: "Requirements") -> "SpotRequest | None":
    """What the keeper will ask for; None where this laptop has to see the training through, which is said.

    UsageError for what AWS cannot keep, where nobody follows.
    """
    from provision.engines import begin
    from provision.training import fitting

    attended.check(session, wanted.terms, detach=wanted.detach, diagnose=wanted.request.diagnose)
    if wanted.detach:
        return begin.request_of(session, wish)
    asked = fitting.Wanted(session.settings, wish, plan.rendered, {}, wanted.request.ports)
    request, why = fitting.fit(session, asked)
    if request is None:
        attended.tell_alone(why, wanted.terms)
    return request


def _keep(wanted: _Wanted, plan: "TrainPlan", rental: "Rental", as_json: bool) -> bool:
    """Start a training that AWS keeps, and follow it or say where it stands; False where AWS cannot keep it."""
    from provision.training import kept

    session = clouds.Session(clouds.resolve(wanted.chosen), wanted.chosen)
    request = _to_keep(session, wanted, plan, train_plan.wish_of(plan, rental))
    if request is None:
        return False
    run, keeping = kept.train(session, plan, request, kept.Terms(**wanted.terms))
    if not wanted.detach:
        attended.attend(session, run, keeping, request, as_json=as_json)
    elif as_json:
        console.emit_json({"run": run.id, "keeper": keeping.name, "ends": keeping.ends})
    else:
        attended.tell(session, run, keeping)
    return True


def _start(paid: Paid, plan: "TrainPlan", wait: bool) -> None:
    """Make the run and begin its first attempt; with `wait`, as soon as enough GPUs are free. BusyError without."""
    import time

    from provision.training import start, through

    run = paid.run = start.create(paid.session, plan, paid.instance)
    console.say(f"run {run.id}")
    while True:
        try:
            through.begin(paid.session, run, paid.instance)
            return
        except BusyError as error:
            if not wait:
                raise
            console.line(f"{error.what}; waiting")
            time.sleep(_BUSY_S)
