"""Machines whose Docker engine has an image from the start, as those of an AMI that was baked with it.

The image is loaded once, by a machine's own engine, into a volume that is kept. A new machine's disk is a copy of it:
of the layers' files only the names are copied (hard links: an engine writes a layer once, and later only deletes it),
all else is small. To load an image of 529 MB takes 20 s of CPU time in each machine, such a copy less than one.
"""

import contextlib
import hashlib
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import docker
import docker.errors

from infra.errors import EngineError, ImageError

if TYPE_CHECKING:
    from localcloud.engine import Engine

LABEL = "provision.preloaded"  # no cloud's own: the next cloud takes it as it is
SOCKET = "/var/run/docker.sock"
LONGEST = 600  # seconds that another cloud may take to load the same

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
for one in *; do [ "$one" = overlay2 ] || cp -a "$one" "/volumes/$2/_data/"; done"""


def prepare(engine: "Engine", machine: str, tag: str) -> str:
    """The name of a volume with the image in it, for machines of the Docker image `machine`; loaded if need be."""
    found = engine.api.images(tag)
    if not found:
        raise ImageError(f"no image {tag} is here to preload", f"provision image ls; docker pull {tag}")
    both = f"{engine.api.images(machine)[0]['Id']} {found[0]['Id']} {tag}"
    volume = f"provision-local-preloaded-{hashlib.sha256(both.encode()).hexdigest()[:12]}"
    engine.api.create_volume(volume, labels={LABEL: tag})
    deadline = time.monotonic() + LONGEST
    while _shell(engine, machine, _binds(engine, {volume: "/disk"}), WHOLE)[0]:
        if time.monotonic() > deadline:
            raise EngineError(f"{volume} is still being filled by another", f"docker rm -f {volume}")
        if not _load(engine, machine, tag, volume):
            time.sleep(1.0)
    _drop_others(engine.api, volume, tag)
    return volume


def copy(engine: "Engine", machine: str, source: str, target: str) -> None:
    """Fill the volume `target`, which is empty, as `source` is."""
    root = engine.api.inspect_volume(source)["Mountpoint"].removesuffix(f"/{source}/_data")
    _succeed(_shell(engine, machine, _binds(engine, {root: "/volumes"}), COPY, source, target))


def _load(engine: "Engine", machine: str, tag: str, volume: str) -> bool:
    """Load the image with the engine of a machine; False while another does: of one name there is one container."""
    from localcloud.engine import machine_config

    outer = {SOCKET: {"bind": "/outer.sock", "mode": "rw"}}
    config = machine_config(engine.api, "none", volume, outer)
    try:
        done = _shell(engine, machine, config, LOAD, tag, name=volume)
    except docker.errors.APIError as error:
        if error.status_code == 409:
            return False
        raise
    _succeed(done)
    return True


def _binds(engine: "Engine", binds: Mapping[str, str]) -> Any:
    """The settings of a container that has volumes or folders (by name or path) somewhere, and no network."""
    places: dict[str, Mapping[str, str]] = {what: {"bind": where, "mode": "rw"} for what, where in binds.items()}
    return engine.api.create_host_config(binds=places, network_mode="none")


def _shell(
    engine: "Engine", machine: str, config: Any, script: str, *words: str, name: str | None = None
) -> tuple[int, str]:
    """The exit code of a script in a container of its own, and what it says."""
    command = ["sh", "-c", script, "preload", *words]
    made = engine.api.create_container(machine, command, name=name, labels=engine.labels, host_config=config)["Id"]
    try:
        engine.api.start(made)
        code = engine.api.wait(made, timeout=LONGEST)["StatusCode"]
        return int(code), engine.api.logs(made).decode(errors="replace").strip()
    finally:
        engine.api.remove_container(made, force=True, v=True)


def _succeed(done: tuple[int, str]) -> None:
    code, said = done
    if code:
        raise EngineError(f"a machine's disk could not be filled: {said}")


def _drop_others(api: docker.APIClient, volume: str, tag: str) -> None:
    """An image of that name that has changed is needed no more; what another cloud uses at this moment stays."""
    name = tag.rpartition(":")[0]
    for one in api.volumes(filters={"label": LABEL})["Volumes"] or []:
        if one["Name"] != volume and one["Labels"][LABEL].rpartition(":")[0] == name:
            with contextlib.suppress(docker.errors.APIError):
                api.remove_volume(one["Name"])
