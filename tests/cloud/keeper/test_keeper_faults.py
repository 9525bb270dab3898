"""Runs whose client is killed with -9 as soon as it has said the run's id, and all that can befall them afterwards.

Each ends as it should, none loses an iteration from before a notice, none ever has two machines, and nothing stays.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cloud.kept_kit import (
    PATIENCE,
    Kept,
    calm,
    docker,
    drought,
    killed_after_the_id,
    killed_after_their_ids,
    knows_the_images,
    one_machine_each,
    rain,
    row_of,
    wait_for,
)
from tests.cloud.support import Emulator, Laptop, inside, runs_bucket

pytestmark = pytest.mark.cloud
KINDS = ("p2.xlarge", "p3.2xlarge", "g4dn.xlarge", "g4dn.2xlarge")
ENDLESS = ("--set", "iterations=5000000", "--set", "snapshot_every=250", "--set", "test_every=100000")
NOTICE_S = 60  # AWS gives 120
SILENCE = 0.05  # of 900 s; the guard beats each 30 s


def order(kind: str = "p3.2xlarge", *more: str) -> tuple[str, ...]:
    return ("train", "digits", "--instance", kind, "--detach", *more)


@pytest.fixture(scope="module")
def first(emulator: Emulator, image: str, tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    """The laptop that starts all runs here; it brings the image once."""
    folder = tmp_path_factory.mktemp("first")
    return Laptop(emulator, folder / "home", folder)


@pytest.fixture
def other(first: Laptop, tmp_path: Path) -> Callable[[str], Laptop]:
    """Other laptops of the same account, which know the same images."""

    def make(name: str) -> Laptop:
        (tmp_path / name).mkdir()
        one = Laptop(first.emulator, tmp_path / name / "home", tmp_path / name)
        knows_the_images(first.home, one.home)
        return one

    return make


@pytest.fixture(autouse=True)
def cloud(emulator: Emulator, first: Laptop) -> Iterator[Emulator]:
    """The cloud, in which time is short; no run has two machines, and each test ends with nothing left."""
    calm(emulator)
    emulator.page("keeper", {"waits": 0.2})
    try:
        with one_machine_each(emulator):
            yield emulator
    finally:
        calm(emulator)
        left = emulator.leftovers()
        first.run("down", "--all", "--force")
    assert not any(left.values()), left


def empty(emulator: Emulator) -> None:
    """Wait until nothing is left: the last of it goes while the keeper says its last word."""
    wait_for(emulator.nothing_left, "nothing left")


def stopped(runs: Sequence[Kept], other: Callable[[str], Laptop]) -> None:
    """Stop them, each from another laptop, all at once; nothing of any is left then."""
    laptops = [other(run.run) for run in runs]
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda pair: pair[0].ok("stop", pair[1].run), zip(laptops, runs, strict=True)))
    assert all("is stopped" in words for words in said), said
    assert [run.ended() for run in runs] == [("ABORTED", "")] * len(runs)
    left = laptops[0].emulator.leftovers()
    assert not any(left.values()), left


def in_turn(kinds: tuple[str, ...], first: Laptop) -> list[Kept]:
    """Four runs in four phases: it waits for capacity, boots, trains, waits for capacity again."""
    drought(first.emulator, kinds[0])
    drought(first.emulator, kinds[1])
    runs = killed_after_their_ids(first, [order(kind, *ENDLESS) for kind in kinds])
    waits, boots, trains, between = runs
    waits.waits(1)
    between.trains()
    drought(first.emulator, kinds[3])
    between.notice(20)
    trains.trains()
    between.waits(2)
    rain(first.emulator, kinds[1])
    boots.its_machine()
    return runs


# what AWS does


def test_several_notices_and_answers_that_are_lost(
    cloud: Emulator, first: Laptop, other: Callable[[str], Laptop]
) -> None:
    """Two notices each; every kind of call that launches and ends is lost once or refused for a while."""
    lost = [("ec2", "CreateFleet"), ("s3", "PutObject"), ("scheduler", "CreateSchedule"), ("ec2", "DescribeInstances")]
    rules = [
        {"service": service, "action": action, "from": "keeper", "nth": 1, "times": 2, "lost": True}
        for service, action in lost
    ]
    refused = {"code": "InternalError", "message": "Try again.", "status": 500}
    ends = {"service": "ec2", "action": "TerminateInstances", "from": "keeper", "times": 6, "error": refused}
    cloud.page("faults", [*rules, ends])
    runs = killed_after_their_ids(first, [order("p3.2xlarge", *ENDLESS), order("g4dn.xlarge", *ENDLESS)])
    for attempt in (1, 2):
        for run in runs:
            run.trains(attempt)
        for run in runs:
            run.notice(NOTICE_S)
    for run in runs:
        run.trains(3)
        for attempt in (2, 3):
            run.nothing_lost(attempt)
    stopped(runs, other)
    for run in runs:
        assert run.words() == ["interrupted", "interrupted", "stopped"]
        assert run.attempts() == 3


def test_machines_that_fall_silent(cloud: Emulator, first: Laptop, other: Callable[[str], Laptop]) -> None:
    """A host that hangs, a guard that hangs, a machine that AWS takes without a word: each goes on. A machine that
    trained and ends itself is not replaced."""
    hosts, guard, taken, off = killed_after_their_ids(first, [order(kind, *ENDLESS) for kind in KINDS])
    for run in (hosts, guard, taken, off):
        run.trains()
    docker("pause", hosts.container())
    inside(guard.container(), "kill -STOP $(systemctl show -p MainPID --value provision-guard)")
    taken.notice(0)
    docker("kill", off.container())
    cloud.page("keeper", {"heartbeats": SILENCE})
    assert off.ended() == ("FAILED", "EndedWithMachine")
    assert off.words() == ["lost"]
    for run in (hosts, guard, taken):
        wait_for(run.words, f"{run.run}: the end of attempt 1")
        assert run.words() == ["lost"]
    cloud.page("keeper", {"heartbeats": 1})
    for run in (hosts, guard, taken):
        run.trains(2)
        run.resumed_well(2)
    stopped([hosts, guard, taken], other)
    for run in (hosts, guard, taken):
        assert run.words() == ["lost", "stopped"]


def test_no_capacity_at_first_and_in_between(cloud: Emulator, first: Laptop) -> None:
    drought(cloud)
    patient, hasty = killed_after_their_ids(
        first, [order("p3.2xlarge", *ENDLESS), order("g4dn.xlarge", "--wait-for-capacity", "0.005", *ENDLESS)]
    )
    patient.waits(1)
    assert hasty.ended() == ("FAILED", "NoCapacity")
    rain(cloud)
    patient.trains(1)
    cloud.page("quotas", {"L-7212CCBC": 0.0})
    patient.notice(NOTICE_S)
    patient.waits(2)
    cloud.page("quotas", {"L-7212CCBC": 2000.0})
    patient.trains(2)
    patient.nothing_lost(2)
    assert "is stopped" in first.ok("stop", patient.run)
    assert patient.words() == ["interrupted", "stopped"]
    assert cloud.nothing_left(), cloud.leftovers()


# what is not there


def test_a_capsule_that_is_missing_or_another(cloud: Emulator, first: Laptop) -> None:
    """Two machines find that they cannot begin, for the same reason; no third one is asked for."""
    drought(cloud)
    missing, changed = killed_after_their_ids(first, [order(kind, *ENDLESS) for kind in KINDS[:2]])
    s3, bucket = cloud.client("s3"), runs_bucket(cloud)
    keys = {run: s3.list_objects_v2(Bucket=bucket, Prefix=f"runs/{run.run}/capsules/")["Contents"][0]["Key"]
            for run in (missing, changed)}  # fmt: skip
    s3.delete_object(Bucket=bucket, Key=keys[missing])
    s3.put_object(Bucket=bucket, Key=keys[changed], Body=b'{"version": 1}')
    rain(cloud)
    for run, why in ((missing, "is missing"), (changed, "is not the one that was ordered")):
        assert run.ended() == ("FAILED", "Unready")
        assert why in run.execution()["cause"]
        assert run.words() == ["unready", "unready"]
    empty(cloud)


def test_host_files_that_are_missing_or_others(cloud: Emulator, first: Laptop) -> None:
    """The machine ends itself; nobody hears from it, and the keeper sees soon that it did. Two do, and no third."""
    drought(cloud)
    s3, bucket = cloud.client("s3"), runs_bucket(cloud)
    run = killed_after_the_id(first, *order("p3.2xlarge", *ENDLESS))
    one = max(s3.list_objects_v2(Bucket=bucket, Prefix="host/")["Contents"], key=lambda one: one["LastModified"])
    whole = s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read()
    s3.delete_object(Bucket=bucket, Key=one["Key"])
    _boots_in_vain(run)
    run = killed_after_the_id(first, *order("p3.2xlarge", *ENDLESS))
    s3.put_object(Bucket=bucket, Key=one["Key"], Body=whole[:-100])
    _boots_in_vain(run)
    s3.put_object(Bucket=bucket, Key=one["Key"], Body=whole)
    empty(cloud)


def _boots_in_vain(run: Kept) -> None:
    """No heartbeat is shortened: it is the look at a machine that does not come that tells."""
    rain(run.emulator)
    assert run.ended() == ("FAILED", "Unready")
    assert "ended itself without a word" in run.execution()["cause"]
    assert run.words() == ["lost", "lost"]
    assert "Work" not in run.states_since(1) and not [key for key in run.files() if key.startswith("control/i-")]
    drought(run.emulator)


@pytest.fixture
def empty_machines(emulator: Emulator, image: str) -> Iterator[None]:
    """Machines that have no image from the start."""
    emulator.page("preload", {"image": ""})
    yield
    emulator.page("preload", {"image": image}, PATIENCE)


@pytest.mark.usefixtures("empty_machines")
def test_an_image_that_is_damaged_or_missing(cloud: Emulator, first: Laptop) -> None:
    s3, bucket = cloud.client("s3"), runs_bucket(cloud)
    drought(cloud)
    run = killed_after_the_id(first, *order("p3.2xlarge", *ENDLESS))
    blobs = s3.list_objects_v2(Bucket=bucket, Prefix="images/blobs/")["Contents"]
    key = max(blobs, key=lambda one: one["Size"])["Key"]
    whole = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    s3.put_object(Bucket=bucket, Key=key, Body=b"\0" * len(whole))
    rain(cloud)
    assert run.ended() == ("FAILED", "Unready")
    assert "a part of the image in S3 is damaged" in run.execution()["cause"]
    s3.put_object(Bucket=bucket, Key=key, Body=whole)

    drought(cloud)
    run = killed_after_the_id(first, *order("p3.2xlarge", *ENDLESS))
    [index] = s3.list_objects_v2(Bucket=bucket, Prefix="images/sha256/")["Contents"]
    text = s3.get_object(Bucket=bucket, Key=index["Key"])["Body"].read()
    s3.delete_object(Bucket=bucket, Key=index["Key"])
    rain(cloud)
    assert run.ended() == ("FAILED", "Unready")
    assert "the image's index cannot be had" in run.execution()["cause"]
    s3.put_object(Bucket=bucket, Key=index["Key"], Body=text)

    run = killed_after_the_id(first, *order("p3.2xlarge", *ENDLESS)).trains()
    assert "is stopped" in first.ok("stop", run.run)
    assert cloud.nothing_left(), cloud.leftovers()


# what people do


def test_stop_in_each_phase(cloud: Emulator, first: Laptop, other: Callable[[str], Laptop]) -> None:
    runs = in_turn(KINDS, first)
    stopped(runs, other)
    for run in runs:
        assert row_of(first, run.run)["state"] == "stopped"


def test_down_in_each_phase(cloud: Emulator, first: Laptop, other: Callable[[str], Laptop]) -> None:
    runs = in_turn(KINDS, first)
    names = [(run.read("manifest.json") or {})["name"] for run in runs]
    laptops = [other(run.run) for run in runs]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda pair: pair[0].ok("down", pair[1], "--force"), zip(laptops, names, strict=True)))
    assert cloud.nothing_left(), cloud.leftovers()
    for run in runs:
        assert run.ended() == ("ABORTED", "")
        assert row_of(first, run.run)["state"] in ("stopped", "interrupted", "lost")


def test_down_all_in_each_phase(cloud: Emulator, first: Laptop, other: Callable[[str], Laptop]) -> None:
    runs = in_turn(KINDS, first)
    other("other").ok("down", "--all", "--force")
    assert cloud.nothing_left(), cloud.leftovers()
    for run in runs:
        assert run.ended() == ("ABORTED", "")
        assert row_of(first, run.run)["state"] in ("stopped", "interrupted", "lost")


def test_a_keeper_that_is_stopped_and_one_that_is_deleted(
    cloud: Emulator, first: Laptop, other: Callable[[str], Laptop]
) -> None:
    """By somebody with a plain client. The machines train on, and their schedules end them."""
    runs = killed_after_their_ids(first, [order(kind, *ENDLESS) for kind in KINDS[:2]])
    for run in runs:
        run.trains()
    states = cloud.client("stepfunctions")
    states.stop_execution(executionArn=runs[0].keeping["execution"], cause="somebody")
    assert runs[0].ended()[0] == "ABORTED"
    states.delete_state_machine(stateMachineArn=runs[1].execution()["stateMachineArn"])
    for run in runs:
        run.trains_on()
    cloud.page("schedules", {"ahead": 40 * 86400})
    wait_for(lambda: not cloud.instances(), "the schedules have ended both")
    cloud.page("schedules", {"ahead": 0})
    other("other").ok("down", "--all", "--force")
    assert cloud.nothing_left(), cloud.leftovers()
    assert {row_of(first, run.run)["state"] for run in runs} <= {"interrupted", "lost", "stopped"}


def test_two_who_resume_at_once_and_from_an_earlier_snapshot(
    cloud: Emulator, first: Laptop, other: Callable[[str], Laptop], tmp_path: Path
) -> None:
    """Each gives code of its own: the run goes by the winner's, and nothing of the other's stays."""
    run = killed_after_the_id(first, *order("p3.2xlarge", *ENDLESS)).trains()
    run.trains_on()
    first.ok("stop", run.run)
    before = run.snapshots()[-1]
    laptops, codes = [other(name) for name in ("one", "two")], [tmp_path / "code-1", tmp_path / "code-2"]
    for code in codes:
        code.mkdir()
        (code / "train.py").write_text(f"print({code.name!r})\n")
    words = [("resume", run.run, "--detach", "--project", str(code)) for code in codes]
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda pair: pair[0].run(*pair[1]), zip(laptops, words, strict=True)))
    assert sorted(one.returncode for one in done) == [0, 21], [one.stderr for one in done]
    faster = [one.returncode for one in done].index(0)
    winner, its = codes[faster], laptops[faster]
    project = (run.read("manifest.json") or {})["project"]
    assert project["value"] == str(winner)
    mine = [key for key in run.files() if key.startswith("inputs/project")]
    assert mine == [f"inputs/{project['copy']}.json", f"inputs/{project['copy']}/train.py"]
    run.trains(2)
    assert run.resumed_from(2) == before
    assert inside(run.container(), f"cat /data/code/{run.run}/train.py").strip() == f"print({winner.name!r})"
    first.ok("stop", run.run)
    assert run.attempts() == 2

    earlier = run.snapshots()[0]
    assert earlier < before
    its.ok("resume", run.run, "--detach", "--from", str(earlier))  # the manifest is its own: no other one's
    run.trains(3)
    assert run.resumed_from(3) == earlier
    run.notice(NOTICE_S)
    run.trains(4)
    run.nothing_lost(4)
    first.ok("stop", run.run)
    empty(cloud)
