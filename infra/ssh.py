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
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import fabric
import paramiko

from infra.address import Address
from infra.channel import Take, talk
from infra.disk import writing
from infra.errors import HostError, HostKeyError, ProvisionError, UsageError
from infra.proxy import ProgramSocket, dial
from infra.shell import OnLine, Result, Words, checked, quote, ran_out
from infra.tunnel import BROKEN, NO_CONNECTION, listening, served

_CHUNK = 1 << 16
_KILL_S = 10  # seconds that a command ended by `timeout` has to clean up
_ANSWER_S = 10  # seconds for the news of its end to arrive
_ENDED = (124, 137)  # exit codes where `timeout` ended a command, and where it had to kill it
_LOST_S = 1.0  # seconds: paramiko ends a connection's channels a moment before the connection itself
_WATCH_S = 0.5


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
        sock: socket.socket | None = None
        try:
            connection.client.load_host_keys(str(at.known_hosts))
            self._rename_pinned(connection.client)
            sock = dial(at.host, at.port, at.proxy)
            connection.client.connect(
                at.host, port=at.port, username=at.user, key_filename=str(at.key), sock=sock,
                look_for_keys=False, allow_agent=False, timeout=10, banner_timeout=20, auth_timeout=20,
            )  # fmt: skip
        except NO_CONNECTION as error:
            raise self._failed(error, sock) from error
        connection.transport = connection.client.get_transport()
        connection.transport.set_keepalive(15)
        return connection

    def _rename_pinned(self, client: Any) -> None:
        """Add the key that is pinned under the alias under the address too, as paramiko looks keys up by address."""
        at = self.address
        host = at.host if at.port == 22 else f"[{at.host}]:{at.port}"
        for kind, key in (client.get_host_keys().lookup(at.alias) or {}).items():
            client.get_host_keys().add(host, kind, key)

    def _failed(self, error: Exception, sock: socket.socket | None) -> ProvisionError:
        """Why there is no connection; a proxy that ended by itself tells best. The socket is closed."""
        said = sock.failure() if isinstance(sock, ProgramSocket) else None
        if sock is not None:
            sock.close()
        return said or self._explained(error)

    def _explained(self, error: Exception) -> HostError:
        at = self.address
        unknown = isinstance(error, paramiko.SSHException) and "not found in known_hosts" in str(error)
        if isinstance(error, paramiko.BadHostKeyException) or unknown:
            return HostKeyError(
                f"{self.where} ({at.host}) shows another host key than the one that it told at its start",
                f"someone else may be answering: nothing was sent. If in doubt: {at.hint(f'down {self.where}')}",
            )
        if isinstance(error, paramiko.AuthenticationException) and not cut_off(error):
            return HostError(
                f"{self.where} does not accept this laptop's key",
                f"use the laptop that started it, or: {at.hint(f'down {self.where}')}",
            )
        if at.proxy:
            return HostError(
                f"cannot reach {self.where} through {at.proxy[0]}: {error}", f"does it run? {at.hint('ls')}"
            )
        return HostError(
            f"cannot reach {self.where} at {at.host}:{at.port}: {error}",
            f"is it running? {at.hint('ls')}; SSH is let in only from the address that called `up`",
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
        return self._timed(line, " < /dev/null", (), check, timeout, on_line)

    def feed(
        self,
        words: Words,
        chunks: Iterable[bytes],
        *,
        check: bool = True,
        timeout: float | None = None,
        on_line: OnLine | None = None,
    ) -> Result:
        """Run a command with `chunks` as its standard input, which it reads to the end. HostError as `run`."""
        return self._timed(words, "", chunks, check, timeout, on_line)

    def _timed(
        self, words: Words, tail: str, chunks: Iterable[bytes], check: bool, timeout: float | None,
        on_line: OnLine | None,
    ) -> Result:  # fmt: skip
        """Run the words under `timeout` on the host, which ends all that they started even if the connection broke."""
        if timeout is None:
            return checked(self._exec(quote(words) + tail, chunks, on_line), words, self.where, check)
        limited = ["timeout", f"--kill-after={_KILL_S}", f"{timeout:g}", *words]
        begun = time.monotonic()
        result = self._exec(quote(limited) + tail, chunks, on_line, limit=timeout + _KILL_S + _ANSWER_S)
        if result.code in _ENDED and time.monotonic() - begun >= timeout:
            raise ran_out(words, timeout, self.where)
        return checked(result, words, self.where, check)

    def _exec(
        self, line: str, chunks: Iterable[bytes] = (), on_line: OnLine | None = None, *,
        take: Take | None = None, limit: float | None = None,
    ) -> Result:  # fmt: skip
        """Run a command line; `take` reads its standard output as bytes. HostError where the connection breaks, or the
        command has not ended after `limit` seconds."""
        channel = self.channel(line)
        with self._line():
            done = talk(channel, chunks, on_line, take, limit)
        result = done.result()
        if done.late:
            self.close()
            raise HostError(f"{self.where} does not answer any more", "run the same command again")
        if result.code == -1 and _is_lost(channel.get_transport()):
            raise self._broke("it ended before the command did")
        return result

    def channel(self, line: str) -> Any:
        """Start a command line there, and give its channel, which the caller closes (sshd allows ten at a time)."""
        with self._line():
            channel = self.connection.transport.open_session(timeout=20)
            try:
                channel.exec_command(line)
            except BaseException:
                channel.close()
                raise
            return channel

    @contextlib.contextmanager
    def _line(self) -> Iterator[None]:
        """Put this around code that needs the connection: HostError where it breaks. The next command opens another."""
        try:
            yield
        except paramiko.ChannelException as error:
            raise HostError(
                f"{self.where} opens no other session now: {error.text}",
                "wait until the other commands there have ended, then run the same command again",
            ) from error
        except BROKEN as error:
            raise self._broke(error) from error

    def _broke(self, reason: object) -> HostError:
        self.close()
        return HostError(f"the connection to {self.where} broke: {reason}", "run the same command again")

    def put(self, source: Path, target: str) -> None:
        """Copy one file there, over the same connection. UsageError where it cannot be read; HostError as `run`."""
        try:
            data = source.open("rb")
        except OSError as error:
            raise UsageError(f"{source} cannot be read: {error.strerror}", "name a file that you may read") from error
        with data:
            self.feed(["sh", "-c", 'cat > "$1"', "sh", target], iter(lambda: data.read(_CHUNK), b""))

    def get(self, source: str, target: Path) -> None:
        """Copy one file from there. Where that fails, `target` may hold its beginning.

        HostError where it cannot be read there, or the connection breaks; DiskError or UsageError where it cannot be
        written here.
        """
        words = ["cat", source if source.startswith("/") else f"./{source}"]

        def write(stream: Any) -> None:
            for chunk in iter(lambda: stream.read(_CHUNK), b""):
                with writing(target):
                    out.write(chunk)

        with writing(target):
            out = target.open("wb")
        try:
            checked(self._exec(quote(words) + " < /dev/null", take=write), words, self.where, True)
        finally:
            with writing(target):
                out.close()

    @contextlib.contextmanager
    def forward(self, local_port: int, remote_port: int) -> Iterator[Callable[[], None]]:
        """Until the block ends, 127.0.0.1:local_port here leads to remote_port there. UsageError where that port cannot
        be opened here.

        Gives a function that waits, and raises HostError when the connection breaks.
        """
        transport = self.connection.transport

        def far() -> Any:
            return transport.open_channel("direct-tcpip", ("localhost", remote_port), ("127.0.0.1", local_port))

        def wait() -> None:
            while transport.is_active():
                transport.join(_WATCH_S)
            raise self._broke("nothing comes through any more")

        with served(listening(local_port), far):
            yield wait


def cut_off(error: Exception) -> bool:
    """Whether the connection broke during the login, which paramiko reports as a refusal."""
    return "transport shut down" in str(error)


def _is_lost(transport: Any) -> bool:
    """Whether the whole connection has ended. (A command that a signal ended leaves no exit code either.)"""
    transport.join(_LOST_S)
    return not transport.is_active()
