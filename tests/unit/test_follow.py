"""A training that goes on is not given up for one odd answer; what nobody answers for is told."""

from typing import Any, cast

import pytest

from infra.aws.s3 import S3
from infra.errors import CloudError, UnheardError
from provision.runs import follow, standing
from provision.runs.manifest import Attempt
from provision.runs.store import Run
from tests.unit.fake_aws import FakeAws, Refused, machine, tags
from tests.unit.test_fetch import Bucket, made
from tests.unit.virtual import Virtual

MINE = tags(name="lab", resource="provision-lab-01234567", own_run="yes")


class World:
    """A run on i-1, as EC2 and S3 show it. `odd` are EC2's next answers; `guard` writes the time each minute."""

    def __init__(self, marks: list[dict[str, str]] = MINE, guard: bool = True) -> None:
        self.clock, self.said = Virtual(limit=20_000.0), []  # type: tuple[Virtual, list[str]]
        self.odd: list[Any] = []
        self.state = "running"
        self.guard, self.marks = guard, marks
        self.aws = FakeAws(DescribeInstances=self._describe)
        self.run = made(Bucket())
        self.run.add_attempt(Attempt(1, "i-1", "lab", "us-east-1a", "now"))
        self.write()

    def _describe(self, _: object) -> Any:
        if self.odd:
            answer = self.odd.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        return {"Reservations": [{"Instances": [machine("i-1", self.marks)]}]}

    def write(self) -> None:
        minute = int(self.clock.time // 60) if self.guard else 0
        seen = f"2026-01-01T{minute // 60:02d}:{minute % 60:02d}:00Z"
        state = {"state": self.state, "attempt": 1, "instance": "i-1", "machine": "lab", "seen": seen}
        cast(Bucket, self.run.store).write_json(self.run.key("state.json"), state)

    def watch(self, replaces: bool = True) -> follow.Watch:
        def sleep(seconds: float) -> None:
            self.clock.sleep(seconds)
            self.write()

        clock = follow.Clock(lambda: self.clock.time, sleep)
        return follow.Watch(self.aws.cloud, self.run, replaces=replaces, say=self.said.append, clock=clock)

    def finish(self, at: float) -> None:
        self.clock.at[at] = lambda: setattr(self, "state", "finished")


NOWHERE: dict[str, Any] = {"Reservations": []}


@pytest.mark.parametrize("answer", [Refused("InvalidInstanceID.NotFound"), NOWHERE], ids=["not found", "empty"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_machine_that_aws_does_not_know_for_a_moment_is_not_lost(answer: Any, times: int) -> None:
    world = World()
    world.odd = [answer] * times
    world.finish(120.0)
    watch = world.watch()
    list(follow.pieces(watch))
    assert watch.word == "finished"
    assert world.clock.time >= 120.0


def test_one_that_stays_unknown_is_lost_after_half_a_minute() -> None:
    world = World()
    world.odd = [NOWHERE] * 1000
    watch = world.watch()
    list(follow.pieces(watch))
    assert watch.word == "lost"
    assert 30.0 <= world.clock.time < 60.0


def test_one_whose_end_aws_shows_is_lost_at_once() -> None:
    world = World()
    ended = machine("i-1", MINE, State={"Name": "terminated"})
    world.odd = [{"Reservations": [{"Instances": [ended]}]}] * 9
    watch = world.watch()
    list(follow.pieces(watch))
    assert (watch.word, world.clock.time) == ("lost", 0.0)


@pytest.mark.parametrize(
    "code",
    ["ExpiredToken", "RequestTimeTooSkewed", "AccessDenied", "AuthFailure", "RequestLimitExceeded", "InternalError"],
)
def test_a_refusal_of_the_moment_is_waited_out_and_said_once(code: str) -> None:
    world = World()
    world.odd = [Refused(code)] * 9
    world.finish(300.0)
    watch = world.watch()
    list(follow.pieces(watch))
    assert watch.word == "finished"
    assert sum(f"({code})" in line for line in world.said) == 1
    assert world.said[-1] == "AWS answers again"


def test_after_an_hour_of_nothing_it_is_given_up_and_said_that_it_may_go_on() -> None:
    world = World()
    world.odd = [Refused("ExpiredToken")] * 10_000
    with pytest.raises(UnheardError, match="for 60 minutes") as refused:
        list(follow.pieces(world.watch()))
    assert 3600.0 <= world.clock.time < 3700.0
    assert f"logs {world.run.id} -f" in refused.value.mend


def test_the_hour_is_of_one_silence() -> None:
    """Half an hour, a good answer, half an hour, and again: that is no end."""
    world = World()
    good = {"Reservations": [{"Instances": [machine("i-1", MINE)]}]}
    world.odd = [*[Refused("ExpiredToken")] * 400, good] * 4
    world.finish(9000.0)
    watch = world.watch()
    list(follow.pieces(watch))
    assert watch.word == "finished"


def test_a_guard_that_is_silent_is_told_after_five_minutes_and_its_machine_is_lost_after_fifteen() -> None:
    world = World(guard=False)
    watch = world.watch()
    list(follow.pieces(watch))
    assert (watch.word, watch.silent) == ("lost", True)
    assert 900.0 <= world.clock.time < 960.0
    told = [line for line in world.said if "nobody has answered for 5 minutes" in line]
    assert len(told) == 1 and "Another takes its place after 15 minutes" in told[0]


@pytest.mark.parametrize(("own", "replaces"), [("", True), ("yes", False)])
def test_a_machine_that_is_not_the_runs_own_is_not_taken_for_lost(own: str, replaces: bool) -> None:
    world = World(tags(name="lab", resource="provision-lab-01234567", own_run=own), guard=False)
    world.finish(4000.0)
    watch = world.watch(replaces)
    list(follow.pieces(watch))
    assert (watch.word, watch.silent) == ("finished", False)
    told = [line for line in world.said if "nobody has answered" in line]
    assert len(told) == 1 and "down lab" in told[0]


def test_a_guard_that_speaks_is_not_silent_and_one_that_speaks_again_is_heard() -> None:
    world = World()
    world.finish(4000.0)
    list(follow.pieces(world.watch()))
    assert world.said == []
    world = World(guard=False)
    world.clock.at = {600.0: lambda: setattr(world, "guard", True)}
    world.finish(2000.0)
    watch = world.watch()
    list(follow.pieces(watch))
    assert watch.word == "finished"
    assert world.said[-1] == f"{world.run.id} is heard again"


def test_an_earlier_versions_guard_which_writes_no_times_is_not_silent() -> None:
    world = World()
    world.write = lambda: cast(Bucket, world.run.store).write_json(  # type: ignore[method-assign]
        world.run.key("state.json"), {"state": world.state, "attempt": 1}
    )
    world.write()
    world.finish(4000.0)
    list(follow.pieces(world.watch()))
    assert world.said == []


def test_this_laptops_own_sleep_is_not_the_guards_silence() -> None:
    world = World(guard=False)
    watch = world.watch()
    watch.look()
    world.clock.time += 8 * 3600.0
    assert not watch.look() and world.said == []


def test_a_look_by_other_commands_is_as_careful() -> None:
    world = World()
    world.odd = [NOWHERE]
    slept: list[float] = []
    assert standing.look(world.aws.cloud, world.run, slept.append).word == "running"
    assert slept == [10.0]
    world.odd = [NOWHERE] * 9
    assert standing.look(world.aws.cloud, world.run, slept.append).word == "lost"
    assert sum(slept) == 40.0


def test_a_line_that_breaks_in_the_log_is_borne_too(monkeypatch: pytest.MonkeyPatch) -> None:
    world, failures = World(), [CloudError("the line is down")] * 3
    world.finish(60.0)

    class Weak(Bucket):
        def objects_after(self, prefix: str, after: str) -> Any:
            if failures:
                raise failures.pop()
            return super().objects_after(prefix, after)

    weak = Weak()
    weak.held = cast(Bucket, world.run.store).held
    watch = world.watch()
    watch.run = Run(cast(S3, weak), world.run.id)
    list(follow.pieces(watch))
    assert watch.word == "finished"
    assert not failures
