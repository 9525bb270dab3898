"""The Docker engine, here or behind SSH, through the docker SDK.

A remote engine is reached over our own SSH connection: a socket in a private folder whose every connection is one
`docker system dial-stdio` there. The SDK's own ssh:// cannot take our known_hosts.
"""

import contextlib
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import docker
import docker.errors
import requests

from infra.containers import ContainerSpec, ContainerState, sdk_words
from infra.errors import EngineError
from infra.ssh import SshShell
from infra.tunnel import served

_DOCKER_MEND = "start it (sudo systemctl start docker), or let `make demo` install it"


class Docker:
    """One engine; `open_local` and `open_remote` give it. Its methods raise EngineError where it refuses or is gone."""

    def __init__(self, client: Any, where: str) -> None:
        self._client = client
        self.where = where

    def has_image(self, digest: str) -> bool:
        """Whether the engine has the image of that id (sha256:…) or tag."""
        with self._explained(f"look for the image {digest}"):
            try:
                self._client.images.get(digest)
            except docker.errors.ImageNotFound:
                return False
            return True

    def save(self, tag: str) -> Iterator[bytes]:
        """The image as a gzipped `docker save`, in chunks."""
        yield from _gzipped(self.archive(tag))

    def archive(self, tag: str) -> Iterator[bytes]:
        """The image as `docker save` writes it: a tar, in chunks."""
        with self._explained(f"save the image {tag}"):
            yield from self._client.images.get(tag).save(chunk_size=1 << 20, named=tag)

    def files(self, tag: str) -> Iterator[bytes]:
        """The files of the image, all its layers as one: a tar, in chunks. A container is made for it, and removed."""
        with self._explained(f"read the files of the image {tag}"):
            container = self._client.containers.create(tag, ["true"])
            try:
                yield from container.export(chunk_size=1 << 20)
            finally:
                container.remove(v=True)

    def configuration(self, tag: str) -> tuple[list[str], list[str]]:
        """The image's variables (NAME=VALUE) and the words that it puts before a command."""
        with self._explained(f"look at the image {tag}"):
            known = self._client.images.get(tag).attrs["Config"]
            return list(known.get("Env") or []), list(known.get("Entrypoint") or [])

    def image(self, tag: str) -> tuple[str, int] | None:
        """The id (sha256:…) of the image of that tag or id, and about how many bytes it has; None where it is not
        there."""
        with self._explained(f"look for the image {tag}"):
            try:
                found = self._client.images.get(tag)
            except docker.errors.ImageNotFound:
                return None
            return str(found.id), int(found.attrs.get("Size", 0))

    def run(self, spec: ContainerSpec, before_start: Callable[[], None] = lambda: None) -> str:
        """Start the container in the background, and give its id.

        `before_start` is called when the container is made and has not started; what it raises removes the container.
        EngineError where the host lacks the GPUs, or has a container of that name: that one stays as it is.
        """
        with self._explained(f"start {spec.name} on {self.where}"):
            container = self._client.containers.create(**sdk_words(spec))
            try:
                before_start()
                container.start()
            except BaseException:  # Ctrl-C, a line that is cut: it must not look like one that will start
                with contextlib.suppress(docker.errors.DockerException, requests.exceptions.RequestException, OSError):
                    container.remove(force=True, v=True)
                raise
            return str(container.id)

    def signal(self, name: str, signal: str) -> None:
        """Send a signal to a container's first process; a container that is gone or has ended is no error."""
        with self._explained(f"signal {name}"), contextlib.suppress(docker.errors.NotFound):
            try:
                self._client.containers.get(name).kill(signal)
            except docker.errors.APIError as error:
                if error.status_code != 409:
                    raise

    def inspect(self, name: str) -> ContainerState | None:
        """The container's state; None where there is no such container."""
        with self._explained(f"look at {name}"):
            try:
                return _state(self._client.containers.get(name))
            except docker.errors.NotFound:
                return None

    def containers(self, label: str, running: bool = True) -> list[ContainerState]:
        """Containers that carry a label."""
        with self._explained("list containers"):
            found = self._client.containers.list(all=not running, filters={"label": label})
            return [_state(container) for container in found]

    def logs(self, name: str) -> str:
        with self._explained(f"read the log of {name}"):
            return str(self._client.containers.get(name).logs().decode(errors="replace"))

    def remove(self, name: str) -> None:
        """Remove a container, running or not; an absent one is no error."""
        with self._explained(f"remove {name}"), contextlib.suppress(docker.errors.NotFound):
            self._client.containers.get(name).remove(force=True, v=True)

    def remove_unstarted(self, name: str) -> bool:
        """Whether no container of that name has started; one that was only made is removed, so that none will."""
        with self._explained(f"remove {name}"):
            try:
                container = self._client.containers.get(name)
                if container.attrs["State"]["Status"] != "created":
                    return False
                container.remove(v=True)
            except docker.errors.NotFound:
                return True
            except docker.errors.APIError as error:
                if error.status_code != 409:  # it has just started
                    raise
                return False
            return True

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except docker.errors.APIError as error:
            raise _api_error(error, doing) from error
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            raise EngineError(f"no Docker engine answers on {self.where}: {error}", _DOCKER_MEND) from error


def open_local() -> Docker:
    """The engine of this machine; EngineError with the mend where none answers."""
    try:
        client = docker.from_env(timeout=600)
        client.ping()
    except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
        mend = _DOCKER_MEND
        if "Permission" in str(error):
            mend = "add yourself to the group docker: sudo usermod -aG docker $USER, then log in again"
        raise EngineError("no Docker engine answers on this machine", mend) from error
    return Docker(client, "this machine")


@contextlib.contextmanager
def open_remote(shell: SshShell) -> Iterator[Docker]:
    """Gives the engine of the host behind `shell`, until the block ends. EngineError where none answers there."""
    with tempfile.TemporaryDirectory(prefix="provision-") as folder:
        path = Path(folder) / "docker.sock"
        with _forwarded(path, shell):
            try:
                client = docker.DockerClient(base_url=f"unix://{path}", timeout=600)
                # the SDK keeps a connection open for each URL that it ever asked; sshd allows ten channels
                client.api.headers["Connection"] = "close"
                client.ping()
            except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
                look = f"{shell.address.hint(f'ssh {shell.where}')} -- cat /var/log/cloud-init-output.log"
                raise EngineError(
                    f"no Docker engine answers on {shell.where}", f"look at its bootstrap: {look}"
                ) from error
            try:
                yield Docker(client, shell.where)
            finally:
                client.close()


@contextlib.contextmanager
def _forwarded(path: Path, shell: SshShell) -> Iterator[None]:
    """Serves a unix socket at `path`; each connection to it becomes one to the engine of that host."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    path.chmod(0o600)
    server.listen(8)
    with served(server, lambda: shell.channel("docker system dial-stdio")):
        yield


def _gzipped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks, lightly compressed: a home connection is slower than gzip's first level (about 80 MB/s a core)."""
    import zlib

    press = zlib.compressobj(level=1, wbits=16 + zlib.MAX_WBITS)
    for chunk in chunks:
        if data := press.compress(chunk):
            yield data
    yield press.flush()


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
        mend = "ask for GPUs that the host has"
    elif "no space left on device" in said:
        mend = "remove images there (docker system prune), or take a machine with a larger --disk"
    else:
        mend = ""
    return EngineError(f"cannot {doing}: {said}", mend)
