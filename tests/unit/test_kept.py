"""A run that AWS keeps: how it stands in words, following it, its time line, and its end."""

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infra.aws.step_functions import Execution, Step
from infra.aws.types import Instance
from infra.errors import BusyError, LeftoverError, RunError, UsageError
from provision.clouds import Session
from provision.engines import events, kept
from provision.engines import stop as stopping
from provision.engines.kept import moment
from provision.machines import cost, rent
from provision.machines.deadline import clock
from provision.runs import follow, standing, store
from provision.runs.manifest import Attempt, End, Keeping, RunState, Terms
from provision.runs.standing import Keeper, Standing
from provision.settings import Settings
from provision.training import kept as trainings
from provision.training import start
from tests.unit.fake_aws import CLOUD, Refused, machine, tags
from tests.unit.fake_s3 import OURS, FakeS3
from tests.unit.kept_kit import RUN, made
from tests.unit.virtual import Virtual

LAUNCH = "provision-lab-01234567"
BEGAN = "2026-11-20T12:00:00+00:00"
ENDS = "2026-11-21T12:00:00+00:00"
EXECUTION = f"arn:aws:states:us-east-1:{OURS}:execution:provision-keeper-01234567:{RUN}-1"
KEEPING = Keeping(EXECUTION, LAUNCH, 1, BEGAN, ENDS)
WORKS = Keeper(KEEPING, "RUNNING")
NEXT = Keeper(Keeping(EXECUTION, LAUNCH, 2, BEGAN, ENDS), "RUNNING")  # its first attempt is the second
TERMS = Terms(BEGAN, None, 1.5)
WAITING = Attempt(1, "", "lab", "", BEGAN, launch=LAUNCH)
FIRST = Attempt(1, "i-1", "lab", "us-east-1a", BEGAN, terms=TERMS, launch=LAUNCH)
SECOND = replace(FIRST, number=2, instance="i-2", resumed_from=500)
SESSION = Session(CLOUD, Settings())


def instance(state: str = "running") -> Instance:
    at = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
    return Instance("i-1", "lab", state, "p2.xlarge", "us-east-1a", "spot", None, at, {})


@pytest.mark.parametrize(
    ("now", "word", "waits"),
    [
        (Standing(keeper=WORKS), "starting", True),  # it has claimed nothing yet
        (Standing(RunState(), [WAITING], keeper=WORKS), "starting", True),
        (Standing(RunState(), [FIRST], machine=instance(), asked=True, keeper=WORKS), "starting", False),
        (Standing(RunState("running", 1), [FIRST], machine=instance(), asked=True, keeper=WORKS), "running", False),
        # between two attempts
        (Standing(RunState("interrupted", 1), [FIRST], asked=True, keeper=WORKS), "starting", True),
        (Standing(RunState("running", 1), [FIRST], machine=instance("terminated"), asked=True, keeper=WORKS),
         "starting", True),
        (Standing(RunState("interrupted", 1), [FIRST, SECOND], machine=instance(), asked=True, keeper=WORKS),
         "starting", False),
        # an earlier keeper's attempt is no word on what is to come
        (Standing(RunState("stopped", 1), [FIRST], keeper=NEXT), "starting", True),
        (Standing(RunState("stopped", 1), [FIRST], keeper=Keeper(NEXT.keeping, "FAILED")), "stopped", False),
        (Standing(RunState("finished", 1), [FIRST], machine=instance(), asked=True, keeper=WORKS), "finished", False),
        # its keeper has ended
        (Standing(RunState(), [WAITING], asked=True, keeper=Keeper(KEEPING, "FAILED", "NoCapacity")), "interrupted",
         False),
        (Standing(RunState(), [WAITING], asked=True, keeper=Keeper(KEEPING, "ABORTED")), "stopped", False),
        (Standing(RunState("running", 1), [FIRST], asked=True, keeper=Keeper(KEEPING, "ABORTED")), "stopped", False),
        (Standing(RunState("running", 1), [FIRST], asked=True, keeper=Keeper(KEEPING, "FAILED", "Barren")), "lost",
         False),
        (Standing(RunState("running", 1), [FIRST], machine=instance(), asked=True, keeper=Keeper(KEEPING)), "running",
         False),
    ],
)  # fmt: skip
def test_one_word_says_how_a_kept_run_stands(now: Standing, word: str, waits: bool) -> None:
    assert (now.word, now.waits) == (word, waits)
    assert now.goes_on == (word in ("starting", "running"))


@pytest.mark.parametrize("status", ["ABORTED", "FAILED", "SUCCEEDED", ""])
def test_an_attempt_of_a_laptop_that_went_on_is_not_the_old_keepers(status: str) -> None:
    """`stop` would look for the machine of the old launch, end nothing, and say that nothing is left."""
    theirs = replace(SECOND, launch="provision-lab-76543210")
    old = Keeper(KEEPING, status, "Barren" * (status == "FAILED"))
    now = Standing(RunState("running", 2), [FIRST, theirs], machine=instance(), asked=True, keeper=old)
    assert (now.word, now.in_keepers_hands, now.of_keeper) == ("running", False, False)
    FakeS3()
    assert kept.about(made(), now, {}) == ""
    lost = replace(now, machine=None)
    assert (lost.word, lost.broken_off) == ("lost", True)  # its laptop goes on elsewhere
    own = replace(now, attempts=[FIRST, SECOND])
    assert own.in_keepers_hands


def test_words_tell_what_it_waits_for_and_what_it_has_cost() -> None:
    ends = clock(datetime.fromisoformat(ENDS))
    waiting = Standing(RunState(), [WAITING], keeper=WORKS)
    since = clock(datetime.fromisoformat(BEGAN))
    assert kept.words(waiting, 0.0, 1) == (
        f"waiting for capacity since {since}, attempt 1, $0.00 so far, ends by {ends}"
    )
    third = replace(FIRST, number=3)
    trains = Standing(RunState("running", 3), [third], machine=instance(), asked=True, keeper=WORKS)
    assert kept.words(trains, 4.1, 3) == f"training on lab (i-1), attempt 3, $4.10 so far, ends by {ends}"
    noticed = replace(trains, state=RunState("interrupted", 3, reason="spot interruption"))
    assert kept.words(noticed, None, 3) == f"interrupted on lab (i-1), attempt 3, ends by {ends}"
    dear = kept.words(noticed, 0.2, 3, 0.5)
    assert dear.endswith(f"$0.20 so far ($0.50 that AWS does not bill are not in it), ends by {ends}")
    gone = replace(noticed, machine=instance("terminated"))
    assert kept.words(gone, 0.0, 3) == f"waiting for its next machine after attempt 3, $0.00 so far, ends by {ends}"
    again = Standing(RunState("stopped", 1), [FIRST], keeper=NEXT)  # its new keeper has begun no attempt yet
    assert kept.words(again, None, 1) == f"waiting for its machine, attempt 2, ends by {ends}"
    begins = replace(trains, state=RunState())
    assert kept.words(begins, None, 3) == f"starting on lab (i-1), attempt 3, ends by {ends}"
    over = Standing(RunState(), [WAITING], keeper=Keeper(KEEPING, "FAILED", "NoCapacity", "no machine was free"))
    assert kept.words(over, None, 1) == "no machine was free"
    long = replace(over, keeper=Keeper(KEEPING, "FAILED", "NoCapacity", "no machine " * 50))
    assert kept.words(long, None, 1).endswith("… (all of it: events)") and len(kept.words(long, None, 1)) < 150
    assert kept.words(Standing(), None, 1) == ""


def test_what_aws_has_forgotten_counts_as_the_most_that_it_may_have_cost() -> None:
    half = End(1, "i-1", "interrupted", time="2026-11-20T12:30:00+00:00")
    other = replace(SECOND, launch="provision-lab-other")
    assert kept.spent([FIRST], [half], {}) == pytest.approx(0.75)
    later = End(2, "i-2", "lost", time="2026-11-20T13:00:00+00:00")
    assert kept.spent([FIRST, other], [half, later], {}) == pytest.approx(2.25)  # of all machines
    assert kept.spent([WAITING], [], {}) == 0
    assert kept.spent([replace(FIRST, terms=None)], [half], {}) is None


class Kept:
    """The run in S3, with a keeper whose execution stands as `status` says."""

    def __init__(self, aws: FakeS3) -> None:
        self.aws, self.status, self.said = aws, "RUNNING", []  # type: FakeS3, str, list[str]
        self.clock = Virtual(limit=20_000.0)
        self.machine = "running"
        self.run = made()
        aws.put(
            f"runs/{RUN}/keeper.json",
            json.dumps(
                {"execution": EXECUTION, "launch": LAUNCH, "number": 1, "started": BEGAN, "ends": ENDS}
            ).encode(),
        )
        mine = tags(name="lab", resource=LAUNCH, own_run="yes", run=RUN)
        aws.answers |= {
            "DescribeExecution": lambda _: {"status": self.status, "executionArn": EXECUTION},
            "StopExecution": lambda _: setattr(self, "status", "ABORTED"),
            "DescribeInstances": lambda _: {
                "Reservations": [{"Instances": [machine("i-1", mine, State={"Name": self.machine})]}]
            },
        }

    def attempt(self, attempt: Attempt) -> None:
        row = {**vars(attempt), "terms": vars(attempt.terms) if attempt.terms else None}
        self.aws.put(f"runs/{RUN}/attempts/{attempt.number:03d}.json", json.dumps(row).encode())

    def state(self, word: str, number: int = 1, seen: str = "2026-11-20T12:00:00Z") -> None:
        row = {"state": word, "attempt": number, "instance": f"i-{number}", "machine": "lab", "seen": seen}
        self.aws.put(f"runs/{RUN}/state.json", json.dumps(row).encode())

    def watch(self) -> follow.Watch:
        clock = follow.Clock(lambda: self.clock.time, self.clock.sleep)
        return follow.Watch(CLOUD, self.run, say=self.said.append, clock=clock)

    def at(self, seconds: float, act: Any) -> None:
        self.clock.at[seconds] = act


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    for name in ("CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.setenv("LOGNAME", "alice")
    return Kept(FakeS3())


def test_it_is_followed_over_its_attempts_until_its_end(one: Kept) -> None:
    one.attempt(FIRST)
    one.state("running")

    def taken() -> None:
        one.state("interrupted")
        one.machine = "terminated"

    def again() -> None:
        one.attempt(replace(WAITING, number=2))

    one.at(100.0, taken)
    one.at(110.0, again)
    one.at(600.0, lambda: (setattr(one, "machine", "running"), one.attempt(SECOND)))
    one.at(640.0, lambda: one.state("finished", 2))
    watch = one.watch()
    list(follow.pieces(watch))
    assert watch.word == "finished"
    assert one.clock.time >= 640.0
    assert one.said == []  # seven minutes without capacity are no silence


def test_one_whose_keeper_gives_up_is_followed_no_longer(one: Kept) -> None:
    one.attempt(WAITING)
    one.at(300.0, lambda: setattr(one, "status", "FAILED"))
    watch = one.watch()
    list(follow.pieces(watch))
    assert (watch.word, watch.silent) == ("interrupted", False)


def test_where_its_guard_falls_silent_the_keeper_is_named(one: Kept) -> None:
    one.attempt(FIRST)
    one.state("running")
    one.at(700.0, lambda: one.state("finished"))
    list(follow.pieces(one.watch()))
    assert "Its keeper ends it then, and goes on elsewhere" in one.said[0]


def test_who_resumes_one_that_is_kept_hears_by_whom_and_nothing_is_rented(one: Kept) -> None:
    one.attempt(FIRST)
    one.state("interrupted")
    now = standing.look(CLOUD, one.run)
    with pytest.raises(BusyError, match=f"{RUN} is kept by AWS") as refused:
        start.refuse_going(SESSION, one.run, now)
    assert f"provision stop {RUN}" in refused.value.mend


def test_no_laptop_logs_in_to_see_whether_a_keepers_attempt_began(one: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    one.attempt(FIRST)
    one.status = "FAILED"  # it could not end its machine
    monkeypatch.setattr(start, "never_began", lambda *_: pytest.fail("SSH was tried"))
    with pytest.raises(RunError, match="goes on already"):
        start.refuse_going(SESSION, one.run, standing.look(CLOUD, one.run))


def test_a_machine_that_outlived_its_keeper_is_the_keepers_to_end(one: Kept) -> None:
    one.attempt(FIRST)
    one.state("interrupted")
    one.status = "FAILED"
    assert standing.look(CLOUD, one.run).in_keepers_hands
    one.machine = "terminated"
    assert not standing.look(CLOUD, one.run).in_keepers_hands


def test_an_attempt_that_got_no_machine_asks_ec2_for_none(one: Kept) -> None:
    one.attempt(WAITING)
    assert standing.look(CLOUD, one.run).machine is None
    assert not one.aws.of("DescribeInstances")


def test_a_user_without_a_name_is_told_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(store.getpass, "getuser", unknown)
    assert store.whoami().partition("@")[0].isdecimal()


class Undone:
    def __init__(self, one: Kept, monkeypatch: pytest.MonkeyPatch, ends: bool = True) -> None:
        self.one, self.ends, self.asked = one, ends, []  # type: Kept, bool, list[str]
        monkeypatch.setattr(rent, "undo", self._undo)

    def _undo(self, cloud: Any, name: str, launch: str, say: Any, down: Any = None) -> bool:
        self.asked.append(launch)
        assert self.one.status == "ABORTED"  # or it would ask for another machine
        self.one.machine = "terminated"
        return self.ends


def stop(one: Kept) -> str:
    keeper = standing.keeper_of(CLOUD, one.run)
    assert keeper is not None
    session = Session(CLOUD, Settings(), one.said.append)
    return stopping.stop(session, one.run, keeper, one.clock.sleep)


def test_stop_saves_the_work_first_and_ends_all_of_the_launch(one: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    undone = Undone(one, monkeypatch)
    one.attempt(FIRST)
    one.state("running")
    one.at(20.0, lambda: one.state("stopped"))
    assert stop(one) == "stopped"
    assert one.aws.held[f"runs/{RUN}/control/stop"][0].startswith(b"alice@")
    assert undone.asked == [LAUNCH] and one.clock.time >= 20.0
    [end] = one.run.ends()  # from now on it costs nothing more
    assert (end.number, end.instance, end.word) == (1, "i-1", "stopped")


def test_stop_of_one_that_waits_for_a_machine_waits_for_nothing(one: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    undone = Undone(one, monkeypatch)
    one.attempt(WAITING)
    assert stop(one) == "stopped"
    assert undone.asked == [LAUNCH] and one.clock.time == 0.0


def test_how_a_keeper_saw_an_attempt_end_stays(one: Kept) -> None:
    theirs = {"number": 1, "instance": "i-1", "word": "finished", "reason": "", "time": ENDS}
    one.aws.put(f"runs/{RUN}/ends/001.json", json.dumps(theirs).encode())
    stopping.note_end(one.run, Standing(RunState("stopped", 1), [FIRST]))
    assert one.run.ends()[0].word == "finished"


def test_stop_that_leaves_something_says_so(one: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    Undone(one, monkeypatch, ends=False)
    one.attempt(WAITING)
    with pytest.raises(LeftoverError, match="lab has not ended"):
        stop(one)


def test_the_keepers_of_what_is_ended_are_found_by_tags(one: Kept) -> None:
    assert list(kept.on_machines(CLOUD, "lab")) == [RUN]
    one.status = "SUCCEEDED"
    assert kept.on_machines(CLOUD, "lab") == {}


def someone_elses(one: Kept, machine_there: bool) -> None:
    """The run is alice's: its template shows it, and its machine where there is one."""
    theirs = tags(name="lab", resource=LAUNCH, owner="alice@thinkpad 0123abcd", run=RUN)
    row = {"LaunchTemplateId": "lt-1", "LaunchTemplateName": LAUNCH, "Tags": theirs}
    there = [{"Instances": [machine("i-1", theirs)]}] if machine_there else []
    one.aws.answers |= {
        "DescribeLaunchTemplates": {"LaunchTemplates": [row]}, "DescribeInstances": {"Reservations": there},
    }  # fmt: skip


def test_a_run_of_somebody_elses_that_waits_is_found_by_what_its_launch_has(one: Kept) -> None:
    someone_elses(one, machine_there=False)
    [found] = kept.others_waiting(CLOUD, None)
    assert (found.run, found.launch) == (RUN, LAUNCH)
    assert found.words == f"the run {RUN}, which AWS keeps and which waits for a machine, of alice@thinkpad"
    assert kept.on_machines(CLOUD, None, ()) == {} and list(kept.on_machines(CLOUD, None, {LAUNCH})) == [RUN]
    one.status = "SUCCEEDED"
    assert kept.others_waiting(CLOUD, None) == []
    one.status = "RUNNING"
    someone_elses(one, machine_there=True)  # the machine is what is asked about
    assert kept.others_waiting(CLOUD, None) == []


def test_a_tag_that_names_another_launchs_run_stops_no_keeper_of_it(one: Kept) -> None:
    """Whoever may tag could name any run."""
    theirs = tags(name="lab", resource="provision-lab-other", run=RUN)
    one.aws.answers["DescribeInstances"] = {"Reservations": [{"Instances": [machine("i-9", theirs)]}]}
    assert kept.on_machines(CLOUD, "lab") == {}


def test_the_time_line_is_asked_got_notice_saved_resumed_ended_with_dollars() -> None:
    at = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)

    def minutes(count: float) -> datetime:
        return at + timedelta(minutes=count)

    second = replace(SECOND, started=minutes(40).isoformat(), terms=Terms(minutes(41).isoformat(), None, 1.5))
    steps = [Step(minutes(when), state, kind) for when, state, kind in (
        (0.1, "Claim", "entered"), (0.2, "Ask spot", "entered"), (0.9, "Ask spot", "entered"),
        (1.0, "Know", "entered"), (30.0, "Work", "exited"), (40, "Claim", "entered"),
        (40.1, "Ask spot", "entered"), (40.2, "Ask on demand", "entered"), (41, "Know", "entered"),
    )]  # fmt: skip
    seen = events.Seen(
        attempts=[FIRST, second],
        ends={1: End(1, "i-1", "interrupted", "spot interruption", minutes(32).isoformat()),
              2: End(2, "i-2", "finished", "", minutes(101).isoformat())},
        saved=[(minutes(10), 100, 1), (minutes(20), 200, 1), (minutes(29), 250, 1), (minutes(90), 1000, 2)],
        bills={},
        keepers=[events.Kept(f"{RUN}-1", at, Execution(EXECUTION, "SUCCEEDED", stopped=minutes(103)), steps)],
    )  # fmt: skip
    found = events.short(events.line(seen))
    assert [(event.what, event.attempt, event.about) for event in found] == [
        ("begun", 0, f"kept by AWS as {RUN}-1"),
        ("got", 1, "i-1 in us-east-1a"),
        ("asked", 1, "spot, 2 times"),
        ("saved", 1, "iteration 250 (3 snapshots)"),
        ("notice", 1, "AWS takes the machine; its work is saved"),
        ("ended", 1, "interrupted: spot interruption"),
        ("asked", 2, "spot"),
        ("asked", 2, "on demand"),
        ("resumed", 2, "i-2 in us-east-1a, from iteration 500"),
        ("saved", 2, "iteration 1000"),
        ("ended", 2, "finished"),
        ("done", 0, ""),
    ]
    assert [round(event.dollars, 2) for event in found if event.dollars] == [0.8, 1.5]
    plain = found[-2].as_json()
    assert json.loads(json.dumps(plain))["time"] == "2026-11-20T13:41:00+00:00"


@pytest.mark.parametrize(("state", "word"), [("Baked", "baked"), ("Unbaked", "not baked")])
def test_a_machine_image_is_told_before_the_end_of_its_machine(state: str, word: str) -> None:
    at = moment(BEGAN)
    steps = [Step(at + timedelta(minutes=when), name, kind) for when, name, kind in (
        (60, "Work", "exited"), (60, "Bake", "entered"), (61, "Bake", "exited"), (66, state, "entered"),
    )]  # fmt: skip
    ended = End(1, "i-1", "finished", "", (at + timedelta(minutes=67)).isoformat())
    seen = events.Seen([FIRST], {1: ended}, [], {}, [events.Kept("k", at, Execution(EXECUTION, "RUNNING"), steps)])
    assert [(one.what, one.attempt, one.machine) for one in events.line(seen)][-3:] == [
        ("baking", 1, "lab"), (word, 1, "lab"), ("ended", 1, "lab"),
    ]  # fmt: skip


def test_within_one_second_an_attempt_ends_before_the_next_is_asked_for_and_a_keeper_ends_last() -> None:
    at = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
    second = replace(SECOND, terms=Terms(at.isoformat(), None, 1.5))
    steps = [Step(at.replace(microsecond=2), "Ask spot", "entered"), Step(at.replace(microsecond=3), "Know", "entered")]
    done = Execution(EXECUTION, "SUCCEEDED", stopped=at.replace(microsecond=1))
    seen = events.Seen(
        attempts=[FIRST, second],
        ends={1: End(1, "i-1", "interrupted", "spot interruption", at.isoformat()),
              2: End(2, "i-2", "finished", "", at.isoformat())},
        saved=[], bills={}, keepers=[events.Kept("k", at.replace(microsecond=9), done, steps)],
    )  # fmt: skip
    assert [(event.what, event.attempt) for event in events.line(seen)] == [
        ("begun", 0), ("got", 1), ("ended", 1), ("asked", 2), ("resumed", 2), ("ended", 2), ("done", 0),
    ]  # fmt: skip


def test_a_notice_is_told_before_the_machines_end_is_written_down() -> None:
    at = datetime(2026, 11, 20, 12, 30, tzinfo=timezone.utc)
    steps = [Step(at, "Work", "exited")]
    keeper = events.Kept("k", at - timedelta(minutes=30), Execution(EXECUTION, "RUNNING"), steps)
    seen = events.Seen([FIRST], {}, [], {}, [keeper], RunState("interrupted", 1, reason="spot interruption"))
    assert [(event.what, event.machine) for event in events.line(seen)][-1] == ("notice", "lab")
    for other in (
        RunState("interrupted", 1, reason="power-off"),
        RunState("interrupted", 9, reason="spot interruption"),
    ):
        assert "notice" not in [event.what for event in events.line(replace(seen, state=other))]


def test_an_end_is_told_once_and_with_why_it_is_billed_less() -> None:
    taken = cost.Bill("lab", "i-1", "p2.xlarge", "spot", "us-east-1", "us-east-1a", moment(BEGAN), moment(ENDS), 0.5,
                      0.0, 0.001, 0.0, free=0.4)  # fmt: skip
    first, second = (
        End(1, "i-1", "interrupted", "spot interruption", BEGAN),
        End(2, "i-2", "stopped", "stopped by a person", ENDS),
    )
    seen = events.Seen([FIRST, SECOND], {1: first, 2: second}, [], {"i-1": taken})
    assert [event.about for event in events.line(seen) if event.what == "ended"] == [
        "interrupted: spot interruption; AWS bills only its disk and its address", "stopped by a person",
    ]  # fmt: skip


def test_the_time_line_has_all_keepers_of_a_run_that_aws_knows(one: Kept) -> None:
    third = msgspec.structs.replace(KEEPING, execution=EXECUTION.removesuffix("1") + "3")
    one.aws.put(f"runs/{RUN}/keeper.json", msgspec.json.encode(third))
    known = {f"{RUN}-2": "2026-11-20T09:00:00+00:00", f"{RUN}-3": BEGAN}  # AWS has forgotten the first

    def describe(words: Any) -> Any:
        name = words["executionArn"].rpartition(":")[2]
        if name not in known:
            raise Refused("ExecutionDoesNotExist")
        return {"status": "RUNNING", "executionArn": words["executionArn"], "startDate": moment(known[name])}

    one.aws.answers |= {"DescribeExecution": describe, "GetExecutionHistory": {"events": []}}
    assert [event.about for event in events.of(CLOUD, one.run)] == [
        f"kept by AWS as {RUN}-2", f"kept by AWS as {RUN}-3",
    ]  # fmt: skip


def test_a_budget_is_one_for_all_machines_of_a_keeper(one: Kept) -> None:
    from provision.training.recover import Order

    first = replace(FIRST, terms=replace(TERMS, budget=3.0))
    one.aws.put(
        f"runs/{RUN}/ends/001.json",
        json.dumps(
            {"number": 1, "instance": "i-1", "word": "interrupted", "time": "2026-11-20T13:00:00+00:00"}
        ).encode(),
    )
    one.machine = "terminated"
    now = Standing(RunState("interrupted", 1), [first])
    one.aws.answers["DescribeInstances"] = {"Reservations": []}  # AWS has forgotten it
    assert trainings._with_budget(one.run, now, Order()).settings == {"budget": 1.5}
    assert trainings._with_budget(one.run, now, Order({"budget": 9.0})).settings == {"budget": 9.0}
    two = replace(now, attempts=[first, replace(first, number=2, instance="i-2")])
    with pytest.raises(RunError, match=r"the budget of .*, \$3, is spent"):
        trainings._with_budget(one.run, two, Order())


def test_a_machine_of_ups_that_lives_is_gone_on_with(one: Kept) -> None:
    now = Standing(RunState("stopped", 1), [FIRST])
    assert not trainings.joins(SESSION, one.run, now)  # a keeper's
    mine = tags(name="lab", resource=LAUNCH)
    one.aws.answers["DescribeInstances"] = {"Reservations": [{"Instances": [machine("i-1", mine)]}]}
    assert trainings.joins(SESSION, one.run, now)
    assert not trainings.joins(SESSION, one.run, Standing(RunState("interrupted", 1), [FIRST]))  # AWS takes it
    one.aws.answers["DescribeInstances"] = {"Reservations": []}
    assert not trainings.joins(SESSION, one.run, now)


def test_what_aws_said_of_each_place_is_told_once() -> None:
    cause = 'AWS had no machine; at last it said ["NoRoom","NoRoom"] ["none in a [1] \\"x\\"","none in b"]'
    assert kept.plain(cause) == 'AWS had no machine; at last it said NoRoom: none in a [1] "x" (and 1 more)'
    assert kept.plain("it said [] []") == "it said nothing: nothing"
    assert kept.plain('it said ["cut o') == 'it said ["cut o'
    over = Execution(EXECUTION, "FAILED", "NoCapacity", cause, stopped=moment(ENDS))
    seen = events.Seen([], {}, [], {}, [events.Kept("k", moment(BEGAN), over)])
    assert events.line(seen)[-1].about == f"NoCapacity: {kept.plain(cause)}"
    assert kept.why(Keeper(KEEPING, "FAILED", "NoCapacity", cause)) == kept.plain(cause)


def test_of_many_snapshots_the_nearest_are_named() -> None:
    many = [*range(100, 4200, 100)]
    assert start._some(many[:3], 101) == "100, 200, 300"
    assert start._some(many, 601) == "300, 400, 500, 600, 700, 800, 900, 1000, and 33 others up to 4100"


def test_what_only_somebody_who_follows_can_do_is_refused() -> None:
    with pytest.raises(UsageError, match="--diagnose"):
        trainings.refuse_attached(SESSION, True)
    trainings.refuse_attached(SESSION, False)
