"""The guard of a machine that was ordered to make an attempt: its word with the keeper, from its turn alone."""

import datetime
import hashlib
import io
import json
import os
import shutil
import threading
import time
import urllib.error
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from infra.host.guard import bake, notes, order, s3, snapshots, tasks, watch
from infra.host.guard import run as runs
from tests.unit.test_guard import (
    CRASHED,
    ENDED,
    RUNNING,
    Answer,
    FakeBucket,
    FakeDocker,
    FakeMetadata,
    http_error,
    match,
    run_with,
    write_snapshot,
)  # fmt: skip

INSTANCE = "i-1"
STATES = "https://states.us-east-1.amazonaws.com"
ORDER = {"run": "c", "bucket": "b", "prefix": "runs/c/", "region": "us-east-1", "s3": "", "states": STATES}


class Kept(FakeBucket):
    """A run's bucket; `objects`: what can be asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, Any] = {}
        self.asked: list[str] = []

    def fresh_keys(self) -> dict[str, str]:
        return {"AccessKeyId": "A", "SecretAccessKey": "s", "Token": "t"}

    def ask(self, method: str, key: str) -> Any:
        if method != "GET":
            return super().ask(method, key)  # type: ignore[func-returns-value]
        self.asked.append(key)
        found = self.objects.get(key, http_error(404))
        if isinstance(found, Exception):
            raise found
        return found

    def call(self, method: str, key: str) -> Any:
        return io.BytesIO(self.ask(method, key).encode())


class Keeper:
    """Step Functions: what it was sent, and what it answers with (errors, one each)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.troubles: list[Exception] = []
        monkeypatch.setattr(tasks.Tasks, "post", lambda _, action, body: self.post(action, body))

    def post(self, action: str, body: bytes) -> None:
        if self.troubles:
            raise self.troubles.pop(0)
        self.sent.append((action.removeprefix("SendTask"), json.loads(body)))

    @property
    def beats(self) -> int:
        return sum(word == "Heartbeat" for word, _ in self.sent)

    @property
    def answers(self) -> list[dict[str, Any]]:
        return [json.loads(value["output"]) for word, value in self.sent if word == "Success"]


def over(kind: str = "TaskTimedOut") -> urllib.error.HTTPError:
    body = io.BytesIO(json.dumps({"__type": f"com.amazonaws#{kind}", "message": "…"}).encode())
    return urllib.error.HTTPError(STATES, 400, "no", Message(), body)


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(notes, "RUNS", str(tmp_path))
    monkeypatch.setattr(notes, "GUARD", f"{tmp_path}-guard")
    monkeypatch.setattr(snapshots, "REST", 0)
    monkeypatch.setattr(watch, "STATE", f"{tmp_path}-guard/state")
    monkeypatch.setattr(watch, "TERMINALS", f"{tmp_path}-guard/pts/*")
    monkeypatch.setattr(watch, "SETTINGS", f"{tmp_path}-guard/settings")
    monkeypatch.setattr(watch, "PUSH_BEFORE_END_S", 0.3)
    monkeypatch.setattr(watch, "TURN_S", 0.1)
    monkeypatch.setattr(s3, "PAUSE_S", 0.01)
    for name in ("BEAT_S", "STOP_S", "AGAIN_S"):
        monkeypatch.setattr(order, name, 0)
    monkeypatch.setattr(order, "ORDER", f"{tmp_path}-guard/order.json")
    monkeypatch.setattr(order, "UPTIME", f"{tmp_path}-guard/uptime")
    monkeypatch.setattr(order, "FIRST", f"{tmp_path}-guard/first")
    Path(f"{tmp_path}-guard").mkdir()
    Path(f"{tmp_path}-guard/uptime").write_text("100.5 7\n")
    Path(f"{tmp_path}-guard/first").write_text(first_process(0))


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch) -> Keeper:
    return Keeper(monkeypatch)


def ordered(number: int = 1, token: str = "token") -> None:
    Path(order.ORDER).write_text(json.dumps(ORDER))
    order.keep("c", INSTANCE, number, token)


def guard_of(tmp_path: Path, docker: FakeDocker, bucket: Kept | None = None) -> tuple[watch.Guard, Kept]:
    """A guard that has just begun on a machine whose attempt's container runs."""
    if not (tmp_path / "c").exists():
        run_with(tmp_path / "c", "a line\n", docker, id="c", container="c", prefix="runs/c/")
    made, place = watch.Guard(FakeMetadata(), docker, match), bucket or Kept()
    made.look()
    for run in made.known():
        run.bucket = place
        if run.order:
            run.order.bucket = place
            run.order.tasks.fresh_keys = place.fresh_keys
    return made, place


def settle(made: watch.Guard) -> None:
    """Wait for what the turn's threads do."""
    until = time.monotonic() + 60
    while made.busy:
        assert time.monotonic() < until
        time.sleep(0.005)


def turn(made: watch.Guard) -> None:
    made.turn()
    settle(made)


# what is ordered


@pytest.mark.parametrize(
    "change",
    [
        lambda: Path(order.ORDER).unlink(),
        lambda: Path(order.ORDER).write_text(json.dumps({**ORDER, "run": "another"})),
        lambda: Path(notes.path("c", "order.json")).unlink(),
        lambda: Path(notes.path("c", "order.json")).write_text("{"),
        lambda: order.keep("c", INSTANCE, 2, "token"),
    ],
    ids=["another kind of machine", "another run", "no order came", "torn", "another attempt"],
)
def test_only_the_attempt_that_was_ordered_has_a_keeper(tmp_path: Path, keeper: Keeper, change: Any) -> None:
    ordered()
    change()
    made, _ = guard_of(tmp_path, FakeDocker(c=RUNNING))
    turn(made)
    assert [run.order for run in made.known()] == [None]
    assert keeper.sent == []


def test_the_orders_note_is_roots_alone(tmp_path: Path) -> None:
    ordered()
    assert Path(notes.GUARD).stat().st_mode & 0o777 == 0o700
    assert json.loads(Path(notes.path("c", "order.json")).read_text()) == {
        "instance": INSTANCE, "number": 1, "token": "token",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"number": "007", "token": "a b"}', (7, "a b")),
        ('{"number": 7, "token": "t"}', (7, "t")),
        ("", None),
        ("[]", None),
        ('{"number": "x", "token": "t"}', None),
        ('{"token": "t"}', None),
    ],
)
def test_an_order_is_a_number_and_a_token(text: str, found: Any) -> None:
    bucket = Kept()
    bucket.objects["k"] = text
    assert order.read(bucket, "k") == found
    assert order.read(bucket, "gone") is None


# heartbeats


def test_each_turn_beats_while_the_training_goes_on(tmp_path: Path, keeper: Keeper) -> None:
    ordered()
    made, _ = guard_of(tmp_path, FakeDocker(c=RUNNING))
    turn(made)
    turn(made)
    assert [(word, value) for word, value in keeper.sent] == [("Heartbeat", {"taskToken": "token"})] * 2


def test_it_beats_no_oftener_than_it_has_to(tmp_path: Path, keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "BEAT_S", 3600)
    ordered()
    made, _ = guard_of(tmp_path, FakeDocker(c=RUNNING))
    for _ in range(3):
        turn(made)
    assert keeper.beats == 1


def test_a_docker_that_does_not_answer_and_a_turn_that_hangs_have_no_heartbeat(
    tmp_path: Path, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordered()
    docker = FakeDocker(c=RUNNING)
    made, _ = guard_of(tmp_path, docker)
    [run] = made.known()
    run.words = lambda words: (124, "docker: TimeoutExpired")
    run.report()
    assert keeper.beats == 0
    run.words = docker
    run.turned = time.monotonic() - order.STUCK_S - 1
    run.report()
    assert keeper.beats == 0
    turn(made)
    run.report()
    assert keeper.beats >= 1


def test_a_guard_that_hangs_beats_no_more(tmp_path: Path, keeper: Keeper) -> None:
    """No thread beats by itself: without a turn nothing is sent."""
    ordered()
    made, _ = guard_of(tmp_path, FakeDocker(c=RUNNING))
    turn(made)
    before = keeper.beats
    time.sleep(0.3)
    assert keeper.beats == before
    assert not made.busy


def test_a_keeper_that_does_not_answer_changes_nothing_for_the_training(tmp_path: Path, keeper: Keeper) -> None:
    ordered()
    made, bucket = guard_of(tmp_path, FakeDocker(c=RUNNING))
    keeper.troubles = [urllib.error.URLError("away"), http_error(503), http_error(400)]
    write_snapshot(tmp_path / "c", 400)
    for _ in range(4):
        turn(made)
    assert bucket.snapshots() == [400]
    assert keeper.beats == 1


@pytest.mark.parametrize("kind", tasks.OVER)
def test_a_token_that_nobody_waits_for_is_told_once_and_forgotten(
    tmp_path: Path, keeper: Keeper, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ordered()
    docker = FakeDocker(c=RUNNING)
    made, bucket = guard_of(tmp_path, docker)
    keeper.troubles = [over(kind)]
    for _ in range(3):
        turn(made)
    docker.status["c"] = ENDED
    turn(made)
    turn(made)
    assert keeper.sent == []
    assert capsys.readouterr().out.count("nobody waits for this machine") == 1
    assert bucket.states()[-1]["state"] == "finished"
    assert not any(run.owes and not run.order.gone for run in made.known())


def test_a_new_token_of_the_same_attempt_takes_the_place_of_one_that_is_over(tmp_path: Path, keeper: Keeper) -> None:
    ordered()
    made, bucket = guard_of(tmp_path, FakeDocker(c=RUNNING))
    bucket.objects["runs/c/control/i-1"] = '{"number": "001", "token": "second"}'
    keeper.troubles = [over()]
    turn(made)
    turn(made)
    assert keeper.sent == [("Heartbeat", {"taskToken": "second"})]
    assert notes.read("c", "order.json")["token"] == "second"


# what came of it


@pytest.mark.parametrize(
    ("log", "status", "state", "reason"),
    [("Optimization Done.\n", ENDED, "finished", ""), ("F Check failed\n", CRASHED, "failed", "out of memory"),
     ("F Check failed\n", "exited 134 false", "failed", "exit code 134"),
     ("Optimization stopped early.\n", ENDED, "stopped", "")],
)  # fmt: skip
def test_the_keeper_hears_how_it_ended_once_all_is_in_s3(
    tmp_path: Path, keeper: Keeper, log: str, status: str, state: str, reason: str
) -> None:
    ordered()
    docker = FakeDocker(c=RUNNING)
    made, bucket = guard_of(tmp_path, docker)
    write_snapshot(tmp_path / "c", 400)
    turn(made)
    (tmp_path / "c/log/attempt-001.txt").write_text(log)
    docker.status["c"] = status
    bucket.refused = {"state.json": 503}
    turn(made)
    assert keeper.answers == []
    bucket.refused = {}
    for _ in range(3):
        turn(made)
    assert keeper.answers == [{"state": state, "reason": reason, "iteration": 400, "free": False, "left": 0}]
    assert bucket.states()[-1]["state"] == state


def test_a_new_snapshot_is_told_in_the_state_at_once(tmp_path: Path, keeper: Keeper) -> None:
    """The keeper reads it there when the machine falls silent: what brings snapshots is not given up."""
    ordered()
    made, bucket = guard_of(tmp_path, FakeDocker(c=RUNNING))
    turn(made)
    assert [one["iteration"] for one in bucket.states()] == [0]
    for iteration in (400, 800):
        write_snapshot(tmp_path / "c", iteration)
        for _ in range(3):
            turn(made)
    assert [one["iteration"] for one in bucket.states()] == [0, 400, 800]
    assert bucket.states()[-1]["state"] == "running"


def test_an_answer_is_repeated_until_it_arrives_also_by_the_next_guard(tmp_path: Path, keeper: Keeper) -> None:
    ordered()
    docker = FakeDocker(c=ENDED)
    made, bucket = guard_of(tmp_path, docker)
    keeper.troubles = [urllib.error.URLError("away")] * 3
    for _ in range(3):
        turn(made)
    assert keeper.answers == []
    made, _ = guard_of(tmp_path, docker, bucket)
    keeper.troubles = []
    turn(made)
    turn(made)
    assert [one["state"] for one in keeper.answers] == ["finished"]
    made, _ = guard_of(tmp_path, docker, bucket)
    turn(made)
    assert len(keeper.answers) == 1


def test_a_machine_whose_keeper_cannot_be_told_ends_all_the_same(
    tmp_path: Path, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "IDLE_S", 0.05)
    Path(watch.SETTINGS).write_text("power_off_after=1\n")
    ordered()
    docker = FakeDocker(c=ENDED)
    made, _ = guard_of(tmp_path, docker)
    free = threading.Event()
    monkeypatch.setattr(tasks.Tasks, "post", lambda *_: free.wait(60))
    until = time.monotonic() + 60
    while not docker.count("poweroff"):
        assert time.monotonic() < until
        made.turn()
        time.sleep(0.05)
    free.set()
    settle(made)


# a machine image of it


class Cleaner(FakeDocker):
    """systemd, too: its unit cleans the machine, or fails so often before that."""

    def __init__(self, folder: Path, fails: int = 0, **status: str) -> None:
        super().__init__(**status)
        self.folder, self.fails, self.started = folder, fails, 0

    def __call__(self, words: list[str]) -> tuple[int, str]:
        if words[-1] != bake.UNIT:
            return super().__call__(words)
        if words[1] == "start":
            self.started += 1
            if self.started > self.fails:
                shutil.rmtree(notes.GUARD)
                Path(bake.CLEAN).touch()
        return 0, "failed" if self.started <= self.fails else "inactive"


@pytest.fixture
def bakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bake, "CLEAN", f"{tmp_path}-clean")
    monkeypatch.setattr(bake, "PAUSE_S", 0)
    monkeypatch.setattr(watch, "IDLE_S", 0.0)
    Path(watch.SETTINGS).write_text("power_off_after=1\n")
    ordered()
    Path(order.ORDER).write_text(json.dumps({**ORDER, "bake": True}))


def ended(tmp_path: Path, docker: FakeDocker, keeper: Keeper, log: str = "Optimization Done.\n") -> watch.Guard:
    """The guard some turns after its training has ended."""
    made, _ = guard_of(tmp_path, docker)
    turn(made)
    (tmp_path / "c/log/attempt-001.txt").write_text(log)
    docker.status["c"] = ENDED
    for _ in range(6):
        turn(made)
        time.sleep(0.01)
    return made


@pytest.mark.usefixtures("bakes")
@pytest.mark.parametrize("fails", [0, 2])
def test_a_machine_that_becomes_an_image_is_cleaned_before_the_keeper_hears(
    tmp_path: Path, keeper: Keeper, fails: int
) -> None:
    docker = Cleaner(tmp_path, fails, c=RUNNING)
    keeper.troubles = [urllib.error.URLError("away")] * 2
    ended(tmp_path, docker, keeper)
    assert [(one["state"], one["clean"]) for one in keeper.answers] == [("finished", True)]
    assert docker.started == fails + 1
    assert not docker.count("poweroff"), "its disk is being copied"


@pytest.mark.usefixtures("bakes")
def test_one_that_cannot_be_cleaned_is_told_of_and_ends_as_ever(tmp_path: Path, keeper: Keeper) -> None:
    docker = Cleaner(tmp_path, 99, c=RUNNING)
    ended(tmp_path, docker, keeper)
    assert [(one["state"], one["clean"]) for one in keeper.answers] == [("finished", False)]
    assert docker.started == bake.TRIES and docker.count("poweroff")


@pytest.mark.usefixtures("bakes")
def test_a_cleaning_that_hangs_is_waited_for_no_longer_than_the_keeper_waits(
    tmp_path: Path, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bake.CLEAN_S + order.BEAT_S < 900
    monkeypatch.setattr(bake, "CLEAN_S", 0.0)
    docker = FakeDocker(c=RUNNING)  # says nothing of the unit
    ended(tmp_path, docker, keeper)
    assert [one["clean"] for one in keeper.answers] == [False]


@pytest.mark.usefixtures("bakes")
def test_what_did_not_finish_is_not_cleaned(tmp_path: Path, keeper: Keeper) -> None:
    docker = Cleaner(tmp_path, c=RUNNING)
    ended(tmp_path, docker, keeper, "Optimization stopped early.\n")
    assert [one["state"] for one in keeper.answers] == ["stopped"] and "clean" not in keeper.answers[0]
    assert not docker.started


def test_a_machine_that_nobody_wants_an_image_of_is_not_cleaned(tmp_path: Path, keeper: Keeper) -> None:
    ordered()
    docker = Cleaner(tmp_path, c=RUNNING)
    ended(tmp_path, docker, keeper)
    assert [one["state"] for one in keeper.answers] == ["finished"] and not docker.started


@pytest.mark.usefixtures("bakes")
def test_nothing_is_cleaned_for_a_keeper_that_is_gone(tmp_path: Path, keeper: Keeper) -> None:
    docker = Cleaner(tmp_path, c=RUNNING)
    keeper.troubles = [over()]
    ended(tmp_path, docker, keeper)
    assert not docker.started and keeper.answers == []


@pytest.mark.parametrize(
    ("uptime", "reason", "free"),
    [(100, "spot interruption", True), (3600, "spot interruption", False), (100, "power-off", False)],
)
def test_an_interruption_is_told_before_the_machine_goes_and_whether_it_is_free(
    tmp_path: Path, keeper: Keeper, uptime: int, reason: str, free: bool
) -> None:
    ordered()
    Path(order.UPTIME).write_text(f"{uptime} 1\n")
    docker = FakeDocker(c=RUNNING)
    docker.on_kill = lambda name: docker.status.update({name: CRASHED})
    made, bucket = guard_of(tmp_path, docker)
    write_snapshot(tmp_path / "c", 400)
    turn(made)
    keeper.troubles = [urllib.error.URLError("away")] * 2
    made.announce(reason, 100)
    made.turn()
    settle(made)
    [answer] = keeper.answers
    left = answer.pop("left")
    assert answer == {"state": "interrupted", "reason": reason, "iteration": 400, "free": free}
    assert 0 < left <= 100 if reason == order.SPOT else left == 0
    assert bucket.states()[-1]["state"] == "interrupted"


def test_one_that_does_not_end_in_time_is_told_of_in_the_last_seconds(
    tmp_path: Path, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PUSH_BEFORE_END_S", 15)
    ordered()
    made, _ = guard_of(tmp_path, FakeDocker(c=RUNNING))
    made.announce("spot interruption", 0)
    made.until = time.monotonic() + 5
    for run in made.known():
        run.hurry("spot interruption", made.until)
    made.turn()
    settle(made)
    assert [one["state"] for one in keeper.answers] == ["interrupted"]


def first_process(began: float) -> str:
    """/proc/1/stat of a machine whose first process began so many seconds after its kernel."""
    return f"1 (an (odd) name) S{' 0' * 18} {round(began * os.sysconf('SC_CLK_TCK'))} 1 2 3\n"


def test_a_machine_that_is_a_container_is_as_old_as_its_first_process(tmp_path: Path) -> None:
    ordered()
    Path(order.UPTIME).write_text("90000.5 1\n")
    assert not order.free("spot interruption")
    Path(order.FIRST).write_text(first_process(89000))
    assert order.free("spot interruption")


def test_the_hour_that_may_be_free_counts_from_the_first_boot(tmp_path: Path) -> None:
    ordered()
    assert order.free("spot interruption")
    old = time.time() - 4000
    os.utime(order.ORDER, (old, old))  # it was started anew: its uptime is short
    assert not order.free("spot interruption")


# control/stop


def test_a_stop_in_s3_is_the_guards_own_stop_and_the_recipes_signal_once(tmp_path: Path, keeper: Keeper) -> None:
    ordered()
    docker = FakeDocker(c=RUNNING)
    made, bucket = guard_of(tmp_path, docker)
    turn(made)
    assert docker.count("docker kill") == 0
    bucket.objects["runs/c/control/stop"] = "somebody"
    for _ in range(3):
        turn(made)
    assert docker.count("docker kill -s SIGINT c") == 1
    docker.status["c"] = CRASHED
    turn(made)
    turn(made)
    assert [one["state"] for one in keeper.answers] == ["stopped"]
    assert bucket.states()[-1]["state"] == "stopped"


def test_it_looks_for_a_stop_only_now_and_then(tmp_path: Path, keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "STOP_S", 3600)
    ordered()
    made, bucket = guard_of(tmp_path, FakeDocker(c=RUNNING))
    for _ in range(4):
        turn(made)
    assert bucket.asked == ["runs/c/control/stop"]


def test_a_stop_that_cannot_be_looked_for_takes_no_heartbeat_away(tmp_path: Path, keeper: Keeper) -> None:
    ordered()
    made, bucket = guard_of(tmp_path, FakeDocker(c=RUNNING))
    bucket.objects["runs/c/control/stop"] = http_error(503)
    turn(made)
    assert keeper.beats == 1


def test_one_that_was_stopped_before_its_container_is_stopped_at_once(tmp_path: Path, keeper: Keeper) -> None:
    """On another machine a laptop may still be about to start it."""
    run_with(tmp_path / "c", "", FakeDocker(), id="c", container="c", prefix="runs/c/")
    notes.stop("c")
    made, bucket = guard_of(tmp_path, FakeDocker())
    turn(made)
    assert bucket.states() == []
    ordered()
    made, bucket = guard_of(tmp_path, FakeDocker())
    turn(made)
    turn(made)
    assert bucket.states()[-1]["state"] == "stopped"
    assert [one["state"] for one in keeper.answers] == ["stopped"]


# Step Functions


@pytest.mark.parametrize("endpoint", [STATES, "http://127.0.0.1:5000/"])
def test_its_signature_is_botocores(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    now = datetime.datetime(2026, 11, 20, 12, 0, 0, tzinfo=datetime.timezone.utc)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: now)
    monkeypatch.setattr(tasks.datetime, "datetime", type("Then", (), {"now": lambda _: now}))
    asked: list[Any] = []
    monkeypatch.setattr(
        tasks.urllib.request, "urlopen", lambda request, timeout: asked.append(request) or Answer(b"{}")
    )
    keys = {"AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "secret", "Token": "token"}
    tasks.Tasks(lambda: keys, "eu-west-1", endpoint).succeed("t", {"state": "finished"})
    [request] = asked
    theirs = AWSRequest(method="POST", url=request.full_url, data=request.data)
    for name in ("Content-type", "X-amz-target", "X-amz-content-sha256"):
        theirs.headers[name] = request.get_header(name)
    assert theirs.headers["X-amz-content-sha256"] == hashlib.sha256(request.data).hexdigest()
    SigV4Auth(Credentials("AKIDEXAMPLE", "secret", "token"), "states", "eu-west-1").add_auth(theirs)
    assert request.get_header("Authorization") == theirs.headers["Authorization"]
    assert request.get_header("X-amz-target") == "AWSStepFunctions.SendTaskSuccess"
    assert json.loads(request.data) == {"taskToken": "t", "output": '{"state": "finished"}'}
    assert request.full_url.endswith(("amazonaws.com/", ":5000/"))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"__type": 7}', b'{"__type": "AccessDeniedException"}'])
def test_an_error_of_another_kind_is_no_end_of_the_token(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.HTTPError(STATES, 400, "no", Message(), io.BytesIO(body))

    monkeypatch.setattr(tasks.urllib.request, "urlopen", refuse)
    keys = {"AccessKeyId": "A", "SecretAccessKey": "s"}
    with pytest.raises(urllib.error.HTTPError):
        tasks.Tasks(lambda: keys, "eu-west-1", STATES).beat("t")


def test_a_run_of_a_laptop_has_no_keeper_and_says_nothing(tmp_path: Path, keeper: Keeper) -> None:
    docker = FakeDocker(c=ENDED)
    made, bucket = guard_of(tmp_path, docker)
    turn(made)
    assert bucket.states()[-1]["state"] == "finished"
    assert bucket.asked == [] and keeper.sent == []
    assert isinstance(made.known()[0], runs.Run)


@pytest.mark.parametrize("code", [403, 404])
def test_no_wish_to_stop_is_seen_by_one_call_whatever_s3_calls_it(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """The guard's turn waits for it: a patient call would keep the spot notice from being heard for seconds."""
    bucket, calls = s3.Bucket(FakeMetadata(), "b", "us-east-1"), []  # type: s3.Bucket, list[str]

    def refuse(method: str, key: str, *_: Any) -> Any:
        calls.append(key)
        raise http_error(code)

    monkeypatch.setattr(bucket, "call", refuse)
    assert order.Order(ORDER, bucket, INSTANCE, 3, "token").stop_is_there() is False
    assert calls == ["runs/c/control/stop"]
