"""A run is seen through interruptions without a command line: another machine is asked for as the first one was."""

import contextlib
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from infra.aws.s3 import S3
from infra.aws.session import Cloud
from infra.aws.tags import OWNER
from infra.aws.types import DataVolume, Instance, Wish
from infra.errors import CloudError, RunError
from provision.clouds import Session
from provision.offers.requirements import Requirements
from provision.recipes.loading import load
from provision.recipes.rendering import render
from provision.runs.manifest import Attempt, Manifest, RunSettings, RunState, Source, Terms
from provision.runs.standing import Standing
from provision.runs.store import Run
from provision.settings import Settings
from provision.training import recover
from provision.training.recover import Order
from tests.unit.test_fetch import Bucket
from tests.unit.virtual import Virtual

KEPT = RunSettings(
    disk_gb=300, max_hours=6.0, max_price=None, budget=12.0, via="ssm", idle_minutes=5.0, fallback="on-demand",
    volumes=(DataVolume("data", 200, True), DataVolume("scratch", 50, False)),
)  # fmt: skip
CLOUD = Cloud("aws", "eu-west-1", usual=("aws", "us-east-1"))
LAST = Attempt(1, "i-1", "lab", "us-east-1a", "2026-01-01")


@pytest.fixture
def session() -> Session:
    cloud = CLOUD
    return Session(cloud, Settings(region="eu-west-1", via="ssh", max_price=9.0, more_regions=("us-east-1",)))


@pytest.fixture
def run() -> Run:
    return made()


def made() -> Run:
    found, recipe = Run(cast(S3, Bucket()), "digits-1"), load("digits")
    found.write_manifest(
        Manifest(
            "digits-1", "2026-01-01", recipe, render(recipe), "caffe:cuda11.8-cudnn8.7-debian12@V100", "caffe:1",
            "sha256:1", Source(), Source(), 4, "lab", "p3.8xlarge", "spot", "eu-west-1", KEPT,
        )
    )  # fmt: skip
    return found


def bills(monkeypatch: pytest.MonkeyPatch, left: float | None, budget: float | None = 12.0, **more: Any) -> None:
    given = {"total": 1.0, "ended": None, "hourly": 0.0, **more}
    bill = SimpleNamespace(id="i-1", left=left, budget=budget, **given)
    monkeypatch.setattr(recover.cost, "bills", lambda *_: [bill])


def test_another_machine_is_asked_for_as_the_first_one_was(
    session: Session, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    bills(monkeypatch, 7.5)
    wish = recover.requirements(run, "lab", "us-east-1a")
    assert (wish.name, wish.type, wish.market, wish.avoid) == ("lab", "p3.8xlarge", "spot", "us-east-1a")
    assert wish.volumes == KEPT.volumes
    assert wish.image == "caffe:cuda11.8-cudnn8.7-debian12@V100"
    again = recover.settings_again(session, run, LAST)
    assert (again.via, again.idle_minutes, again.fallback) == ("ssm", 5.0, "on-demand")
    assert (again.disk_gb, again.max_hours, again.max_price) == (300, 6.0, None)
    assert (again.budget, again.region, again.more_regions) == (7.5, "eu-west-1", ())


def test_what_an_earlier_version_did_not_write_down_is_as_the_settings_say(
    session: Session, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    bills(monkeypatch, None, None)
    old = msgspec.structs.replace(KEPT, via=None, idle_minutes=None, fallback=None, budget=None)
    run.manifest = Manifest(**{**vars(run.manifest), "settings": old})
    again = recover.settings_again(session, run, LAST)
    assert (again.via, again.idle_minutes, again.fallback, again.budget) == ("ssh", 30.0, "none", None)


@pytest.mark.parametrize("left", [0.0, 0.00001, -3.0])
def test_a_budget_that_is_spent_is_not_taken_for_none(
    session: Session, run: Run, monkeypatch: pytest.MonkeyPatch, left: float
) -> None:
    bills(monkeypatch, left)
    with pytest.raises(RunError, match=r"the budget of lab, \$12, is spent") as refused:
        recover.settings_again(session, run, LAST)
    assert refused.value.mend == "give it another: provision resume digits-1 --budget USD --region eu-west-1"


def ago(hours: float) -> str:
    return (datetime.now(timezone.utc) - timedelta(hours=hours)).isoformat()


def forgotten(run: Run, monkeypatch: pytest.MonkeyPatch, terms: Terms | None) -> Attempt:
    """The attempt of a machine that AWS does not know any more. Its role said early that AWS takes it."""
    monkeypatch.setattr(recover.cost, "bills", lambda *_: [])
    state = {"state": "interrupted", "attempt": 1, "instance": "i-1", "reason": "spot interruption", "seen": ago(3)}
    run.store.write_json(run.key("state.json"), state)
    return replace(LAST, terms=terms)


def test_a_machine_that_aws_forgot_has_lived_until_now_whatever_it_said(
    session: Session, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = forgotten(run, monkeypatch, Terms(ago(3), 12.0, 2.0))
    assert recover.settings_again(session, run, last).budget == pytest.approx(12 - 2 * 3, abs=0.1)
    last = forgotten(run, monkeypatch, Terms(ago(3), None, 2.0))
    assert recover.settings_again(session, run, last).budget == session.settings.budget


@pytest.mark.parametrize(
    "terms",
    [
        Terms(ago(3), 12.0, None),  # no price is known
        Terms(ago(7), 12.0, 2.0),  # it may have lived until its budget was spent
        None,  # of an earlier version
    ],
)
def test_an_unknown_price_never_leaves_more_of_a_budget(
    session: Session, run: Run, monkeypatch: pytest.MonkeyPatch, terms: Terms | None
) -> None:
    last = forgotten(run, monkeypatch, terms)
    with pytest.raises(RunError, match="may be spent: AWS does not tell what it has cost"):
        recover.settings_again(session, run, last)


@pytest.mark.parametrize(("hourly", "most", "off"), [(24.0, 12.0, 1.0), (None, 48.0, 2.0), (None, None, 0.0)])
def test_a_machine_that_is_left_to_aws_costs_until_that_has_ended_it(
    session: Session, run: Run, monkeypatch: pytest.MonkeyPatch, hourly: float | None, most: float | None, off: float
) -> None:
    """AWS takes two and a half minutes, and the next machine is paid by the same budget meanwhile."""
    bills(monkeypatch, 7.5, hourly=hourly)
    last = replace(LAST, terms=Terms(ago(0.5), 12.0, most))
    assert recover.settings_again(session, run, last).budget == 7.5 - off
    bills(monkeypatch, 7.5, ended=datetime.now(timezone.utc))
    assert recover.settings_again(session, run, last).budget == 7.5


def test_a_bill_without_a_price_leaves_nothing_that_is_not_known(
    session: Session, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    bills(monkeypatch, None)
    with pytest.raises(RunError, match=r"the budget of lab, \$12, "):
        recover.settings_again(session, run, LAST)


def test_a_run_that_never_had_a_machine_has_its_whole_budget(session: Session, run: Run) -> None:
    assert recover.settings_again(session, run, None).budget == 12.0


def test_what_the_first_machine_was_wished_by_is_asked_for_again(session: Session, run: Run) -> None:
    def wished(wish: Wish) -> Requirements:
        kept = msgspec.structs.replace(KEPT, wish=wish, keep_on_error_minutes=45.0)
        run.manifest = Manifest(**{**vars(run.manifest), "settings": kept})
        return recover.requirements(run, "lab", "", own=True)

    stand_in = wished(Wish("p3.8xlarge", or_equivalent=True))
    assert (stand_in.type, stand_in.or_equivalent, stand_in.own_run) == ("p3.8xlarge", True, True)
    by_need = wished(Wish(gpus=4, gpu_memory_gb=16.0))
    assert (by_need.type, by_need.gpus, by_need.gpu_memory_gb) == ("", 4, 16.0)
    assert by_need.kept == Wish(gpus=4, gpu_memory_gb=16.0)


def test_what_is_asked_for_now_goes_before(session: Session, run: Run) -> None:
    """And no budget is looked for that is not needed: none is left of this one."""
    given = {"budget": 20.0, "max_price": 9.5, "idle_minutes": 0.0}
    order = Order(given, {"type": "g5.12xlarge", "market": "on-demand"})
    again = recover.settings_again(session, run, LAST, order)
    assert (again.budget, again.max_price, again.idle_minutes, again.via) == (20.0, 9.5, 0.0, "ssm")
    wish = recover.requirements(run, "lab", "", order)
    assert (wish.type, wish.market, wish.volumes) == ("g5.12xlarge", "on-demand", KEPT.volumes)
    memory = recover.requirements(run, "lab", "", Order(wish={"gpu_memory_gb": 16.0}))
    assert (memory.type, memory.gpus, memory.gpu_memory_gb) == ("", 4, 16.0)


class World:
    """What machines of the name there are, and what is done to them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *machines: Instance) -> None:
        self.machines = {machine.id: machine for machine in machines}
        self.done: list[str] = []
        self.wish: Requirements | None = None
        world = self

        class Ec2:
            def __init__(self, *_: object) -> None: ...

            def by_id(self, id: str) -> Instance | None:
                return world.machines.get(id)

        monkeypatch.setattr(recover, "Ec2", Ec2)
        monkeypatch.setattr(recover.find, "locked", lambda *_: contextlib.nullcontext())
        monkeypatch.setattr(recover.find, "namesake", lambda *_: self._living())
        monkeypatch.setattr(recover.up, "rejoin", lambda _, there, say: self._do("rejoin", there))
        monkeypatch.setattr(recover.down, "end_old", lambda cloud, name, id, say, launch: self.end(id))
        monkeypatch.setattr(recover.rent, "launch", lambda session, wish: self._launch(wish))
        monkeypatch.setattr(recover, "_others_train", lambda *_: self.done.append("others?") or False)
        monkeypatch.setattr(recover, "_budget_left", lambda *_: None)

    def _living(self) -> Instance | None:
        alive = [machine for machine in self.machines.values() if machine.state in ("pending", "running")]
        return alive[-1] if alive else None

    def _do(self, what: str, machine: Instance) -> Instance:
        self.done.append(f"{what} {machine.id}")
        return machine

    def end(self, id: str) -> None:
        self.done.append(f"end {id}")
        self.machines.pop(id, None)

    def _launch(self, wish: Requirements) -> tuple[Cloud, Instance]:
        self.wish = wish
        self.machines["i-2"] = machine("i-2")
        return CLOUD, self._do("launch", self.machines["i-2"])


def machine(id: str = "i-1", age_h: float = 0.5, market: str = "spot", **tags: str) -> Instance:
    at = datetime.now(timezone.utc) - timedelta(hours=age_h)
    named = {f"provision:{key.replace('_', '-')}": value for key, value in tags.items()}
    return Instance(id, "lab", "running", "p3.8xlarge", "us-east-1a", market, None, at, named)


def noticed(there: Instance | None) -> Standing:
    return Standing(RunState("interrupted", 1, reason="spot interruption"), [LAST], [], there, asked=True)


def plain_disks(run: Run) -> None:
    kept = msgspec.structs.replace(KEPT, volumes=())
    run.manifest = Manifest(**{**vars(run.manifest), "settings": kept})


def test_a_machine_that_aws_takes_in_its_first_hour_is_left_to_aws(
    session: Session, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS charges nothing for it then; the next machine is rented meanwhile."""
    plain_disks(run)
    world = World(monkeypatch, machine())
    another = recover.machine_again(session, run, noticed(machine()))
    assert world.done == ["launch i-2"]
    assert (another.instance.id, another.rented, another.old and another.old.id) == ("i-2", True, "i-1")


@pytest.mark.parametrize("age_h", [0.5, 1.1])
def test_somebody_elses_machine_is_waited_for_and_not_ended(
    session: Session, run: Run, monkeypatch: pytest.MonkeyPatch, age_h: float
) -> None:
    """Who resumes another's run has not launched its machine; their own `train` may be about to go on, too."""
    plain_disks(run)
    old = machine(age_h=age_h)
    theirs = replace(old, tags={**old.tags, OWNER: "alice@desk 00000000"})
    world = World(monkeypatch, theirs)
    monkeypatch.setattr(recover, "wait_ended", lambda *_: world.done.append("aws ends i-1"))
    assert recover.machine_again(session, run, noticed(theirs)).old is None
    assert world.done == ["aws ends i-1", "launch i-2"]


@pytest.mark.parametrize("old", [machine(age_h=1.1), machine(market="on-demand")])
def test_one_that_is_billed_anyway_is_ended_at_once(
    session: Session, run: Run, monkeypatch: pytest.MonkeyPatch, old: Instance
) -> None:
    plain_disks(run)
    world = World(monkeypatch, old)
    assert recover.machine_again(session, run, noticed(old)).old is None
    assert world.done == ["others?", "end i-1", "launch i-2"]


def test_a_disk_that_is_kept_is_free_before_it_is_asked_for(
    session: Session, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(monkeypatch, machine())

    def takes(session: Session, old: Instance) -> None:
        world.done.append("aws ends i-1")
        del world.machines["i-1"]

    monkeypatch.setattr(recover, "wait_ended", takes)
    assert recover.machine_again(session, run, noticed(machine())).old is None
    assert world.done == ["aws ends i-1", "end i-1", "launch i-2"]


def test_what_belongs_to_an_old_machine_is_ended_after_aws_has_ended_it(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, clock = World(monkeypatch, machine()), Virtual()
    clock.at = {60.0: lambda: world.machines.pop("i-1")}
    recover.clear_old(session, machine(), clock.clock)
    assert world.done == ["end i-1"]
    assert 60.0 <= clock.time < 70.0


def test_an_old_machine_that_aws_does_not_end_after_all_is_ended(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, clock = World(monkeypatch, machine()), Virtual()
    recover.clear_old(session, machine(), clock.clock)
    assert world.done == ["end i-1"]
    assert clock.time >= 150.0


def test_a_machine_that_hangs_is_ended_without_a_question(
    session: Session, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = machine(own_run="yes")
    world = World(monkeypatch, old)
    hangs = Standing(RunState("running", 1, seen="2026-01-01T00:00:00Z"), [LAST], [], old, asked=True, silent=True)
    assert recover.machine_again(session, run, hangs).rented
    assert world.done == ["end i-1", "launch i-2"]
    assert world.wish is not None and world.wish.own_run  # as the one before it


def test_a_machine_that_was_said_to_be_gone_and_is_there_is_not_ended(
    session: Session, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(monkeypatch, machine())
    with pytest.raises(CloudError, match="does not say the same"):
        recover.machine_again(session, run, Standing(RunState("running", 1), [LAST], asked=True))
    assert world.done == []


def test_the_machine_that_took_the_name_is_neither_ended_nor_rented(
    session: Session, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(monkeypatch, machine("i-9"))
    another = recover.machine_again(session, run, noticed(None), Order(own_run=True))
    assert (another.instance.id, another.rented) == ("i-9", False)
    assert world.done == ["rejoin i-9"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RunError("spent")])
def test_nothing_of_a_machine_that_was_left_to_aws_stays_where_the_next_one_does_not_come(
    session: Session, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    world = World(monkeypatch, machine())
    with pytest.raises(type(error)), recover.nothing_left(session, noticed(machine())):
        raise error
    assert world.done == ["end i-1"]
    with recover.nothing_left(session, noticed(machine())):
        pass
    assert world.done == ["end i-1"]
