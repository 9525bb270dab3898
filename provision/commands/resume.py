"""`resume`: go on with a training that was interrupted or stopped, and see it through."""

from typing import TYPE_CHECKING, Any

import click

from provision import clouds, console
from provision.commands import here, on_cluster, options
from provision.commands.options import (
    MACHINE,
    RUN,
    again_options,
    cloud_options,
    dry_run_option,
    kept_options,
    rental_options,
)
from provision.commands.paid import Paid, finish, see_through, stops_paying, tell_kept

if TYPE_CHECKING:
    from provision.clouds import Session
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
@again_options
@click.option(
    "--detach",
    is_flag=True,
    help="start the training, and do not follow it; AWS keeps it on a machine that is rented for it",
)
@kept_options
@rental_options
@cloud_options
@dry_run_option
def resume(
    run_id: str, name: str | None, at: int | None, data: str | None, project: str | None, detach: bool, dry_run: bool,
    **given: Any,
) -> None:  # fmt: skip
    """Resume an interrupted or stopped training from its newest snapshot, on any laptop.

    A machine that is rented for it is what was ordered for the training's first one, but for the options given here; it
    ends with the training, and Ctrl-C saves the work and ends it. With --detach AWS keeps the training: no laptop is
    needed to its end.
    """
    from provision.engines.here import place
    from provision.engines.slurm import where
    from provision.machines import find, login
    from provision.runs import inputs, store
    from provision.training import kept, recover, start
    from provision.training.recover import Another

    if (lies_here := place.find(run_id)) is not None:
        here.refuse_elsewhere(name, given)
        here.resume(lies_here, at, data, project, detach=detach, dry_run=dry_run)
        return
    if (on_it := where.find(run_id)) is not None:
        on_cluster.resume(on_it, name, given, (data, project), at=at, detach=detach, dry_run=dry_run)
        return
    options.refuse_unused(name, given)
    if name or not detach:
        options.refuse_unkept(given)
    terms = {key: given.pop(key) for key in options.KEPT}
    order = _order(given)
    session = clouds.session(**given)
    run = store.find(session.cloud, run_id)
    now = start.ready(session, run, at)
    newest = f"its newest snapshot is of iteration {now.snapshot.iteration}" if now.snapshot else "it has no snapshot"
    console.say(f"{run_id} is {now.word}; {newest}")
    begins = start.turn(run, 0, at).snapshots
    goes = "would go on" if dry_run else "goes on"
    if dry_run or at is not None:
        console.say(f"  it {goes} {f'from iteration {begins[-1].iteration}' if begins else 'from nothing'}")
    if name:
        login.refuse_kept(session.cloud, machine := find.find(session.cloud, name))
    if dry_run:
        return
    if detach and not name and not kept.joins(session, run, now):
        _keep(session, run, now, order, at, (data, project), terms)
        return
    inputs.give(run, data, project)
    start.ensure_image(run)
    if name:
        _go_on(session, run, Another(machine), order, at, detach, own=False)
        return
    with recover.nothing_left(session, now):
        another = recover.machine_again(session, run, now, order)
    _go_on(session, run, another, order, at, detach, own=True)


def _keep(
    session: "Session", run: "Run", now: "Standing", order: "Order", at: int | None,
    folders: tuple[str | None, str | None], terms: dict[str, Any],
) -> None:  # fmt: skip
    """Go on without a laptop, and say where it stands."""
    from infra.aws import topics
    from provision.runs import inputs
    from provision.training import kept

    if terms["notify"]:
        topics.check(terms["notify"], session.cloud.region)
    kept.refuse_attached(session, run.manifest.settings.diagnose)
    inputs.give(run, *folders)
    keeping = kept.resume(session, run, now, order, at, kept.Terms(**terms))
    console.say(f"run {run.id}")
    tell_kept(session, run, keeping)


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
