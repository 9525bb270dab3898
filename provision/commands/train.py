"""`train` and `resume`: the commands that see a training through."""

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from infra.errors import CapacityError, LeftoverError, ProvisionError, RunError, UsageError
from provision import clouds, console, settings
from provision.commands.machines import at_home, cloud_flag, undo
from provision.commands.options import cloud_options, dry_run_option, json_option, machine_options
from provision.commands.train_plan import own_name, show_plan, show_terms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.aws.session import Cloud
    from infra.aws.types import Instance
    from provision.ordering import Order
    from provision.progress import Follower
    from provision.runs import Run

_GIVE_UP_AFTER = 5
_ASK_AGAIN_S = 3600.0


@click.command()
@click.argument("recipe")
@click.option("--on", "name", help="a machine that runs (provision ls)")
@click.option("--instance", "kind", help="rent a machine of this type for it, and end it afterwards")
@click.option("--set", "sets", multiple=True, help="an option of the recipe: --set iterations=5000")
@click.option("--env", "variables", multiple=True, metavar="NAME=VALUE", help="of its environment; no secret")
@click.option("--image", help="a target (STACK:ROW) or an image's tag (default: the recipe's stack)")
@click.option("--gpus", type=click.IntRange(min=0), help="how many GPUs (default: all of the machine's)")
@click.option("--data", help="a folder of this laptop, or an s3:// prefix (default: the recipe's own)")
@click.option("--project", type=click.Path(), help="a folder with your code: /project in the container")
@click.option("--port", "ports", type=int, multiple=True, help="a port of the container for `provision forward`")
@click.option("--accept-licence", "licences", multiple=True, metavar="FILE", help="keep to the terms of these weights")
@click.option("--diagnose", is_flag=True, help="stop a training that has diverged, and say why")
@click.option("--detach", is_flag=True, help="start it, and do not follow it")
@click.option("--wait", is_flag=True, help="wait until enough GPUs are free")
@machine_options
@cloud_options
@dry_run_option
@json_option
def train(recipe: str, name: str | None, kind: str | None, detach: bool, wait: bool, **given: Any) -> None:
    """Start RECIPE in a container, follow it, and see it through spot interruptions.

    With --dry-run and neither --on nor --instance: what would train, asked of nobody.
    """
    dry_run, as_json = given.pop("dry_run"), given.pop("as_json")
    _check_where(name, kind, detach, dry_run)
    market = "spot" if given.pop("spot") else "on-demand"
    order, chosen = _order(recipe, given, bool(kind))
    if dry_run:
        show_plan(chosen, order, name, kind, market, as_json)
        return
    show_terms(order, kind)
    from provision import training

    cloud = clouds.resolve(chosen)
    cloud, instance = _machine(cloud, chosen, name, kind, market, recipe)
    chosen = at_home(chosen, cloud)
    with _stops_paying(cloud, instance.name, bool(kind)) as seen:
        run = seen.run = training.create(cloud, chosen, order, instance)
        _begin(cloud, run, instance, wait)
        if detach:
            console.say(f"{run.id} trains on {instance.name}")
            console.say(f"  follow it: provision logs {run.id} -f{cloud_flag(chosen)}")
            return
        state = _see_through(cloud, chosen, run)
    ended = undo(cloud, instance.name) if kind else True
    if not kind:
        console.line(_billed(instance.name))
    _conclude(run, state, chosen, as_json)
    if not ended:
        raise LeftoverError(f"{instance.name} is not ended", f"provision down {instance.name}")


@dataclass
class _Seen:
    """The run, once there is one."""

    run: "Run | None" = None


@contextmanager
def _stops_paying(cloud: "Cloud", name: str, own: bool) -> "Iterator[_Seen]":
    """Ctrl-C saves and stops the training; an error or Ctrl-C ends a machine that was rented for it."""
    seen = _Seen()
    try:
        yield seen
    except BaseException as error:
        try:
            if seen.run is not None and isinstance(error, KeyboardInterrupt):
                _save(cloud, seen.run)
        finally:
            if own:
                undo(cloud, name)
            else:
                console.line(_billed(name))
        raise


def _save(cloud: "Cloud", run: "Run") -> None:
    from provision import training

    console.line("stopping the training; its work is saved first")
    try:
        console.line(f"{run.id} is {training.stop(cloud, run, console.line)}: provision resume {run.id}")
    except ProvisionError as error:
        console.line(str(error))


def _check_where(name: str | None, kind: str | None, detach: bool, dry_run: bool) -> None:
    if bool(name) == bool(kind) and not (dry_run and not name):
        raise UsageError("say where to train", "--on NAME for a machine that runs, or --instance TYPE to rent one")
    if kind and detach:
        raise UsageError(
            "--instance ends the machine after the training, so it cannot be detached", "use `up`, and train --on"
        )


def _order(recipe: str, given: dict[str, Any], own: bool) -> "tuple[Order, settings.Settings]":
    """What is about the training, and what is left: settings."""
    from provision.ordering import Order
    from provision.recipe import split_sets

    mine = {key: given.pop(key) for key in ("data", "image", "project", "gpus", "ports", "diagnose")}
    sets, licences = split_sets(given.pop("sets")), given.pop("licences")
    variables = split_sets(given.pop("variables"), "--env")
    chosen = settings.load(**given)
    accepted = (*licences, *chosen.accept_licences)
    return Order(recipe, sets, **mine, own_machine=own, accepted=accepted, environment=variables), chosen


def _machine(
    cloud: "Cloud", chosen: settings.Settings, name: str | None, kind: str | None, market: str, recipe: str
) -> "tuple[Cloud, Instance]":
    """The machine to train on, and its region: the one of that name, or a fresh one of that type."""
    from provision import machines, renting
    from provision.wish import Wish

    if name:
        cloud = machines.locate(cloud, name, chosen.more_regions)
        return cloud, machines.find(cloud, name)
    return renting.rent(cloud, chosen, Wish(own_name(recipe), str(kind), market), console.line)


def _begin(cloud: "Cloud", run: "Run", instance: "Instance", wait: bool) -> None:
    import time

    from provision import training

    console.say(f"run {run.id}")
    while True:
        try:
            training.begin(cloud, run, instance, console.line)
            return
        except RunError as error:
            if not (wait and "are free" in error.what):
                raise
            console.line(f"{error.what}; waiting")
            time.sleep(10)


def _see_through(cloud: "Cloud", chosen: settings.Settings, run: "Run") -> str:
    """Follow to the end; where AWS takes the machine away, rent another and go on from the newest snapshot."""
    from provision import training

    follower = _follower(cloud, run)
    for again in range(_GIVE_UP_AFTER + 1):
        state = follower.follow(cloud, run)
        if state not in ("interrupted", "lost"):
            return state
        snapshots = run.snapshots()
        at = snapshots[-1].iteration if snapshots else 0
        console.line(f"{state} at iteration {follower.iteration}; the newest snapshot is of iteration {at}")
        if not training.taken_away(cloud, run):
            raise RunError(f"{run.id} ended with its machine", f"go on with it: provision resume {run.id}")
        if again < _GIVE_UP_AFTER:
            instance = _another(cloud, chosen, run)
            training.begin(cloud, run, instance, console.line)
    raise RunError(f"{run.id} was interrupted {_GIVE_UP_AFTER + 1} times", f"try later: provision resume {run.id}")


def _follower(cloud: "Cloud", run: "Run") -> "Follower":
    """Who was asked to diagnose stops what has diverged; the guard saves what there is, as at any stop."""
    from provision import training
    from provision.progress import Follower

    if not run.manifest.settings.get("diagnose"):
        return Follower()
    return Follower(stop=lambda: training.stop(cloud, run, console.line))


def _another(cloud: "Cloud", chosen: settings.Settings, run: "Run") -> "Instance":
    """Another machine; where none is free, ask again for up to an hour."""
    import time

    from provision import training

    until = time.monotonic() + _ASK_AGAIN_S
    while True:
        try:
            return training.machine_again(cloud, chosen, run, console.line)
        except CapacityError as error:
            if time.monotonic() > until:
                raise
            console.line(f"{error.what}; asking again in a minute")
        time.sleep(60)


def _billed(name: str) -> str:
    return f"{name} still runs and is billed; end it: provision down {name}"


def _conclude(run: "Run", state: str, chosen: settings.Settings, as_json: bool) -> None:
    """How it ended, and what to do next. RunError where it failed."""
    from provision import progress

    summary = progress.summary(run)
    if as_json:
        console.emit_json(summary)
    else:
        console.say(f"{run.id} {state}: {progress.words(summary)}")
    if state == "failed" or summary["diverged"]:
        raise progress.failure(run)
    if not as_json:
        console.say(f"  next: provision fetch {run.id}{cloud_flag(chosen)}")


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--on", "name", help="a machine that runs (default: another of the run's type)")
@click.option("--detach", is_flag=True, help="start it, and do not follow it")
@cloud_options
@dry_run_option
def resume(run_id: str, name: str | None, detach: bool, dry_run: bool, **flags: Any) -> None:
    """Go on with an interrupted or stopped training from its newest snapshot, from any laptop."""
    from provision import follow, machines, runs, training

    chosen = settings.load(**flags)
    cloud = clouds.resolve(chosen)
    run = runs.find(cloud, run_id)
    state = follow.outcome(cloud, run)
    began = state == "running" or (state == "starting" and run.attempts() and not training.never_began(cloud, run))
    if began:
        raise RunError(f"{run_id} is {state} already", f"follow it: provision logs {run_id} -f")
    at = [one.iteration for one in run.snapshots()]
    console.say(f"{run_id} is {state}; its newest snapshot is of iteration {at[-1] if at else 0}")
    if dry_run:
        return
    training.ensure_image(run)
    if name:
        instance = machines.find(cloud, name)
    else:
        instance = training.machine_again(cloud, chosen, run, console.line)
    with _stops_paying(cloud, instance.name, False) as seen:
        training.begin(cloud, run, instance, console.line)
        seen.run = run
        if not detach:
            state = _see_through(cloud, chosen, run)
    console.line(_billed(instance.name))
    if not detach:
        _conclude(run, state, chosen, False)
