"""Machines whose Docker engine has an image from the start, as those of an AMI that was baked with it.

The image is loaded once, by a machine's own engine, into a volume that is kept. A new machine's disk is a copy of it:
of the layers' files only the names are copied (hard links: an engine writes a layer once, and later only deletes it),
all else is small. To load an image of 529 MB takes 20 s of CPU time in each machine, such a copy less than one.
"""

import contextlib
import hashlib
import time
from collections.abc import Mapping
from typing import Any

import docker
import docker.errors

from infra.errors import EngineError, ImageError
from localcloud.machine_config import machine_config

LABEL = "provision.preloaded"  # no cloud's own: the next cloud takes it as it is
SOCKET = "/var/run/docker.sock"
LONGEST = 600  # seconds that another cloud may take to load the same

Labels = Mapping[str, str]

WHOLE = "test -e /disk/.whole"
LOAD = """set -e
for folder in /sys/fs/cgroup /sys/fs/cgroup/*/; do mount -o remount,bind,rw "$folder" 2>/dev/null || true; done
dockerd --bridge=none --iptables=false >/tmp/dockerd.log 2>&1 & engine=$!
for _ in $(seq 300); do docker info >/dev/null 2>&1 && break || sleep 0.2; done
docker -H unix:///outer.sock save "$1" | docker load || { cat /tmp/dockerd.log; exit 1; }
docker image inspect "$1" >/dev/null
kill "$engine"
wait "$engine" || true
touch /var/lib/docker/.whole"""
COPY = """set -e
cd "/volumes/$1/_data"
cp -al overlay2 "/volumes/$2/_data/"
for entry in *; do [ "$entry" = overlay2 ] || cp -a "$entry" "/volumes/$2/_data/"; done"""


def prepare(api: docker.APIClient, labels: Labels, machine: str, tag: str) -> str:
    """The name of a volume with the image in it, for machines of the Docker image `machine`; loaded if need be.

    The containers that do it carry the cloud's `labels`. ImageError where the image is not here; EngineError where the
    loading fails.
    """
    found = api.images(tag)
    if not found:
        raise ImageError(f"no image {tag} is here to preload", f"provision image ls; docker pull {tag}")
    both = f"{api.images(machine)[0]['Id']} {found[0]['Id']} {tag}"
    volume = f"provision-local-preloaded-{hashlib.sha256(both.encode()).hexdigest()[:12]}"
    api.create_volume(volume, labels={LABEL: tag})
    deadline = time.monotonic() + LONGEST
    while _shell(api, labels, machine, _binds(api, {volume: "/disk"}), WHOLE)[0]:
        if time.monotonic() > deadline:
            raise EngineError(f"{volume} is still being filled by another cloud", f"docker rm -f {volume}")
        if not _load(api, labels, machine, tag, volume):
            time.sleep(1.0)
    _drop_others(api, volume, tag)
    return volume


def copy(api: docker.APIClient, labels: Labels, machine: str, source: str, target: str) -> None:
    """Fill the volume `target`, which is empty, as `source` is."""
    root = api.inspect_volume(source)["Mountpoint"].removesuffix(f"/{source}/_data")
    _succeed(_shell(api, labels, machine, _binds(api, {root: "/volumes"}), COPY, source, target))


def _load(api: docker.APIClient, labels: Labels, machine: str, tag: str, volume: str) -> bool:
    """Load the image with a machine's engine. False while another cloud does: a container's name is there once."""
    outer = {SOCKET: {"bind": "/outer.sock", "mode": "rw"}}
    config = machine_config(api, "none", volume, outer)
    try:
        done = _shell(api, labels, machine, config, LOAD, tag, name=volume)
    except docker.errors.APIError as error:
        if error.status_code == 409:
            return False
        raise
    _succeed(done)
    return True


def _binds(api: docker.APIClient, binds: Mapping[str, str]) -> Any:
    """The settings of a container that has volumes or folders (by name or path) somewhere, and no network."""
    places: dict[str, Mapping[str, str]] = {what: {"bind": where, "mode": "rw"} for what, where in binds.items()}
    return api.create_host_config(binds=places, network_mode="none")


def _shell(
    api: docker.APIClient, labels: Labels, machine: str, config: Any, script: str, *words: str, name: str | None = None
) -> tuple[int, str]:
    """The exit code of a script in a container of its own, and what it says."""
    command = ["sh", "-c", script, "preload", *words]
    made = api.create_container(machine, command, name=name, labels=dict(labels), host_config=config)["Id"]
    try:
        api.start(made)
        code = api.wait(made, timeout=LONGEST)["StatusCode"]
        return int(code), api.logs(made).decode(errors="replace").strip()
    finally:
        api.remove_container(made, force=True, v=True)


def _succeed(done: tuple[int, str]) -> None:
    code, said = done
    if code:
        raise EngineError(f"a machine's disk could not be filled: {said}")


def _drop_others(api: docker.APIClient, volume: str, tag: str) -> None:
    """An image of that name that has changed is needed no more; what another cloud uses at this moment stays."""
    name = tag.rpartition(":")[0]
    for other in api.volumes(filters={"label": LABEL})["Volumes"] or []:
        if other["Name"] != volume and other["Labels"][LABEL].rpartition(":")[0] == name:
            with contextlib.suppress(docker.errors.APIError):
                api.remove_volume(other["Name"])
