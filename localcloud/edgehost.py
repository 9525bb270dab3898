"""The SSH server that stands for a host at the cloud's edge: who may log in, and what it answers.

It answers the few commands in ANSWERS; any other ends with 127 and is noted in the daemon's log.
"""

import contextlib
import gzip
import io
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import paramiko
import paramiko.common as codes
import yaml

from infra.keys import new_pair

UNKNOWN = 127  # a shell's exit code for a command that is not there
ANSWERS = (
    (r"true", ""),
    (r"cat /run/provision/progress", "ready\n"),
    (r"(?s)sudo sh -c .+ extend\.sh '?([^']*)'?", "ends at {0}\n"),
    (r"(?s)sudo sh -c .+ mount\.sh \S+ \S+ (\S+)", "volume {0}: at /volumes/{0}\n"),
)
log = logging.getLogger("localcloud")


ORDER = "/opt/provision/order.json"


@dataclass(frozen=True)
class Access:
    """Who may log in, by which keys (their base64), and the key that the host shows. `order`: what its user data
    says of the bucket in which it is to tell that key; nothing where it is not."""

    user: str
    keys: tuple[str, ...]
    host: paramiko.PKey
    order: Mapping[str, str]


def access_of(user_data: bytes) -> Access:
    """What cloud-init would set up; ValueError for anything but a cloud-config with a user and a host key, which it is
    given or makes."""
    text = gzip.decompress(user_data) if user_data[:2] == b"\x1f\x8b" else user_data
    first, _, rest = text.decode().partition("\n")
    if first.strip() != "#cloud-config":
        raise ValueError("the user data is no cloud-config")
    config = json.loads(rest) if rest.lstrip().startswith("{") else yaml.safe_load(rest)
    written = {file["path"]: file["content"] for file in config.get("write_files", ())}
    try:
        user = config["users"][0]
        keys = tuple(line.split()[1] for line in user["ssh_authorized_keys"])
        private = _made() if "ed25519" in config.get("ssh_genkeytypes", ()) else config["ssh_keys"]["ed25519_private"]
        host = paramiko.Ed25519Key.from_private_key(io.StringIO(private))
        return Access(user["name"], keys, host, json.loads(written.get(ORDER, "{}")))
    except (LookupError, TypeError, paramiko.SSHException) as error:
        raise ValueError(f"the user data has no user with keys, or no host key: {error!r}") from error


def _made() -> str:
    """The private half of a fresh host key."""
    return str(new_pair("edge").private)


def answer(line: str) -> tuple[int, str]:
    """Exit code and output of a command line."""
    words = line.strip().removesuffix("< /dev/null").strip()
    for pattern, text in ANSWERS:
        found = re.fullmatch(pattern, words)
        if found:
            return 0, text.format(*found.groups())
    log.warning("a host at the edge cannot do: %s", words)
    return UNKNOWN, f"sh: not at the edge: {words}\n"


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
