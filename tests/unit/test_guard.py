"""The guard's own parts: what counts as a snapshot, how it signs, how it names an end."""

import datetime
import hashlib
import json
from pathlib import Path

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from infra.host import guard

PATTERN = r"snapshots/digits_iter_(?P<iteration>\d+)\.(?P<part>caffemodel|solverstate)"
PARTS = ["caffemodel", "solverstate"]


def test_a_snapshot_is_complete_only_with_all_its_parts(tmp_path: Path) -> None:
    (tmp_path / "snapshots").mkdir()
    for name in ("digits_iter_400.caffemodel", "digits_iter_400.solverstate", "digits_iter_800.caffemodel"):
        (tmp_path / "snapshots" / name).write_bytes(b"x")
    (tmp_path / "snapshots" / "digits_iter_400.caffemodel.part").write_bytes(b"x")
    found = guard.snapshot_sets(str(tmp_path), PATTERN, PARTS)
    assert found == {400: ["snapshots/digits_iter_400.caffemodel", "snapshots/digits_iter_400.solverstate"]}


def test_a_file_that_is_being_written_is_seen_as_open(tmp_path: Path) -> None:
    path = tmp_path / "net.caffemodel"
    with path.open("wb") as out:
        out.write(b"half")
        at = path.stat()
        assert (at.st_dev, at.st_ino) in guard.open_inodes()
    assert (at.st_dev, at.st_ino) not in guard.open_inodes()


@pytest.mark.parametrize(
    ("method", "url", "body"),
    [
        ("PUT", "https://bucket.s3.eu-west-1.amazonaws.com/runs/a/log/001-000000000000", b"hello"),
        ("GET", "http://127.0.0.1:5000/bucket/?list-type=2&prefix=runs%2Fa%2F", b""),
        ("GET", "http://127.0.0.1:5000/bucket/?continuation-token=x%3D%3D&list-type=2&prefix=a%20b", b""),
    ],
)
def test_its_signature_is_botocores(monkeypatch: pytest.MonkeyPatch, method: str, url: str, body: bytes) -> None:
    now = datetime.datetime(2026, 11, 20, 12, 0, 0, tzinfo=datetime.timezone.utc)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: now)
    keys = {"AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "secret", "Token": "token"}
    request = AWSRequest(method=method, url=url, data=body)
    digest = hashlib.sha256(body).hexdigest()
    request.headers["X-Amz-Content-SHA256"] = digest
    signer = S3SigV4Auth(Credentials("AKIDEXAMPLE", "secret", "token"), "s3", "eu-west-1")
    signer.payload = lambda _: digest  # type: ignore[method-assign]
    signer.add_auth(request)
    ours = guard.signature_headers(method, url, "eu-west-1", keys, digest, now)
    assert ours["Authorization"] == request.headers["Authorization"]


def run_with(tmp_path: Path, log: str, **plan: object) -> guard.Run:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "attempt-001.txt").write_text(log)
    full = {
        "id": "r", "bucket": "b", "prefix": "runs/r/", "region": "us-east-1", "endpoint": None, "attempt": 1,
        "container": "c", "snapshots": {"pattern": PATTERN, "parts": PARTS}, "outputs": [], "push_seconds": 0,
        "stop": {"signal": "SIGINT", "timeout": 5, "said": "Optimization stopped early."}, "instance": "i-1", **plan,
    }  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps(full))
    return guard.Run(str(tmp_path), guard.Metadata())


@pytest.mark.parametrize(
    ("log", "status", "code", "asked", "state"),
    [
        ("Optimization Done.\n", "exited", 0, False, "finished"),
        ("Optimization stopped early.\n", "exited", 0, False, "stopped"),
        ("Optimization stopped early.\n", "exited", 0, True, "stopped"),
        ("F1120 Check failed\n", "exited", 134, False, "failed"),
        ("", "gone", None, False, "failed"),
    ],
)
def test_how_it_names_the_end(tmp_path: Path, log: str, status: str, code: int, asked: bool, state: str) -> None:
    run = run_with(tmp_path, log)
    if asked:
        (tmp_path / "stop-requested").touch()
    assert run.ended_state(status, code) == state


class FakeBucket:
    """Keeps what is put, in order."""

    def __init__(self) -> None:
        self.puts: list[tuple[str, bytes]] = []

    def put(self, key: str, data: bytes) -> None:
        self.puts.append((key, data))

    def put_file(self, key: str, path: str) -> dict[str, object]:
        self.put(key, Path(path).read_bytes())
        return {"name": Path(path).name, "size": Path(path).stat().st_size, "sha256": guard.sha256(path)}


def test_a_snapshot_is_marked_complete_last_and_pushed_once(tmp_path: Path) -> None:
    run = run_with(tmp_path, "")
    run.bucket = FakeBucket()
    (tmp_path / "snapshots").mkdir()
    for part in PARTS:
        (tmp_path / "snapshots" / f"digits_iter_400.{part}").write_bytes(part.encode())
    run.push_snapshots()
    run.push_snapshots()
    keys = [key for key, _ in run.bucket.puts]
    place = "runs/r/snapshots/000000400/"
    assert keys == [
        place + "digits_iter_400.caffemodel",
        place + "digits_iter_400.solverstate",
        place + "complete.json",
    ]
    whole = json.loads(run.bucket.puts[-1][1])
    assert whole["iteration"] == 400
    assert whole["files"][0]["sha256"] == hashlib.sha256(b"caffemodel").hexdigest()


def test_the_log_goes_in_pieces_and_a_new_guard_goes_on_where_the_old_one_was(tmp_path: Path) -> None:
    run = run_with(tmp_path, "one\n")
    run.bucket = FakeBucket()
    run.push_log()
    with (tmp_path / "log" / "attempt-001.txt").open("a") as log:
        log.write("two\n")
    again = guard.Run(str(tmp_path), guard.Metadata())
    again.bucket = run.bucket
    again.push_log()
    assert run.bucket.puts == [
        ("runs/r/log/001-000000000000", b"one\n"),
        ("runs/r/log/001-000000000004", b"two\n"),
    ]
