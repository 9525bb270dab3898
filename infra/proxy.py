"""A connection through a program's standard input and output, like OpenSSH's ProxyCommand.

paramiko's own reads through pipes, never notices their end, and hides what the program says. Here the program holds the
other end of a socket pair, so that timeouts and ends are a socket's own.
"""

import socket
import subprocess
import tempfile
from collections.abc import Sequence

from infra.errors import AuthError, HostError, ProvisionError

_LEAVE_S = 0.5  # for the program to say goodbye to its own far side


class ProgramSocket(socket.socket):
    """The connection that the program `words` makes. Closing it ends the program."""

    def __init__(self, words: Sequence[str]) -> None:
        ours, theirs = socket.socketpair()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the connection
        with theirs:
            # a session of its own: Ctrl-C at the terminal is ours, and what ends a training needs the connection
            self._process = subprocess.Popen(
                words, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=self._said, start_new_session=True
            )
        super().__init__(fileno=ours.detach())

    def close(self) -> None:
        super().close()
        for end in (self._process.terminate, self._process.kill):
            if self._ended() is not None:
                return
            end()
        self._ended()

    def _ended(self) -> int | None:
        """The program's exit code; None while it runs."""
        try:
            return self._process.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            return None

    def failure(self) -> ProvisionError | None:
        """The program's own error message, where it ended by itself with an error; None where it did not."""
        code = self._ended()
        self._said.seek(0)
        text = self._said.read().decode(errors="replace")
        return as_said(code, text) if code is not None and code > 0 else None


def dial(host: str, port: int, proxy: Sequence[str] | None) -> socket.socket:
    """A connection to the host's port, through the program `proxy` if there is one. OSError where it cannot be made."""
    if proxy:
        return ProgramSocket(proxy)
    sock = socket.create_connection((host, port), timeout=10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def as_said(code: int, text: str) -> ProvisionError:
    """The last error that a program wrote, with its mend: AuthError is final, a HostError may pass."""
    lines = [line for line in text.splitlines() if line.strip()] or [f"the connection's program ended with {code}"]
    mend = lines.pop().strip() if lines[-1].startswith("  ") and len(lines) > 1 else ""
    return (AuthError if code == AuthError.exit_code else HostError)(lines[-1], mend)
