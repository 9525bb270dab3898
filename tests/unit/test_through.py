"""A training is seen through what passes: a refusal of the moment is waited out, what is final ends it at once."""

from collections.abc import Callable
from datetime import datetime, timezone

import pytest

from infra.aws.session import Cloud
from infra.aws.types import Instance
from infra.errors import (
    AuthError,
    BusyError,
    CapacityError,
    CloudError,
    DamagedError,
    EndedError,
    HostError,
    HostKeyError,
    ImageError,
    LeftoverError,
    NotOfferedError,
    PriceError,
    ProvisionError,
    QuotaError,
    RunError,
    ThrottledError,
    UnheardError,
    UsageError,
)
from provision.clouds import Session
from provision.runs.manifest import Attempt, RunState, Snapshot, Word
from provision.runs.standing import Standing
from provision.runs.store import Run
from provision.settings import Settings
from provision.training import through
from provision.training.recover import Another
from tests.unit.test_recover import LAST, made
from tests.unit.virtual import Virtual

CLOUD = Cloud("aws", "eu-west-1", usual=("aws", "us-east-1"))


@pytest.fixture
def run() -> Run:
    return made()


def machine(id: str = "i-1", state: str = "terminated", reason: str = "") -> Instance:
    at = datetime(2026, 1, 1, tzinfo=timezone.utc)
    return Instance(id, "lab", state, "p3.8xlarge", "a", "spot", None, at, {}, reason=reason)


def ended(reason: str = "", at: int = 500) -> Standing:
    snapshot = Snapshot(at, f"runs/digits-1/snapshots/{at:09d}/", f"snapshots/net_iter_{at}", ())
    return Standing(RunState("running", 1), [LAST], [snapshot], machine(reason=reason), asked=True)


TAKEN, USERS = ended("Server.SpotInstanceTermination"), ended("Client.UserInitiatedShutdown")
GOING = Standing(RunState("running", 1), [LAST], machine=machine(state="running"), asked=True)


class Story:
    """What happens to a run: how each attempt ends, and how it stands then; what is refused on the way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *ends: tuple[Word, Standing]) -> None:
        self.ends, self.turns, self.said = list(ends), 0, []  # type: tuple[Any, int, list[str]]
        self.begun = self.rented = 0
        self.renting: list[ProvisionError] = []
        self.beginning: list[ProvisionError] = []
        self.gone = False  # whether the new machine has ended
        self.cleared: list[str] = []
        self.read_again: list[Cloud] = []
        self.old: Instance | None = None
        self.clock = Virtual()
        self.session = Session(CLOUD, Settings(region="eu-west-1"), self.said.append)
        monkeypatch.setattr(through.Follower, "follow", lambda *_: self._word())
        monkeypatch.setattr(through.standing, "look", lambda *_: self.ends[self.turns - 1][1])
        monkeypatch.setattr(through.start, "begin", lambda *_: self._begin())
        monkeypatch.setattr(through.recover, "machine_again", lambda *_: self._machine())
        monkeypatch.setattr(through.recover, "clear_old", lambda _, old, clock: self.cleared.append(old.id))
        monkeypatch.setattr(through, "_is_gone", lambda *_: self.gone)
        monkeypatch.setattr("provision.runs.patience.read_credentials_again", self.read_again.append)

    def _word(self) -> Word:
        self.turns += 1
        return self.ends[self.turns - 1][0]

    def _begin(self) -> None:
        if self.beginning:
            raise self.beginning.pop()
        self.begun += 1

    def _machine(self) -> Another:
        if self.renting:
            raise self.renting.pop()
        self.rented += 1
        return Another(machine("i-2", "running"), rented=True, old=self.old)

    def tell(self, run: Run, moved: Callable[[Another], object] = lambda _: None) -> Word:
        return through.see_through(self.session, run, moved, clock=self.clock.clock)


def test_a_run_whose_machine_aws_took_goes_on_on_another(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(monkeypatch, ("lost", TAKEN), ("interrupted", TAKEN), ("finished", TAKEN))
    moved: list[str] = []
    assert story.tell(run, lambda another: moved.append(another.instance.id)) == "finished"
    assert (story.begun, story.turns, moved) == (2, 3, ["i-2", "i-2"])
    assert any("the newest snapshot is of iteration 500" in line for line in story.said)


def test_a_machine_that_the_user_ended_is_not_replaced(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(monkeypatch, ("lost", USERS))
    with pytest.raises(RunError, match="ended with its machine") as refused:
        story.tell(run)
    assert refused.value.mend == "go on with it: provision resume digits-1 --region eu-west-1"
    assert story.begun == 0


@pytest.mark.parametrize("word", ["running", "starting", "lost"])
def test_a_word_that_the_next_look_takes_back_is_no_end(run: Run, monkeypatch: pytest.MonkeyPatch, word: Word) -> None:
    story = Story(monkeypatch, (word, GOING), ("finished", GOING))
    assert story.tell(run) == "finished"
    assert (story.rented, story.begun) == (0, 0)


PASSING = [
    CapacityError("no p3.8xlarge is free"), PriceError("the price is above --max-price"),
    QuotaError("MaxSpotInstanceCountExceeded"), ThrottledError("RequestLimitExceeded"),
    CloudError("the line is down"), AuthError("ExpiredToken"), LeftoverError("a group is left"),
    HostError("cannot reach lab"), EndedError("lab ended while it started"),
]  # fmt: skip


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["renting", "beginning"])
def test_what_passes_is_waited_out(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: ProvisionError, where: str
) -> None:
    story = Story(monkeypatch, ("interrupted", TAKEN), ("finished", TAKEN))
    getattr(story, where).append(error)
    assert story.tell(run) == "finished"
    assert story.begun == 1
    assert any(error.what in line for line in story.said)


@pytest.mark.parametrize(
    "error",
    [UsageError("x"), RunError("spent"), ImageError("x"), NotOfferedError("x"), BusyError("x"), HostKeyError("x")],
    ids=lambda error: type(error).__name__,
)
def test_what_is_final_ends_it_at_once(run: Run, monkeypatch: pytest.MonkeyPatch, error: ProvisionError) -> None:
    story = Story(monkeypatch, ("interrupted", TAKEN))
    story.renting = [error]
    with pytest.raises(type(error)):
        story.tell(run)
    assert story.clock.time == 0


@pytest.mark.parametrize("error", PASSING[:7], ids=lambda error: type(error).__name__)
def test_the_wait_is_an_hour_and_the_error_is_said_now_and_then(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: ProvisionError
) -> None:
    story = Story(monkeypatch, ("interrupted", TAKEN))
    story.renting = [error] * 1000
    with pytest.raises(type(error)):
        story.tell(run)
    assert 3600.0 <= story.clock.time <= 3700.0
    assert sum(error.what in line for line in story.said) == 12  # each five minutes


def test_a_machine_that_is_taken_while_it_is_begun_on_is_one_more_interruption(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story(monkeypatch, ("interrupted", TAKEN), ("finished", TAKEN))
    story.beginning, story.gone = [HostError("the connection broke")], True
    assert story.tell(run) == "finished"
    assert any("another interruption" in line for line in story.said)
    assert story.clock.time == 0  # there is nothing to wait for


@pytest.mark.parametrize("where", ["renting", "beginning"])
def test_machines_that_are_taken_one_after_another_end_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    story = Story(monkeypatch, ("interrupted", TAKEN))
    setattr(story, where, [EndedError("ended")] * 100)
    with pytest.raises(RunError, match="was interrupted 6 times"):
        story.tell(run)


def test_hosts_that_do_not_get_ready_are_not_rented_again_and_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(monkeypatch, ("interrupted", TAKEN))
    story.renting = [HostError("not ready")] * 100
    with pytest.raises(HostError, match="not ready"):
        story.tell(run)
    assert len(story.renting) == 98


def test_a_run_that_is_interrupted_again_and_again_is_given_up(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(monkeypatch, *[("lost", TAKEN)] * 6)  # type: ignore[arg-type]
    with pytest.raises(RunError, match="was interrupted 6 times"):
        story.tell(run)
    assert story.begun == 5


def test_a_run_that_gets_on_may_be_interrupted_as_often_as_it_likes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[tuple[Word, Standing]] = [
        ("interrupted", ended("Server.SpotInstanceTermination", at)) for at in range(500, 5000, 500)
    ]
    story = Story(monkeypatch, *ends, ("finished", TAKEN))
    assert story.tell(run) == "finished"
    assert story.begun == 9


def test_an_attempt_that_began_though_its_client_lost_the_line_is_followed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story(monkeypatch, ("interrupted", TAKEN), ("finished", TAKEN))
    story.beginning = [HostError("the line broke after the container was started")]
    attempts = [LAST, Attempt(2, "i-2", "lab", "a", "")]
    looks = [TAKEN, Standing(RunState("running", 2), attempts, machine=machine("i-2", "running"))]
    monkeypatch.setattr(through.standing, "look", lambda *_: looks.pop(0))
    assert story.tell(run) == "finished"
    assert (story.rented, story.begun, story.clock.time) == (1, 0, 0)


BROKE = HostError("the line broke after the container was started")
ON_2 = Standing(
    RunState("running", 1), [LAST, Attempt(2, "i-2", "lab", "a", "")], machine=machine("i-2", "running"), asked=True
)


@pytest.mark.parametrize("last", [AuthError("ExpiredToken"), CloudError("the line is down")])
def test_where_nobody_can_say_whether_an_attempt_began_its_machine_is_kept(
    run: Run, monkeypatch: pytest.MonkeyPatch, last: ProvisionError
) -> None:
    """UnheardError is what no machine is ended for."""
    story = Story(monkeypatch, ("interrupted", TAKEN))
    story.beginning = [BROKE]
    looks: list[Standing] = [TAKEN]

    def look(*_: object) -> Standing:
        if looks:
            return looks.pop()
        raise last

    monkeypatch.setattr(through.standing, "look", look)
    with pytest.raises(UnheardError) as unheard:
        story.tell(run)
    assert unheard.value.what == f"nobody can say whether digits-1 goes on: {last.what}"
    assert unheard.value.mend == "its machine is kept; follow it: provision logs digits-1 -f --region eu-west-1"


@pytest.mark.parametrize("then", [BusyError("its GPUs are busy"), CapacityError("later")])
def test_a_machine_whose_host_does_not_answer_is_kept_as_well(
    run: Run, monkeypatch: pytest.MonkeyPatch, then: ProvisionError
) -> None:
    story = Story(monkeypatch, ("interrupted", TAKEN))
    story.beginning = [*[then] * 100, BROKE]
    looks = [TAKEN]
    monkeypatch.setattr(through.standing, "look", lambda *_: looks.pop() if looks else ON_2)

    def silent(*_: object) -> bool:
        raise HostError("cannot reach lab")

    monkeypatch.setattr(through.start, "never_began", silent)
    with pytest.raises(UnheardError, match="nobody can say"):
        story.tell(run)


@pytest.mark.parametrize("error", [BROKE, CloudError("the line is down"), AuthError("ExpiredToken")])
def test_the_first_attempt_that_trains_all_the_same_has_begun(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: ProvisionError
) -> None:
    story = Story(monkeypatch)
    story.beginning = [error]
    monkeypatch.setattr(through.standing, "look", lambda *_: ON_2)
    monkeypatch.setattr(through.start, "never_began", lambda *_: False)
    through.begin(story.session, run, machine("i-2", "running"), clock=story.clock.clock)
    assert story.said == [f"{error.what}; the training has begun all the same"]


def test_the_first_attempt_that_got_no_container_has_not(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(monkeypatch)
    for error, looks in ((BROKE, TAKEN), (BROKE, ON_2), (DamagedError("the manifest"), ON_2), (BusyError("2"), ON_2)):
        story.beginning = [error]
        monkeypatch.setattr(through.standing, "look", lambda *_, looks=looks: looks)
        monkeypatch.setattr(through.start, "never_began", lambda *_: True)
        with pytest.raises(type(error)):
            through.begin(story.session, run, machine("i-2", "running"), clock=story.clock.clock)
    assert story.clock.time == 0.0


def test_a_first_attempt_of_which_nobody_can_say_keeps_its_machine(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(monkeypatch)
    story.beginning = [BROKE]
    answers = [HostError("cannot reach lab")] * 3

    def later(*_: object) -> bool:
        if answers:
            raise answers.pop()
        return False

    monkeypatch.setattr(through.standing, "look", lambda *_: ON_2)
    monkeypatch.setattr(through.start, "never_began", later)
    through.begin(story.session, run, machine("i-2", "running"), clock=story.clock.clock)
    answers, story.beginning = [HostError("cannot reach lab")] * 100, [BROKE]
    with pytest.raises(UnheardError, match="nobody can say"):
        through.begin(story.session, run, machine("i-2", "running"), clock=story.clock.clock)
    assert 900 <= story.clock.time < 1200


def test_where_an_attempt_got_no_container_the_error_is_as_it_was(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(monkeypatch, ("interrupted", TAKEN))
    looks = [TAKEN]
    monkeypatch.setattr(through.standing, "look", lambda *_: looks.pop() if looks else ON_2)
    monkeypatch.setattr(through.start, "never_began", lambda *_: True)
    story.beginning = [AuthError("ExpiredToken")] * 100
    with pytest.raises(AuthError):
        story.tell(run)


def test_what_was_left_to_aws_is_cleared_once_the_next_one_trains(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(monkeypatch, ("interrupted", TAKEN), ("finished", TAKEN))
    story.old = machine("i-1", "running")
    story.beginning = [CloudError("once")]
    assert story.tell(run) == "finished"
    assert story.cleared == ["i-1"]


def test_credentials_that_come_back_are_read_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(monkeypatch, ("interrupted", TAKEN), ("finished", TAKEN))
    story.renting = [AuthError("ExpiredToken")]
    assert story.tell(run) == "finished"
    assert story.read_again == [CLOUD]


def test_a_machine_that_hangs_is_replaced_though_aws_says_that_it_runs(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story(monkeypatch, ("lost", GOING), ("finished", GOING))
    hangs = property(lambda _: story.turns == 1, lambda *_: None)
    monkeypatch.setattr(through.Follower, "silent", hangs, raising=False)
    stands: list[Standing] = []

    def again(_: object, __: object, now: Standing, ___: object) -> Another:
        stands.append(now)
        return story._machine()

    monkeypatch.setattr(through.recover, "machine_again", again)
    assert story.tell(run) == "finished"
    assert [now.silent for now in stands] == [True]
