"""Remove what a cloud left when its daemon died: in Docker containers, volumes, images and networks, found by label;
and the loop devices of its disks, found by their files.

A cloud whose daemon lives is never touched: its folder (named in a label) is locked by the daemon.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import docker.errors

from localcloud import disks
from localcloud.engine import CLOUD, STATE, client, remove_container, remove_image, remove_volume
from localcloud.home import Home


@dataclass(frozen=True)
class Left:
    """One thing of a local cloud that Docker still has."""

    kind: str
    name: str
    cloud: str
    state: str

    @property
    def home(self) -> Home:
        return Home(self.cloud, Path(self.state))


def sweep(cloud: str | None = None, mine: Path | None = None) -> list[Left]:
    """Remove everything of dead clouds (of that name only, if one is given); what was removed.

    A daemon that ends passes its own folder as `mine`: it counts as dead although its lock is held.
    """
    api = client()
    all_left = found(api, cloud)
    dead = [left for left in all_left if left.state == str(mine) or not left.home.alive()]
    for left in dead:
        _remove(api, left)
    return dead


def found(api: docker.APIClient, cloud: str | None = None) -> list[Left]:
    """All that is labelled, containers first, networks last: the order in which it can be removed."""
    wanted: dict[str, Any] = {"label": f"{CLOUD}={cloud}" if cloud else CLOUD}
    return [
        *_lefts(
            "container", api.containers(all=True, filters=wanted), lambda container: container["Names"][0].lstrip("/")
        ),
        *_lefts("volume", api.volumes(filters=wanted)["Volumes"] or [], lambda volume: volume["Name"]),
        *_lefts("image", api.images(filters=wanted), lambda image: image["Id"]),
        *_lefts("network", api.networks(filters=wanted), lambda network: network["Name"]),
        *(left for left in _disks() if cloud in (None, left.cloud)),
    ]


def _disks() -> Iterator[Left]:
    """Files behind loop devices, in the folders of clouds."""
    for file in disks.attached():
        folder = file.parent.parent
        if file.parent.name == disks.FOLDER and (folder / "daemon.lock").exists():
            yield Left("disk", str(file), folder.name, str(folder))


def _lefts(kind: str, things: list[Any], name: Callable[[Any], str]) -> Iterator[Left]:
    for thing in things:
        labels = thing["Labels"]
        yield Left(kind, name(thing), labels[CLOUD], labels.get(STATE, ""))


def _remove(api: docker.APIClient, left: Left) -> None:
    if left.kind == "container":
        remove_container(api, left.name)
    elif left.kind == "volume":
        remove_volume(api, left.name)
    elif left.kind == "image":
        remove_image(api, left.name)
    elif left.kind == "disk":
        disks.detach(Path(left.name))
        Path(left.name).unlink(missing_ok=True)
    else:
        with contextlib.suppress(docker.errors.NotFound):
            api.remove_network(left.name)
