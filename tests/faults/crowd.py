"""A worker of the sweep whose users come several at a time: three `up`s and two `down`s on one cloud, of one laptop.

Some of them meet a fault at a call that a seed chooses. What must hold, by the emulator's own state: at most one
instance of each name was ever launched; an `up` that says it is done has its machine, a `down` none; an `up` that
failed has none, unless AWS refused to the end and it says so; `audit`, on a laptop that knows nothing, lists what there
is; and after one `down --all` without faults nothing is left.
"""

import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.errors import NotFoundError
from tests.faults import clients
from tests.faults.kinds import LASTING, STEPS, UP, Call, Fault, Tried, kinds_for, step_of
from tests.faults.worker import Worker, words_of

UPS, DOWNS, FAULTS = 3, 2, 3


@dataclass(frozen=True)
class Round:
    """One time that all of them come; the seed tells what fails. `without`: an AWS operation that nobody does."""

    seed: int
    without: str = ""


class Crowd(Worker):
    """See the module's docstring."""

    def open(self) -> None:
        super().open()
        self.calls(STEPS[0])  # the first of a cloud makes what all share
        self.known = {step.name: self.calls(step) for step in STEPS[:2]}

    def attempt(self, asked: Any) -> list[Tried]:
        """Try one round; one outcome for each of its faults."""
        begun = time.monotonic()
        home = self.folder / f"{self.world.name}-round-{asked.seed}-{asked.without}"
        home.mkdir()
        names = {f"r{asked.seed}{number}": "down" if number < DOWNS else "up" for number in range(DOWNS + UPS)}
        tried = [Tried(fault, self.world.name) for fault in self._faults(asked, names)]
        try:
            tried[0].wrong += self._round(asked, names, tried, home)
        except Exception as error:
            tried[0].wrong.append(f"the sweep itself failed: {error!r}")
        for one in tried:
            one.seconds = (time.monotonic() - begun) / len(tried)
        self._tidy(home, bool(tried[0].wrong))
        return tried

    def _faults(self, asked: Round, names: Mapping[str, str]) -> list[Fault]:
        """A fault for some of them. Those of the whole cloud are no one's."""
        chosen = random.Random(asked.seed)
        found = []
        for name in sorted(chosen.sample(sorted(names), FAULTS)):
            call: Call = chosen.choice(self.known[names[name]])
            kind = chosen.choice([one for one in kinds_for(call) if one != "nowhere"])
            found.append(Fault(names[name], call, kind, asked.without, f"{name} {names[name]}"))
        return found

    def _round(self, asked: Round, names: Mapping[str, str], tried: list[Tried], home: Path) -> Iterator[str]:
        self._begin(names, home)
        self.world.ask("faults", [one.fault.rule() for one in tried])
        made = {
            f"{name} {step}": self._start(step_of(step).words, name, home, asked.without, True, f"{name} {step}")
            for name, step in names.items()
        }
        yield from self._see_through(made, {one.fault.client: one.fault for one in tried})
        for one, met in zip(tried, self.world.ask("faults"), strict=True):
            one.reached, one.code = bool(met), made[one.fault.client].code
        self.world.ask("faults", [])
        yield from self._judge(made, {one.fault.client: one.fault for one in tried})
        yield from self._audit(home, self.world.things())
        yield from self._end(home, asked.without)

    def _begin(self, names: Mapping[str, str], home: Path) -> None:
        """The machines that are to go down."""
        made = [self._start(UP, name, home) for name, step in names.items() if step == "down"]
        for one in made:
            if one.wait() != 0:
                raise RuntimeError(f"`up` without a fault: exit {one.code}\n{one.said}")

    def _see_through(self, made: Mapping[str, clients.Client], faults: Mapping[str, Fault]) -> Iterator[str]:
        """All to their ends; a client whose call waits gets its signal."""
        until = time.monotonic() + clients.WAIT_S
        while any(not one.ended() for one in made.values()):
            for call in self.world.ask("paused", {"seconds": 0.05}):
                who = call["client"]
                made[who].kill(faults[who].ends or 0)
                self.world.ask("release", {"client": who})
            if time.monotonic() > until:
                break
        for who, one in made.items():
            if not one.ended():
                one.kill()
                yield f"{who} hung\n{one.said[-2000:]}"

    def _judge(self, made: Mapping[str, clients.Client], faults: Mapping[str, Fault]) -> Iterator[str]:
        living, ever = self.world.instances(), self.world.named()
        for who, client in made.items():
            name, step = who.split()
            mine = ever.get(name, frozenset[str]())
            lives, said = len(mine & living), f"exit {client.code}\n{client.said[-2000:]}"
            if "Traceback (most recent call last)" in client.said:
                yield f"{who}: a traceback\n{client.said[-3000:]}"
            if len(mine) > 1:
                yield f"{who}: {len(mine)} instances were launched: {', '.join(sorted(mine))}"
            if client.code == 0 and lives != (step == "up"):
                yield f"{who} says it is done, and {lives} machines live: {said}"
            if lives and step == "up" and _ended_by_itself(client, faults.get(who)):
                yield f"{who} failed and left its machine: {said}"

    def _end(self, home: Path, without: str) -> Iterator[str]:
        client = self._start(("down", "--all"), "", home, without)
        if client.wait() not in (0, NotFoundError.exit_code):
            yield f"`down --all` without a fault: exit {client.code}\n{client.said[-2000:]}"
        if left := self.world.things():
            yield f"{words_of(left)} after `down --all`"


def _ended_by_itself(client: clients.Client, fault: Fault | None) -> bool:
    """Whether it failed and could clean up, and had to."""
    if not client.code or client.code < 0:
        return False
    return fault is None or fault.kind not in LASTING or "provision down" not in client.said
