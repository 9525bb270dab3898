"""Which GPUs of a host are free, and how an image gets to a host."""

import json
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from infra import docker_engine
from infra.docker_engine import Docker
from infra.errors import BusyError, DiskError, ImageError, ProvisionError, RunError
from infra.shell import Result, Words
from infra.ssh import SshShell
from provision.hosts import gpus, image
from provision.hosts.facts import Facts, Gpu

FOUR = Facts(1000, 1000, gpus=tuple(Gpu(index, "V100", 16384, "535.1") for index in range(4)))


def engine(*holders: Mapping[str, str]) -> Docker:
    """One with these containers, by their labels."""
    found = [SimpleNamespace(labels=dict(labels)) for labels in holders]
    return cast(Docker, SimpleNamespace(containers=lambda label: found))


def holds(name: str, *indices: int) -> dict[str, str]:
    return {"provision.run": name, "provision.gpus": ",".join(map(str, indices))}


def test_the_first_that_no_training_and_no_task_holds_are_taken() -> None:
    there = engine(holds("digits-1", 0), holds("net-1-score", 2), holds("tools"))
    assert gpus.free(there, FOUR, 2, "lab") == (1, 3)
    assert gpus.free(there, FOUR, 0, "lab") == ()
    assert gpus.held(there) == {"digits-1": (0,), "net-1-score": (2,)}


def test_gpus_that_others_hold_are_waited_for_and_gpus_that_are_not_there_are_not() -> None:
    with pytest.raises(BusyError, match="1 of lab's 4 GPUs are free, not 2: the others train digits-1") as caught:
        gpus.free(engine(holds("digits-1", 0, 1, 2), {"provision.run": "cpu-1"}), FOUR, 2, "lab", busy="wait")
    assert caught.value.mend == "wait" and "cpu-1" not in caught.value.what
    with pytest.raises(RunError, match="lab has 4 GPUs, not 8") as lacking:
        gpus.free(engine(), FOUR, 8, "lab", too_few="train with --gpus {have}")
    assert lacking.value.mend == "train with --gpus 4" and not isinstance(lacking.value, BusyError)


class Host:
    """A machine's engine: it has images by their ids, and takes what is loaded unless it `refuses`."""

    where = "lab"

    def __init__(self, *digests: str, refuses: str = "") -> None:
        self.digests, self.refuses = digests, refuses
        self.loaded = b""

    def run(self, words: Words, **_: Any) -> Result:
        assert list(words[:3]) == ["docker", "image", "inspect"]
        if words[-1] in self.digests:
            return Result(0, json.dumps([{"Id": words[-1]}]))
        return Result(1, "", "Error: No such image: x")

    def feed(self, words: Words, chunks: Iterable[bytes], *, check: bool) -> Result:
        assert list(words[:2]) == ["docker", "load"]
        self.loaded = b"".join(chunks)
        return Result(1, "", self.refuses) if self.refuses else Result(0)


@pytest.fixture
def laptop(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A laptop whose engine has one image."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    here = SimpleNamespace(
        has_image=lambda digest: digest == "sha256:here", save=lambda tag: iter([b"a ", tag.encode()])
    )
    monkeypatch.setattr(docker_engine, "open_local", lambda: here)


def deliver(host: Host, digest: str = "sha256:here") -> bool:
    return image.deliver(cast(SshShell, host), "provision/x:1", digest, "provision image build x")


@pytest.mark.usefixtures("laptop")
def test_an_image_is_sent_once_and_only_where_it_is_not() -> None:
    assert not deliver(there := Host("sha256:here"))
    assert there.loaded == b""
    assert deliver(new := Host())
    assert new.loaded == b"a provision/x:1"


@pytest.mark.usefixtures("laptop")
@pytest.mark.parametrize(
    ("refuses", "kind", "mend"),
    [
        (
            "write /a: no space left on device",
            DiskError,
            "take a larger --disk; or on lab: docker system prune",
        ),
        ("unexpected EOF", ImageError, ""),
    ],
)
def test_why_a_host_did_not_take_an_image_is_told(refuses: str, kind: type[ProvisionError], mend: str) -> None:
    with pytest.raises(kind, match="the image provision/x:1 cannot be sent to lab") as caught:
        deliver(Host(refuses=refuses))
    assert refuses in caught.value.what and caught.value.mend == mend


@pytest.mark.usefixtures("laptop")
def test_an_image_that_is_at_neither_is_built_again() -> None:
    with pytest.raises(RunError, match="no image provision/x:1") as caught:
        deliver(Host(), "sha256:gone")
    assert caught.value.mend == "build it: provision image build x"
