"""Another machine for a run that goes on: what was ordered, and its old machine out of the way.

What is ordered is what the first machine's tags said, which the manifest keeps. A spot machine that AWS takes within
its first hour costs nothing, as long as AWS ends it: it is left to AWS, and the next one is rented meanwhile.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

import msgspec

from infra.aws.ec2 import Ec2
from infra.aws.types import Instance
from infra.docker_engine import open_remote
from infra.errors import CloudError, HostError, ProvisionError, RunError
from provision.clouds import Session
from provision.hosts import image
from provision.machines import cost, down, find, login, rent, up, whose
from provision.machines.cost import Bill
from provision.offers import budget
from provision.offers.requirements import Requirements
from provision.runs.manifest import Attempt
from provision.runs.patience import PASSING, Clock
from provision.runs.standing import Standing
from provision.runs.store import Run
from provision.settings import Settings

_GOING_S = 150.0  # AWS gives two minutes' notice, and the guard of the old machine saves until its end
_KEPT = ("via", "idle_minutes", "fallback", "keep_on_error_minutes")


@dataclass(frozen=True)
class Order:
    """What is asked of the next machine that the run's own settings do not say, or say otherwise.

    `settings` by the names of `Settings`, `wish` by those of `Requirements`. `own_run`: it is for this run alone, and
    ends after it; None: as the machine before it.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    wish: Mapping[str, Any] = field(default_factory=dict)
    own_run: bool | None = None


@dataclass(frozen=True)
class Another:
    """The machine on which a run goes on. `rented`: it is new; `old`: the one before it, which AWS is about to end."""

    instance: Instance
    rented: bool = False
    old: Instance | None = None


def machine_again(session: Session, run: Run, now: Standing, order: Order | None = None) -> Another:
    """A machine for a run that is to go on: its own if that lives, the one that took its name, or a new one.

    A new one is asked for as the first one was, but for what `order` says; another zone comes first. It is in the run's
    region, where its data is. What belongs to an old one is ended, or left to AWS and to `clear_old`.
    """
    order, cloud, last = order or Order(), session.cloud, now.attempt
    name = last.name if last else run.manifest.name
    with find.locked(cloud, name):
        there = find.namesake(cloud, name)
        if there is not None and not (now.broken_off and last and there.id == last.instance):
            if whose.others(there.owner):
                raise find.taken(there, f"take one of yours: {session.hint(f'resume {run.id} --on NAME')}")
            return Another(up.rejoin(cloud, there, session.say))
        if there is not None and now.word == "lost" and not now.silent:  # it is there, and was said not to be
            raise CloudError(f"AWS does not say the same of {there.id} twice", "run the same command again")
        old = Ec2(cloud).by_id(last.instance) if last else None
        left = last is not None and _make_way(session, run, now, name, old)
        wish = requirements(run, name, last.zone if last else "", order, _own(run, old, order))
        again = Session(cloud, settings_again(session, run, last, order), session.say)
        return Another(rent.launch(again, wish)[1], rented=True, old=old if left else None)


def _own(run: Run, old: Instance | None, order: Order) -> bool:
    if order.own_run is not None:
        return order.own_run
    return old.record.own_run if old else run.manifest.settings.own_machine


def _make_way(session: Session, run: Run, now: Standing, name: str, old: Instance | None) -> bool:
    """End what is left of the old machine; True where it is left to AWS, which is about to end it at no cost.

    Somebody else's is waited for, and not ended.
    """
    assert now.attempt is not None
    if old is not None and whose.others(old.owner):  # theirs to end; its name is free when AWS has taken it
        if old.alive:
            wait_ended(session, old)
        return False
    if old is not None and old.alive:
        if now.noticed and _is_free(old):
            if not any(volume.keep for volume in run.manifest.settings.volumes):
                session.say(f"{old.id} is left to AWS, which charges nothing for it if it ends it in its first hour")
                return True
            wait_ended(session, old)  # a disk that is kept has to be free
        elif not now.silent:
            _wait_for_others(session, old)
    down.end_old(session.cloud, name, now.attempt.instance, session.say, now.attempt.launch)
    return False


def _is_free(old: Instance) -> bool:
    """Whether AWS charges nothing for the machine, should it take it now."""
    return old.market == "spot" and datetime.now(timezone.utc) - old.launched < cost.FREE_FIRST


def wait_ended(session: Session, old: Instance, clock: Clock | None = None) -> None:
    """Wait until AWS has ended the machine, of which it gave notice; not longer than such a notice lasts."""
    clock = clock or Clock()
    until = clock.now() + _GOING_S
    while clock.now() < until:
        with contextlib.suppress(*PASSING):
            now = Ec2(session.cloud).by_id(old.id)
            if now is None or not now.alive:
                return
        clock.sleep(2.0)


def clear_old(session: Session, old: Instance, clock: Clock | None = None) -> None:
    """End what belongs to a machine that was left to AWS, once that has ended it; at once after Ctrl-C.

    What goes wrong is said: the run, which goes on elsewhere, is not ended for it.
    """
    try:
        wait_ended(session, old, clock)
    finally:
        end_rest(session, old.name, old.id, old.launch)


@contextmanager
def nothing_left(session: Session, now: Standing) -> Iterator[None]:
    """Where going on ends in an error or Ctrl-C, what belongs to a machine that was left to AWS is ended at once."""
    try:
        yield
    except BaseException:
        if now.noticed and now.attempt is not None:
            end_rest(session, now.attempt.name, now.attempt.instance, now.attempt.launch)
        raise


def end_rest(session: Session, name: str, id: str, launch: str) -> None:
    """End at once what is left of a machine. What goes wrong is said."""
    try:
        down.end_old(session.cloud, name, id, session.say, launch)
    except ProvisionError as error:
        session.say(f"{error.what}; what is left of {id} ends by itself at its deadline")


def requirements(run: Run, name: str, avoid: str, order: Order | None = None, own: bool = False) -> Requirements:
    """The requirements of the run's first machine, but for what `order` says. `avoid`: the zone that just took one."""
    manifest, target = run.manifest, image.target_of(run.manifest.stack)
    kept, asked = manifest.settings.wish, dict(order.wish) if order else {}
    on_gpus = target.name if manifest.gpus and target.variant.cuda else ""
    kind = kept.type or ("" if kept.gpus or kept.gpu_memory_gb else manifest.type)
    wish = Requirements(
        name, kind, manifest.market, avoid, kept.gpus, kept.gpu_memory_gb, kept.or_equivalent,
        manifest.settings.volumes, on_gpus, own,
    )  # fmt: skip
    if asked.get("type"):  # a type, or GPUs by number and memory: what is asked for now goes before
        wish = replace(wish, gpus=0, gpu_memory_gb=0.0)
    elif asked.get("gpu_memory_gb"):
        wish = replace(wish, type="", or_equivalent=False, gpus=max(1, manifest.gpus))
    return replace(wish, **asked)


def settings_again(session: Session, run: Run, last: Attempt | None, order: Order | None = None) -> Settings:
    """The settings by which the first machine was asked for, with what is left of its budget; and what `order` says.

    RunError where nothing is left of it, and `order` gives no other.
    """
    kept, asked = run.manifest.settings, dict(order.settings) if order else {}
    left = None if "budget" in asked else _budget_left(session, run, last)
    same = {key: value for key in _KEPT if (value := getattr(kept, key)) is not None}
    same |= {"disk_gb": kept.disk_gb, "max_hours": kept.max_hours, "max_price": kept.max_price}
    same |= {"budget": session.settings.budget if left is None else left}
    return msgspec.structs.replace(
        session.settings, **{**same, **asked}, region=session.cloud.region, more_regions=()
    )  # fmt: skip


def _budget_left(session: Session, run: Run, last: Attempt | None) -> float | None:
    """What the machine before this one left of its budget in US dollars; None where it had none.

    RunError where nothing is left. Where AWS does not tell what the machine cost, it counts as the most that it may
    have cost: an unknown price never leaves more of a budget. One that is left to AWS still costs until that ends it.
    """
    if last is None:
        return run.manifest.settings.budget
    bill = next((bill for bill in cost.bills(session.cloud, last.name) if bill.id == last.instance), None)
    whole, left = (bill.budget, bill.left) if bill else _left_by_record(run, last, datetime.now(timezone.utc))
    if whole is None:
        return None
    left = round((left or 0.0) - (_lives_on(bill, last) if bill else 0.0), 4)
    if left <= 0:
        known = "is spent" if bill and bill.total is not None else "may be spent: AWS does not tell what it has cost"
        raise RunError(
            f"the budget of {last.name}, ${whole:g}, {known}",
            f"give it another: {session.hint(f'resume {run.id} --budget USD')}",
        )
    return left


def _lives_on(bill: Bill, last: Attempt) -> float:
    """The most that a machine may still cost that AWS is about to end, in US dollars."""
    if bill.ended is not None:
        return 0.0
    known = [hourly for hourly in (bill.hourly, last.terms.hourly if last.terms else None) if hourly]
    return max(known, default=0.0) * _GOING_S / 3600.0


def _left_by_record(run: Run, last: Attempt, now: datetime) -> tuple[float | None, float | None]:
    """The budget of a machine that AWS does not know any more (an hour after its end), and what it left of it at least.

    Nobody that can be believed says when it ended: its guard's last word may be a lie, and its end may have been moved.
    So it has lived until now, but not for longer than its budget lasts.
    """
    if last.terms is None:  # an earlier version wrote it down
        return run.manifest.settings.budget, None
    terms = last.terms
    if terms.budget is None:
        return None, None
    return terms.budget, budget.left_at_least(terms.budget, terms.hourly, datetime.fromisoformat(terms.launched), now)


def _wait_for_others(session: Session, old: Instance) -> None:
    """The old machine may be ended at once only if no other training is still being saved there.

    HostError where others may still train on it when its time is over.
    """
    if not _others_train(session, old):
        return
    session.say(f"{old.name} is ending; other trainings there are still being saved")
    until = time.monotonic() + _GOING_S
    while time.monotonic() < until:
        now = Ec2(session.cloud).by_id(old.id)
        if now is None or not now.alive or not _others_train(session, old):
            return
        time.sleep(2.0)
    raise HostError(
        f"{old.name} is still there, and other trainings may still run on it",
        f"end it if they do not: {session.hint(f'down {old.name}')}; then resume",
    )


def _others_train(session: Session, instance: Instance) -> bool:
    """Whether other trainings may run on the machine; one that does not answer counts as busy."""
    try:
        with login.shell(session.cloud, instance) as shell, open_remote(shell) as engine:
            return bool(engine.containers("provision.run"))
    except ProvisionError:
        return True
