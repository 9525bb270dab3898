"""Start or go on with a training that AWS keeps: from a plan, or from a run, to all that `engines.begin` is given."""

import contextlib
from dataclasses import dataclass, replace

import msgspec

from infra import ecr_name
from infra.aws import ecr
from infra.aws.s3 import S3
from infra.aws.session import Cloud
from infra.aws.tags import TagRecord
from infra.aws.topics import topic
from infra.aws.types import SpotRequest
from infra.docker_engine import open_local
from infra.errors import AuthError, ProvisionError, RunError, UsageError
from provision.clouds import Session
from provision.engines import begin, capsule, images_s3, kept, telling
from provision.engines.begin import Order
from provision.hosts import image as images
from provision.machines import down, find
from provision.offers.requirements import Requirements
from provision.runs import expiry, standing, store
from provision.runs.manifest import Keeping, Manifest
from provision.runs.standing import Standing
from provision.runs.store import Run
from provision.training import recover, start
from provision.training.request import TrainPlan


@dataclass(frozen=True)
class Terms:
    """For how many hours its keeper may wait for a machine, and whom it tells how the run goes: an SNS topic's ARN, an
    e-mail address, the URL of a webhook, or "" for nobody. None: as the run was started."""

    wait_hours: float | None = None
    notify: str | None = None


def train(session: Session, plan: TrainPlan, request: SpotRequest, terms: Terms) -> tuple[Run, Keeping]:
    """Start the training of the plan, and leave it to its keeper, which asks for the request's machine.

    The errors of `begin.begin`. Where it ends early nothing of it is left.
    """
    _ready(session.cloud, store.store(session.cloud))
    image = _image(session, plan)
    kind, record = request.offers[0].type.name, TagRecord.from_tags(request.tags)
    manifest = start.manifest_of(session, plan, image, kind, request.market, record)
    capsule.refuse_unpinned(manifest)
    run = start.written(session, _agreed(session, manifest, terms))
    try:
        keeping = begin.begin(session, run, request, Order())
    except BaseException:
        with contextlib.suppress(ProvisionError):  # where AWS does not tell, it may have begun
            _forget(session, run)
        raise
    telling.say_who_waits(session, run.manifest.settings.notify, terms.notify or "")
    return run, keeping


def _image(session: Session, plan: TrainPlan) -> images.RunImage:
    """The plan's image: one of a registry by the digest that its name has there now, else this laptop's."""
    named = ecr_name.parse(plan.image)
    if named is None:
        return images.obtain(plan.stack)
    digest = ecr.digest(session.cloud, named)
    return images.RunImage(images.target_of(plan.stack), named.pinned(digest), digest)


def _ready(cloud: Cloud, place: S3) -> None:
    """What AWS needs for keepers is there. AuthError where these credentials may have none: a laptop alone may do."""
    try:
        begin.ready(cloud, place)
    except AuthError as error:
        if "iam-policy" not in error.mend:  # no credentials at all
            raise
        raise AuthError(
            error.what, f"{error.mend}; or let this laptop see it through: --no-keeper, without --detach"
        ) from error


def _forget(session: Session, run: Run) -> None:
    """Delete all of a run that was not begun. One whose keeper may have begun, and could not be stopped, stays: by its
    folder it is found, and stopped."""
    keeper = standing.keeper_of(session.cloud, run)
    if keeper is None or not keeper.works:
        expiry.delete(run, run.store.objects(run.prefix))


def refuse_attached(session: Session, diagnose: bool) -> None:
    """UsageError for what only somebody who follows the training can do."""
    if diagnose:
        raise UsageError(
            "--diagnose stops a training that has diverged, and with --detach nobody follows it",
            f"leave out one of them; why such a training failed: {session.hint('diagnose RUN')}",
        )


def _agreed(session: Session, manifest: Manifest, terms: Terms) -> Manifest:
    """The manifest with these terms; an address that is to be told gets its topic, whose ARN is all that is
    written down."""
    asked = {} if terms.wait_hours is None else {"wait_hours": terms.wait_hours}
    told: dict[str, str] = {}
    if terms.notify is not None:
        told["notify"] = topic(session.cloud, terms.notify) if terms.notify else ""
    return replace(manifest, settings=msgspec.structs.replace(manifest.settings, **asked, **told))


def again(session: Session, run: Run, now: Standing, order: recover.Order) -> tuple[Session, Requirements]:
    """What the run's next machine is asked for by: the settings, and the requirements. RunError where nothing is left
    of its budget."""
    name = now.attempt.name if now.attempt else run.manifest.name
    wish = recover.requirements(run, name, now.attempt.zone if now.attempt else "", order, True)
    asked = recover.settings_again(session, run, now.attempt, _with_budget(run, now, order))
    return Session(session.cloud, asked, session.say), wish


def resume(session: Session, run: Run, now: Standing, request: SpotRequest, at: int | None, terms: Terms) -> Keeping:
    """Go on with the run, from its newest snapshot or that of the iteration `at`, and leave it to a keeper, which asks
    for the request's machine; `session` is that of `again`.

    What is left of its old machine is ended first. The errors of `start.ready` and of `begin.begin`.
    """
    number = run.next_number()
    turn = start.turn(run, number, at)
    _ready(session.cloud, run.store)
    _find_image(run)
    run.intend(_agreed(session, run.manifest, terms))
    if now.attempt is not None and now.attempt.instance:
        down.end_old(session.cloud, request.name, now.attempt.instance, session.say, now.attempt.launch)
    newest = turn.snapshots[-1].iteration if turn.snapshots else 0
    keeping = begin.begin(session, run, request, Order(number, newest, turn.chosen))
    telling.say_who_waits(session, run.manifest.settings.notify, terms.notify or "")
    return keeping


def joins(session: Session, run: Run, now: Standing) -> bool:
    """Whether a machine of the run's name lives that no keeper launched: then the run goes on there, as it would with a
    laptop, and nothing is asked of a keeper. (Another's is refused there.)"""
    last = now.attempt
    there = find.namesake(session.cloud, last.name if last else run.manifest.name)
    if there is None or there.record.run:
        return False
    return not (now.broken_off and last is not None and there.id == last.instance)


def _with_budget(run: Run, now: Standing, order: recover.Order) -> recover.Order:
    """The order with what all machines of the last keeper have left of its budget: it is one for all of them.

    RunError where nothing is left of it, and the order gives no other.
    """
    keeping = run.keeping()
    own = [attempt for attempt in now.attempts if keeping is not None and attempt.launch == keeping.launch]
    if not own or "budget" in order.settings:
        return order
    whole = next((attempt.terms.budget for attempt in own if attempt.terms), run.manifest.settings.budget)
    if whole is None:
        return order
    spent = kept.spent(own, run.ends(), kept.bills_by_id(run.store.cloud))
    left = round(whole - spent, 4) if spent is not None else 0.0
    if left <= 0:
        raise RunError(
            f"the budget of {run.id}, ${whole:g}, is spent",
            f"give it another: {run.store.cloud.hint(f'resume {run.id} --budget USD')}",
        )
    return replace(order, settings={**order.settings, "budget": left})


def _find_image(run: Run) -> None:
    """The run's image is in the bucket, or on this laptop: as it was, or built again."""
    manifest = run.manifest
    if capsule.is_pulled(manifest.image) or images_s3.is_there(run.store, manifest.digest):
        return
    if not open_local().has_image(manifest.digest):
        image = images.obtain(manifest.stack)
        if image.digest != manifest.digest:
            run.use_image(image.tag, image.digest)
