"""The stub of a machine: what it asks of the metadata service and of S3, and what it unpacks; how it comes into S3."""

import datetime
import hashlib
import io
import json
import tarfile
import urllib.error
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from infra.aws import s3_bucket
from infra.host import stub
from provision.files import bundle, guard
from tests.unit.fake_s3 import OURS, FakeS3

KEYS = {"AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "secret", "Token": "token"}
HEX, PACKED = bundle.pack()
ORDER = {
    "bucket": "provision-1-us-east-1", "region": "us-east-1", "s3": "", "owner": "123456789012", "bundle": HEX,
}  # fmt: skip
URL = f"https://provision-1-us-east-1.s3.us-east-1.amazonaws.com/host/{HEX}.tar.gz"
IMDS = "http://169.254.169.254/latest/"


class World:
    """What urlopen answers: by address its bytes, or the errors that come before them."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Any]] = {
            IMDS + "api/token": [b"t"],
            IMDS + "meta-data/iam/security-credentials/": [b"role\n"],
            IMDS + "meta-data/iam/security-credentials/role": [json.dumps(KEYS).encode()],
            URL: [PACKED],
        }
        self.asked: list[Any] = []

    def urlopen(self, request: Any, timeout: float) -> io.BytesIO:
        self.asked.append(request)
        left = self.answers[request.full_url]
        found = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(found, Exception):
            raise found
        return io.BytesIO(found)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    made = World()
    monkeypatch.setattr(stub.urllib.request, "urlopen", made.urlopen)
    monkeypatch.setattr(stub, "HERE", str(tmp_path / "opt"))
    monkeypatch.setattr(stub, "CONSOLE", str(tmp_path / "console"))
    monkeypatch.setattr(stub, "PAUSE_S", 0)
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt/order.json").write_text(json.dumps(ORDER))
    return made


def refusal(code: int, url: str = URL) -> urllib.error.HTTPError:
    return urllib.error.HTTPError(url, code, "no", Message(), io.BytesIO(b""))


@pytest.mark.parametrize("place", ["", "http://127.0.0.1:5000", "https://s3.cn-north-1.amazonaws.com.cn"])
@pytest.mark.parametrize("bucket", ["bucket", "with.dots"])
def test_its_signature_is_botocores(monkeypatch: pytest.MonkeyPatch, place: str, bucket: str) -> None:
    now = datetime.datetime(2026, 11, 20, 12, 0, 0, tzinfo=datetime.timezone.utc)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: now)
    order = {**ORDER, "s3": place, "bucket": bucket}
    url = stub.address(order)
    assert url.startswith(place or "https://")
    assert (bucket in url.split("/")[2]) is (not place and "." not in bucket)
    request = AWSRequest(method="GET", url=url)
    digest = hashlib.sha256(b"").hexdigest()
    request.headers["X-Amz-Content-SHA256"] = digest
    request.headers["x-amz-expected-bucket-owner"] = ORDER["owner"]
    signer = S3SigV4Auth(Credentials("AKIDEXAMPLE", "secret", "token"), "s3", "us-east-1")
    signer.payload = lambda _: digest  # type: ignore[method-assign]
    signer.add_auth(request)
    assert stub.signed(order, url, KEYS, now)["Authorization"] == request.headers["Authorization"]


def test_it_waits_for_a_role_that_is_fresh(world: World) -> None:
    role = IMDS + "meta-data/iam/security-credentials/"
    world.answers[role] = [refusal(404, role), urllib.error.URLError("away"), b"", b"role\n"]
    world.answers[URL] = [refusal(403), refusal(503), TimeoutError(), PACKED]
    assert stub.bundle(ORDER) == PACKED
    asked = [request for request in world.asked if request.full_url == URL]
    assert len(asked) == 4
    assert asked[0].get_header("X-amz-expected-bucket-owner") == "123456789012"


@pytest.mark.parametrize(
    ("answer", "said"),
    [(refusal(404), "HTTPError"), (b"another", "the host's files in S3 are not those that were ordered")],
)
def test_what_will_never_come_is_written_to_the_console_at_once(
    world: World, tmp_path: Path, answer: Any, said: str
) -> None:
    world.answers[URL] = [answer]
    assert stub.main() == 1
    assert len([request for request in world.asked if request.full_url == URL]) == 1
    assert (tmp_path / "console").read_text().startswith("provision: failed: ")
    assert said in (tmp_path / "console").read_text()
    assert [path.name for path in (tmp_path / "opt").iterdir()] == ["order.json"]


def test_its_patience_ends(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(stub, "PATIENCE_S", -1)
    world.answers[URL] = [refusal(403)]
    assert stub.main() == 1
    assert "403" in (tmp_path / "console").read_text()


@pytest.mark.parametrize("code", [0, 7])
def test_it_unpacks_the_bundle_and_lets_it_begin(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    begun: list[list[str]] = []
    monkeypatch.setattr(stub.subprocess, "call", lambda words: begun.append(words) or code)
    opt = tmp_path / "opt"
    (opt / "guard").mkdir()
    (opt / "guard/older.py").touch()  # of the machine image
    assert stub.main() == code
    assert begun == [["sh", f"{opt}/start.sh"]]
    assert not (opt / "guard/older.py").exists()
    files, digest = guard.contents()
    assert {path.name: path.read_bytes() for path in (opt / "guard").iterdir()} == {
        **files,
        "digest": f"{digest}\n".encode(),
    }
    assert {"start.sh", "engine.sh", "nvidia.sh", "bootstrap.sh", "idle.sh", "download.py"} <= {
        path.name for path in opt.iterdir()
    }


@pytest.mark.parametrize("kind", ["up", "root", "link"])
def test_it_unpacks_plain_files_below_its_folder_alone(world: World, tmp_path: Path, kind: str) -> None:
    entry = tarfile.TarInfo({"up": "guard/../../x", "root": "/x", "link": "x"}[kind])
    if kind == "link":
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        tar.addfile(entry)
    with pytest.raises(ValueError, match="odd file"):
        stub.unpack(out.getvalue())
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("there", ["no bucket", "nothing", "damaged", "cut off"])
def test_a_bundle_that_is_not_whole_in_s3_is_sent(there: str) -> None:
    aws = FakeS3(owners={} if there == "no bucket" else None)
    store = s3_bucket.ours(aws.cloud, OURS)
    if there in ("damaged", "cut off"):
        aws.put(f"host/{HEX}.tar.gz", PACKED[:-1] + (b"\0" if there == "damaged" else b""))
    bundle.bring(store)
    assert aws.held[f"host/{HEX}.tar.gz"][0] == PACKED
    aws.calls.clear()
    bundle.bring(store)
    assert aws.names() == ["HeadObject"]


def test_the_same_files_are_the_same_bundle() -> None:
    first = bundle.pack()
    bundle.pack.cache_clear()
    assert bundle.pack() == first
    assert first[0] == hashlib.sha256(first[1]).hexdigest()
    with tarfile.open(fileobj=io.BytesIO(first[1])) as tar:
        assert {(entry.mtime, entry.uid, entry.isfile()) for entry in tar} == {(0, 0, True)}
