"""Base images made from the distribution's own packages, through the mirror that this machine is set up for."""

import tarfile
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from images import bases
from images.build import build_context, existing, remove
from images.choose import choose
from images.render import Context
from infra import aptsources, baseimage, buildx
from infra.aptsources import Release
from infra.shell import LocalShell, have
from tests.engine.security import behind

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not have("mmdebstrap"), reason="mmdebstrap is not installed: make host"),
]
SHELL = LocalShell()
TAG = "provision-test-base:bookworm"

_INSTALL = r"""
RUN --mount=type=secret,id=ca set -eu; export DEBIAN_FRONTEND=noninteractive; \
    if [ -s /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca; fi; \
    apt-get -qq -o Acquire::https::CAInfo="${SSL_CERT_FILE:-}" update; \
    apt-get -qq -y -o Acquire::https::CAInfo="${SSL_CERT_FILE:-}" install --no-install-recommends curl git
"""


@pytest.mark.parametrize("reference", ["debian:bookworm", "debian:bullseye"])
def test_a_base_that_is_made_here_is_behind_no_security_fix(reference: str) -> None:
    """The engine's own may be older than the last fix: then it is asked of one that is made now."""
    baseimage.ensure(reference, SHELL, print)
    found, release = buildx.inspect(SHELL, reference), aptsources.parse(reference)
    assert found is not None and release
    if release.security not in found.labels.get(baseimage.SUITES, ""):
        pytest.skip(f"{reference} is from a registry, or this machine's mirror has no fixes for it")
    late = behind(reference)
    if late:
        fresh = f"{TAG}-{release.codename}"
        baseimage.make(fresh, release, SHELL, print)
        try:
            late = behind(fresh)
        finally:
            SHELL.run(buildx.untag_words(fresh), check=False)
    assert late == []


def test_what_is_installed_on_a_base_is_behind_no_security_fix() -> None:
    reference = "debian:bookworm"
    context = Context(choose("caffe-debian"), (("Dockerfile", f"FROM {reference}{_INSTALL}"),))
    made = build_context(context, SHELL, no_cache=True)
    try:
        before, after = behind(reference), behind(made.tag)
        assert [line for line in after if line not in before] == []
    finally:
        remove(made, SHELL)


@pytest.fixture
def moving(tmp_path: Path) -> Iterator[str]:
    """A base's name that can be put on another image."""
    name = "provision-test-moving:1"
    move(name, tmp_path)
    yield name
    SHELL.run(buildx.untag_words(name), check=False)


def move(name: str, folder: Path) -> None:
    """Put the name on a new image, which holds nothing; the one that had it goes."""
    SHELL.run(buildx.untag_words(name), check=False)
    with tarfile.open(folder / "nothing.tar", "w"):
        pass
    SHELL.run(buildx.import_words(str(folder / "nothing.tar"), name, {"at": str(datetime.now(timezone.utc))}))


def test_an_image_is_not_there_once_its_base_is_another(moving: str, tmp_path: Path) -> None:
    context = Context(choose("caffe-debian"), (("Dockerfile", f"FROM {moving}\nCOPY Dockerfile /\n"),))
    made = build_context(context, SHELL)
    try:
        base, found = buildx.inspect(SHELL, moving), buildx.inspect(SHELL, made.tag)
        assert base is not None and found is not None
        assert (found.labels[bases.NAME], found.labels[bases.DIGEST]) == (moving, base.id)
        assert existing(context, SHELL) is not None and bases.cautions([moving], SHELL) == []
        move(moving, tmp_path)
        assert existing(context, SHELL) is None
        again = build_context(context, SHELL)
        assert again.digest != made.digest and existing(context, SHELL) is not None
    finally:
        remove(made, SHELL)
        SHELL.run(buildx.untag_words(made.digest), check=False)


@pytest.mark.long
def test_a_release_becomes_an_image_that_works_and_says_where_it_is_from() -> None:
    said: list[str] = []
    try:
        baseimage.make(TAG, Release("debian", "bookworm"), SHELL, said.append)
        found = buildx.inspect(SHELL, TAG)
        assert found is not None and found.size < 180e6
        assert found.labels["provision.mirror"] in said[-1]
        assert found.labels["provision.suites"] == "bookworm bookworm-updates bookworm-security"
        release = SHELL.run(["docker", "run", "--rm", "--network", "none", TAG, "cat", "/etc/os-release"]).out
        assert "VERSION_CODENAME=bookworm" in release
        assert baseimage.ensure(TAG, SHELL) == found.id
    finally:
        SHELL.run(["docker", "image", "rm", TAG], check=False)
