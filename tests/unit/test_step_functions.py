"""The keeper's client: what is asked of Step Functions and of IAM, in which order, and what its answers mean."""

import json
from datetime import datetime, timezone
from typing import Any

import pytest

from infra.aws import step_functions
from infra.aws.step_functions import Execution, Keeper, Step, name_of, role_of, steps
from infra.errors import AuthError, BusyError, CloudError
from tests.unit.fake_aws import FakeAws, Refused
from tests.unit.test_scheduler import in_turn

ME = "111111111111"
TEXT = '{"StartAt":"A"}'
MACHINE = f"arn:aws:states:us-east-1:{ME}:stateMachine:{name_of(TEXT)}"
RUN = f"arn:aws:states:us-east-1:{ME}:execution:{name_of(TEXT)}:r-1"
ABSENT = Refused("StateMachineDoesNotExist")
UNSPREAD = Refused("AccessDeniedException", "Neither the global service principal nor … to assume the provided role")
NO_PASS = Refused("AccessDeniedException", "User: me is not authorized to perform: iam:PassRole on resource: …:role/x")
RIGHTS = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "a:B", "Resource": "*"}]}
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)


def ensured(aws: FakeAws) -> str:
    return Keeper(aws.cloud, sleep=lambda _: None).ensure(TEXT, RIGHTS)


def test_one_that_is_there_takes_one_call() -> None:
    aws = FakeAws(DescribeStateMachine={"status": "ACTIVE"})
    assert ensured(aws) == MACHINE
    assert aws.names() == ["GetCallerIdentity", "DescribeStateMachine"]


def test_another_definition_is_another_machine() -> None:
    assert name_of(TEXT) != name_of(TEXT + " ")
    assert name_of(TEXT).removeprefix("provision-keeper-").isalnum()


def test_role_and_machine_are_made_at_first_use_and_the_trust_is_written_last() -> None:
    aws = FakeAws(DescribeStateMachine=ABSENT)
    assert ensured(aws) == MACHINE
    made = ["CreateRole", "PutRolePolicy", "UpdateAssumeRolePolicy", "CreateStateMachine"]
    assert [name for name in aws.names() if name not in ("GetCallerIdentity", "DescribeStateMachine")] == made
    first = json.loads(aws.of("CreateRole")[0]["AssumeRolePolicyDocument"])["Statement"][0]
    last = json.loads(aws.of("UpdateAssumeRolePolicy")[0]["PolicyDocument"])["Statement"][0]
    assert (first["Effect"], last["Effect"]) == ("Deny", "Allow")
    assert last["Principal"] == {"Service": "states.amazonaws.com"}
    assert last["Condition"] == {
        "StringEquals": {"aws:SourceAccount": ME},
        "ArnLike": {"aws:SourceArn": f"arn:aws:states:*:{ME}:stateMachine:provision-keeper-*"},
    }
    assert json.loads(aws.of("PutRolePolicy")[0]["PolicyDocument"]) == RIGHTS
    (asked,) = aws.of("CreateStateMachine")
    assert asked["definition"] == TEXT and asked["type"] == "STANDARD"
    assert asked["roleArn"] == f"arn:aws:iam::{ME}:role/provision-account/{role_of(RIGHTS)}"
    assert asked["tags"] == [{"key": "provision:account", "value": "keeper"}]


def test_an_older_client_takes_no_right_from_a_newer_ones_keepers() -> None:
    """Where it makes its machine, as in a new region, it makes a role with the rights that it knows: both its own."""
    newer = {**RIGHTS, "Statement": [*RIGHTS["Statement"], {"Effect": "Allow", "Action": "a:C", "Resource": "*"}]}
    held: dict[str, Any] = {}
    roles: dict[str, str] = {}
    for text, rights in ((TEXT + " ", newer), (TEXT, RIGHTS)):
        aws = FakeAws(
            DescribeStateMachine=ABSENT,
            PutRolePolicy=lambda given: held.update({given["RoleName"]: json.loads(given["PolicyDocument"])}),
        )
        Keeper(aws.cloud, sleep=lambda _: None).ensure(text, rights)
        roles[text] = aws.of("CreateStateMachine")[0]["roleArn"].rpartition("/")[2]
        assert {given["RoleName"] for _, given in aws.calls if "RoleName" in given} == {roles[text]}
    assert held == {roles[TEXT + " "]: newer, roles[TEXT]: RIGHTS}


def test_a_role_that_is_not_known_everywhere_yet_is_waited_for() -> None:
    aws = FakeAws(DescribeStateMachine=ABSENT, CreateStateMachine=in_turn(UNSPREAD, UNSPREAD, None))
    assert ensured(aws) == MACHINE
    assert aws.names().count("CreateStateMachine") == 3


def test_a_role_that_never_settles_is_an_error_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_functions, "_SETTLES_S", 0.0)
    with pytest.raises(AuthError):
        ensured(FakeAws(DescribeStateMachine=ABSENT, CreateStateMachine=UNSPREAD))


def test_a_missing_right_is_not_waited_for() -> None:
    waits: list[float] = []
    aws = FakeAws(DescribeStateMachine=ABSENT, CreateStateMachine=NO_PASS)
    with pytest.raises(AuthError) as refused:
        Keeper(aws.cloud, sleep=waits.append).ensure(TEXT, RIGHTS)
    assert waits == [] and "iam-policy" in refused.value.mend


def test_what_another_laptop_made_meanwhile_is_as_good() -> None:
    aws = FakeAws(
        DescribeStateMachine=ABSENT,
        CreateRole=Refused("EntityAlreadyExists"),
        CreateStateMachine=Refused("StateMachineAlreadyExists"),
    )
    assert ensured(aws) == MACHINE


def test_an_error_of_looking_is_told() -> None:
    with pytest.raises(CloudError, match="look for the keeper"):
        ensured(FakeAws(DescribeStateMachine=Refused("InternalServerException")))


def test_an_execution_is_started_under_its_name() -> None:
    aws = FakeAws(StartExecution={"executionArn": RUN})
    assert Keeper(aws.cloud).start(MACHINE, "r-1", {"b": 1, "a": 2}) == RUN
    (asked,) = aws.of("StartExecution")
    assert (asked["name"], asked["input"]) == ("r-1", '{"a": 2, "b": 1}')
    assert Keeper(aws.cloud).execution_of(name_of(TEXT), "r-1") == RUN


def test_a_name_that_is_taken_is_busy() -> None:
    aws = FakeAws(StartExecution=Refused("ExecutionAlreadyExists"))
    with pytest.raises(BusyError, match="r-1"):
        Keeper(aws.cloud).start(MACHINE, "r-1", {})


def test_stopping_what_is_gone_is_good() -> None:
    aws = FakeAws(StopExecution=Refused("ExecutionDoesNotExist"))
    Keeper(aws.cloud).stop(RUN, "somebody asked")
    assert aws.of("StopExecution") == [{"executionArn": RUN, "cause": "somebody asked"}]


def test_how_it_stands() -> None:
    row = {"status": "FAILED", "error": "Barren", "cause": "5 machines", "startDate": NOW, "stopDate": NOW}
    seen = Keeper(FakeAws(DescribeExecution=row).cloud).describe(RUN)
    assert seen == Execution(RUN, "FAILED", "Barren", "5 machines", NOW, NOW)
    assert not seen.running
    assert Keeper(FakeAws(DescribeExecution={"status": "RUNNING", "startDate": NOW}).cloud).describe(RUN).running


def test_one_that_aws_has_forgotten_has_no_status() -> None:
    cloud = FakeAws(
        DescribeExecution=Refused("ExecutionDoesNotExist"), GetExecutionHistory=Refused("ExecutionDoesNotExist")
    ).cloud
    assert Keeper(cloud).describe(RUN) == Execution(RUN)
    assert Keeper(cloud).history(RUN) == []


def event(kind: str, **details: Any) -> dict[str, Any]:
    return {"timestamp": NOW, "type": kind, **details}


def test_its_steps() -> None:
    events = [
        event("ExecutionStarted"),
        event("TaskStateEntered", stateEnteredEventDetails={"name": "Claim"}),
        event("TaskScheduled"),
        event("TaskFailed", taskFailedEventDetails={"error": "S3.S3Exception", "cause": "412"}),
        event("TaskStateExited", stateExitedEventDetails={"name": "Claim"}),
        event("TaskStateEntered", stateEnteredEventDetails={"name": "Work"}),
        event("TaskTimedOut", taskTimedOutEventDetails={"error": "States.HeartbeatTimeout"}),
        event("ExecutionAborted"),
    ]
    assert steps(events) == [
        Step(NOW, "Claim", "entered"),
        Step(NOW, "Claim", "failed", "S3.S3Exception"),
        Step(NOW, "Claim", "exited"),
        Step(NOW, "Work", "entered"),
        Step(NOW, "Work", "failed", "States.HeartbeatTimeout"),
        Step(NOW, "Work", "failed", "ExecutionAborted"),
    ]
    assert Keeper(FakeAws(GetExecutionHistory={"events": events}).cloud).history(RUN) == steps(events)


def test_our_machines_and_what_runs() -> None:
    rows = [{"name": name, "creationDate": NOW} for name in ("provision-keeper-01234567", "theirs")]
    aws = FakeAws(
        ListStateMachines={"stateMachines": rows}, ListExecutions={"executions": [{"name": "r-1", "startDate": NOW}]}
    )
    assert Keeper(aws.cloud).machines() == {"provision-keeper-01234567": NOW}
    assert Keeper(aws.cloud).executions("provision-keeper-01234567") == {"r-1": NOW}
    assert aws.of("ListExecutions")[0]["statusFilter"] == "RUNNING"
    gone = FakeAws(ListExecutions=Refused("StateMachineDoesNotExist"))
    assert Keeper(gone.cloud).executions("provision-keeper-01234567") == {}
