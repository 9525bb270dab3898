"""Where and as whom to log in over SSH, and the same connection for the system's own ssh."""

from dataclasses import dataclass
from pathlib import Path

from infra.shell import Words, quote


@dataclass(frozen=True)
class Address:
    """Where and as whom to log in, with which key, and which host key to expect under `alias`.

    `proxy`: the words of a command whose standard input and output are the connection; `host` is then only a name.
    `flags` lead a command of provision to the machine's cloud: a message that names one needs them.
    """

    host: str
    user: str
    key: Path
    known_hosts: Path
    alias: str
    port: int = 22
    proxy: tuple[str, ...] | None = None
    flags: str = ""

    def hint(self, command: str) -> str:
        """The command as the user can copy it."""
        return f"provision {command}{self.flags}"


def ssh_words(address: Address, command: Words = ()) -> list[str]:
    """The same login as a command of the system's own ssh: for a terminal, or for people to copy."""
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
