"""A training that AWS keeps while this laptop looks on: what is said of it, what Ctrl-C means, and its end."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from infra import signals
from infra.errors import ProvisionError, UsageError
from provision import console
from provision.commands import kept_options
from provision.commands.paid import conclude

if TYPE_CHECKING:
    from infra.aws.types import SpotRequest
    from provision.clouds import Session
    from provision.runs.manifest import Keeping
    from provision.runs.store import Run

GRACE_S = 2.0  # in which a second Ctrl-C says that AWS is to go on


def check(session: "Session", terms: Mapping[str, Any], *, detach: bool, diagnose: bool) -> None:
    """UsageError for what a training that AWS keeps cannot have, with these terms; `detach`: nobody follows it."""
    from infra.aws import topics
    from provision.training import kept

    if terms["notify"]:
        topics.check(terms["notify"], session.cloud.region)
    if detach:
        kept.refuse_attached(session, diagnose)


def tell_alone(why: str, terms: Mapping[str, Any]) -> None:
    """Say that this laptop sees the training through, and why. UsageError where the terms are for a keeper."""
    kept_options.refuse_unkept(dict(terms), f"AWS cannot keep this training: {why}")
    console.line(f"this laptop sees it through, and has to stay on: {why}")


def tell(session: "Session", run: "Run", keeping: "Keeping") -> None:
    """Say where a training stands that AWS keeps, and what to do next."""
    console.say(f"run {run.id}")
    console.say(f"  AWS keeps it ({keeping.name}) and asks for a machine: this laptop is not needed any more")
    console.say(f"  it ends by {_ends(keeping)} at the latest, waiting for a machine included")
    console.say(f"  how it stands: {session.hint('runs')}; its time line: {session.hint(f'events {run.id}')}")
    console.say(f"  follow it: {session.hint(f'logs {run.id} -f')}")
    console.say(f"  stop it: {session.hint(f'stop {run.id}')}")


def _ends(keeping: "Keeping") -> str:
    from datetime import datetime

    from provision.machines.deadline import clock

    return clock(datetime.fromisoformat(keeping.ends))


def attend(
    session: "Session", run: "Run", keeping: "Keeping", request: "SpotRequest", *, as_json: bool = False
) -> None:
    """Follow the training, for which the request's machines are asked, to its end, and print how it ended and what to
    do next.

    The errors of `training.attended.follow`, and RunError where it failed.
    """
    from provision.offers import budget
    from provision.training import attended

    with ends_or_leaves(session, run):
        console.say(f"run {run.id}")
        console.line(f"  AWS keeps it ({keeping.name}); it ends by {_ends(keeping)} at the latest")
        console.line(f"  it costs {budget.price_of(request, request.now)}, its disk and its address not counted")
        console.line(
            "  Ctrl-C saves the work and stops paying; "
            f"Ctrl-C twice within {GRACE_S:g} s, or a closed lid, leaves it to AWS, which goes on without this laptop"
        )
        word = attended.follow(session, run)
    conclude(session, run, word, as_json)


@contextmanager
def ends_or_leaves(session: "Session", run: "Run", pause: Callable[[float], object] = time.sleep) -> Iterator[None]:
    """Ctrl-C and SIGTERM stop the run; Ctrl-C twice, a closed terminal, or an error of this laptop's leave it to AWS.
    One line says which of both."""
    try:
        yield
    except KeyboardInterrupt as end:
        if _leaves(end, pause):
            console.line(_left(session, run))
        else:
            _stop(session, run)
        raise
    except ProvisionError:  # it is over, or the error itself says how it stands
        raise
    except Exception:
        console.line(_left(session, run))
        raise


def _leaves(end: KeyboardInterrupt, pause: Callable[[float], object]) -> bool:
    """Whether it is to go on without this laptop: the terminal is gone, or Ctrl-C came twice."""
    if isinstance(end, signals.Told):
        return end.number == signals.HUNG_UP
    if isinstance(end.__context__, KeyboardInterrupt):  # the second came while the first was on its way here
        return True
    try:
        console.line(f"\nstopping it in {GRACE_S:g} s; Ctrl-C again: AWS goes on with it")
        pause(GRACE_S)
    except KeyboardInterrupt:
        return True
    return False


def _left(session: "Session", run: "Run") -> str:
    follow, stop = session.hint(f"logs {run.id} -f"), session.hint(f"stop {run.id}")
    return f"AWS goes on with {run.id} without this laptop; follow it: {follow}; stop it: {stop}"


def _stop(session: "Session", run: "Run") -> None:
    from provision.training import attended

    console.line("saving the work of the training, then stopping it")
    again = session.hint(f"stop {run.id}")
    try:
        word = attended.stop(session, run)
    except ProvisionError as error:
        console.line(f"{error}\n  {run.id} may go on, and cost; stop it: {again}")
    except KeyboardInterrupt:
        console.line(f"{run.id} was not stopped to the end; do it: {again}")
        raise
    else:
        next_one = session.hint(f"fetch {run.id}" if word == "finished" else f"resume {run.id}")
        console.line(f"{run.id} is {word}, and no machine of it is paid for; next: {next_one}")


def terms_of(given: dict[str, Any]) -> dict[str, Any]:
    """What the options say of a keeper, which are taken out of `given`."""
    return {key: given.pop(key) for key in kept_options.KEPT}


def refuse_alone(name: str | None, given: dict[str, Any], alone: bool, detach: bool) -> None:
    """UsageError for what a keeper alone does, where a machine is there already or --no-keeper is given."""
    if name:
        kept_options.refuse_unkept(given, f"no keeper has {name}")
    if name and alone:
        raise UsageError(
            f"--no-keeper is for a machine that is rented, and {name} is there already",
            "leave out --no-keeper, or --on",
        )
    if alone:
        kept_options.refuse_unkept(given, "--no-keeper leaves the training to this laptop")
    if alone and detach:
        raise UsageError(
            "--no-keeper needs a laptop that stays, and --detach is for none", "leave out --no-keeper, or --detach"
        )
