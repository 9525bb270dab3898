"""Several people in one account: whose a machine is, and that nobody ends what somebody else launched unasked."""

import dataclasses
import getpass
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from infra import laptop
from infra.aws.launch import Launcher
from infra.aws.resources import Holding, Holdings
from infra.aws.tags import OWNER, TagRecord
from infra.errors import NotFoundError, UsageError
from provision import clouds
from provision.account import audit
from provision.cli import cli
from provision.machines import down as ending
from provision.machines import find, whose
from provision.settings import state_home
from tests.unit.fake_aws import CLOUD, LAUNCHED, FakeAws, Region, machine, role, tags

ALICE = "alice@thinkpad 0a1b2c3d"
HERS = "provision-lab-89abcdef"


class Shared(Region):
    """A region with this laptop's machine `lab`, and one of that name that Alice launched."""

    def __init__(self, owner: str = ALICE) -> None:
        super().__init__()
        for row in self._tagged():
            row["Tags"] = [*row["Tags"], *tags(owner=whose.me())]
        marks = tags(name="lab", resource=HERS, owner=owner, deadline="2026-11-21T12:00:00+00:00")
        self.machines["i-2"] = machine("i-2", marks)
        self.things["SecurityGroups"]["sg-2"] = {"GroupId": "sg-2", "GroupName": HERS, "Tags": marks}
        for kind in ("Roles", "InstanceProfiles"):
            self.things[kind][HERS] = role(HERS)
        self.things["Schedules"][HERS] = {"Name": HERS, "CreationDate": LAUNCHED}
        self.answers["DeleteSecurityGroup"] = lambda given: self.things["SecurityGroups"].pop(given["GroupId"]) and None
        self.answers["DeleteVolume"] = lambda given: self.things["Volumes"].pop(given["VolumeId"]) and None

    def _tagged(self) -> list[dict[str, Any]]:
        things = [row for rows in self.things.values() for row in rows.values()]
        return [row for row in [*self.machines.values(), *things] if "Tags" in row]


HER_THINGS = {"i-2", "sg-2", HERS}


def silent(_: str) -> None:
    """Says nothing."""


# the owner


def test_the_owner_is_the_user_the_host_and_an_id_that_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "Zoë <x>")
    owner = laptop.owner(tmp_path)
    assert re.fullmatch(r"Zo---x-@[A-Za-z0-9._-]+ [0-9a-f]{8}", owner)
    assert laptop.owner(tmp_path) == owner
    assert laptop.person_of(owner) == owner[:-9]
    assert laptop.person_of("eve\x1b[2J\n@x 0a1b2c3d") == "eve[2J@x"
    (tmp_path / "laptop").write_bytes(b"\xff")
    assert laptop.id_of(laptop.owner(tmp_path)) not in ("", laptop.id_of(owner))


def test_a_user_without_a_name_has_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert laptop.owner(tmp_path)[0].isdigit()


def test_another_host_name_is_the_same_laptop_and_another_id_is_another() -> None:
    mine = laptop.id_of(whose.me())
    assert not whose.others(f"me@moved {mine}")
    assert whose.others(ALICE)
    assert whose.others("a tag by hand")
    assert not whose.others("")  # an older version's


def test_the_tag_is_on_the_machine_and_on_what_belongs_to_it() -> None:
    record = TagRecord(name="lab", launch=HERS, owner=ALICE)
    assert record.to_tags()[OWNER] == record.marks()[OWNER] == ALICE
    assert TagRecord.from_tags(record.to_tags()).owner == ALICE
    assert OWNER not in TagRecord(name="lab", launch=HERS).marks()


def test_a_name_of_ones_own_is_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "bob")
    assert whose.free_name("lab") == "lab-bob"
    assert len(whose.free_name("x" * 40)) <= 40


# who may get in


def rules(*known: tuple[str, str]) -> dict[str, Any]:
    ranges = [{"CidrIp": f"{address}/32", "Description": said} for address, said in known]
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": ranges}
    other = {"IpProtocol": "tcp", "FromPort": 8888, "ToPort": 8888, "IpRanges": ranges}
    return {"SecurityGroups": [{"GroupId": "sg-1", "GroupName": Region.LAUNCH, "IpPermissions": [rule, other]}]}


def test_a_laptop_that_moved_gets_in_from_its_new_address_alone() -> None:
    mine = laptop.id_of(whose.me())
    known = (
        ("198.51.100.1", f"provision up me@home {mine}"),
        ("198.51.100.2", f"provision up {ALICE}"),
        ("198.51.100.3", "provision up"),  # of an older version
        ("198.51.100.4", f"my own rule {mine}"),
        ("203.0.113.7", f"provision up me@cafe {mine}"),
    )
    aws = FakeAws(DescribeSecurityGroups=rules(*known))
    Launcher(aws.cloud).let_in(Region.LAUNCH, "203.0.113.7", whose.me())
    (let_in,) = aws.of("AuthorizeSecurityGroupIngress")
    assert let_in["IpPermissions"][0]["IpRanges"][0]["Description"].endswith(mine)
    (shut,) = aws.of("RevokeSecurityGroupIngress")
    assert [rule["FromPort"] for rule in shut["IpPermissions"]] == [22]
    assert [row["CidrIp"] for rule in shut["IpPermissions"] for row in rule["IpRanges"]] == ["198.51.100.1/32"]
    assert aws.names().index("AuthorizeSecurityGroupIngress") < aws.names().index("RevokeSecurityGroupIngress")


def test_where_it_has_not_moved_nothing_is_taken_away() -> None:
    aws = FakeAws(DescribeSecurityGroups=rules(("203.0.113.7", f"provision up {whose.me()}")))
    Launcher(aws.cloud).let_in(Region.LAUNCH, "203.0.113.7", whose.me())
    assert aws.of("RevokeSecurityGroupIngress") == []


# the end


def test_a_launch_is_ended_and_another_of_that_name_stays_whole() -> None:
    aws = Shared()
    done = ending.down(aws.cloud, "lab", silent, 5.0, launch=Region.LAUNCH)
    assert done.ended["instances"] == ["i-1"]
    assert aws.left() == {"vol-2", *HER_THINGS}


def test_what_is_kept_under_a_name_is_told_at_the_end_of_a_launch() -> None:
    """A machine image that was baked of it has no launch; another's kept disk is not this user's matter."""
    mine, theirs = (Holding(kind, kind, "lab", tags={OWNER: owner}, kept=True) for kind, owner in (
        ("machine images", whose.me()), ("volumes", "bob@desk 00000000"),
    ))  # fmt: skip
    machine = Holding("instances", "i-1", "lab", "provision-lab-1")
    other = Holding("instances", "i-2", "lab", "provision-lab-2")
    assert whose.Choice("provision-lab-1").of([mine, theirs, machine, other]) == [mine, machine]


def test_an_end_by_name_leaves_what_somebody_else_launched() -> None:
    aws = Shared()
    ending.down(aws.cloud, "lab", silent, 5.0)
    assert aws.left() == {"vol-2", *HER_THINGS}
    with pytest.raises(UsageError) as refused:
        ending.down(aws.cloud, "lab", silent, 5.0)
    assert "of alice@thinkpad" in refused.value.what
    assert refused.value.mend.endswith("provision down lab --force --cloud fake")
    ending.down(aws.cloud, "lab", silent, 5.0, theirs={HERS})
    assert aws.left() == {"vol-2"}


def test_nothing_of_a_launch_is_no_leave_to_end_another_of_that_name() -> None:
    aws = Shared()
    with pytest.raises(NotFoundError):
        ending.down(aws.cloud, "lab", silent, 5.0, launch="provision-lab-00000000")
    assert aws.left() >= {"i-1", "i-2"}


def test_a_machine_that_fell_back_on_demand_owns_its_second_template() -> None:
    aws = Region()
    row = {**aws.things["LaunchTemplates"]["lt-1"], "LaunchTemplateId": "lt-2"}
    aws.things["LaunchTemplates"]["lt-2"] = {**row, "LaunchTemplateName": f"{Region.LAUNCH}-on-demand"}
    found, _ = Holdings(aws.cloud).look()
    second = next(thing for thing in found if thing.id == "lt-2")
    assert (second.launch, second.label) == (Region.LAUNCH, f"{Region.LAUNCH}-on-demand")


# what a user sees


@pytest.fixture
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clouds, "resolve", lambda _: CLOUD)
    monkeypatch.setattr(ending, "_PATIENCE_S", 5.0)


def said(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words))


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize("words", [("down", "lab"), ("down", "--all"), ("down", "lab", "--volumes", "--json")])
def test_without_a_terminal_it_is_refused_and_nothing_is_ended(words: tuple[str, ...]) -> None:
    aws = Shared()
    done = said(*words)
    assert isinstance(done.exception, UsageError)
    assert "alice@thinkpad" in done.exception.what
    command = "down " + ("lab" if "lab" in words else "--all") + " --volumes" * ("--volumes" in words)
    assert f"provision {command} --force --cloud fake" in done.exception.mend
    assert f"provision {command} --mine --cloud fake" in done.exception.mend
    assert "TerminateInstances" not in aws.names()
    assert "lab (i-2, p3.8xlarge in us-east-1a) of alice@thinkpad" in done.stderr


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(("flag", "left"), [("--mine", {"vol-2", *HER_THINGS}), ("--force", {"vol-2"})])
def test_the_flags_answer_the_question(flag: str, left: set[str]) -> None:
    aws = Shared()
    assert said("down", "lab", flag).exit_code == 0
    assert aws.left() == left


@pytest.mark.usefixtures("_here")
def test_both_flags_are_a_contradiction() -> None:
    Shared()
    assert isinstance(said("down", "lab", "--mine", "--force").exception, UsageError)


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(("answer", "left"), [("y\n", {"vol-2"}), ("n\n", {"i-1", "i-2"})])
def test_on_a_terminal_it_is_asked(monkeypatch: pytest.MonkeyPatch, answer: str, left: set[str]) -> None:
    monkeypatch.setattr("provision.commands.down._asks", lambda: True)
    aws = Shared()
    done = CliRunner().invoke(cli, ["down", "lab"], input=answer)
    assert "End them?" in done.stderr
    assert aws.left() >= left
    assert ("i-2" in aws.left()) == ("i-2" in left)


@pytest.mark.usefixtures("_here")
def test_ones_own_machine_goes_without_a_question_and_two_of_a_name_do_not() -> None:
    aws = Shared(owner=whose.me())
    refused = said("down", "lab")
    assert isinstance(refused.exception, UsageError)
    assert "2 machines have the name lab" in refused.exception.what
    del aws.machines["i-2"]
    assert said("down", "lab").exit_code == 0
    assert "i-1" not in aws.left()


@pytest.mark.usefixtures("_here")
def test_a_dry_run_says_about_what_it_would_be_asked() -> None:
    aws = Shared()
    done = said("down", "lab", "--dry-run", "--json")
    assert "it would be asked first about lab (i-2, p3.8xlarge in us-east-1a) of alice@thinkpad" in done.stderr
    assert json.loads(done.stdout)["instances"] == ["i-1", "i-2"]
    assert "TerminateInstances" not in aws.names()


@pytest.mark.usefixtures("_here")
def test_ls_has_a_column_for_owners_where_there_are_several() -> None:
    aws = Shared()
    rows = json.loads(said("ls", "--json").stdout)
    assert [row["owner"] for row in rows] == [whose.me(), ALICE]
    shown = said("ls").stdout
    assert "owner" in shown
    assert "alice@thinkpad" in shown
    del aws.machines["i-2"]
    assert "owner" not in said("ls").stdout


# names


def test_a_name_that_somebody_else_has_is_refused() -> None:
    aws = Shared()
    del aws.machines["i-1"]
    with pytest.raises(UsageError) as refused:
        find.living(aws.cloud, "lab")
    assert "i-2" in refused.value.what
    assert f"--name {whose.free_name('lab')}" in refused.value.mend


def test_ones_own_machine_is_meant_before_anothers_of_that_name() -> None:
    aws = Shared()
    aws.machines["i-2"]["LaunchTime"] = LAUNCHED + timedelta(hours=1)
    there = find.living(aws.cloud, "lab")
    assert there is not None
    assert there.id == find.find(aws.cloud, "lab").id == "i-1"


@pytest.mark.parametrize(("later", "gives_way"), [(-1, True), (0, False), (1, False)])
def test_of_two_launches_at_once_the_later_gives_way(later: int, gives_way: bool) -> None:
    """The ids decide where the times are the same: i-1 is before i-2."""
    aws = Shared()
    aws.machines["i-2"]["LaunchTime"] = LAUNCHED + timedelta(seconds=later)
    mine = find.living(aws.cloud, "lab")
    assert mine is not None
    if not gives_way:
        find.alone(aws.cloud, mine)
        return
    with pytest.raises(UsageError, match="alice@thinkpad"):
        find.alone(aws.cloud, mine)


def test_a_machine_that_is_ending_has_no_name_any_more() -> None:
    aws = Shared()
    aws.machines["i-2"] |= {"LaunchTime": LAUNCHED - timedelta(hours=1), "State": {"Name": "shutting-down"}}
    mine = find.living(aws.cloud, "lab")
    assert mine is not None
    find.alone(aws.cloud, mine)


def test_a_machine_of_ones_own_that_came_late_does_not_end_the_new_one() -> None:
    aws = Shared(owner=whose.me())
    aws.machines["i-2"]["LaunchTime"] = LAUNCHED - timedelta(hours=1)
    mine = find.find(aws.cloud, "lab")
    find.alone(aws.cloud, dataclasses.replace(mine, id="i-1", launched=LAUNCHED))


# the audit


def test_fixing_leaves_a_machine_of_somebody_elses_and_what_belongs_to_it() -> None:
    aws = Shared()  # the deadlines of both have passed long ago
    report = audit.audit(aws.cloud, ["us-east-1"])
    assert {finding.thing.id for finding in report.bad} >= {"i-1", "i-2"}
    _, after = audit.fix(aws.cloud, report)
    assert aws.left() == {"vol-2", *HER_THINGS}
    assert [(finding.thing.id, finding.owner) for finding in after.bad] == [("i-2", ALICE)]


def test_what_is_left_of_an_ended_machine_is_cleared_whosever_it_was() -> None:
    group = Holding("security groups", "sg-2", "lab", HERS, made=LAUNCHED, tags={OWNER: ALICE})
    (found,) = audit.judge("us-east-1", [group], {}, LAUNCHED + timedelta(hours=1))
    assert (found.verdict, found.spared, found.owner) == ("stray", False, ALICE)


@pytest.mark.usefixtures("_here")
def test_the_mend_for_somebody_elses_machine_is_not_fix() -> None:
    aws = Shared()
    audit.fix(aws.cloud, audit.audit(aws.cloud, ["us-east-1"]))
    done = said("audit")
    assert str(getattr(done.exception, "mend", "")).endswith("provision down lab --force --cloud fake")
    assert "--fix" not in str(getattr(done.exception, "mend", ""))
    assert "alice@thinkpad" in done.stdout


# the user's own copies


def test_a_users_own_snapshot_and_image_are_not_ours_whatever_tags_were_copied_to_them() -> None:
    aws = Region()
    copied = aws.things["Volumes"]["vol-2"]["Tags"]
    aws.answers["DescribeSnapshots"] = {
        "Snapshots": [{"SnapshotId": "snap-mine", "State": "completed", "VolumeSize": 200, "Tags": copied}]
    }
    aws.answers["DescribeImages"] = {"Images": [{"ImageId": "ami-mine", "State": "available", "Tags": copied}]}
    things, _ = Holdings(aws.cloud).look()
    assert not [thing for thing in things if thing.id in ("snap-mine", "ami-mine")]
    ending.down(aws.cloud, "lab", silent, 5.0)
    assert aws.of("DeleteSnapshot") == aws.of("DeregisterImage") == []


def test_the_id_is_kept_with_the_laptops_notes() -> None:
    mine = laptop.id_of(whose.me())
    assert (state_home() / "laptop").read_text().strip() == mine
