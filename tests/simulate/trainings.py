"""A training on a simulated host: a container that counts and saves snapshots, and the engine that has it."""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.containers import ContainerSpec, ContainerState
from infra.errors import EngineError, HostError
from tests.simulate.baton import BATON, Group

STEP_S = 5.0  # an iteration
SHORT, LONG = 28, 64  # iterations in all
OFTEN, NEVER = 6, 1000  # iterations between snapshots: some save only when they are told that they end, or at their end
SAVE_S = 6.0
STOPPED = "stopped as told"
FACTS = """uid 0 0
docker 27.0.0
runtimes nvidia runc
hook nvidia-container-toolkit
gpu 0, Tesla T4, 15360, 550.90
"""
RECIPE = f"""name: counting
about: A training that counts
stack: caffe-debian
options: {{iterations: {SHORT}}}
folders: [snapshots]
command: [count]
resume: ["{{snapshot}}.state"]
stop: {{signal: SIGINT, timeout: 60, said: {STOPPED}}}
snapshots:
  pattern: snapshots/c_iter_(?P<iteration>\\d+)\\.(?P<part>model|state)
  parts: [model, state]
"""
Begun = Callable[["Container"], None]
ON_BEGIN: list[Begun] = []
every, whole = [OFTEN], [SHORT]  # of this simulation


def recipe(folder: Path) -> Path:
    """The recipe's folder."""
    place = folder / "counting"
    place.mkdir(parents=True, exist_ok=True)
    (place / "recipe.yaml").write_text(RECIPE)
    return place


@dataclass(eq=False)
class Container:
    """`work` is the folder that it has as /work."""

    spec: ContainerSpec
    host: Any
    work: Path
    status: str = "created"
    exit_code: int | None = None
    at: int = 0
    told: bool = False
    group: Group = field(default_factory=lambda: Group("container"))

    @property
    def run(self) -> str:
        return self.spec.labels.get("provision.run", "")

    def start(self) -> None:
        self.status = "running"
        found = re.search(r"(\S+)_iter_(\d+)\.state", " ".join(self.spec.command))
        if found:
            self.at = int(found[2])
            if not (self.work / f"{found[0]}").exists():
                self._end(1, "its snapshot is not there")
                return
        for seen in ON_BEGIN:
            seen(self)
        BATON.spawn(self.group, self._train)

    def _train(self) -> None:
        while self.at < whole[0] and not self.told:
            BATON.sleep(STEP_S)
            self.at += 1
            self._log(f"Iteration {self.at}")
            if self.at % every[0] == 0 and not self.told:
                self._save()
        if self.told:
            BATON.sleep(SAVE_S)
            self._save()
            self._end(0, STOPPED)
        else:
            self._save()
            self._end(0, "done")

    def _save(self) -> None:
        for part in ("model", "state"):
            (self.work / f"snapshots/c_iter_{self.at}.{part}").write_text(f"{self.run} {self.at} {part}")

    def _end(self, code: int, words: str) -> None:
        self._log(words)
        self.status, self.exit_code = "exited", code

    def _log(self, line: str) -> None:
        path = self.work / self.spec.environment.get("LOG", "log/attempt-001.txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as out:
            out.write(line + "\n")


class Engine:
    """A host's Docker engine, as `infra.docker_engine.Docker`."""

    def __init__(self, host: Any, where: str, reach: Callable[[], None]) -> None:
        self.host, self.where, self._reach = host, where, reach

    def run(self, spec: ContainerSpec, before_start: Callable[[], None] = lambda: None) -> str:
        """Two requests, as Docker's own."""
        self._ask()
        if spec.name in self.host.containers:
            raise EngineError(f"the name {spec.name} is in use", "remove it")
        work = next(self.host.path(bind.source) for bind in spec.binds if bind.target == "/work")
        made = self.host.containers[spec.name] = Container(spec, self.host, work)
        try:
            before_start()
            self._ask()
            if self.host.containers.get(spec.name) is not made:
                raise EngineError(f"no such container: {spec.name}", "look at it")
        except BaseException:
            if self.host.containers.get(spec.name) is made:
                del self.host.containers[spec.name]
            raise
        made.start()
        return spec.name

    def remove_unstarted(self, name: str) -> bool:
        self._ask()
        one = self.host.containers.get(name)
        if one is not None and one.status == "created":
            del self.host.containers[name]
        return one is None or one.status == "created"

    def signal(self, name: str, _: str) -> None:
        self._ask()
        if one := self.host.containers.get(name):
            one.told = True

    def inspect(self, name: str) -> ContainerState | None:
        self._ask()
        one = self.host.containers.get(name)
        return _state(one) if one else None

    def containers(self, label: str, running: bool = True) -> list[ContainerState]:
        self._ask()
        found = [one for one in self.host.containers.values() if label in one.spec.labels]
        return [_state(one) for one in found if one.status == "running" or not running]

    def has_image(self, _: str) -> bool:
        return True

    def logs(self, _: str) -> str:
        return ""

    def remove(self, name: str) -> None:
        self._ask()
        one = self.host.containers.pop(name, None)
        if one:
            one.group.kill()

    def _ask(self) -> None:
        try:
            self._reach()
        except HostError as error:
            raise EngineError(f"no Docker engine answers on {self.where}: {error.what}", "look at it") from error


def _state(one: Container) -> ContainerState:
    return ContainerState(one.spec.name, one.spec.name, one.status, one.exit_code, one.spec.labels)


@contextlib.contextmanager
def open_remote(shell: Any) -> Iterator[Engine]:
    """In the place of `infra.docker_engine.open_remote`."""
    shell.run(["true"])
    yield Engine(shell.host, shell.where, lambda: shell.run(["true"]))


@contextlib.contextmanager
def turn(shell: Any, *_: object, **__: object) -> Iterator[None]:
    """In the place of `provision.hosts.turn.turn`: the lock is the host's, and ends with its client."""
    host, group = shell.host, BATON.current.group
    shell.run(["true"])
    while host.turn is not None and not host.turn.dead:
        BATON.sleep(1.0)
    host.turn = group
    try:
        yield
    finally:
        host.turn = None


def words_of(host: Any, words: list[str]) -> tuple[int, str]:
    """What the host's programs answer to the guard."""
    line = " ".join(words)
    one = host.containers.get(words[-1])
    if line.startswith("docker inspect"):
        return (0, f"{one.status} {one.exit_code or 0} false") if one else (1, "Error: No such object")
    if line.startswith("docker kill"):
        if one is None or one.status != "running":
            return 1, "is not running"
        one.told = True
        return 0, ""
    if line.startswith("docker ps"):
        return 0, "\n".join(name for name, one in host.containers.items() if one.status == "running")
    if line.startswith("systemctl poweroff"):
        host.power_off()
    state = "stopping" if host.stopping else "running"
    return 0, state if "is-system-running" in line else ""


def complete(objects: Mapping[str, bytes], run: str) -> dict[int, str]:
    """Iterations of the run's snapshots that are whole in S3, and the folders that they are in."""
    found = {}
    for key, said in objects.items():
        if key.startswith(f"runs/{run}/snapshots/") and key.endswith("/complete.json"):
            found[int(json.loads(said)["iteration"])] = key.removesuffix("complete.json")
    return found
