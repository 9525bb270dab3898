"""A base image made from the distribution's own packages, through the mirror that this machine is set up for."""

import pytest

from infra import baseimage, buildx
from infra.baseimage import Release
from infra.shell import LocalShell, have

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not have("mmdebstrap"), reason="mmdebstrap is not installed: make host"),
]
SHELL = LocalShell()
TAG = "provision-test-base:bookworm"


@pytest.mark.long
def test_a_release_becomes_an_image_that_works_and_says_where_it_is_from() -> None:
    said: list[str] = []
    try:
        baseimage.make(TAG, Release("debian", "bookworm"), SHELL, said.append)
        found = buildx.inspect(SHELL, TAG)
        assert found is not None and found.size < 180e6
        assert found.labels["provision.mirror"] in said[-1]
        release = SHELL.run(["docker", "run", "--rm", "--network", "none", TAG, "cat", "/etc/os-release"]).out
        assert "VERSION_CODENAME=bookworm" in release
        assert baseimage.ensure(TAG, SHELL) == found.id
    finally:
        SHELL.run(["docker", "image", "rm", TAG], check=False)
