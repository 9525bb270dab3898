"""A worker of the sweep: a cloud of its own, the clients that it forks, and the rules that must hold."""

import json
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from infra.errors import LeftoverError, NotFoundError
from localcloud.faults import ROLE_KEYS
from tests.faults import clients
from tests.faults.kinds import LASTING, NAME, Call, Step, Tried, step_of
from tests.faults.oracle import Things, World, environment

IMPATIENT = 5.0  # how much faster still clients' clocks run where they wait in vain
AUDIT = ("audit", "--grace", "0", "--json")


class Worker:
    """One process with a cloud of its own. It makes no threads: it forks the clients."""

    def __init__(self, world: World, folder: Path, fast: float) -> None:
        self.world, self.folder, self.fast = world, folder, fast
        self.count = 0
        self.cloud: Any = None

    def open(self) -> None:
        """Start the cloud; the clients' first question for it is answered once for all."""
        from provision import clouds, settings

        self.world.start()
        clouds.local = clients.once(clouds.local)
        self.cloud = clouds.resolve(settings.Settings(cloud=f"local:{self.world.name}"))

    def calls(self, step: Step) -> list[Call]:
        """The AWS calls of the step without a fault; RuntimeError where it fails or leaves something."""
        name, home = self._fresh(step)
        self._prepare(step, name, home)
        self.world.ask("calls", {"forget": True})
        self._good(step.words, name, home, step.cold)
        found = counted(self.world.ask("calls", {"forget": True}))
        clients.warm_clients(self.cloud, {call.service for call in found} - {"unknown"})
        if not step.ends:
            self._good(("down", NAME), name, home)
        if left := self.world.things():
            raise RuntimeError(f"{step.name} without a fault, and `down`, leave {words_of(left)}")
        return found

    def attempt(self, fault: Any) -> list[Tried]:
        """Try one fault."""
        step = step_of(fault.step)
        tried = Tried(fault, self.world.name)
        name, home = self._fresh(step)
        base = self.world.things()
        try:
            self._prepare(step, name, home)
            self._attempt(step, tried, name, home, base)
        except Exception as error:
            tried.wrong.append(f"the sweep itself failed: {error!r}")
        self._tidy(home, bool(tried.wrong))
        return [tried]

    def _attempt(self, step: Step, tried: Tried, name: str, home: Path, base: Things) -> None:
        known, there = self.world.launched(), self.world.instances() if step.keeps else frozenset()
        begun = time.monotonic()
        client = self._meet(step, tried, name, home)
        tried.code = client.code
        after = self.world.things()
        tried.wrong += _judge(step, tried, client, after, base, there)
        killed = tried.fault.kind.startswith("killed")
        if tried.fault.kind == "killed after":
            self.world.settle()
            tried.wrong += self._audit(home, self.world.things())
        if after - base or killed:
            tried.wrong += self._recover(name, home, tried.fault.without)
            left = self.world.things() - base
            tried.wrong += [f"{words_of(left)} after `down`"] if left else []
        more = self.world.launched() - known
        if len(more) > (0 if step.before else 1):
            tried.wrong.append(f"{len(more)} instances were launched: {', '.join(sorted(more))}")
        tried.seconds = time.monotonic() - begun

    def _meet(self, step: Step, tried: Tried, name: str, home: Path) -> clients.Client:
        """Run the step with its fault, to its end."""
        fault = tried.fault
        self.world.ask("faults", [fault.rule()])
        if fault.kind == "nowhere":
            self.world.ask("capacity", {"code": "InsufficientInstanceCapacity"})
        without = "" if fault.kind.startswith("killed") else fault.without
        client = self._start(step.words, name, home, without, step.cold)
        if fault.ends:
            self._end_at_pause(client, fault.ends)
        if client.wait() is None:
            tried.wrong.append(f"it hung\n{client.said[-2000:]}")
        tried.reached = any(self.world.ask("faults"))
        self.world.ask("faults", [])
        self.world.ask("capacity", {})
        return client

    def _end_at_pause(self, client: clients.Client, end: int) -> None:
        while not client.ended():
            if self.world.ask("paused", {"seconds": 0.05}):
                client.kill(end)
                self.world.ask("release", {})
                return

    def _audit(self, home: Path, there: Things) -> Iterator[str]:
        """Whether `audit` lists what is there, no more and no less, to one who knows nothing of it."""
        client = self._start(AUDIT, "", home / "stranger")
        if client.wait() not in (0, LeftoverError.exit_code):
            yield f"`audit`: exit {client.code}\n{client.said[-2000:]}"
            return
        listed, _ = json.JSONDecoder().raw_decode(client.said[client.said.index("{") :])
        found = {(one["kind"], one["label"]) for one in listed["findings"] if one["verdict"] != "kept"}
        known = [(kind, one) for kind, one in there if kind != "container"]
        wanted = {(f"{kind}es" if kind.endswith("s") else f"{kind}s", one) for kind, one in known}
        if found != wanted:
            yield f"`audit` lists {sorted(found - wanted)} that is not there, and not {sorted(wanted - found)} that is"

    def _recover(self, name: str, home: Path, without: str) -> Iterator[str]:
        """`down` without a fault: done, or there is nothing."""
        client = self._start(("down", NAME), name, home, without)
        if client.wait() not in (0, NotFoundError.exit_code):
            yield f"`down` without a fault: exit {client.code}\n{client.said[-2000:]}"

    def _fresh(self, step: Step) -> tuple[str, Path]:
        """A machine's name and a user's home, both new."""
        self.count += 1
        home = self.folder / f"{self.world.name}-{self.count}"
        home.mkdir()
        return f"f{self.count}", home

    def _prepare(self, step: Step, name: str, home: Path) -> None:
        for words in step.before:
            self._good(words, name, home)

    def _good(
        self, words: Sequence[str], name: str, home: Path, cold: bool = False, seconds: float = clients.WAIT_S
    ) -> None:
        client = self._start(words, name, home, cold=cold)
        if client.wait(seconds) != 0:
            raise RuntimeError(f"{' '.join(words)} without a fault: exit {client.code}\n{client.said}")

    def _start(
        self, words: Sequence[str], name: str, home: Path, without: str = "", cold: bool = False, named: str = ""
    ) -> clients.Client:
        cache = home / "cache" if cold else self.folder / f"{self.world.name}-cache"
        filled = [name if word == NAME else word for word in words]
        log = home / f"{time.monotonic_ns()}.log"
        log.parent.mkdir(exist_ok=True)
        fast = self.fast * (IMPATIENT if without else 1.0)
        return clients.start(filled, log, environment(home, self.world.name, cache), fast, without, named)

    def _tidy(self, home: Path, failed: bool) -> None:
        """Nothing of this fault may touch the next one."""
        self.world.ask("forget", {})
        if failed:
            self._start(("down", "--all"), "", home).wait()
        else:
            shutil.rmtree(home)


def _judge(
    step: Step, tried: Tried, client: clients.Client, now: Things, base: Things, there: frozenset[str]
) -> Iterator[str]:
    """Rules that hold when the command has ended, before any other. `there`: the machines before it."""
    living, old = ({one for kind, one in things if kind == "instance"} for things in (now, base))
    left, said = now - base, client.said
    if "Traceback (most recent call last)" in said:
        yield f"a traceback\n{said[-3000:]}"
    if step.keeps and living != there:
        yield f"the machine that was there is gone ({tried.code})\n{said[-2000:]}"
    if client.code == 0 and not step.ends and len(living - old) != 1:
        yield f"`{step.name}` says it is done, and {len(living - old)} machines live"
    if left and _promises(step, tried, said):
        yield f"{words_of(left)} after exit {client.code}\n{said[-2000:]}"


def _promises(step: Step, tried: Tried, said: str) -> bool:
    """Whether nothing may be left when the command has ended so."""
    if step.ends:
        return tried.code == 0
    if step.keeps or tried.code in (0, -signal.SIGKILL):
        return False
    return tried.fault.kind not in LASTING or "provision down" not in said


def counted(log: Sequence[dict[str, Any]]) -> list[Call]:
    """The log's calls by laptops, those of each action numbered. A poll more or less is a call that is not reached."""
    seen: Counter[tuple[str, str]] = Counter()
    found = []
    for line in log:
        if line["service"] != "unknown" and not line["access_key"].startswith(ROLE_KEYS):
            key = (line["service"], line["action"])
            seen[key] += 1
            found.append(Call(*key, seen[key]))
    return found


def words_of(things: Things) -> str:
    return "left: " + ", ".join(f"{kind} {one}" for kind, one in sorted(things))
