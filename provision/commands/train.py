"""`train`: start a training, and see it through."""

from typing import TYPE_CHECKING, Any

import click

from infra.errors import BusyError, UsageError
from provision import clouds, console, settings
from provision.commands import here, on_cluster, options, train_plan
from provision.commands.options import (
    MACHINE,
    RECIPE,
    WORDS,
    dry_run_option,
    json_option,
    kept_options,
    regions_options,
    rental_options,
)
from provision.commands.paid import Paid, finish, see_through, stops_paying, tell_kept

if TYPE_CHECKING:
    from infra.aws.types import Instance
    from provision.clouds import Session
    from provision.commands.train_plan import Rental
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
@click.option("--image", help="a target (STACK:ROW) or an image's tag (default: the recipe's stack)")
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
    help="start the training, and do not follow it; AWS keeps it on a machine that is rented for it",
)
@kept_options
@click.option("--wait", is_flag=True, help="wait until enough GPUs are free")
@rental_options
@regions_options
@dry_run_option
@json_option
def train(recipe: str, name: str | None, detach: bool, wait: bool, **given: Any) -> None:
    """Start RECIPE in a container, follow it, and see it through spot interruptions.

    With --instance or --gpu-memory a machine is rented for it, which ends with the training; Ctrl-C saves the work and
    ends it. With --detach, too, AWS keeps the training: no laptop is needed to its end, through interruptions as well.
    --dry-run with neither these nor --on shows what would train, without a question to AWS or Docker.
    """
    dry_run, as_json = given.pop("dry_run"), given.pop("as_json")
    cluster = on_cluster.named(name)
    allowed = on_cluster.limits(given) if cluster is not None else None
    _check_where(name, given, detach, dry_run)
    rental = _rental(given)
    terms = {key: given.pop(key) for key in options.KEPT}
    request, chosen = _request(recipe, given, rental is not None)
    if cluster is not None and allowed is not None:
        on_cluster.train(cluster, chosen, request, allowed, detach=detach, dry_run=dry_run, as_json=as_json)
        return
    if name == here.NAME:
        here.train(chosen, request, detach=detach, wait=wait, dry_run=dry_run, as_json=as_json)
        return
    if dry_run:
        _show(chosen, request, name, rental, as_json, terms if detach else None)
        return
    if rental and detach:
        _keep(chosen, request, rental, terms, as_json)
        return
    session, plan, instance = _machine(chosen, request, name, rental)
    paid = Paid(session, instance, own=rental is not None)
    with stops_paying(paid):
        _start(paid, plan, wait)
        if detach:
            assert paid.run is not None
            _tell_begun(session, paid.run.id, instance.name, as_json)
            return
        word = see_through(paid)
    finish(paid, word, as_json=as_json)


def _check_where(name: str | None, given: dict[str, Any], detach: bool, dry_run: bool) -> None:
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
    if not (rents and detach):
        options.refuse_unkept(given)
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


def _show(
    chosen: settings.Settings, request: "TrainRequest", name: str | None, rental: "Rental | None", as_json: bool,
    terms: dict[str, Any] | None,
) -> None:  # fmt: skip
    """Show what would train, and where. A licence that is not accepted yet is shown, not refused; what AWS could not
    keep is refused, where `terms` say that it is to."""
    from provision.training.request import resolve

    if name:
        _, plan, instance = _planned_on(chosen, request, name)
        train_plan.show(plan, instance, dry_run=True, as_json=as_json)
    elif rental:
        plan = train_plan.for_rental(chosen, request, rental)
        if not as_json:
            train_plan.show(plan, None, dry_run=True)
        session = clouds.Session(clouds.resolve(chosen), chosen)
        if terms is not None:
            _check_kept(session, request, terms)
        train_plan.show_requests(session, train_plan.wish_of(plan, rental), as_json, kept=terms is not None)
    else:
        train_plan.show(resolve(request), None, dry_run=True, as_json=as_json)


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


def _machine(
    chosen: settings.Settings, request: "TrainRequest", name: str | None, rental: "Rental | None"
) -> "tuple[Session, TrainPlan, Instance]":
    """The machine to train on, which has that name or is rented, and the plan, which is shown before anything is
    rented."""
    from provision.machines import rent
    from provision.training.request import refuse_unaccepted

    if rental is None:
        session, plan, instance = _planned_on(chosen, request, str(name))
        refuse_unaccepted(plan)
        train_plan.show(plan, instance, dry_run=False)
        return session, plan, instance
    plan = train_plan.for_rental(chosen, request, rental)
    refuse_unaccepted(plan)
    train_plan.show(plan, None, dry_run=False)
    session = clouds.Session(clouds.resolve(chosen), chosen)
    cloud, instance = rent.rent(session, train_plan.wish_of(plan, rental))
    return session.at(cloud), plan, instance


def _check_kept(session: "Session", request: "TrainRequest", terms: dict[str, Any]) -> None:
    """UsageError for what a training that AWS keeps cannot have."""
    from infra.aws import topics
    from provision.training import kept

    if terms["notify"]:
        topics.check(terms["notify"], session.cloud.region)
    kept.refuse_attached(session, request.diagnose)


def _keep(
    chosen: settings.Settings, request: "TrainRequest", rental: "Rental", terms: dict[str, Any], as_json: bool
) -> None:
    """Start a training that AWS keeps, and say where it stands."""
    from provision.training import kept
    from provision.training.request import refuse_unaccepted

    session = clouds.Session(clouds.resolve(chosen), chosen)
    _check_kept(session, request, terms)
    plan = train_plan.for_rental(chosen, request, rental)
    refuse_unaccepted(plan)
    train_plan.show(plan, None, dry_run=False)
    run, keeping = kept.train(session, plan, train_plan.wish_of(plan, rental), kept.Terms(**terms))
    if as_json:
        console.emit_json({"run": run.id, "keeper": keeping.name, "ends": keeping.ends})
        return
    console.say(f"run {run.id}")
    tell_kept(session, run, keeping)


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
