"""Machines: what this laptop notes before a launch, how failures end one, and what users read."""

import base64
import dataclasses
import json
import re
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from infra.address import Address, ssh_words
from infra.aws.console_output import console_output
from infra.aws.session import Cloud
from infra.aws.types import DataVolume, Instance, InstanceType, Offer, SpotRequest
from infra.concurrency import Beside
from infra.errors import (
    AuthError,
    CapacityError,
    CloudError,
    EndedError,
    HostError,
    HostKeyError,
    KeptError,
    LeftoverError,
    UsageError,
)
from infra.keys import login_key, new_pair, pin
from infra.shell import Result
from provision.cli import run
from provision.clouds import Session
from provision.commands import machine_tables
from provision.machines import bootstrap, cost, deadline, find, journal, login
from provision.machines import rent as renting
from provision.machines import up as machines
from provision.machines.down import Ended
from provision.settings import Settings, state_home
from provision.training import start
from provision.training.request import TrainRequest
from tests.unit import fake_aws
from tests.unit.fake_aws import Refused
from tests.unit.fake_s3 import FakeS3

CLOUD = dataclasses.replace(fake_aws.CLOUD, name="local:x", usual=("aws", "us-east-1"))
WEST = dataclasses.replace(CLOUD, region="us-west-2")
V100 = InstanceType("p3.8xlarge", 32, 249856, "V100", 4, 16384)
NOW = datetime.now(timezone.utc).replace(microsecond=0)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJF6J1ViEeiHHB5rKzWyC6aqGTSlxJA7pzH4bxVrYV0p"
EXTRAS = 100 * 0.08 / 720 + 0.005  # dollars an hour of the disk and of the address
MINE = {"provision:name": "lab", "provision:resource": "provision-lab-01234567"}


@pytest.fixture(autouse=True)
def _account() -> None:
    """AWS says whose account it is, and nothing else."""
    for cloud in (CLOUD, WEST):
        fake_aws.FakeAws(cloud)


def asked(token: str = "0123456789abcdef", region: str = "us-east-1", **more: Any) -> SpotRequest:
    words: dict[str, Any] = {
        "name": "lab", "token": token, "cloud": "local:x", "region": region,
        "offers": (Offer(V100, "us-east-1a", "subnet-a", 3.5),), "image": "ami-1", "root_device": "/dev/sda1",
        "market": "spot", "disk_gb": 100, "max_hours": 2.0, "idle_minutes": 30.0, "address": "192.0.2.1", "tags": MINE,
    }  # fmt: skip
    return SpotRequest(**{**words, **more})


def machine(name: str = "lab", **tags: str) -> Instance:
    marks = {**MINE, "provision:deadline": (NOW + timedelta(hours=2)).isoformat(), "provision:disk": "100"}
    marks |= {f"provision:{key.replace('_', '-')}": value for key, value in tags.items()}
    return Instance("i-1", name, "running", "p3.8xlarge", "us-east-1a", "spot", "192.0.2.9", NOW, marks)


def priced(past: Any) -> fake_aws.FakeAws:
    return fake_aws.FakeAws(CLOUD, DescribeSpotPriceHistory=past)


# the intent


def test_a_launch_is_noted_whole_before_it_is_asked_for() -> None:
    request = journal.write_intent(CLOUD, asked(volumes=(DataVolume("data", 200),)))
    note = json.loads((journal.folder(CLOUD, "lab") / "intent.json").read_text())
    assert note["request"]["token"] == request.token
    assert note["request"]["offers"][0]["type"]["name"] == "p3.8xlarge"
    left = datetime.fromisoformat(request.tags["provision:deadline"]) - datetime.now(timezone.utc)
    assert 7190 < left.total_seconds() <= 7200
    assert journal.user_data(CLOUD, "lab")
    assert (journal.folder(CLOUD, "lab") / "user-data").stat().st_mode & 0o777 == 0o600
    assert journal.begun(CLOUD, "lab")


def test_a_launch_that_was_cut_off_is_taken_up_with_its_token() -> None:
    """Other prices and another address are no other launch."""
    first = journal.write_intent(CLOUD, asked(volumes=(DataVolume("data", 200),)))
    data = journal.user_data(CLOUD, "lab")
    dearer = (Offer(V100, "us-east-1b", "subnet-b", 4.1),)
    again = asked(
        "fedcba9876543210", address="192.0.2.2", offers=dearer, volumes=(DataVolume("data", 200),),
        listed="AWS's price list of another day",
    )  # fmt: skip
    assert journal.takes_up(CLOUD, again)
    second = journal.write_intent(CLOUD, again)
    assert second == dataclasses.replace(first, address="192.0.2.2")
    assert journal.user_data(CLOUD, "lab") == data


def test_a_launch_is_taken_up_while_the_same_volumes_are_there_to_be_kept() -> None:
    """Its machine has a disk for each volume that was not there then."""
    data = {"volumes": (DataVolume("data", 200),)}
    first = journal.write_intent(CLOUD, asked(**data))
    assert not journal.takes_up(CLOUD, asked("fedcba9876543210", **data, there=("data",)))
    assert journal.write_intent(CLOUD, asked("fedcba9876543210", **data)).token == first.token
    with_old = journal.write_intent(CLOUD, asked("fedcba9876543210", **data, there=("data",)))
    again = journal.write_intent(CLOUD, asked("0000000000000000", **data, there=("data",)))
    assert (again.token, again.there) == (with_old.token, ("data",)) == ("fedcba9876543210", ("data",))


@pytest.mark.parametrize(
    "other",
    [
        {"max_hours": 3.0}, {"market": "on-demand"}, {"disk_gb": 200}, {"budget": 50.0, "max_price": 9.0},
        {"offers": (Offer(dataclasses.replace(V100, name="p3.2xlarge"), "us-east-1a", "subnet-a", 1.0),)},
    ],
)  # fmt: skip
def test_another_wish_is_another_launch(other: dict[str, Any]) -> None:
    journal.write_intent(CLOUD, asked())
    request = asked("fedcba9876543210", **other)
    assert not journal.takes_up(CLOUD, request)
    assert journal.write_intent(CLOUD, request).token == "fedcba9876543210"


def test_an_old_or_a_spoiled_note_is_not_taken_up() -> None:
    journal.write_intent(CLOUD, asked())
    path = journal.folder(CLOUD, "lab") / "intent.json"
    note = json.loads(path.read_text())
    path.write_text(json.dumps({**note, "time": time.time() - 1000}))
    assert not journal.takes_up(CLOUD, asked())
    for text in ("", "{}", json.dumps({**note, "request": {"name": "lab"}})):
        path.write_text(text)
        assert not journal.takes_up(CLOUD, asked())


def test_a_host_key_that_an_earlier_version_pinned_goes_from_the_launch_to_the_instance() -> None:
    request = journal.write_intent(CLOUD, asked())
    known = journal.folder(CLOUD, "lab") / "known_hosts"
    pin(known, request.token, KEY)
    other = dataclasses.replace(machine(resource="provision-lab-ffffffff"), id="i-9")
    assert journal.known_hosts(CLOUD, other) is None
    assert known.read_text().startswith(request.token)
    assert journal.known_hosts(CLOUD, machine(resource=request.launch)) == known
    assert known.read_text() == f"i-1 {KEY}\n"
    assert not journal.begun(CLOUD, "lab")
    assert not (journal.folder(CLOUD, "lab") / "user-data").exists()


def test_a_host_key_is_read_once_it_was_told_and_counts_from_then_on() -> None:
    aws = FakeS3(CLOUD)
    lab = machine(resource=journal.write_intent(CLOUD, asked()).launch)
    journal.note_instance(CLOUD, "lab", "i-1")
    assert login.known_hosts(CLOUD, lab) is None
    with pytest.raises(HostError, match="does not know the host key of lab, which has told none"):
        login.address(CLOUD, lab)
    aws.put("machines/provision-lab-01234567/keys/i-2", KEY.encode())  # of another machine
    aws.put("machines/provision-lab-76543210/keys/i-1", KEY.encode())  # of another launch
    assert login.known_hosts(CLOUD, lab) is None
    aws.put("machines/provision-lab-01234567/keys/i-1", f"{KEY}\n".encode())
    found = login.address(CLOUD, lab).known_hosts
    assert found == journal.folder(CLOUD, "lab") / "known_hosts" and found.read_text() == f"i-1 {KEY}\n"
    aws.put("machines/provision-lab-01234567/keys/i-1", new_pair("x").public.encode())  # too late
    assert login.address(CLOUD, lab).known_hosts.read_text() == f"i-1 {KEY}\n"


def test_a_new_launch_forgets_the_key_and_the_instance_of_the_one_before() -> None:
    FakeS3(CLOUD)
    journal.pin_host(CLOUD, machine(), KEY)
    journal.write_intent(CLOUD, asked())
    assert login.known_hosts(CLOUD, machine()) is None


@pytest.mark.parametrize(
    "told",
    [
        b"", b"AAAA", KEY.encode()[:40], b"ssh-rsa" + KEY.encode()[11:], KEY.encode() + b" and\nmore", b"\xff\x00",
        b"ssh-ed25519 !!!!", b"ssh-ed25519 " + base64.b64encode(b"x" * 51), KEY.encode() + b"\n* " + KEY.encode(),
    ],
)  # fmt: skip
def test_what_is_no_host_key_is_not_pinned(told: bytes) -> None:
    FakeS3(CLOUD).put("machines/provision-lab-01234567/keys/i-1", told)
    with pytest.raises(HostKeyError, match="what lab told as its host key is none") as refused:
        login.address(CLOUD, machine())
    assert refused.value.mend == "end it: provision down lab --cloud local:x"
    assert not (journal.folder(CLOUD, "lab") / "known_hosts").exists()


def test_a_machine_is_looked_for_in_the_regions_that_are_known_of() -> None:
    assert [place.region for place in find.places(CLOUD)] == ["us-east-1"]
    journal.write_intent(WEST, asked(region="us-west-2"))
    assert [place.region for place in find.places(CLOUD, ("eu-west-1",))] == ["us-east-1", "us-west-2", "eu-west-1"]
    assert [place.region for place in find.places(CLOUD, (), "other")] == ["us-east-1"]
    other = dataclasses.replace(CLOUD, name="local:y")
    assert [place.region for place in find.places(other)] == ["us-east-1"]
    assert find.locate(CLOUD, "other") == CLOUD  # one place: no call is needed


@pytest.mark.parametrize("place", [CLOUD, WEST])
def test_what_a_machine_needs_is_proposed_for_the_cloud_and_the_region_that_it_is_in(place: Cloud) -> None:
    row = fake_aws.machine("i-1", fake_aws.tags(name="lab"))
    fake_aws.FakeAws(place, DescribeInstances={"Reservations": [{"Instances": [row]}]})
    where = " --cloud local:x" + (" --region us-west-2" if place is WEST else "")
    with pytest.raises(UsageError) as other:
        find.living(place, "lab", "g4dn.xlarge")
    assert other.value.mend.endswith(f"end it first: provision down lab{where}")
    row["State"] = {"Name": "stopped"}
    with pytest.raises(HostError) as stopped:
        find.find(place, "lab")
    assert stopped.value.mend == f"wait until it runs (provision ls{where}), or end it: provision down lab{where}"


# side by side


def test_what_fails_beside_ends_the_main_line_at_once() -> None:
    def fail() -> None:
        raise CloudError("the schedule cannot be made")

    begun = time.monotonic()
    with pytest.raises(CloudError, match="the schedule cannot be made"), Beside() as beside:
        beside.start(fail)
        beside.sleep(30)
    assert time.monotonic() - begun < 10


def test_leaving_early_wakes_and_waits_for_all_that_is_beside() -> None:
    """What is undone afterwards must not be made behind its back."""
    ended = threading.Event()
    beside = Beside()

    def work() -> None:
        try:
            beside.sleep(30)
        finally:
            ended.set()

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt), beside:
        beside.start(work)
        raise KeyboardInterrupt
    assert ended.is_set()
    assert time.monotonic() - begun < 10


def test_the_end_waits_for_all_and_raises_their_error() -> None:
    done: list[int] = []
    with Beside() as beside:
        for number in (1, 2):
            beside.start(lambda number=number: done.append(number))  # type: ignore[misc]
    assert sorted(done) == [1, 2]
    with pytest.raises(ZeroDivisionError), Beside() as beside:
        beside.start(lambda: print(1 / 0))


# one region after the other


class Aws:
    """Regions and what a launch there comes to: an instance, or an error. `log` tells what was done."""

    def __init__(self, **outcomes: BaseException | None) -> None:
        self.outcomes = {key.replace("_", "-"): value for key, value in outcomes.items()}
        self.log: list[str] = []
        self.stuck: set[str] = set()
        self.ended: list[str] = []

    def up(self, cloud: Cloud, request: SpotRequest, say: Callable[[str], None]) -> Instance:
        self.log.append(f"up {cloud.region}")
        assert cloud.region == request.region
        if error := self.outcomes[cloud.region]:
            if isinstance(error, CapacityError):
                journal.forget_intent(cloud, request.name)  # AWS said what came of it
            raise error
        return machine()

    def down(self, cloud: Cloud, name: str | None, say: Callable[[str], None], launch: str = "") -> Ended:
        self.log.append(f"down {cloud.region}")
        self.ended.append(launch)
        if cloud.region in self.stuck:
            raise LeftoverError("not everything is gone", "again")
        return Ended(cloud.region, {})

    def rent(self, said: list[str] | None = None) -> tuple[Cloud, Instance]:
        requests = [asked(region=region) for region in self.outcomes]
        return renting.first(CLOUD, requests, (said if said is not None else []).append, self.up, self.down)


def test_a_lack_of_capacity_leads_on_to_the_next_region() -> None:
    aws = Aws(us_east_1=CapacityError("none is free now in us-east-1a"), us_west_2=None)
    said: list[str] = []
    cloud, instance = aws.rent(said)
    assert (cloud.region, instance.id) == ("us-west-2", "i-1")
    assert aws.log == ["up us-east-1", "down us-east-1", "up us-west-2"]
    assert "none is free now in us-east-1a; trying us-west-2" in said


def test_no_capacity_anywhere_names_all_the_places() -> None:
    aws = Aws(us_east_1=CapacityError("none in us-east-1a"), us_west_2=CapacityError("none in us-west-2b", "later"))
    with pytest.raises(CapacityError) as refused:
        aws.rent()
    assert refused.value.what == "none in us-east-1a; none in us-west-2b"
    assert refused.value.mend
    assert aws.log[-1] == "down us-west-2"


@pytest.mark.parametrize("error", [AuthError("not allowed"), CloudError("broken"), KeyboardInterrupt()])
def test_anything_else_ends_the_launch_and_what_it_began(error: BaseException) -> None:
    aws = Aws(us_east_1=error, us_west_2=None)
    with pytest.raises(type(error)):
        aws.rent()
    assert aws.log == ["up us-east-1", "down us-east-1"]
    assert aws.ended == [asked().launch]  # and nothing else of that name


def test_a_machine_that_is_kept_for_a_look_is_not_ended() -> None:
    aws = Aws(us_east_1=KeptError("it could not be prepared"), us_west_2=None)
    with pytest.raises(KeptError):
        aws.rent()
    assert aws.log == ["up us-east-1"]


def test_no_second_machine_while_the_first_may_still_be_there() -> None:
    aws = Aws(us_east_1=CapacityError("none"), us_west_2=None)
    aws.stuck = {"us-east-1"}
    with pytest.raises(CapacityError):
        aws.rent()
    assert aws.log == ["up us-east-1", "down us-east-1"]


def test_what_a_killed_client_began_elsewhere_is_ended_before_a_launch() -> None:
    journal.write_intent(WEST, asked(region="us-west-2"))
    aws = Aws(us_east_1=None)
    said: list[str] = []
    aws.rent(said)
    assert aws.log == ["down us-west-2", "up us-east-1"]
    assert aws.ended == [asked().launch]
    assert any("us-west-2 was cut off" in line for line in said)
    aws.stuck, aws.log = {"us-west-2"}, []
    with pytest.raises(LeftoverError):
        aws.rent()
    assert aws.log == ["down us-west-2"]


def test_a_launch_of_the_same_that_was_cut_off_here_is_taken_up_and_not_ended() -> None:
    journal.write_intent(CLOUD, asked("fedcba9876543210"))
    aws = Aws(us_east_1=None)
    aws.rent()
    assert aws.log == ["up us-east-1"]


def test_a_second_ctrl_c_gets_the_exact_command() -> None:
    def interrupted(*_: object, **__: object) -> Ended:
        raise KeyboardInterrupt

    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        renting.undo(WEST, "lab", "provision-lab-01234567", said.append, interrupted)
    assert said[-1].endswith("End it: provision down lab --cloud local:x --region us-west-2")


# ready, failed, kept


class Host:
    """A host whose progress is what it is told to be, one look after the other."""

    where = "lab"

    def __init__(self, *looks: Sequence[str] | Exception, log: str = "the log") -> None:
        self.looks, self.log = list(looks), log

    def __enter__(self) -> "Host":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None: ...

    def run(self, words: Sequence[str], check: bool = True) -> Result:
        if words[-1] == "/run/provision/progress":
            look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
            if isinstance(look, Exception):
                raise look
            return Result(0, "\n".join(look))
        return Result(0, self.log)


def follow(host: Host, log: Path) -> list[str]:
    said: list[str] = []
    bootstrap._follow(host, log, said.append, lambda _: None)  # type: ignore[arg-type]
    return said


def test_the_bootstraps_progress_is_shown_once_each_line(tmp_path: Path) -> None:
    steps = ["docker: installing", "docker: 20.10", "ready"]
    host = Host([], steps[:1], HostError("sshd restarts"), steps[:2], steps)
    assert follow(host, tmp_path / "log") == [f"  host: {step}" for step in steps]


def test_waiting_ends_with_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks each ten seconds, and an end that it sees is raised out of the wait."""
    ticks = iter(range(0, 1000, 4))
    monkeypatch.setattr(bootstrap.time, "monotonic", lambda: float(next(ticks)))
    looks: list[int] = []

    def look() -> None:
        looks.append(1)
        if len(looks) == 3:
            raise HostError("lab ended while it started (terminated)")

    host = Host([], ["docker: installing"])
    with pytest.raises(HostError, match="lab ended"):
        bootstrap._follow(host, tmp_path / "log", lambda _: None, bootstrap.watchful(lambda _: None, look))  # type: ignore[arg-type]
    assert len(looks) == 3


def test_a_failed_bootstrap_leaves_its_log_at_home(tmp_path: Path) -> None:
    lines = "\n".join(f"line {number}" for number in range(40))
    with pytest.raises(HostError) as failed:
        follow(Host(["docker: installing", "failed: exit code 100 near: docker"], log=lines), tmp_path / "logs" / "log")
    assert "failed: exit code 100 near: docker" in failed.value.what
    assert "line 39" in failed.value.what
    assert "line 3\n" not in failed.value.what
    assert str(tmp_path / "logs" / "log") in failed.value.mend
    kept = (tmp_path / "logs" / "log").read_text()
    assert "line 0" in kept
    assert "docker: installing" in kept


def test_a_host_that_never_gets_ready_is_a_failure_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(0, 100_000, 100))
    monkeypatch.setattr("time.monotonic", lambda: next(ticks))
    with pytest.raises(HostError, match="not ready within"):
        follow(Host(["docker: installing"]), tmp_path / "log")
    assert (tmp_path / "log").exists()


def unreached(console: Callable[[], str], log: Path, known: bool = True) -> HostError:
    """The error of a machine that nobody could log in to, or that has not even told its key."""

    def refuse(_: float) -> None:
        raise EndedError("lab ended while it started (terminated)", "run the same command again")

    class Silent(Host):
        def run(self, words: Sequence[str], check: bool = True) -> Result:
            raise HostError("lab does not answer")

    with pytest.raises(HostError) as failed:
        way = bootstrap.Way(lambda: known, Silent, console)  # type: ignore[arg-type]
        bootstrap.wait_ready(machine(via="ssm"), way, log, lambda _: None, refuse)
    return failed.value


@pytest.mark.parametrize("known", [True, False])
def test_of_a_machine_that_nobody_can_reach_the_console_is_shown(tmp_path: Path, known: bool) -> None:
    text = "\n".join([*(f"line {number}" for number in range(40)), "provision: failed: no Docker engine"])
    error = unreached(lambda: text, tmp_path / "log", known)
    assert isinstance(error, EndedError)  # the console changes neither the exit code nor what follows from it
    assert error.what.startswith("lab ended while it started (terminated); its console's last lines:\n")
    assert "provision: failed: no Docker engine" in error.what
    assert "line 3\n" not in error.what
    assert error.mend == f"run the same command again; its whole console: {tmp_path / 'log'}"
    assert "line 0\n" in (tmp_path / "log").read_text()


def test_what_a_machine_said_before_it_powered_off_is_shown_as_well(tmp_path: Path) -> None:
    said = ["provision: docker: 20.10", "provision: failed: HTTPError: 404"]
    text = "\n".join(["line of the boot", *said, *(f"[  OK  ] Stopped {number}" for number in range(40))])
    shown = unreached(lambda: text, tmp_path / "log", known=False).what.splitlines()
    assert shown[1:4] == [*said, "[  OK  ] Stopped 25"]
    assert shown[-1] == "[  OK  ] Stopped 39"


def test_a_host_key_is_not_waited_for_for_ever_and_nobody_logs_in_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(0, 100_000, 100))
    monkeypatch.setattr("time.monotonic", lambda: next(ticks))
    doors: list[Host] = []
    way = bootstrap.Way(lambda: False, lambda: doors.append(Host([])), lambda: "provision: failed: no S3")  # type: ignore[arg-type,func-returns-value]
    with pytest.raises(HostError) as failed:
        bootstrap.wait_ready(machine(), way, tmp_path / "log", lambda _: None, lambda _: None)
    assert failed.value.what.startswith("lab has not told its host key within 7.5 minutes; its console's last lines:")
    assert "iam-policy --boundary" in failed.value.mend
    assert doors == []


def test_a_console_that_cannot_be_read_hides_no_error(tmp_path: Path) -> None:
    def refused() -> str:
        raise AuthError("not allowed")

    for console in (refused, lambda: ""):
        assert unreached(console, tmp_path / "log").what == "lab ended while it started (terminated)"
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize("nitro", [True, False])
def test_a_machines_console_is_read_without_what_moves_the_cursor(nitro: bool) -> None:
    def answer(given: dict[str, object]) -> dict[str, object]:
        if given.get("Latest") and not nitro:
            raise fake_aws.Refused("UnsupportedOperation")
        text = "[\x1b[0;32m  OK  \x1b[0m] Started\r\n\r\n\x07provision: ready\n"
        return {"Output": base64.b64encode(text.encode()).decode()}

    aws = fake_aws.FakeAws(GetConsoleOutput=answer)
    assert console_output(aws.cloud, "i-1") == "[  OK  ] Started\nprovision: ready"


def test_a_wrong_host_key_is_final(tmp_path: Path) -> None:
    with pytest.raises(HostKeyError):
        follow(Host(HostKeyError("another key")), tmp_path / "log")


def test_a_failed_machine_is_kept_only_with_a_sooner_end() -> None:
    moved: list[datetime] = []
    error = machines.kept(CLOUD, machine(), 30, HostError("it could not be prepared", "its log: x"), moved.append)
    assert isinstance(error, KeptError)
    assert "provision ssh lab --cloud local:x" in error.mend
    assert "provision down lab --cloud local:x" in error.mend
    assert abs((moved[0] - datetime.now(timezone.utc)).total_seconds() - 1800) < 60
    machines.kept(CLOUD, machine(), 24 * 60, HostError("it could not be prepared"), moved.append)
    assert moved[1] == machine().deadline  # never later

    def refuse(_: datetime) -> None:
        raise HostError("cannot reach lab")

    first = HostError("it could not be prepared")
    assert machines.kept(CLOUD, machine(), 30, first, refuse) is first


# its end


def test_up_says_when_it_ends_and_how_to_change_that() -> None:
    words = deadline.end_words(CLOUD, machine(idle="30"))
    assert deadline.clock(machine().deadline) in words
    assert "unless extended (provision extend lab 4h --cloud local:x)" in words
    assert "also after 30 idle minutes" in words
    assert "idle" not in deadline.end_words(CLOUD, machine())


def test_no_more_time_than_the_budget_lasts() -> None:
    aws = priced({"SpotPriceHistory": [{"SpotPrice": "1.0", "Timestamp": NOW - timedelta(days=1)}]})
    lab = dataclasses.replace(machine(budget="20", price="4"), launched=NOW - timedelta(hours=5))
    # five hours at $1, but the last quarter of an hour at the dearest; what is left at the dearest
    left = (20 - 4.75 * (1 + EXTRAS) - 0.25 * (4 + EXTRAS)) / (4 + EXTRAS)
    lasts = cost.lasts_until(aws.cloud, lab, NOW)
    assert lasts is not None
    assert (lasts - NOW) / timedelta(hours=1) == pytest.approx(left - 11 / 60, abs=0.0001)
    deadline.check_budget(aws.cloud, lab, NOW + timedelta(hours=2, minutes=5))
    with pytest.raises(UsageError) as refused:
        deadline.check_budget(aws.cloud, lab, NOW + timedelta(hours=9))
    assert "$20" in refused.value.what
    assert re.search("which lasts until .* at the dearest price", refused.value.what)
    deadline.check_budget(aws.cloud, machine(price="4"), NOW + timedelta(days=9))


def test_an_end_that_comes_sooner_is_good_whatever_the_budget() -> None:
    spent = dataclasses.replace(machine(budget="1", price="4"), launched=NOW - timedelta(hours=5))
    assert spent.deadline is not None
    deadline.check_budget(CLOUD, spent, spent.deadline - timedelta(minutes=5))


def test_a_budget_is_held_though_the_real_prices_are_not_told() -> None:
    aws = priced(Refused("UnauthorizedOperation"))
    lab = dataclasses.replace(machine(budget="20", price="4"), launched=NOW - timedelta(hours=4))
    with pytest.raises(UsageError, match=r"the budget of lab is \$20"):  # an hour is left, less the eleven minutes
        deadline.check_budget(aws.cloud, lab, NOW + timedelta(hours=2, minutes=1))


def test_a_budget_without_any_price_is_not_exceeded_by_a_guess() -> None:
    with pytest.raises(UsageError, match="no price of lab is known") as refused:
        deadline.check_budget(CLOUD, machine(budget="20"), NOW + timedelta(hours=3))
    assert "provision down lab --cloud local:x" in refused.value.mend


def test_a_machine_of_a_kept_run_ends_with_it_and_lets_nobody_in() -> None:
    kept = machine(run="digits-1", resource="provision-lab-01234567")
    with pytest.raises(UsageError, match="works for digits-1, which AWS keeps") as refused:
        deadline.check_budget(CLOUD, kept, NOW + timedelta(hours=9))
    assert "provision resume digits-1 --detach --max-hours HOURS" in refused.value.mend
    with pytest.raises(HostError, match="lets nobody in") as shut:
        login.address(CLOUD, kept)
    assert "provision logs digits-1 -f" in shut.value.mend
    with pytest.raises(HostError, match="lets nobody in"):  # before a run is written down for it
        start.plan_on(Session(CLOUD, Settings()), TrainRequest("digits", {}), kept)
    assert any(str(cell).endswith("kept for digits-1") for cell in machine_tables.cells(kept))


@pytest.mark.parametrize("time", ["10s", "0m", "31d", "soon", "-4h"])
def test_a_time_that_is_none_is_refused(time: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["extend", "lab", "--", time]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_ls_shows_the_price_and_the_end() -> None:
    cells = machine_tables.cells(machine(price="3.672"))
    assert "$3.672/h" in cells
    assert any(str(cell).endswith("unless extended") for cell in cells)
    row = machine_tables.row(machine(price="3.672", budget="20", idle="30"))
    assert (row["price"], row["budget"], row["idle_minutes"], row["market"]) == (3.672, 20.0, 30.0, "spot")
    assert "?" in machine_tables.cells(machine())


def test_logs_outlive_the_notes() -> None:
    assert journal.folder(CLOUD, "lab") not in journal.log_path("provision-lab-01234567").parents
    assert state_home() in journal.log_path("provision-lab-01234567").parents


# keys


def test_private_files_are_private(tmp_path: Path) -> None:
    path, public = login_key(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert public.startswith("ssh-ed25519 ")
    assert login_key(tmp_path) == (path, public)
    pin(tmp_path / "known_hosts", "i-1", new_pair("x").public)
    assert (tmp_path / "known_hosts").read_text().startswith("i-1 ssh-ed25519 ")


def test_the_systems_ssh_is_as_strict_as_ours(tmp_path: Path) -> None:
    words = ssh_words(Address("192.0.2.1", "provision", tmp_path / "key", tmp_path / "known", "i-1"), ["echo", "a b"])
    assert "StrictHostKeyChecking=yes" in words
    assert "HostKeyAlias=i-1" in words
    assert words[1:3] == ["-F", "/dev/null"]
    assert words[-1] == "echo 'a b'"
