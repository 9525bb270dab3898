"""Keys: the user's login key, a host key for each launch, and the known_hosts that pins it.

The host's key is made here and put in by cloud-init, so that the very first connection can be checked. ed25519
throughout. Private files are created with mode 0600.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from infra.shell import Secret


@dataclass(frozen=True)
class KeyPair:
    """OpenSSH text of both halves."""

    private: Secret
    public: str


def new_pair(comment: str) -> KeyPair:
    """A fresh ed25519 pair."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption()).decode()
    public = key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH).decode()
    return KeyPair(Secret(private), f"{public} {comment}")


def login_key(folder: Path) -> tuple[Path, str]:
    """The user's own key for all instances: path of the private half, text of the public. Made on first use."""
    path = folder / "id_ed25519"
    if not path.exists():
        pair = new_pair("provision")
        write_private(path, pair.private)
        path.with_suffix(".pub").write_text(pair.public + "\n")
    return path, path.with_suffix(".pub").read_text().strip()


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read; whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(text)
    part.replace(path)


def pin(known_hosts: Path, alias: str, public: str) -> None:
    """Make `alias` have exactly this host key."""
    kind, blob = public.split()[:2]
    write_private(known_hosts, f"{alias} {kind} {blob}\n")
