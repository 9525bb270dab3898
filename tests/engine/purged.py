"""A mirror as it is after a release's end: the pool of the security suite is empty, while its index still lists the
files; a dated snapshot, in /archive, has it all. So Debian 11 was from September 2026 on (hexpm/bob#306,
debuerreotype/docker-debian-eol-artifacts#17).

The release itself is the host's own mirror's, signatures and all. Its security suite is one of our own, with a key of
its own, so that it does not matter what is left of the real one: it has a newer version of one package that images
need, made of the release's."""

import ipaddress
import lzma
import os
import re
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DATE = "20260831T000000Z"
PACKAGE = "libexpat1"  # Python and OpenCV need it, and no base image has it


@dataclass
class Purged:
    """`url` is where containers reach it, `key` the security suite's (armoured); `seen` is what was asked for, with the
    answer's code."""

    url: str
    key: str = ""
    seen: list[tuple[str, int]] = field(default_factory=list)

    def sources(self, *, comments: bool = True) -> str:
        """The sources.list of the official image of Debian 11."""
        places = (("debian", "bullseye"), ("debian-security", "bullseye-security"))
        dated = [f"# deb {self.url}/archive/{path}/{DATE} {suite} main" for path, suite in places]
        lines = [f"deb {self.url}/{path} {suite} main" for path, suite in places]
        return "\n".join([one for pair in zip(dated, lines, strict=True) for one in pair] if comments else lines) + "\n"

    def answers(self, code: int, what: str) -> list[str]:
        return [path for path, given in self.seen if given == code and what in path]


def mirrors() -> dict[str, str]:
    """The host's mirror of Debian and of its security suites, by the last part of their addresses."""
    said = subprocess.run(["apt-get", "update", "--print-uris"], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^'(\S+?/(debian(?:-security)?))/dists/", said, re.MULTILINE)
    return {name: url for url, name in found}


def _bridge() -> str:
    """The address by which containers reach this machine."""
    words = ["docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Subnet}}"]
    subnet = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    return str(next(ipaddress.ip_network(subnet).hosts()))


# Writes the security suite below FOLDER, from the URL and the path in its pool of one of the release's packages.
_SUITE = r"""
set -eu
cd "$1"
export GNUPGHOME="$1/keys"
mkdir -m 700 keys
gpg --batch --quiet --passphrase '' --quick-generate-key purged@example rsa2048 sign never 2>/dev/null
gpg --armor --export > key
curl -fsS "$2" -o old.deb
dpkg-deb -R old.deb tree
sed -i 's/^Version: .*/&+fixed1/' tree/DEBIAN/control
mkdir -p suite/pool suite/dists/bullseye-security/main/binary-amd64
dpkg-deb --build -Zgzip tree suite/pool/fixed.deb >/dev/null
cd suite
list=dists/bullseye-security/main/binary-amd64/Packages
{ dpkg-deb --field pool/fixed.deb; echo 'Filename: pool/fixed.deb'; echo "Size: $(stat -c %s pool/fixed.deb)"
  echo "SHA256: $(sha256sum < pool/fixed.deb | cut -d ' ' -f 1)"; } > $list
cd dists/bullseye-security
sum=$(sha256sum < main/binary-amd64/Packages | cut -d ' ' -f 1)
printf '%s\n' 'Suite: bullseye-security' 'Codename: bullseye-security' "Date: $(LC_ALL=C date -Ru)" \
    'Architectures: amd64' 'Components: main' 'SHA256:' \
    " $sum $(stat -c %s main/binary-amd64/Packages) main/binary-amd64/Packages" > Release
gpg --batch --quiet --clearsign --output InRelease Release
"""


def _package(mirror: str) -> str:
    """The address of the release's own version of the package."""
    code, content = _fetched(f"{mirror}/dists/bullseye/main/binary-amd64/Packages.xz")
    assert code == 200
    found = re.search(rf"(?ms)^Package: {PACKAGE}\n.*?^Filename: (\S+)$", lzma.decompress(content).decode())
    assert found
    return f"{mirror}/{found[1]}"


@contextmanager
def purged() -> Iterator[Purged]:
    mirror = mirrors()["debian"]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, content = self._answer()
            place.seen.append((self.path, code))
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _answer(self) -> tuple[int, bytes]:
            found = re.fullmatch(r"(/archive)?/(debian(?:-security)?)(?:/\d+T\d+Z)?/(.*)", self.path)
            assert found, self.path
            if found[2] == "debian":
                return _fetched(f"{mirror}/{found[3]}")
            file = folder / "suite" / found[3]
            there = file.is_file() and (found[1] or not found[3].startswith("pool/"))
            return (200, file.read_bytes()) if there else (404, b"")

        def log_message(self, *_: object) -> None:
            pass

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["sh", "-c", _SUITE, "suite", name, _package(mirror)], check=True)
        server = ThreadingHTTPServer((_bridge(), 0), Handler)
        place = Purged(f"http://{server.server_address[0]}:{server.server_address[1]}", (folder / "key").read_text())
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield place
        finally:
            server.shutdown()
            server.server_close()
            subprocess.run(["gpgconf", "--kill", "all"], env={**os.environ, "GNUPGHOME": f"{name}/keys"}, check=False)


def _fetched(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=120) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""
