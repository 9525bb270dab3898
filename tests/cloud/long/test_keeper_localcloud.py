"""State machines in the embedded cloud: what they call, as whom, how they wait, and how they end."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.cloud.localcloud_kit import Cloud, eventually, refused, running_cloud, words
from tests.cloud.long.keeper_kit import (
    BUCKET,
    Account,
    account,
    allow,
    catch,
    fleet_words,
    keeper,
    refusals,
    sdk,
    trust,
)

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(600)]
PUT = {"Bucket": BUCKET, "Key.$": "$.key", "Body": {"token.$": "$$.Task.Token", "instance": "none"}}
WAIT = "s3:putObject.waitForTaskToken"
LOST = {"service": "ec2", "action": "CreateFleet", "from": "keeper", "lost": True}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with running_cloud(tmp_path_factory.mktemp("local")) as cloud:
        yield account(cloud)


@pytest.fixture(autouse=True)
def _as_on_aws(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "ours" in request.fixturenames:
        cloud = request.getfixturevalue("ours").cloud
        cloud.page(
            "keeper", {"waits": 1, "heartbeats": 1, "heartbeat_error": "States.HeartbeatTimeout", "events": 25000}
        )
        cloud.page("faults", [])


def one_state(state: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"StartAt": "Only", "States": {"Only": state, "Caught": {"Type": "Pass", "End": True}, **others}}


def test_a_keeper_replaces_a_machine_that_falls_silent_and_ends_with_the_one_that_finishes(ours: Account) -> None:
    ours.cloud.page("keeper", {"waits": 0.1})
    machine = ours.make(keeper(ours.template))
    execution = ours.start(machine, "digits-1", run="digits", numbers=[f"{one:03}" for one in range(1, 21)])
    with ours.telling(execution):
        first = ours.order("runs/digits/control/order")
    assert first["number"] == "001"
    ours.cloud.running(first["instance"])
    assert ours.send(first["instance"], "SendTaskHeartbeat", taskToken=first["token"]) == "ok"
    assert ours.send(first["instance"], "StopExecution", executionArn=execution) == "AccessDeniedException"
    assert ours.send(first["instance"], "SendTaskHeartbeat", taskToken="made up") == "InvalidToken"
    ours.cloud.page("keeper", {"heartbeats": 0.005})  # and it falls silent
    with ours.telling(execution):
        ours.order("runs/digits/control/order", not_for=first["instance"])
    ours.cloud.page("keeper", {"heartbeats": 1})
    assert ours.cloud.state(first["instance"]) == "terminated"
    assert refused(ours.states.send_task_heartbeat, taskToken=first["token"]) == "TaskTimedOut"
    last = eventually(lambda: ours.awaited("runs/digits/control/order"), 120)
    ours.cloud.running(last["instance"])
    done = json.dumps({"state": "finished"})
    with contextlib.suppress(subprocess.CalledProcessError):  # it may be ended before it has read the answer
        ours.send(last["instance"], "SendTaskSuccess", taskToken=last["token"], output=done)
    found = ours.over(execution)
    assert (found["status"], found["output"]["work"]) == ("SUCCEEDED", {"state": "finished"})
    assert refused(ours.states.send_task_success, taskToken=last["token"], output=done) == "TaskTimedOut"
    assert ours.cloud.state(last["instance"]) == "terminated"
    body = ours.s3.get_object(Bucket=BUCKET, Key="runs/digits/attempts/001.json")["Body"].read()
    assert body == b'{"number":"001"}'
    mine = [call for call in ours.cloud.page("calls", {}) if call.get("client") == "digits-1"]
    assert {call["action"] for call in mine} == {"PutObject", "CreateFleet", "TerminateInstances", "DescribeInstances"}
    assert {call["access_key"][:4] for call in mine} == {"ASIA"}


def test_a_state_machine_may_do_what_its_role_may_and_learns_of_a_refusal_in_its_catch(ours: Account) -> None:
    stranger = ours.cloud.launch()
    fleet = {**fleet_words(ours.template, "States.UUID()"), "TagSpecifications": []}
    calls = refusals(
        elsewhere=("s3:putObject", {"Bucket": BUCKET, "Key": "images/x", "Body": "x"}, "S3.S3Exception"),
        missing=("s3:getObject", {"Bucket": BUCKET, "Key": "runs/nothing"}, "S3.NoSuchKeyException"),
        stranger=("ec2:terminateInstances", {"InstanceIds": [stranger]}, "Ec2.Ec2Exception"),
        untagged=("ec2:createFleet", fleet, "States.TaskFailed"),
    )
    found = ours.run(calls)
    told = found["output"]
    assert [name for name in told if "Error" in told[name]] == ["elsewhere", "missing", "stranger", "untagged"]
    assert "(Service: S3, Status Code: 403, Request ID: " in told["elsewhere"]["Cause"]
    assert "(Service: S3, Status Code: 404, Request ID: " in told["missing"]["Cause"]
    assert "(Service: Ec2, Status Code: 403, Request ID: " in told["stranger"]["Cause"]
    assert told["untagged"]["Error"] == "Ec2.Ec2Exception"
    assert ours.cloud.state(stranger) in ("pending", "running")
    ours.cloud.ec2.terminate_instances(InstanceIds=[stranger])


def test_a_name_is_a_lock(ours: Account) -> None:
    machine = ours.make(one_state(sdk(WAIT, PUT)))
    first = ours.start(machine, "run-1", key="runs/lock/order")
    assert ours.start(machine, "run-1", key="runs/lock/order") == first
    again = {"stateMachineArn": machine, "name": "run-1", "input": json.dumps({"key": "runs/lock/other"})}
    assert refused(ours.states.start_execution, **again) == "ExecutionAlreadyExists"
    assert refused(ours.states.start_execution, **{**again, "name": "x" * 81}) == "ValidationException"
    assert refused(ours.states.start_execution, **{**again, "name": "a b"}) == "InvalidName"
    token = ours.order("runs/lock/order")["token"]
    assert refused(ours.states.send_task_success, taskToken=token, output="no JSON") == "InvalidOutput"
    ours.states.send_task_success(taskToken=token, output='{"done": true}')
    assert ours.over(first)["output"] == {"done": True}
    same = {**again, "input": json.dumps({"key": "runs/lock/order"})}
    assert refused(ours.states.start_execution, **same) == "ExecutionAlreadyExists"


def _beats(ours: Account, token: str) -> bool:
    try:
        ours.states.send_task_heartbeat(taskToken=token)
    except ClientError:
        return False
    return True


def test_a_stopped_execution_runs_no_catch_and_its_token_is_dead(ours: Account) -> None:
    task = sdk(WAIT, PUT, HeartbeatSeconds=600, TimeoutSeconds=900, **catch("States.ALL", to="Caught"))
    execution = ours.start(ours.make(one_state(task)), "stopped", key="runs/stop/order")
    token = ours.order("runs/stop/order")["token"]
    ours.states.stop_execution(executionArn=execution, error="Stopped", cause="by hand")
    found = ours.over(execution, 5)
    assert [found[name] for name in ("status", "error", "cause")] == ["ABORTED", "Stopped", "by hand"]
    assert found["stopDate"] >= found["startDate"]
    eventually(lambda: not _beats(ours, token))  # the thread that waits hears of it a moment later
    for call, more in (("success", {"output": "{}"}), ("heartbeat", {}), ("failure", {})):
        assert refused(getattr(ours.states, f"send_task_{call}"), taskToken=token, **more) == "TaskTimedOut"
    eventually(lambda: ours.events(execution)[-1]["type"] == "ExecutionAborted")
    assert ours.entered(execution) == ["Only"]
    again = ours.states.stop_execution(executionArn=execution)
    assert again["stopDate"] == found["stopDate"]


def test_a_deleted_state_machine_lasts_until_its_executions_meet_their_next_state(ours: Account) -> None:
    machine = ours.make(one_state(sdk(WAIT, PUT, Next="After"), After={"Type": "Pass", "End": True}))
    execution = ours.start(machine, "deleted", key="runs/deleted/order")
    token = ours.order("runs/deleted/order")["token"]
    ours.states.delete_state_machine(stateMachineArn=machine)
    assert ours.states.describe_state_machine(stateMachineArn=machine)["status"] == "DELETING"
    more = {"stateMachineArn": machine, "name": "more", "input": "{}"}
    assert refused(ours.states.start_execution, **more) == "StateMachineDeleting"
    assert ours.status(execution) == "RUNNING"
    ours.states.send_task_success(taskToken=token, output="{}")
    gone = ours.states.exceptions.StateMachineDoesNotExist

    def is_gone() -> bool:
        try:
            ours.states.describe_state_machine(stateMachineArn=machine)
        except gone:
            return True
        return False

    eventually(is_gone)


def test_waits_retries_and_time_outs_are_shortened_while_they_last(ours: Account) -> None:
    hours = {"Type": "Wait", "Seconds": 7200, "Next": "Put"}
    retry = {"Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 3600, "MaxAttempts": 1}]}
    missing = sdk("s3:getObject", {"Bucket": BUCKET, "Key": "runs/nothing"}, Next="Put")
    task = sdk(WAIT, PUT, TimeoutSeconds=86400, **catch("States.Timeout", to="Caught"))
    states = {"Only": {**missing, **retry, **catch("States.ALL", to="Hours")}, "Hours": hours, "Put": task}
    states["Caught"] = {"Type": "Pass", "End": True}
    execution = ours.start(ours.make({"StartAt": "Only", "States": states}), "slow", key="runs/slow/order")
    eventually(lambda: ours.entered(execution) == ["Only"])
    ours.cloud.page("keeper", {"waits": 0})
    eventually(lambda: ours.entered(execution)[-1] == "Put")
    ours.cloud.page("keeper", {"heartbeats": 0})
    assert ours.over(execution)["output"]["error"]["Error"] == "States.Timeout"


@pytest.mark.parametrize("name", ["States.HeartbeatTimeout", "States.Timeout"])
def test_a_heartbeat_that_stays_away_has_either_name(ours: Account, name: str) -> None:
    ours.cloud.page("keeper", {"heartbeats": 0.01, "heartbeat_error": name})
    task = sdk(WAIT, PUT, HeartbeatSeconds=60, TimeoutSeconds=6000, **catch(name, to="Caught"))
    found = ours.run(one_state(task), key=f"runs/silent/{name}")
    assert found["output"]["error"]["Error"] == name


def test_what_is_sent_before_anybody_waits_is_not_lost(ours: Account) -> None:
    """A machine may be quicker than the answer to the call that wrote its order."""
    ours.cloud.page("faults", [{"service": "s3", "action": "PutObject", "from": "keeper", "pause": "after"}])
    execution = ours.start(ours.make(one_state(sdk(WAIT, PUT, HeartbeatSeconds=60))), "quick", key="runs/quick/order")
    token = ours.order("runs/quick/order")["token"]
    ours.states.send_task_heartbeat(taskToken=token)
    ours.states.send_task_failure(taskToken=token, error="Unready", cause="no image")
    ours.cloud.page("release", {})
    found = ours.over(execution)
    assert [found[name] for name in ("status", "error", "cause")] == ["FAILED", "Unready", "no image"]


def test_a_fleets_answer_that_is_lost_is_asked_for_again_with_the_same_token(ours: Account) -> None:
    ours.cloud.page("faults", [LOST])
    ours.cloud.page("keeper", {"waits": 0})
    before = set(living(ours.cloud))
    ask = sdk(
        "ec2:createFleet",
        fleet_words(ours.template, "$.token"),
        Retry=[{"ErrorEquals": ["Ec2.SdkClientException"], "IntervalSeconds": 60, "MaxAttempts": 2}],
    )
    found = ours.run(one_state(ask), token="once-and-no-more")
    assert found["status"] == "SUCCEEDED", found
    [mine] = set(living(ours.cloud)) - before
    assert found["output"]["Instances"][0]["InstanceIds"] == [mine]
    assert ours.cloud.page("faults", {}) == [1]
    ours.cloud.ec2.terminate_instances(InstanceIds=[mine])


def living(cloud: Cloud) -> list[str]:
    pages = cloud.ec2.get_paginator("describe_instances").paginate()
    found = [one for page in pages for row in page["Reservations"] for one in row["Instances"]]
    return [one["InstanceId"] for one in found if one["State"]["Name"] in ("pending", "running")]


def test_who_makes_a_state_machine_passes_on_a_role_that_trusts_the_service(ours: Account) -> None:
    iam = ours.cloud.client("iam")
    definition = json.dumps(one_state({"Type": "Succeed"}))
    other = iam.create_role(RoleName="other", AssumeRolePolicyDocument=trust("scheduler.amazonaws.com"))["Role"]["Arn"]
    words = {"name": "trusted", "definition": definition, "roleArn": other}
    assert refused(ours.states.create_state_machine, **words) == "AccessDeniedException"
    iam.create_user(UserName="maker")
    rights = allow(
        ("states:*", "arn:aws:states:*:*:stateMachine:provision-*", {}),
        ("iam:PassRole", ours.role, {"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}}),
    )
    iam.put_user_policy(UserName="maker", PolicyName="makes", PolicyDocument=rights)
    key = iam.create_access_key(UserName="maker")["AccessKey"]
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    maker = ours.cloud.client("stepfunctions", **keys)
    words = {"name": "provision-mine", "definition": definition, "roleArn": ours.role}
    assert refused(maker.create_state_machine, **words) == "AccessDeniedException"
    rights = rights.replace("scheduler.amazonaws.com", "states.amazonaws.com")
    iam.put_user_policy(UserName="maker", PolicyName="makes", PolicyDocument=rights)
    assert refused(maker.create_state_machine, **{**words, "name": "mine"}) == "AccessDeniedException"
    made = maker.create_state_machine(**words)["stateMachineArn"]
    assert maker.create_state_machine(**words)["stateMachineArn"] == made
    changed = {**words, "definition": definition.replace("Only", "Other")}
    assert refused(maker.create_state_machine, **changed) == "StateMachineAlreadyExists"
    execution = maker.start_execution(stateMachineArn=made, name="a", input="{}")["executionArn"]
    assert refused(maker.describe_execution, executionArn=execution) == "AccessDeniedException"


@pytest.mark.parametrize(
    ("call", "parameters", "word"),
    [
        ("ec2:createFlet", {}, "no action createFlet"),
        ("ec3:createFleet", {}, "no service ec3"),
        ("s3:putObject", {"Bucket": "a", "Key": "b", "IfNonMatch": "*"}, '"IfNonMatch"'),
        ("ec2:createFleet", {"TargetCapacitySpecification": {"Total.$": "$.n"}}, '"TargetCapacitySpecification/Total"'),
        ("s3:putObject.waitForTaskToken", {"Bucket": "a", "Key": "b"}, "handed to nobody"),
    ],
)
def test_a_definition_with_calls_that_nobody_has_is_refused(
    ours: Account, call: str, parameters: dict[str, Any], word: str
) -> None:
    with pytest.raises(ours.states.exceptions.InvalidDefinition, match=word):
        ours.make(one_state(sdk(call, parameters)))


def test_what_is_no_definition_or_no_input_is_refused(ours: Account) -> None:
    words = {"name": "none", "roleArn": ours.role}
    for definition in ("no JSON", '{"StartAt": "A", "States": {"A": {"Type": "Nothing"}}}'):
        assert refused(ours.states.create_state_machine, definition=definition, **words) == "InvalidDefinition"
    machine = ours.make(one_state({"Type": "Succeed"}))
    start = {"stateMachineArn": machine, "name": "a"}
    for given in ("no JSON", json.dumps("x" * 262_144)):
        assert refused(ours.states.start_execution, input=given, **start) == "InvalidExecutionInput"


def test_a_field_that_is_called_like_a_word_of_the_language_is_a_path_all_the_same(ours: Account) -> None:
    fields = {"RoleArn.$": "$.role", "Name.$": "$$.Execution.Name"}
    made = {**fields, "Resource.$": "States.Format('{}!', $.role)"}
    found = ours.run(one_state({"Type": "Pass", "Parameters": {"Target": made}, "End": True}), role="r")
    assert found["output"] == {"Target": {"RoleArn": "r", "Name": "once", "Resource": "r!"}}
    task = {"Type": "Pass", "Parameters": {"RoleArn.$": "States.Format('{}!', $.role)"}, "End": True}
    alone = ours.run(one_state(task), role="r")
    assert alone["output"] == {"RoleArn": "r!"}


def test_items_of_a_map_are_done_as_the_role_each_in_its_turn(ours: Account) -> None:
    """Those of a list in the input, and those of a file in S3."""
    key = {"Bucket": BUCKET, "Key.$": "States.Format('runs/map/{}', $.name)", "Body.$": "$.name"}
    steps = {"StartAt": "Put", "States": {"Put": sdk("s3:putObject", key, ResultPath=None)}}
    items = [{"name": f"{number}"} for number in range(6)]
    ours.s3.put_object(Bucket=BUCKET, Key="runs/map/items.json", Body=json.dumps(items).encode())
    reader = {
        "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": {"InputType": "JSON"},
        "Parameters": {"Bucket": BUCKET, "Key": "runs/map/items.json"},
    }
    kinds = {
        "INLINE": {"ItemsPath": "$.items"},
        "DISTRIBUTED": {"ItemReader": reader},
    }
    for mode, given in kinds.items():
        how = {"Mode": mode, **({"ExecutionType": "STANDARD"} if mode == "DISTRIBUTED" else {})}
        each = {"Type": "Map", "MaxConcurrency": 2, "ItemProcessor": {"ProcessorConfig": how, **steps}, "End": True}
        found = ours.run(one_state({**each, **given}), items=items)
        assert (found["status"], found["output"]) == ("SUCCEEDED", items), found
    written = ours.s3.get_object(Bucket=BUCKET, Key="runs/map/5")["Body"].read()
    assert written == b'"5"'


def test_a_role_that_is_gone_is_told_as_a_missing_permission(ours: Account) -> None:
    iam = ours.cloud.client("iam")
    role = iam.create_role(RoleName="brief", AssumeRolePolicyDocument=trust("states.amazonaws.com"))["Role"]["Arn"]
    task = sdk("s3:getObject", {"Bucket": BUCKET, "Key": "runs/a"}, **catch("States.Permissions", to="Caught"))
    definition = one_state({"Type": "Wait", "Seconds": 3600, "Next": "Get"}, Get=task)
    words = {"name": "brief", "definition": json.dumps(definition), "roleArn": role}
    execution = ours.start(ours.states.create_state_machine(**words)["stateMachineArn"], "brief")
    iam.delete_role(RoleName="brief")
    ours.cloud.page("keeper", {"waits": 0})
    assert ours.over(execution)["output"]["error"]["Error"] == "States.Permissions"


def test_a_history_comes_in_pages_and_ends_an_execution_that_is_too_long(ours: Account) -> None:
    ours.cloud.page("keeper", {"waits": 0, "events": 131})
    definition = one_state({"Type": "Wait", "Seconds": 60, "Next": "Only"})
    del definition["States"]["Caught"]
    execution = ours.start(ours.make(definition), "long")
    found = ours.over(execution)
    assert found["status"] == "FAILED"
    assert found["cause"].endswith("The execution reached the maximum number of history events (131).")
    first = ours.states.get_execution_history(executionArn=execution)
    assert (len(first["events"]), [one["id"] for one in ours.events(execution)]) == (100, list(range(1, 133)))
    last = ours.states.get_execution_history(executionArn=execution, reverseOrder=True, maxResults=1)["events"]
    assert [one["type"] for one in last] == ["ExecutionFailed"]


def test_what_is_published_can_be_read(ours: Account) -> None:
    topic = ours.cloud.client("sns").create_topic(Name="provision-told")["TopicArn"]
    found = ours.run(
        one_state(sdk("sns:publish", {"TopicArn": topic, "Subject": "digits", "Message.$": "$.text"})), text="over"
    )
    assert found["status"] == "SUCCEEDED"
    [said] = ours.cloud.page("topics", {})[topic]
    assert (said["subject"], said["message"]) == ("digits", "over")


def test_state_machines_die_with_their_cloud(tmp_path: Path) -> None:
    for _ in range(2):
        record = json.loads(words("start", "--name", "short-lived", "--edge", home=tmp_path))
        cloud = Cloud(tmp_path, record)
        try:
            assert cloud.client("stepfunctions").list_state_machines()["stateMachines"] == []
            role = cloud.client("iam").create_role(RoleName="a", AssumeRolePolicyDocument=trust("states.amazonaws.com"))
            made = {
                "name": "a",
                "definition": json.dumps(one_state({"Type": "Succeed"})),
                "roleArn": role["Role"]["Arn"],
            }
            cloud.client("stepfunctions").create_state_machine(**made)
        finally:
            words("stop", "--name", "short-lived", home=tmp_path)
