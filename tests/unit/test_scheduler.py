"""The second means that ends an instance: what is asked of EventBridge Scheduler, in which order."""

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from infra.aws import scheduler
from infra.aws.scheduler import Scheduler
from infra.errors import AuthError, CloudError
from tests.unit.fake_aws import FakeAws, Refused

AT = datetime(2036, 11, 20, 18, 40, tzinfo=timezone.utc)
ME = {"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/me"}
NO_ROLE = Refused("ValidationException", "The execution role you provide must allow EventBridge Scheduler to assume it")
NO_GROUP = Refused("ResourceNotFoundException", "Schedule group provision does not exist.")


def arm(aws: FakeAws, at: datetime = AT) -> None:
    aws.answers.setdefault("GetCallerIdentity", ME)
    Scheduler(aws.cloud, sleep=lambda _: None).arm("provision-lab-01234567", "i-1", at)


def test_it_terminates_that_instance_once_and_is_gone_then() -> None:
    aws = FakeAws()
    arm(aws)
    (asked,) = aws.of("CreateSchedule")
    assert asked["Name"] == "provision-lab-01234567"
    assert asked["ScheduleExpression"] == "at(2036-11-20T18:40:00)"
    assert asked["ScheduleExpressionTimezone"] == "UTC"
    assert asked["ActionAfterCompletion"] == "DELETE"
    assert asked["Target"]["Arn"] == "arn:aws:scheduler:::aws-sdk:ec2:terminateInstances"
    assert asked["Target"]["RoleArn"] == "arn:aws:iam::123456789012:role/provision-account/provision-scheduler"
    assert json.loads(asked["Target"]["Input"]) == {"InstanceIds": ["i-1"]}
    assert aws.names() == ["GetCallerIdentity", "CreateSchedule"]


def test_who_we_are_is_asked_once() -> None:
    aws = FakeAws()
    arm(aws)
    arm(aws)
    assert aws.names().count("GetCallerIdentity") == 1


def test_a_time_in_another_zone_is_the_same_moment() -> None:
    aws = FakeAws()
    arm(aws, datetime(2036, 11, 20, 20, 40, tzinfo=timezone(timedelta(hours=2))))
    assert aws.of("CreateSchedule")[0]["ScheduleExpression"] == "at(2036-11-20T18:40:00)"


def test_a_moment_that_has_passed_becomes_one_that_comes() -> None:
    aws = FakeAws()
    arm(aws, datetime(2020, 1, 1, tzinfo=timezone.utc))
    said = aws.of("CreateSchedule")[0]["ScheduleExpression"]
    assert datetime.strptime(said, "at(%Y-%m-%dT%H:%M:%S)") > datetime.now(timezone.utc).replace(tzinfo=None)


def test_a_schedule_that_is_there_is_moved() -> None:
    aws = FakeAws(CreateSchedule=Refused("ConflictException"))
    arm(aws)
    (moved,) = aws.of("UpdateSchedule")
    assert moved["ScheduleExpression"] == "at(2036-11-20T18:40:00)"
    assert moved["ActionAfterCompletion"] == "DELETE"


def in_turn(*answers: Any) -> Any:
    left = list(answers)

    def answer(_: dict[str, Any]) -> Any:
        said = left.pop(0)
        if isinstance(said, Refused):
            raise said
        return said

    return answer


def test_group_and_role_are_made_when_they_are_missing() -> None:
    aws = FakeAws(CreateSchedule=in_turn(NO_GROUP, NO_ROLE, NO_ROLE, None))
    arm(aws)
    made = [name for name in aws.names() if name not in ("CreateSchedule", "GetCallerIdentity")]
    assert made == ["CreateScheduleGroup", "CreateRole", "PutRolePolicy", "UpdateAssumeRolePolicy"]
    assert aws.of("CreateScheduleGroup")[0]["Tags"]


def test_a_role_that_may_be_assumed_has_its_rights() -> None:
    """Killed anywhere between the calls, what is left is a role that Scheduler refuses."""
    aws = FakeAws(CreateSchedule=in_turn(NO_ROLE, None))
    arm(aws)
    first = json.loads(aws.of("CreateRole")[0]["AssumeRolePolicyDocument"])["Statement"][0]
    last = json.loads(aws.of("UpdateAssumeRolePolicy")[0]["PolicyDocument"])["Statement"][0]
    assert first["Effect"] == "Deny"
    assert last["Effect"] == "Allow"
    assert last["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    (right,) = json.loads(aws.of("PutRolePolicy")[0]["PolicyDocument"])["Statement"]
    assert right["Action"] == "ec2:TerminateInstances"
    assert "ec2:ResourceTag/provision:name" in right["Condition"]["StringLike"]


def test_what_another_laptop_made_meanwhile_is_as_good() -> None:
    aws = FakeAws(
        CreateSchedule=in_turn(NO_GROUP, NO_ROLE, None),
        CreateScheduleGroup=Refused("ConflictException"),
        CreateRole=Refused("EntityAlreadyExists"),
    )
    arm(aws)
    assert aws.of("PutRolePolicy")


def test_a_role_that_never_settles_is_an_error_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "_SETTLES_S", 0.0)
    with pytest.raises(CloudError) as refused:
        arm(FakeAws(CreateSchedule=NO_ROLE))
    assert "schedule the instance's end" in refused.value.what


def test_what_a_slow_first_answer_says_is_missing_is_made_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "_SETTLES_S", 0.0)
    aws = FakeAws(CreateSchedule=in_turn(NO_GROUP, NO_ROLE, None))
    arm(aws)
    assert aws.names().count("CreateSchedule") == 3


def test_a_missing_right_is_said() -> None:
    with pytest.raises(AuthError):
        arm(FakeAws(CreateSchedule=Refused("AccessDeniedException")))


def test_taking_it_away_twice_is_good() -> None:
    aws = FakeAws(DeleteSchedule=Refused("ResourceNotFoundException"))
    Scheduler(aws.cloud).disarm("provision-lab-01234567")
    assert aws.of("DeleteSchedule")[0]["GroupName"] == "provision"


def test_a_schedule_that_cannot_be_taken_away_is_an_error() -> None:
    with pytest.raises(CloudError):
        Scheduler(FakeAws(DeleteSchedule=Refused("InternalServerException")).cloud).disarm("provision-lab-01234567")


def test_without_the_group_nothing_is_armed() -> None:
    assert Scheduler(FakeAws(ListSchedules=NO_GROUP).cloud).made() == {}
