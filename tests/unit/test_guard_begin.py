"""A machine makes the attempt that it was ordered to make: what it asks of its host, what it says of trouble, and which
snapshot it goes on from."""

import contextlib
import dataclasses
import hashlib
import io
import json
import re
import shutil
import threading
import time
import urllib.error
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.aws.s3 import Stored
from infra.containers import Bind, ContainerSpec, GpuRequest, Rights, cli_words
from infra.host.guard import begin, container, hostkey, notes, order, programs, resume, snapshots, steps, tasks
from provision.hosts import facts
from provision.recipes.spec import Recipe, SnapshotRule
from provision.runs import snapshots as theirs
from provision.runs.manifest import Attempt
from tests.unit.test_guard import FakeDocker, http_error, match
from tests.unit.test_guard_kept import STATES, Keeper, Kept

RUN, INSTANCE = "digits-1", "i-0123456789abcdef0"
CAPSULE: dict[str, Any] = {
    "version": 1, "id": RUN, "name": "one", "files": {"log/": "", "train.prototxt": "net"}, "inputs": [],
    "image": {"id": "sha256:1", "tag": "caffe:1", "index": "images/sha256/1.json"}, "weights": [],
    "container": {"flags": ["--init", "--cap-drop", "ALL"], "image": "caffe:1", "command": ["caffe", "train"],
                  "resumed": ["caffe", "train", "--snapshot=@SNAPSHOT@.solverstate"], "environment": {"HOME": "/tmp"}},
    "gpus": 2, "proof": {"words": ["caffe", "device_query"], "found": r"Device id: (\d+)", "counts": False},
    "plan": {"id": RUN, "snapshots": {"pattern": r"s/n_(?P<iteration>\d+)\.(?P<part>m|s)", "parts": ["m", "s"]},
             "stop": {"signal": "SIGINT"}, "outputs": [], "push_seconds": 30},
    "chosen": [], "stem": {"pattern": r"s/n_(?P<iteration>\d+)\.(?P<part>m|s)", "parts": ["m", "s"]},
}  # fmt: skip


class Bucket(Kept):
    """S3 of the run, in a dictionary of bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.troubles: list[Exception] = []

    def call(self, method: str, key: str, query: str = "", body: Any = None, more: Any = ()) -> Any:
        if self.troubles:
            raise self.troubles.pop(0)
        if key not in self.objects:
            raise http_error(404)
        return io.BytesIO(self.objects[key].encode())

    def list(self, prefix: str) -> "list[tuple[str, int, str]]":
        return [(key, len(data), "") for key, data in sorted(self.objects.items()) if key.startswith(prefix)]


class Programs:
    """Notes what is run; `answers`: by a word of it, what comes of it."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.answers: dict[str, Any] = {"device_query": (0, "Device id: 0\nDevice id: 1\n", "")}
        self.children: set[int] = set()
        self.bytes = 0
        self.still = False
        self.ended = False

    def run(self, words: list[str], stdin: bytes = b"", user: bool = False, limit: Any = None) -> Any:
        text = " ".join(words)
        self.said.append(text + (" as the user" if user else ""))
        for word, answer in self.answers.items():
            if word in text:
                answer = answer.pop(0) if isinstance(answer, list) else answer
                return answer() if callable(answer) else answer
        return 0, "", ""

    def moved(self) -> int:
        self.bytes += not self.still
        return self.bytes

    def end(self) -> None:
        self.ended = True

    def count(self, word: str) -> int:
        return sum(word in said for said in self.said)


class Host(FakeDocker):
    """The host's short answers: two GPUs, NVIDIA's toolkit, and an image that is there."""

    def __init__(self, **status: str) -> None:
        super().__init__(**status)
        self.gpus = "0\n1"

    def __call__(self, words: list[str]) -> tuple[int, str]:
        known = {"nvidia-smi": (0, self.gpus), "sh": (0, "/usr/bin/hook")}
        if words[0] in known:
            self.said.append(" ".join(words))
            return known[words[0]]
        if words[:2] == ["docker", "version"]:
            return 0, "20.10.24"
        if words[:3] == ["docker", "image", "inspect"]:
            return 0, words[-1]
        if words[:2] == ["docker", "rm"]:
            self.status.pop(words[-1], None)
        return super().__call__(words)


class Metadata:
    def __init__(self) -> None:
        self.left: float | None = None
        self.troubles: list[Exception] = []

    def get(self, path: str) -> str:
        if self.troubles:
            raise self.troubles.pop(0)
        assert path == "instance-id"
        return INSTANCE

    def notice(self) -> float | None:
        return self.left


class World:
    """One machine, and all that it talks to."""

    def __init__(self, root: Path, keeper: Keeper) -> None:
        self.root, self.keeper = root, keeper
        self.metadata, self.host, self.programs, self.bucket = Metadata(), Host(), Programs(), Bucket()
        self.capsule = json.loads(json.dumps(CAPSULE))
        self.given = {
            "run": RUN, "bucket": "b", "prefix": f"runs/{RUN}/", "region": "us-east-1", "s3": "", "states": STATES,
            "owner": "123456789012",
        }  # fmt: skip
        self.bucket.objects[f"runs/{RUN}/control/{INSTANCE}"] = '{"number": "003", "token": "token"}'
        Path(order.ORDER).write_text("{}")
        Path(steps.READY).touch()

    def begin(self) -> begin.Begin:
        text = json.dumps(self.capsule)
        known = {"capsule": hashlib.sha256(text.encode()).hexdigest(), **self.given}
        self.bucket.objects[f"runs/{RUN}/capsules/{known['capsule']}.json"] = text
        made = begin.Begin(known, self.metadata, self.host, self.programs, self.bucket)
        made.begin()
        return made

    def unready(self) -> str:
        """Why the machine could not make its attempt, as the keeper hears it."""
        self.begin()
        [answer] = self.keeper.answers
        assert set(answer) == {"state", "why"} and answer["state"] == "unready"
        assert self.host.said[-1] == " ".join(begin.POWER_OFF)
        assert not Path(notes.path(RUN, "plan.json")).exists()
        return str(answer["why"])

    def plan(self) -> dict[str, Any]:
        found: dict[str, Any] = notes.read(RUN, "plan.json")
        return found


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    for name, module in (("RUNS", notes), ("GUARD", notes)):
        (tmp_path / name.lower()).mkdir()
        monkeypatch.setattr(module, name, str(tmp_path / name.lower()))
    for module, name in (
        (steps, "READY"), (steps, "PROGRESS"), (steps, "SPOOL"), (order, "ORDER"), (order, "UPTIME"),
        (order, "FIRST"), (hostkey, "HOST_KEY"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, str(tmp_path / name.lower()))
    for module, name in ((begin, "LOOK_S"), (begin, "TURN_S"), (steps, "LOOK_S"), (order, "AGAIN_S")):
        monkeypatch.setattr(module, name, 0.005)
    for name in ("BEAT_S", "STOP_S"):
        monkeypatch.setattr(order, name, 0)
    monkeypatch.setattr(snapshots, "REST", 0)
    monkeypatch.setattr(notes, "plan", lambda run, value, plan=notes.plan: plan(run, value, match))
    monkeypatch.setattr(begin.signal, "signal", lambda *_: None)
    (tmp_path / "uptime").write_text("100 7\n")
    (tmp_path / "host_key").write_text("ssh-ed25519 AAAA root@ip-10-0-0-1\n")
    (tmp_path / "first").write_text(f"1 (systemd) S{' 0' * 18} 0 1 2 3\n")
    return World(tmp_path, Keeper(monkeypatch))


def test_from_its_order_to_a_container_that_the_guard_watches(world: World) -> None:
    world.begin()
    assert world.keeper.answers == []
    assert world.programs.said[-1] == f"docker start provision-{RUN}-003"
    [create] = [said for said in world.programs.said if said.startswith("docker create")]
    about = Path(notes.RUNS).stat()
    assert create == (
        f"docker create --name provision-{RUN}-003 --user {about.st_uid}:{about.st_gid} --init --cap-drop ALL "
        "--label provision.attempt=3 --label provision.gpus=0,1 --env HOME=/tmp --env LOG=log/attempt-003.txt "
        '--gpus "device=0,1" caffe:1 sh -c exec "$@" >> "$LOG" 2>&1 sh caffe train'
    )
    assert world.plan() == {
        **CAPSULE["plan"], "bucket": "b", "prefix": f"runs/{RUN}/", "region": "us-east-1", "endpoint": "",
        "owner": "123456789012", "attempt": 3, "container": f"provision-{RUN}-003", "instance": INSTANCE,
        "machine": "one", "resumed_from": 0, "there": {},
    }  # fmt: skip
    assert order.kept(RUN, 3, None) is None  # the test's order.json is of no run
    assert notes.read(RUN, "order.json") == {"instance": INSTANCE, "number": 3, "token": "token"}


def test_the_plan_is_there_before_the_container(world: World) -> None:
    seen: list[bool] = []
    world.programs.answers["docker create"] = lambda: seen.append(Path(notes.path(RUN, "plan.json")).exists()) or (
        0, "", "",
    )  # fmt: skip
    world.begin()
    assert seen == [True]


def test_a_machine_without_an_order_ends_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(begin, "ORDERED_S", 0.05)
    del world.bucket.objects[f"runs/{RUN}/control/{INSTANCE}"]
    world.begin()
    assert world.host.said[-1] == " ".join(begin.POWER_OFF)
    assert world.keeper.sent == [] and world.programs.ended
    assert not world.programs.count("docker create") and not Path(notes.path(RUN, "plan.json")).exists()


def test_it_says_that_it_is_there_and_sets_out_before_it_has_its_order(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keeper gives it its order once its key is in S3; here not before all is brought, too. S3 refuses at first."""
    key = f"runs/{RUN}/control/{INSTANCE}"
    text, put, troubles = world.bucket.objects.pop(key), world.bucket.put, [http_error(403), http_error(503)]
    there = threading.Event()

    def later(at: str, data: bytes) -> None:
        if troubles:
            raise troubles.pop()
        put(at, data)
        there.set()

    def counted() -> tuple[int, str, str]:
        assert there.wait(60)
        world.bucket.objects[key] = text
        return 0, "Device id: 0\nDevice id: 1\n", ""

    monkeypatch.setattr(world.bucket, "put", later)
    world.programs.answers["device_query"] = counted
    world.begin()
    assert world.programs.count("docker start") == 1 and world.keeper.answers == []


def test_a_machine_without_a_host_key_says_that_it_is_there_all_the_same(world: World) -> None:
    Path(hostkey.HOST_KEY).unlink()
    world.begin()
    until = time.monotonic() + 60
    while not world.bucket.puts and time.monotonic() < until:
        time.sleep(0.01)
    assert world.bucket.puts == [(f"runs/{RUN}/keys/{INSTANCE}", b"")]


def test_what_cannot_be_is_told_once_there_is_an_order(world: World) -> None:
    """The capsule is missed before anybody can be told so."""
    key = f"runs/{RUN}/control/{INSTANCE}"
    text = world.bucket.objects.pop(key)
    call = world.bucket.call

    def missing(method: str, at: str, *more: Any) -> Any:
        if "/capsules/" in at:
            threading.Timer(0.2, lambda: world.bucket.objects.update({key: text})).start()
            raise http_error(404)
        return call(method, at, *more)

    world.bucket.call = missing  # type: ignore[method-assign]
    assert world.unready() == "the run's capsule is missing in S3"


def test_a_wish_to_stop_that_comes_before_the_capsule_is_heard_after_it(world: World) -> None:
    """The guard calls it stopped by a plan, which is made of the capsule."""
    world.bucket.objects[f"runs/{RUN}/control/stop"] = "somebody"
    call, slow = world.bucket.call, threading.Event()

    def late(method: str, at: str, *more: Any) -> Any:
        if "/capsules/" in at:
            slow.wait(0.3)
        return call(method, at, *more)

    world.bucket.call = late  # type: ignore[method-assign]
    world.begin()
    assert world.plan()["attempt"] == 3 and not world.programs.count("docker start")


def test_it_waits_for_its_order_through_what_passes(world: World) -> None:
    world.metadata.troubles = [urllib.error.URLError("away")]
    key = f"runs/{RUN}/control/{INSTANCE}"
    text = world.bucket.objects[key]
    answers = iter([http_error(403), http_error(404), ConnectionResetError(), text])
    world.bucket.objects[key] = None
    ask = world.bucket.ask
    world.bucket.ask = lambda method, at: raising(next(answers)) if at == key else ask(method, at)  # type: ignore[method-assign]
    world.begin()
    assert world.programs.count("docker start") == 1


def raising(value: Any) -> Any:
    if isinstance(value, Exception):
        raise value
    return value


def test_all_goes_side_by_side_and_beats_meanwhile(world: World) -> None:
    """Each step waits until all others have begun, and a heartbeat was sent."""
    together = threading.Barrier(5, timeout=60)
    world.capsule["inputs"] = [
        {"kind": kind, "bucket": "b", "owner": "1", "prefix": f"x/{kind}/", "folder": f"/data/{kind}", "copy": ""}
        for kind in ("data", "project")
    ]
    world.capsule["weights"] = [{"url": "https://x/w", "path": "/data/weights/w"}]

    def step(out: str = "") -> tuple[int, str, str]:
        together.wait()
        until = time.monotonic() + 60
        while not world.keeper.beats:
            assert time.monotonic() < until
            time.sleep(0.01)
        return 0, out, ""

    proof = "Device id: 0\nDevice id: 1\n"
    world.programs.answers = {
        " pull ": step, "download.py": lambda: step('{"path": "w"}\n'), " place ": step,
        "device_query": lambda: step(proof),
    }  # fmt: skip
    world.begin()
    assert world.keeper.answers == []
    assert world.programs.count("docker start") == 1


# what is brought


def test_data_code_and_weights_are_brought_as_the_login_user_has_them(world: World) -> None:
    world.given["s3"] = "http://s3"
    world.capsule["inputs"] = [
        {"kind": "data", "bucket": "other", "owner": "222", "prefix": "sets/a/", "folder": "/data/sets/a", "copy": "",
         "region": "eu-west-1", "endpoint": "http://elsewhere"},
        {"kind": "project", "bucket": "b", "owner": "1", "prefix": f"runs/{RUN}/inputs/project/",
         "folder": "/data/sets/p", "copy": f"/data/code/{RUN}"},
    ]  # fmt: skip
    world.capsule["weights"] = [{"url": "https://x/w", "path": "/data/weights/w", "sha256": "1"}]
    world.programs.answers["download.py"] = (0, '{"path": "/data/weights/w", "sha256": "1"}\n', "progress")
    world.begin()
    said = "\n".join(sorted(world.programs.said))
    assert "guard pull other eu-west-1 http://elsewhere 222 sets/a/ /data/sets/a\n" in said
    assert f"guard pull b us-east-1 http://s3 1 runs/{RUN}/inputs/project/ /data/sets/p\n" in said
    assert f'cp -a "$1/." "$2" sh /data/sets/p /data/code/{RUN} as the user' in said
    assert re.search(r"download.py \[\{.*\}\] as the user", said)
    assert world.programs.count("docker start") == 1


def snapshot_in_s3(world: World, iteration: int, attempt: int = 1, **change: Any) -> str:
    base = f"runs/{RUN}/snapshots/{iteration:09d}-{attempt:03d}/"
    files = []
    for part in ("m", "s"):
        world.bucket.objects[f"{base}n_{iteration}.{part}"] = "12345"
        files.append({"path": f"s/n_{iteration}.{part}", "size": 5, "sha256": "x", "name": f"n_{iteration}.{part}"})
    world.bucket.objects[base + "complete.json"] = json.dumps({"files": files, **change})
    return base


def pulled(world: World) -> list[str]:
    return [said.split()[-2] for said in world.programs.said if " pull " in said]


def test_it_goes_on_from_the_newest_snapshot(world: World) -> None:
    for iteration in (400, 800):
        base = snapshot_in_s3(world, iteration)
    world.begin()
    assert pulled(world) == [base]
    assert f"{notes.RUNS}/{RUN}/s" in next(said for said in world.programs.said if " pull " in said)
    assert world.programs.count("caffe train --snapshot=s/n_800.solverstate") == 1
    assert world.plan()["resumed_from"] == 800


def test_one_that_is_damaged_gives_way_to_an_older_one(world: World) -> None:
    bases = [snapshot_in_s3(world, iteration) for iteration in (400, 800, 1200)]
    world.programs.answers["pull"] = [
        (1, "", f"pull s3://b/{bases[2]}: {bases[2]}n_1200.m is damaged (sha256)"),
        (1, "", f"pull s3://b/{bases[1]}: {bases[1]}n_800.m is missing"),
        (0, "2", ""),
    ]
    world.begin()
    assert pulled(world) == bases[::-1]
    assert world.plan()["resumed_from"] == 400


def test_where_all_are_damaged_it_does_not_begin_from_nothing(world: World) -> None:
    base = snapshot_in_s3(world, 400)
    world.programs.answers["pull"] = (1, "", f"pull s3://b/{base}: n_400.m is damaged (sha256)")
    assert world.unready() == "no snapshot of the run is whole in S3"


def test_a_line_that_is_down_is_no_damage(world: World) -> None:
    base = snapshot_in_s3(world, 400)
    world.programs.answers["pull"] = (1, "", f"pull s3://b/{base}: <urlopen error timed out>")
    assert world.unready() == "files: <urlopen error timed out>"


# trouble


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda world: setattr(world.host, "gpus", "0"), "the machine has 1 GPUs that answer, not 2"),
        (lambda world: world.programs.answers.update(device_query=(0, "Device id: 0\n", "")),
         "the image finds 1 of its 2 GPUs: Device id: 0"),
        (lambda world: world.programs.answers.update(device_query=(125, "", "docker: CUDA driver 470 is too old\nx")),
         "the image finds 0 of its 2 GPUs: docker: CUDA driver 470 is too old"),
        (lambda world: world.programs.answers.update(device_query=(124, "", "")),
         "the GPUs do not answer: asking for them took more than 300 s"),
        (lambda world: world.programs.answers.update({"docker create": (1, "", "Error: no such image caffe:1")}),
         "the container cannot be started: Error: no such image caffe:1"),
        (lambda world: world.programs.answers.update({"docker start": (1, "", f"Error: {INSTANCE} at 10:00:01 no")}),
         "the container cannot be started: Error: … at … no"),
        (lambda world: world.programs.answers.update(place=(1, "", "place x: no space left on device")),
         "the machine's disk is full"),
        (lambda world: world.capsule.update(version=2),
         "the run's capsule is of another version of provision"),
        (lambda world: world.given.update(capsule="0" * 64),
         "the run's capsule is not the one that was ordered"),
        (lambda world: world.bucket.troubles.append(http_error(404)), "the run's capsule is missing in S3"),
        (lambda world: world.capsule.pop("plan"), "KeyError: 'plan'"),
        (lambda world: world.capsule.pop("files"), "KeyError: 'files'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_in_words_that_are_the_same_each_time_and_the_machine_ends(
    world: World, change: Callable[[World], object], why: str
) -> None:
    change(world)
    assert world.unready() == why
    assert world.programs.ended


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"error": "refused", "what": "the server says 404"}, "weights w: refused: the server says 404"),
        ({"error": "broken", "what": "timed out (after 8 tries, at 1233 bytes)"}, "weights w: broken"),
        ({"error": "full", "what": "9 MB"}, "the machine's disk is full"),
    ],
)  # fmt: skip
def test_weights_that_cannot_be_had(world: World, answer: dict[str, str], why: str) -> None:
    world.capsule["weights"] = [{"url": "https://x/w", "path": "/data/weights/w", "sha256": "1"}]
    world.programs.answers["download.py"] = (1, json.dumps({"path": "/data/weights/w", **answer}) + "\n", "")
    assert world.unready() == why


def test_inputs_that_are_damaged(world: World) -> None:
    world.capsule["inputs"] = [
        {"kind": "data", "bucket": "b", "owner": "1", "prefix": "p/", "folder": "/data/a", "copy": ""}
    ]
    world.programs.answers["pull"] = (1, "", "pull s3://b/p/: p/a.lmdb is damaged (sha256)")
    assert world.unready() == "the data of the run in S3: p/a.lmdb is damaged (sha256)"


def test_a_bootstrap_that_failed(world: World) -> None:
    Path(steps.READY).unlink()
    Path(steps.PROGRESS).write_text("docker: 20.10\nfailed: nvidia: the driver 535 is installed, but does not work\n")
    assert world.unready() == (
        "the machine could not be prepared: nvidia: the driver 535 is installed, but does not work"
    )


def test_it_waits_for_the_bootstrap_before_it_asks_docker_for_anything(world: World) -> None:
    Path(steps.READY).unlink()
    proven: list[bool] = []
    world.programs.answers["device_query"] = lambda: proven.append(Path(steps.READY).exists()) or (
        0, "Device id: 0\nDevice id: 1\n", "",
    )  # fmt: skip
    looks = iter(range(5))

    def preparing(_: steps.Steps) -> bool:
        if next(looks, None) is None:
            Path(steps.READY).touch()
        return not Path(steps.READY).exists()

    original = steps.Steps.preparing
    steps.Steps.preparing = preparing  # type: ignore[method-assign]
    try:
        world.begin()
    finally:
        steps.Steps.preparing = original  # type: ignore[method-assign]
    assert proven == [True]


def test_what_does_not_move_for_half_an_hour_hangs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(begin, "STILL_S", 2.0)
    free = threading.Event()
    world.programs.still = True
    world.programs.answers["place"] = lambda: free.wait(60) and (0, "", "")
    assert world.unready() == "nothing came of it for half an hour: files"
    free.set()


def test_a_keeper_that_cannot_be_told_is_no_reason_to_stay(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(begin, "ANSWER_S", 0.05)
    world.host.gpus = ""
    monkeypatch.setattr(tasks.Tasks, "post", lambda *_: raising(urllib.error.URLError("away")))
    world.begin()
    assert world.host.said[-1] == " ".join(begin.POWER_OFF)


# what is heard meanwhile


def test_a_spot_notice_ends_it_and_is_told(world: World) -> None:
    world.metadata.left = 100.0
    world.begin()
    assert world.keeper.answers == [
        {"state": "interrupted", "reason": "spot interruption", "iteration": 0, "free": True, "left": 100}
    ]
    assert world.programs.ended
    assert not [said for said in world.host.said if "poweroff" in said or "deadline" in said]  # AWS takes it


def test_a_power_off_is_told(world: World) -> None:
    world.host.machine = "stopping"
    made = begin.Begin(world.given, world.metadata, world.host, world.programs, world.bucket)
    with pytest.raises(begin.Over, match="power-off"):
        made.end()


def test_a_stop_before_the_container_leaves_the_guard_a_run_to_call_stopped(world: World) -> None:
    world.bucket.objects[f"runs/{RUN}/control/stop"] = "somebody"
    world.begin()
    assert world.programs.count("docker create") == world.programs.count("docker start") == 0
    assert world.plan()["attempt"] == 3
    assert Path(notes.path(RUN, "stop")).exists()
    assert world.keeper.answers == []


def test_a_stop_that_comes_while_the_container_is_made_keeps_it_from_its_start(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "STOP_S", 3600)
    key = f"runs/{RUN}/control/stop"
    world.programs.answers["docker create"] = lambda: world.bucket.objects.update({key: "x"}) or (0, "", "")
    world.begin()
    assert world.programs.count("docker create") == 1 and world.programs.count("docker start") == 0
    assert world.host.said[-1] == f"docker rm -v provision-{RUN}-003"
    assert Path(notes.path(RUN, "stop")).exists()


# a machine or a guard that begins anew


def test_an_order_that_was_noted_holds_though_s3_has_it_no_more(world: World) -> None:
    order.keep(RUN, INSTANCE, 3, "token")
    del world.bucket.objects[f"runs/{RUN}/control/{INSTANCE}"]
    world.begin()
    assert world.programs.count("docker start") == 1


def test_the_order_of_the_machine_that_an_image_was_made_of_is_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(begin, "ORDERED_S", 0.05)
    order.keep(RUN, "i-another", 3, "token")
    del world.bucket.objects[f"runs/{RUN}/control/{INSTANCE}"]
    world.begin()
    assert not world.programs.count("docker create")
    assert world.host.said[-1] == " ".join(begin.POWER_OFF)


@pytest.mark.parametrize(("status", "starts"), [("running", 0), ("exited", 0), ("created", 1), ("", 1)])
def test_a_container_that_has_started_is_not_started_again(world: World, status: str, starts: int) -> None:
    world.begin()
    world.programs.said.clear()
    if status:
        world.host.status[f"provision-{RUN}-003"] = status
    world.begin()
    assert world.programs.count("docker start") == starts


def test_what_the_guard_has_judged_is_not_begun_again(world: World) -> None:
    world.begin()
    world.programs.said.clear()
    notes.write(RUN, "note-003.json", {"state": "failed"})
    world.begin()
    assert world.programs.said == []


def test_begun_anew_after_a_kill_anywhere_it_comes_to_the_same(world: World) -> None:
    snapshot_in_s3(world, 400)
    world.begin()
    whole, plan = sorted(world.programs.said), world.plan()
    for dies in ("place", " pull ", "device_query", "docker create", "docker start"):
        shutil.rmtree(notes.path(RUN, ""))
        answers = dict(world.programs.answers)
        world.programs.answers = {dies: lambda: raising(SystemExit()), **answers}
        with contextlib.suppress(SystemExit):
            world.begin()
        for thread in threading.enumerate():  # a kill ends them, too
            if isinstance(thread, steps.Step):
                thread.join()
        world.programs.answers, world.programs.said = answers, []
        world.keeper.sent.clear()
        world.begin()
        assert sorted(world.programs.said) == whole, dies
        assert world.plan() == plan


def test_another_machine_than_one_that_starts_itself_does_nothing(world: World) -> None:
    Path(order.ORDER).unlink()
    begin.main()
    assert world.host.said == []


# words for Docker: those of the laptop


SPEC = ContainerSpec(
    name=f"provision-{RUN}-003", image="caffe:1", command=("sh", "-c", 'exec "$@" >> "$LOG" 2>&1', "sh", "caffe"),
    user="1000:1001", binds=(Bind("/a", "/work"), Bind("/d,x", "/data", read_only=True)),
    labels={"provision.run": RUN, "provision.image": "sha256:1", "provision.attempt": "3", "provision.gpus": ""},
    environment={"B": "2", "LOG": "log/attempt-003.txt"}, ports=(6006,), stop_signal="SIGINT",
    rights=Rights(("SYS_NICE",), 0),
)  # fmt: skip


def flags_of(spec: ContainerSpec) -> list[str]:
    """What a capsule has: the laptop's command line without what the host adds."""
    said = cli_words(dataclasses.replace(spec, gpus=GpuRequest(), command=()))[2:-1]
    left: list[str] = []
    while said:
        word = said.pop(0)
        value = said[:1] if word not in ("--init",) else []
        if word in ("--name", "--user", "--env") or (
            value and value[0].startswith(("provision.attempt", "provision.gpus"))
        ):
            del said[:1]
            continue
        left += [word, *value]
        del said[: len(value)]
    return left


@pytest.mark.parametrize("style", ["hook", "runtime", ""])
def test_the_container_is_asked_for_as_the_laptop_asks(style: str) -> None:
    gpus = (0, 3) if style else ()
    spec = dataclasses.replace(
        SPEC, gpus=GpuRequest(gpus, runtime=style == "runtime"),
        labels={**SPEC.labels, "provision.gpus": ",".join(map(str, gpus))},
    )  # fmt: skip
    known = {"HOME": "/tmp", "B": "2"}
    capsule = {"id": RUN, "container": {"flags": flags_of(spec), "image": "caffe:1", "command": ["caffe"],
                                        "environment": known}}  # fmt: skip
    ours = container.create_words(capsule, 3, "1000:1001", style, list(gpus), None)
    assert pairs(ours[2:]) == pairs(cli_words(spec)[2:])


def pairs(words: list[str]) -> list[tuple[str, ...]]:
    """The flags of a command line, which may stand in any order, then the image and its command."""
    flags: list[tuple[str, ...]] = []
    at = 0
    while words[at].startswith("--"):
        size = 1 if words[at] == "--init" else 2
        flags.append(tuple(words[at : at + size]))
        at += size
    return [*sorted(flags), tuple(words[at:])]


def test_the_proof_is_asked_for_as_the_laptop_asks() -> None:
    spec = ContainerSpec(
        name=f"provision-{RUN}-proof", image="caffe:1", command=("caffe", "device_query"), user="1:2", workdir="/tmp",
        gpus=GpuRequest((0,)), labels={"provision.proof": RUN},
    )  # fmt: skip
    assert pairs(container.proof_words(CAPSULE, "1:2", "hook", [0])[3:]) == pairs(cli_words(spec)[2:])


@pytest.mark.parametrize(
    ("version", "runtimes", "hook"),
    [("20.10.24+dfsg1", "runc", True), ("19.03", "nvidia runc", True), ("18.09.1", "nvidia runc", True),
     ("18.09.1", "runc", True), ("20.10.1", "nvidia runc", False), ("", "", False)],
)  # fmt: skip
def test_how_docker_gives_gpus_is_seen_as_the_laptop_sees_it(version: str, runtimes: str, hook: bool) -> None:
    def words(asked: list[str]) -> tuple[int, str]:
        known = {"version": version, "info": runtimes}
        return (0, known[asked[1]]) if asked[0] == "docker" else (0 if hook else 1, "")

    ours = container.gpu_style(words)
    try:
        request = facts.gpu_request(facts.Facts(1, 1, version, tuple(runtimes.split()), hook), (0,))
    except Exception:
        assert ours == ""
    else:
        assert ours == ("runtime" if request.runtime else "hook")


@pytest.mark.parametrize(
    ("counts", "found", "said", "number"),
    [(False, r"id: (\d+)", "id: 0\nid: 0\nid: 1", 2), (True, r"gpus: (\d+)", "gpus: 3\ngpus: 4", 4),
     (True, r"gpus: (\d+)", "", 0)],
)  # fmt: skip
def test_gpus_are_counted(counts: bool, found: str, said: str, number: int) -> None:
    assert container.counted({"found": found, "counts": counts}, said) == number


@pytest.mark.parametrize(
    ("said", "same"),
    [
        ("docker: 0123456789abcdef: no", "docker: …: no"),
        ("dial tcp 10.0.0.1:443: i/o timeout", "dial tcp …: i/o timeout"),
        ("at 2026-11-30T04:00:01.5Z and 04:00:01", "at … and …"),
        ("i-0123456789abcdef0 has\n  no 0x7f00", "… has no …"),
        ("driver 535.1 of CUDA 11.8", "driver 535.1 of CUDA 11.8"),
        ("x" * 999, "x" * 300),
    ],
)
def test_words_without_what_differs_each_time(said: str, same: str) -> None:
    assert programs.stable(said) == same


# which snapshot: the laptop's rules


RULE = SnapshotRule(r"(s/)?n_(?P<iteration>\d+)\.(?P<part>m|s)", ("m", "s"))
RECIPE = Recipe(name="x", about="", stack="caffe", command=("x",), snapshots=RULE)
one_file = st.builds(
    lambda path, size, name: {"path": path, "size": size, "sha256": "x", **({} if name is None else {"name": name})},
    st.sampled_from(["s/n_1.m", "s/n_1.s", "n_2.m", "n_2.s", "n_3.m", "../n_1.m", "/n_1.s", "a/../n_2.m", "other"]),
    st.sampled_from([5, 6]),
    st.sampled_from([None, "", "n_1.m", "n_1.s", "n_2.m", "n_2.s"]),
)
whole_set = st.builds(  # both parts, perhaps of another size than S3 has
    lambda n, sizes: json.dumps(
        {
            "files": [
                {"path": f"n_{n}.{part}", "size": size, "sha256": "x"} for part, size in zip("ms", sizes, strict=True)
            ]
        }
    ),
    st.sampled_from([1, 2]),
    st.sampled_from([(5, 5), (5, 5), (5, 6)]),
)
ALL = {"n_1.m", "n_1.s", "n_2.m", "n_2.s"}
marks = st.one_of(
    whole_set,
    whole_set,
    st.builds(lambda files: json.dumps({"files": files}), st.lists(one_file, max_size=4)),
    st.sampled_from(['{"files": [', "[]", '{"files": 7}', '{"files": [7]}', '{"files": [{"path": 7}]}', "null"]),
)
places = st.sampled_from(["000000001-001", "000000001-002", "000000002-001", "000000002", "x", "3-4-5", "1/2"])
stored = st.dictionaries(
    places, st.tuples(marks, st.one_of(st.just(ALL), st.sets(st.sampled_from(sorted(ALL))))), max_size=4
)
choices = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3)), max_size=2)


@given(stored, choices)
def test_it_goes_on_from_the_snapshot_that_a_laptop_would_take(
    held: dict[str, tuple[str, set[str]]], chosen: list[tuple[int, int]]
) -> None:
    below, bucket = "runs/r/snapshots/", Bucket()
    for place, (mark, files) in held.items():
        bucket.objects[f"{below}{place}/complete.json"] = mark
        bucket.objects.update({f"{below}{place}/{name}": "12345" for name in files})
    listed = [Stored(key, size, time, "") for key, size, time in bucket.list(below)]  # type: ignore[arg-type]

    def read(key: str) -> Any:
        with contextlib.suppress(ValueError):
            return json.loads(bucket.objects[key])

    attempts = [attempt(number, iteration) for number, iteration in chosen]
    laptop = theirs.counting(theirs.whole(RECIPE, below, listed, read), attempts)
    rule = {"pattern": RULE.pattern, "parts": list(RULE.parts)}
    host = resume.snapshots(bucket, below, rule, chosen)
    found = [(one.iteration, one.attempt, one.prefix, one.stem) for one in host]
    wanted = [(one.iteration, one.attempt, one.prefix, one.stem) for one in laptop]
    assert set(found) <= set(wanted)
    assert [one[:2] for one in found] == list(dict.fromkeys(one[:2] for one in wanted))


def attempt(number: int, iteration: int) -> Attempt:
    return cast(Attempt, SimpleNamespace(number=number, resumed_from=iteration, chosen=True))


def test_a_run_that_keeps_no_snapshots_begins_from_nothing() -> None:
    assert resume.snapshots(Bucket(), "runs/r/snapshots/", None, []) == []
    assert resume.snapshots(Bucket(), "runs/r/snapshots/", {"pattern": "", "parts": []}, []) == []
