"""The guard's last two minutes, and what it says while there are more: uploads side by side, restarts, heartbeats."""

import hashlib
import json
import threading
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from infra.host.guard import host, imds, notes, s3, saving, snapshots, watch
from infra.host.guard import run as runs
from tests.unit.test_guard import (
    CRASHED,
    ENDED,
    RUNNING,
    Answer,
    FakeBucket,
    FakeDocker,
    FakeMetadata,
    again,
    fake_s3,
    http_error,
    match,
    run_with,
    write_snapshot,
)  # fmt: skip

NOTICE = "spot interruption"


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(notes, "RUNS", str(tmp_path))
    monkeypatch.setattr(notes, "GUARD", f"{tmp_path}-guard")
    monkeypatch.setattr(snapshots, "REST", 0)
    monkeypatch.setattr(watch, "STATE", f"{tmp_path}-guard/state")
    monkeypatch.setattr(watch, "TERMINALS", f"{tmp_path}-guard/pts/*")
    monkeypatch.setattr(watch, "PUSH_BEFORE_END_S", 0.3)
    monkeypatch.setattr(watch, "TURN_S", 0.1)
    monkeypatch.setattr(s3, "PAUSE_S", 0.01)


class Slow(FakeBucket):
    """Holds what has `held` in its key until `free`; notes what came to it."""

    def __init__(self, held: str) -> None:
        super().__init__()
        self.held = held
        self.came = threading.Event()
        self.free = threading.Event()

    def put(self, key: str, data: bytes) -> None:
        if self.held in key:
            self.came.set()
            assert self.free.wait(60)
        super().put(key, data)


def guard_of(tmp_path: Path, docker: FakeDocker, *names: str, **plan: object) -> watch.Guard:
    for name in names:
        run_with(tmp_path / name, "a line\n", docker, id=name, container=name, prefix=f"runs/{name}/", **plan)
    return begun(docker, {name: FakeBucket() for name in names})


def begun(docker: FakeDocker, buckets: dict[str, FakeBucket]) -> watch.Guard:
    """A guard that has just started, on a host that it has seen before."""
    made = watch.Guard(FakeMetadata(), docker, match)
    made.look()
    for run in made.known():
        run.bucket = buckets[run.id]
    return made


def wait_for(what: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not what():
        assert time.monotonic() < until
        time.sleep(0.01)


def states(bucket: FakeBucket) -> list[tuple[object, object]]:
    return [(one["state"], one.get("reason")) for one in bucket.states()]


# a guard that begins anew


@pytest.mark.parametrize("dies", ["before the training ends", "after the training has ended"])
def test_a_guard_that_restarts_in_the_notice_changes_nothing(tmp_path: Path, dies: str) -> None:
    docker = FakeDocker(c=RUNNING)
    made = guard_of(tmp_path, docker, "c")
    made.announce(NOTICE, 100)
    bucket = made.known()[0].bucket
    if dies.startswith("after"):
        docker.status["c"] = CRASHED
    after = begun(docker, {"c": bucket})
    if dies.startswith("after"):
        after.turn()  # before it hears of the notice
    after.announce(NOTICE, 100)
    docker.status["c"] = CRASHED
    after.turn()
    assert docker.count("kill -s SIGINT c") == 1
    assert states(bucket) == [("interrupted", NOTICE)]


def test_a_signal_that_docker_did_not_take_is_sent_again(tmp_path: Path) -> None:
    docker = FakeDocker(c=RUNNING)
    run = run_with(tmp_path / "c", "", docker)
    run.hurry(NOTICE, time.monotonic() + 100)
    run.words = lambda words: (124, "docker: TimeoutExpired") if "kill" in words else docker(words)
    run.tell()
    assert not run.memory["signalled"]
    after = again(tmp_path / "c", docker)
    after.hurry(NOTICE, time.monotonic() + 100)
    after.tell()
    assert docker.count("kill -s SIGINT") == 1
    assert again(tmp_path / "c", docker).told == NOTICE


@pytest.mark.parametrize(("seconds", "left"), [(90, 90), (3600, 120), (-50, 0)])
def test_no_clock_makes_the_notice_longer(monkeypatch: pytest.MonkeyPatch, seconds: int, left: int) -> None:
    metadata = imds.Metadata()
    at = time.strftime(host.TIME, time.gmtime(time.time() + seconds))
    monkeypatch.setattr(metadata, "get", lambda path: json.dumps({"action": "terminate", "time": at}))
    assert metadata.notice() == pytest.approx(left, abs=10)


# what goes first


def test_at_the_notice_snapshots_go_before_the_log_and_a_log_that_is_refused_keeps_none(tmp_path: Path) -> None:
    run = run_with(tmp_path / "c", "line\n")
    run.hurry(NOTICE, time.monotonic() + 100)
    run.bucket.refused = {"/log/": 400}
    write_snapshot(tmp_path / "c", 400)
    with pytest.raises(Exception, match="400"):
        run.turn()
    assert run.bucket.snapshots() == [400]
    run.bucket.refused = {}
    write_snapshot(tmp_path / "c", 800)
    run.turn()
    keys = [key.split("/")[2] for key, _ in run.bucket.puts]
    assert keys == ["state.json", *["snapshots"] * 6, "log"]


def test_a_snapshot_that_is_refused_keeps_no_other_and_no_log(tmp_path: Path) -> None:
    run = run_with(tmp_path / "c", "line\n")
    run.bucket.refused = {"000000400": 400}
    write_snapshot(tmp_path / "c", 400)
    write_snapshot(tmp_path / "c", 800)
    with pytest.raises(Exception, match="400"):
        run.turn()
    assert run.bucket.snapshots() == [800]
    assert any("/log/" in key for key, _ in run.bucket.puts)


def test_an_upload_under_way_gives_way_to_a_newer_snapshot(tmp_path: Path) -> None:
    run = run_with(tmp_path / "c", "")
    write_snapshot(tmp_path / "c", 400)
    put_file, seen = run.bucket.put_file, []

    def noticed(key: str, fd: int, going: Callable[[], None]) -> dict[str, object]:
        seen.append(key.split("/")[3])
        if len(seen) == 1:  # the notice comes in the midst of the first file
            run.hurry(NOTICE, time.monotonic() + 100)
            write_snapshot(tmp_path / "c", 800)
        return put_file(key, fd, going)

    run.bucket.put_file = noticed
    run.turn()
    assert seen == ["000000400-001", *["000000800-001"] * 2, *["000000400-001"] * 2]
    assert run.bucket.snapshots() == [800, 400]


def test_a_snapshot_that_is_written_anew_while_it_goes_is_not_marked_complete(tmp_path: Path) -> None:
    run = run_with(tmp_path / "c", "")
    first = write_snapshot(tmp_path / "c", 400)[0]
    put_file = run.bucket.put_file

    def torn(key: str, fd: int, going: Callable[[], None]) -> dict[str, object]:
        sent: dict[str, object] = put_file(key, fd, going)
        first.write_bytes(b"anew")
        return sent

    run.bucket.put_file = torn
    with pytest.raises(OSError, match="written anew"):
        run.push_snapshots()
    assert run.bucket.snapshots() == []
    run.bucket.put_file = put_file
    run.push_snapshots()
    assert run.bucket.snapshots() == [400]


# side by side


def test_a_run_whose_upload_takes_long_holds_up_no_other_and_no_word_of_how_it_stands(tmp_path: Path) -> None:
    docker = FakeDocker(slow=RUNNING, fast=RUNNING)
    made = guard_of(tmp_path, docker, "slow", "fast")
    slow, fast = (run for name in ("slow", "fast") for run in made.known() if run.id == name)
    slow.bucket = Slow("caffemodel")
    write_snapshot(tmp_path / "slow", 400)
    write_snapshot(tmp_path / "fast", 400)
    try:
        wait_for(lambda: (made.turn(), slow.bucket.came.is_set(), fast.bucket.snapshots())[1:] == (True, [400]))
        slow.beaten = 0.0
        wait_for(lambda: (made.turn(), len(slow.bucket.states()))[1] > 1)
        made.announce(NOTICE, 0)  # and its end is told S3 in time, too
        made.turn()
        assert states(slow.bucket)[-1] == ("interrupted", NOTICE)
    finally:
        slow.bucket.free.set()


def test_what_becomes_whole_in_the_last_seconds_is_still_pushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PUSH_BEFORE_END_S", 50)
    docker = FakeDocker(c=RUNNING)
    made = guard_of(tmp_path, docker, "c")
    [run] = made.known()
    made.announce(NOTICE, 50)
    saving_ = threading.Thread(target=made.turn, daemon=True)
    saving_.start()
    wait_for(lambda: states(run.bucket)[-1:] == [("interrupted", NOTICE)])
    write_snapshot(tmp_path / "c", 400)
    wait_for(run.bucket.snapshots)
    docker.status["c"] = CRASHED
    saving_.join(60)
    assert run.done
    assert run.bucket.snapshots() == [400]
    assert run.bucket.states()[-1]["snapshots"] == [400]


def test_other_copies_of_the_machine_end_at_the_notice(tmp_path: Path) -> None:
    docker = FakeDocker(c=RUNNING)
    made = guard_of(tmp_path, docker, "c")
    made.announce(NOTICE, 100)
    stop = "systemctl stop --no-block provision-keep-*"
    assert docker.said.index("docker kill -s SIGINT c") < docker.said.index(stop)


def test_a_broken_part_is_sent_again_until_the_machine_ends() -> None:
    place = fake_s3()
    place.patience = 0.0
    place.troubles = [http_error(503) for _ in range(6)]
    with pytest.raises(Exception, match="503"):
        place.put("k", b"x")
    assert len(place.calls) == s3.TRIES
    place.troubles = [http_error(503) for _ in range(6)]
    place.last = time.monotonic() + 600
    place.put("k", b"x")
    assert place.objects["k"] == b"x"


# what it says each minute and does each day


def test_each_minute_it_says_that_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(f"2026-11-20T12:0{minute}:00Z" for minute in range(9))
    monkeypatch.setattr(runs, "now_text", lambda: next(clock))
    docker = FakeDocker(c=RUNNING)
    run = run_with(tmp_path / "c", "", docker)
    run.beat()
    assert run.bucket.states() == []  # it has not begun
    run.turn()
    run.beat()
    assert len(run.bucket.states()) == 1
    run.beaten -= runs.BEAT_S
    run.beat()
    docker.status["c"] = CRASHED
    run.turn()
    run.beaten -= runs.BEAT_S
    run.beat()
    told = [(one["state"], one["time"][14:16], one["seen"][14:16]) for one in run.bucket.states()]
    assert told == [("running", "00", "00"), ("running", "00", "01"), ("failed", "02", "02")]


def test_once_a_day_and_at_the_end_what_is_a_day_old_begins_its_age_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "now_text", lambda ago: {saving.DAY_S: "2026-11-19T12:00:00Z"}[ago])
    old, new = "2026-11-19T11:59:59.000Z", "2026-11-19T12:00:01.000Z"
    there = {"log/1": old, "log/2": new, "snapshots/4-001/x": old, "inputs/data/y": old, "attempts/001.json": old,
             "manifest.json": old, "outputs/z": old}  # fmt: skip
    docker = FakeDocker(c=RUNNING)
    run = run_with(tmp_path / "c", "", docker)
    run.bucket.list = lambda prefix: [
        (key, 7, at) for key, at in ((f"runs/r/{name}", at) for name, at in there.items()) if key.startswith(prefix)
    ]
    run.renew()
    assert run.bucket.renewed == []
    run.remember(renewed=time.time() - saving.DAY_S - 1)
    wanted = ["runs/r/inputs/data/y", "runs/r/log/1", "runs/r/outputs/z", "runs/r/snapshots/4-001/x"]
    for _ in range(2):
        run.renew()
        assert sorted(run.bucket.renewed) == wanted
    run.bucket.renewed = []
    docker.status["c"] = ENDED
    run.turn()
    assert sorted(run.bucket.renewed) == wanted
    run.remember(renewed=0.0)
    run.renew()
    assert len(run.bucket.renewed) == len(wanted)  # an end is an end


class Wire:
    """What goes over the line."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.answers: dict[str, bytes] = {}

    def __call__(self, request: Any, timeout: float) -> Answer:
        self.requests.append(request)
        words = urllib.parse.parse_qs(urllib.parse.urlsplit(request.full_url).query, keep_blank_values=True)
        body = b"<UploadId>u</UploadId>" if "uploads" in words else b"<ETag>&quot;e&quot;</ETag>"
        return Answer(body, ETag="e")

    def headers(self, word: str) -> list[str | None]:
        return [request.get_header(word.capitalize()) for request in self.requests]


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    made = Wire()
    monkeypatch.setattr("urllib.request.urlopen", made)
    return made


class Keys:
    def credentials(self) -> dict[str, str]:
        return {"AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "secret"}


def test_every_request_names_the_owner_and_what_is_written_carries_the_tag(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(s3, "PART", 4)
    place = s3.Bucket(Keys(), "b", "us-east-1", owner="111122223333")
    (tmp_path / "big").write_bytes(b"0123456")
    place.put("one", b"x")
    with (tmp_path / "big").open("rb") as data:
        place.put_file("big", data.fileno())
    place.ask("GET", "one")
    place.ask("DELETE", "one")
    place.list("x")
    assert set(wire.headers("x-amz-expected-bucket-owner")) == {"111122223333"}
    tagged = [request.full_url.split("/")[-1] for request in wire.requests if request.get_header("X-amz-tagging")]
    assert tagged == ["one", "big?uploads="]
    assert {request.get_header("X-amz-tagging") for request in wire.requests} == {None, "provision-expires=yes"}
    nobody = s3.Bucket(Keys(), "b", "us-east-1")
    nobody.ask("GET", "one")
    assert wire.headers("x-amz-expected-bucket-owner")[-1] is None


def test_more_headers_are_signed_as_botocore_does(monkeypatch: pytest.MonkeyPatch) -> None:
    now = s3.datetime.datetime(2026, 11, 20, 12, 0, 0, tzinfo=s3.datetime.timezone.utc)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: now)
    more = {"x-amz-tagging": s3.TAG, "x-amz-expected-bucket-owner": "1", "x-amz-copy-source": "/b/a%20b"}
    url, digest = "https://b.s3.eu-west-1.amazonaws.com/a%20b", hashlib.sha256(b"").hexdigest()
    request = AWSRequest(method="PUT", url=url, data=b"", headers={**more, "X-Amz-Content-SHA256": digest})
    signer = S3SigV4Auth(Credentials("AKIDEXAMPLE", "secret"), "s3", "eu-west-1")
    signer.payload = lambda _: digest  # type: ignore[method-assign]
    signer.add_auth(request)
    ours = s3.signature_headers("PUT", url, "eu-west-1", Keys().credentials(), digest, now, more)
    assert ours["Authorization"] == request.headers["Authorization"]


def test_an_object_is_copied_onto_itself_and_a_huge_one_in_parts(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "COPY", 10)
    place = s3.Bucket(Keys(), "b", "us-east-1")
    place.renew("a b", 10)
    assert wire.headers("x-amz-copy-source") == ["/b/a%20b"]
    assert wire.headers("x-amz-metadata-directive") == wire.headers("x-amz-tagging-directive") == ["REPLACE"]
    assert wire.headers("x-amz-tagging") == ["provision-expires=yes"]
    wire.requests.clear()
    place.renew("big", 25)
    spans = wire.headers("x-amz-copy-source-range")
    assert sorted(span for span in spans if span) == ["bytes=0-9", "bytes=10-19", "bytes=20-24"]
    assert b"<PartNumber>3</PartNumber><ETag>&quot;e&quot;</ETag>" in wire.requests[-1].data
