"""The process that sees a run on this laptop to its end, so that the client may be killed.

It is the guard of one run: the same code that watches trainings on machines pushes log and snapshots, here to a folder.
It has the run's lock while it lives. Where it was killed, the next one finds the guard's notes and goes on: with a
container that trains still, or with what is left of one that ended meanwhile.
"""

import signal
import time
from dataclasses import dataclass
from typing import Any

import msgspec

from infra.errors import ProvisionError, RunError
from infra.host.guard import notes
from infra.host.guard import run as guard
from infra.host.guard.host import words_of
from provision import console
from provision.engines.here import begin, place
from provision.engines.here.bucket import Bucket
from provision.runs.store import AnyRun

_TURN_S = 1.0
_MORE_S = 5.0  # than the recipe gives, until a training is killed that was told to save and end
REFUSED = "refused.json"  # below control/: why an attempt could not begin
RESTARTED = "this laptop was restarted"
BROKEN_OFF = "its start was broken off"
ENDING = "power-off"


class Refused(msgspec.Struct, frozen=True):
    """An error for whoever asked for an attempt: its kind by the exit code, what happened and the mend."""

    code: int
    what: str
    mend: str


def stop_key(run: AnyRun, number: int) -> str:
    """The object that asks this attempt to save and end."""
    return run.key("control", f"stop-{number:03d}")


def main(run_id: str, made_by: str, at: int | None) -> int:
    """See the run to its end; with `made_by`, begin an attempt of it first. The exit code of what was refused."""
    run = AnyRun(place.store(), run_id)
    ending = Ending()
    with place.held(run_id) as mine:
        if not mine:
            return 0  # somebody sees to it already
        try:
            if settled(run, ending) and made_by and not ending.asked:
                begin.begin(run, at, made_by)
                watch(run, ending)
        except ProvisionError as error:
            refused = Refused(error.exit_code, error.what, error.mend)
            run.store.write(run.key("control", REFUSED), msgspec.json.encode(refused))
            console.line(str(error))
            return error.exit_code
    return 0


@dataclass
class Ending:
    """Whether this process was asked to end: then the training saves its work, as at the end of a machine."""

    asked: bool = False

    def __post_init__(self) -> None:
        signal.signal(signal.SIGIO, signal.SIG_IGN)  # comes where a file is opened while the guard asks who writes it
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        self.asked = True


def settled(run: AnyRun, ending: Ending) -> bool:
    """Finish with an attempt whose process was killed; whether another one may begin then."""
    if not (place.work() / "guard" / run.id / "plan.json").is_file():
        begin.clear(run.id)
        return True
    trained = watch(run, ending)
    if run.state().state == "finished":
        raise RunError(f"{run.id} has finished meanwhile", f"its results: {run.store.hint(f'fetch {run.id}')}")
    return not trained


def watch(run: AnyRun, ending: Ending) -> bool:
    """Push what the attempt brings until its container has ended, and clear up; whether it still trained at first."""
    one = Watched(run)
    trains = one.look()
    while not one.guard.done:
        try:
            one.turn(ending.asked)
        except Exception as error:  # who dies saves nothing; a full disk may get room
            console.line(f"{run.id}: {type(error).__name__}: {error} (tried again)")
        if not one.guard.done:
            time.sleep(_TURN_S)
    words_of(["docker", "rm", "-f", "-v", one.guard.plan["container"]])  # type: ignore[no-untyped-call]
    begin.clear(run.id)
    return trains


class Watched:
    """An attempt that is watched: its guard, and whether it was told to end."""

    def __init__(self, run: AnyRun) -> None:
        self.run = run
        self.guard: Any = guard.Run(run.id, None, bucket=Bucket(place.store()))  # type: ignore[no-untyped-call]
        self._until: float | None = None

    def look(self) -> bool:
        """Whether its container trains. One that did not start, or ended with the laptop, has not failed."""
        status = self.guard.container()[0]
        why = ""
        if status in ("gone", "created") and self.guard.memory["state"] is None:
            why, self.guard.began = BROKEN_OFF, float("-inf")
        elif status == "exited" and self.guard.plan.get("boot") != begin.boot_id():
            why = RESTARTED
        if why and not self.guard.told:
            self.guard.remember(told=why, signalled=True)
        return bool(status in ("running", "paused", "unknown"))

    def turn(self, ending: bool) -> None:
        """Look once: what somebody asks for, and what is new."""
        if ending and not self.guard.ending:
            self.guard.hurry(ENDING, self._patience())
            self._until = self.guard.bucket.last
        elif not self.guard.ending and self._stop_asked():
            self._tell()
        if self._until is not None and time.monotonic() > self._until:
            self._signal("SIGKILL")
        self.guard.turn()
        self.guard.beat()

    def _patience(self) -> float:
        return time.monotonic() + float(self.guard.plan["stop"]["timeout"]) + _MORE_S

    def _stop_asked(self) -> bool:
        return self.run.store.head(stop_key(self.run, self.guard.plan["attempt"])) is not None

    def _tell(self) -> None:
        """The recipe's signal, once; who does not obey is killed after the time that the recipe gives."""
        if self._until is None:
            notes.stop(self.run.id)  # type: ignore[no-untyped-call]
            self._until = self._patience()
        if not self.guard.memory.get("asked") and self._signal(self.guard.plan["stop"]["signal"]):
            self.guard.remember(asked=True)

    def _signal(self, name: str) -> bool:
        code, _ = words_of(["docker", "kill", "-s", name, self.guard.plan["container"]])  # type: ignore[no-untyped-call]
        return bool(code == 0)


def arguments(words: list[str]) -> tuple[str, str, int | None]:
    """The run, who begins an attempt ("": nobody), and from which snapshot: of `RUN`, `RUN WHO` or `RUN WHO
    ITERATION`."""
    run_id, made_by, at = (*words, "", "")[:3]
    return run_id, made_by, int(at) if at else None
