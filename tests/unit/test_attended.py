"""A run that AWS keeps and this laptop follows: what is said, what Ctrl-C means, what it came to, and who keeps it."""

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infra import signals
from infra.errors import (
    AuthError,
    CapacityError,
    CloudError,
    HostError,
    LeftoverError,
    NotOfferedError,
    PriceError,
    ProvisionError,
    QuotaError,
    RunError,
    UnheardError,
    UnsupportedError,
    UsageError,
)
from provision import clouds
from provision.cli import run as command
from provision.clouds import Session
from provision.commands import attended as attending
from provision.engines import begin
from provision.engines import stop as stopping
from provision.machines import rent
from provision.offers.requirements import Requirements
from provision.runs import standing
from provision.runs.manifest import RunState
from provision.runs.standing import Keeper, Standing
from provision.settings import Settings
from provision.training import attended, fitting, verdict
from provision.training import kept as trainings
from tests.unit.fake_aws import CLOUD, Refused
from tests.unit.fake_s3 import FakeS3
from tests.unit.kept_kit import RUN, request
from tests.unit.test_kept import FIRST, KEEPING, LAUNCH, SECOND, WAITING, WORKS, Kept, Undone, instance
from tests.unit.test_weights import FREE
from tests.unit.virtual import Virtual


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    for name in ("CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.setenv("LOGNAME", "alice")
    monkeypatch.setattr(clouds, "resolve", lambda _: CLOUD)
    return Kept(FakeS3())


def session(one: Kept) -> Session:
    return Session(CLOUD, Settings(), one.said.append)


# what is said


def test_each_thing_that_the_keeper_does_is_said_once() -> None:
    said: list[str] = []
    clock = Virtual()
    teller = attended.Teller(said.append, clock.clock)
    trains = Standing(RunState("running", 1), [FIRST], machine=instance(), asked=True, keeper=WORKS)
    noticed = replace(trains, state=RunState("interrupted", 1, reason="spot interruption"))
    waits = Standing(noticed.state, [FIRST, replace(WAITING, number=2)], keeper=WORKS)
    again = replace(trains, state=RunState("running", 2), attempts=[FIRST, SECOND])
    for now in (Standing(keeper=WORKS), trains, noticed, waits, waits, waits, again):
        for _ in range(2):
            teller.look(now)
            clock.sleep(5.0)
    assert said == [
        "lab: i-1 in us-east-1a, attempt 1",
        "spot interruption: i-1 saves the work and ends; another follows",
        "waiting for capacity since 2026-11-20 12:00 UTC, attempt 2",
        "lab: i-2 in us-east-1a, attempt 2, from iteration 500",
    ]


def test_what_a_deadline_ends_is_followed_by_no_other() -> None:
    said: list[str] = []
    off = RunState("interrupted", 1, reason="power-off")
    attended.Teller(said.append).look(Standing(off, [FIRST], machine=instance(), asked=True, keeper=WORKS))
    assert said[-1] == "power-off: i-1 saves the work and ends"


def test_a_machine_that_is_soon_there_was_not_waited_for() -> None:
    said: list[str] = []
    clock = Virtual()
    teller = attended.Teller(said.append, clock.clock)
    for _ in range(5):
        teller.look(Standing(RunState(), [WAITING], keeper=WORKS))
        clock.sleep(2.0)
    assert said == []


# what Ctrl-C means


class Asked:
    """Who asks for an end within a followed run, and what came of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, one: Kept) -> None:
        self.one, self.stopped, self.waited = one, 0, []  # type: Kept, int, list[float]
        self.stops: BaseException | None = None
        monkeypatch.setattr(attended, "stop", self._stop)

    def _stop(self, *_: Any) -> str:
        self.stopped += 1
        if self.stops is not None:
            raise self.stops
        return "stopped"

    def end(self, error: BaseException, second: BaseException | None = None) -> None:
        def pause(seconds: float) -> None:
            self.waited.append(seconds)
            if second is not None:
                raise second

        with pytest.raises(type(error)), attending.ends_or_leaves(session(self.one), self.one.run, pause):
            raise error


@pytest.fixture
def asked(one: Kept, monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch, one)


def test_ctrl_c_once_stops_it_after_a_grace(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    asked.end(KeyboardInterrupt())
    assert (asked.stopped, asked.waited) == (1, [2.0])
    said = capsys.readouterr().err
    assert "Ctrl-C again: AWS goes on with it" in said
    assert f"{RUN} is stopped" in said and f"provision resume {RUN}" in said and "goes on with digits" not in said


def test_what_was_finished_meanwhile_is_to_be_fetched(
    one: Kept, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(attended, "stop", lambda *_: "finished")
    with pytest.raises(KeyboardInterrupt), attending.ends_or_leaves(session(one), one.run, lambda _: None):
        raise KeyboardInterrupt
    assert f"provision fetch {RUN}" in capsys.readouterr().err


def test_ctrl_c_twice_leaves_it_to_aws(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    asked.end(KeyboardInterrupt(), KeyboardInterrupt())
    assert asked.stopped == 0
    said = capsys.readouterr().err
    assert f"AWS goes on with {RUN} without this laptop" in said
    assert f"provision logs {RUN} -f" in said and f"provision stop {RUN}" in said


def test_two_that_come_at_once_are_two(asked: Asked) -> None:
    """The second hits what closes the progress bar for the first."""
    both = KeyboardInterrupt()
    both.__context__ = KeyboardInterrupt()
    asked.end(both)
    assert (asked.stopped, asked.waited) == (0, [])


@pytest.mark.parametrize(("number", "stopped"), [(signal.SIGTERM, 1), (signal.SIGHUP, 0)], ids=["TERM", "HUP"])
def test_a_cancelled_job_stops_it_and_a_closed_terminal_leaves_it(
    asked: Asked, number: signal.Signals, stopped: int
) -> None:
    asked.end(signals.Told(number))
    assert (asked.stopped, asked.waited) == (stopped, [])  # nobody is there to press Ctrl-C again


def test_what_could_not_be_stopped_is_said_with_the_command_that_does_it(
    asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    asked.stops = CloudError("no line", "plug it in")
    asked.end(KeyboardInterrupt())
    assert f"may go on, and cost; stop it: provision stop {RUN}" in capsys.readouterr().err
    asked.stops = KeyboardInterrupt()
    asked.end(KeyboardInterrupt())
    assert f"not stopped to the end; do it: provision stop {RUN}" in capsys.readouterr().err


def test_a_fault_of_this_laptops_leaves_it_and_says_so(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    asked.end(OSError("disk full"))
    assert "AWS goes on with" in capsys.readouterr().err
    asked.end(RunError("it diverged"))
    assert (asked.stopped, capsys.readouterr().err) == (0, "")


def test_who_waits_no_longer_for_the_work_ends_the_machine_at_once(
    one: Kept,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    undone = Undone(one, monkeypatch)
    one.attempt(FIRST)
    one.state("running")

    def again(_: float) -> None:
        raise KeyboardInterrupt

    keeper = standing.keeper_of(CLOUD, one.run)
    assert keeper is not None
    with pytest.raises(KeyboardInterrupt):
        stopping.stop(session(one), one.run, keeper, again)
    assert (one.status, undone.asked) == ("ABORTED", [LAUNCH])


# what it came to


class Followed:
    def __init__(self, one: Kept, monkeypatch: pytest.MonkeyPatch, ends: bool = True) -> None:
        self.one, self.ends, self.undone = one, ends, []  # type: Kept, bool, list[str]
        monkeypatch.setattr(rent, "undo", self._undo)

    def _undo(self, cloud: Any, name: str, launch: str, say: Any, down: Any = None) -> bool:
        assert self.one.status != "RUNNING"  # its keeper is let to end first
        self.undone.append(launch)
        return self.ends

    def end(self, status: str, error: str = "", cause: str = "") -> None:
        self.one.status = status
        row = {"status": status, "executionArn": "e", "error": error, "cause": cause}
        self.one.aws.answers["DescribeExecution"] = lambda _: row

    def follow(self) -> str:
        return attended.follow(session(self.one), self.one.run, self.one.clock.clock)


def test_it_is_followed_until_its_keeper_is_over_and_nothing_is_left(
    one: Kept,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    followed = Followed(one, monkeypatch)
    one.attempt(FIRST)
    one.state("running")
    one.at(50.0, lambda: one.state("finished"))
    one.at(90.0, lambda: followed.end("SUCCEEDED"))
    assert followed.follow() == "finished"
    assert one.clock.time >= 90.0 and followed.undone == [LAUNCH]


def test_what_stays_of_its_machine_is_an_error(one: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    followed = Followed(one, monkeypatch, ends=False)
    one.attempt(FIRST)
    one.state("finished")
    followed.end("FAILED", "StillThere", "i-1 could not be ended")
    with pytest.raises(LeftoverError, match="has not ended") as left:
        followed.follow()
    assert left.value.mend.startswith("provision down lab")


def test_a_keeper_that_does_not_end_is_an_error(one: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    one.attempt(FIRST)
    one.state("finished")
    with pytest.raises(LeftoverError) as left:
        Followed(one, monkeypatch).follow()
    assert left.value.mend.startswith(f"provision stop {RUN}")


def test_a_keeper_that_found_no_machine_is_an_error_with_its_code(
    one: Kept,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    followed = Followed(one, monkeypatch)
    one.attempt(WAITING)
    one.at(40.0, lambda: followed.end("FAILED", "NoCapacity", 'at last it said ["InsufficientInstanceCapacity"] []'))
    with pytest.raises(CapacityError, match=f"{RUN} is interrupted: at last it said") as gave_up:
        followed.follow()
    assert f"provision resume {RUN} --wait-for-capacity 24" in gave_up.value.mend
    assert followed.undone == [LAUNCH]


def test_one_that_could_claim_nothing_is_followed_no_longer(
    one: Kept,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has no attempt: without its keeper's end it would be about to begin for ever."""
    followed = Followed(one, monkeypatch)
    one.at(40.0, lambda: followed.end("FAILED", "Unclaimed", "S3.S3Exception: no"))
    with pytest.raises(CloudError, match="no"):
        followed.follow()
    assert Standing(keeper=Keeper(KEEPING, "ABORTED")).word == "stopped"
    assert Standing(keeper=Keeper(KEEPING)).word == "starting"  # AWS does not know it yet


@pytest.mark.parametrize(
    ("error", "cause", "kind"),
    [
        ("NoCapacity", '["UnfulfillableCapacity","InsufficientInstanceCapacity"] ["none"]', CapacityError),
        ("NoCapacity", '["SpotMaxPriceTooLow"] ["too low"]', PriceError),
        ("NoCapacity", '["InsufficientInstanceCapacity","MaxSpotInstanceCountExceeded"] []', QuotaError),
        ("NoCapacity", '["Unsupported","InsufficientInstanceCapacity"] []', CapacityError),
        ("Refused", '["UnauthorizedOperation"] []', AuthError),
        ("Refused", '["Unsupported"] []', NotOfferedError),
        ("Refused", '["InvalidParameterCombination"] []', UnsupportedError),
        ("Refused", "Ec2.Ec2Exception: no (Service: Ec2, Status Code: 403)", AuthError),
        ("Refused", "Ec2.Ec2Exception: odd (Service: Ec2, Status Code: 400)", CloudError),
        ("Unready", "two machines could not begin", HostError),
        ("Unclaimed", "S3", CloudError),
        ("StillThere", "i-1", LeftoverError),
        *(
            (error, "", RunError)
            for error in ("Barren", "TooManyMachines", "TimeOver", "EndedWithMachine", "Taken", "")
        ),
    ],
)
def test_a_keepers_end_is_one_of_our_errors(error: str, cause: str, kind: type[ProvisionError], one: Kept) -> None:
    now = Standing(RunState("interrupted", 1), [FIRST], keeper=Keeper(KEEPING, "FAILED", error, cause))
    found = verdict.of(one.run, now)
    assert type(found) is kind
    assert RUN in found.what and "provision " in found.mend


@pytest.mark.parametrize("word", ["finished", "failed", "stopped"])
def test_a_run_that_has_ended_is_no_keepers_error(one: Kept, word: Any) -> None:
    now = Standing(RunState(word, 1), [FIRST], keeper=Keeper(KEEPING, "FAILED", "TrainingFailed"))
    assert verdict.of(one.run, now) is None


def test_a_training_that_diverged_and_cannot_be_stopped_may_go_on(
    one: Kept,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one.aws.answers["StopExecution"] = Refused("InternalFailure")
    with pytest.raises(UnheardError, match="has diverged") as unheard:
        attended._stop_lost(session(one), one.run)
    assert f"stop it: provision stop {RUN}" in unheard.value.mend


# who keeps it


def wanted(weights: tuple[Any, ...] = (), volumes: tuple[Any, ...] = (), **settings: Any) -> fitting.Wanted:
    from provision.recipes.loading import load
    from provision.recipes.rendering import render

    rendered = msgspec.structs.replace(render(load("digits")), weights=weights)
    wish = Requirements("lab", "p2.xlarge", volumes=volumes)
    return fitting.Wanted(Settings(**settings), wish, rendered, {})


@pytest.mark.parametrize(
    ("asked_for", "why"),
    [
        (wanted(), ""),
        (wanted(volumes=("data:20",)), "--volume"),
        (wanted(keep_on_error_minutes=30.0), "--keep-on-error"),
        (wanted(more_regions=("eu-west-1",)), "--region"),
        (wanted(weights=(FREE,)), "no sum is known"),
        (wanted(weights=(msgspec.structs.replace(FREE, sha256="a" * 64),)), ""),
    ],
)
def test_what_no_keeper_can_have_is_known_before_aws_is_asked(
    one: Kept,
    asked_for: fitting.Wanted,
    why: str,
) -> None:
    assert why in fitting.reason(asked_for) and bool(why) == bool(fitting.reason(asked_for))


@pytest.mark.parametrize(
    ("more", "fits"), [({}, True), ({"max_hours": 0.3}, False), ({"budget": 0.2}, False), ({"budget": 20.0}, True)]
)
def test_a_time_or_a_budget_that_is_too_short_for_a_keeper_is_no_refusal(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, float], fits: bool
) -> None:
    monkeypatch.setattr(begin, "request_of", lambda *_: request(**more))
    found, why = fitting.fit(Session(CLOUD, Settings()), wanted())
    assert (found is not None, why == "") == (fits, fits)
    assert fits or "minutes in all" in why


def test_a_wrong_wish_is_wrong_with_a_keeper_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> Any:
        raise UsageError("no such type")

    monkeypatch.setattr(begin, "request_of", refused)
    with pytest.raises(UsageError, match="no such type"):
        fitting.fit(Session(CLOUD, Settings()), wanted())


TRAIN = ("train", "digits", "--instance", "p2.xlarge", "--gpus", "0")


@pytest.fixture
def begun(one: Kept, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who began: the keeper, or this laptop, which finds no room."""
    found: list[str] = []

    def alone(*_: Any) -> Any:
        found.append("laptop")
        raise CapacityError("no room")

    monkeypatch.setattr(begin, "request_of", lambda *_: request())
    monkeypatch.setattr(trainings, "train", lambda *_: found.append("keeper") or (one.run, KEEPING))
    monkeypatch.setattr(attended, "follow", lambda *_: "finished")
    monkeypatch.setattr(rent, "rent", alone)
    return found


@pytest.mark.parametrize(
    ("more", "who", "said"),
    [
        ((), "keeper", "leaves it to AWS"),
        ((), "keeper", "it costs $0.300/h now, at most $"),
        (("--notify", "arn:aws:sns:us-east-1:111111111111:mine", "--wait-for-capacity", "2"), "keeper", ""),
        (("--diagnose",), "keeper", ""),
        (("--no-keeper",), "laptop", ""),
        (("--volume", "data:5"), "laptop", "this laptop sees it through, and has to stay on: it has a kept disk"),
        (("--keep-on-error", "30m"), "laptop", "(--keep-on-error)"),
        (("--port", "8888"), "laptop", "nobody reaches a keeper's machine"),
        (("--region", "us-east-1", "--region", "eu-west-1"), "laptop", "several regions"),
    ],
)
def test_who_keeps_it_follows_from_what_is_asked_for(
    begun: list[str], capsys: pytest.CaptureFixture[str], more: tuple[str, ...], who: str, said: str
) -> None:
    assert command([*TRAIN, *more]) == (0 if who == "keeper" else 5)
    assert begun == [who]
    assert said in capsys.readouterr().err


def test_what_a_keeper_does_cannot_be_had_without_one(begun: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command([*TRAIN, "--volume", "data:5", "--wait-for-capacity", "2"]) == 2
    said = capsys.readouterr().err
    assert "AWS cannot keep this training: it has a kept disk" in said and "leave out --wait-for-capacity" in said
    assert begun == []


def test_programs_get_the_summary_at_the_end(begun: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command([*TRAIN, "--json"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"run {RUN}\n") and json.loads(out.partition("\n")[2])["run"] == RUN


def test_who_may_have_no_keeper_hears_of_the_other_way(one: Kept, tmp_path: Path) -> None:
    one.aws.answers["DescribeStateMachine"] = Refused("AccessDeniedException")
    with pytest.raises(AuthError) as refused:
        trainings._ready(CLOUD, one.run.store)
    assert "iam-policy" in refused.value.mend and "--no-keeper" in refused.value.mend
    one.aws.answers["DescribeStateMachine"] = Refused("ExpiredToken")
    with pytest.raises(AuthError) as expired:
        trainings._ready(CLOUD, one.run.store)
    assert "--no-keeper" not in expired.value.mend


# going on


def test_a_finished_run_is_not_trained_again_by_mistake(
    one: Kept,
    begun: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    one.status = "SUCCEEDED"
    one.attempt(FIRST)
    one.state("finished")
    for words in ([], ["--detach"], ["--no-keeper"], ["--dry-run"]):
        assert command(["resume", RUN, *words]) == 13
        said = capsys.readouterr().err
        assert f"{RUN} is finished" in said and f"provision fetch {RUN}" in said
    assert command(["resume", RUN, "--from", "0", "--dry-run"]) == 0


def test_a_resume_is_the_keepers_too_unless_it_is_told_otherwise(
    one: Kept,
    begun: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from provision.training import recover, start

    def alone(*_: Any) -> Any:
        begun.append("laptop")
        raise CapacityError("no room")

    monkeypatch.setattr(trainings, "resume", lambda *_: begun.append("keeper") or KEEPING)
    monkeypatch.setattr(recover, "machine_again", alone)
    monkeypatch.setattr(start, "ensure_image", lambda _: None)
    one.status, one.machine = "ABORTED", "terminated"
    one.attempt(FIRST)
    one.state("stopped")
    assert command(["resume", RUN]) == 0
    assert "leaves it to AWS" in capsys.readouterr().err
    assert command(["resume", RUN, "--no-keeper"]) == 5
    assert command(["resume", RUN, "--volume", "data:5"]) == 5
    assert "this laptop sees it through" in capsys.readouterr().err
    assert begun == ["keeper", "laptop", "laptop"]


def test_one_that_is_kept_is_followed_by_logs(one: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    one.attempt(FIRST)
    one.state("running")
    assert command(["resume", RUN]) == 21
    assert f"follow it: provision logs {RUN} -f" in capsys.readouterr().err
