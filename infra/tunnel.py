"""Listening ports: wait for one on a host; serve one here and carry each of its connections over SSH."""

import contextlib
import errno
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import paramiko

from infra.errors import UsageError

# whatever goes wrong is raised, and told in our words: paramiko would write its own besides, with tracebacks
logging.getLogger("paramiko").setLevel(logging.CRITICAL)

BROKEN = (paramiko.SSHException, EOFError, OSError)  # what paramiko raises where a connection breaks
NO_CONNECTION = (*BROKEN, UnicodeError, paramiko.hostkeys.InvalidHostKey)  # and where it cannot be made
_CHUNK = 1 << 16

Dial = Callable[[], Any]


def listening(port: int) -> socket.socket:
    """A socket that listens on 127.0.0.1:port. UsageError where that port cannot be had."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        server.close()
        used = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        what = "is in use" if used else f"cannot be opened: {getattr(error, 'strerror', None) or error}"
        raise UsageError(f"port {port} of this laptop {what}", "give another: --local-port PORT") from error
    server.listen(16)
    return server


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


@contextlib.contextmanager
def served(server: socket.socket, dial: Dial) -> Iterator[None]:
    """Until the block ends, each connection to the listening `server` is joined to a new channel that `dial` opens.

    Where `dial` fails (the line is broken, nobody listens there), the connection is closed. `server` is closed at the
    end.
    """
    threading.Thread(target=_accept, args=(server, dial), daemon=True).start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)  # `close` alone would not wake the thread that accepts
        server.close()


def _accept(server: socket.socket, dial: Dial) -> None:
    while True:
        try:
            near, _ = server.accept()
        except OSError:
            return  # closed: the user of the tunnel is done
        threading.Thread(target=_carry, args=(near, dial), daemon=True).start()


def _carry(near: socket.socket, dial: Dial) -> None:
    """Copy both ways until one end is done, then close both: sshd allows ten channels at a time."""
    with near:
        try:
            far = dial()
        except Exception:  # whoever connected sees the connection end
            return
        back = threading.Thread(target=_pump, args=(far, near), daemon=True)
        back.start()
        _pump(near, far)
        with contextlib.suppress(*BROKEN):  # the whole connection may be closed already
            far.close()
        back.join()


def _pump(source: Any, target: Any) -> None:
    """Copy until `source` ends. A target that is a socket is told of the end, a channel is not: see SshShell.run."""
    with contextlib.suppress(*BROKEN):
        while data := source.recv(_CHUNK):
            target.sendall(data)
    if isinstance(target, socket.socket):
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
