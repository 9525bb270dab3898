"""A host of the user's own, `ssh://[user@]host[:port]`: reached as the user's ssh would, but never with an unknown key.

Machines that we rent have pinned keys (infra.ssh). Here the user's ~/.ssh counts: known_hosts, keys, the agent, and
of its config what names a host: HostName, User, Port, IdentityFile.
"""

import getpass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fabric
import paramiko
from paramiko.hostkeys import InvalidHostKey

from infra.address import Address
from infra.errors import HostError, HostKeyError, UsageError
from infra.proxy import dial
from infra.ssh import SshShell, cut_off
from infra.tunnel import NO_CONNECTION

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
        host=_host(home / ".ssh" / "config", str(config.get("hostname", host))),
        user=parts.username or str(config.get("user", getpass.getuser())),
        key=Path(str(config.get("identityfile", [""])[0])).expanduser(),
        known_hosts=home / ".ssh" / "known_hosts",
        alias=host,
        port=port or _port(home / ".ssh" / "config", str(config.get("port", 22))),
    )


def _host(path: Path, text: str) -> str:
    """The host, if fabric will not split it at `@` or a colon. UsageError where it would; IPv6 has several colons."""
    if not text or "@" in text or text.count(":") == 1:
        raise UsageError(f"{path}: {text!r} is no host", "correct it: ssh -G HOST shows what it means")
    return text


def _port(path: Path, text: str) -> int:
    if not (text.isdecimal() and 0 < int(text) < 65536):
        raise UsageError(f"{path}: {text!r} is no port", "correct it: ssh -G HOST shows what it means")
    return int(text)


def _config(path: Path, host: str) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return dict(paramiko.SSHConfig.from_path(str(path)).lookup(host))
    except (paramiko.SSHException, OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}", "correct it: ssh -G HOST shows what it means") from error


class UserShell(SshShell):
    """A machine behind the user's own SSH."""

    def _open(self) -> Any:
        at = self.address
        config = fabric.Config(overrides={"load_ssh_configs": False})
        connection = fabric.Connection(at.host, user=at.user, port=at.port, config=config, connect_timeout=10)
        connection.client.set_missing_host_key_policy(paramiko.RejectPolicy())
        try:
            for path in (_SYSTEM_HOSTS, at.known_hosts):
                if path.is_file():
                    _load_keys(connection.client, path)
            sock = dial(at.host, at.port, at.proxy)
            connection.client.connect(
                at.host, port=at.port, username=at.user, sock=sock, timeout=10, banner_timeout=20, auth_timeout=20,
                key_filename=str(at.key) if at.key.is_file() else None,
            )  # fmt: skip
        except NO_CONNECTION as error:
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
        if isinstance(error, paramiko.hostkeys.InvalidHostKey):
            return HostError(
                f"{at.known_hosts} has a line that is no host key: {error.line[:60]!r}", "delete that line"
            )
        refused = isinstance(error, paramiko.AuthenticationException) and not cut_off(error)
        if refused or "No authentication methods" in str(error):
            return HostError(
                f"{self.where} does not let {at.user} in", f"make this work first: ssh{port} {at.user}@{at.host}"
            )
        return HostError(f"cannot reach {self.where} at {at.host}:{at.port}: {error}", "is it up? is the port right?")


def _load_keys(client: Any, path: Path) -> None:
    try:
        client.load_system_host_keys(str(path))
    except InvalidHostKey:  # `_explained` names the line
        raise
    except (paramiko.SSHException, OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}", "correct it: ssh-keygen -l -f shows each line") from error


def user_shell(text: str) -> UserShell:
    """The shell of `ssh://[user@]host[:port]`; it connects at the first use. UsageError where it is no such address."""
    at = address(text, Path.home())
    return UserShell(at, at.alias)
