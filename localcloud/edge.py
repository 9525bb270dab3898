"""Hosts at the cloud's edge: instances without containers, for tests that start hundreds of them (`start --edge`).

An instance is then moto's record of it and an SSH server of this process, at an address of its own in 127.0.0.0/8. Its
host key, its user and the key that lets that user in are those of the instance's real user data. It answers the few
commands in ANSWERS as a host does that is prepared; any other command ends with 127 and is noted in the daemon's log.
There is no metadata service, no firewall and no deadline on such a host.
"""

import base64
import contextlib
import gzip
import io
import json
import logging
import queue
import re
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import paramiko
import paramiko.common as codes
import yaml

from infra.errors import CloudError
from localcloud.disks import Disk
from localcloud.engine import Engine, Network

if TYPE_CHECKING:
    from localcloud.machines import Machine

HOST = "127.0.0.1"
SSH = 22
UNKNOWN = 127  # a shell's exit code for a command that is not there
ANSWERS = (
    (r"true", ""),
    (r"cat /run/provision/progress", "ready\n"),
    (r"sudo sh /opt/provision/extend\.sh '?(.*?)'?", "ends at {0}\n"),
    (r"sudo sh /opt/provision/mount\.sh \S+ \S+ (\S+)", "volume {0}: at /volumes/{0}\n"),
)
log = logging.getLogger("localcloud")


@dataclass(frozen=True)
class Access:
    """Who may log in, by which keys (their base64), and the key that the host shows."""

    user: str
    keys: tuple[str, ...]
    host: paramiko.PKey


def access_of(user_data: bytes) -> Access:
    """What cloud-init would set up; ValueError for anything but a cloud-config with a user and a host key."""
    text = gzip.decompress(user_data) if user_data[:2] == b"\x1f\x8b" else user_data
    first, _, rest = text.decode().partition("\n")
    if first.strip() != "#cloud-config":
        raise ValueError("the user data is no cloud-config")
    config = json.loads(rest) if rest.lstrip().startswith("{") else yaml.safe_load(rest)
    try:
        user, private = config["users"][0], config["ssh_keys"]["ed25519_private"]
        keys = tuple(line.split()[1] for line in user["ssh_authorized_keys"])
        return Access(user["name"], keys, paramiko.Ed25519Key.from_private_key(io.StringIO(private)))
    except (LookupError, TypeError, paramiko.SSHException) as error:
        raise ValueError(f"the user data has no user with keys, or no host key: {error!r}") from error


def answer(line: str) -> tuple[int, str]:
    """Exit code and output of a command line."""
    words = line.strip().removesuffix("< /dev/null").strip()
    for pattern, text in ANSWERS:
        found = re.fullmatch(pattern, words)
        if found:
            return 0, text.format(*found.groups())
    log.warning("a host at the edge cannot do: %s", words)
    return UNKNOWN, f"sh: not at the edge: {words}\n"


class Edge(Engine):
    """In the place of `engine.Engine`: the same methods, and no Docker. SSH answers `boot` s after a host's start."""

    def __init__(self, name: str, boot: float = 0.0) -> None:
        self.boot = boot
        self.prefix = f"127.{1 + zlib.crc32(name.encode()) % 254}"
        self.count = 0
        self.hosts: dict[str, Host] = {}
        self.lock = threading.Lock()
        self.ended: queue.Queue[tuple[str, int]] = queue.Queue()
        logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # a look whether the port is open is no error

    def network(self) -> Network:
        """CloudError where this process may not have port 22, or another has it on all addresses."""
        quicken()  # not before moto's switches are set, which it reads when it is imported
        with contextlib.closing(self._listen()):
            return Network(HOST, ip_network("127.0.0.0/8"))

    def image(self, say: Callable[[str], None]) -> str:
        return "none"

    def bare(self, say: Callable[[str], None]) -> str:
        return "none"

    def commit(self, name: str, ami: str) -> str:
        return ami

    def drop_image(self, tag: str) -> None:
        """There is no image."""

    def sidecar(self, image: str, endpoint: str, secret: str) -> None:
        """There is no metadata service."""

    def create(self, instance_id: str, image: str, files: Mapping[str, str], preloaded: str = "") -> str:
        return instance_id

    def put(self, name: str, files: Mapping[str, str]) -> None:
        """There is nothing to write to."""

    def run(self, name: str, words: list[str]) -> None:
        """There is nothing to run in."""

    def plug(self, name: str, disk: Disk) -> None:
        """An attached volume is moto's record alone; so for the three that follow."""

    def unplug(self, name: str, disk: Disk) -> bool:
        return True

    def release(self, volume: str) -> None: ...

    def discard(self, volume: str) -> None: ...

    def start(self, name: str) -> str:
        """Begin to answer; the address. A host whose user data let nobody in is there and refuses connections."""
        with self.lock:
            listener = self._listen()
            host = self.hosts[name] = Host(listener)
        try:
            host.serve(access_of(user_data_of(name)), self.boot)
        except ValueError as error:
            log.warning("%s lets nobody in: %s", name, error)
            listener.close()
        return host.address

    def address(self, name: str) -> str:
        return self.hosts[name].address

    def running(self, name: str) -> bool:
        return name in self.hosts

    def stop(self, name: str, seconds: int = 30) -> None:
        self.kill(name)

    def kill(self, name: str) -> None:
        host = self.hosts.pop(name, None)
        if host:
            host.close()

    def remove(self, name: str) -> None:
        self.kill(name)

    def deaths(self) -> Iterator[tuple[str, int]]:
        """None: nothing on such a host can power it off."""
        while True:
            yield self.ended.get()

    def _listen(self) -> socket.socket:
        """A socket of the next address that is free; it does not listen yet."""
        for _ in range(1000):
            self.count += 1
            high, low = divmod(self.count, 250)
            try:
                return _bound(f"{self.prefix}.{high % 250}.{low + 1}")
            except PermissionError as error:
                raise CloudError(
                    f"hosts at the edge need port {SSH}: {error}",
                    "run it as root, or in `unshare --net --map-root-user`",
                ) from error
            except OSError:  # another cloud of this machine has it
                continue
        raise CloudError(
            f"hosts at the edge need port {SSH}, and something of this machine listens there on all addresses",
            "run it in a network of its own: unshare --net --map-root-user",
        )


def _bound(address: str) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((address, SSH))
    except OSError:
        made.close()
        raise
    return made


class Host:
    """The SSH server of one instance."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.address: str = listener.getsockname()[0]
        self.connections: list[Connection] = []

    def serve(self, access: Access, boot: float = 0.0) -> None:
        """Answer, from `boot` s on."""
        if not boot:
            self.listener.listen(16)
        words = (access, boot)
        threading.Thread(target=self._serve, args=words, daemon=True, name=f"sshd {self.address}").start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # `close` alone would not wake the thread that accepts
        self.listener.close()
        for connection in self.connections:
            connection.close()

    def _serve(self, access: Access, boot: float) -> None:
        time.sleep(boot)
        with contextlib.suppress(OSError):  # it was ended meanwhile
            self.listener.listen(16)
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection = Connection(client)
                connection.add_server_key(access.host)
                connection.start_server(threading.Event(), Login(connection, access))
                self.connections.append(connection)


class Connection(paramiko.Transport):
    """Runs a command when the client knows that it is accepted: paramiko takes an earlier end for a broken line."""

    def __init__(self, client: socket.socket) -> None:
        super().__init__(client)
        self.accepted: list[tuple[paramiko.Channel, str]] = []

    def _send_user_message(self, data: Any) -> None:
        super()._send_user_message(data)  # type: ignore[misc]
        if data.asbytes()[0] == codes.MSG_CHANNEL_SUCCESS and self.accepted:
            threading.Thread(target=_run, args=self.accepted.pop(0), daemon=True).start()


class Login(paramiko.ServerInterface):
    """Lets that user in, by key, to run commands."""

    def __init__(self, connection: Connection, access: Access) -> None:
        self.connection, self.access = connection, access

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        known = username == self.access.user and key.get_base64() in self.access.keys
        return codes.AUTH_SUCCESSFUL if known else codes.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return codes.OPEN_SUCCEEDED if kind == "session" else codes.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.connection.accepted.append((channel, command.decode()))
        return True


def _run(channel: paramiko.Channel, line: str) -> None:
    with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
        code, text = answer(line)
        (channel.sendall if code == 0 else channel.sendall_stderr)(text.encode())
        channel.send_exit_status(code)
        channel.close()


def quicken() -> None:
    """Let moto learn once what it learns anew for each call: its own folders, while nobody else is answered, and the
    names of a service's methods. Together they are half of what a call costs."""
    from functools import cache

    from moto import backends
    from moto.core import responses

    known = tuple(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: known
    responses.method_names_from_class = cache(responses.method_names_from_class)


def forget(machines: "dict[str, Machine]") -> int:
    """Drop terminated instances and their spot requests, as AWS does within the hour; how many.

    After hundreds of them every list would be long.
    """
    from moto.ec2.models import ec2_backends

    gone = [one for one, machine in list(machines.items()) if machine.state == "terminated"]
    for backend in (backend for regions in ec2_backends.values() for backend in regions.values()):
        for key, reservation in list(backend.reservations.items()):
            if all(one.id in gone for one in reservation.instances):
                del backend.reservations[key]
        for key, request in list(backend.spot_instance_requests.items()):
            if request.state not in ("open", "active"):
                del backend.spot_instance_requests[key]
    for one in gone:
        del machines[one]
    return len(gone)


def user_data_of(instance_id: str) -> bytes:
    """What the instance was launched with; nothing is as good as empty."""
    from moto.ec2.models import ec2_backends

    for regions in ec2_backends.values():
        for backend in regions.values():
            instance: Any = backend.get_instance_by_id(instance_id)
            if instance is not None and instance.user_data:
                return base64.b64decode(instance.user_data.as_bytes())
    return b""
