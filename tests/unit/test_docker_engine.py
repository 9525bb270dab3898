"""The Docker engine through its SDK, which is a few functions here."""

from typing import Any

import docker.errors
import pytest
import requests

from infra.containers import ContainerSpec
from infra.docker_engine import Docker
from infra.errors import EngineError, RunError

SPEC = ContainerSpec("provision-digits-1-002", "caffe", ("train",), "1:2")

CONFLICT = requests.Response()
CONFLICT.status_code = 409


class Engine:
    """An engine with one running container, of another attempt's client; none starts with `broken`."""

    def __init__(self, broken: BaseException | None = None, status: str = "running") -> None:
        self.names = {"theirs": SPEC.name} if not broken else {}
        self.broken = broken
        self.status = status
        self.cut = self.starts = False
        self.containers = self

    def create(self, name: str, **_: Any) -> "Container":
        if name in self.names.values():
            raise docker.errors.APIError(f'Conflict. The container name "/{name}" is already in use')
        self.names["ours"] = name
        return Container(self, "ours")

    def get(self, name: str) -> "Container":
        for one, known in self.names.items():
            if known == name:
                return Container(self, one)
        raise docker.errors.NotFound("no such container")


class Container:
    def __init__(self, engine: Engine, id: str) -> None:
        self.engine, self.id = engine, id
        self.attrs = {"State": {"Status": engine.status}}

    def start(self) -> None:
        if self.engine.broken:
            raise self.engine.broken

    def remove(self, force: bool = False, **_: Any) -> None:
        if self.engine.cut:
            raise requests.exceptions.ConnectionError("the line is cut")
        if self.engine.starts and not force:
            raise docker.errors.APIError("stop the container before removal", CONFLICT)
        del self.engine.names[self.id]


def test_a_container_of_that_name_that_another_client_started_goes_on() -> None:
    engine = Engine()
    with pytest.raises(EngineError):
        Docker(engine, "lab").run(SPEC)
    assert engine.names == {"theirs": SPEC.name}


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (docker.errors.APIError("could not select device driver"), EngineError),
        (requests.exceptions.ReadTimeout("no answer"), EngineError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_container_that_cannot_start_is_not_left(broken: BaseException, told: type[BaseException]) -> None:
    engine = Engine(broken)
    with pytest.raises(told):
        Docker(engine, "lab").run(SPEC)
    assert engine.names == {}


def test_where_the_line_is_cut_what_is_told_is_why_it_did_not_start() -> None:
    engine = Engine(docker.errors.APIError("no space left on device"))
    engine.cut = True
    with pytest.raises(EngineError, match="no space left"):
        Docker(engine, "lab").run(SPEC)


@pytest.mark.parametrize(
    ("status", "removed"),
    [("created", True), ("running", False), ("exited", False)],
)
def test_only_a_container_that_never_started_is_removed(status: str, removed: bool) -> None:
    engine = Engine(status=status)
    assert Docker(engine, "lab").remove_unstarted(SPEC.name) == removed
    assert engine.names == ({} if removed else {"theirs": SPEC.name})


def test_a_container_that_starts_just_as_it_is_looked_at_stays() -> None:
    engine = Engine(status="created")
    engine.starts = True
    assert not Docker(engine, "lab").remove_unstarted(SPEC.name)
    assert engine.names == {"theirs": SPEC.name}


def test_there_is_none_where_no_container_was_made() -> None:
    engine = Engine()
    engine.names.clear()
    assert Docker(engine, "lab").remove_unstarted(SPEC.name)


def test_a_container_that_starts_is_known_by_its_id() -> None:
    engine = Engine()
    engine.names.clear()
    assert Docker(engine, "lab").run(SPEC) == "ours"


def test_what_is_asked_before_the_start_finds_the_container_and_may_take_it_back() -> None:
    engine = Engine()
    engine.names.clear()
    made: list[list[str]] = []

    def refuse() -> None:
        made.append(list(engine.names))
        raise RunError("attempt 2 has it", "follow it")

    with pytest.raises(RunError, match="attempt 2 has it"):
        Docker(engine, "lab").run(SPEC, before_start=refuse)
    assert (made, engine.names) == ([["ours"]], {})
