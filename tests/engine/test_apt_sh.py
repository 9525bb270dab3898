"""Where apt.sh makes apt look, for the sources files of official images: in a folder that stands for the root."""

import subprocess
from pathlib import Path

import pytest

from infra import apt

ONE_LINE = """\
# deb http://snapshot.example/archive/debian/20260824T000000Z bullseye main
deb http://mirror.example/debian bullseye main
# deb http://snapshot.example/archive/debian-security/20260824T000000Z bullseye-security main
deb http://mirror.example/debian-security bullseye-security main
# deb http://snapshot.example/archive/debian/20260824T000000Z bullseye-updates main
deb [signed-by=/x.gpg] http://mirror.example/debian bullseye-updates main
"""
DEB822 = """\
Types: deb
# http://snapshot.example/archive/debian/20280801T000000Z
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
# http://snapshot.example/archive/debian-security/20280801T000000Z
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
UBUNTU = "deb http://mirror.example/ubuntu focal main universe\ndeb http://mirror.example/ubuntu focal-security main\n"


def after(tmp_path: Path, words: str, sources: str, settings: str = "", who: str = "debian") -> str:
    """The sources when these words of apt.sh have run."""
    etc = tmp_path / "etc"
    (etc / "apt/sources.list.d").mkdir(parents=True)
    code = next(one for one in ("bullseye", "bookworm", "focal", "noble") if one in sources)
    (etc / "os-release").write_text(f"ID={who}\nVERSION_CODENAME={code}\n")
    path = etc / "apt" / ("sources.list.d/debian.sources" if sources.startswith("Types:") else "sources.list")
    path.write_text(sources)
    (tmp_path / "settings").write_text(settings)
    script = (
        f"set -eu; release_end=2026-08-31 apt_root={tmp_path} apt_settings={tmp_path}/settings\n{apt.SCRIPT}\n{words}\n"
    )
    subprocess.run(["sh", "-c", script], check=True)
    return path.read_text()


def test_the_comments_of_an_official_image_take_the_mirrors_place(tmp_path: Path) -> None:
    said = after(tmp_path, "apt_go_to comments", ONE_LINE)
    words = "deb [check-valid-until=no] http://snapshot.example/archive"
    assert said.splitlines() == [
        f"{words}/debian/20260824T000000Z bullseye main",
        f"{words}/debian-security/20260824T000000Z bullseye-security main",
        f"{words}/debian/20260824T000000Z bullseye-updates main",
    ]


def test_and_those_of_the_newer_form(tmp_path: Path) -> None:
    said = after(tmp_path, "apt_go_to comments", DEB822)
    dated = "http://snapshot.example/archive"
    assert said.count("Check-Valid-Until: no\n") == 2 and "mirror.example" not in said
    assert f"URIs: {dated}/debian/20280801T000000Z\n" in said
    assert f"URIs: {dated}/debian-security/20280801T000000Z\n" in said and said.count("Signed-By: ") == 2


@pytest.mark.parametrize("sources", [ONE_LINE, DEB822])
def test_a_lock_holds_the_day(tmp_path: Path, sources: str) -> None:
    said = after(tmp_path, "PROVISION_SNAPSHOT=20261129T000000Z; apt_go_to locked", sources)
    assert "debian/20261129T000000Z" in said and "debian-security/20261129T000000Z" in said
    assert "mirror.example" not in said and "20260824" not in said and "20280801" not in said


@pytest.mark.parametrize(
    ("settings", "place", "release", "security"),
    [
        ("debian_archive=http://old.example/debian", "archive", "http://old.example/debian", "http://old.example/debian-security"),
        ("debian_archive=http://old.example/debian\ndebian_security=http://fix.example/s", "archive",
         "http://old.example/debian", "http://fix.example/s"),
        ("debian_snapshot=http://snap.example/archive/", "snapshot", "http://snap.example/archive/debian/20260901T000000Z",
         "http://snap.example/archive/debian-security/20260901T000000Z"),
    ],
)  # fmt: skip
def test_a_setting_names_another_place(tmp_path: Path, settings: str, place: str, release: str, security: str) -> None:
    said = after(tmp_path, f"apt_go_to {place}", ONE_LINE, settings + "\n")
    lines = [line for line in said.splitlines() if line.startswith("deb ")]
    assert lines == [
        f"deb [check-valid-until=no] {release} bullseye main",
        f"deb [check-valid-until=no] {security} bullseye-security main",
        f"deb [check-valid-until=no signed-by=/x.gpg] {release} bullseye-updates main",
    ]


def test_lines_of_others_stay_and_blanks_do_no_harm(tmp_path: Path) -> None:
    odd = "deb\thttp://mirror.example/debian  bullseye\tmain\ndeb https://other.example/apt ./\n"
    said = after(tmp_path, "apt_go_to archive", odd, "debian_archive=http://old.example/debian\n")
    assert said.splitlines() == [
        "deb [check-valid-until=no] http://old.example/debian bullseye main",
        "deb https://other.example/apt ./",
    ]


def test_ubuntus_archive_has_its_fixes_in_the_same_folder(tmp_path: Path) -> None:
    said = after(tmp_path, "apt_go_to archive", UBUNTU, "ubuntu_archive=http://old.example/ubuntu\n", who="ubuntu")
    assert [line.split()[2] for line in said.splitlines()] == ["http://old.example/ubuntu"] * 2


def test_at_last_the_security_suite_is_left_out(tmp_path: Path) -> None:
    for sources in (ONE_LINE, DEB822):
        folder = tmp_path / str(len(sources))
        folder.mkdir()
        said = after(folder, "apt_go_to release", sources)
        live = [line for line in said.splitlines() if not line.startswith("#")]
        assert not [line for line in live if "-security" in line] and "mirror.example/debian" in said
        assert "updates" in said


def test_of_several_suites_in_one_stanza_the_others_stay(tmp_path: Path) -> None:
    one = (
        "Types: deb\nURIs: http://mirror.example/ubuntu\nSuites: noble noble-updates noble-security\nComponents: main\n"
    )
    assert after(tmp_path, "apt_go_to release", one, who="ubuntu").strip() == one.replace(" noble-security", "").strip()


def test_a_lock_without_comments_takes_the_settings_snapshot_or_says_that_it_cannot(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plain = "deb http://mirror.example/debian bullseye main\n"
    there, nowhere = tmp_path / "there", tmp_path / "nowhere"
    there.mkdir(), nowhere.mkdir()
    words = "PROVISION_SNAPSHOT=20261129T000000Z; "
    said = after(there, words + "apt_go_to locked", plain, "debian_snapshot=http://snap.example/archive\n")
    assert said == "deb [check-valid-until=no] http://snap.example/archive/debian/20261129T000000Z bullseye main\n"
    assert after(nowhere, words + "apt_go_to locked || true", plain) == plain
    assert "locked to 20261129T000000Z, but no snapshot is known here" in capfd.readouterr().err


def test_more_components_are_asked_of_every_place(tmp_path: Path) -> None:
    for sources in (ONE_LINE, DEB822):
        folder = tmp_path / str(len(sources))
        folder.mkdir()
        said = after(folder, "apt_components contrib non-free; apt_go_to comments", sources)
        assert said.count(" main contrib non-free") == said.count(" main") >= 2


@pytest.mark.parametrize("place", ["comments", "archive", "snapshot", "locked"])
def test_a_place_that_is_not_known_is_none(tmp_path: Path, place: str) -> None:
    said = after(tmp_path, f"if apt_go_to {place}; then exit 1; fi", UBUNTU, who="ubuntu")
    assert said == UBUNTU
