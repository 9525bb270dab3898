"""`resume`: go on with a training that was interrupted or stopped, and see it through."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from infra.errors import RunError
from provision import clouds, console
from provision.commands import attended, going_on, here, kept_options, on_cluster, options
from provision.commands.options import (
    MACHINE,
    RUN,
    cloud_options,
    dry_run_option,
    rental_options,
)
from provision.commands.paid import Paid, finish, see_through, stops_paying

if TYPE_CHECKING:
    from infra.aws.types import SpotRequest
    from provision.clouds import Session
    from provision.offers.requirements import Requirements
    from provision.runs.standing import Standing
    from provision.runs.store import Run
    from provision.training.recover import Another, Order


@click.command()
@click.argument("run_id", metavar="RUN", type=RUN)
@click.option(
    "--on",
    "name",
    type=MACHINE,
    help="train on this machine, which runs already (default: the run's own, or a new one of its type)",
)
@kept_options.again_options
@click.option(
    "--detach",
    is_flag=True,
    help="start the training, and do not follow it",
)
@kept_options.kept_options
@rental_options
@cloud_options
@dry_run_option
def resume(
    run_id: str, name: str | None, at: int | None, data: str | None, project: str | None, detach: bool, dry_run: bool,
    **given: Any,
) -> None:  # fmt: skip
    """Resume an interrupted or stopped training from its newest snapshot, on any laptop.

    Where it has no machine, AWS rents what was ordered for the training's first one, but for the options given here,
    and ends it with the training. Ctrl-C saves the work and stops paying; Ctrl-C twice, or a closed lid, leaves it to
    AWS: no laptop is needed to its end.
    """
    from provision.machines import find, login
    from provision.runs import store
    from provision.training import start
    from provision.training.recover import Another

    if _elsewhere(run_id, name, given, (data, project), at=at, detach=detach, dry_run=dry_run):
        return
    alone = given.pop("alone")
    options.refuse_unused(name, given)
    attended.refuse_alone(name, given, alone, detach)
    terms, order = attended.terms_of(given), _order(given)
    session = clouds.session(**given)
    run = store.find(session.cloud, run_id)
    now = start.ready(session, run, at)
    _refuse_finished(session, run, now, at)
    going_on.tell(run, now, at, dry_run)
    if name:
        login.refuse_kept(session.cloud, machine := find.find(session.cloud, name))
    if dry_run:
        return
    asked = _Asked(session, run, now, order, at, (data, project), detach)
    if name:
        _alone(asked, Another(machine))
    elif alone or not _keep(asked, terms):
        _alone(asked)


def _elsewhere(
    run_id: str, name: str | None, given: dict[str, Any], folders: tuple[str | None, str | None], *, at: int | None,
    detach: bool, dry_run: bool,
) -> bool:  # fmt: skip
    """Go on with a run of this laptop, or of a cluster; False where it is neither."""
    from provision.engines.here import place
    from provision.engines.slurm import where

    if (lies_here := place.find(run_id)) is not None:
        here.refuse_elsewhere(name, given)
        here.resume(lies_here, at, *folders, detach=detach, dry_run=dry_run)
        return True
    if (on_it := where.find(run_id)) is not None:
        on_cluster.resume(on_it, name, given, folders, at=at, detach=detach, dry_run=dry_run)
        return True
    return False


@dataclass(frozen=True)
class _Asked:
    """What is to go on, and how; `folders` are the data and the code that are given anew."""

    session: "Session"
    run: "Run"
    now: "Standing"
    order: "Order"
    at: int | None
    folders: tuple[str | None, str | None]
    detach: bool


def _refuse_finished(session: "Session", run: "Run", now: "Standing", at: int | None) -> None:
    """RunError for a run whose work is done: to train it again is what nobody means who does not say from where."""
    if now.word == "finished" and at is None:
        raise RunError(
            f"{run.id} is finished: there is nothing to go on with",
            f"its results: {session.hint(f'fetch {run.id}')}; "
            f"train it once more from an iteration of its own: {session.hint(f'resume {run.id} --from 0')}",
        )


def _keep(asked: _Asked, terms: dict[str, Any]) -> bool:
    """Go on with a keeper, and follow it or say where it stands; False where this laptop is to go on: on the run's own
    machine, which lives, or with what no keeper can have, which is said."""
    from provision.runs import inputs
    from provision.training import kept

    session, run, now = asked.session, asked.run, asked.now
    if kept.joins(session, run, now):
        kept_options.refuse_unkept(terms, f"{run.id} goes on on its own machine, which lives")
        return False
    attended.check(session, terms, detach=asked.detach, diagnose=run.manifest.settings.diagnose)
    again, wish = kept.again(session, run, now, asked.order)
    request = _to_keep(again, run, wish, asked.detach, terms)
    if request is None:
        return False
    inputs.give(run, *asked.folders)
    keeping = kept.resume(again, run, now, request, asked.at, kept.Terms(**terms))
    if asked.detach:
        attended.tell(session, run, keeping)
    else:
        attended.attend(session, run, keeping, request)
    return True


def _to_keep(
    session: "Session", run: "Run", wish: "Requirements", detach: bool, terms: dict[str, Any]
) -> "SpotRequest | None":
    """What the keeper will ask for; None where this laptop has to see the training through, which is said."""
    from provision.engines import begin
    from provision.training import fitting

    if detach:
        return begin.request_of(session, wish)
    made = run.manifest
    ports = () if run.keeping() else made.settings.ports  # one that AWS kept before did without them
    asked = fitting.Wanted(session.settings, wish, made.rendered, made.weights, ports)
    request, why = fitting.fit(session, asked)
    if request is None:
        attended.tell_alone(why, terms)
    return request


def _alone(asked: _Asked, there: "Another | None" = None) -> None:
    """Go on with this laptop alone, on the machine that is `there`, else on the run's own or a new one."""
    from provision.runs import inputs
    from provision.training import recover, start

    session, run = asked.session, asked.run
    inputs.give(run, *asked.folders)
    start.ensure_image(run)
    if there is not None:
        _go_on(session, run, there, asked.order, asked.at, asked.detach, own=False)
        return
    with recover.nothing_left(session, asked.now):
        another = recover.machine_again(session, run, asked.now, asked.order)
    _go_on(session, run, another, asked.order, asked.at, asked.detach, own=True)


def _order(given: dict[str, Any]) -> "Order":
    """What the flags say of the machine that is rented for the run, and nothing of what they leave open."""
    from provision.training.recover import Order

    asked = options.given_rental(given)
    for key in (*options.WISH, *options.SETTINGS):
        given.pop(key)
    names = {"kind": "type", "gpu_memory": "gpu_memory_gb"}
    wish = {names.get(key, key): asked[key] for key in options.WISH if key in asked}
    if (spot := wish.pop("spot", None)) is not None:
        wish["market"] = "spot" if spot else "on-demand"
    return Order({key: asked[key] for key in options.SETTINGS if key in asked}, wish, own_run=True)


def _go_on(
    session: "Session", run: "Run", another: "Another", order: "Order", at: int | None, detach: bool, own: bool
) -> None:
    """Begin on that machine, and see it through; one that is rented for the run ends with it."""
    paid = Paid(session, another.instance, own)
    paid.moved(another)
    with stops_paying(paid):
        _begin(session, run, another, at)
        paid.run = run
        word = None if detach else see_through(paid, order)
    if word is None:
        console.line(paid.billed())
    else:
        finish(paid, word)


def _begin(session: "Session", run: "Run", another: "Another", at: int | None) -> None:
    """Begin the next attempt; what AWS is about to end is cleared once that trains, or at once where it does not."""
    from provision.training import recover, through

    try:
        through.begin(session, run, another.instance, at)
    except BaseException:
        if another.old is not None:
            recover.end_rest(session, another.old.name, another.old.id, another.old.launch)
        raise
    if another.old is not None:
        recover.clear_old(session, another.old)
