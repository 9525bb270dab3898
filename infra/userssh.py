"""A host of the user's own, `ssh://[user@]host[:port]`: as the user's ssh would go there, but to no unknown key.

Machines that we rent have pinned keys (infra.ssh). Here the user's ~/.ssh counts: known_hosts, keys, the agent, and
of its config what names a host: HostName, User, Port, IdentityFile.
"""

import getpass
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fabric
import paramiko

from infra.errors import HostError, HostKeyError, UsageError
from infra.ssh import Address, SshShell

_SYSTEM_HOSTS = Path("/etc/ssh/ssh_known_hosts")


def address(text: str, home: Path) -> Address:
    """Where `ssh://[user@]host[:port]` leads, for a user with that home. UsageError where it is no such address."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{text!r} is no address: {error}", "write ssh://user@host or ssh://user@host:port") from error
    if parts.scheme != "ssh" or not host or parts.path not in ("", "/") or parts.password:
        raise UsageError(f"{text!r} is no address of a host", "write ssh://user@host or ssh://user@host:port")
    config = _config(home / ".ssh" / "config", host)
    return Address(
        host=str(config.get("hostname", host)),
        user=parts.username or str(config.get("user", getpass.getuser())),
        key=Path(str(config.get("identityfile", [""])[0])).expanduser(),
        known_hosts=home / ".ssh" / "known_hosts",
        alias=host,
        port=port or int(str(config.get("port", 22))),
    )


def _config(path: Path, host: str) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return dict(paramiko.SSHConfig.from_path(str(path)).lookup(host))
    except paramiko.SSHException as error:
        raise UsageError(f"{path} cannot be read: {error}", "mend it: ssh -G HOST shows what it means") from error


class UserShell(SshShell):
    """A machine behind the user's own SSH."""

    def _open(self) -> Any:
        at = self.address
        config = fabric.Config(overrides={"load_ssh_configs": False})
        connection = fabric.Connection(at.host, user=at.user, port=at.port, config=config, connect_timeout=10)
        connection.client.set_missing_host_key_policy(paramiko.RejectPolicy())
        for path in (_SYSTEM_HOSTS, at.known_hosts):
            if path.is_file():
                connection.client.load_system_host_keys(str(path))
        try:
            sock = socket.create_connection((at.host, at.port), timeout=10)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.client.connect(
                at.host, port=at.port, username=at.user, sock=sock, timeout=10, banner_timeout=20, auth_timeout=20,
                key_filename=str(at.key) if at.key.is_file() else None,
            )  # fmt: skip
        except (paramiko.BadHostKeyException, paramiko.SSHException, OSError) as error:
            raise self._explained(error) from error
        connection.transport = connection.client.get_transport()
        connection.transport.set_keepalive(15)
        return connection

    def _explained(self, error: Exception) -> HostError:
        at = self.address
        port = "" if at.port == 22 else f" -p {at.port}"
        if isinstance(error, paramiko.BadHostKeyException):
            return HostKeyError(
                f"{self.where} shows another host key than the one in {at.known_hosts}",
                f"someone else may be answering: nothing was sent. Ask its owner, then: ssh-keygen -R {self.where}",
            )
        if "not found in known_hosts" in str(error):
            return HostKeyError(
                f"the host key of {self.where} is not in {at.known_hosts}",
                f"log in once and compare the key that is shown: ssh{port} {at.user}@{at.host}",
            )
        if isinstance(error, paramiko.AuthenticationException) or "No authentication methods" in str(error):
            return HostError(
                f"{self.where} does not let {at.user} in", f"this must work: ssh{port} {at.user}@{at.host}"
            )
        return HostError(f"cannot reach {self.where} at {at.host}:{at.port}: {error}", "is it up? is the port right?")


def user_shell(text: str) -> UserShell:
    """The shell of `ssh://[user@]host[:port]`; connects at the first use."""
    at = address(text, Path.home())
    return UserShell(at, at.alias)
