"""State machines of the local cloud: names, errors, paths and tokens as AWS has them, without a daemon."""

import json
from datetime import datetime, timezone
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ParamValidationError

from localcloud import faults
from localcloud.states import check, errors, pace, paths, shapes, tokens

BODY = ("s3", "putObject")


def said(service: str, action: str, answer: dict[str, Any]) -> Any:
    return shapes.answer(answer, shapes.operation(service, action).output_shape)


@pytest.mark.parametrize(
    ("body", "written"),
    [
        ("text data", b'"text data"'),
        ({"a": 1, "b": [True, None]}, b'{"a":1,"b":[true,null]}'),
        (0, b"0"),
        ("ß", '"ß"'.encode()),
    ],
)
def test_a_body_is_written_as_json_with_the_quotes_of_a_string(body: Any, written: bytes) -> None:
    asked = shapes.request({"Bucket": "b", "Key": "k", "Body": body}, shapes.operation(*BODY).input_shape)
    assert asked == {"Bucket": "b", "Key": "k", "Body": written}


def test_fields_have_the_names_of_the_java_client() -> None:
    names = ["ETag", "SSEKMSKeyId", "VCpuCount", "LaunchTemplateConfigs", "IfNoneMatch", "stateMachineArn", "ACL"]
    called = ["ETag", "SsekmsKeyId", "VCpuCount", "LaunchTemplateConfigs", "IfNoneMatch", "StateMachineArn", "Acl"]
    assert [shapes.called(name) for name in names] == called
    asked = shapes.request({"SsekmsKeyId": "key", "Nobody": 1}, shapes.operation(*BODY).input_shape)
    assert asked == {"SSEKMSKeyId": "key", "Nobody": 1}  # botocore refuses the second by its name


def test_an_answer_is_json_without_what_the_service_does_not_say() -> None:
    at = datetime(2026, 11, 30, 3, 20, 22, tzinfo=timezone.utc)
    row = {"Instances": [{"InstanceId": "i-1", "LaunchTime": at}]}
    told = said("ec2", "describeInstances", {"Reservations": [row], "ResponseMetadata": {"RequestId": "x"}})
    assert told == {"Reservations": [{"Instances": [{"InstanceId": "i-1", "LaunchTime": "2026-11-30T03:20:22Z"}]}]}
    assert said("s3", "getObject", {"Body": BytesIO(b'{"a":1}'), "ETag": '"x"'}) == {"Body": '{"a":1}', "ETag": '"x"'}
    assert said("ec2", "deleteSecurityGroup", {"ResponseMetadata": {}}) == {}


def machine(resource: str, parameters: dict[str, Any]) -> str:
    task = {"Type": "Task", "Resource": f"arn:aws:states:::aws-sdk:{resource}", "Parameters": parameters, "End": True}
    inner = {"StartAt": "Call", "States": {"Call": task}}
    return json.dumps({"States": {"Both": {"Type": "Parallel", "Branches": [{}, inner]}}})


@pytest.mark.parametrize(
    ("resource", "parameters", "found"),
    [
        ("ec2:terminateInstances", {"InstanceIds.$": "$.ids"}, None),
        ("ec2:terminateInstances", {"Instances": []}, 'The field "Instances"'),
        ("ec2:TerminateInstances", {}, "has no action TerminateInstances"),
        ("s3:putObject", {"Bucket": "b", "Key": "k", "Body": {"anything": {"goes": 1}}}, None),
        ("s3:putObject", {"Bucket": "b", "Key": "k", "ACL": "private"}, 'The field "ACL"'),
        ("scheduler:createSchedule", {"Target": {"Arn.$": "$.a", "Rolle": "x"}}, 'The field "Target/Rolle"'),
        ("sfn:sendTaskSuccess", {"TaskToken": "x", "Output": "{}"}, None),
        ("nothing:doIt", {}, "there is no service nothing"),
        ("s3:putObject.waitForTaskToken", {"Body": {"token.$": "$$.Task.Token"}}, None),
        ("s3:putObject.waitForTaskToken", {"Body": "x"}, "handed to nobody"),
    ],
)
def test_a_call_that_nobody_has_is_found_where_it_stands(
    resource: str, parameters: dict[str, Any], found: str | None
) -> None:
    wrong = check.faults_of(machine(resource, parameters))
    assert len(wrong) == (found is not None)
    assert all(found in one and one.endswith("at /States/Both/Branches[1]/States/Call") for one in wrong if found)


def refusal(code: str, status: int, kind: str = "ClientError") -> Exception:
    answer: Any = {
        "Error": {"Code": code, "Message": "No."},
        "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "1"},
    }
    return type(kind, (ClientError,), {})(answer, "Call")


@pytest.mark.parametrize(
    ("service", "action", "error", "name"),
    [
        ("ec2", "createFleet", refusal("UnauthorizedOperation", 403), "Ec2.Ec2Exception"),
        ("s3", "putObject", refusal("PreconditionFailed", 412), "S3.S3Exception"),
        ("s3", "putObject", refusal("AccessDenied", 403, "AccessDenied"), "S3.S3Exception"),
        ("s3", "getObject", refusal("NoSuchKey", 404, "NoSuchKey"), "S3.NoSuchKeyException"),
        ("s3", "headObject", refusal("404", 404), "S3.NoSuchKeyException"),
        ("iam", "deleteRole", refusal("NoSuchEntity", 404, "NoSuchEntityException"), "Iam.NoSuchEntityException"),
        ("scheduler", "createSchedule", refusal("X", 409, "ConflictException"), "Scheduler.ConflictException"),
        ("dynamodb", "getItem", refusal("X", 400), "DynamoDb.DynamoDbException"),
    ],
)
def test_a_refusal_has_the_name_that_a_catch_knows_and_no_code_in_its_cause(
    service: str, action: str, error: Exception, name: str
) -> None:
    found = errors.named(service, action, error)
    assert found is not None
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]  # type: ignore[attr-defined]
    assert found[0] == name
    assert found[1] == f"No. (Service: {name.split('.')[0]}, Status Code: {status}, Request ID: 1)"


def test_no_answer_is_the_clients_error_and_a_wrong_parameter_nobodys() -> None:
    lost = errors.named("ec2", "createFleet", ConnectionClosedError(endpoint_url="http://x"))
    assert lost is not None and lost[0] == "Ec2.SdkClientException"
    assert errors.named("ec2", "createFleet", ParamValidationError(report="no")) is None
    assert errors.named("ec2", "createFleet", KeyError("x")) is None


@pytest.mark.parametrize(
    ("name", "wanted", "caught"),
    [
        ("S3.S3Exception", ["S3.S3Exception"], True),
        ("S3.S3Exception", ["Ec2.Ec2Exception"], False),
        ("S3.S3Exception", ["States.TaskFailed"], True),
        ("States.Timeout", ["States.TaskFailed"], False),
        ("States.Timeout", ["States.ALL"], True),
        ("States.Runtime", ["States.ALL"], False),
        ("States.Runtime", ["States.Runtime"], False),
        ("States.DataLimitExceeded", ["States.ALL"], False),
        ("States.DataLimitExceeded", ["States.DataLimitExceeded"], True),
        (None, ["States.ALL"], True),
    ],
)
def test_wildcards_catch_what_they_do_on_aws(name: str | None, wanted: list[str], caught: bool) -> None:
    assert errors.caught(name, wanted) is caught


DATA = {"rows": [{"name": "a", "ids": ["i-1"]}, {"name": "b", "ids": []}], "none": []}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$.rows[0].ids", ["i-1"]),
        ("$.rows[0].name", "a"),
        ("$['rows'][1]['name']", "b"),
        ("$.rows[*].name", ["a", "b"]),
        ("$.rows[?(@.name=='a')].name", ["a"]),
        ("$.rows[?(@.name=='c')].name", []),
        ("$.rows[1:].name", ["b"]),
        ("$..name", ["a", "b"]),
        ("$.none[*].name", []),
    ],
)
def test_a_path_of_one_place_gives_its_value_and_any_other_a_list(path: str, found: Any) -> None:
    assert paths.extract(path, DATA) == found


def test_a_path_of_one_place_that_is_not_there_is_an_error() -> None:
    from moto.stepfunctions.parser.asl.utils.json_path import NoSuchJsonPathError

    with pytest.raises(NoSuchJsonPathError, match=r"\$\.rows\[2\]\.name"):
        paths.extract("$.rows[2].name", DATA)


def handed_out() -> str:
    token = tokens.made()
    tokens.begin(token)
    return token


def test_a_token_takes_one_answer_while_its_task_lasts() -> None:
    token, outcome = handed_out(), SimpleNamespace()
    assert tokens.await_outcome(token, 0) is None
    tokens.beat(token)
    tokens.send(token, outcome)
    assert tokens.await_outcome(token, 0) is outcome
    for late in (lambda: tokens.send(token, outcome), lambda: tokens.beat(token)):
        with pytest.raises(tokens.Over):
            late()
    assert 300 < len(token) < 1024
    with pytest.raises(tokens.Unknown):
        tokens.beat(tokens.made())


def test_of_an_answer_and_the_end_of_patience_one_wins() -> None:
    silent, quick = handed_out(), handed_out()
    assert tokens.give_up(silent)
    with pytest.raises(tokens.Over):
        tokens.send(silent, SimpleNamespace())
    tokens.send(quick, SimpleNamespace())
    assert not tokens.give_up(quick)


def test_a_task_that_ended_from_outside_wakes_who_waits_for_it() -> None:
    token = handed_out()
    tokens.end(token)
    assert tokens.await_outcome(token, 3600) is None
    tokens.end("nobody's")


@pytest.mark.parametrize("output", ["no JSON", '"' + "x" * tokens.LONGEST + '"'])
def test_an_output_is_json_of_a_bounded_length(output: str) -> None:
    tokens.check("{}")
    with pytest.raises(tokens.NoOutput):
        tokens.check(output)


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"waits": -1}, "no factor"),
        ({"heartbeats": "inf"}, "no factor"),
        ({"heartbeat_error": "Mine"}, "not Mine"),
        ({"speed": 2}, "no speed"),
    ],
)
def test_a_pace_that_makes_no_sense_changes_nothing(asked: dict[str, Any], word: str) -> None:
    before = pace.current()
    with pytest.raises(ValueError, match=word):
        pace.change({"waits": 0.5, **asked})
    assert pace.current() == before


def test_a_pace_keeps_what_it_is_not_told() -> None:
    try:
        assert pace.change({"waits": 0.5})["heartbeats"] == 1
        assert pace.change({"heartbeats": 0})["waits"] == 0.5
    finally:
        pace.change({"waits": 1, "heartbeats": 1})


def test_a_rule_of_faults_tells_executions_from_machines_and_laptops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "keepers", {"ASIAKEEPER"})

    def met(source: Any) -> list[str]:
        keys = ("ASIAKEEPER", "ASIAMACHINE", "AKIALAPTOP")
        calls = [{"service": "ec2", "action": "CreateFleet", "access_key": key, "params": {}} for key in keys]
        return [call["access_key"] for call in calls if faults.Rule(source=source, lost=True).about(call)]

    found = [met(source) for source in ("keeper", "instance", "laptop")]
    assert found == [["ASIAKEEPER"], ["ASIAMACHINE"], ["AKIALAPTOP"]]
