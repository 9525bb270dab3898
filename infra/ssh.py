"""SSH with a host key that is known before the first connection.

fabric's default accepts and writes down any unknown key; here an unknown or changed key is refused, and neither
~/.ssh/config nor ~/.ssh/known_hosts nor an agent is looked at. Keys are pinned under an alias (the instance id),
not under an address that the next instance may get. Nagle's algorithm is off: with it each command takes 45 ms
longer (measured with paramiko).
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fabric
import paramiko

from infra.errors import HostError, HostKeyError, ProvisionError
from infra.proxy import ProgramSocket
from infra.shell import OnLine, Result, Words, checked, quote

_CHUNK = 1 << 16
_LISTENS_S = 5.0


@dataclass(frozen=True)
class Address:
    """Where and as whom to log in, with which key, and which host key to expect under `alias`.

    `proxy`: the words of a command whose standard input and output are the connection; `host` is then only a name.
    """

    host: str
    user: str
    key: Path
    known_hosts: Path
    alias: str
    port: int = 22
    proxy: tuple[str, ...] | None = None


def ssh_words(address: Address, command: Words = ()) -> list[str]:
    """The same connection for the system's own ssh: for a terminal, or for people to copy."""
    options = {
        "UserKnownHostsFile": str(address.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": address.alias,
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
        "ServerAliveInterval": "15",
        "LogLevel": "ERROR",
    }
    words = ["ssh", "-F", "/dev/null", "-i", str(address.key), "-p", str(address.port)]
    if address.proxy:
        options["ProxyCommand"] = quote(address.proxy).replace("%", "%%")
    for key, value in options.items():
        words += ["-o", f"{key}={value}"]
    return [*words, f"{address.user}@{address.host}", *([quote(command)] if command else [])]


class SshShell:
    """A machine behind SSH: one connection, opened at the first use."""

    def __init__(self, address: Address, name: str = "") -> None:
        self.address = address
        self.where = name or address.alias
        self._connection: Any = None
        self._lock = threading.Lock()

    def __enter__(self) -> "SshShell":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def connection(self) -> Any:
        """The open fabric connection; HostKeyError or HostError where it can't be had."""
        with self._lock:
            if self._connection is None:
                self._connection = self._open()
            return self._connection

    def _open(self) -> Any:
        at = self.address
        config = fabric.Config(overrides={"load_ssh_configs": False})
        connection = fabric.Connection(at.host, user=at.user, port=at.port, config=config, connect_timeout=10)
        connection.client.set_missing_host_key_policy(paramiko.RejectPolicy())
        connection.client.load_host_keys(str(at.known_hosts))
        self._rename_pinned(connection.client)
        sock: socket.socket | None = None
        try:
            sock = _dial(at)
            connection.client.connect(
                at.host, port=at.port, username=at.user, key_filename=str(at.key), sock=sock,
                look_for_keys=False, allow_agent=False, timeout=10, banner_timeout=20, auth_timeout=20,
            )  # fmt: skip
        except (paramiko.BadHostKeyException, paramiko.SSHException, OSError) as error:
            raise self._failed(error, sock) from error
        connection.transport = connection.client.get_transport()
        connection.transport.set_keepalive(15)
        return connection

    def _rename_pinned(self, client: Any) -> None:
        """paramiko looks a key up by address: offer it the one pinned under the alias."""
        at = self.address
        host = at.host if at.port == 22 else f"[{at.host}]:{at.port}"
        for kind, key in (client.get_host_keys().lookup(at.alias) or {}).items():
            client.get_host_keys().add(host, kind, key)

    def _failed(self, error: Exception, sock: socket.socket | None) -> ProvisionError:
        """Why there is no connection; a proxy that ended by itself knows best. Nothing of it stays."""
        said = sock.failure() if isinstance(sock, ProgramSocket) else None
        if sock is not None:
            sock.close()
        return said or self._explained(error)

    def _explained(self, error: Exception) -> HostError:
        at = self.address
        unknown = isinstance(error, paramiko.SSHException) and "not found in known_hosts" in str(error)
        if isinstance(error, paramiko.BadHostKeyException) or unknown:
            return HostKeyError(
                f"{self.where} ({at.host}) shows a host key that is not the one put in at its launch",
                f"someone else may be answering: nothing was sent. If in doubt: provision down {self.where}",
            )
        if isinstance(error, paramiko.AuthenticationException):
            return HostError(
                f"{self.where} does not accept this laptop's key",
                f"use the laptop that started it, or: provision down {self.where}",
            )
        if at.proxy:
            return HostError(f"cannot reach {self.where} through {at.proxy[0]}: {error}", "does it run (provision ls)?")
        return HostError(
            f"cannot reach {self.where} at {at.host}:{at.port}: {error}",
            "is it running (provision ls)? SSH is let in only from the address that called `up`",
        )

    def run(
        self,
        words: Words,
        *,
        check: bool = True,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        on_line: OnLine | None = None,
    ) -> Result:
        prefix = ["env", *(f"{key}={value}" for key, value in env.items())] if env else []
        line = [*prefix, *words]
        if stdin is not None:
            return self.feed(line, [stdin], check=check, timeout=timeout, on_line=on_line)
        # no end-of-file is sent: one that meets the far side's close makes sshd end the whole connection
        return checked(self._exec(quote(line) + " < /dev/null", (), timeout, on_line), line, self.where, check)

    def feed(
        self,
        words: Words,
        chunks: Iterable[bytes],
        *,
        check: bool = True,
        timeout: float | None = None,
        on_line: OnLine | None = None,
    ) -> Result:
        """Run `words`, which read their standard input to its end, with `chunks` as that."""
        return checked(self._exec(quote(words), chunks, timeout, on_line), words, self.where, check)

    def _exec(self, line: str, chunks: Iterable[bytes], timeout: float | None, on_line: OnLine | None) -> Result:
        failed: list[Exception] = []
        try:
            channel = self.connection.transport.open_session(timeout=20)
            with contextlib.closing(channel):  # sshd allows ten at a time
                channel.exec_command(line)
                sender = threading.Thread(target=_send, args=(channel, _kept(chunks, failed)), daemon=True)
                if chunks:
                    sender.start()
                result = _collect(channel, timeout, on_line)
                if chunks:
                    sender.join(10)
        except (paramiko.SSHException, EOFError, OSError) as error:
            self.close()
            raise HostError(f"the connection to {self.where} broke: {error}", "run the same command again") from error
        if failed:
            raise failed[0]
        return result

    def put(self, source: Path, target: str) -> None:
        """Copy one file there (over the same connection)."""
        with source.open("rb") as data:
            self.feed(["sh", "-c", 'cat > "$1"', "sh", target], iter(lambda: data.read(_CHUNK), b""))

    def get(self, source: str, target: Path) -> None:
        """Copy one file from there."""
        self.connection.get(source, local=str(target))

    @contextlib.contextmanager
    def forward(self, local_port: int, remote_port: int) -> Iterator[None]:
        """While open, 127.0.0.1:local_port here is remote_port there. It listens when this begins."""
        with self.connection.forward_local(local_port, remote_port):
            until = time.monotonic() + _LISTENS_S  # fabric listens in a thread of its own, and does not say when
            while free_port(local_port) and time.monotonic() < until:
                time.sleep(0.01)
            yield


def free_port(port: int) -> bool:
    """Whether a program could listen on 127.0.0.1:port. Nobody is connected to."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _dial(at: Address) -> socket.socket:
    if at.proxy:
        return ProgramSocket(at.proxy)
    sock = socket.create_connection((at.host, at.port), timeout=10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def wait_for_port(host: str, port: int, timeout: float) -> bool:
    """Whether something listens there within `timeout` s; asked twice a second."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        try:
            socket.create_connection((host, port), timeout=2).close()
            return True
        except OSError:
            time.sleep(0.5)
    return False


def _kept(chunks: Iterable[bytes], failed: list[Exception]) -> Iterator[bytes]:
    """The chunks; what goes wrong in making them ends them, and is raised by whoever waits for the command."""
    try:
        yield from chunks
    except Exception as error:
        failed.append(error)


def _send(channel: Any, chunks: Iterable[bytes]) -> None:
    with contextlib.suppress(OSError):  # the far side may end early; its exit code tells why
        for chunk in chunks:
            channel.sendall(chunk)
        channel.shutdown_write()


def _collect(channel: Any, timeout: float | None, on_line: OnLine | None) -> Result:
    """Both streams to the end. stderr is read by a thread: a full window would block the other stream."""
    errors: list[str] = []
    reader = threading.Thread(target=_lines, args=(channel.makefile_stderr("rb"), errors, on_line), daemon=True)
    reader.start()
    out: list[str] = []
    channel.settimeout(timeout)
    try:
        _lines(channel.makefile("rb"), out, on_line)
    except TimeoutError as error:
        channel.close()
        raise HostError(f"the command did not end within {timeout:g} s") from error
    reader.join(5)
    return Result(channel.recv_exit_status(), "".join(out), "".join(errors))


def _lines(stream: Any, into: list[str], on_line: OnLine | None) -> None:
    for raw in stream:
        line = raw.decode(errors="replace")
        into.append(line)
        if on_line:
            on_line(line.rstrip("\r\n"))
