"""A webhook as a user has one: an HTTPS server with a certificate of an authority that the local cloud trusts."""

import json
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"
_AUTHORITY, _SERVER = "authority.pem", "server.pem"


def authority(folder: Path) -> Path:
    """The certificate of an authority that is made in the folder, with a server's for this machine, signed by it."""
    key, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the tests' authority")])
    ca = _begun(name, name, key).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    alone = x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))])
    own = _begun(x509.Name([]), name, server).add_extension(alone, critical=True)
    (folder / _AUTHORITY).write_bytes(_pem(ca.sign(key, hashes.SHA256())))
    private = server.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / _SERVER).write_bytes(private + _pem(own.sign(key, hashes.SHA256())))
    return folder / _AUTHORITY


def _begun(subject: x509.Name, issuer: x509.Name, key: Any) -> x509.CertificateBuilder:
    now = datetime.now(timezone.utc)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number())
    return made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=2))


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@dataclass
class Hook:
    """What was posted, with its path, oldest first; `confirms`: it opens the SubscribeURL that it is given."""

    port: int = 0
    confirms: threading.Event = field(default_factory=threading.Event)
    posted: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def url(self, path: str) -> str:
        return f"https://{HOST}:{self.port}{path}"

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [said for _, said in self.posted if said["Type"] == kind]

    def take(self, path: str, said: dict[str, Any]) -> None:
        self.posted.append((path, said))
        if said["Type"] == "SubscriptionConfirmation":
            threading.Thread(target=self._confirm, args=(said["SubscribeURL"],), daemon=True).start()

    def _confirm(self, url: str) -> None:
        self.confirms.wait()
        urllib.request.urlopen(url).close()


@contextmanager
def listening(folder: Path) -> Iterator[Hook]:
    """A webhook with the server's certificate of the folder in which the authority was made."""
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.take(self.path, json.loads(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer((HOST, 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / _SERVER)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    hook.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
