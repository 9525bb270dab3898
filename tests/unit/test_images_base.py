"""Base images: which release a name means, where its suites come from, and what is said where it cannot be made."""

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from infra import aptsources, baseimage, remotebase
from infra.aptsources import Release, Suite
from infra.errors import EngineError, ImageError, UsageError
from infra.hostsetup import ensure_engine
from infra.shell import OnLine, Result, Words

URIS = """\
'http://fixes.example/debian-security/dists/bookworm-security/InRelease' a 0
'http://mirror.example/debian/dists/bookworm-updates/InRelease' b 0
'http://mirror.example/debian/dists/bookworm/InRelease' c 0
"""


class Machine:
    """A machine that answers from a table: the first key that is part of the line decides."""

    where = "a machine"

    def __init__(self, answers: Mapping[str, Result]) -> None:
        self.answers = answers
        self.lines: list[str] = []
        self.written: dict[str, str] = {}

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
        if stdin is not None:
            self.written[words[-1]] = stdin.decode()
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
        ("ubuntu:14.04", Release("ubuntu", "trusty")),
        ("ubuntu:26.04", Release("ubuntu", "resolute")),
        ("ubuntu:bookworm", None),
        ("nvidia/cuda:11.8.0-devel-ubuntu22.04", None),
    ],
)
def test_names(reference: str, release: Release | None) -> None:
    assert aptsources.parse(reference) == release


def made_by(machine: Machine, reference: str) -> list[str]:
    """The lines of mmdebstrap for an image that this machine's engine never has."""
    machine.lines.clear()
    with pytest.raises(ImageError, match="lost"):
        baseimage.ensure(reference, machine)
    return [line for line in machine.lines if line.startswith("mmdebstrap")]


GONE = Result(1, err="E: Failed to fetch http://x/InRelease  404  Not Found [IP: 10.0.0.1 80]\nE: Download Failed\n")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DEBIAN_ARCHIVE", "DEBIAN_SECURITY", "DEBIAN_SNAPSHOT", "UBUNTU_ARCHIVE"):
        monkeypatch.delenv(f"PROVISION_{name}", raising=False)


def test_the_mirror_is_the_hosts_own_and_its_security_archive_is_told_from_it() -> None:
    assert aptsources.place_of(URIS, "bookworm") == "http://mirror.example/debian"
    assert aptsources.place_of(URIS, "bookworm-security", "bookworm/updates") == "http://fixes.example/debian-security"
    assert aptsources.place_of(URIS, "trixie") is None


def test_another_release_is_made_from_the_hosts_mirrors_with_updates_and_fixes() -> None:
    machine = Machine(debian_host())
    [made] = made_by(machine, "debian:bullseye")
    assert made.endswith(
        "bullseye /tmp/x/root.tar deb http://mirror.example/debian bullseye main"
        " deb http://mirror.example/debian bullseye-updates main"
        " deb http://fixes.example/debian-security bullseye-security main"
    )
    assert "Valid-Until" not in made and "--include" not in made
    assert "upload /tmp/x/root.tar.sources /etc/apt/sources.list" in made
    [imported] = [line for line in machine.lines if line.startswith("docker import")]
    assert '"provision.suites"="bullseye bullseye-updates bullseye-security"' in imported


def test_the_image_keeps_its_suites_in_the_form_of_its_release() -> None:
    machine = Machine(debian_host())
    made_by(machine, "debian:bullseye")
    assert machine.written["/tmp/x/root.tar.sources"] == (
        "deb http://mirror.example/debian bullseye main\n"
        "deb http://mirror.example/debian bullseye-updates main\n"
        "deb http://fixes.example/debian-security bullseye-security main\n"
    )
    [made] = made_by(machine, "debian:12")
    assert "/etc/apt/sources.list.d/debian.sources" in made
    assert machine.written["/tmp/x/root.tar.sources"] == (
        "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n"
        "Types: deb\nURIs: http://fixes.example/debian-security\nSuites: bookworm-security\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    )


NOW = datetime(2026, 11, 29, 6, tzinfo=timezone.utc)
MIRROR, FIXES = "http://mirror.example/debian", "http://fixes.example/debian-security"


def test_a_snapshot_is_named_in_comments_at_the_releases_last_day_or_today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISION_DEBIAN_SNAPSHOT", "https://snapshot.example/archive/")
    old, new = Release("debian", "bullseye"), Release("debian", "bookworm")
    suites = [Suite(MIRROR, "bullseye"), Suite(FIXES, "bullseye-security")]
    dated = "https://snapshot.example/archive/debian{}/20260831T000000Z"
    assert aptsources.text(old, suites, NOW) == (
        f"# deb {dated.format('')} bullseye main\ndeb {MIRROR} bullseye main\n"
        f"# deb {dated.format('-security')} bullseye-security main\ndeb {FIXES} bullseye-security main\n"
    )
    without = aptsources.text(old, suites[:1], NOW)
    assert without.endswith(f"# deb {dated.format('-security')} bullseye-security main\n"), "a snapshot has it still"
    text = aptsources.text(new, [Suite(MIRROR, "bookworm"), Suite(FIXES, "bookworm-security")], NOW)
    assert f"\n# https://snapshot.example/archive/debian/20261129T000000Z\nURIs: {MIRROR}\n" in text
    assert f"\n# https://snapshot.example/archive/debian-security/20261129T000000Z\nURIs: {FIXES}\n" in text


def test_ubuntu_has_universe_and_its_pockets_on_the_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISION_UBUNTU_ARCHIVE", "https://mirror.example/ubuntu")
    monkeypatch.setenv("PROVISION_DEBIAN_SNAPSHOT", "https://snapshot.example/archive")
    machine = Machine(debian_host())
    [made] = made_by(machine, "ubuntu:22.04")
    assert made.endswith(
        "deb https://mirror.example/ubuntu jammy main universe"
        " deb https://mirror.example/ubuntu jammy-updates main universe"
        " deb https://mirror.example/ubuntu jammy-security main universe"
    )
    assert "--include=ca-certificates " in made, "its own apt could not reach the mirror"
    assert machine.written["/tmp/x/root.tar.sources"].count("\n") == 3
    [made] = made_by(machine, "ubuntu:24.04")
    assert "/etc/apt/sources.list.d/ubuntu.sources" in made
    text = machine.written["/tmp/x/root.tar.sources"]
    assert "Suites: noble noble-updates noble-security\nComponents: main universe\n" in text


def test_a_suite_that_the_mirror_lacks_is_left_out_and_said() -> None:
    said: list[str] = []
    machine = Machine({"dists/buster/updates": GONE, "dists/buster-updates": GONE, **debian_host()})
    with pytest.raises(ImageError, match="lost"):
        baseimage.ensure("debian:buster", machine, said.append)
    [made] = [line for line in machine.lines if line.startswith("mmdebstrap")]
    assert made.endswith("buster /tmp/x/root.tar deb http://mirror.example/debian buster main")
    assert "base image debian:buster: buster-updates is left out: http://mirror.example/debian lacks it" in said
    assert (
        "base image debian:buster: buster/updates is left out: http://fixes.example/debian-security lacks it;"
        " http://mirror.example/debian-security lacks it"
    ) in said


def test_the_security_suite_is_looked_for_where_the_setting_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISION_DEBIAN_SECURITY", "http://other.example/sec/")
    machine = Machine({f"{FIXES}/dists/bullseye-security": GONE, **debian_host()})
    [made] = made_by(machine, "debian:bullseye")
    assert made.endswith("deb http://other.example/sec bullseye-security main")


EXPIRED = Result(0, "Codename: x\nValid-Until: Sat, 05 Sep 2020 10:00:00 UTC\n")


def test_an_index_that_has_expired_is_taken_only_where_the_user_named_the_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    machine = Machine({f"{FIXES}/dists/bullseye-security": EXPIRED, f"{MIRROR}-security": GONE, **debian_host()})
    with pytest.raises(ImageError, match="lost"):
        baseimage.ensure("debian:bullseye", machine, said.append)
    [made] = [line for line in machine.lines if line.startswith("mmdebstrap")]
    assert "bullseye-security" not in made and "Valid-Until" not in made
    assert any("expired on Sat, 05 Sep 2020" in line for line in said)
    monkeypatch.setenv("PROVISION_DEBIAN_SECURITY", FIXES)
    [made] = made_by(machine, "debian:bullseye")
    assert "bullseye-security" in made and 'Check-Valid-Until "false"' in made


def test_fixes_whose_files_are_gone_do_not_stop_the_release() -> None:
    purged = Result(100, err="E: Failed to fetch http://fixes.example/pool/x.deb  404  Not Found")
    said: list[str] = []
    machine = Machine({"bullseye-security main": purged, **debian_host()})
    with pytest.raises(ImageError, match="lost"):
        baseimage.ensure("debian:bullseye", machine, said.append)
    made = [line for line in machine.lines if line.startswith("mmdebstrap")]
    assert len(made) == 2 and made[1].endswith("root.tar deb http://mirror.example/debian bullseye main")
    assert any("made without updates and fixes" in line and "404" in line for line in said)
    assert '"provision.suites"="bullseye"' in machine.lines[-2] + machine.lines[-3]


def test_a_dropped_release_comes_from_the_archive_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISION_DEBIAN_ARCHIVE", "http://old.example/debian")
    answers = {"mirror.example/debian/dists/buster": GONE, "fixes.example": GONE, "dists/buster": EXPIRED}
    [made] = made_by(Machine({**answers, **debian_host()}), "debian:buster")
    assert made.endswith(
        "deb http://old.example/debian buster main deb http://old.example/debian buster-updates main"
        " deb http://old.example/debian-security buster/updates main"
    )
    assert "Valid-Until" in made


def test_a_dropped_release_without_archive_says_what_to_set() -> None:
    machine = Machine({"dists/buster": GONE, **debian_host()})
    with pytest.raises(ImageError) as error:
        baseimage.ensure("debian:buster", machine)
    assert "no buster: http://mirror.example/debian lacks it" in error.value.what
    assert "set PROVISION_DEBIAN_ARCHIVE" in error.value.mend
    assert machine.lines[-1] == "rm -rf /tmp/x"
    assert not [line for line in machine.lines if line.startswith("mmdebstrap")]


def test_what_cannot_be_made_says_what_can() -> None:
    with pytest.raises(ImageError) as error:
        baseimage.ensure("debian:9", Machine(debian_host()))
    assert "debian 10, 11, 12, 13; ubuntu 14.04, 16.04, 18.04, 20.04, 22.04, 24.04, 26.04" in error.value.what


def test_debootstrap_gets_the_fixes_in_a_second_step() -> None:
    machine = Machine(debian_host(**{"command -v mmdebstrap": Result(1), "id -u": Result(0, "0")}))
    assert made_by(machine, "debian:bookworm") == []
    [made] = [line for line in machine.lines if "debootstrap --variant" in line]
    assert "apt-get -qq -y dist-upgrade" in made
    assert "bookworm http://mirror.example/debian /etc/apt/sources.list.d/debian.sources" in made
    assert "bookworm-security" in machine.written["/tmp/x/root.tar.sources"]


def test_the_other_distribution_needs_a_mirror() -> None:
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


THERE = '[{"Id": "sha256:1", "Config": {"Labels": %s}}]'


def test_pull_asks_the_registry_though_it_is_there_and_makes_it_where_that_fails() -> None:
    there = Result(0, THERE % "null")
    machine = Machine({"image inspect": there})
    baseimage.ensure("debian:bullseye", machine, pull=True)
    assert [line for line in machine.lines if "docker pull" in line and line.endswith("debian:bullseye")]
    assert not [line for line in machine.lines if "mmdebstrap" in line]
    machine = Machine({**debian_host(), "image inspect": there})
    baseimage.ensure("debian:bullseye", machine, pull=True)
    assert [line for line in machine.lines if line.startswith("docker import")]


def test_pull_goes_on_to_another_machines_engine() -> None:
    machine = Machine({"image inspect": Result(0, THERE % "null")})
    remotebase.ensure("debian:bullseye", machine)
    assert not [line for line in machine.lines if "docker pull" in line]
    remotebase.ensure("debian:bullseye", machine, pull=True)
    assert [line for line in machine.lines if "docker pull" in line]


def test_what_another_process_got_meanwhile_is_not_got_again() -> None:
    class Later(Machine):
        """The second time that it is asked, it is there."""

        def run(self, words: Words, **more: Any) -> Result:
            there = any("image inspect" in line for line in self.lines)
            result = super().run(words, **more)
            return Result(0, THERE % "null") if there and "inspect" in words else result

    machine = Later(debian_host())
    assert baseimage.ensure("debian:bullseye", machine) == "sha256:1"
    assert [line.split()[1] for line in machine.lines] == ["image", "image", "image"]


def test_one_that_was_made_of_the_release_alone_is_made_again_or_kept() -> None:
    bare = Result(0, THERE % '{"provision.base": "made here"}')
    said: list[str] = []
    machine = Machine({**debian_host(), "image inspect": bare})
    assert baseimage.ensure("debian:bullseye", machine, said.append) == "sha256:1"
    assert [line for line in machine.lines if line.startswith("docker import")]
    assert not [line for line in machine.lines if "docker pull" in line]
    assert "without security fixes, so it is made again" in said[0]
    machine = Machine({"dists/": GONE, **debian_host(), "image inspect": bare})
    assert baseimage.ensure("debian:bullseye", machine, said.append) == "sha256:1"
    assert "kept as it is" in said[-1]
    whole = Result(0, THERE % '{"provision.base": "made here", "provision.suites": "bullseye"}')
    machine = Machine({**debian_host(), "image inspect": whole})
    baseimage.ensure("debian:bullseye", machine)
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


@pytest.mark.parametrize(
    "setting", ["PROVISION_DEBIAN_ARCHIVE", "PROVISION_DEBIAN_SECURITY", "PROVISION_DEBIAN_SNAPSHOT"]
)
def test_an_address_with_a_password_gets_into_no_image(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(setting, "https://user:s3cret@mirror.example/debian")
    said: list[str] = []
    machine = Machine(debian_host())
    with pytest.raises(UsageError, match=f"{setting} has a user or a password") as error:
        baseimage.ensure("debian:bullseye", machine, said.append)
    assert "s3cret" not in f"{error.value} {said} {machine.lines} {machine.written}"
