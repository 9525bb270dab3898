"""Debian's archive holds the packages that the matrix pins, in the version that it pins."""

import subprocess

import pytest

from images.distributions import distribution
from images.matrix import Variant, rows

pytestmark = pytest.mark.facts

# the image's own mirror, with the release and the components that are asked for
_MADISON = """
mirror=$(grep -rhoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list* 2>/dev/null | head -n 1)
rm -rf /etc/apt/sources.list.d/*
echo "deb $mirror $1 main contrib non-free" > /etc/apt/sources.list
shift
apt-get update -qq && apt-cache madison "$@"
"""


@pytest.mark.parametrize("row", [row for row in rows().values() if row.base_kind == "debian-cuda"], ids=lambda r: r.id)
def test_the_archive_has_the_pinned_packages(row: Variant) -> None:
    release = distribution(row.distribution).codename
    words = ["docker", "run", "--rm", "debian:bookworm", "sh", "-euc", _MADISON, "sh", release, *row.apt_build]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    there = {
        (name.strip(), version.strip()) for name, version, _ in (one.split("|") for one in done.stdout.splitlines())
    }
    assert set(row.apt_build.items()) <= there
