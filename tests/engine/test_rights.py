"""What a training's container may do, as the kernel tells its first program."""

import uuid
from collections.abc import Iterator

import pytest

from infra import baseimage
from infra.containers import ContainerSpec, Rights
from infra.docker_engine import Docker, open_local

pytestmark = pytest.mark.engine

IMAGE = "debian:bookworm"
LOOK = ("grep", "-E", "^(Cap(Eff|Bnd)|NoNewPrivs):", "/proc/self/status")


@pytest.fixture(scope="module")
def engine() -> Iterator[Docker]:
    baseimage.ensure(IMAGE)
    yield open_local()


def told(engine: Docker, rights: Rights | None, user: str = "1234:1234") -> dict[str, str]:
    """The rights of the container's programs: hex masks, and 0 or 1."""
    extra = {} if rights is None else {"rights": rights}
    spec = ContainerSpec(f"provision-test-{uuid.uuid4().hex[:8]}", IMAGE, LOOK, user, workdir="/tmp", **extra)
    try:
        engine.run(spec)
        while (state := engine.inspect(spec.name)) is None or state.exit_code is None:
            pass
        return dict(line.split(":\t") for line in engine.logs(spec.name).splitlines())
    finally:
        engine.remove(spec.name)


def test_a_training_has_no_capability_and_no_way_to_one(engine: Docker) -> None:
    nothing = {"CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1"}
    assert told(engine, None) == nothing
    assert told(engine, None, "0:0") == nothing, "nor has root"


def test_a_recipe_that_asks_has_that_one(engine: Docker) -> None:
    nice = f"{1 << 23:016x}"  # CAP_SYS_NICE
    assert told(engine, Rights(("SYS_NICE",)), "0:0") == {"CapEff": nice, "CapBnd": nice, "NoNewPrivs": "0"}
