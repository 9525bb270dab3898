"""A container as a value, and the two ways to ask Docker for it: its command line, and the arguments of its SDK."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Bind:
    """A host folder in a container."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class GpuRequest:
    """GPUs by index. `runtime`: ask for them through the older runtime `nvidia`, not through the toolkit's hook."""

    indices: tuple[int, ...] = ()
    runtime: bool = False

    @property
    def ids(self) -> list[str]:
        return [str(index) for index in self.indices]


@dataclass(frozen=True)
class Rights:
    """What the programs of a container may do beside what their user may: none of the kernel's `capabilities` but
    these, by their names without CAP_, and `pids` processes and threads at once (0: any number).

    Whoever is not root comes to a capability by a file that carries it (setcap, or set-uid root), so with capabilities
    a program may gain rights in that way (no-new-privileges is not set), and else it may not.
    """

    capabilities: tuple[str, ...] = ()
    pids: int = 4096


@dataclass(frozen=True)
class ContainerSpec:
    """A container to start. `user` is uid:gid; `ports` are published on the host's 127.0.0.1 alone. Without `rights`
    there are Docker's own, and its user may become root or another user (sudo)."""

    name: str
    image: str
    command: tuple[str, ...]
    user: str
    binds: tuple[Bind, ...] = ()
    workdir: str = "/work"
    gpus: GpuRequest = GpuRequest()
    labels: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    stop_signal: str = "SIGTERM"
    shm_mib: int = 1024
    rights: Rights | None = Rights()


@dataclass(frozen=True)
class ContainerState:
    """A container at the engine: `status` is docker's word; `exit_code` is None until the container has ended."""

    id: str
    name: str
    status: str
    exit_code: int | None
    labels: Mapping[str, str]


def cli_words(spec: ContainerSpec, *flags: str) -> list[str]:
    """The command line that starts the container; `flags` are docker's own, such as --detach or --rm."""
    said = ["docker", "run", *flags, "--name", spec.name, "--user", spec.user, *plain_flags(spec)]
    for key, value in environment(spec).items():
        said += ["--env", f"{key}={value}"]
    return [*said, *_gpu_flags(spec.gpus), spec.image, *spec.command]


def plain_flags(spec: ContainerSpec) -> list[str]:
    """The flags of the command line that are the same on every host: all but its name, its user, its GPUs and its
    environment."""
    said = ["--init", *_rights_flags(spec.rights)]
    said += ["--shm-size", f"{spec.shm_mib}m", "--workdir", spec.workdir]
    said += ["--stop-signal", spec.stop_signal]
    for key, value in spec.labels.items():
        said += ["--label", f"{key}={value}"]
    for bind in spec.binds:
        said += ["--mount", _mount(bind)]
    for port in spec.ports:
        said += ["--publish", f"127.0.0.1:{port}:{port}"]
    return said


def sdk_words(spec: ContainerSpec) -> dict[str, Any]:
    """The arguments of the SDK's `containers.create` that make the container."""
    return {
        "image": spec.image,
        "command": list(spec.command),
        "name": spec.name,
        "detach": True,
        "init": True,  # as process 1 Caffe would survive its own abort()
        "user": spec.user,
        "working_dir": spec.workdir,
        "labels": dict(spec.labels),
        "environment": environment(spec),
        "volumes": [f"{bind.source}:{bind.target}:{'ro' if bind.read_only else 'rw'}" for bind in spec.binds],
        "ports": {f"{port}/tcp": ("127.0.0.1", port) for port in spec.ports},
        "stop_signal": spec.stop_signal,
        "shm_size": f"{spec.shm_mib}m",
        **_rights_words(spec.rights),
        **_gpu_words(spec.gpus),
    }


def environment(spec: ContainerSpec) -> dict[str, str]:
    """The variables of the container, with those that its GPUs need."""
    gpus = spec.gpus
    seen = {"NVIDIA_VISIBLE_DEVICES": ",".join(gpus.ids)} if gpus.indices and gpus.runtime else {}
    return {"HOME": "/tmp", **spec.environment, **seen}


def _rights_flags(rights: Rights | None) -> list[str]:
    if rights is None:
        return []
    said = ["--cap-drop", "ALL"]
    said += [word for capability in rights.capabilities for word in ("--cap-add", capability)]
    said += [] if rights.capabilities else ["--security-opt", "no-new-privileges"]
    return said + (["--pids-limit", str(rights.pids)] if rights.pids else [])


def _rights_words(rights: Rights | None) -> dict[str, Any]:
    if rights is None:
        return {}
    return {
        "cap_drop": ["ALL"],
        "cap_add": list(rights.capabilities),
        "security_opt": [] if rights.capabilities else ["no-new-privileges"],
        "pids_limit": rights.pids or -1,
    }


def _mount(bind: Bind) -> str:
    """The value of --mount: one line of CSV, as a path may hold a comma."""
    fields = ["type=bind", f"source={bind.source}", f"target={bind.target}", *(["readonly"] if bind.read_only else [])]
    quoted = ['"' + text.replace('"', '""') + '"' if set(text) & set(',"') else text for text in fields]
    return ",".join(quoted)


def _gpu_flags(gpus: GpuRequest) -> list[str]:
    if not gpus.indices:
        return []
    return ["--runtime", "nvidia"] if gpus.runtime else ["--gpus", f'"device={",".join(gpus.ids)}"']


def _gpu_words(gpus: GpuRequest) -> dict[str, Any]:
    if not gpus.indices:
        return {}
    if gpus.runtime:
        return {"runtime": "nvidia"}
    import docker.types  # late: commands without GPUs need not wait for it

    return {"device_requests": [docker.types.DeviceRequest(device_ids=gpus.ids, capabilities=[["gpu"]])]}
