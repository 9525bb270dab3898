"""Keys: the user's login key, and the known_hosts that pins a machine's host key, so that the very first connection
can be checked. ed25519 throughout. Private files are created with mode 0600.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from infra.shell import Secret


@dataclass(frozen=True)
class KeyPair:
    """Both halves of a key pair, as OpenSSH writes them."""

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
    """The user's own key for all instances: the path of its private half, the text of its public one. Made at need.

    Where several commands make it at the same time, one wins and all use its key: the public half follows from the
    private one.
    """
    path = folder / "id_ed25519"
    if not path.exists():
        part = _written(path, new_pair("provision").private)
        path.with_suffix(".pub").unlink(missing_ok=True)  # of a key that is gone
        with contextlib.suppress(FileExistsError):
            os.link(part, path)
        part.unlink()
    return path, _public(path)


def _public(path: Path) -> str:
    """The public half, kept beside the private one for the user's own eyes."""
    beside = path.with_suffix(".pub")
    with contextlib.suppress(OSError):
        if text := beside.read_text().strip():
            return text
    from cryptography.hazmat.primitives import serialization as form

    key = form.load_ssh_private_key(path.read_bytes(), None).public_key()
    text = key.public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH).decode() + " provision"
    write_private(beside, text + "\n")
    return text


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read; whole or not at all."""
    _written(path, text).replace(path)


def _written(path: Path, text: str) -> Path:
    """Write the text to a file of this process's own beside `path`, with mode 0600; that file's path."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(text)
    return part


def pin(known_hosts: Path, alias: str, public: str) -> None:
    """Write known_hosts anew, with exactly this host key for `alias`."""
    kind, blob = public.split()[:2]
    write_private(known_hosts, f"{alias} {kind} {blob}\n")
