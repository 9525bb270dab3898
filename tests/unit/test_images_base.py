"""Base images: which release a name means, which mirror it comes from, and what is said where it cannot be made."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from infra import baseimage
from infra.baseimage import Release
from infra.errors import EngineError, ImageError
from infra.hostsetup import ensure_engine
from infra.shell import OnLine, Result, Words

URIS = """\
'http://mirror.example/debian-security/dists/bookworm-security/InRelease' a 0
'http://mirror.example/debian/dists/bookworm-updates/InRelease' b 0
'http://mirror.example/debian/dists/bookworm/InRelease' c 0
"""


class Machine:
    """A machine that answers from a table: the first key that is part of the line decides."""

    where = "a machine"

    def __init__(self, answers: Mapping[str, Result]) -> None:
        self.answers = answers
        self.lines: list[str] = []

    def run(
        self,
        words: Words,
        *,
        check: bool = True,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        on_line: OnLine | None = None,
    ) -> Result:
        self.lines.append(" ".join(words))
        result = next((answer for key, answer in self.answers.items() if key in self.lines[-1]), Result(0))
        for line in (result.out + result.err).splitlines() if on_line else ():
            assert on_line
            on_line(line)
        return result

    def put(self, source: Path, target: str) -> None:
        raise NotImplementedError

    def get(self, source: str, target: Path) -> None:
        raise NotImplementedError


def debian_host(**more: Result) -> dict[str, Result]:
    """A Debian machine whose engine lacks the image and cannot pull."""
    return {
        **more,
        "image inspect": Result(1, err="Error: No such image: x"),
        "docker pull": Result(1, err="no such host"),
        "os-release": Result(0, "debian bookworm\n"),
        "print-uris": Result(0, URIS),
        "mktemp": Result(0, "/tmp/x\n"),
    }


@pytest.mark.parametrize(
    ("reference", "release"),
    [
        ("debian:bullseye", Release("debian", "bullseye")),
        ("debian:12", Release("debian", "bookworm")),
        ("debian:bookworm-slim", Release("debian", "bookworm")),
        ("ubuntu:22.04", Release("ubuntu", "jammy")),
        ("ubuntu:bookworm", None),
        ("nvidia/cuda:11.8.0-devel-ubuntu22.04", None),
    ],
)
def test_names(reference: str, release: Release | None) -> None:
    assert baseimage.parse(reference) == release


def test_the_mirror_is_the_hosts_own_and_not_its_security_archive() -> None:
    assert baseimage.mirror_of(URIS, "bookworm") == "http://mirror.example/debian"
    assert baseimage.mirror_of(URIS, "trixie") is None


def test_another_release_is_made_from_the_hosts_mirror() -> None:
    machine = Machine(debian_host())
    with pytest.raises(ImageError, match="lost"):  # this machine's engine never has it
        baseimage.ensure("debian:bullseye", machine)
    made = next(line for line in machine.lines if line.startswith("mmdebstrap"))
    assert made.endswith("bullseye /tmp/x/root.tar http://mirror.example/debian")
    assert "Valid-Until" not in made


def test_a_dropped_release_comes_from_the_archive_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISION_DEBIAN_ARCHIVE", "http://old.example/debian")
    gone = Result(1, err="E: mirror.example has no Release file")
    machine = Machine({"root.tar http://mirror.example": gone, **debian_host()})
    with pytest.raises(ImageError, match="lost"):
        baseimage.ensure("debian:buster", machine)
    made = [line for line in machine.lines if line.startswith("mmdebstrap")]
    assert [line.split()[-1] for line in made] == ["http://mirror.example/debian", "http://old.example/debian"]
    assert "Valid-Until" in made[1]


def test_a_dropped_release_without_archive_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROVISION_DEBIAN_ARCHIVE", raising=False)
    machine = Machine(debian_host(**{"root.tar http": Result(1, err="E: no Release file")}))
    with pytest.raises(ImageError) as error:
        baseimage.ensure("debian:buster", machine)
    assert "no Release file" in error.value.what
    assert "set PROVISION_DEBIAN_ARCHIVE" in error.value.mend
    assert machine.lines[-1] == "rm -rf /tmp/x"


def test_the_other_distribution_needs_a_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROVISION_UBUNTU_ARCHIVE", raising=False)
    with pytest.raises(ImageError) as error:
        baseimage.ensure("ubuntu:22.04", Machine(debian_host()))
    assert "PROVISION_UBUNTU_ARCHIVE" in error.value.mend


def test_the_other_distribution_needs_its_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISION_UBUNTU_ARCHIVE", "http://mirror.example/ubuntu")
    with pytest.raises(ImageError) as error:
        baseimage.ensure("ubuntu:22.04", Machine(debian_host(**{"test -e": Result(1)})))
    assert error.value.mend == "apt-get install ubuntu-keyring"


def test_without_mmdebstrap_the_message_names_it() -> None:
    with pytest.raises(ImageError) as error:
        baseimage.ensure("debian:bullseye", Machine(debian_host(**{"command -v": Result(1), "id -u": Result(0, "0")})))
    assert "apt-get install mmdebstrap" in error.value.mend


def test_an_image_of_others_can_only_be_brought() -> None:
    with pytest.raises(ImageError) as error:
        baseimage.ensure("nvidia/cuda:11.8.0-devel-ubuntu22.04", Machine(debian_host()))
    assert "docker save nvidia/cuda:11.8.0-devel-ubuntu22.04" in error.value.mend


def test_what_is_there_is_neither_pulled_nor_made() -> None:
    machine = Machine({"image inspect": Result(0, '[{"Id": "sha256:1", "Config": {"Labels": null}}]')})
    assert baseimage.ensure("debian:bullseye", machine) == "sha256:1"
    assert len(machine.lines) == 1


def test_no_engine_is_an_engine_error() -> None:
    said = Result(1, err="Cannot connect to the Docker daemon at unix:///var/run/docker.sock.")
    with pytest.raises(EngineError):
        baseimage.ensure("debian:bullseye", Machine({"image inspect": said}))


def test_the_steps_of_the_host_are_handed_on() -> None:
    seen: list[str] = []
    said = "engine: installing docker.io\nnoise\nengine: starting docker\n"
    machine = Machine({"sh -s": Result(0, said)})
    assert ensure_engine(machine, need=["git"], on_line=seen.append) == ["installing docker.io", "starting docker"]
    assert seen == ["installing docker.io", "starting docker"]
    assert machine.lines == ["sh -s -- git"]


@pytest.mark.parametrize(
    ("code", "mend"),
    [(20, "as root"), (21, "no Debian or Ubuntu"), (22, "docker group"), (23, "dockerd.log"), (100, "")],
)
def test_each_way_to_have_no_engine_has_its_mend(code: int, mend: str) -> None:
    with pytest.raises(EngineError) as error:
        ensure_engine(Machine({"sh -s": Result(code, err="engine: the reason\n")}), buildx=False)
    assert "the reason" in error.value.what
    assert mend in error.value.mend
