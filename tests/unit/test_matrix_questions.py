"""What `image matrix --verify` asks: the very things that the Dockerfiles fetch, at the places that are meant."""

import os
import re
from datetime import date, timedelta
from pathlib import Path

import pytest

from images import asked, places
from images.asked import File, Manifest, Package, Pool, Release, Wheel, of_row, of_stack, subjects
from images.choose import targets
from images.distributions import distribution
from images.matrix import Variant, rows
from images.render import render
from images.stacks import stacks
from images.target import Target
from infra import mirrors, pipconfig, registry
from infra.asking import logins, without_login
from infra.errors import UsageError
from infra.shell import Result
from provision.cli import run
from tests.unit.test_images_base import Machine, debian_host

MIRRORS = {name: f"https://{name}.example/{name}"
           for name in ("debian", "debian-security", "ubuntu", "ubuntu-security", "python")}  # fmt: skip
PUBLIC = places.chosen(mirrors=MIRRORS)
NVIDIA = [row for row in rows().values() if row.base_kind == "nvidia-apt"]


def dockerfile(row: Variant) -> str:
    return render(Target(stacks()["cuda"], row)).dockerfile


def pinned(row: Variant) -> set[str]:
    found = set()
    for one in of_row(row, PUBLIC):
        if isinstance(one, Package):
            found.add(f"{one.package}={one.version}")
        elif isinstance(one, File) and one.url.endswith(".deb"):
            found.add(one.url.rpartition("/")[2].removesuffix("_amd64.deb").replace("_", "=", 1))
    return found


@pytest.mark.parametrize("row", NVIDIA, ids=lambda row: row.id)
def test_every_address_of_nvidias_in_a_dockerfile_is_asked_for(row: Variant) -> None:
    written = set(re.findall(r"https://[^\s'\"]*nvidia[^\s'\"]*", dockerfile(row))) - {
        "https://developer.nvidia.com/cuda-toolkit"
    }
    questions = of_row(row, PUBLIC)
    asked_for = {one.url for one in questions if isinstance(one, File)}
    asked_for |= {one.suite.folder for one in questions if isinstance(one, Release)}
    assert {one.rstrip("/;") for one in written} <= asked_for
    for url in asked_for:
        assert "nvidia" not in url or url in dockerfile(row)


@pytest.mark.parametrize("row", [*NVIDIA, *(row for row in rows().values() if row.base_kind == "debian-cuda")],
                         ids=lambda row: row.id)  # fmt: skip
def test_every_package_that_a_dockerfile_pins_is_asked_for(row: Variant) -> None:
    written = set(re.findall(r"^ +([a-z0-9][a-z0-9.+-]*=[0-9]\S*) \\$", dockerfile(row), re.MULTILINE))
    assert written and written <= pinned(row)
    assert pinned(row) == {f"{name}={version}" for name, version in row.apt_build.items()}


def test_every_row_asks_for_its_bases_and_its_distributions_suites() -> None:
    for row in rows().values():
        questions = of_row(row, PUBLIC)
        bases = {one.reference for one in questions if isinstance(one, Manifest)}
        assert bases == {registry.parse(row.base), registry.parse(row.base_runtime)}
        suites = [one.suite.name for one in questions if isinstance(one, Release) and one.kind == "suites"]
        assert len(suites) == 3 and suites[1:] == [f"{suites[0]}-updates", f"{suites[0]}-security"]
        assert [one.suite.name for one in questions if isinstance(one, Pool)] == [f"{suites[0]}-security"]


def test_a_wheel_with_a_pinned_sum_is_asked_for_with_it() -> None:
    found = {one.name: one for one in of_row(rows()["cuda11.8-cudnn8.7-debian12"], PUBLIC) if isinstance(one, Wheel)}
    assert set(found) == {"nvidia-cudnn-cu11==8.7.0.84", "nvidia-nccl-cu11==2.21.5"}
    assert all(re.fullmatch(r"[0-9a-f]{64}", one.sha256) for one in found.values())


def test_two_rows_that_need_the_same_ask_the_same() -> None:
    one, other = (set(of_row(rows()[name], PUBLIC)) for name in ("cpu-debian12", "cuda11.8-cudnn8.7-debian12"))
    assert one <= other


@pytest.mark.parametrize("name", sorted({target.stack.name for target in targets()}))
def test_a_stacks_packages_are_asked_for_where_its_dockerfile_takes_them_from(name: str) -> None:
    target = next(one for one in targets() if one.stack.name == name)
    questions = of_stack(target.stack, [target.variant], PUBLIC)
    text = "\n".join(text for _, text in render(target).files)
    for package, version in target.stack.packages.items():
        with_pip = f"\n{package}=={version}" in text or f" {package}=={version}" in text
        kinds = {type(one) for one in questions if getattr(one, "package", "") == package}
        assert kinds == {Wheel if with_pip else Package}
    fetches = "get_source.sh" in dict(render(target).files)
    assert fetches == any(isinstance(one, asked.Commit) for one in questions)


def test_the_end_of_a_distributions_life_is_marked_from_the_day_after(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(day: date, *names: str) -> dict[str, str]:
        monkeypatch.setenv("SOURCE_DATE_EPOCH", str((day - date(1970, 1, 1)).days * 86400))
        return {one.name: one.ended for one in subjects([rows()[name] for name in names], PUBLIC) if one.ended}

    last = date.fromisoformat(distribution("debian11").end_of_life)
    assert ended(last, "cpu-debian11") == {}
    marked = ended(last + timedelta(days=1), "cpu-debian11")
    assert list(marked) == ["cpu-debian11", "stack caffe", "stack caffe-crfrnn", "stack caffe-debian",
                            "stack caffe-ssd", "stack detectron", "stack detectron-py2"]  # fmt: skip
    assert set(marked.values()) == {str(last)}
    assert set(ended(last + timedelta(days=1), "cpu-debian11", "cpu-debian12")) == {
        "cpu-debian11", "stack caffe-debian", "stack detectron", "stack detectron-py2",
    }  # fmt: skip


def test_the_next_places_of_a_release_are_known_when_it_is_past_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    archives = {"debian": "https://old.example/debian", "debian-security": "https://old.example/fixes"}
    there = places.chosen(mirrors=MIRRORS, archives=archives, snapshots="https://snap.example/archive")

    def after(name: str) -> list[tuple[str, ...]]:
        return [one.after for one in asked.distribution_suites(name, there)]

    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1795910400")  # 2026-11-29
    day = "20260901T000000Z"  # the one after the last, as apt.sh takes it
    main = ("https://old.example/debian", f"https://snap.example/archive/debian/{day}")
    fixes = ("https://old.example/fixes", f"https://snap.example/archive/debian-security/{day}")
    assert after("debian11") == [main, main, fixes]
    assert after("debian12") == after("ubuntu18.04") == [(), (), ()]


@pytest.mark.parametrize(
    ("reference", "url"),
    [
        ("debian:bookworm", "https://hub.example/v2/library/debian/manifests/bookworm"),
        ("docker.io/debian", "https://hub.example/v2/library/debian/manifests/latest"),
        ("nvidia/cuda:11.8.0-base", "https://hub.example/v2/nvidia/cuda/manifests/11.8.0-base"),
        ("nvcr.io/nvidia/cuda:1", "https://nvcr.io/v2/nvidia/cuda/manifests/1"),
        ("host.example:5000/a/b:c", "https://host.example:5000/v2/a/b/manifests/c"),
        ("localhost:5000/a:c", "http://localhost:5000/v2/a/manifests/c"),
        ("debian@sha256:12", "https://hub.example/v2/library/debian/manifests/sha256:12"),
        ("debian:12@sha256:12", "https://hub.example/v2/library/debian/manifests/sha256:12"),
    ],
)
def test_the_registry_follows_from_the_name_as_docker_has_it(reference: str, url: str) -> None:
    assert registry.parse(reference).url("hub.example") == url


def test_another_registry_is_asked_for_what_it_has() -> None:
    def hosts(name: str) -> set[str]:
        there = places.chosen(name)
        everything = {one for row in rows().values() for one in of_row(row, there)}
        return {f"{one.host}/{one.reference.repository}" for one in everything if isinstance(one, Manifest)}

    assert hosts("nvcr.io") == {"nvcr.io/nvidia/cuda", "registry-1.docker.io/library/debian",
                                "registry-1.docker.io/library/ubuntu"}  # fmt: skip
    assert {one.partition("/")[0] for one in hosts("mirror.example:5000")} == {"mirror.example:5000"}


def test_another_mirror_is_asked_in_place_of_the_public_one() -> None:
    there = places.chosen(
        mirrors={**MIRRORS, "debian": "http://near.example/debian/", "nvidia": "https://near.example/nv"}
    )
    assert {one.suite.root for one in of_row(rows()["cpu-debian12"], there) if isinstance(one, Release)} == {
        "http://near.example/debian", PUBLIC.mirrors["debian-security"],
    }  # fmt: skip
    urls = [one.url for one in of_row(NVIDIA[0], there) if isinstance(one, File)]
    assert urls and all(url.startswith("https://near.example/nv/") for url in urls)


def test_no_mirror_of_packages_is_named_in_the_file() -> None:
    assert set(places.read().mirrors) == {"github"}
    assert places.read().names == {*MIRRORS, "github"}


def test_what_needs_a_mirror_that_is_not_known_is_told_with_its_name() -> None:
    none = places.chosen(mirrors={name: url for name, url in MIRRORS.items() if name.startswith("debian")})
    missing = {name: {asked.unknown(one) for one in of_row(rows()[name], none)}
               for name in ("cpu-debian12", "cpu-ubuntu24.04", "cuda11.8-cudnn8.7-debian12")}  # fmt: skip
    assert missing == {"cpu-debian12": {""}, "cpu-ubuntu24.04": {"", "ubuntu"},
                       "cuda11.8-cudnn8.7-debian12": {"", "python"}}  # fmt: skip


def test_pips_own_indexes_are_asked() -> None:
    default = "https://public.example/simple"

    def indexes(files: list[str], variables: dict[str, str], pips_own: str = default) -> tuple[str, ...]:
        return pipconfig.indexes(files, variables, lambda: pips_own)

    assert indexes([], {}) == (default,)
    extra = "[global]\nextra-index-url = file:///srv https://b.example\n"
    files = ["[global]\nindex-url = https://a.example/simple\n", extra]
    assert indexes(files, {}) == ("https://a.example/simple", "https://b.example")
    assert indexes(files, {"PIP_INDEX_URL": "https://c.example"})[0] == "https://c.example"
    assert indexes([extra], {}) == (default, "https://b.example")
    assert indexes([extra], {}, "") == ()  # what the first lacks may be what is wanted


HELP = """\
  -i, --index-url <url>       Base URL of the Python Package Index (default https://pip.example/simple). This should
"""


def test_pips_file_is_read_where_pip_is_told_that_it_is_and_else_pip_is_asked(tmp_path: Path) -> None:
    machine = Machine({"--isolated install --help": Result(0, HELP)})
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://a.example/simple\n")
    named = {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}
    assert pipconfig.configured(machine, named) == ("https://a.example/simple",)
    assert machine.lines == []
    assert pipconfig.configured(machine, {"PIP_CONFIG_FILE": os.devnull}) == ("https://pip.example/simple",)
    assert pipconfig.configured(Machine({"--help": Result(1)}), {"PIP_CONFIG_FILE": os.devnull}) == ()


@pytest.mark.parametrize(
    ("given", "settings", "found"),
    [
        ({}, {}, {"debian": "http://mirror.example/debian", "debian-security": "http://fixes.example/debian-security"}),
        ({"debian": "http://x.example/d", "debian-security": "http://x.example/s"}, {},
         {"debian": "http://x.example/d", "debian-security": "http://x.example/s"}),
        ({"ubuntu": "http://x.example/ubuntu"}, {},
         {"ubuntu": "http://x.example/ubuntu", "ubuntu-security": "http://x.example/ubuntu",
          "debian": "http://mirror.example/debian", "debian-security": "http://fixes.example/debian-security"}),
        ({"debian": "http://x.example/d"}, {"PROVISION_UBUNTU_ARCHIVE": "https://u.example/ubuntu/"},
         {"ubuntu": "https://u.example/ubuntu", "ubuntu-security": "https://u.example/ubuntu",
          "debian": "http://x.example/d", "debian-security": "http://fixes.example/debian-security"}),
    ],
    ids=["the machine's apt", "given", "ubuntu given", "ubuntu by a setting"],
)  # fmt: skip
def test_mirrors_are_given_or_the_machines_or_the_settings(
    given: dict[str, str], settings: dict[str, str], found: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _settings(monkeypatch, settings)
    assert mirrors.known({**given, "python": "p"}, Machine(debian_host())) == {**found, "python": "p"}


def test_a_machine_of_another_kind_knows_what_its_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    other = Machine({"os-release": Result(0, "fedora \n"), "--help": Result(1)})
    _settings(monkeypatch, {})
    assert mirrors.known({}, other) == mirrors.archives() == {}
    _settings(monkeypatch, {"PROVISION_DEBIAN_ARCHIVE": "https://d.example/debian",
                            "PROVISION_DEBIAN_SECURITY": "https://s.example/fixes/"})  # fmt: skip
    found = {"debian": "https://d.example/debian", "debian-security": "https://s.example/fixes"}
    assert mirrors.known({}, other) == mirrors.archives() == found
    monkeypatch.delenv("PROVISION_DEBIAN_SECURITY")
    assert mirrors.archives()["debian-security"] == "https://d.example/debian-security"
    _settings(monkeypatch, {"PROVISION_DEBIAN_ARCHIVE": "file:///srv/debian"})
    assert mirrors.known({}, other) == {}


def test_a_list_of_mirrors_in_the_machines_apt_is_no_place_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    _settings(monkeypatch, {})
    uris = "'mirror+file:/etc/apt/mirrors/debian.list/dists/bookworm/InRelease' a 0\n"
    assert mirrors.known({"python": "p"}, Machine(debian_host() | {"print-uris": Result(0, uris)})) == {"python": "p"}


def _settings(monkeypatch: pytest.MonkeyPatch, wanted: dict[str, str]) -> None:
    for name in ("DEBIAN_ARCHIVE", "DEBIAN_SECURITY", "DEBIAN_SNAPSHOT", "UBUNTU_ARCHIVE"):
        monkeypatch.delenv(f"PROVISION_{name}", raising=False)
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)


def test_a_password_is_taken_out_of_an_address() -> None:
    assert without_login("https://me:p%40ss@a.example:8443/simple") == "https://a.example:8443/simple"
    assert logins(["https://me:p%40ss@a.example/simple", "https://b.example"]) == {
        "https://a.example:443": ("me", "p@ss")
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "x"], "--out goes with --verify"),
        (["--row", "cpu-debian12"], "--row goes with --verify"),
        (["--verify", "--row", "cpu-debain12"], "did you mean cpu-debian12"),
        (["--verify", "--mirror", "debain=http://x.example"], "did you mean debian"),
        (["--verify", "--mirror", "debian"], "write it as --mirror debian=URL"),
        (["--verify", "--mirror", "debian=me:word@x.example"], "for the mirror debian is not a web address"),
        (["--verify", "--registry", "https://nvcr.io"], "write the host alone"),
    ],
)
def test_wrong_words_are_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["image", "matrix", *words]) == 2
    err = capsys.readouterr().err
    assert said in err and "word@" not in err


def test_a_wrong_mirror_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        places.chosen(mirrors={"debian": "ftp://x.example"})
