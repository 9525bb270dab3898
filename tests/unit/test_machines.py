"""Machines: what this laptop notes before a launch, how failures end one, and what users read."""

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from infra.aws.session import Cloud
from infra.aws.types import DataVolume, Instance, InstanceType, Offer, SpotRequest
from infra.errors import (
    AuthError,
    CapacityError,
    CloudError,
    HostError,
    HostKeyError,
    KeptError,
    LeftoverError,
    UsageError,
)
from infra.keys import login_key, new_pair, pin
from infra.shell import Result
from infra.ssh import Address, ssh_words
from provision import bootstrap, machines, notes, renting
from provision.beside import Beside
from provision.cli import run
from provision.commands import machines as commands
from provision.ending import Ended
from provision.settings import state_home

CLOUD = Cloud("local:x", "us-east-1")
WEST = dataclasses.replace(CLOUD, region="us-west-2")
V100 = InstanceType("p3.8xlarge", 32, 249856, "V100", 4, 16384)
NOW = datetime.now(timezone.utc).replace(microsecond=0)
MINE = {"provision:name": "lab", "provision:resource": "provision-lab-01234567"}


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


# the intent


def test_a_launch_is_noted_whole_before_it_is_asked_for() -> None:
    request = notes.write_intent(CLOUD, asked(volumes=(DataVolume("data", 200),)))
    note = json.loads((notes.folder(CLOUD, "lab") / "intent.json").read_text())
    assert note["request"]["token"] == request.token
    assert note["request"]["offers"][0]["type"]["name"] == "p3.8xlarge"
    left = datetime.fromisoformat(request.tags["provision:deadline"]) - datetime.now(timezone.utc)
    assert 7190 < left.total_seconds() <= 7200
    assert notes.user_data(CLOUD, "lab")
    assert (notes.folder(CLOUD, "lab") / "user-data").stat().st_mode & 0o777 == 0o600
    assert notes.begun(CLOUD, "lab")


def test_a_launch_that_was_cut_off_is_taken_up_with_its_token() -> None:
    """Other prices and another address are no other launch."""
    first = notes.write_intent(CLOUD, asked(volumes=(DataVolume("data", 200),)))
    data = notes.user_data(CLOUD, "lab")
    dearer = (Offer(V100, "us-east-1b", "subnet-b", 4.1),)
    again = asked("fedcba9876543210", address="192.0.2.2", offers=dearer, volumes=(DataVolume("data", 200),))
    assert notes.takes_up(CLOUD, again)
    second = notes.write_intent(CLOUD, again)
    assert second == dataclasses.replace(first, address="192.0.2.2")
    assert notes.user_data(CLOUD, "lab") == data


@pytest.mark.parametrize(
    "other",
    [
        {"max_hours": 3.0}, {"market": "on-demand"}, {"disk_gb": 200}, {"budget": 50.0},
        {"offers": (Offer(dataclasses.replace(V100, name="p3.2xlarge"), "us-east-1a", "subnet-a", 1.0),)},
    ],
)  # fmt: skip
def test_another_wish_is_another_launch(other: dict[str, Any]) -> None:
    notes.write_intent(CLOUD, asked())
    request = asked("fedcba9876543210", **other)
    assert not notes.takes_up(CLOUD, request)
    assert notes.write_intent(CLOUD, request).token == "fedcba9876543210"


def test_an_old_or_a_spoiled_note_is_not_taken_up() -> None:
    notes.write_intent(CLOUD, asked())
    path = notes.folder(CLOUD, "lab") / "intent.json"
    note = json.loads(path.read_text())
    path.write_text(json.dumps({**note, "time": time.time() - 1000}))
    assert not notes.takes_up(CLOUD, asked())
    for text in ("", "{}", json.dumps({**note, "request": {"name": "lab"}})):
        path.write_text(text)
        assert not notes.takes_up(CLOUD, asked())


def test_the_host_key_goes_from_the_launch_to_the_instance() -> None:
    request = notes.write_intent(CLOUD, asked())
    known = notes.folder(CLOUD, "lab") / "known_hosts"
    key = known.read_text().split()[1:]
    assert known.read_text().startswith(request.token)
    notes.adopt_pin(CLOUD, "lab", "provision-lab-ffffffff", "i-9")  # a machine of another launch
    assert known.read_text().startswith(request.token)
    notes.adopt_pin(CLOUD, "lab", request.resource, "i-1")
    assert known.read_text().split() == ["i-1", *key]
    assert not notes.begun(CLOUD, "lab")
    assert not (notes.folder(CLOUD, "lab") / "user-data").exists()


def test_a_machine_is_looked_for_in_the_regions_that_are_known_of() -> None:
    assert [place.region for place in machines.places(CLOUD)] == ["us-east-1"]
    notes.write_intent(WEST, asked(region="us-west-2"))
    assert [place.region for place in machines.places(CLOUD, ("eu-west-1",))] == ["us-east-1", "us-west-2", "eu-west-1"]
    assert [place.region for place in machines.places(CLOUD, (), "other")] == ["us-east-1"]
    other = dataclasses.replace(CLOUD, name="local:y")
    assert [place.region for place in machines.places(other)] == ["us-east-1"]
    assert machines.locate(CLOUD, "other") == CLOUD  # one place: no call is needed


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

    def up(self, cloud: Cloud, request: SpotRequest, say: Callable[[str], None]) -> Instance:
        self.log.append(f"up {cloud.region}")
        assert cloud.region == request.region
        if error := self.outcomes[cloud.region]:
            raise error
        return machine()

    def down(self, cloud: Cloud, name: str | None, say: Callable[[str], None]) -> Ended:
        self.log.append(f"down {cloud.region}")
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
    notes.write_intent(WEST, asked(region="us-west-2"))
    aws = Aws(us_east_1=None)
    said: list[str] = []
    aws.rent(said)
    assert aws.log == ["down us-west-2", "up us-east-1"]
    assert any("us-west-2 was cut off" in line for line in said)
    aws.stuck, aws.log = {"us-west-2"}, []
    with pytest.raises(LeftoverError):
        aws.rent()
    assert aws.log == ["down us-west-2"]


def test_a_launch_of_the_same_that_was_cut_off_here_is_taken_up_and_not_ended() -> None:
    notes.write_intent(CLOUD, asked("fedcba9876543210"))
    aws = Aws(us_east_1=None)
    aws.rent()
    assert aws.log == ["up us-east-1"]


def test_a_second_ctrl_c_gets_the_exact_command() -> None:
    def interrupted(*_: object) -> Ended:
        raise KeyboardInterrupt

    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        renting.undo(WEST, "lab", said.append, interrupted)
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


def test_a_wrong_host_key_is_final(tmp_path: Path) -> None:
    with pytest.raises(HostKeyError):
        follow(Host(HostKeyError("another key")), tmp_path / "log")


def test_a_failed_machine_is_kept_only_with_a_sooner_end() -> None:
    moved: list[datetime] = []
    error = machines.kept(machine(), 30, HostError("it could not be prepared", "its log: x"), moved.append)
    assert isinstance(error, KeptError)
    assert "provision ssh lab" in error.mend
    assert "provision down lab" in error.mend
    assert abs((moved[0] - datetime.now(timezone.utc)).total_seconds() - 1800) < 60
    machines.kept(machine(), 24 * 60, HostError("it could not be prepared"), moved.append)
    assert moved[1] == machine().deadline  # never later

    def refuse(_: datetime) -> None:
        raise HostError("cannot reach lab")

    first = HostError("it could not be prepared")
    assert machines.kept(machine(), 30, first, refuse) is first


# its end


def test_up_says_when_it_ends_and_how_to_change_that() -> None:
    words = machines.end_words(machine(idle="30"))
    assert machines.clock(machine().deadline) in words
    assert "unless extended (provision extend lab 4h)" in words
    assert "also after 30 idle minutes" in words
    assert "idle" not in machines.end_words(machine())


def test_no_more_time_than_the_budget_lasts() -> None:
    lab = machine(budget="20", price="4")  # about five hours
    machines._check_budget(CLOUD, lab, NOW + timedelta(hours=4.9))
    with pytest.raises(UsageError) as refused:
        machines._check_budget(CLOUD, lab, NOW + timedelta(hours=5.1))
    assert "$20" in refused.value.what
    assert machines.clock(NOW + timedelta(hours=4.98))[:13] in refused.value.what
    machines._check_budget(CLOUD, machine(price="4"), NOW + timedelta(days=9))


@pytest.mark.parametrize("time", ["10s", "0m", "31d", "soon", "-4h"])
def test_a_time_that_is_none_is_refused(time: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["extend", "lab", "--", time]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_ls_shows_the_price_and_the_end() -> None:
    cells = commands._cells(machine(price="3.672"))
    assert "$3.672/h" in cells
    assert any(str(cell).endswith("unless extended") for cell in cells)
    row = commands.row(machine(price="3.672", budget="20", idle="30"))
    assert (row["price"], row["budget"], row["idle_minutes"], row["market"]) == (3.672, 20.0, 30.0, "spot")
    assert "?" in commands._cells(machine())


def test_logs_outlive_the_notes() -> None:
    assert notes.folder(CLOUD, "lab") not in notes.log_path("provision-lab-01234567").parents
    assert state_home() in notes.log_path("provision-lab-01234567").parents


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
