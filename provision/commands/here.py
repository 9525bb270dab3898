"""`train --on here`, `resume` and `stop` of such runs: a training on this laptop's own Docker engine."""

import time
from typing import TYPE_CHECKING, Any

from infra import signals
from infra.errors import BusyError, ProvisionError, UsageError
from provision import console
from provision.commands import going_on, train_plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provision.runs.manifest import Word
    from provision.runs.store import AnyRun
    from provision.runs.table import Seen
    from provision.settings import Settings
    from provision.training.request import TrainRequest

NAME = "here"
_BUSY_S = 10.0  # seconds between two looks for free GPUs


def train(
    chosen: "Settings", request: "TrainRequest", *, detach: bool, wait: bool, dry_run: bool, as_json: bool
) -> None:
    """Start a training here, and follow it unless `detach`."""
    from provision.training import here
    from provision.training.request import refuse_unaccepted

    plan = here.plan(request)
    if dry_run:
        train_plan.show(plan, None, dry_run=True, as_json=as_json)
        return
    refuse_unaccepted(plan)
    train_plan.show(plan, None, dry_run=False)
    run = here.create(plan, chosen)
    try:
        _begin(run, None, wait)
    except BaseException:
        with signals.held():
            _undo(run)
        raise
    console.say(f"run {run.id}") if not as_json else None
    if detach:
        _tell_begun(run, as_json)
    else:
        _follow(run, request.diagnose, as_json)


def resume(
    run: "AnyRun", at: int | None, data: str | None, project: str | None, *, detach: bool, dry_run: bool
) -> None:
    """Go on with a run of this laptop, here."""
    from provision.training import here

    now = here.ready(run, at)
    going_on.tell(run, now, at, dry_run)
    if dry_run:
        return
    here.give(run, data, project)
    _begin(run, at, wait=False)
    if detach:
        _tell_begun(run, as_json=False)
    else:
        _follow(run, run.manifest.settings.diagnose, as_json=False)


def stop(run: "AnyRun", dry_run: bool) -> None:
    """Stop a run of this laptop."""
    from provision.engines.here.engine import Here

    signal = run.manifest.recipe.stop.signal
    if dry_run:
        console.say(f"would send {signal} to {run.id} and wait until its work is saved")
        return
    console.say(f"{run.id} is {Here().stop(run)}; go on with it: {run.store.hint(f'resume {run.id}')}")


def seen() -> "list[Seen]":
    """All runs of this laptop, for the table."""
    from provision.engines.here import place

    return [_look(run) for run in place.all_runs()]


def named(run_ids: "Sequence[str]") -> "tuple[list[Seen], list[str]]":
    """Those of these runs that are this laptop's, to be deleted, and the other names. RunError where one goes on."""
    from provision.engines.here import place
    from provision.runs import removal

    mine = {name: run for name in dict.fromkeys(run_ids) if (run := place.find(name)) is not None}
    found = [_look(run) for run in mine.values()]
    for one in found:
        removal.refuse_training(one)
    return found, [name for name in run_ids if name not in mine]


def _look(run: "AnyRun") -> "Seen":
    from provision.engines.here.engine import Here
    from provision.runs.standing import Standing
    from provision.runs.table import Seen, elsewhere

    try:
        return elsewhere(run, Here().state(run))
    except ProvisionError as error:
        console.line(str(error))
        return Seen(run, run.store.objects(run.prefix), Standing(), str(error))


def refuse_elsewhere(name: str | None, given: dict[str, Any]) -> None:
    """UsageError where a run of this laptop is to go on elsewhere."""
    from provision.commands import options

    options.refuse_unused(NAME, given)
    if name not in (None, NAME):
        raise UsageError(f"the run lies on this laptop, and {name} cannot reach it", "leave out --on")


def _begin(run: "AnyRun", at: int | None, wait: bool) -> None:
    """Begin the next attempt; with `wait`, as soon as enough GPUs are free. BusyError without."""
    from provision.training import here

    while True:
        try:
            here.start(run, at, console.line)
            return
        except KeyboardInterrupt:
            if run.attempt_keys():
                _stop(run)
            raise
        except BusyError as error:
            if not wait:
                raise
            console.line(f"{error.what}; waiting")
            time.sleep(_BUSY_S)


def _undo(run: "AnyRun") -> None:
    """End what has begun of a run whose start was broken off, and delete it."""
    from provision.engines.here import place

    if place.is_held(run.id):
        console.line("stopping: ending what was begun")
        _stop(run)
    if not place.is_held(run.id):
        forget([run])


def _stop(run: "AnyRun") -> None:
    from provision.engines.here.engine import Here

    try:
        console.line(f"{run.id} is {Here().stop(run)}: {run.store.hint(f'resume {run.id}')}")
    except ProvisionError as error:
        console.line(str(error))


def forget(runs: "Sequence[AnyRun]") -> None:
    """Delete runs of this laptop, with all that is left of them."""
    from provision.engines.here import place
    from provision.runs import expiry

    for run in runs:
        expiry.delete(run, run.store.objects(run.prefix))
        place.forget(run.id)


def _tell_begun(run: "AnyRun", as_json: bool) -> None:
    hint = run.store.hint
    if as_json:
        console.emit_json({"run": run.id, "machine": NAME})
        return
    console.say(f"{run.id} trains on this laptop, and goes on while it is switched on")
    console.say(f"  follow it: {hint(f'logs {run.id} -f')}; stop it: {hint(f'stop {run.id}')}")


def _follow(run: "AnyRun", diagnose: bool, as_json: bool) -> None:
    """Follow the training to its end. Ctrl-C saves the work and stops it; where this is killed it goes on."""
    from provision.engines.here.engine import Here
    from provision.runs.report import Follower

    engine = Here()
    number = run.next_number() - 1
    follower = Follower((lambda: engine.ask_to_stop(run, number)) if diagnose else None)
    try:
        word = follower.follow(None, run, engine.state)
    except KeyboardInterrupt:
        console.line("saving the work of the training, then stopping it")
        _stop(run)
        raise
    engine.settle(run)
    conclude(run, word, as_json)


def conclude(run: "AnyRun", word: "Word", as_json: bool) -> None:
    """Print how the training ended and what to do next. RunError where it failed."""
    import msgspec

    from provision.runs import report, summary

    found, hint = summary.of(run), run.store.hint
    if as_json:
        console.emit_json(msgspec.structs.asdict(found))
    else:
        console.say(f"{run.id} {word}: {found.words}")
        for trouble in found.troubles:
            console.say(f"  {trouble}; what helps: {hint(f'diagnose {run.id}')}")
    if word == "failed" or found.diverged:
        raise report.failure(run)
    if not as_json:
        again = word in ("interrupted", "stopped", "lost")
        console.say(f"  next: {hint(f'resume {run.id}' if again else f'fetch {run.id}')}")
