"""The download script as it is sent to hosts, against a server that breaks, lies, changes and slows down."""

import hashlib
import http.server
import random
import re
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from infra.errors import HostError, RunError
from infra.shell import LocalShell
from provision.recipes.spec import Weights
from provision.runs import weights

pytestmark = pytest.mark.engine
DATA = random.Random(1).randbytes(3_000_000)
SUM = hashlib.sha256(DATA).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves DATA at any path, with the faults that a test sets."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.data = DATA
        self.seen: list[tuple[str, str | None]] = []
        self.cut = 0  # bytes of an answer, then the connection breaks; 0: never
        self.cuts = 10**9  # so often
        self.codes: list[int] = []  # the next answers' codes
        self.kind = "application/octet-stream"
        self.ranges, self.tag, self.pause = True, '"one"', 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/net.caffemodel"

    @property
    def begins(self) -> list[int]:
        """The first byte of each request."""
        return [int(re.findall(r"\d+", span)[0]) if span else 0 for _, span in self.seen]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        have, span = self.server, self.headers.get("Range")
        have.seen.append((self.path, span))
        if have.codes:
            self.send_error(have.codes.pop(0))
            return
        same = self.headers.get("If-Range") in (None, have.tag)
        begin = int(re.findall(r"\d+", span)[0]) if span and have.ranges and same else 0
        if begin >= len(have.data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(have.data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if begin else 200)
        self.send_header("Content-Type", have.kind)
        self.send_header("Content-Length", str(len(have.data) - begin))
        if have.tag:
            self.send_header("ETag", have.tag)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(have.data) - 1}/{len(have.data)}")
        self.end_headers()
        time.sleep(have.pause)
        broken = have.cut and have.cuts > 0
        have.cuts -= 1
        self.wfile.write(have.data[begin : begin + have.cut] if broken else have.data[begin:])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as one:
        thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield one
        one.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of who runs the tests has no part in them."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def fetch(folder: Path, url: str, sha256: str = "", size: int = 0, sha1: str = "") -> tuple[Path, list[str]]:
    """The file on the host, which is this machine, and what the user is told."""
    one = Weights(file="net.caffemodel", url=url, licence="none", sha256=sha256, sha1=sha1, size=size)
    said: list[str] = []
    weights.fetch(LocalShell(), [one], {}, said.append, str(folder))
    return Path(weights.path_on_host(one, str(folder))), said


def test_a_download_that_breaks_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    server.cut = 1_000_000
    path, said = fetch(tmp_path, server.url, SUM, len(DATA))
    assert path.read_bytes() == DATA
    assert server.begins == [0, 1_000_000, 2_000_000]
    assert any("broke off at 1000000 of 3000000 bytes" in line for line in said)
    assert sorted(one.name for one in path.parent.iterdir()) == ["net.caffemodel", "net.caffemodel.lock"]
    fetch(tmp_path, server.url, SUM)
    assert len(server.seen) == 3  # the second training finds it there


def test_one_that_was_killed_goes_on_too_and_without_a_sum_it_is_pinned(server: Server, tmp_path: Path) -> None:
    server.cut, server.cuts = 1_000_000, 0
    whole, _ = fetch(tmp_path / "whole", server.url)
    part = tmp_path / "killed" / whole.parent.name / "net.caffemodel.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(DATA[:500_000])
    part.with_name("net.caffemodel.part.of").write_text('"one"')
    server.cuts, server.seen = 0, []
    path, said = fetch(tmp_path / "killed", server.url)
    assert server.begins == [500_000]
    assert path.read_bytes() == DATA
    assert f"sha256 {SUM}" in said[-1]
    assert weights.pins()[server.url].sha256 == SUM


def test_a_part_that_was_all_of_it_is_taken(server: Server, tmp_path: Path) -> None:
    part = Path(weights.path_on_host(Weights(file="net.caffemodel", url=server.url, licence="x"), str(tmp_path)))
    part.parent.mkdir(parents=True)
    part.with_name("net.caffemodel.part").write_bytes(DATA)
    path, _ = fetch(tmp_path, server.url, SUM)
    assert path.read_bytes() == DATA


@pytest.mark.parametrize("tag", ['"one"', ""])
def test_a_file_that_changed_meanwhile_is_fetched_from_its_beginning(server: Server, tmp_path: Path, tag: str) -> None:
    """By its ETag, or where the server has none by the sum."""
    server.tag = tag
    path = Path(weights.path_on_host(Weights(file="net.caffemodel", url=server.url, licence="x"), str(tmp_path)))
    path.parent.mkdir(parents=True)
    path.with_name("net.caffemodel.part").write_bytes(b"x" * 1000)
    path.with_name("net.caffemodel.part.of").write_text('"before"' if tag else "")
    fetch(tmp_path, server.url, SUM)
    assert path.read_bytes() == DATA
    assert len(server.seen) == (1 if tag else 2)


def test_a_part_that_nothing_marks_is_not_gone_on_with_where_no_sum_would_tell(server: Server, tmp_path: Path) -> None:
    server.tag = ""
    path = Path(weights.path_on_host(Weights(file="net.caffemodel", url=server.url, licence="x"), str(tmp_path)))
    path.parent.mkdir(parents=True)
    path.with_name("net.caffemodel.part").write_bytes(b"x" * 1000)
    fetch(tmp_path, server.url)
    assert path.read_bytes() == DATA


def test_a_disk_that_cannot_be_written_is_not_taken_for_a_broken_line(server: Server, tmp_path: Path) -> None:
    path = Path(weights.path_on_host(Weights(file="net.caffemodel", url=server.url, licence="x"), str(tmp_path)))
    path.with_name("net.caffemodel.part").mkdir(parents=True)
    with pytest.raises(HostError, match=r"net\.caffemodel cannot be written: Is a directory") as caught:
        fetch(tmp_path, server.url)
    assert "--disk" in caught.value.mend
    assert len(server.seen) == 1


def test_a_server_without_ranges_sends_it_again(server: Server, tmp_path: Path) -> None:
    server.ranges, server.cut, server.cuts = False, 1_000_000, 1
    path, _ = fetch(tmp_path, server.url, SUM)
    assert path.read_bytes() == DATA
    assert len(server.seen) == 2


def test_a_passing_error_is_borne(server: Server, tmp_path: Path) -> None:
    server.codes = [503, 429]
    path, said = fetch(tmp_path, server.url, SUM)
    assert path.read_bytes() == DATA
    assert any("503 Service Unavailable; going on in" in line for line in said)


def test_a_lasting_error_is_not(server: Server, tmp_path: Path) -> None:
    server.codes = [404]
    with pytest.raises(HostError, match="the server says 404") as caught:
        fetch(tmp_path, server.url)
    assert "provision put NAME net.caffemodel" in caught.value.mend
    assert len(server.seen) == 1


def test_a_wrong_file_is_refused_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.data = b"evil" * 1000
    with pytest.raises(RunError, match=rf"published: {SUM}"):
        fetch(tmp_path, server.url, SUM)
    assert [one.name for one in tmp_path.rglob("*.*")] == ["net.caffemodel.lock"]


def test_where_upstream_has_only_a_sha1_that_holds_and_the_file_is_pinned(server: Server, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="SHA-1 .*, and published as SHA-1: " + "0" * 40):
        fetch(tmp_path, server.url, sha1="0" * 40)
    assert not weights.pins()
    path, said = fetch(tmp_path, server.url, sha1=hashlib.sha1(DATA).hexdigest())
    assert path.read_bytes() == DATA
    assert "published as SHA-1" in said[-1]
    assert weights.pins()[server.url].sha256 == SUM


def test_after_the_first_use_another_file_is_refused(server: Server, tmp_path: Path) -> None:
    fetch(tmp_path / "first", server.url)
    server.data = DATA[:-1] + b"x"
    with pytest.raises(RunError, match=rf"pinned on \d{{4}}-\d\d-\d\d: {SUM}"):
        fetch(tmp_path / "second", server.url)
    fetch(tmp_path / "first", server.url)  # the host that has the right one needs no server


def test_a_page_and_a_file_of_another_length_are_refused_before_they_come(server: Server, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="has 3000000 bytes, not 5"):
        fetch(tmp_path, server.url, size=5)
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(HostError, match="sent a page"):
        fetch(tmp_path, server.url)
    assert [one.name for one in tmp_path.rglob("*.*")] == ["net.caffemodel.lock"]


def test_two_trainings_fetch_it_once(server: Server, tmp_path: Path) -> None:
    server.pause = 0.5
    both = [threading.Thread(target=fetch, args=(tmp_path, server.url, SUM)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert len(server.seen) == 1


def self_signed(folder: Path) -> Path:
    """A certificate for 127.0.0.1 with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(timezone.utc)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1))
    here = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    signed = made.add_extension(here, critical=False).sign(key, hashes.SHA256())
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = folder / "ca.pem"
    path.write_bytes(plain + signed.public_bytes(Encoding.PEM))
    return path


def test_a_private_certificate_is_trusted_where_the_host_trusts_it(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = server.url.replace("http:", "https:")
    with pytest.raises(HostError, match="certificate is not trusted"):
        fetch(tmp_path, url)
    monkeypatch.setenv("SSL_CERT_FILE", str(own))
    path, _ = fetch(tmp_path, url, SUM)
    assert path.read_bytes() == DATA


def test_the_hosts_proxy_is_used(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url.rpartition("/")[0])
    path, _ = fetch(tmp_path, "http://no-such-host.invalid/net.caffemodel", SUM)
    assert path.read_bytes() == DATA
    assert server.seen == [("http://no-such-host.invalid/net.caffemodel", None)]
