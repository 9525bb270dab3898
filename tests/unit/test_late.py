"""A client that was killed while its fleet was being launched: no wait is the proof that nothing comes."""

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from infra.errors import NotFoundError
from provision.machines import down as ending
from provision.machines import find, journal, late, note_folders
from provision.machines.finish import finish
from tests.unit.fake_aws import CLOUD, FakeAws, Refused, Region, role, tags
from tests.unit.test_machines import asked

LAUNCH = Region.LAUNCH


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "LATE_S", 0.0)


def silent(_: str) -> None:
    """Says nothing."""


def cut_off() -> ending.Ended:
    """A launch is noted, AWS shows nothing of it, and it is ended."""
    aws = FakeAws()
    journal.write_intent(aws.cloud, asked())
    journal.note_asked(aws.cloud, "lab")
    return ending.down(aws.cloud, "lab", silent, 5.0)


def test_what_aws_has_not_shown_is_remembered_and_said() -> None:
    done = cut_off()
    assert done.unseen == (LAUNCH,)
    assert f"no machine of {LAUNCH}" in done.words()[0]
    assert done.as_json()["unseen"] == [LAUNCH]
    assert late.launches(CLOUD) == {LAUNCH}
    assert not journal.begun(CLOUD, "lab")
    assert journal.regions(CLOUD) == journal.regions(CLOUD, "lab") == ["us-east-1"]
    assert journal.regions(CLOUD, "other") == []
    assert note_folders.names("fake") == set()


def test_what_shows_up_later_is_ended_by_the_next_command() -> None:
    cut_off()
    said: list[str] = []
    aws = Region()
    finish(aws.cloud, said.append)
    assert aws.left() == {"vol-2"}
    assert said[0] == f"the machine of {LAUNCH}, which was ended before AWS showed it, is there: ending it"
    assert late.launches(CLOUD) == set()
    assert not list(journal.folder(CLOUD, "lab").parent.glob(".late"))


def test_another_machine_of_that_name_is_none_of_it() -> None:
    cut_off()
    aws = Region()
    aws.machines["i-1"]["Tags"] = tags(name="lab", resource="provision-lab-89abcdef")
    aws.things["Roles"]["provision-lab-89abcdef"] = role("provision-lab-89abcdef")
    finish(aws.cloud, silent)
    assert "TerminateInstances" not in aws.names()
    assert late.launches(CLOUD) == {LAUNCH}


def test_without_a_note_aws_is_not_asked() -> None:
    aws = FakeAws()
    finish(aws.cloud, silent)
    assert aws.calls == []


def test_what_cannot_be_finished_is_said_and_tried_again() -> None:
    cut_off()
    said: list[str] = []
    finish(FakeAws(DescribeInstances=Refused("InternalError")).cloud, said.append)
    assert said[0].endswith("the next command tries again")
    assert late.launches(CLOUD) == {LAUNCH}


def test_after_its_deadline_it_is_forgotten() -> None:
    cut_off()
    (mark,) = journal.folder(CLOUD, "lab").parent.glob(".late/*")
    until = datetime.fromisoformat(mark.read_text())
    assert timedelta(minutes=110) < until - datetime.now(timezone.utc) <= timedelta(hours=2)
    mark.write_text("2020-01-01T00:00:00+00:00")
    assert late.launches(CLOUD) == set()
    assert journal.regions(CLOUD) == []


def test_a_launch_that_aws_was_not_asked_for_yet_cannot_come_late() -> None:
    aws = FakeAws()
    journal.write_intent(aws.cloud, asked("fedcba9876543210"))
    journal.note_asked(aws.cloud, "lab")
    journal.write_intent(aws.cloud, asked(max_hours=3.0))  # another launch, which is cut off before that
    assert ending.down(aws.cloud, "lab", silent, 5.0).unseen == ()
    assert late.launches(CLOUD) == set()


def test_a_launch_that_was_over_before_it_is_ended_cannot_come_late() -> None:
    aws = FakeAws()
    journal.write_intent(aws.cloud, asked())
    journal.note_asked(aws.cloud, "lab")
    path = journal.folder(CLOUD, "lab") / "intent.json"
    note = json.loads(path.read_text())
    note["request"]["tags"]["provision:deadline"] = "2020-01-01T00:00:00+00:00"
    path.write_text(json.dumps(note))
    assert ending.down(aws.cloud, "lab", silent, 5.0).unseen == ()


def test_a_launch_whose_machine_was_seen_is_not_waited_for() -> None:
    aws = Region()
    journal.write_intent(aws.cloud, asked())
    journal.note_asked(aws.cloud, "lab")
    said: list[str] = []
    done = ending.down(aws.cloud, "lab", said.append, 5.0)
    assert done.unseen == ()
    assert not [line for line in said if "looking for it" in line]
    assert late.launches(CLOUD) == set()


def test_an_undo_forgets_the_notes_of_its_launch_and_not_those_of_a_newer_one() -> None:
    aws = Region()
    journal.write_intent(aws.cloud, asked("fedcba9876543210"))
    ending.down(aws.cloud, "lab", silent, 5.0, launch=LAUNCH)
    assert journal.begun(CLOUD, "lab") == "provision-lab-fedcba98"
    with_host = Region()
    journal.note_instance(CLOUD, "lab", "i-1")
    ending.down(with_host.cloud, "lab", silent, 5.0, launch=LAUNCH)
    assert find.places(CLOUD, (), "lab") == [CLOUD]
    assert not journal.folder(CLOUD, "lab").exists()


def test_notes_of_a_machine_that_ended_by_itself_go_with_the_launch() -> None:
    aws = FakeAws()
    journal.write_intent(aws.cloud, asked())
    journal.note_instance(aws.cloud, "lab", "i-1")
    aws.answers["DescribeInstances"] = lambda given: gone() if "InstanceIds" in given else None
    ending.down(aws.cloud, "lab", silent, 5.0, launch=LAUNCH)
    assert not journal.folder(CLOUD, "lab").exists()


def gone() -> Any:
    raise Refused("InvalidInstanceID.NotFound")


def test_a_launch_that_aws_refused_cannot_come_late() -> None:
    aws = FakeAws()
    journal.write_intent(aws.cloud, asked())
    journal.forget_intent(aws.cloud, "lab")
    with pytest.raises(NotFoundError, match="nothing of the launch"):
        ending.down(aws.cloud, "lab", silent, 5.0, launch=LAUNCH)
    assert late.launches(CLOUD) == set()
    assert not journal.folder(CLOUD, "lab").exists()
