"""The host key that a machine makes: told by its role in one place, and the role may no more than that."""

import urllib.error
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from infra.aws import s3_bucket
from infra.host.guard import hostkey, order
from localcloud import access
from provision.files import bundle
from provision.machines import host_keys
from tests.unit.fake_aws import CLOUD
from tests.unit.fake_s3 import NAME, OURS
from tests.unit.test_guard import FakeBucket

LAUNCH = "provision-lab-01234567"
PLACE = s3_bucket.ours(CLOUD, OURS)


def test_the_order_tells_where_all_that_runs_there_lies_and_where_the_key_belongs() -> None:
    assert host_keys.order(PLACE, host_keys.folder(LAUNCH)) == {
        "bucket": NAME, "region": "us-east-1", "s3": CLOUD.endpoint, "owner": OURS, "bundle": bundle.pack()[0],
        "keys": f"machines/{LAUNCH}/keys/",
    }  # fmt: skip


def test_the_role_reads_what_it_begins_with_and_tells_the_key_of_its_own_launch_alone() -> None:
    statements: Any = host_keys.policy(PLACE, LAUNCH)["Statement"]

    def may(action: str, key: str, account: str = OURS) -> bool:
        return access.allowed(statements, action, f"arn:aws:s3:::{NAME}/{key}", {"aws:resourceaccount": [account]})

    assert may("s3:GetObject", "host/a.tar.gz") and not may("s3:PutObject", "host/a.tar.gz")
    for action in ("s3:PutObject", "s3:PutObjectTagging"):
        assert may(action, f"machines/{LAUNCH}/keys/i-1")
        assert not may(action, f"machines/{LAUNCH}/keys/i-1", account="999999999999")
        for key in (
            "machines/provision-lab-76543210/keys/i-1", f"machines/{LAUNCH}0/keys/i-1", f"machines/{LAUNCH}/other",
            "runs/net-1/manifest.json", "runs/net-1/log/1", "images/blobs/a.gz",
        ):  # fmt: skip
            assert not may(action, key), key
    for key in (f"machines/{LAUNCH}/keys/i-1", "runs/net-1/manifest.json", "images/blobs/a.gz"):
        assert not may("s3:GetObject", key), key
    assert not may("s3:DeleteObject", f"machines/{LAUNCH}/keys/i-1")


class Metadata:
    """Answers with what it is given, one after the other; the last one for good."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def get(self, path: str) -> Any:
        assert path == "instance-id"
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module, name in ((hostkey, "HOST_KEY"), (hostkey, "CONSOLE"), (order, "ORDER")):
        monkeypatch.setattr(module, name, str(tmp_path / name.lower()))
    monkeypatch.setattr(hostkey, "PAUSE_S", 0)
    (tmp_path / "host_key").write_text("ssh-ed25519 AAAA root@ip-10-0-0-1\n")
    return tmp_path


GIVEN = {"bucket": NAME, "region": "us-east-1", "s3": "", "owner": OURS, "keys": f"machines/{LAUNCH}/keys/"}


def test_the_public_half_is_told_under_the_machines_id(machine: Path) -> None:
    bucket = FakeBucket()
    away = Metadata(urllib.error.URLError("away"), None, "i-1")
    hostkey.tell(GIVEN, away, bucket)
    assert bucket.puts == [(f"machines/{LAUNCH}/keys/i-1", b"ssh-ed25519 AAAA")]


def test_it_is_written_with_the_machines_role_to_a_bucket_of_the_account(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    class Bucket(FakeBucket):
        def __init__(self, *place: Any, **more: Any) -> None:
            super().__init__()
            made.append((place[1:], more))

    monkeypatch.setattr(hostkey, "Bucket", Bucket)
    hostkey.tell(GIVEN, Metadata("i-1"))
    assert made == [((NAME, "us-east-1", None, OURS), {"patience": hostkey.PATIENCE_S})]


@pytest.mark.parametrize("broken", ["order", "key", "metadata", "refused"])
def test_the_console_says_why_there_is_no_key(machine: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    refusal = urllib.error.HTTPError("http://s3/x", 403, "Forbidden", Message(), None)

    class Bucket(FakeBucket):
        def put(self, key: str, data: bytes, query: str = "") -> str:
            raise refusal

    monkeypatch.setattr(hostkey, "Bucket", lambda *_, **__: Bucket() if broken == "refused" else FakeBucket())
    monkeypatch.setattr(hostkey, "Metadata", lambda: Metadata(OSError("away") if broken == "metadata" else "i-1"))
    monkeypatch.setattr(hostkey, "PATIENCE_S", 0)
    if broken == "key":
        Path(hostkey.HOST_KEY).unlink()
    if broken != "order":
        Path(order.ORDER).write_text('{"bucket": "b", "region": "r", "keys": "k/"}')
    assert hostkey.main() == 1
    said = (machine / "console").read_text()
    assert said.startswith("provision: failed: the host key is not in S3: ")
    assert said.strip().endswith({"refused": "403: Forbidden", "metadata": "away"}.get(broken, ""))
