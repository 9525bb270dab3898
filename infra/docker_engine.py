"""The Docker engine, here or behind SSH, through the docker SDK.

A remote engine is reached over our own SSH connection: a socket in a private folder whose every connection is one
`docker system dial-stdio` there. The SDK's own ssh:// cannot take our known_hosts.
"""

import contextlib
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import docker.errors
import docker.types
import paramiko
import requests

from infra.errors import EngineError
from infra.ssh import SshShell

_DOCKER_MEND = "start it (sudo systemctl start docker), or let `make demo` install it"


@dataclass(frozen=True)
class Bind:
    """A host folder in a container."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class GpuRequest:
    """GPUs by index, asked for in the way that the host knows: its toolkit's hook, or the older runtime."""

    indices: tuple[int, ...] = ()
    runtime: bool = False


@dataclass(frozen=True)
class ContainerSpec:
    """A container to start. `user` is uid:gid; `ports` are published on the host's 127.0.0.1 alone."""

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


@dataclass(frozen=True)
class ContainerState:
    """A container as it is: `status` is docker's word; `exit_code` once it ended."""

    id: str
    name: str
    status: str
    exit_code: int | None
    labels: Mapping[str, str]


class Engine:
    """One engine. `open_local` and `open_remote` make it."""

    def __init__(self, client: Any, where: str) -> None:
        self._client = client
        self.where = where

    def has_image(self, digest: str) -> bool:
        """Whether the image of that id (sha256:…) or tag is there."""
        with self._explained(f"look for the image {digest}"):
            try:
                self._client.images.get(digest)
            except docker.errors.ImageNotFound:
                return False
            return True

    def save(self, tag: str) -> Iterator[bytes]:
        """The image as a gzipped `docker save`, in chunks."""
        with self._explained(f"save the image {tag}"):
            raw = self._client.images.get(tag).save(chunk_size=1 << 20, named=tag)
            yield from _gzipped(raw)

    def load(self, chunks: Iterable[bytes]) -> None:
        with self._explained("load an image"):
            self._client.images.load(chunks)

    def run(self, spec: ContainerSpec) -> str:
        """Start the container detached; its id. EngineError where GPUs are asked for that are not there."""
        with self._explained(f"start {spec.name} on {self.where}"):
            try:
                return str(self._client.containers.run(**_run_words(spec)).id)
            except docker.errors.APIError:
                self.remove(spec.name)  # it may have been created; it must not look like one that will start
                raise

    def signal(self, name: str, signal: str) -> None:
        """Send a signal to a container's first process; a container that is gone or ended is as good."""
        with self._explained(f"signal {name}"), contextlib.suppress(docker.errors.NotFound):
            try:
                self._client.containers.get(name).kill(signal)
            except docker.errors.APIError as error:
                if error.status_code != 409:
                    raise

    def inspect(self, name: str) -> ContainerState | None:
        """The container, or None."""
        with self._explained(f"look at {name}"):
            try:
                return _state(self._client.containers.get(name))
            except docker.errors.NotFound:
                return None

    def containers(self, label: str, running: bool = True) -> list[ContainerState]:
        """Containers that carry a label."""
        with self._explained("list containers"):
            found = self._client.containers.list(all=not running, filters={"label": label})
            return [_state(one) for one in found]

    def logs(self, name: str) -> str:
        with self._explained(f"read the log of {name}"):
            return str(self._client.containers.get(name).logs().decode(errors="replace"))

    def remove(self, name: str) -> None:
        """Remove a container, running or not; absent is as good."""
        with self._explained(f"remove {name}"), contextlib.suppress(docker.errors.NotFound):
            self._client.containers.get(name).remove(force=True, v=True)

    def pull(self, reference: str) -> None:
        with self._explained(f"pull {reference}"):
            self._client.images.pull(reference)

    def push(self, tag: str) -> None:
        with self._explained(f"push {tag}"):
            for line in self._client.images.push(tag, stream=True, decode=True):
                if "error" in line:
                    raise EngineError(f"cannot push {tag}: {line['error']}", "docker login to that registry first")

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except docker.errors.APIError as error:
            raise _api_error(error, doing) from error
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            raise EngineError(f"no Docker engine answers on {self.where}: {error}", _DOCKER_MEND) from error


def open_local() -> Engine:
    """The engine of this machine; EngineError with the mend where none answers."""
    try:
        client = docker.from_env(timeout=600)
        client.ping()
    except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
        mend = _DOCKER_MEND
        if "Permission" in str(error):
            mend = "add yourself to the group docker: sudo usermod -aG docker $USER, then log in again"
        raise EngineError("no Docker engine answers on this machine", mend) from error
    return Engine(client, "this machine")


@contextlib.contextmanager
def open_remote(shell: SshShell) -> Iterator[Engine]:
    """The engine of the host behind `shell`, while open."""
    with tempfile.TemporaryDirectory(prefix="provision-") as folder:
        path = Path(folder) / "docker.sock"
        with _forwarded(path, lambda: _dial(shell)):
            try:
                client = docker.DockerClient(base_url=f"unix://{path}", timeout=600)
                # the SDK keeps a connection open for each URL that it ever asked; sshd allows ten channels
                client.api.headers["Connection"] = "close"
                client.ping()
            except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
                raise EngineError(
                    f"no Docker engine answers on {shell.where}",
                    f"look at its bootstrap: provision ssh {shell.where} -- cat /var/log/cloud-init-output.log",
                ) from error
            try:
                yield Engine(client, shell.where)
            finally:
                client.close()


def _dial(shell: SshShell) -> Any:
    channel = shell.connection.transport.open_session(timeout=20)
    channel.exec_command("docker system dial-stdio")
    return channel


@contextlib.contextmanager
def _forwarded(path: Path, dial: Callable[[], Any]) -> Iterator[None]:
    """A unix socket here whose connections are pumped to and from a fresh `dial()` each."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    path.chmod(0o600)
    server.listen(8)
    threading.Thread(target=_accept, args=(server, dial), daemon=True).start()
    try:
        yield
    finally:
        server.close()


def _accept(server: socket.socket, dial: Callable[[], Any]) -> None:
    while True:
        try:
            near, _ = server.accept()
        except OSError:
            return  # closed: the user of the engine is done
        try:
            far = dial()
        except Exception:  # the SDK sees a closed connection and tells the user
            near.close()
            continue
        threading.Thread(target=_join, args=(near, far), daemon=True).start()


def _join(near: socket.socket, far: Any) -> None:
    """Pump both ways until one end is done, then close both: sshd allows ten channels at a time."""
    back = threading.Thread(target=_pump, args=(far, near), daemon=True)
    back.start()
    _pump(near, far)
    with contextlib.suppress(EOFError, paramiko.SSHException):  # the whole connection may be closed already
        far.close()
    back.join()
    near.close()


def _pump(source: Any, target: Any) -> None:
    """Until `source` ends. A socket is told so; a channel is not: see `infra.ssh.SshShell.run`."""
    with contextlib.suppress(OSError, EOFError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    if isinstance(target, socket.socket):
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def _gzipped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Light compression: a home line is slower than gzip's first level (about 80 MB/s a core)."""
    import zlib

    press = zlib.compressobj(level=1, wbits=16 + zlib.MAX_WBITS)
    for chunk in chunks:
        if data := press.compress(chunk):
            yield data
    yield press.flush()


def _run_words(spec: ContainerSpec) -> dict[str, Any]:
    words: dict[str, Any] = {
        "image": spec.image,
        "command": list(spec.command),
        "name": spec.name,
        "detach": True,
        "init": True,  # as process 1 Caffe outlives its own abort()
        "user": spec.user,
        "working_dir": spec.workdir,
        "labels": dict(spec.labels),
        "environment": {"HOME": "/tmp", **spec.environment},
        "volumes": [f"{b.source}:{b.target}:{'ro' if b.read_only else 'rw'}" for b in spec.binds],
        "ports": {f"{port}/tcp": ("127.0.0.1", port) for port in spec.ports},
        "stop_signal": spec.stop_signal,
        "shm_size": f"{spec.shm_mib}m",
        "security_opt": ["no-new-privileges"],
    }
    return {**words, **_gpu_words(spec.gpus, words["environment"])}


def _gpu_words(gpus: GpuRequest, environment: Mapping[str, str]) -> dict[str, Any]:
    if not gpus.indices:
        return {}
    ids = [str(index) for index in gpus.indices]
    if gpus.runtime:
        return {"runtime": "nvidia", "environment": {**environment, "NVIDIA_VISIBLE_DEVICES": ",".join(ids)}}
    return {"device_requests": [docker.types.DeviceRequest(device_ids=ids, capabilities=[["gpu"]])]}


def _state(container: Any) -> ContainerState:
    state = container.attrs["State"]
    ended = state["Status"] in ("exited", "dead")
    return ContainerState(
        container.id, container.name, state["Status"], state["ExitCode"] if ended else None, container.labels
    )


def _api_error(error: Any, doing: str) -> EngineError:
    said = str(error.explanation or error)
    if 'could not select device driver "" with capabilities: [[gpu]]' in said:
        mend = "install NVIDIA's container toolkit on the host, or take a machine image that has it"
    elif "Unknown runtime specified nvidia" in said:
        mend = "install nvidia-docker2 on the host, or take a machine image that has it"
    elif "unknown device" in said:
        mend = "ask for GPUs that the host has: provision ls"
    elif "no space left on device" in said:
        mend = "take a larger --disk, or remove images on the host: provision ssh NAME -- docker system prune"
    else:
        mend = ""
    return EngineError(f"cannot {doing}: {said}", mend)
