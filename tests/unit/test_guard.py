"""The guard's own parts: what counts as a snapshot, how it signs, how it names an end, how it bears failures."""

import datetime
import hashlib
import importlib
import io
import json
import math
import os
import re
import runpy
import sys
import threading
import time
import urllib.error
import urllib.parse
from collections.abc import Callable
from email.message import Message
from pathlib import Path

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from infra.host import guard_modules, script
from infra.host.guard import copying, files, imds, notes, s3, snapshots, watch
from infra.host.guard import run as runs

MODULES = {
    "copying": copying, "files": files, "imds": imds, "notes": notes, "runs": runs, "s3": s3,
    "snapshots": snapshots, "watch": watch,
}  # fmt: skip


@pytest.fixture(scope="session")
def opt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that has the guard as user data brings it."""
    folder = tmp_path_factory.mktemp("opt")
    (folder / "guard").mkdir()
    for name in guard_modules():
        (folder / name).write_text(script(name))
    return folder


@pytest.fixture(autouse=True, params=["as written", "as sent"])
def _both(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, opt: Path) -> None:
    """Everything holds for the shortened text, too, that travels in the user data."""
    if request.param == "as sent":
        monkeypatch.syspath_prepend(opt)
        for name, module in MODULES.items():
            sent = importlib.import_module(module.__name__.removeprefix("infra.host."))
            monkeypatch.setattr(sys.modules[__name__], name, sent)


@pytest.fixture(autouse=True)
def places(_both: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A test's folder is a run's, or one of several runs'; root's own is beside it."""
    monkeypatch.setattr(notes, "RUNS", str(tmp_path.parent))
    monkeypatch.setattr(notes, "GUARD", f"{tmp_path}-guard")
    monkeypatch.setattr(snapshots, "REST", 0)
    monkeypatch.setattr(watch, "STATE", f"{tmp_path}-guard/state")
    monkeypatch.setattr(watch, "TERMINALS", f"{tmp_path}-guard/pts/*")
    monkeypatch.setattr(watch, "SETTINGS", f"{tmp_path}-guard/settings")


def match(pattern: str, paths: list[str]) -> tuple[dict[str, list[object]], bool]:
    """As the guard's, in this process."""
    found = [one for one in map(re.compile(pattern).fullmatch, paths) if one]
    words = [(one.string, one.groupdict()) for one in found]
    return {path: [int(has.get("iteration") or 0), has.get("part")] for path, has in words}, True


PATTERN = r"snapshots/digits_iter_(?P<iteration>\d+)\.(?P<part>caffemodel|solverstate)"
PARTS = ["caffemodel", "solverstate"]


def test_a_snapshot_is_complete_only_with_all_its_parts(tmp_path: Path) -> None:
    (tmp_path / "snapshots").mkdir()
    for name in ("digits_iter_400.caffemodel", "digits_iter_400.solverstate", "digits_iter_800.caffemodel"):
        (tmp_path / "snapshots" / name).write_bytes(b"x")
    (tmp_path / "snapshots" / "digits_iter_400.caffemodel.part").write_bytes(b"x")
    found = snapshots.snapshot_sets(snapshots.Finder(str(tmp_path), PATTERN, match).find(), PARTS)
    assert found == {400: ["snapshots/digits_iter_400.caffemodel", "snapshots/digits_iter_400.solverstate"]}


def test_a_file_that_is_being_written_is_seen_as_open(tmp_path: Path) -> None:
    path = tmp_path / "net.caffemodel"
    with path.open("wb") as out:
        out.write(b"half")
        at = path.stat()
        assert (at.st_dev, at.st_ino) in snapshots.open_inodes()
    assert (at.st_dev, at.st_ino) not in snapshots.open_inodes()


@pytest.mark.parametrize(
    ("method", "url", "body"),
    [
        ("PUT", "https://bucket.s3.eu-west-1.amazonaws.com/runs/a/log/001-000000000000", b"hello"),
        ("GET", "http://127.0.0.1:5000/bucket/?list-type=2&prefix=runs%2Fa%2F", b""),
        ("GET", "http://127.0.0.1:5000/bucket/?continuation-token=x%3D%3D&list-type=2&prefix=a%20b", b""),
        ("POST", "https://bucket.s3.eu-west-1.amazonaws.com/a/b%20c?uploads=", b""),
        ("PUT", "https://bucket.s3.eu-west-1.amazonaws.com/a?partNumber=2&uploadId=x%2Fy", b"part"),
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
    ours = s3.signature_headers(method, url, "eu-west-1", keys, digest, now)
    assert ours["Authorization"] == request.headers["Authorization"]


class FakeDocker:
    """Answers the guard's commands; `status` is each container's "STATUS EXIT_CODE OOM"."""

    def __init__(self, **status: str) -> None:
        self.status = status
        self.said: list[str] = []
        self.machine = "running"
        self.on_kill: Callable[[str], None] = lambda container: None

    def __call__(self, words: list[str]) -> tuple[int, str]:
        self.said.append(" ".join(words))
        if words[:2] == ["docker", "inspect"]:
            return (0, self.status[words[-1]]) if words[-1] in self.status else (1, f"No such object: {words[-1]}")
        if words[:2] == ["docker", "kill"]:
            self.on_kill(words[-1])
        if words[:2] == ["docker", "ps"]:
            return 0, "\n".join(name for name, text in self.status.items() if text.startswith("running"))
        return 0, self.machine if "is-system-running" in words else ""

    def count(self, word: str) -> int:
        return sum(word in said for said in self.said)


RUNNING, ENDED, CRASHED = "running 0 false", "exited 0 false", "exited 137 true"


def run_with(tmp_path: Path, log: str, docker: FakeDocker | None = None, **plan: object) -> runs.Run:
    (tmp_path / "log").mkdir(parents=True)
    (tmp_path / "log" / "attempt-001.txt").write_text(log)
    full = {
        "id": "r", "bucket": "b", "prefix": "runs/r/", "region": "us-east-1", "endpoint": None, "attempt": 1,
        "container": "c", "snapshots": {"pattern": PATTERN, "parts": PARTS}, "outputs": [], "push_seconds": 0,
        "stop": {"signal": "SIGINT", "timeout": 5, "said": "Optimization stopped early."}, "instance": "i-1", **plan,
    }  # fmt: skip
    notes.plan(tmp_path.name, full, match)
    return again(tmp_path, docker or FakeDocker(c=RUNNING))


def again(folder: Path, docker: object = None, bucket: "FakeBucket | None" = None) -> runs.Run:
    """The run as a guard that has just begun sees it."""
    run = runs.Run(folder.name, imds.Metadata(), docker or FakeDocker(c=RUNNING), match)
    run.bucket = bucket or FakeBucket()
    return run


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
        notes.stop(tmp_path.name)
    assert run.ended_state(status, code) == state


class FakeBucket:
    """Keeps what is put, in order; refuses keys that hold a word of `refused` with that HTTP code."""

    def __init__(self) -> None:
        self.puts: list[tuple[str, bytes]] = []
        self.deadly = -1
        self.refused: dict[str, int] = {}
        self.last = 0.0
        self.renewed: list[str] = []

    def renew(self, key: str, size: int) -> None:
        self.renewed.append(key)

    def put(self, key: str, data: bytes) -> None:
        for word, code in self.refused.items():
            if word in key:
                raise http_error(code)
        self.puts.append((key, data))

    def put_file(self, key: str, fd: int, going: Callable[[], None] = lambda: None) -> dict[str, object]:
        going()
        data = os.pread(fd, 1 << 20, 0)
        self.put(key, data)
        return {"name": Path(key).name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    def ask(self, method: str, key: str) -> None:
        """Only deletions; with `deadly`, the process dies after so many."""
        assert method == "DELETE"
        if self.deadly == 0:
            raise KeyboardInterrupt
        self.deadly -= 1
        self.put("deleted", key.encode())
        self.puts = [one for one in self.puts if one[0] not in (key, "deleted")]

    def states(self) -> list[dict[str, object]]:
        return [json.loads(data) for key, data in self.puts if key.endswith("state.json")]

    def snapshots(self) -> list[int]:
        return [iteration_of(key) for key, _ in self.puts if key.endswith("complete.json")]

    def list(self, prefix: str) -> "list[tuple[str, int, str]]":
        return [(key, len(data), "2026-01-01T00:00:00.000Z") for key, data in self.puts if key.startswith(prefix)]


def iteration_of(key: str) -> int:
    return int(key.split("/")[3].split("-")[0])


def http_error(code: int) -> urllib.error.HTTPError:
    return urllib.error.HTTPError("http://s3", code, "no", Message(), io.BytesIO(b""))


def write_snapshot(folder: Path, iteration: int, size: int = 1) -> list[Path]:
    (folder / "snapshots").mkdir(exist_ok=True)
    paths = [folder / "snapshots" / f"digits_iter_{iteration}.{part}" for part in PARTS]
    for path in paths:
        path.write_bytes(path.suffix.encode() * size)
    return paths


def test_a_snapshot_is_marked_complete_last_and_pushed_once(tmp_path: Path) -> None:
    run = run_with(tmp_path, "")
    write_snapshot(tmp_path, 400)
    run.push_snapshots()
    run.push_snapshots()
    keys = [key for key, _ in run.bucket.puts]
    place = "runs/r/snapshots/000000400-001/"
    assert keys == [
        place + "digits_iter_400.caffemodel",
        place + "digits_iter_400.solverstate",
        place + "complete.json",
    ]
    whole = json.loads(run.bucket.puts[-1][1])
    assert (whole["iteration"], whole["attempt"]) == (400, 1)
    assert whole["files"][0]["sha256"] == hashlib.sha256(b".caffemodel").hexdigest()


@pytest.mark.parametrize(("ended", "published"), [(ENDED, [400]), (CRASHED, []), ("running 0 false", [400])])
def test_what_a_crash_left_half_written_is_never_published(tmp_path: Path, ended: str, published: list[int]) -> None:
    run = run_with(tmp_path, "", FakeDocker(c=ended))
    write_snapshot(tmp_path, 400)
    run.turn()
    assert run.bucket.snapshots() == published


def test_a_container_that_crashes_while_the_files_are_looked_at_counts_as_crashed(tmp_path: Path) -> None:
    docker = FakeDocker(c=RUNNING)
    answers = iter([RUNNING, CRASHED, CRASHED, CRASHED])

    def inspect(words: list[str]) -> tuple[int, str]:
        return (0, next(answers)) if "inspect" in words else docker(words)

    run = run_with(tmp_path, "")
    run.words = inspect
    write_snapshot(tmp_path, 400)
    run.turn()
    assert run.bucket.snapshots() == []


@pytest.mark.parametrize("told", [False, True])
def test_its_end_is_looked_at_however_soon_after_a_look_that_took_long(tmp_path: Path, told: bool) -> None:
    """No look takes more than a tenth of the time, but what the last one does not find would be lost."""
    docker = FakeDocker(c=RUNNING)
    run = run_with(tmp_path, "", docker)
    run.turn()
    assert run.finder
    run.finder.again = math.inf
    write_snapshot(tmp_path, 400)
    run.turn()
    assert run.bucket.snapshots() == []
    docker.status["c"] = ENDED
    if told:
        run.hurry("spot interruption", time.monotonic() + 60)
    run.turn()
    assert run.bucket.snapshots() == [400]


def test_after_a_crash_a_snapshot_that_was_seen_whole_before_is_published_and_a_changed_one_is_not(
    tmp_path: Path,
) -> None:
    docker = FakeDocker(c=RUNNING)
    run = run_with(tmp_path, "", docker)
    run.bucket.refused = {"snapshots/": 500}
    write_snapshot(tmp_path, 400)
    write_snapshot(tmp_path, 800)
    with pytest.raises(urllib.error.HTTPError):
        run.turn()
    run.bucket.refused = {}
    docker.status["c"] = CRASHED
    write_snapshot(tmp_path, 800, size=2)
    write_snapshot(tmp_path, 1200)
    run.turn()
    assert run.bucket.snapshots() == [400]
    assert run.bucket.states()[-1]["state"] == "failed"
    assert run.bucket.states()[-1]["out_of_memory"] is True


def test_what_was_there_when_the_attempt_began_is_not_its_own_whatever_the_clock_says(tmp_path: Path) -> None:
    write_snapshot(tmp_path, 400)
    old = write_snapshot(tmp_path, 800)
    run = run_with(tmp_path, "", resumed_from=400)
    write_snapshot(tmp_path, 1200)
    run.push_snapshots()
    assert run.bucket.snapshots() == [1200]
    for path in write_snapshot(tmp_path, 1600):  # the clock was set back
        os.utime(path, (0, 0))
    run.push_snapshots()
    old[0].write_bytes(b"new")  # one part that this attempt did not write is enough
    again(tmp_path, bucket=run.bucket).push_snapshots()
    assert run.bucket.snapshots() == [1200, 1600]
    old[1].write_bytes(b"new")
    again(tmp_path, bucket=run.bucket).push_snapshots()
    assert run.bucket.snapshots() == [1200, 1600, 800]


# old snapshots


def keeping(tmp_path: Path, keep: int, **plan: object) -> runs.Run:
    return run_with(tmp_path, "", snapshots={"pattern": PATTERN, "parts": PARTS, "keep": keep}, **plan)


def in_s3(run: runs.Run, *iterations: int) -> None:
    """Complete snapshots of an earlier attempt."""
    for at in iterations:
        for name in (f"digits_iter_{at}.caffemodel", f"digits_iter_{at}.solverstate", "complete.json"):
            run.bucket.puts.append((f"runs/r/snapshots/{at:09d}/{name}", b"{}"))


def iterations(run: runs.Run) -> set[int]:
    """Iterations of which S3 has any file."""
    return {iteration_of(key) for key, _ in run.bucket.puts if "/snapshots/" in key}


def local(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "snapshots").iterdir())


def test_of_complete_snapshots_the_newest_stay_in_s3_and_on_the_host(tmp_path: Path) -> None:
    run = keeping(tmp_path, 2)
    for at in (400, 800, 1200, 1600):
        write_snapshot(tmp_path, at)
        run.push_snapshots()
    assert run.bucket.snapshots() == [1200, 1600]
    assert iterations(run) == {1200, 1600}
    assert local(tmp_path) == [f"digits_iter_{at}.{part}" for at in (1200, 1600) for part in PARTS]
    run.set_state("running")
    assert run.bucket.states()[-1]["snapshots"] == [1200, 1600]


def test_without_a_number_all_stay(tmp_path: Path) -> None:
    run = keeping(tmp_path, 0)
    for at in (400, 800, 1200):
        write_snapshot(tmp_path, at)
        run.push_snapshots()
    assert iterations(run) == {400, 800, 1200}
    assert len(local(tmp_path)) == 6


def test_the_one_it_resumed_from_stays_until_a_newer_one_is_whole_in_s3(tmp_path: Path) -> None:
    run = keeping(tmp_path, 1, resumed_from=800)
    in_s3(run, 400, 800)
    write_snapshot(tmp_path, 800)
    write_snapshot(tmp_path, 1200)[0].unlink()  # half of it
    run.push_snapshots()
    assert iterations(run) == {400, 800}
    run.bucket.refused = {"complete.json": 503}
    write_snapshot(tmp_path, 1200)
    with pytest.raises(urllib.error.HTTPError):
        run.push_snapshots()
    assert run.bucket.snapshots() == [400, 800]
    assert len(local(tmp_path)) == 4
    run.bucket.refused = {}
    run.push_snapshots()
    assert iterations(run) == {1200}
    assert local(tmp_path) == [f"digits_iter_1200.{part}" for part in PARTS]


def test_a_newer_one_that_is_not_whole_yet_is_left_alone(tmp_path: Path) -> None:
    run = keeping(tmp_path, 1)
    run.bucket.puts.append(("runs/r/snapshots/000009000-001/digits_iter_9000.caffemodel", b"half"))
    in_s3(run, 400)
    write_snapshot(tmp_path, 800)
    half = write_snapshot(tmp_path, 1200)[0]
    half.with_suffix(".solverstate").unlink()
    run.push_snapshots()
    assert iterations(run) == {800, 9000}
    assert half.exists()


@pytest.mark.parametrize("deaths", [0, 1, 2, 3, 4, 5])
def test_killed_anywhere_there_is_always_a_whole_newest_one_and_the_next_turn_tidies_up(
    tmp_path: Path, deaths: int
) -> None:
    """Six deletions are to do. A mark goes before its files: what it marks is whole at any time."""
    run = keeping(tmp_path, 1, resumed_from=800)
    in_s3(run, 400, 800)
    write_snapshot(tmp_path, 1200)
    run.bucket.deadly = deaths
    with pytest.raises(KeyboardInterrupt):
        run.push_snapshots()
    names = [key.split("/")[3:] for key, _ in run.bucket.puts if "/snapshots/" in key]
    for at in run.bucket.snapshots():
        assert len([name for name in names if name[0].startswith(f"{at:09d}")]) == 3
    assert run.bucket.snapshots()[-1] == 1200

    run.bucket.deadly = -1
    after = again(tmp_path, run.words, run.bucket)
    write_snapshot(tmp_path, 1600)
    after.push_snapshots()
    assert iterations(after) == {1600}
    assert local(tmp_path) == [f"digits_iter_1600.{part}" for part in PARTS]


@pytest.mark.parametrize("code", [403, 503])
def test_a_deletion_that_is_refused_does_not_keep_the_run_from_its_end(tmp_path: Path, code: int) -> None:
    run = keeping(tmp_path, 1)
    run.words = FakeDocker(c=ENDED)
    in_s3(run, 400)
    write_snapshot(tmp_path, 800)
    run.bucket.refused = {"deleted": code}
    run.turn()
    assert run.bucket.states()[-1]["state"] == "finished"
    assert run.bucket.snapshots() == [400, 800]


def test_when_time_is_short_nothing_is_deleted_and_the_newest_go_first(tmp_path: Path) -> None:
    run = keeping(tmp_path, 2)
    run.ending = "spot interruption"
    in_s3(run, 100)
    for at in (400, 800, 1200):
        write_snapshot(tmp_path, at)
    run.push_snapshots()
    assert run.bucket.snapshots() == [100, 1200, 800]


def test_a_snapshot_deep_in_folders_with_a_colon_is_one_of_a_single_part(tmp_path: Path) -> None:
    """As Detectron has it."""
    pattern = r"train/.+/generalized_rcnn/model_iter(?P<iteration>\d+)\.(?P<part>pkl)"
    run = run_with(tmp_path, "", snapshots={"pattern": pattern, "parts": ["pkl"], "keep": 1})
    folder = tmp_path / "train" / "coco_2014_train:coco_2014_val" / "generalized_rcnn"
    folder.mkdir(parents=True)
    for at in (19, 39):
        (folder / f"model_iter{at}.pkl").write_bytes(b"x")
        (folder / f"model_iter{at + 1}.pkl.tmp.123").write_bytes(b"half")
        run.push_snapshots()
    assert run.bucket.snapshots() == [39]
    [whole] = [json.loads(data) for key, data in run.bucket.puts if key.endswith("complete.json")]
    assert whole["files"][0]["path"] == "train/coco_2014_train:coco_2014_val/generalized_rcnn/model_iter39.pkl"
    assert whole["files"][0]["name"] == "model_iter39.pkl"
    assert sorted(path.name for path in folder.glob("*.pkl")) == ["model_iter39.pkl"]


def test_a_state_that_could_not_be_put_is_put_in_the_next_turn(tmp_path: Path) -> None:
    docker = FakeDocker(c=RUNNING)
    run = run_with(tmp_path, "Optimization Done.", docker)
    for state, status in (("running", RUNNING), ("finished", ENDED)):
        docker.status["c"] = status
        run.bucket.refused = {"state.json": 500}
        with pytest.raises(urllib.error.HTTPError):
            run.turn()
        assert not run.done
        run.bucket.refused = {}
        run.turn()
        assert run.bucket.states()[-1]["state"] == state
    assert run.done


def test_an_output_that_s3_refuses_does_not_keep_the_run_from_its_end(tmp_path: Path) -> None:
    run = run_with(tmp_path, "", FakeDocker(c=ENDED), outputs=["*.txt"])
    (tmp_path / "bad.txt").write_text("x")
    (tmp_path / "good.txt").write_text("x")
    run.bucket.refused = {"bad.txt": 403}
    run.turn()
    [state] = run.bucket.states()
    assert state["state"] == "finished"
    assert state["outputs_failed"] == ["bad.txt"]
    assert "runs/r/outputs/good.txt" in [key for key, _ in run.bucket.puts]


def test_an_output_waits_while_s3_is_down(tmp_path: Path) -> None:
    run = run_with(tmp_path, "", FakeDocker(c=ENDED), outputs=["*.txt"])
    (tmp_path / "one.txt").write_text("x")
    run.bucket.refused = {"one.txt": 503}
    with pytest.raises(urllib.error.HTTPError):
        run.turn()
    assert run.bucket.states() == []


def test_a_docker_that_does_not_answer_is_no_end(tmp_path: Path) -> None:
    run = run_with(tmp_path, "")
    run.words = lambda words: (124, "docker: TimeoutExpired")
    write_snapshot(tmp_path, 400)
    run.turn()
    assert run.container()[0] == "unknown"
    assert run.bucket.puts == []


def test_the_log_goes_in_pieces_and_a_new_guard_goes_on_where_the_old_one_was(tmp_path: Path) -> None:
    run = run_with(tmp_path, "one\n")
    run.push_log()
    with (tmp_path / "log" / "attempt-001.txt").open("a") as log:
        log.write("two\n")
    again(tmp_path, bucket=run.bucket).push_log()
    assert run.bucket.puts == [
        ("runs/r/log/001-000000000000", b"one\n"),
        ("runs/r/log/001-000000000004", b"two\n"),
    ]


# the machine's end


class FakeMetadata:
    """Announces the end in `left` s, once it is set; until then it fails like a service that is away."""

    def __init__(self) -> None:
        self.left: float | None = None

    def notice(self) -> float:
        if self.left is None:
            raise TypeError("no metadata")
        return self.left


@pytest.fixture
def quick(places: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(notes, "RUNS", str(tmp_path))
    monkeypatch.setattr(watch, "PUSH_BEFORE_END_S", 0.3)
    monkeypatch.setattr(watch, "TURN_S", 0.1)


def guard_of(tmp_path: Path, docker: FakeDocker, *names: str, log: str = "", **plan: object) -> watch.Guard:
    """A guard with one run for each name; its container has the same name."""
    for name in names:
        run_with(tmp_path / name, log, docker, id=name, container=name, **plan)
    made = watch.Guard(FakeMetadata(), docker, match)
    made.look()
    for run in made.known():
        run.bucket = FakeBucket()
    return made


def run_named(made: watch.Guard, name: str) -> runs.Run:
    [run] = [run for run in made.known() if run.id == name]
    return run


@pytest.mark.usefixtures("quick")
def test_on_notice_all_are_told_at_once_and_each_is_pushed_as_soon_as_it_has_ended(tmp_path: Path) -> None:
    docker = FakeDocker(slow=RUNNING, fast=RUNNING)
    made = guard_of(tmp_path, docker, "slow", "fast", log="Optimization stopped early.\n")
    done: dict[str, bool] = {}

    def kill(container: str) -> None:
        after = {"fast": 0.0, "slow": 1.2}[container]
        threading.Timer(after, docker.status.update, ({container: ENDED},)).start()

    docker.on_kill = kill
    made.announce("spot interruption", 30)
    assert docker.count("kill -s SIGINT") == 2
    threading.Timer(0.6, lambda: done.update({run.id: run.done for run in made.known()})).start()
    made.turn()
    assert done == {"fast": True, "slow": False}  # at 0.6 s
    assert docker.count("kill -s SIGINT") == 2
    for name in ("slow", "fast"):
        state = run_named(made, name).bucket.states()[-1]
        assert (state["state"], state["reason"]) == ("interrupted", "spot interruption")


@pytest.mark.usefixtures("quick")
def test_who_does_not_end_in_time_is_interrupted_with_what_it_has(tmp_path: Path) -> None:
    docker = FakeDocker(c=RUNNING)
    made = guard_of(tmp_path, docker, "c", stop={"signal": "SIGTERM", "timeout": 0, "said": None})
    write_snapshot(tmp_path / "c", 400)
    made.announce("spot interruption", 3)
    begun = time.monotonic()
    made.turn()
    assert 2.0 < time.monotonic() - begun < 4.0  # all of the time, whatever the recipe's timeout
    bucket = run_named(made, "c").bucket
    assert bucket.snapshots() == [400]
    assert bucket.states()[-1]["state"] == "interrupted"
    assert bucket.states()[-1]["reason"] == "spot interruption"


@pytest.mark.usefixtures("quick")
def test_no_upload_hides_the_notice_and_no_metadata_error_stops_its_watch(tmp_path: Path) -> None:
    docker = FakeDocker(c=RUNNING)
    made = guard_of(tmp_path, docker, "c")
    threading.Thread(target=made.sentry, daemon=True).start()  # this thread is as busy as with an upload
    time.sleep(0.3)
    assert docker.count("kill") == 0
    made.metadata.left = 20.0
    end = time.monotonic() + 5
    while docker.count("kill") == 0 and time.monotonic() < end:
        time.sleep(0.02)
    assert docker.count("kill -s SIGINT c") == 1
    docker.status["c"] = CRASHED  # and the busy thread's own turn names it rightly
    run_named(made, "c").turn()
    assert run_named(made, "c").bucket.states()[-1]["state"] == "interrupted"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("machine", "state"), [("stopping", "interrupted"), ("running", None)])
def test_on_power_off_the_trainings_are_saved_and_on_a_restart_they_go_on(
    tmp_path: Path, machine: str, state: str | None
) -> None:
    docker = FakeDocker(c=RUNNING)
    docker.machine = machine
    docker.on_kill = lambda container: docker.status.update({container: CRASHED})
    made = guard_of(tmp_path, docker, "c")
    made.last()
    states = run_named(made, "c").bucket.states()
    assert [one["state"] for one in states] == ([state] if state else [])
    assert [one["reason"] for one in states] == (["power-off"] if state else [])


@pytest.mark.usefixtures("quick")
def test_one_that_had_finished_just_before_the_signal_is_finished(tmp_path: Path) -> None:
    docker = FakeDocker(c=RUNNING)
    docker.on_kill = lambda container: docker.status.update({container: ENDED})
    made = guard_of(tmp_path, docker, "c", log="Optimization Done.\n")
    made.announce("spot interruption", 20)
    made.turn()
    assert run_named(made, "c").bucket.states()[-1]["state"] == "finished"


@pytest.mark.usefixtures("quick")
def test_it_notes_for_the_idle_count_what_is_not_saved_yet(tmp_path: Path) -> None:
    docker = FakeDocker(one=RUNNING, two=ENDED)
    made = guard_of(tmp_path, docker, "one", "two")
    run_named(made, "two").bucket.refused = {"state.json": 503}
    made.turn()
    unfinished = Path(watch.STATE) / "unfinished"
    assert sorted(unfinished.read_text().split()) == ["one", "two"]
    run_named(made, "two").bucket.refused = {}
    made.turn()
    assert unfinished.read_text() == "one\n"
    docker.status["one"] = CRASHED
    made.turn()
    assert unfinished.read_text() == ""


@pytest.mark.usefixtures("quick")
def test_one_broken_run_does_not_keep_the_others_from_being_pushed(tmp_path: Path) -> None:
    docker = FakeDocker(bad=RUNNING, good=RUNNING)
    made = guard_of(tmp_path, docker, "bad", "good", log="line\n")
    run_named(made, "bad").bucket = None  # AttributeError
    Path(notes.GUARD, "torn").mkdir()
    Path(notes.GUARD, "torn", "plan.json").write_text("{")
    made.turn()
    assert "runs/r/log/001-000000000000" in [key for key, _ in run_named(made, "good").bucket.puts]


def rested(made: watch.Guard) -> bool:
    """Whether it powers off, when the time for that has passed."""
    made.turn()
    if made.idle_since is not None:
        made.idle_since -= watch.IDLE_S + 1
    made.turn()
    return bool(made.words.count("systemctl poweroff"))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("settings", "others", "status", "off"),
    [
        ("gpus=4\npower_off_after=1\n", {}, ENDED, True),
        ("power_off_after=0\n", {}, ENDED, False),
        ("", {}, ENDED, False),
        ("power_off_after=1\n", {"box": RUNNING}, ENDED, False),
        ("power_off_after=1\n", {}, RUNNING, False),
    ],
)
def test_a_machine_rented_for_one_training_powers_off_some_time_after_its_end(
    tmp_path: Path, settings: str, others: dict[str, str], status: str, off: bool
) -> None:
    made = guard_of(tmp_path, FakeDocker(c=status, **others), "c", power_off_after=True)  # no run decides that
    Path(watch.SETTINGS).write_text(settings)
    assert rested(made) == off


@pytest.mark.usefixtures("quick")
def test_it_stays_while_somebody_types_or_works(tmp_path: Path) -> None:
    made = guard_of(tmp_path, FakeDocker(c=ENDED), "c")
    Path(watch.SETTINGS).write_text("power_off_after=1\n")
    terminal, idle = Path(watch.TERMINALS).parent / "0", Path(watch.STATE) / "idle"
    terminal.parent.mkdir()
    terminal.touch()
    assert not rested(made)
    os.utime(terminal, (time.time() - 500, 0))
    idle.write_text("in use: an image is being built\n")
    assert not rested(made)
    idle.write_text("idle for 3 of 30 minutes\n")
    assert rested(made)


# S3


class Answer(io.BytesIO):
    """An open answer."""

    def __init__(self, data: bytes = b"", **headers: str) -> None:
        super().__init__(data)
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class InMemory:
    """An S3 in memory for the guard's own Bucket; `troubles` are raised by the next calls, one each."""

    def __init__(self, **objects: bytes) -> None:
        super().__init__(imds.Metadata(), "b", "us-east-1", patience=1.0)
        self.objects = dict(objects)
        self.troubles: list[Exception] = []
        self.calls: list[str] = []
        self.parts: dict[str, bytes] = {}
        self.complete = b"<CompleteMultipartUploadResult/>"

    def call(self, method, key, query="", data=None, more=()):  # type: ignore[no-untyped-def]
        self.calls.append(f"{method} {key} {query}".strip())
        if self.troubles:
            raise self.troubles.pop(0)
        words = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        if "list-type" in words:
            names = sorted(name for name in self.objects if name.startswith(words["prefix"]))
            form = "<Contents><Key>{}</Key><LastModified>2026-01-01T00:00:00Z</LastModified><Size>{}</Size></Contents>"
            return Answer("".join(form.format(name, len(self.objects[name])) for name in names).encode())
        if method == "POST" and "uploads" in words:
            return Answer(b"<UploadId>a/b</UploadId>")
        if method == "POST":
            tags = re.findall(r"<PartNumber>\d+</PartNumber><ETag>(.*?)</ETag>", data.decode())
            self.objects[key] = b"".join(self.parts[tag] for tag in tags)
            return Answer(self.complete)
        if "partNumber" in words:
            assert words["uploadId"] == "a/b"
            self.parts["tag" + words["partNumber"]] = data
            return Answer(ETag="tag" + words["partNumber"])
        if method == "PUT":
            self.objects[key] = data
        return Answer(self.objects.get(key, b""), Content_Length=str(len(self.objects.get(key, b""))), ETag="t")


def fake_s3(**objects: bytes) -> InMemory:
    made: InMemory = type("FakeS3", (InMemory, s3.Bucket), {})(**objects)
    return made


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "PAUSE_S", 0.01)


@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize(
    "trouble", [http_error(403), http_error(503), urllib.error.URLError("away"), ConnectionResetError(), TimeoutError()]
)
def test_a_passing_error_is_borne_for_each_object(tmp_path: Path, trouble: Exception) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(b"aaa")
    place = fake_s3()
    place.troubles = [trouble, trouble]
    assert copying.push(place, "x/", str(tmp_path / "in")) == 1
    assert place.objects["x/a"] == b"aaa"
    place.troubles = [trouble, trouble]
    assert copying.pull(place, "x/", str(tmp_path / "out")) == 1
    assert (tmp_path / "out" / "a").read_bytes() == b"aaa"


@pytest.mark.usefixtures("no_pause")
def test_a_lasting_error_and_an_endless_one_are_given_up() -> None:
    place = fake_s3()
    place.troubles = [http_error(404)]
    with pytest.raises(urllib.error.HTTPError):
        place.put("x", b"")
    assert len(place.calls) == 1
    place.patience = 0.05
    place.troubles = [http_error(503) for _ in range(100)]
    with pytest.raises(urllib.error.HTTPError):
        place.put("x", b"")
    assert 2 < len(place.calls) < 20


def test_pull_leaves_out_folder_marks_siblings_and_ways_out(tmp_path: Path) -> None:
    place = fake_s3(**{"set/": b"", "set/sub/": b"", "set/sub/a": b"1", "settings/b": b"2"})
    copying.pull(place, "set", str(tmp_path))
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()] == ["sub/a"]
    with pytest.raises(ValueError, match="leads out"):
        copying.pull(fake_s3(**{"set/../../etc/x": b""}), "set/", str(tmp_path))


def snapshot_in_s3(content: bytes, sent: bytes) -> InMemory:
    files = [{"name": "n.caffemodel", "size": len(sent), "sha256": hashlib.sha256(sent).hexdigest(), "path": "s/n"}]
    whole = json.dumps({"iteration": 4, "files": files}).encode()
    return fake_s3(**{"snapshots/4/n.caffemodel": content, "snapshots/4/complete.json": whole})


def test_a_pulled_snapshot_is_the_one_that_was_sent(tmp_path: Path) -> None:
    stale = tmp_path / "n.caffemodel"
    stale.write_bytes(b"old!")  # of the same size
    copying.pull(snapshot_in_s3(b"good", b"good"), "snapshots/4/", str(tmp_path))
    assert stale.read_bytes() == b"good"
    with pytest.raises(ValueError, match=r"snapshots/4/n\.caffemodel is damaged"):
        copying.pull(snapshot_in_s3(b"evil", b"fine"), "snapshots/4/", str(tmp_path))
    assert not stale.exists()


@pytest.mark.usefixtures("no_pause")
def test_an_answer_that_was_cut_off_is_asked_for_again(tmp_path: Path) -> None:
    place = fake_s3(x=b"whole")
    whole = place.call
    short = [Answer(b"who", Content_Length="5")]
    place.call = lambda *words: short.pop() if short else whole(*words)
    place.get_file("x", str(tmp_path), "x")
    assert (tmp_path / "x").read_bytes() == b"whole"


@pytest.mark.usefixtures("no_pause")
def test_a_large_file_goes_in_parts_and_a_broken_one_alone_is_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "PART", 4)
    path = tmp_path / "big"
    path.write_bytes(b"0123456789ab_")
    place = fake_s3()
    whole, broken = place.call, [ConnectionResetError(), http_error(503)]

    def call(method: str, key: str, query: str = "", data: bytes | None = None, more: object = ()) -> Answer:
        answer: Answer = whole(method, key, query, data, more)
        if "partNumber=3" in query and broken:
            raise broken.pop()
        return answer

    place.call = call
    with path.open("rb") as data:
        sent = place.put_file("a/k", data.fileno())
        assert place.objects["a/k"] == path.read_bytes()
        assert sent == {"name": "k", "size": 13, "sha256": hashlib.sha256(b"0123456789ab_").hexdigest()}
        puts = sorted(one.split()[-1].split("&")[0] for one in place.calls if one.startswith("PUT"))
        assert puts == ["partNumber=1", "partNumber=2", "partNumber=3", "partNumber=3", "partNumber=3", "partNumber=4"]
        place.complete = b"<Error><Code>InternalError</Code></Error>"
        with pytest.raises(ConnectionError):
            place.put_file("k", data.fileno())
    assert place.calls[-1] == "DELETE k uploadId=a%2Fb"


class FakeKeys:
    """The metadata service's keys, counted; they expire in `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.asked = 0

    def credentials(self) -> dict[str, str]:
        self.asked += 1
        if self.seconds < 0:
            raise ConnectionError("away")
        at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.seconds)
        return {"AccessKeyId": str(self.asked), "Expiration": at.strftime("%Y-%m-%dT%H:%M:%SZ")}


@pytest.mark.parametrize(("expire", "kept"), [(6 * 3600, 600), (480, 180), (100, 1)])
def test_keys_are_renewed_five_minutes_before_they_expire(expire: float, kept: float) -> None:
    place = s3.Bucket(FakeKeys(expire), "b", "us-east-1")
    place.fresh_keys()
    assert kept - 2 <= place.until - time.monotonic() <= kept
    place.fresh_keys()
    assert place.metadata.asked == 1
    place.until = 0.0
    assert place.fresh_keys()["AccessKeyId"] == "2"
    place.until, place.metadata.seconds = 0.0, -1
    assert place.fresh_keys()["AccessKeyId"] == "2"  # the old ones, while the service is away


def test_a_pull_that_fails_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def damaged(*_: object) -> None:
        raise ValueError("runs/a/x is damaged (sha256)")

    monkeypatch.setattr(copying, "pull", damaged)
    with pytest.raises(SystemExit) as end:
        copying.copy("pull", "b", "us-east-1", "", "", "runs/a/", str(tmp_path))
    assert end.value.code == "pull s3://b/runs/a/: runs/a/x is damaged (sha256)"  # text: Python ends with code 1


def test_it_starts_as_the_unit_and_as_our_copies_start_it_and_takes_no_module_from_where_it_is_called(
    opt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[object] = []
    (tmp_path / "guard.py").write_text("raise AssertionError('the guard of another')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(opt), *sys.path])
    monkeypatch.setattr(importlib.import_module("guard.watch").Guard, "watch", lambda one: begun.append(one))
    monkeypatch.setattr(importlib.import_module("guard.copying"), "copy", lambda *words: begun.append(words))
    unit = script("provision-guard.service")
    found = re.search(r"^ExecStart=/usr/bin/python3 /opt/provision/(.*)$", unit, re.MULTILINE)
    assert found
    for words in (found[1].split(), ["guard", "pull", "b", "r", "", "1", "p", "f"]):
        monkeypatch.setattr(sys, "argv", words)
        runpy.run_path(str(opt / words[0]), run_name="__main__")
    assert (type(begun[0]).__name__, begun[1]) == ("Guard", ("pull", "b", "r", "", "1", "p", "f"))
