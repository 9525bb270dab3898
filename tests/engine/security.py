"""What in an image is older than its security suite has it."""

from collections.abc import Callable

from images import bases
from images.build import Image
from infra import baseimage, buildsecrets, buildx
from infra.shell import LocalShell

SHELL = LocalShell()

# Prints a line for each package that is older than the image's security suite has it.
_BEHIND = r"""
set -e
if [ -s /run/secrets/ca ]; then echo 'Acquire::https::CAInfo "/run/secrets/ca";' > /etc/apt/apt.conf.d/99ca; fi
apt-get update -qq >&2
apt list --upgradable 2>/dev/null | grep -e '-security' || true
"""


def behind(image: str) -> list[str]:
    """The packages of the image that are behind its security suite, a line each."""
    with buildsecrets.collected(SHELL) as secrets:
        mounts = [word for name, path in secrets.items() for word in ("--volume", f"{path}:/run/secrets/{name}:ro")]
        words = ["docker", "run", "--rm", "--user", "0", *mounts, image, "sh", "-c", _BEHIND]
        return SHELL.run(words).out.splitlines()


def overlooked(image: Callable[[], Image]) -> list[str]:
    """The packages that a build leaves behind, its base's own apart: none.

    A mirror may begin to serve a fix at any moment, with an older date on it: where something is behind, the base
    is made again, and with it the image, and that one counts.
    """
    late, base = _added(image().tag)
    if late:
        baseimage.ensure(base, SHELL, print, pull=True)
        late, _ = _added(image().tag)
    return late


def _added(tag: str) -> tuple[list[str], str]:
    """What is behind in the image and not in its base; the base's name."""
    found = buildx.inspect(SHELL, tag)
    assert found is not None
    base = found.labels[bases.NAME]
    already = behind(base)
    return [line for line in behind(tag) if line not in already], base
