"""Try the promises one after the other, and end all that was begun, whatever happens."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from infra import signals
from infra.errors import AuthError, NotFoundError, ProvisionError
from provision.engines import stop as engines
from provision.machines import down as ending
from provision.machines import rent
from provision.proving.promise import (
    BROKEN,
    HOLDS,
    LEFT_OUT,
    UNPROVEN,
    BrokenError,
    LeftOutError,
    Promise,
    Report,
    Trial,
    Verdict,
    Word,
)
from provision.runs import expiry, standing

Told = Callable[[Verdict], None]
End = Callable[[Trial], list[str]]


def prove(trial: Trial, table: Sequence[Promise], quick: bool, told: Told, end: "End | None" = None) -> Report:
    """Try all of them; what came of it. `told` gets each verdict at once.

    A promise that does not hold keeps no other from being tried. Those that cost something stop where the next one
    might go beyond the trial's dollars. All that was begun is ended in any case, also where the block ends by Ctrl-C,
    which goes on as Ctrl-C.
    """
    verdicts: list[Verdict] = []
    with _ended(trial, end or end_all) as left:
        over = False
        for promise in table:
            verdict, over = _judged(trial, promise, quick, over)
            verdicts.append(verdict)
            told(verdict)
    return Report(verdicts, _spent(trial), left)


def _judged(trial: Trial, promise: Promise, quick: bool, over: bool) -> tuple[Verdict, bool]:
    """The verdict on one promise, and whether the budget is over from now on."""
    if quick and promise.slow:
        return Verdict(promise, LEFT_OUT, "it takes minutes, and --quick was given"), over
    costs = promise.costs(trial.hourly)
    if costs:
        try:
            over = over or trial.spent() + costs > trial.dollars
        except ProvisionError as error:
            return Verdict(promise, LEFT_OUT, f"what was spent is not known: {error.what}"), over
    if costs and over:
        return Verdict(promise, LEFT_OUT, f"it might cost ${costs:.2f}, and the budget would not last"), True
    begun = time.monotonic()
    word, found = _tried(trial, promise)
    trial.look = trial.look or word in (BROKEN, UNPROVEN)
    return Verdict(promise, word, found, time.monotonic() - begun), over


def _tried(trial: Trial, promise: Promise) -> tuple[Word, str]:
    try:
        return HOLDS, promise.attempt(trial)
    except BrokenError as error:
        return BROKEN, error.what
    except LeftOutError as error:
        return LEFT_OUT, error.what
    except AuthError as error:
        return UNPROVEN, f"{error.what}; {trial.session.hint('iam-policy --prove')} prints what a trial takes besides"
    except ProvisionError as error:
        return UNPROVEN, error.what


def _spent(trial: Trial) -> float:
    with contextlib.suppress(ProvisionError):
        return trial.spent()
    return trial.dollars


@contextlib.contextmanager
def _ended(trial: Trial, end: End) -> Iterator[list[str]]:
    """End all that was begun when the block is left, however that is; what could not be ended is in the list, and said
    at once."""
    left: list[str] = []
    try:
        yield left
    finally:
        with signals.held():
            left += end(trial)
            for line in left:
                trial.session.say(f"NOT ENDED: {line}")


def end_all(trial: Trial) -> list[str]:
    """End the keeper, the machines and all that belongs to them, and prove them gone; delete the runs, but where
    something did not hold. What could not be ended, each with the command that does it."""
    left = _halted(trial)
    for name in trial.names:
        down = partial(ending.down, settle=ending.LATE_S if trial.keeping else 0.0)
        if not _gone(trial, name) and not rent.undo(trial.cloud, name, "", trial.session.say, down):
            left.append(f"{name} may be billed until its deadline: {trial.cloud.hint(f'down {name} --force')}")
    for run in trial.runs:
        if left or trial.look:
            look, remove = trial.cloud.hint(f"events {run.id}"), trial.cloud.hint(f"rm {run.id}")
            trial.session.say(f"{run.id} stays in S3 for a look ({look}); delete it: {remove}")
            continue
        try:
            expiry.delete(run, run.store.objects(run.prefix))
        except ProvisionError as error:
            left.append(f"{run.id} is in S3 ({error.what}): {trial.cloud.hint(f'rm {run.id}')}")
    return left


def _gone(trial: Trial, name: str) -> bool:
    """Whether there is nothing of that name, so that nothing has to be ended."""
    try:
        return not any(ending.everything(trial.cloud, name).values())
    except NotFoundError:
        return True
    except ProvisionError:
        return False


def _halted(trial: Trial) -> list[str]:
    """Stop the keeper first, or it would ask for other machines."""
    if trial.kept is None:
        return []
    try:
        keeper = standing.keeper_of(trial.cloud, trial.kept)
        if keeper is not None and keeper.works:
            engines.halt(trial.cloud, trial.kept, keeper, trial.session.say)
    except ProvisionError as error:
        stop = trial.cloud.hint(f"stop {trial.kept.id}")
        return [f"the keeper of {trial.kept.id} may rent machines ({error.what}): {stop}"]
    return []
