"""The interpreter of the States Language that the keeper is tested with: what it does, and what it refuses."""

from typing import Any

import pytest

from tests.simulate.asl import Call, Execution, Pause, Token, holds, told
from tests.simulate.asl_values import MISSING, Broken, expressed, filled, find

DATA = {"a": {"b": [1, 2], "deep": {"name": "x"}}, "rows": [{"id": "i-1"}, {"id": "i-2"}, {}], "n": 3, "t": "a{b}"}
CONTEXT = {"State": {"EnteredTime": told(60)}, "Execution": {"Name": "r-1"}}


@pytest.mark.parametrize(("path", "value"), [
    ("$", DATA), ("$.n", 3), ("$.a.b[1]", 2), ("$.a.b[2]", MISSING), ("$.a.c", MISSING), ("$.n.x", MISSING),
    ("$.rows[*].id", ["i-1", "i-2"]), ("$..id", ["i-1", "i-2"]), ("$..none[*].id", []), ("$.a.c[*]", MISSING),
    ("$..rows[*].id", ["i-1", "i-2"]), ("$$.Execution.Name", "r-1"), ("$..name", ["x"]),
])  # fmt: skip
def test_paths(path: str, value: Any) -> None:
    assert find(path, DATA, CONTEXT) == value


@pytest.mark.parametrize("path", ["a", "$.a[?(@.b)]", "$.a[-1]", "$.a[0:1]"])
def test_paths_that_it_does_not_know(path: str) -> None:
    with pytest.raises(ValueError):
        find(path, DATA, CONTEXT)


@pytest.mark.parametrize(("text", "value"), [
    ("$.n", 3), ("States.MathAdd($.n, -1)", 2), ("States.Array($.n, 'x', true, null)", [3, "x", True, None]),
    ("States.Format('{} of {}: {}', $.n, 'it\\'s', true)", "3 of it's: true"), ("States.ArrayLength($.a.b)", 2),
    ("States.ArrayGetItem($.a.b, States.MathAdd(0, 1))", 2), ("States.JsonToString($.a.b)", "[1,2]"),
    ("States.StringToJson('{\"x\": 1}')", {"x": 1}), ("States.StringSplit('1.2+3', '.+')", ["1", "2", "3"]),
    ("States.JsonMerge($.a, $.a.deep, false)", {**DATA["a"], "name": "x"}),
])  # fmt: skip
def test_functions(text: str, value: Any) -> None:
    assert expressed(text, DATA, CONTEXT) == value


FAILS = "States.IntrinsicFailure"


@pytest.mark.parametrize(("text", "error"), [
    ("$.none", "States.Runtime"), ("States.ArrayGetItem($.a.b, 2)", FAILS), ("States.ArrayGetItem($.a.b, -1)", FAILS),
    ("States.Format('{}', $.a)", FAILS), ("States.Format('{} {}', 1)", FAILS), ("States.StringToJson('{')", FAILS),
    ("States.JsonMerge($.a, $.n, false)", FAILS), ("States.MathAdd('1', 1)", FAILS),
])  # fmt: skip
def test_what_breaks(text: str, error: str) -> None:
    with pytest.raises(Broken) as broken:
        expressed(text, DATA, CONTEXT)
    assert broken.value.error == error


def test_templates() -> None:
    template = {"plain": {"x.$": "$.n"}, "list": [{"y.$": "$.t"}, 1], "null": None}
    assert filled(template, DATA, CONTEXT) == {"plain": {"x": 3}, "list": [{"y": "a{b}"}, 1], "null": None}
    with pytest.raises(ValueError, match="twice"):
        filled({"x": 1, "x.$": "$.n"}, DATA, CONTEXT)
    with pytest.raises(ValueError, match="no function"):
        expressed("States.UUID()", DATA, CONTEXT)


@pytest.mark.parametrize(("rule", "value"), [
    ({"Variable": "$.n", "NumericLessThan": 4}, True), ({"Variable": "$.n", "NumericEqualsPath": "$.a.b[0]"}, False),
    ({"Variable": "$.n", "StringEquals": "3"}, False), ({"Variable": "$.t", "StringMatches": "a*}"}, True),
    ({"Variable": "$.t", "StringMatches": "a?b?"}, False), ({"Variable": "$.x", "IsPresent": False}, True),
    ({"Variable": "$.n", "BooleanEquals": True}, False), ({"Variable": "$.t", "IsNumeric": True}, False),
    ({"And": [{"Variable": "$.x", "IsPresent": True}, {"Variable": "$.x", "StringEquals": "a"}]}, False),
    ({"Or": [{"Variable": "$.n", "NumericEquals": 3}, {"Variable": "$.x", "StringEquals": "a"}]}, True),
    ({"Not": {"Variable": "$.n", "NumericEquals": 3}}, False),
    ({"Variable": "$$.State.EnteredTime", "TimestampGreaterThanEqualsPath": "$.at"}, True),
])  # fmt: skip
def test_choices(rule: dict[str, Any], value: bool) -> None:
    assert holds(rule, {**DATA, "at": "2026-11-20T12:01:00Z"}, CONTEXT) is value


def test_a_choice_on_what_is_not_there_breaks_the_execution() -> None:
    with pytest.raises(Broken) as broken:
        holds({"Variable": "$.x", "StringEquals": "a"}, DATA, CONTEXT)
    assert broken.value.error == "States.Runtime"


# executions

END = {"Type": "Succeed"}


def call(**more: Any) -> dict[str, Any]:
    return {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:getObject", "Parameters": {"Key.$": "$.key"},
            "TimeoutSeconds": 60, "ResultPath": "$.got", "Next": "End", **more}  # fmt: skip


def execution(given: Any = None, **states: Any) -> Execution:
    return Execution({"StartAt": next(iter(states)), "States": {**states, "End": END}}, given or {"key": "k"}, "r-1")


def driven(one: Execution, *answers: Any) -> list[Any]:
    """What it wants, when it is given these answers; what is Broken is thrown."""
    steps, left, wanted = one.steps(), list(answers), []
    try:
        now = next(steps)
        while True:
            wanted.append(now)
            if isinstance(now, Pause):
                one.now = now.until
                now = steps.send(None)
            else:
                answer = left.pop(0)
                now = steps.throw(answer) if isinstance(answer, Broken) else steps.send(answer)
    except StopIteration:
        return wanted


def test_a_call_its_answer_and_its_events() -> None:
    one = execution(Get=call(ResultSelector={"body.$": "$.Body"}))
    assert driven(one, {"Body": "text", "More": 1}) == [Call("s3", "getObject", {"Key": "k"}, 60)]
    assert (one.status, one.output) == ("SUCCEEDED", {"key": "k", "got": {"body": "text"}})
    assert one.events == 1 + 5 + 2 + 1  # the begin, a task's, a Succeed's, the end: as AWS counts


RETRY = {"ErrorEquals": ["States.ALL"], "IntervalSeconds": 2, "MaxAttempts": 2, "BackoffRate": 3, "MaxDelaySeconds": 5}
CATCH = {"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "End"}
NO = Broken("S3.S3Exception", "no")


def test_more_tries_with_growing_pauses_and_then_a_catch() -> None:
    one = execution(Get=call(Retry=[RETRY], Catch=[CATCH]))
    wanted = driven(one, NO, NO, NO)
    assert [step.until for step in wanted if isinstance(step, Pause)] == [2, 2 + 5]
    assert one.output == {"key": "k", "error": {"Error": "S3.S3Exception", "Cause": "no"}}
    again = execution(Get=call(Retry=[RETRY]))
    driven(again, NO, {"Body": ""})
    assert again.status == "SUCCEEDED"


def test_the_first_retrier_that_fits_decides() -> None:
    never = {**RETRY, "ErrorEquals": ["S3.S3Exception"], "MaxAttempts": 0}
    one = execution(Get=call(Retry=[never, RETRY], Catch=[CATCH]))
    assert len(driven(one, NO)) == 1


@pytest.mark.parametrize("error", ["States.Runtime", "States.DataLimitExceeded"])
def test_what_nothing_catches(error: str) -> None:
    one = execution(Get=call(Retry=[RETRY], Catch=[CATCH]))
    driven(one, Broken(error, "x"))
    assert (one.status, one.error) == ("FAILED", error)


def test_a_function_that_fails_in_a_task_is_caught_and_in_a_pass_is_not() -> None:
    one = execution(Get=call(ResultSelector={"is.$": "States.StringToJson($.Body)"}, Catch=[CATCH]))
    driven(one, {"Body": "{"})
    assert one.output["error"]["Error"] == "States.IntrinsicFailure"
    parse = {"Type": "Pass", "Parameters": {"is.$": "States.StringToJson($.key)"}, "Next": "End"}
    other = execution(Parse=parse)
    driven(other)
    assert other.error == "States.IntrinsicFailure"


def test_data_of_more_than_256_kib_ends_it() -> None:
    one = execution(Get=call(Catch=[CATCH]))
    driven(one, {"Body": "x" * 300_000})
    assert one.error == "States.DataLimitExceeded"


def test_a_token_is_waited_for() -> None:
    work = call(Resource="arn:aws:states:::aws-sdk:s3:putObject.waitForTaskToken", HeartbeatSeconds=9,
                Parameters={"Body": {"token.$": "$$.Task.Token"}})  # fmt: skip
    one = execution(Work=work)
    put, token = driven(one, {}, {"state": "finished"})
    assert isinstance(token, Token) and put.words["Body"]["token"] == token.token and token.beat == 9
    assert one.output["got"] == {"state": "finished"}


def test_waits_fails_and_loops_without_end() -> None:
    given = {"pause": 7, "word": "Bad", "why": "since"}
    fail = {"Type": "Fail", "ErrorPath": "$.word", "CausePath": "$.why"}
    one = execution(given, Wait={"Type": "Wait", "SecondsPath": "$.pause", "Next": "Fail"}, Fail=fail)
    assert driven(one) == [Pause(7)]
    assert (one.status, one.error, one.cause) == ("FAILED", "Bad", "since")
    loop = {"Type": "Pass", "Parameters": {}, "Next": "Loop"}
    endless = execution(Loop=loop)
    driven(endless)
    assert "history events" in endless.cause


@pytest.mark.parametrize("state", [
    call(InputPath="$.x"), {"Type": "Wait", "Timestamp": "x", "Next": "End"}, call(Resource="arn:aws:lambda:::f"),
    call(Catch=[{**CATCH, "Assign": {}}]), call(ResultPath="$.a.b"),
])  # fmt: skip
def test_what_it_does_not_know_is_a_mistake(state: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        driven(execution(State=state), NO if "Catch" in state else {})


def test_times_are_told_as_aws_tells_them() -> None:
    assert told(60.5) == "2026-11-20T12:01:00.500Z"
