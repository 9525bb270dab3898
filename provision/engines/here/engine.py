"""The engine `here`: what a client asks of runs on this laptop. The work is done by a process of its own (`runner`)."""

import os
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from infra import shell
from infra.errors import EngineError, ProvisionError, RunError
from infra.shell import LocalShell
from provision.engines import container
from provision.engines.engine import Order, Started
from provision.engines.here import place, runner
from provision.engines.here.runner import REFUSED, Refused
from provision.runs.manifest import GOING, RunState, Word
from provision.runs.standing import Standing
from provision.runs.store import AnyRun, number_of, taken, whoami

WORDS = "this laptop"
_LOOK_S = 0.2
_SETTLES_S = 60.0  # that an attempt may take to begin, or to end, while another one is asked for
_TOP = str(Path(__file__).parents[3])  # where this program's packages lie


class Here:
    """This laptop's own Docker engine."""

    def start(self, run: AnyRun, order: Order) -> Started:
        """Begin the next attempt in a process of its own, and wait until its container trains.

        RunError where the run goes on already; the errors of `here.begin`. Whoever is killed meanwhile leaves a run
        that goes on.
        """
        refuse_no_docker()
        self._refuse_going(run)
        before, made_by = run.attempt_keys(), f"{whoami()} {secrets.token_hex(4)}"
        run.store.delete([run.key("control", REFUSED)])
        pid = spawn(run.id, made_by, *([] if order.at is None else [str(order.at)]))
        while (keys := run.attempt_keys()) == before or run.state().attempt != number_of(keys[-1]):
            ended = shell.has_ended(pid) and not place.is_held(run.id)  # another process may begin in its place
            if ended and run.attempt_keys() == before:
                raise refusal(run)
            if ended:
                break
            time.sleep(_LOOK_S)
        newest = run.attempts()[-1]
        if newest.made_by != made_by:
            raise taken(run, newest)
        return Started(run.id, WORDS)

    def _refuse_going(self, run: AnyRun) -> None:
        """RunError where the run trains. What an attempt left behind that nobody saw to is waited for."""
        until = time.monotonic() + _SETTLES_S
        while (now := self.state(run)).goes_on and now.attempt is not None:
            if is_running(run, now.attempt.number) or time.monotonic() > until:
                raise taken(run, now.attempt)
            time.sleep(_LOOK_S)

    def state(self, run: AnyRun) -> Standing:
        """How the run stands. Where the process was killed that saw to its container, another one takes that over."""
        tended = place.is_held(run.id) or self._taken_over(run)
        state, attempts = run.state(), run.attempts()  # after the look: what it wrote before it ended is there
        if not attempts and not tended:
            return Standing(RunState(state="lost"))
        return Standing(state, attempts, silent=not tended)

    def stop(self, run: AnyRun) -> Word:
        """Let the training save its work and end; how the run stands then."""
        now, until = self.state(run), time.monotonic() + _SETTLES_S
        while (not now.goes_on or now.attempt is None) and place.is_held(run.id) and time.monotonic() < until:
            time.sleep(_LOOK_S)  # an attempt is being made ready
            now = self.state(run)
        if not now.goes_on or now.attempt is None:
            raise RunError(f"{run.id} does not run: it is {now.word}", _next(run, now.word))
        self.ask_to_stop(run, now.attempt.number)
        while (now := self.state(run)).goes_on:
            time.sleep(_LOOK_S)
        self.settle(run)
        return now.word

    def settle(self, run: AnyRun) -> None:
        """Wait until the process that saw to the run has cleared up, and is gone."""
        until = time.monotonic() + _SETTLES_S
        while place.is_held(run.id) and time.monotonic() < until:
            time.sleep(_LOOK_S)

    def ask_to_stop(self, run: AnyRun, number: int) -> None:
        """Ask the process that sees to that attempt to let it save and end."""
        run.store.write(runner.stop_key(run, number), b"")

    def _taken_over(self, run: AnyRun) -> bool:
        """Whether an attempt is left that nobody sees to: then a process is started that does."""
        if not (place.work() / "guard" / run.id / "plan.json").is_file():
            return False
        pid = spawn(run.id)
        while not place.is_held(run.id) and not shell.has_ended(pid):
            time.sleep(_LOOK_S / 10)
        return place.is_held(run.id)


def spawn(*words: str) -> int:
    """Start the process for a run; its pid."""
    path = os.pathsep.join(filter(None, (_TOP, os.environ.get("PYTHONPATH"))))
    known = {**place.environment(), "PYTHONPATH": path}
    return shell.spawn([sys.executable, "-m", __name__.rpartition(".")[0], *words], log=place.log(words[0]), env=known)


def refuse_no_docker() -> None:
    """EngineError where this laptop has no Docker that answers a command."""
    if not shell.have("docker"):
        raise EngineError("docker is not installed on this machine", "install it: Debian and Ubuntu call it docker.io")
    if not sys.platform.startswith("linux"):
        raise EngineError("--on here needs Linux", "train on a machine: --instance TYPE, or --on NAME")


def is_running(run: AnyRun, number: int) -> bool:
    """Whether the attempt's container runs."""
    words = ["docker", "inspect", "-f", "{{.State.Running}}", container.name(run.id, number)]
    return LocalShell().run(words, check=False).out.strip() == "true"


def refusal(run: AnyRun) -> ProvisionError:
    """Why no attempt began, as the process said it."""
    raw = run.store.read(run.key("control", REFUSED))
    if raw is None:
        end = place.log(run.id).read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
        return RunError(f"{run.id} could not begin on this laptop", "\n  ".join(end))
    said = msgspec.json.decode(raw, type=Refused)
    kinds: dict[int, Callable[..., ProvisionError]] = {kind.exit_code: kind for kind in _kinds(ProvisionError)}
    return kinds.get(said.code, RunError)(said.what, said.mend)


def _kinds(top: type[ProvisionError]) -> list[type[ProvisionError]]:
    return [kind for one in top.__subclasses__() for kind in (one, *_kinds(one))]


def _next(run: AnyRun, word: Word) -> str:
    if word in GOING:
        return f"how it stands: {run.store.hint('runs')}"
    if word in ("finished", "failed"):
        return f"its results: {run.store.hint(f'fetch {run.id}')}"
    return f"go on with it: {run.store.hint(f'resume {run.id}')}"
