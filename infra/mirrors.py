"""Where this machine takes packages from: its own apt, its own pip, and the user's settings. This code names no mirror.

Names are those of `--mirror`: debian, debian-security, ubuntu, ubuntu-security, python. Only web addresses count: a
folder, or a list of mirrors, cannot be asked over HTTP. An address may hold a password.
"""

import os
from collections.abc import Mapping

from infra import aptsources, pipconfig
from infra.aptsources import Own, Release
from infra.shell import Shell

DISTRIBUTIONS = ("debian", "ubuntu")


def known(given: Mapping[str, str], shell: Shell) -> dict[str, str]:
    """Mirrors by name: the given ones, and those that the machine knows for the other names. Unknown ones are left out.

    `python` may hold several addresses, with blanks between.
    """
    found: dict[str, str] = {}
    for distribution in DISTRIBUTIONS:
        if not {distribution, f"{distribution}-security"} <= set(given):
            found |= _of_distribution(distribution, given.get(distribution), aptsources.own(distribution, shell))
    if "python" not in given and (indexes := pipconfig.configured(shell)):
        found["python"] = " ".join(indexes)
    return found | dict(given)


def archives() -> dict[str, str]:
    """The archives that the settings name for releases that the mirrors have dropped, by the name of that mirror."""
    found: dict[str, str] = {}
    for distribution in DISTRIBUTIONS:
        if archive := _setting(Release(distribution, "").setting):
            found |= _of_distribution(distribution, archive, Own())
    return found


def snapshots() -> str:
    """The archive folder of Debian's snapshot service that the setting names; empty where it is not set."""
    return _setting(aptsources.SNAPSHOT)


def _of_distribution(distribution: str, given: str | None, own: Own) -> dict[str, str]:
    """The distribution's mirror and the one of its security fixes; {} where the first is not known."""
    release = Release(distribution, "")
    mirror = given or _web(own.mirror) or _setting(release.setting)
    if not mirror:
        return {}
    fixes = [_web(place) for place in aptsources.security_places(release, mirror, _web(own.security))]
    return {distribution: mirror, f"{distribution}-security": next(filter(None, fixes)).rstrip("/")}


def _setting(name: str) -> str:
    return _web(os.environ.get(name)).rstrip("/")


def _web(address: str | None) -> str:
    return address if address and address.startswith(("http://", "https://")) else ""
