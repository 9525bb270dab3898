"""Begin a run that needs no laptop: bring all that its machines need to AWS, and start its keeper there.

Nothing is rented here: the keeper asks for the first machine, when all is in its place. What could be refused is
refused before the first write (`request_of`, `capsule.compose`). Whatever ends this early undoes what was made; a
client that is killed leaves nothing that is billed, and what it leaves carries tags: `audit` and `down` find it.
"""

import secrets
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

import msgspec

from infra import signals
from infra.aws import regions
from infra.aws.iam import Iam
from infra.aws.launch import Launcher
from infra.aws.s3 import S3
from infra.aws.scheduler import Scheduler, expression
from infra.aws.session import Cloud
from infra.aws.step_functions import Keeper
from infra.aws.tags import RUN, moved
from infra.aws.types import SpotRequest
from infra.docker_engine import open_local
from infra.errors import BusyError, ProvisionError, UsageError
from infra.keys import login_key
from provision import console, settings
from provision.clouds import Session
from provision.engines import capsule, definition, images_claim, images_s3, rights, telling
from provision.engines.capsule import Capsule
from provision.files import bundle
from provision.machines import down as ending
from provision.machines import host_keys, kept_bake, kept_launches, rent, user_data
from provision.offers import budget, plan
from provision.offers.requirements import Requirements
from provision.runs import copies, expiry, standing, uploads
from provision.runs.manifest import Keeping
from provision.runs.policy import policy
from provision.runs.store import Run, whoami

_BARREN = 5  # machines in a row that may bring no newer snapshot
_LONGEST_NAME = 80  # of an execution
_SHORTEST = timedelta(minutes=15)  # of the run's time: for less no machine is asked for
_SETTLES_H = 1 / 60  # IAM may take so long to tell EC2 of a fresh role: until then a machine is refused
_WORDS = "%Y-%m-%dT%H:%M:%S"


@dataclass(frozen=True)
class Order:
    """How a run is to be kept, beside what its manifest says: the number of its first attempt, and the snapshot from
    which that goes on (0: from nothing; `chosen`: though there are newer ones)."""

    number: int = 1
    resumed_from: int = 0
    chosen: bool = False


def request_of(session: Session, wish: Requirements) -> SpotRequest:
    """What will be asked for, in the session's region: the errors of `plan.plan`, and UsageError for what needs a
    laptop."""
    if wish.volumes:
        raise UsageError(
            "a kept disk (--volume) needs a laptop that mounts it, and a run without one has none",
            "leave out --volume, or --detach: an attached training may have it",
        )
    if session.settings.keep_on_error_minutes is not None:
        raise UsageError(
            "a machine that fails is not kept for a look where no laptop is attached", "leave out --keep-on-error"
        )
    chosen = session.settings
    if chosen.more_regions:
        session.say(f"only {session.cloud.region} is asked: the run's data is there")
    return plan.plan(session, wish)[0]


def begin(session: Session, run: Run, request: SpotRequest, order: Order) -> Keeping:
    """Bring it all to AWS and start the keeper; what was written down of that.

    UsageError and RunError for what cannot be kept (`capsule.compose`), BusyError where another one has just begun it;
    the errors of AWS. Whatever ends this early undoes what was made, the run's folder excepted.
    """
    _refuse_long(run)
    refuse_short(request)
    chosen = capsule.chosen_of(run.attempts()) + ([(order.number, order.resumed_from)] if order.chosen else [])
    capsule.compose(run, request.name, chosen)  # refuses what cannot be kept
    expiry.refuse_long_wait(run, run.manifest.settings.wait_hours * (2 if request.fallback else 1))
    if bakes := kept_bake.at_end(request, session.settings.bake):
        session.say(f"{bakes.words()}: --no-bake keeps it from that")
    with _undone(session, run, request) as began, images_claim.claimed(run.store, session.say) as claim:
        account = ready(session.cloud, run.store), Scheduler(session.cloud).prepare()
        with uploads.taken_back(run, _bring(session, run)):
            _rights(session.cloud, run, request)
            index = images_s3.vouched(run.store, run.manifest.digest)
            made = capsule.compose(run, request.name, chosen, index, capsule.sums_of(run))
            run.store.write(run.key(made.name), made.text)
            claim.check()
            return _start(session, run, request, order, made, account, began)


def ready(cloud: Cloud, place: S3) -> str:
    """The ARN of the account's state machine for keepers, which is made at first use; `place` is the bucket for runs.

    It comes before all that takes long: who may have no keeper hears of it before an image is built or sent. AuthError.
    """
    may = rights.document(cloud.region, place.owner, place.bucket)
    return Keeper(cloud).ensure(definition.text(cloud.region), may)


def _refuse_long(run: Run) -> None:
    if len(run.id) > _LONGEST_NAME - 5:
        raise UsageError(
            f"the run's id {run.id} is too long for a keeper: {len(run.id)} letters of {_LONGEST_NAME - 5}",
            "give the recipe's folder a shorter name",
        )


def refuse_short(request: SpotRequest) -> None:
    """UsageError for a run in whose time the keeper would ask for no machine."""
    now = datetime.now(timezone.utc)
    lasts = budget.ends_at(request, now) - now
    if lasts < 2 * _SHORTEST:
        least = 2 * _SHORTEST // timedelta(minutes=1)
        raise UsageError(
            f"the run would have {lasts / timedelta(minutes=1):.0f} minutes in all, and a keeper needs {least}: "
            f"it asks for no machine in the last {_SHORTEST // timedelta(minutes=1)}",
            "give a larger --max-hours or --budget, or leave out --detach",
        )


def _rights(cloud: Cloud, run: Run, request: SpotRequest) -> None:
    """The role of the launch and what it may. Not before all is brought, which may take hours: `audit` takes what is
    older than its grace, and has no keeper, for a stray. Until IAM has told EC2 of it the keeper asks again."""
    iam = Iam(cloud)
    iam.ensure_role(request.launch, {**request.record(datetime.now(timezone.utc)).marks(), RUN: run.id})
    iam.allow(request.launch, run.id, policy(run, kept=True))  # nobody logs in: not by Session Manager either


def _bring(session: Session, run: Run) -> tuple[str, ...]:
    """Image, data and code, and the host's files; the names of the copies that this made of data and code."""
    store, manifest = run.store, run.manifest
    if not capsule.is_pulled(manifest.image) and not images_s3.is_whole(store, manifest.digest):
        _bring_image(session, run)
    made = uploads.bring(run, session.say)
    bundle.bring(store)
    return made


def _bring_image(session: Session, run: Run) -> None:
    """This laptop's image; one that another laptop brought is taken by its id where this one has none."""
    manifest = run.manifest
    theirs = images_s3.is_there(run.store, manifest.digest) and not images_s3.vouched(run.store, manifest.digest)
    if theirs and not open_local().has_image(manifest.digest):
        return
    sent = images_s3.send(open_local(), run.store, manifest.image, manifest.digest)
    session.say(f"image {manifest.image}: {console.size(sent)} sent")


def _start(
    session: Session,
    run: Run,
    request: SpotRequest,
    order: Order,
    made: Capsule,
    account: tuple[str, Mapping[str, str]],
    began: Callable[[str], None],
) -> Keeping:
    """The group, the templates, and the keeper: `account` has its machine's ARN, and what all schedules have. The run's
    time counts from here."""
    cloud, now = session.cloud, datetime.now(timezone.utc)
    ends = budget.ends_at(request, now)
    request = replace(request, tags={**request.tags, **moved(ends), RUN: run.id})
    kept_launches.note(cloud, request.launch, ends)
    _, login = login_key(settings.home())
    bakes = kept_bake.at_end(request, session.settings.bake)
    data = user_data.render(request, ends, login, _order_of(run, made, bakes is not None))
    markets = Launcher(cloud).prepare(request, data)
    machine, schedules = account
    schedule = {"name": request.launch, "expression": expression(ends + budget.GRACE), **schedules}
    keeping, etag = _next(run, machine, request, order, now, ends)
    given = _input(run, request, order, now, ends, markets, schedule)
    given["bake"] = dict(kept_bake.given(bakes, request, run.id, ends))
    _write(run, keeping, etag)
    run.settle()  # from here on nobody else goes on with it
    copies.remove(run, but=keeping.copies)
    run.store.delete([run.key("control", "stop")])  # of an earlier end
    began(keeping.execution)
    Keeper(cloud).start(machine, keeping.name, given)
    return keeping


def _order_of(run: Run, made: Capsule, bakes: bool) -> dict[str, Any]:
    """What the machine's user data says of the run (infra/host/guard/order.py)."""
    cloud, store = run.store.cloud, run.store
    return {
        **host_keys.order(store, run.key("keys/")),
        "run": run.id, "prefix": run.prefix, "states": regions.endpoint(cloud, "states"), "capsule": made.digest,
        **({"bake": True} if bakes else {}),
    }  # fmt: skip


def _next(
    run: Run, machine: str, request: SpotRequest, order: Order, now: datetime, ends: datetime
) -> tuple[Keeping, str]:
    """The execution to start, and the mark of what is written down of the one before it ("": there was none).

    BusyError where that one goes on.
    """
    stored = run.store.head(run.key("keeper.json"))
    before = run.keeping() if stored else None
    if before is not None and standing.asked(run.store.cloud, before).works:
        raise busy(run, before)
    count = int(before.name.rpartition("-")[2]) + 1 if before else 1
    execution = f"{machine.replace(':stateMachine:', ':execution:')}:{run.id}-{count}"
    started = now.isoformat(timespec="seconds")
    kept = Keeping(
        execution, request.launch, order.number, started, ends.isoformat(), copies.names(run.manifest)
    )  # fmt: skip
    return kept, stored.etag if stored else ""


def _write(run: Run, keeping: Keeping, etag: str) -> None:
    """Write down who keeps the run. BusyError where somebody else has just done so."""
    key, data = run.key("keeper.json"), msgspec.json.encode(keeping)
    written = run.store.replace(key, data, etag) if etag else run.store.write_new(key, data)
    if not written:
        raise busy(run, run.keeping() or keeping)


def busy(run: Run, keeping: Keeping) -> BusyError:
    """The error that AWS keeps the run already."""
    hint = run.store.cloud.hint
    return BusyError(
        f"{run.id} is kept by AWS ({keeping.name}, since {keeping.started}): it goes on without a laptop",
        f"follow it: {hint(f'logs {run.id} -f')}; stop it: {hint(f'stop {run.id}')}",
    )


def _input(
    run: Run,
    request: SpotRequest,
    order: Order,
    now: datetime,
    ends: datetime,
    markets: Sequence[Mapping[str, Any]],
    schedule: Mapping[str, str],
) -> dict[str, Any]:
    """What the keeper is given (`definition`)."""
    manifest, kept = run.manifest, run.manifest.settings
    return {
        "run": run.id, "bucket": run.store.bucket, "prefix": run.prefix, "launch": request.launch,
        "name": request.name, "token": str(uuid.uuid4()), "number": order.number,
        "numbers": [f"{number:03d}" for number in range(order.number, order.number + definition.MOST_NUMBERS)],
        "made_by": f"{whoami()} {secrets.token_hex(4)}", "gpus": list(range(manifest.gpus)),
        "first": {"resumed_from": order.resumed_from, "chosen": order.chosen},
        "seconds": round((ends - now + budget.GRACE).total_seconds()),
        "until": f"{max(now, ends - _SHORTEST):{_WORDS}}Z",
        "schedule": dict(schedule), "hourly": _hourly(request), "budget": request.budget, "markets": list(markets),
        "waits": definition.waits(max(kept.wait_hours, _SETTLES_H)), "barren": _BARREN, "notify": kept.notify,
        "typed": telling.typed(run),
    }  # fmt: skip


def _hourly(request: SpotRequest) -> float | None:
    """The most that an hour costs, in US dollars; None where no price is known."""
    return None if request.dearest is None else round(budget.cost_per_hour(request), 6)


@contextmanager
def _undone(session: Session, run: Run, request: SpotRequest) -> Iterator[Callable[[str], None]]:
    """Undo what was made where the block ends early; it gives what is told of an execution that may have begun."""
    begun: list[str] = []
    try:
        yield begun.append
    except BaseException as error:
        session.say("stopping: ending what was begun")
        with signals.held():
            for execution in begun if not isinstance(error, BusyError) else ():  # one of that name is somebody else's
                _stop(session, run, execution)
            down = partial(ending.down, settle=ending.LATE_S) if begun else ending.down
            rent.undo(session.cloud, request.name, request.launch, session.say, down)
        raise


def _stop(session: Session, run: Run, execution: str) -> None:
    try:
        Keeper(session.cloud).stop(execution, "its start was broken off")
    except ProvisionError as error:
        stop = session.hint(f"stop {run.id}")
        session.say(f"{error.what}; the keeper of {run.id} may have begun, and rent machines: {stop}")
