"""An image of a registry that asks who pulls: the real Docker engine gets it by the role's keys, and what it was let in
with stays nowhere."""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import pytest

from infra import baseimage
from infra.aws import ecr
from infra.aws.session import Cloud
from infra.ecr_name import parse
from infra.shell import Secret
from tests.engine.kept_kit import served
from tests.engine.registry_kit import Registry, listening
from tests.engine.test_kept import PYTHONS, Machine

pytestmark = pytest.mark.engine
ACCOUNT = "123456789012"
PASSWORD = f"{ACCOUNT}-auth-token"  # as moto gives it
REPOSITORY = "team/caffe"
HOST = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com"
MEMORY = Path("/dev/shm")


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    """The address of moto, which plays ECR's API."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def registry() -> Iterator[Registry]:
    with listening(PASSWORD) as one:
        yield one


@pytest.fixture
def machine(tmp_path: Path, registry: Registry, api: str) -> Iterator[Machine]:
    """A machine whose run's image lies in the registry."""
    baseimage.ensure("debian:bookworm")
    for name in ("runs", "guard", "s3"):
        (tmp_path / name).mkdir()
    digest, _ = registry.push(REPOSITORY, "1", "debian:bookworm", tmp_path)
    name = f"{registry.host}/{REPOSITORY}@{digest}"
    login = {"host": registry.host, "region": "us-east-1", "endpoint": api}
    with served(tmp_path / "s3") as aws:
        made = Machine(tmp_path, aws, {"id": "", "tag": name, "pull": name, "login": login})  # type: ignore[dict-item]
        made.driver = made.driver.replace("hostkey.HOST_KEY, ", "steps.LOOK_S = 0.01\nhostkey.HOST_KEY, ", 1)
        made.boot()
        try:
            yield made
        finally:
            made.end()
            made.forget_image()


def holding(word: str, folder: Path) -> list[str]:
    """The files below a folder that have the word, as it is or in base64's form for Docker."""
    found = []
    for path in folder.rglob("*"):
        with suppress(OSError):
            if path.is_file() and word.encode() in path.read_bytes():
                found.append(str(path))
    return found


@pytest.mark.parametrize("python", PYTHONS, ids=["this", "3.6"][: len(PYTHONS)])
def test_a_machine_pulls_by_its_roles_keys_and_the_password_stays_nowhere(
    machine: Machine, registry: Registry, python: str
) -> None:
    before = set(MEMORY.iterdir())
    killed, alive = (MEMORY / f"provision-registry-{process}-x" for process in (999_999_999, os.getpid()))
    for folder in (killed, alive):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
    machine.order()
    said = machine.begin(python)
    assert machine.inspect()["State"]["Status"] == "running", said
    assert machine.inspect()["Config"]["Image"] == machine.image["tag"]
    assert any("/manifests/sha256:" in path for path in registry.asked)
    assert registry.shown == [] and PASSWORD not in said
    assert alive.exists() and not killed.exists()
    shutil.rmtree(alive)
    assert holding(PASSWORD, machine.root) == [] and set(MEMORY.iterdir()) <= before
    config = Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker")) / "config.json"
    assert not config.exists() or registry.host not in config.read_text()


@pytest.mark.parametrize("wrong", ["another password", "no token", "another digest"])
def test_a_registry_that_lets_nobody_in_is_told_in_words_without_the_password(
    machine: Machine, registry: Registry, wrong: str
) -> None:
    if wrong == "another password":
        registry.password, registry.held = "t0ken-of-nobody", {}
        reason = "the image cannot be pulled"
    elif wrong == "no token":
        machine.capsule["image"]["login"]["endpoint"] = machine.aws.url  # type: ignore[index]
        machine.aws.refused["GetAuthorizationToken"] = "AccessDeniedException"
        reason = "ECR gives no token: AccessDeniedException"
    else:
        registry.held = dict.fromkeys(registry.held, b"{}")
        reason = "the image cannot be pulled"
    machine.boot()
    machine.order()
    said = machine.begin()
    [told] = machine.aws.answers()
    assert told["state"] == "unready" and reason in told["why"], told
    assert PASSWORD not in said + str(told) and (machine.root / "powered-off").exists()


def test_a_tag_is_the_digest_that_it_has_now(api: str, registry: Registry, tmp_path: Path) -> None:
    """What the laptop asks of ECR, by a real client."""
    baseimage.ensure("debian:bookworm")
    _, text = registry.push(REPOSITORY, "1", "debian:bookworm", tmp_path)
    keys: dict[str, Any] = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "endpoint_url": api}
    client = boto3.client("ecr", region_name="us-east-1", **keys)
    client.create_repository(repositoryName=REPOSITORY)
    pushed = client.put_image(repositoryName=REPOSITORY, imageManifest=text, imageTag="1")["image"]["imageId"]
    cloud = Cloud("fake", "eu-west-1", api, access_key="a", secret_key=Secret("b"))
    named = parse(f"{HOST}/{REPOSITORY}:1")
    assert named is not None and ecr.digest(cloud, named) == pushed["imageDigest"]
    pinned = parse(named.pinned(pushed["imageDigest"]))
    assert pinned is not None and ecr.digest(cloud, pinned) == pushed["imageDigest"]
