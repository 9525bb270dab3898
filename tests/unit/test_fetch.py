"""A run's results come home whole, or a user hears why; nothing is written outside the folder that was named."""

import errno
import hashlib
import json
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from infra.aws.s3 import S3
from infra.errors import CloudError, DiskError, RunError
from infra.store import Stored, decoded
from provision.files import bar, objects
from provision.recipes.loading import load
from provision.recipes.rendering import render
from provision.runs import fetch as fetching
from provision.runs import log
from provision.runs.manifest import Manifest, Source
from provision.runs.store import Run
from tests.unit.fake_aws import CLOUD

NET = "snapshots/digits_iter_20.caffemodel"
STATE = "snapshots/digits_iter_20.solverstate"


class Bucket:
    """A bucket in memory. Each read takes `slow` seconds; how many were under way at once is counted."""

    cloud = CLOUD
    owner = "111111111111"
    bucket = "provision-111111111111-us-east-1"

    where = ("fake", owner, "us-east-1")
    hint = staticmethod(CLOUD.hint)

    def __init__(self, slow: float = 0.0) -> None:
        self.held: dict[str, bytes] = {}
        self.slow = slow
        self.reads: list[str] = []
        self.most = self._now = 0
        self._lock = threading.Lock()

    def objects(self, prefix: str) -> list[Stored]:
        return [Stored(key, len(data)) for key, data in sorted(self.held.items()) if key.startswith(prefix)]

    def objects_after(self, prefix: str, after: str) -> list[Stored]:
        return [one for one in self.objects(prefix) if one.key > after]

    def read(self, key: str) -> bytes | None:
        with self._lock:
            self.reads.append(key)
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(self.slow)
        with self._lock:
            self._now -= 1
        return self.held.get(key)

    def read_json(self, key: str) -> Any:
        raw = self.held.get(key)
        return None if raw is None else decoded(raw, key)

    def write(self, key: str, data: bytes) -> None:
        self.held[key] = data

    def write_new(self, key: str, data: bytes) -> bool:
        return self.held.setdefault(key, data) == data

    def write_json(self, key: str, value: object) -> None:
        self.write(key, json.dumps(value).encode())

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.held.pop(key, None)

    def url(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def folders(self, prefix: str) -> list[str]:
        return sorted({key.removeprefix(prefix).split("/")[0] for key in self.held if key.startswith(prefix)})

    def download(self, key: str, target: Path) -> None:
        data = self.read(key)
        if data is None:
            raise CloudError(f"cannot read {key}")
        target.write_bytes(data)


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def run(bucket: Bucket) -> Run:
    """A run with one snapshot, an output and a log in two attempts."""
    return made(bucket)


def made(bucket: Bucket) -> Run:
    one = Run(cast(S3, bucket), "digits-1")
    recipe = load("digits")
    one.write_manifest(
        Manifest(
            "digits-1", "2026-01-01", recipe, render(recipe), "caffe", "caffe:1", "sha256:1", Source(), Source(), 0,
            "box", "p3.8xlarge", "spot", "us-east-1",
        )
    )  # fmt: skip
    snapshot(bucket, {NET: b"the net", STATE: b"the state"})
    bucket.held[one.key("outputs/plots/loss.csv")] = b"1,2\n"
    bucket.held[one.key("outputs/plots/")] = b""
    bucket.held[one.key("log/001-000000000000")] = b"Iteration 10, lo"
    bucket.held[one.key("log/002-000000000000")] = "größe\n".encode()
    return one


def snapshot(bucket: Bucket, files: dict[str, bytes]) -> None:
    below = "runs/digits-1/snapshots/000000020/"
    rows = []
    for path, data in files.items():
        bucket.held[below + path.rsplit("/", 1)[-1]] = data
        rows.append({"path": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    bucket.write_json(below + "complete.json", {"iteration": 20, "files": rows})


def there(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_comes_home(run: Run, tmp_path: Path) -> None:
    paths = fetching.fetch(run, tmp_path / "home")
    found = there(tmp_path / "home")
    assert found[NET] == b"the net"
    assert found["plots/loss.csv"] == b"1,2\n"
    assert found["log.txt"].decode() == "Iteration 10, lo\ngröße\n"
    assert set(run.manifest.rendered.files) < set(found)
    assert len(paths) == len(set(paths)) == 5
    assert all(path.is_file() for path in paths)
    assert not [name for name in found if ".fetch-" in name or name.endswith(".part")]


def test_a_second_fetch_brings_no_snapshot_again(run: Run, bucket: Bucket, tmp_path: Path) -> None:
    fetching.fetch(run, tmp_path)
    (tmp_path / STATE).write_text("the stale")
    bucket.reads.clear()
    fetching.fetch(run, tmp_path)
    assert not [key for key in bucket.reads if key.endswith(".caffemodel")]
    assert (tmp_path / STATE).read_bytes() == b"the state"


@pytest.mark.parametrize("name", ["/etc/passwd", "../passwd", "a/../../passwd", ".."])
def test_an_output_outside_the_folder_is_refused(run: Run, bucket: Bucket, tmp_path: Path, name: str) -> None:
    bucket.held[run.key("outputs/") + name] = b"root::0:0"
    with pytest.raises(RunError, match="outside of itself"):
        fetching.fetch(run, tmp_path / "home")
    assert there(tmp_path) == {}


def test_a_rendered_file_outside_the_folder_is_refused(run: Run, bucket: Bucket, tmp_path: Path) -> None:
    raw = bucket.read_json(run.key("manifest.json"))
    raw["rendered"]["files"]["../../.bashrc"] = "evil"
    bucket.write_json(run.key("manifest.json"), raw)
    with pytest.raises(RunError, match=r"'\.\./\.\./\.bashrc'"):
        fetching.fetch(Run(run.store, run.id), tmp_path / "home")
    assert there(tmp_path) == {}


def test_a_snapshot_outside_the_folder_is_none(run: Run, bucket: Bucket, tmp_path: Path) -> None:
    raw = bucket.read_json(run.key("manifest.json"))
    raw["recipe"]["snapshots"]["pattern"] = r".*_(?P<iteration>\d+)\.(?P<part>\w+)"
    bucket.write_json(run.key("manifest.json"), raw)
    snapshot(bucket, {"../../x_20.caffemodel": b"evil", "../../x_20.solverstate": b"evil"})
    fetching.fetch(Run(run.store, run.id), tmp_path / "home")
    assert b"evil" not in there(tmp_path).values()


@pytest.mark.parametrize("name", ["/x/a.bin", "../a.bin", "", "a\0b"])
def test_no_name_leads_outside(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunError):
        fetching.inside(tmp_path, name)


def test_a_damaged_snapshot_is_not_kept(run: Run, bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "snapshots").mkdir()
    (tmp_path / NET).write_text("an older good one")
    bucket.held["runs/digits-1/snapshots/000000020/digits_iter_20.caffemodel"] = b"the nEt"
    with pytest.raises(RunError, match=r"digits_iter_20.caffemodel came damaged"):
        fetching.fetch(run, tmp_path)
    assert (tmp_path / NET).read_text() == "an older good one"
    assert b"the nEt" not in there(tmp_path).values()
    assert not list(tmp_path.glob(".fetch-*"))


def test_a_full_disk_leaves_nothing_half_written(run: Run, bucket: Bucket, tmp_path: Path) -> None:
    class Full(Bucket):
        def download(self, key: str, target: Path) -> None:
            target.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    full = Full()
    full.held = bucket.held
    with pytest.raises(DiskError, match="the disk filled up"):
        fetching.fetch(Run(cast(S3, full), run.id), tmp_path)
    assert there(tmp_path) == {}


def test_what_s3_says_of_one_file_ends_the_fetch(run: Run, bucket: Bucket, tmp_path: Path) -> None:
    whole = bucket.objects(run.prefix)
    bucket.objects = lambda prefix: [one for one in whole if one.key.startswith(prefix)]  # type: ignore[method-assign]
    del bucket.held["runs/digits-1/snapshots/000000020/digits_iter_20.solverstate"]  # after the listing
    with pytest.raises(CloudError, match="solverstate"):
        fetching.fetch(run, tmp_path)


def test_files_come_several_at_a_time() -> None:
    bucket = Bucket(slow=0.05)
    run = made(bucket)
    for at in range(20):
        bucket.held[run.key(f"outputs/{at}")] = b"x"
    wanted = fetching.wanted(run, Path("home"))
    assert len(wanted) == 24
    begun = time.monotonic()
    objects.each(lambda file: run.store.read(file.key), wanted, lambda: None)
    assert time.monotonic() - begun < 24 * 0.05 / 2
    assert 1 < bucket.most <= 8


def test_the_log_is_read_several_pieces_at_a_time_and_stays_in_order() -> None:
    bucket = Bucket(slow=0.01)
    run = made(bucket)
    for at in range(1, 200):
        bucket.held[run.key(f"log/002-{at:012d}")] = f"line {at}\n".encode()
    found = list(log.text(run))
    assert found[0] == b"Iteration 10, lo"
    assert found[2:] == [f"line {at}\n".encode() for at in range(1, 200)]
    assert 1 < bucket.most <= 16


def test_a_reader_who_stops_early_does_not_read_the_whole_log() -> None:
    bucket = Bucket(slow=0.01)
    run = made(bucket)
    for at in range(1, 500):
        bucket.held[run.key(f"log/002-{at:012d}")] = b"x"
    reader: Iterator[bytes] = log.text(run)
    next(reader)
    reader.close()  # type: ignore[attr-defined]
    time.sleep(0.1)
    assert len([key for key in bucket.reads if "/log/" in key]) < 40


def test_a_rendered_file_is_whole_or_as_it_was(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [name for name, text in run.manifest.rendered.files.items() if text]
    for name in names:
        (tmp_path / name).write_text("the one of an earlier fetch")

    def full(path: Path, text: str, **_: Any) -> None:
        path.write_bytes(text.encode()[:3])
        if text:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(DiskError, match="the disk filled up"):
        fetching.fetch(run, tmp_path)
    assert {(tmp_path / name).read_text() for name in names} == {"the one of an earlier fetch"}


def test_the_mend_of_a_full_disk_leads_to_the_runs_own_cloud(run: Run, bucket: Bucket, tmp_path: Path) -> None:
    bucket.objects = lambda prefix: [Stored(run.key("outputs/x"), 9 * 10**18)]  # type: ignore[method-assign]
    with pytest.raises(DiskError, match=r"TB are needed") as caught:
        fetching.fetch(run, tmp_path / "home")
    assert "provision fetch digits-1 DIR --cloud fake" in caught.value.mend
    assert not (tmp_path / "home").exists()


def test_a_large_fetch_says_how_far_it_is(
    run: Run, bucket: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bar, "_LEAST_S", 0)
    for at in range(12):
        bucket.held[run.key(f"outputs/{at}.bin")] = bytes(2_000_000)
    fetching.fetch(run, tmp_path)
    assert "of 24.0 MB" in capsys.readouterr().err


def test_a_small_fetch_is_silent(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fetching.fetch(run, tmp_path)
    assert capsys.readouterr().err == ""
