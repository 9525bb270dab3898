"""Images of a release whose support has ended are built from where its packages are then."""

import re
import subprocess
import uuid
from collections.abc import Callable, Iterator

import pytest

from images.build import Image, build_context, remove
from images.check import check, failed_words
from images.choose import choose
from images.render import Context, render
from images.stacks import stacks
from infra import apt, baseimage
from infra.errors import ImageError
from infra.shell import LocalShell
from tests.engine.purged import DATE, PACKAGE, Purged, purged

SHELL = LocalShell()
# beside caffe-debian, which is built whole
MORE = [name for name in stacks() if choose(name).distribution.name == "debian11" and name != "caffe-debian"]
_AS_RELEASED = (
    "RUN echo 'deb {mirror}/debian bullseye main' > /etc/apt/sources.list &&"
    " printf '%s\\n' 'Package: *' 'Pin: release n=bullseye' 'Pin-Priority: 1001' > /etc/apt/preferences.d/older &&"
    " apt-get update -qq && apt-get dist-upgrade -qq -y --allow-downgrades && rm /etc/apt/preferences.d/older\n"
)
Builder = Callable[[Context], Image]
STEP = (
    "RUN --mount=type=bind,source=apt.sh,target=/tmp/apt.sh --mount=type=secret,id=apt"
    " set -eu; release_end={end}; . /tmp/apt.sh; apt_install {package}; apt_tidy"
)


@pytest.fixture
def mirror() -> Iterator[Purged]:
    baseimage.ensure("debian:bullseye", SHELL)
    with purged() as place:
        yield place


@pytest.fixture
def bullseye(mirror: Purged) -> Iterator[str]:
    """The base image as the official one is, with the purged mirror in its sources."""
    yield from _with_sources(mirror, mirror.sources())


@pytest.fixture
def plain(mirror: Purged) -> Iterator[str]:
    """The same with sources that name no snapshot."""
    yield from _with_sources(mirror, mirror.sources(comments=False))


@pytest.fixture
def older(mirror: Purged) -> Iterator[str]:
    """The base as the release itself was: what is compiled needs the very version of the C library."""
    yield from _with_sources(mirror, mirror.sources(), _AS_RELEASED.format(mirror=mirror.url))


def _with_sources(mirror: Purged, text: str, more: str = "") -> Iterator[str]:
    name = f"provision-purged:{uuid.uuid4().hex[:12]}"
    files = {"sources.list": text, "purged.asc": mirror.key}
    dockerfile = (
        "FROM debian:bullseye\nRUN rm -rf /etc/apt/sources.list*\n"
        f"{more}COPY sources.list /etc/apt/\nCOPY purged.asc /etc/apt/trusted.gpg.d/\n"
    )
    context = Context(choose("caffe-debian"), (("Dockerfile", dockerfile), *files.items()))
    subprocess.run(["docker", "build", "--quiet", "--tag", name, "-"], input=context.tar(), check=True)
    yield name
    subprocess.run(["docker", "image", "rm", "--force", name], check=False, capture_output=True)


def small(base: str, end: str = "2026-08-31", package: str = PACKAGE) -> Context:
    """One step that installs what only the security suite has a newer version of."""
    text = f"FROM {base}\n# {uuid.uuid4().hex}\n{STEP.format(end=end, package=package)}\n"
    return Context(choose("caffe-debian"), (("Dockerfile", text), ("apt.sh", apt.SCRIPT)))


def moved(context: Context, base: str) -> Context:
    """The very context, on that base, with package caches of its own: those of other builds hold what is purged."""
    text = context.dockerfile.replace("debian:bullseye", base).replace("id=provision-", f"id={uuid.uuid4().hex[:8]}-")
    return Context(context.target, (*(one for one in context.files if one[0] != "Dockerfile"), ("Dockerfile", text)))


@pytest.fixture
def build() -> Iterator[Builder]:
    """Builds a context; the image goes with the test."""
    made: list[Image] = []

    def one(context: Context) -> Image:
        made.append(build_context(context, SHELL))
        return made[-1]

    yield one
    for image in made:
        remove(image, SHELL)


def sources_of(tag: str) -> str:
    words = ["docker", "run", "--rm", "--network", "none", tag, "cat", "/etc/apt/sources.list"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_the_purge_is_what_a_new_user_meets(bullseye: str, mirror: Purged, build: Builder) -> None:
    text = f"FROM {bullseye}\n# {uuid.uuid4().hex}\nRUN apt-get update -qq && apt-get install -y -qq {PACKAGE}\n"
    done = subprocess.run(["docker", "build", "--no-cache", "-"], input=text.encode(), capture_output=True)
    assert done.returncode != 0 and mirror.answers(404, "/debian-security/pool/")


def test_the_snapshot_that_the_image_names_is_taken_and_stays(bullseye: str, mirror: Purged, build: Builder) -> None:
    made = build(small(bullseye))
    assert mirror.answers(404, "/debian-security/pool/") and mirror.answers(
        200, f"/archive/debian-security/{DATE}/pool/"
    )
    assert sources_of(made.tag) == "".join(
        f"deb [check-valid-until=no] {mirror.url}/archive/{path}/{DATE} {suite} main\n"
        for path, suite in (("debian", "bullseye"), ("debian-security", "bullseye-security"))
    )


def test_a_release_that_lives_is_never_taken_from_a_snapshot(bullseye: str, mirror: Purged, build: Builder) -> None:
    with pytest.raises(ImageError, match="404"):
        build(small(bullseye, "2999-12-31"))
    assert not mirror.answers(200, "/archive/")


@pytest.mark.long
@pytest.mark.parametrize("setting", ["PROVISION_DEBIAN_SNAPSHOT", "PROVISION_DEBIAN_ARCHIVE"])
def test_where_the_image_names_no_snapshot_a_setting_does(
    plain: str, mirror: Purged, build: Builder, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = f"{mirror.url}/archive" + ("/debian" if setting.endswith("ARCHIVE") else "")
    monkeypatch.setenv(setting, archive)
    made = build(small(plain))
    day = "/20260901T000000Z" if setting.endswith("SNAPSHOT") else ""
    assert mirror.answers(200, f"/archive/debian-security{day}/pool/")
    assert sources_of(made.tag) == mirror.sources(comments=False), "a setting may hold a password"


@pytest.mark.long
def test_without_any_other_place_the_release_alone_is_taken_with_a_warning(plain: str, build: Builder) -> None:
    said: list[str] = []
    made = build_context(small(plain), SHELL, said.append)
    try:
        assert any("not all is there any more; next: release" in line for line in said)
        words = [
            "docker",
            "run",
            "--rm",
            "--network",
            "none",
            made.tag,
            "dpkg-query",
            "-W",
            "-f",
            "${Version}",
            PACKAGE,
        ]
        assert "fixed" not in subprocess.run(words, capture_output=True, text=True, check=True).stdout
    finally:
        remove(made, SHELL)


@pytest.mark.long
def test_what_no_place_has_is_said_with_the_mend(plain: str, build: Builder) -> None:
    with pytest.raises(ImageError, match=r"support of this release ended on 2026-08-31, and no place") as caught:
        build(small(plain, package=f"{PACKAGE}=99"))
    assert "set PROVISION_DEBIAN_SNAPSHOT" in caught.value.mend


def test_the_demo_s_image_builds_behind_the_purge_and_works(bullseye: str, mirror: Purged, build: Builder) -> None:
    made = build(moved(render(choose("caffe-debian")), bullseye))
    assert not failed_words(check(made, SHELL))
    assert mirror.answers(404, "/debian-security/pool/")


def package_steps(dockerfile: str) -> str:
    """The stages, and of their instructions those that install packages."""
    instructions = re.findall(r"(?m)^[A-Z]+ (?:.*\\\n)*.*$", dockerfile)
    kept = [one for one in instructions if one.startswith("FROM ") or "apt_install" in one]
    names = re.findall(r"(?m)^FROM \S+ AS (\S+)$", dockerfile)
    last = "FROM scratch AS all\n" + "".join(f"COPY --from={name} /etc/passwd /{name}\n" for name in names)
    return "\n".join(kept) + "\n" + last


@pytest.mark.long
@pytest.mark.parametrize("stack", MORE)
def test_each_other_default_image_on_it_finds_its_packages(
    stack: str, older: str, mirror: Purged, build: Builder
) -> None:
    context = moved(render(choose(stack)), older)
    text = package_steps(context.dockerfile)
    assert text.count("apt_install") == context.dockerfile.count("apt_install") > 0
    build(Context(context.target, (("Dockerfile", text), ("apt.sh", apt.SCRIPT))))
    assert mirror.answers(404, "/debian-security/pool/")
