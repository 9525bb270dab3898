"""Remove what a cloud left in Docker when its daemon died: containers, volumes, networks, found by label.

A cloud whose daemon lives is never touched: its folder (named in a label) is locked by the daemon.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import docker.errors

from localcloud.engine import CLOUD, STATE, client, remove_volume
from localcloud.home import Home


@dataclass(frozen=True)
class Left:
    """One thing of a local cloud that Docker still has."""

    kind: str
    name: str
    cloud: str
    state: str


def sweep(cloud: str | None = None) -> list[Left]:
    """Remove everything of dead clouds (of that name only, if one is given); what was removed."""
    api = client()
    dead = [left for left in found(api, cloud) if not Home(left.cloud, Path(left.state)).alive()]
    for left in dead:
        _remove(api, left)
    return dead


def found(api: docker.APIClient, cloud: str | None = None) -> list[Left]:
    """All that is labelled, containers first, networks last: the order in which it can be removed."""
    wanted: dict[str, Any] = {"label": f"{CLOUD}={cloud}" if cloud else CLOUD}
    return [
        *_lefts("container", api.containers(all=True, filters=wanted), lambda c: c["Names"][0].lstrip("/")),
        *_lefts("volume", api.volumes(filters=wanted)["Volumes"] or [], lambda v: v["Name"]),
        *_lefts("network", api.networks(filters=wanted), lambda n: n["Name"]),
    ]


def _lefts(kind: str, things: list[Any], name: Callable[[Any], str]) -> Iterator[Left]:
    for thing in things:
        labels = thing["Labels"]
        yield Left(kind, name(thing), labels[CLOUD], labels.get(STATE, ""))


def _remove(api: docker.APIClient, left: Left) -> None:
    try:
        if left.kind == "container":
            api.remove_container(left.name, force=True, v=True)
        elif left.kind == "volume":
            remove_volume(api, left.name)
        else:
            api.remove_network(left.name)
    except docker.errors.NotFound:
        pass
