"""An SSH server on this machine's loopback whose line can be cut at any moment. What it is told to run, it runs."""

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko
import paramiko.common as codes

from infra.address import Address

_BITS = 2048


class Line(paramiko.Transport):
    """One connection. A command begins when the client knows that it is accepted."""

    def __init__(self, client: socket.socket) -> None:
        super().__init__(client)
        self.client = client
        self.accepted: list[Callable[[], None]] = []

    def _send_user_message(self, data: Any) -> None:
        super()._send_user_message(data)  # type: ignore[misc]
        if data.asbytes()[0] == codes.MSG_CHANNEL_SUCCESS and self.accepted:
            threading.Thread(target=self.accepted.pop(0), daemon=True).start()

    def cut(self) -> None:
        with contextlib.suppress(OSError):
            self.client.shutdown(socket.SHUT_RDWR)


class Login(paramiko.ServerInterface):
    """Lets in whoever has the key, and runs what it is told."""

    def __init__(self, server: "Server", line: Line) -> None:
        self.server, self.line = server, line
        self.far: dict[int, socket.socket] = {}

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        if self.server.cuts_logins:
            self.line.cut()
        return codes.AUTH_SUCCESSFUL if key == self.server.key else codes.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return codes.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED if self.server.full else codes.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.line.accepted.append(lambda: run(channel, command))
        return True

    def check_channel_direct_tcpip_request(self, chanid: int, origin: Any, destination: Any) -> int:
        try:
            far = socket.create_connection(destination)
        except OSError:
            return codes.OPEN_FAILED_CONNECT_FAILED
        threading.Thread(target=pump, args=(self.line, chanid, far), daemon=True).start()
        return codes.OPEN_SUCCEEDED


def pump(line: Line, number: int, far: socket.socket) -> None:
    """Both ways, as sshd does; the line's channel of that number is there when we have said yes."""
    while (channel := line._channels.get(number)) is None:  # type: ignore[attr-defined]
        time.sleep(0.01)
    threading.Thread(target=copy, args=(far.recv, channel.sendall), daemon=True).start()
    copy(channel.recv, far.sendall)
    with contextlib.suppress(OSError):
        far.shutdown(socket.SHUT_WR)


def copy(take: Callable[[int], bytes], give: Callable[[bytes], object]) -> None:
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        while data := take(1 << 16):
            give(data)


def run(channel: paramiko.Channel, command: bytes) -> None:
    """The command with its input, both its outputs and its exit code, as sshd hands them on."""
    pipe = subprocess.PIPE
    with subprocess.Popen(["sh", "-c", command], stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True) as ran:
        assert ran.stdin and ran.stdout and ran.stderr
        ways = [(ran.stdout.read1, channel.sendall), (ran.stderr.read1, channel.sendall_stderr)]  # type: ignore[attr-defined]
        threads = [threading.Thread(target=copy, args=way, daemon=True) for way in ways]
        threading.Thread(target=feed, args=(channel, ran.stdin), daemon=True).start()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        code = ran.wait()
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            if code >= 0:
                channel.send_exit_status(code)
            channel.close()


def feed(channel: paramiko.Channel, pipe: Any) -> None:
    copy(channel.recv, lambda data: (pipe.write(data), pipe.flush()))
    with contextlib.suppress(OSError):
        pipe.close()


class Server:
    """A host that `address` leads to. `cuts_logins`: the line breaks while one logs in; `full`: no session opens."""

    def __init__(self, folder: Path) -> None:
        self.key, self.host = paramiko.RSAKey.generate(_BITS), paramiko.RSAKey.generate(_BITS)
        self.cuts_logins = self.full = False
        self.lines: list[Line] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.key.write_private_key_file(str(folder / "key"))
        known = folder / "known_hosts"
        known.write_text(f"i-1 {self.host.get_name()} {self.host.get_base64()}\n")
        self.address = Address("127.0.0.1", "trainer", folder / "key", known, "i-1", self.port)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            line = Line(client)
            line.add_server_key(self.host)
            self.lines.append(line)
            with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
                line.start_server(threading.Event(), Login(self, line))

    def cut(self) -> None:
        """Break every line, as a network does: nobody says goodbye."""
        for line in self.lines:
            line.cut()


@contextlib.contextmanager
def server(folder: Path) -> Iterator[Server]:
    """A server for a while."""
    made = Server(folder)
    try:
        yield made
    finally:
        made.listener.shutdown(socket.SHUT_RDWR)
        made.listener.close()
        made.cut()
