"""What is paid for while `train` and `resume` see a training through, and its end."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from infra.errors import LeftoverError, ProvisionError, UnheardError
from provision import console

if TYPE_CHECKING:
    from infra.aws.types import Instance
    from provision.clouds import Session
    from provision.runs.manifest import Word
    from provision.runs.store import Run
    from provision.training.recover import Another, Order


@dataclass
class Paid:
    """The machine that a training is on now. `own`: it was rented for this, and ends with it; `run`: as soon as it is
    made."""

    session: "Session"
    instance: "Instance"
    own: bool
    run: "Run | None" = None

    def moved(self, another: "Another") -> None:
        """The training goes on on another machine. One that was there already, for other work, is not ours to end."""
        self.instance = another.instance
        self.own = self.own and (another.rented or another.instance.record.own_run)

    def billed(self) -> str:
        name = self.instance.name
        if self.own:
            ends = f"{name} powers off by itself after the training"
            return f"{ends}; until then it is billed; end it now: {self.session.hint(f'down {name}')}"
        return f"{name} still runs and is billed; end it: {self.session.hint(f'down {name}')}"

    def undo(self) -> bool:
        """End a machine that was rented for the training; True if it has ended."""
        from provision.machines import rent

        return rent.undo(self.session.cloud, self.instance.name, self.instance.launch, console.line)


@contextmanager
def stops_paying(paid: Paid) -> Iterator[None]:
    """Ctrl-C saves and stops the training; an error or Ctrl-C ends a machine that was rented for it.

    Not so where only this laptop hears nothing of the training: that may go on.
    """
    try:
        yield
    except UnheardError:
        console.line(paid.billed())
        raise
    except BaseException as error:
        try:
            if paid.run is not None and isinstance(error, KeyboardInterrupt):
                _save(paid.session, paid.run)
        finally:
            if paid.own:
                paid.undo()
            else:
                console.line(paid.billed())
        raise


def _save(session: "Session", run: "Run") -> None:
    from provision.training.stop import stop

    console.line("saving the work of the training, then stopping it")
    try:
        console.line(f"{run.id} is {stop(session, run)}: {session.hint(f'resume {run.id}')}")
    except ProvisionError as error:
        console.line(str(error))


def see_through(paid: Paid, order: "Order | None" = None) -> "Word":
    """See the training through to its end, with the errors of `training.through`.

    A budget in the order is that of one machine: the next one gets what that has left.
    """
    from provision.training.recover import Order
    from provision.training.through import see_through as follow_and_replace

    assert paid.run is not None
    order = order or Order()
    later = {key: value for key, value in order.settings.items() if key != "budget"}
    order = replace(order, settings=later, own_run=paid.own)
    return follow_and_replace(paid.session, paid.run, paid.moved, order)


def finish(paid: Paid, word: "Word", *, as_json: bool = False) -> None:
    """End what was rented, and print how the training ended and what to do next.

    RunError where it failed; LeftoverError where its machine has not ended.
    """
    ended = paid.undo() if paid.own else True
    if not paid.own:
        console.line(paid.billed())
    assert paid.run is not None
    conclude(paid.session, paid.run, word, as_json)
    if not ended:
        raise LeftoverError(f"{paid.instance.name} has not ended", paid.session.hint(f"down {paid.instance.name}"))


def conclude(session: "Session", run: "Run", word: "Word", as_json: bool) -> None:
    """Print how the training ended and what to do next. RunError where it failed."""
    import msgspec

    from provision.runs import report, summary

    found = summary.of(run)
    if as_json:
        console.emit_json(msgspec.structs.asdict(found))
    else:
        console.say(f"{run.id} {word}: {found.words}")
        for trouble in found.troubles:
            console.say(f"  {trouble}; what helps: {session.hint(f'diagnose {run.id}')}")
    if word == "failed" or found.diverged:
        raise report.failure(run)
    if not as_json:
        console.say(f"  next: {session.hint(f'fetch {run.id}')}")
