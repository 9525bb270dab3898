"""A training's traces on a host that is a system container, and in the bucket. `provision` is not asked."""

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from tests.faults.oracle import World

RUNS = "/var/lib/provision/runs"
GUARD = "/var/lib/provision/guard"
LOOK = (
    "docker ps -a --filter label=provision.run --format '{{.Names}} {{.Label \"provision.run\"}} {{.State}}'; "
    f'sed -n \'s/.*"container": "\\([^"]*\\)".*/\\1/p\' {GUARD}/*/plan.json 2>/dev/null; true'
)
CLEAR = f"docker ps -aq --filter label=provision.run | xargs -r docker rm -fv; rm -rf {RUNS}/*/ {GUARD}"
TRAINED = "grep -qs 'Iteration [1-9]' {}/log/attempt-*.txt"
TRAINS = f"until {TRAINED.format(RUNS + '/*')}; do sleep 0.05; done"


@dataclass(frozen=True)
class Container:
    """A training's container. `guarded`: the host's guard has been told of it."""

    name: str
    run: str
    state: str
    guarded: bool

    @property
    def trains(self) -> bool:
        return self.state == "running"


@dataclass(frozen=True)
class Host:
    """The machine on which the sweep trains."""

    world: World
    instance: str
    container: str

    def inside(self, line: str) -> str:
        """What a line of shell prints there."""
        words = ["docker", "exec", self.container, "sh", "-c", line]
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout

    def trained(self, run: str) -> bool:
        """Whether it did an iteration."""
        return bool(self.inside(f"{TRAINED.format(f'{RUNS}/{run}')} && echo yes; true"))

    def containers(self) -> list[Container]:
        lines = [line.split() for line in self.inside(LOOK).splitlines()]
        known = {line[0] for line in lines if len(line) == 1}
        found = [line for line in lines if len(line) == 3]
        return [Container(name, run, state, name in known) for name, run, state in found]


def host_of(world: World) -> Host:
    """The one machine of the world."""
    (one,) = [one for one in world.ask("status") if one["state"] == "running"]
    return Host(world, one["id"], one["container"])


def bucket(world: World) -> str:
    """The bucket of runs; "" before there is one."""
    names = [one["Name"] for one in world.client("s3").list_buckets()["Buckets"]]
    return next((name for name in names if name.startswith("provision-")), "")


def runs(world: World) -> frozenset[str]:
    """Ids of all runs that have a manifest."""
    place = bucket(world)
    keys = _keys(world, place, "runs/") if place else []
    return frozenset(key.split("/")[1] for key in keys if key.endswith("/manifest.json"))


def state(world: World, run: str) -> str:
    """How the guard says that it stands; "" before it said anything."""
    api, place = world.client("s3"), bucket(world)
    key = f"runs/{run}/state.json"
    if key not in _keys(world, place, key):
        return ""
    said: dict[str, Any] = json.loads(api.get_object(Bucket=place, Key=key)["Body"].read())
    return str(said["state"])


def saved(world: World, run: str) -> bool:
    """Whether there is a complete snapshot."""
    keys = _keys(world, bucket(world), f"runs/{run}/snapshots/")
    return any(key.endswith("/complete.json") for key in keys)


def _keys(world: World, place: str, prefix: str) -> list[str]:
    pages = world.client("s3").get_paginator("list_objects_v2").paginate(Bucket=place, Prefix=prefix)
    return [one["Key"] for page in pages for one in page.get("Contents", [])]
