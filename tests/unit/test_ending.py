"""The end of a machine: in the order of safety, each step by itself, and proven."""

import json
import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from infra.aws.cleanup import Removal
from infra.errors import AuthError, LeftoverError, NotFoundError
from provision.machines import down as ending
from provision.machines import journal, whose
from tests.unit.fake_aws import CLOUD, LAUNCHED, FakeAws, Refused, Region, machine, role, tags

DEADLINE = datetime.now(timezone.utc) + timedelta(hours=2)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "LATE_S", 0.5)


def nothing(*_: Any, **__: Any) -> None:
    """Takes a step's place, and says nothing."""


def down(aws: FakeAws, patience: float = 5.0) -> ending.Ended:
    return ending.down(aws.cloud, "lab", nothing, patience)


def test_nothing_is_left_but_what_is_kept() -> None:
    aws = Region()
    done = down(aws)
    assert aws.left() == {"vol-2"}
    assert done.ended["instances"] == ["i-1"]
    assert done.ended["volumes"] == ["vol-1"]
    assert done.ended["schedules"] == [Region.LAUNCH]
    assert [one.id for one in done.kept] == ["vol-2"]


def test_the_words_are_the_cost_what_is_kept_and_the_proof() -> None:
    cost, kept, proof = down(Region()).words()
    assert cost.startswith("lab cost $")
    assert "p3.8xlarge spot" in cost
    assert kept == "kept: volume data (vol-2, 200 GB, $16.00 a month)"
    assert proof == "0 billable resources left besides what is kept"


def test_json_says_the_same() -> None:
    row = down(Region()).as_json()
    assert row["billable"] == 0
    assert row["kept"] == [{"kind": "volumes", "id": "vol-2", "name": "data", "gb": 200, "dollars_a_month": 16.0}]
    assert row["cost"][0]["name"] == "lab"


def test_instances_are_ended_before_all_else_and_the_schedule_goes_when_they_have() -> None:
    aws = Region()
    down(aws)
    changes = [name for name in aws.names() if not name.startswith(("Describe", "List"))]
    assert changes[0] == "TerminateInstances"
    first_schedule = aws.names().index("DeleteSchedule")
    assert "DescribeInstances" in aws.names()[aws.names().index("TerminateInstances") : first_schedule]


def test_while_an_instance_lives_its_schedule_and_role_stay() -> None:
    aws = Region()
    aws.answers["TerminateInstances"] = Refused("OperationNotPermitted")
    with pytest.raises(LeftoverError) as refused:
        down(aws, 1.0)
    assert "instances: i-1" in refused.value.what
    assert "OperationNotPermitted" in refused.value.what
    assert "DeleteSchedule" not in aws.names()
    assert "DeleteRole" not in aws.names()
    assert "RevokeSecurityGroupIngress" in aws.names()


@pytest.mark.parametrize(
    ("operation", "left"),
    [
        ("DeleteVolume", "vol-1"),
        ("DeleteSecurityGroup", "sg-1"),
        ("DeleteLaunchTemplate", "lt-1"),
        ("CancelSpotInstanceRequests", "sir-1"),
        ("DeleteSchedule", Region.LAUNCH),
        ("DeleteInstanceProfile", Region.LAUNCH),
    ],
)
def test_a_step_that_fails_keeps_no_other_from_being_tried(operation: str, left: str) -> None:
    aws = Region()
    aws.answers[operation] = Refused("UnauthorizedOperation")
    with pytest.raises(LeftoverError) as refused:
        down(aws)
    assert "not everything is gone" in refused.value.what
    assert "not allowed" in refused.value.what
    assert aws.left() == {"vol-2", left}


@pytest.mark.parametrize(("step", "left"), [("terminate", "i-1"), ("delete", "sg-1")])
def test_a_step_that_is_taken_out_is_noticed(monkeypatch: pytest.MonkeyPatch, step: str, left: str) -> None:
    aws = Region()
    monkeypatch.setattr(Removal, step, nothing)
    with pytest.raises(LeftoverError):
        down(aws, 0.5)
    assert left in aws.left()


def test_a_failure_that_passes_is_mended_by_the_next_round() -> None:
    aws = Region()
    works = aws.answers["DeleteLaunchTemplate"]
    failures = [Refused("InternalError")]

    def once(given: dict[str, Any]) -> Any:
        if failures:
            raise failures.pop()
        return works(given)

    aws.answers["DeleteLaunchTemplate"] = once
    down(aws)
    assert aws.left() == {"vol-2"}


def test_what_cannot_be_looked_at_is_not_proven_gone() -> None:
    aws = Region()
    aws.answers["DescribeAddresses"] = Refused("UnauthorizedOperation")
    with pytest.raises(AuthError) as refused:
        down(aws)
    assert "list elastic IPs" in refused.value.what
    assert aws.left() == {"vol-2"}  # all else was ended


def test_a_price_that_is_not_known_keeps_nothing_alive() -> None:
    aws = Region()
    aws.answers["DescribeSpotPriceHistory"] = Refused("UnauthorizedOperation")
    assert "an unknown amount" in down(aws).words()[0]
    assert aws.left() == {"vol-2"}


def test_nothing_of_that_name_is_an_error_that_names_the_others() -> None:
    aws = FakeAws()
    aws.answers["DescribeInstances"] = lambda given: {
        "Reservations": []
        if given["Filters"][0]["Name"] == "tag:provision:name"
        else [{"Instances": [machine("i-1", tags(name="other"))]}]
    }
    with pytest.raises(NotFoundError) as refused:
        down(aws)
    assert "other" in refused.value.mend


def test_kept_volumes_go_when_told_so() -> None:
    aws = Region()
    done = ending.down(aws.cloud, "lab", lambda _: None, 5.0, with_volumes=True)
    assert done.kept == ()
    assert aws.left() == set()


def test_a_kept_volume_alone_is_not_a_machine() -> None:
    aws = Region()
    down(aws)
    with pytest.raises(NotFoundError):
        down(aws)
    assert aws.left() == {"vol-2"}


def note(age: float = 0.0) -> Path:
    place = journal.folder(CLOUD, "lab")
    place.mkdir(parents=True)
    for name in ("user-data", "known_hosts", "asked"):
        (place / name).write_text("{}")
    os.utime(place / "asked", (time.time() - age,) * 2)
    asked = {"name": "lab", "token": "0123456789abcdef", "tags": {"provision:deadline": DEADLINE.isoformat()}}
    (place / "intent.json").write_text(json.dumps({"time": time.time() - age, "request": asked}))
    return place


def later(show: Callable[[], Any], looks: int) -> Callable[[dict[str, Any]], Any]:
    """An answer that shows nothing for the first looks."""
    left = [None] * looks

    def answer(_: dict[str, Any]) -> Any:
        return left.pop() if left else show()

    return answer


def test_a_launch_that_shows_up_late_is_ended_too() -> None:
    aws = Region()
    for rows in aws.things.values():
        rows.clear()
    aws.answers["DescribeInstances"] = later(lambda: {"Reservations": [{"Instances": list(aws.machines.values())}]}, 2)
    place = note()
    done = down(aws)
    assert done.ended["instances"] == ["i-1"]
    assert aws.left() == set()
    assert not place.exists()


def test_an_old_note_is_not_waited_for() -> None:
    note(age=3600)
    aws = FakeAws()
    said: list[str] = []
    done = ending.down(aws.cloud, "lab", said.append, 5.0)
    assert not [line for line in said if "looking for it" in line]
    assert done.unseen == ("provision-lab-01234567",)  # and remembered all the same


def test_other_files_among_the_notes_stay() -> None:
    place = note(age=3600)
    (place / "mine.txt").write_text("x")
    down(FakeAws())
    assert [path.name for path in place.iterdir()] == ["mine.txt"]


def test_the_one_that_replaced_it_stays_whole() -> None:
    aws = Region()
    new = "provision-lab-89abcdef"
    mine = tags(name="lab", resource=new)
    aws.machines["i-2"] = machine("i-2", mine)
    aws.things["Roles"][new] = role(new)
    aws.things["SecurityGroups"]["sg-2"] = {"GroupId": "sg-2", "GroupName": new, "Tags": mine}
    aws.answers["DeleteSecurityGroup"] = lambda given: aws.things["SecurityGroups"].pop(given["GroupId"]) and None
    aws.answers["DeleteVolume"] = lambda given: aws.things["Volumes"].pop(given["VolumeId"]) and None
    ending.end_old(aws.cloud, "lab", "i-1", nothing)
    assert aws.left() == {"i-2", "sg-2", new, "vol-2"}


def test_of_an_old_machine_that_has_ended_nothing_is_said() -> None:
    said: list[str] = []
    aws, mine = Region(), tags(name="lab", owner="alice@thinkpad 0a1b2c3d")
    for state, words in (("running", 1), ("terminated", 0)):
        aws.machines["i-1"] = machine("i-1", mine, State={"Name": state})
        ending.end_old(aws.cloud, "lab", "i-1", said.append)
        assert len(said) == words
        said.clear()
    aws.machines.clear()
    for things in aws.things.values():
        things.clear()
    ending.end_old(aws.cloud, "lab", "i-1", said.append)
    assert said == []


class Beginning(Region):
    """AWS has forgotten i-1; of a launch under way, of that name and owner, there is no machine yet."""

    NEW = "provision-lab-89abcdef"

    def __init__(self, owner: str) -> None:
        super().__init__()
        self.machines.clear()
        marks = tags(name="lab", resource=self.NEW, owner=owner)
        self.things["SecurityGroups"]["sg-2"] = {"GroupId": "sg-2", "GroupName": self.NEW, "Tags": marks}
        template = {"LaunchTemplateId": "lt-2", "LaunchTemplateName": self.NEW, "Tags": marks, "CreateTime": LAUNCHED}
        self.things["LaunchTemplates"]["lt-2"] = template
        self.things["Roles"][self.NEW] = role(self.NEW)


def test_of_an_old_machine_nothing_but_its_launch_is_ended() -> None:
    for owner in ("alice@thinkpad 0a1b2c3d", whose.me()):
        aws = Beginning(owner)
        ending.end_old(aws.cloud, "lab", "i-1", nothing, Region.LAUNCH)
        assert aws.left() == {"sg-2", "lt-2", Beginning.NEW, "vol-2"}


def test_of_an_old_machine_whose_launch_nobody_knows_only_what_is_ours_is_ended() -> None:
    aws = Beginning("alice@thinkpad 0a1b2c3d")
    for row in aws.things["SecurityGroups"]["sg-1"], aws.things["Volumes"]["vol-1"]:
        row["Tags"] = [*row["Tags"], *tags(owner=whose.me())]
    ending.end_old(aws.cloud, "lab", "i-1", nothing)
    assert aws.left() == {"sg-2", "lt-2", Beginning.NEW, "vol-2"}


def test_where_not_all_is_seen_nothing_of_an_unknown_launch_is_ended() -> None:
    """Its machine may be what AWS does not show."""
    aws = Beginning(whose.me())
    aws.answers["DescribeVolumes"] = Refused("UnauthorizedOperation")
    before = aws.left()
    with pytest.raises(AuthError):
        ending.end_old(aws.cloud, "lab", "i-1", nothing, patience=1.0)
    assert aws.left() == before


def test_what_would_be_ended_is_listed_by_kind() -> None:
    found = ending.everything(Region().cloud, "lab")
    assert found["instances"] == ["i-1"]
    assert found["volumes"] == ["vol-1"]
    assert found["key pairs"] == []
