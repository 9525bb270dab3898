"""The keeper's definition: it is valid, and each branch does what it should when AWS answers so."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from infra.aws.step_functions import name_of
from provision.engines import coming, definition, launching
from provision.engines.asl import put
from tests.simulate.asl import EPOCH, Execution, told
from tests.simulate.asl_values import Broken
from tests.simulate.keeper_drive import Keeper, Time, Waiting
from tests.simulate.keeper_seeds import LAUNCH, given

ENDS = 24 * 3600.0
LAUNCHED = f"{EPOCH:%Y-%m-%dT%H:%M:%S}Z"
SPOT = {"state": "interrupted", "reason": "spot interruption", "iteration": 700, "free": False, "why": ""}
DONE = {"state": "finished", "reason": "", "iteration": 900, "free": False, "why": ""}
FULL = {"Instances": [], "Errors": [{"ErrorCode": "InsufficientInstanceCapacity", "ErrorMessage": "none"}]}
LOST = Broken("Ec2.SdkClientException", "connection reset")
BUSY = Broken("Ec2.Ec2Exception", "slow down (Service: Ec2, Status Code: 503, Request ID: 1)")
TAKEN = Broken("S3.S3Exception", "a condition (Service: S3, Status Code: 412, Request ID: 1)")
ABSENT = Broken("S3.NoSuchKeyException", "not found (Service: S3, Status Code: 404, Request ID: 1)")
SILENT = object()


def machine(number: int, state: str = "running", **more: Any) -> dict[str, Any]:
    row = {"InstanceId": f"i-{number}", "State": {"Name": state}, "LaunchTime": LAUNCHED,
           "Placement": {"AvailabilityZone": "us-east-1a"}, **more}  # fmt: skip
    return {"Reservations": [{"Instances": [row]}]}


NOBODY: dict[str, Any] = {"Reservations": []}


class Aws:
    """Answers by action: a list of them in turn, the last one for good. `words` are those of the machines, in turn;
    SILENT for one that says nothing."""

    def __init__(self, *words: Any, **answers: Any) -> None:
        self.words = list(words)
        self.answers = {action: list(said) if isinstance(said, list) else [said] for action, said in answers.items()}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.time = Time()
        self.waiting: dict[str, Waiting] = {}
        self.launched = self.gone = 0

    def answer(self, service: str, action: str, words: dict[str, Any], execution: Execution) -> tuple[Any, float]:
        self.calls.append((action, words))
        left = self.answers.get(action)
        said = (left.pop(0) if len(left) > 1 else left[0]) if left else self._usual(action, words)
        if callable(said):
            said = said(self, words)
        if action == "putObject" and "/control/" in words["Key"] and not isinstance(said, Broken):
            self.time.after(100, lambda: self._word(words["Body"]["token"]))
        return said, 0.1

    def _usual(self, action: str, words: dict[str, Any]) -> Any:
        if action == "createFleet":
            self.launched += 1
            return {"Instances": [{"InstanceIds": [f"i-{self.launched}"]}], "Errors": []}
        if action == "describeInstances":
            sweep = words["Filters"][0]["Name"] != "instance-id"
            if sweep:
                return NOBODY
            return machine(self.launched, "terminated" if self.gone == self.launched else "running")
        if action == "terminateInstances":
            self.gone = self.launched
        if action == "getObject":
            return Broken("S3.NoSuchKeyException", "")
        return {"PolicyNames": []} if action == "listRolePolicies" else {}

    def _word(self, token: str) -> None:
        said = self.words.pop(0) if self.words else DONE
        waiting = self.waiting.get(token)
        if said is not SILENT and waiting:
            waiting.keeper.reply(token, said)

    def of(self, action: str, key: str = "") -> list[dict[str, Any]]:
        return [words for name, words in self.calls if name == action and key in words.get("Key", "")]

    def order(self) -> list[str]:
        """The actions, one after another; puts and gets with the folder."""
        return [f"{name} {words['Key'].split('/')[2]}" if "Key" in words else name for name, words in self.calls]


def kept(aws: Aws, **more: Any) -> Execution:
    """The execution, when it is over."""
    hours = more.pop("hours", 1)
    execution = Execution(definition.definition(), given(LAUNCH, ENDS, hours, **more), "r-1")
    keeper = Keeper(execution, aws.time, aws.answer, aws.waiting)
    aws.time.run(30 * ENDS, lambda: keeper.over)
    assert keeper.over, execution.entered[-1]
    assert execution.error not in ("States.Runtime", "States.DataLimitExceeded"), execution.cause
    return execution


def cleared(aws: Aws) -> bool:
    last = ["deleteSchedule", "deleteLaunchTemplate", "deleteLaunchTemplate", "deleteSecurityGroup",
            "listRolePolicies", "removeRoleFromInstanceProfile", "deleteInstanceProfile", "deleteRole"]  # fmt: skip
    return [name for name in aws.order() if name in last] == last


# form


def states() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = definition.definition()["States"]
    return found


def following(state: dict[str, Any]) -> list[str]:
    some = [one["Next"] for one in (*state.get("Choices", ()), *state.get("Catch", ()))]
    return some + [state[key] for key in ("Next", "Default") if key in state]


def test_every_state_that_is_named_is_there_and_can_be_reached() -> None:
    made = states()
    reached, todo = set(), ["Begin"]
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += following(made[name])
    assert reached == set(made)
    assert all(len(name) <= 80 for name in made)


def test_no_name_is_given_twice() -> None:
    from provision.engines import baking, clearing, working

    parts = [launching.states(), coming.states(), working.states(), baking.states(), clearing.states()]
    assert sum(map(len, parts)) == len(states())


def test_each_call_has_a_time_limit_more_tries_and_a_way_on() -> None:
    for name, state in states().items():
        if state["Type"] != "Task":
            continue
        assert state.get("TimeoutSeconds", 0) > 0 or state["TimeoutSecondsPath"] == "$.limit.seconds", name
        assert state["Retry"] and state["Catch"][-1]["ErrorEquals"] == ["States.ALL"], name
        assert "ResultPath" in state and state["ResultPath"] != "$", name


def test_only_the_work_waits_for_a_machine() -> None:
    waiting = {name: state for name, state in states().items() if "waitForTaskToken" in state.get("Resource", "")}
    assert list(waiting) == ["Work"]
    assert waiting["Work"]["HeartbeatSeconds"] == 900
    assert not any("States.ALL" in one["ErrorEquals"] for one in waiting["Work"]["Retry"])  # silence is not repeated


def test_every_call_is_one_that_aws_has() -> None:
    """Services, actions and their words, as botocore knows them."""
    import botocore.session

    session = botocore.session.get_session()
    for name, state in states().items():
        if state["Type"] == "Task":
            service, action = state["Resource"].removesuffix(".waitForTaskToken").split(":")[-2:]
            model = session.get_service_model(service).operation_model(action[0].upper() + action[1:])
            words = {key.removesuffix(".$") for key in state["Parameters"]}
            assert words <= set(model.input_shape.members), name
            assert set(model.input_shape.required_members) <= words, name


def test_the_text_is_canonical_and_names_the_machine() -> None:
    text = definition.text()
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    assert definition.machine_name() == name_of(text) == f"provision-keeper-{definition.digest()}"
    assert len(definition.digest()) == 8 and len(text) < 1_000_000
    assert "arn:aws-cn:states" in definition.text("cn-north-1")
    assert definition.machine_name("cn-north-1") != definition.machine_name("eu-west-1") == definition.machine_name()


def test_the_emulators_parser_takes_it() -> None:
    from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser

    AmazonStateLanguageParser.parse(definition.text())


def linted(machine: dict[str, Any]) -> list[str]:
    from cfnlint.api import lint_all

    properties = {"RoleArn": "arn:aws:iam::123456789012:role/x", "Definition": machine}
    resources = {"M": {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}}
    template = {"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}
    return [one.message for one in lint_all(json.dumps(template)) if one.rule.id.startswith("E")]


def test_awss_own_linter_of_the_language_takes_it() -> None:
    assert linted(definition.definition()) == []
    wrong = json.loads(definition.text())
    wrong["States"]["Claim"]["Nxt"] = wrong["States"]["Claim"].pop("Next")
    assert linted(wrong)


def test_a_filled_field_goes_before_the_plain_one() -> None:
    """AWS refuses a template with `why` and `why.$`."""
    assert put("$.a", {"why": "", "why.$": "$.b", "c": 1}, "X")["Parameters"] == {"why.$": "$.b", "c": 1}


def templates(value: Any) -> Any:
    """All objects in it."""
    if isinstance(value, dict):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from templates(one)


def test_no_field_is_filled_and_plain_at_once() -> None:
    for template in templates(definition.definition()):
        names = [key.removesuffix(".$") for key in template]
        assert len(names) == len(set(names)), template


@pytest.mark.parametrize(("seconds", "limit"), [(60, 1000), (999, 1000), (5000, 5000)])
def test_the_limit_of_the_work_is_longer_than_its_heartbeat(seconds: int, limit: int) -> None:
    """AWS refuses a task whose time is shorter than its heartbeat."""
    aws = Aws(SILENT, DONE)
    execution = Execution(definition.definition(), given(LAUNCH, ENDS, seconds=seconds), "r-1")
    seen = []
    keeper = Keeper(execution, aws.time, aws.answer, aws.waiting)
    aws.time.run(50, lambda: bool(seen.extend(one.token.until for one in aws.waiting.values()) or seen))
    assert keeper.execution.status == "RUNNING" and limit < seen[0] < limit + 50


def booting(seconds: float) -> Callable[["Aws", dict[str, Any]], Any]:
    """Each machine says that it is there so many seconds after it was first looked for."""
    since: dict[str, float] = {}

    def look(aws: Aws, words: dict[str, Any]) -> Any:
        begun = since.setdefault(words["Key"], aws.time.now)
        return {} if aws.time.now - begun >= seconds else ABSENT

    return look


def test_thirty_slow_machines_and_all_askings_fit_into_an_execution() -> None:
    """Each is known late, boots for a quarter of an hour, AWS ends its free hour late, and it takes a minute to be
    gone."""

    def slow(aws: Aws, words: dict[str, Any]) -> Any:
        if words["Filters"][0]["Name"] == "instance-id" and aws.gone == aws.launched:
            looks[aws.launched] = looks.get(aws.launched, 0) + 1
            return machine(aws.launched, "shutting-down" if looks[aws.launched] < 12 else "terminated")
        return aws._usual("describeInstances", words)

    looks: dict[int, int] = {}
    free = {**SPOT, "free": True, "left": 115}
    aws = Aws(
        *({**free, "iteration": turn} for turn in range(1, 40)), describeInstances=[NOBODY, NOBODY, slow],
        headObject=booting(900),
    )  # fmt: skip
    attempts = kept(aws, until=told(40 * ENDS), seconds=40 * int(ENDS))
    asking = kept(Aws(createFleet=FULL), waits=[1] * 3000, until=told(40 * ENDS))
    assert attempts.error == "TooManyMachines"
    assert attempts.events + asking.events < 25_000
    assert [name for _, name in attempts.entered].count("Late") >= 30 * 4


@pytest.mark.parametrize("hours", [0.1, 1, 24, 720])
def test_the_waits_of_a_market_fit_into_an_execution(hours: float) -> None:
    waits = definition.waits(hours)
    assert sum(waits) <= hours * 3600
    assert sum(waits) > 0.95 * hours * 3600
    assert len(waits) <= definition.MOST_WAITS and waits[:6] == [5, 10, 15, 30, 60, 120]


# the usual


def test_a_training_that_finishes() -> None:
    aws = Aws(DONE)
    execution = kept(aws)
    assert (execution.status, execution.output) == ("SUCCEEDED", {"word": "finished"})
    first = [
        "putObject attempts",
        "createFleet",
        "describeInstances",
        "putObject attempts",
        "createSchedule",
        "headObject keys",
        "putObject control",
        "describeInstances",
        "terminateInstances",
        "describeInstances",
        "putObject ends",
    ]
    assert aws.order()[: len(first)] == first
    assert cleared(aws)
    assert execution.events < 200


def test_the_attempt_is_claimed_without_a_machine_and_noted_with_it() -> None:
    aws = Aws(DONE)
    kept(aws, first={"resumed_from": 300, "chosen": True})
    claim, note = (words["Body"] for words in aws.of("putObject", "attempts"))
    assert aws.of("putObject", "attempts")[0]["IfNoneMatch"] == "*"
    assert claim == {
        "number": 1, "instance": "", "name": "lab", "zone": "", "started": "2026-11-20T12:00:00+00:00",
        "resumed_from": 300, "gpus": [0], "chosen": True, "made_by": "alice@thinkpad 3f2a9c1d", "terms": None,
        "launch": LAUNCH,
    }  # fmt: skip
    terms = {"launched": "2026-11-20T12:00:00+00:00", "budget": None, "hourly": 3.7}
    assert note == {**claim, "instance": "i-1", "zone": "us-east-1a", "terms": terms}


def test_the_laptop_reads_what_the_keeper_writes() -> None:
    from datetime import datetime

    from infra.border import convert
    from provision.runs.manifest import Attempt

    aws = Aws(DONE)
    kept(aws)
    claim, note = (convert(words["Body"], Attempt, "attempt") for words in aws.of("putObject", "attempts"))
    assert claim.terms is None and note.terms is not None
    assert datetime.fromisoformat(note.terms.launched) == EPOCH


def test_the_order_has_number_and_token_and_the_end_has_the_word() -> None:
    aws = Aws(DONE)
    kept(aws)
    (order,) = aws.of("putObject", "control")
    assert order["Key"] == "runs/r/control/i-1" and set(order["Body"]) == {"number", "token"}
    assert order["Body"]["number"] == "001"
    (end,) = aws.of("putObject", "ends")
    assert end["Key"] == "runs/r/ends/001.json"
    assert {**end["Body"], "time": ""} == {"number": 1, "instance": "i-1", "word": "finished", "reason": "", "time": ""}


def test_the_second_end_is_armed_for_each_machine() -> None:
    aws = Aws(SPOT, DONE, createSchedule=[{}, Broken("Scheduler.ConflictException", "is there")])
    kept(aws)
    (moved,) = aws.of("updateSchedule")
    assert json.loads(moved["Target"]["Input"]) == {"InstanceIds": ["i-2"]}
    assert moved["ScheduleExpression"].startswith("at(") and moved["ActionAfterCompletion"] == "DELETE"


# asking


def tokens(aws: Aws) -> list[str]:
    return [words["ClientToken"] for words in aws.of("createFleet")]


def test_a_refusal_waits_and_asks_with_another_token() -> None:
    launched = {"Instances": [{"InstanceIds": ["i-1"]}]}
    aws = Aws(DONE, createFleet=[FULL, FULL, launched])
    aws.launched = 1
    execution = kept(aws)
    assert execution.status == "SUCCEEDED"
    assert len(set(tokens(aws))) == 3
    assert [name for _, name in execution.entered].count("Wait") == 2
    assert all(len(token) <= 64 for token in tokens(aws))


@pytest.mark.parametrize("lost", [LOST, BUSY, Broken("States.Timeout")], ids=["reset", "busy", "timeout"])
def test_a_lost_answer_asks_with_the_same_token(lost: Broken) -> None:
    aws = Aws(DONE, createFleet=[*[lost] * 7, {"Instances": [{"InstanceIds": ["i-1"]}]}])
    aws.launched = 1
    assert kept(aws).status == "SUCCEEDED"
    assert len(tokens(aws)) == 8 and len(set(tokens(aws))) == 1


@pytest.mark.parametrize(
    "code",
    ["InsufficientInstanceCapacity", "MaxSpotInstanceCountExceeded", "SpotMaxPriceTooLow", "RequestLimitExceeded"],
)
def test_capacity_quota_and_price_are_waited_for_then_on_demand_then_it_gives_up(code: str) -> None:
    aws = Aws(createFleet={"Errors": [{"ErrorCode": code, "ErrorMessage": "no"}]})
    execution = kept(aws)
    assert (execution.error, cleared(aws)) == ("NoCapacity", True)
    assert code in execution.cause
    markets = [words["TargetCapacitySpecification"]["DefaultTargetCapacityType"] for words in aws.of("createFleet")]
    assert markets == sorted(markets, reverse=True) and set(markets) == {"spot", "on-demand"}
    assert aws.of("createFleet")[-1].keys() >= {"OnDemandOptions"} and aws.of("createFleet")[0].keys() >= {
        "SpotOptions"
    }


def test_without_a_fallback_nothing_is_asked_for_on_demand() -> None:
    aws = Aws(createFleet=FULL)
    assert kept(aws, fallback=False).error == "NoCapacity"
    assert all("SpotOptions" in words for words in aws.of("createFleet"))


@pytest.mark.parametrize("codes", [
    ["UnauthorizedOperation"], ["AuthFailure.ServiceLinkedRoleCreationNotPermitted", "InsufficientInstanceCapacity"],
    ["InvalidParameterCombination"], ["Unsupported", "Unsupported"], ["InvalidFleetConfiguration"],
])  # fmt: skip
def test_what_waiting_does_not_change_ends_it_at_once(codes: list[str]) -> None:
    aws = Aws(createFleet={"Errors": [{"ErrorCode": code, "ErrorMessage": "no"} for code in codes]})
    execution = kept(aws)
    assert (execution.error, len(tokens(aws)), cleared(aws)) == ("Refused", 1, True)
    assert codes[0] in execution.cause


def test_a_zone_without_the_type_beside_one_without_capacity_is_waited_for() -> None:
    codes = ["Unsupported", "InsufficientInstanceCapacity"]
    aws = Aws(createFleet={"Errors": [{"ErrorCode": code, "ErrorMessage": "no"} for code in codes]})
    assert kept(aws).error == "NoCapacity"


def test_a_template_that_is_new_is_waited_for_and_one_that_is_gone_is_not() -> None:
    gone = {"Errors": [{"ErrorCode": "InvalidLaunchTemplateName.NotFoundException", "ErrorMessage": "no"}]}
    assert kept(aws := Aws(DONE, createFleet=gone), hours=10).error == "Refused"
    assert len(tokens(aws)) == 4


@pytest.mark.parametrize(("status", "said", "error"), [
    (400, "the parameter is wrong", "Refused"), (403, "not authorized", "Refused"),
    (400, "vCPU limit exceeded", "NoCapacity"), (503, "slow down", "NoCapacity"),
])  # fmt: skip
def test_an_error_of_the_call_itself(status: int, said: str, error: str) -> None:
    cause = f"{said} (Service: Ec2, Status Code: {status}, Request ID: 1)"
    execution = kept(aws := Aws(createFleet=Broken("Ec2.Ec2Exception", cause)))
    assert execution.error == error and cleared(aws)
    assert error == "NoCapacity" or said in execution.cause


def test_nothing_is_asked_for_when_the_time_is_over() -> None:
    aws = Aws(createFleet=FULL)
    execution = kept(aws, hours=100)
    assert (execution.error, cleared(aws)) == ("TimeOver", True)
    assert told(ENDS - 900)[:19] in execution.cause
    assert execution.now < ENDS


def test_an_end_to_all_asking() -> None:
    aws = Aws(createFleet=FULL)
    execution = kept(aws, waits=[1] * 3000, until=told(40 * ENDS))
    assert execution.error == "NoCapacity" and len(tokens(aws)) == launching.MOST_ASKS - 1
    assert execution.events < 13_000


# claiming


def other(launch: str, number: int = 1) -> dict[str, Any]:
    return {"Body": json.dumps({"number": number, "launch": launch, "instance": "i-9"})}


def test_a_number_that_somebody_else_has_is_left_to_them() -> None:
    aws = Aws(putObject=TAKEN, getObject=other("provision-theirs-0"))
    assert (kept(aws).error, cleared(aws)) == ("Taken", True)
    assert aws.of("createFleet") == []


def test_our_own_claim_whose_answer_was_lost_is_ours() -> None:
    aws = Aws(DONE, putObject=[*[TAKEN] * 4, {}], getObject=other(LAUNCH))
    assert kept(aws).status == "SUCCEEDED"


def test_our_own_earlier_number_is_not_this_one() -> None:
    assert kept(Aws(putObject=TAKEN, getObject=other(LAUNCH, 7))).error == "Taken"


@pytest.mark.parametrize("body", ["{damaged", "[]", '"text"', "{}"])
def test_a_claim_that_cannot_be_read_is_not_ours(body: str) -> None:
    aws = Aws(putObject=TAKEN, getObject={"Body": body})
    assert kept(aws).error in ("Taken", "Unclaimed") and cleared(aws) and aws.of("createFleet") == []


def test_without_s3_nothing_is_asked_for() -> None:
    no = Broken("S3.S3Exception", "no (Service: S3, Status Code: 500, Request ID: 1)")
    execution = kept(aws := Aws(putObject=no, getObject=no))
    assert execution.error == "Unclaimed" and "Status Code: 500" in execution.cause and aws.of("createFleet") == []


# from a machine to its order


def test_a_machine_that_is_not_known_yet_is_looked_for_again() -> None:
    aws = Aws(DONE, describeInstances=[NOBODY, NOBODY, lambda aws, words: aws._usual("describeInstances", words)])
    assert kept(aws).status == "SUCCEEDED"


def test_a_machine_that_ended_at_once_is_asked_for_anew_under_the_same_number() -> None:
    usual: Callable[[Aws, Any], Any] = lambda aws, words: aws._usual("describeInstances", words)  # noqa: E731
    aws = Aws(DONE, describeInstances=[machine(1, "terminated"), usual])
    assert kept(aws).status == "SUCCEEDED"
    assert len(set(tokens(aws))) == 2
    assert aws.of("putObject", "control")[0]["Key"].endswith("i-2")
    assert aws.of("putObject", "control")[0]["Body"]["number"] == "001"


@pytest.mark.parametrize(("action", "why"), [
    ("createSchedule", "Scheduler.SchedulerException"), ("describeInstances", "Ec2.Ec2Exception"),
])  # fmt: skip
def test_a_step_before_the_order_that_fails_ends_the_machine_and_twice_ends_it_all(action: str, why: str) -> None:
    def fails(aws: Aws, words: dict[str, Any]) -> Any:
        looks = action == "describeInstances" and aws.gone == aws.launched
        return aws._usual(action, words) if looks else Broken(why, "no")

    aws = Aws(**{action: fails})
    execution = kept(aws)
    assert (execution.error, aws.launched, cleared(aws)) == ("Unready", 2, True)
    assert why in execution.cause
    assert aws.of("putObject", "control") == []
    assert len(aws.of("terminateInstances")) == 2


def test_an_order_that_cannot_be_written_loses_the_machine() -> None:
    def refuses(aws: Aws, words: dict[str, Any]) -> Any:
        return Broken("S3.S3Exception", "no") if "/control/i-1" in words["Key"] else {}

    aws = Aws(DONE, putObject=refuses)
    assert kept(aws).status == "SUCCEEDED"
    assert [words["Body"]["word"] for words in aws.of("putObject", "ends")] == ["lost", "finished"]


# from its second end to its order


@pytest.mark.parametrize("minutes", [0, 1, 16, 22])
def test_a_machine_gets_its_order_when_it_is_there_however_long_it_boots(minutes: int) -> None:
    aws = Aws(DONE, headObject=booting(60 * minutes))
    execution = kept(aws)
    assert (execution.status, aws.launched) == ("SUCCEEDED", 1)
    first = next(at for at, name in execution.entered if name == "Here?")
    ordered = next(at for at, name in execution.entered if name == "Work")
    assert 0 <= ordered - first - 60 * minutes < (20 if minutes < 2 else 90)
    assert aws.of("headObject")[0]["Key"] == "runs/r/keys/i-1"


def test_a_machine_that_never_comes_is_ended_and_after_two_there_is_no_third() -> None:
    execution = kept(aws := Aws(headObject=ABSENT))
    assert (execution.error, aws.launched, cleared(aws)) == ("Unready", 2, True)
    assert coming.NEVER in execution.cause
    assert aws.of("putObject", "control") == [] and len(aws.of("terminateInstances")) == 2
    begun, ended = (next(at for at, name in execution.entered if name == state) for state in ("Coming", "End"))
    assert coming.COME_MIN * 60 < ended - begun < (coming.COME_MIN + 5) * 60


def test_a_look_that_does_not_answer_ends_no_machine_that_boots() -> None:
    """A machine that was seen starting is taken to boot on."""

    def dark(aws: Aws, words: dict[str, Any]) -> Any:
        wanted = words["Filters"][0]["Name"] == "instance-id" and not aws.of("putObject", "control")
        return BUSY if wanted and aws.of("headObject") else aws._usual("describeInstances", words)

    assert kept(aws := Aws(DONE, headObject=booting(300), describeInstances=dark)).status == "SUCCEEDED"
    assert aws.launched == 1


@pytest.mark.parametrize(("code", "error", "machines"), [
    ("Client.InstanceInitiatedShutdown", "Unready", 2), ("Client.UserInitiatedShutdown", "EndedWithMachine", 1),
    ("Server.SpotInstanceTermination", "", 2),
])  # fmt: skip
def test_a_machine_that_ends_while_it_boots_is_seen_within_a_minute(code: str, error: str, machines: int) -> None:
    """One whose host files are missing or damaged powers itself off: with the next one it would be the same."""

    def ended(aws: Aws, words: dict[str, Any]) -> Any:
        there = words["Filters"][0]["Name"] == "instance-id" and bad(aws) and aws.of("headObject", f"i-{aws.launched}")
        return machine(aws.launched, "terminated", StateReason={"Code": code}) if there else aws._usual(
            "describeInstances", words)  # fmt: skip

    def bad(aws: Aws) -> bool:
        return aws.launched == 1 or error == "Unready"

    aws = Aws(DONE, describeInstances=ended, headObject=lambda aws, words: ABSENT if bad(aws) else {})
    execution = kept(aws)
    assert (execution.error, aws.launched, cleared(aws)) == (error, machines, True)
    begun, seen = (next(at for at, name in execution.entered if name == state) for state in ("Coming", "Ended early"))
    assert seen - begun < 60
    assert error != "Unready" or "ended itself without a word" in execution.cause


# what a machine says, and what becomes of it


def test_a_training_that_failed_is_not_repeated() -> None:
    execution = kept(aws := Aws({**DONE, "state": "failed", "reason": "exit code 1"}))
    assert (execution.error, aws.launched, cleared(aws)) == ("TrainingFailed", 1, True)


def test_a_training_that_was_stopped_is_over() -> None:
    assert kept(Aws({**DONE, "state": "stopped"})).output == {"word": "stopped"}


def test_an_interrupted_training_goes_on_with_the_next_number_from_its_snapshot() -> None:
    aws = Aws(SPOT, DONE)
    assert kept(aws).status == "SUCCEEDED"
    claims = [words["Body"] for words in aws.of("putObject", "attempts") if not words["Body"]["instance"]]
    assert [(one["number"], one["resumed_from"], one["chosen"]) for one in claims] == [(1, 0, False), (2, 700, False)]
    assert [words["Key"] for words in aws.of("putObject", "ends")] == ["runs/r/ends/001.json", "runs/r/ends/002.json"]


def test_the_old_machine_is_gone_before_another_is_asked_for() -> None:
    aws = Aws(SPOT, DONE)
    kept(aws)
    order = aws.order()
    first, second = (index for index, name in enumerate(order) if name == "createFleet")
    assert "terminateInstances" in order[first:second]
    assert order[second - 2 : second] == ["putObject ends", "putObject attempts"]


def free(*states: str, left: Any = 115) -> Aws:
    """The looks while the machine is let end by itself, then the usual."""
    usual: Callable[[Aws, Any], Any] = lambda aws, words: aws._usual("describeInstances", words)  # noqa: E731
    return Aws(
        {**SPOT, "free": True, "left": left}, DONE,
        describeInstances=[machine(1), *(machine(1, one) for one in states), usual],
    )  # fmt: skip


def test_a_free_hour_is_ended_by_aws() -> None:
    aws = free("running", "running", "shutting-down")
    kept(aws)
    assert aws.order().index("terminateInstances") == 7 + 3 + 1  # after three looks, and the one before the end


def test_a_free_hour_is_waited_for_no_longer_than_that() -> None:
    aws = free(*["running"] * 60)
    aws.gone = 0
    execution = kept(aws)
    begun, ended = (next(at for at, name in execution.entered if name == state) for state in ("A free hour", "End"))
    assert 150 <= ended - begun <= 450


@pytest.mark.parametrize(("left", "first"), [(118, 100), (100, 100), (99, 50), (50, 50), (49, 4), (0, 4), ("oh", 4)])
def test_most_of_a_notice_passes_in_one_wait(left: Any, first: int) -> None:
    aws = free("shutting-down", left=left)
    execution = kept(aws)
    begun, looked = (
        next(at for at, name in execution.entered if name == state) for state in ("A free hour", "Is it ended?")
    )
    assert looked - begun == first


def test_a_machine_that_pays_for_its_hour_is_ended_at_once() -> None:
    execution = kept(Aws(SPOT, DONE))
    assert "Let AWS end it" not in [name for _, name in execution.entered]


def test_a_silent_machine_is_ended_after_a_quarter_of_an_hour_and_replaced() -> None:
    aws = Aws(SILENT, DONE)
    execution = kept(aws)
    assert execution.status == "SUCCEEDED" and aws.launched == 2
    begun, ended = (next(at for at, name in execution.entered if name == state) for state in ("Work", "End"))
    assert 900 <= ended - begun < 910
    assert aws.of("putObject", "ends")[0]["Body"]["reason"] == "States.HeartbeatTimeout"


@pytest.mark.parametrize(("code", "error", "machines"), [
    ("Client.UserInitiatedShutdown", "EndedWithMachine", 1),
    ("Client.InstanceInitiatedShutdown", "", 2),
    ("Server.SpotInstanceTermination", "", 2), ("Server.InternalError", "", 2),
])  # fmt: skip
def test_a_silent_machine_that_was_ended(code: str, error: str, machines: int) -> None:
    usual: Callable[[Aws, Any], Any] = lambda aws, words: aws._usual("describeInstances", words)  # noqa: E731
    ended = machine(1, "terminated", StateReason={"Code": code})
    aws = Aws(SILENT, DONE, describeInstances=[machine(1), ended, usual])
    assert (kept(aws).error, aws.launched, cleared(aws)) == (error, machines, True)


def test_machines_that_end_themselves_without_a_word_are_two_at_most() -> None:
    """A boot that fails powers the machine off: there the files of the host, or S3, may be what is wrong."""
    ended = machine(1, "terminated", StateReason={"Code": "Client.InstanceInitiatedShutdown"})
    usual: Callable[[Aws, Any], Any] = lambda aws, words: aws._usual("describeInstances", words)  # noqa: E731
    aws = Aws(SILENT, SILENT, DONE, describeInstances=[machine(1), ended, usual, machine(2), ended, usual])
    execution = kept(aws)
    assert (execution.error, aws.launched, cleared(aws)) == ("Unready", 2, True)
    assert "ended itself without a word" in execution.cause


@pytest.mark.parametrize(("code", "error"), [("Server.SpotInstanceTermination", ""), ("", "EndedWithMachine")])
def test_a_power_off_is_a_persons_unless_it_is_awss(code: str, error: str) -> None:
    usual: Callable[[Aws, Any], Any] = lambda aws, words: aws._usual("describeInstances", words)  # noqa: E731
    more = {"StateReason": {"Code": code}} if code else {}
    aws = Aws({**SPOT, "reason": "power-off"}, DONE, describeInstances=[machine(1), machine(1, **more), usual])
    assert kept(aws).error == error


@pytest.mark.parametrize("said", [{}, [], "text", None, 7, {"state": "great"}, {"state": ["finished"]}])
def test_an_answer_that_is_no_word_is_silence(said: Any) -> None:
    aws = Aws(said, DONE)
    assert kept(aws).status == "SUCCEEDED"
    assert aws.of("putObject", "ends")[0]["Body"]["word"] == "lost"


def test_an_answer_with_less_in_it_is_filled_up() -> None:
    assert kept(Aws({"state": "interrupted", "reason": "spot interruption"}, {"state": "finished"})).error == ""


def test_unready_twice_for_one_reason_is_not_tried_a_third_time() -> None:
    no = {"state": "unready", "why": "the image has another sum"}
    execution = kept(aws := Aws(no, no, DONE))
    assert (execution.error, aws.launched, cleared(aws)) == ("Unready", 2, True)
    assert "the image has another sum" in execution.cause
    assert [(words["Body"]["word"], words["Body"]["reason"]) for words in aws.of("putObject", "ends")] == [
        ("unready", "the image has another sum")
    ] * 2


def test_unready_for_two_reasons_is_tried_again() -> None:
    assert kept(Aws({"state": "unready", "why": "a"}, {"state": "unready", "why": "b"}, DONE)).status == "SUCCEEDED"


def test_progress_forgets_an_old_reason() -> None:
    no = {"state": "unready", "why": "a"}
    assert kept(Aws(no, SPOT, no, DONE)).status == "SUCCEEDED"


def test_machines_without_progress_come_to_an_end() -> None:
    execution = kept(aws := Aws(*[{**SPOT, "iteration": 0}] * 9))
    assert (execution.error, aws.launched) == ("Barren", 5)


def snapshots_of(progress: Callable[[int], Any]) -> Callable[["Aws", dict[str, Any]], Any]:
    """state.json of the newest machine, which still says that it trains, with the iteration of its newest snapshot."""

    def read(aws: Aws, words: dict[str, Any]) -> Any:
        number = int(aws.of("putObject", "control")[-1]["Body"]["number"])
        return word(state="running", attempt=number, instance=f"i-{number}", iteration=progress(number))

    return read


def test_machines_that_fall_silent_and_brought_newer_snapshots_are_not_barren() -> None:
    aws = Aws(*[SILENT] * 8, DONE, getObject=snapshots_of(lambda number: 100 * number))
    execution = kept(aws)
    assert (execution.status, aws.launched) == ("SUCCEEDED", 9)
    claims = [words["Body"] for words in aws.of("putObject", "attempts") if not words["Body"]["instance"]]
    assert [one["resumed_from"] for one in claims] == [100 * turn for turn in range(9)]


@pytest.mark.parametrize("progress", [lambda _: 100, lambda _: 0, lambda _: "900", lambda _: None, lambda _: [9]])
def test_machines_that_fall_silent_and_brought_none_are_barren(progress: Callable[[int], Any]) -> None:
    execution = kept(aws := Aws(*[SILENT] * 9, getObject=snapshots_of(progress)))
    assert execution.error == "Barren" and aws.launched in (5, 6)


def test_machines_with_progress_go_on_to_the_last_number() -> None:
    aws = Aws(*[{**SPOT, "iteration": 10 * turn} for turn in range(1, 40)])
    execution = kept(aws)
    assert (execution.error, aws.launched, cleared(aws)) == ("TooManyMachines", 30, True)
    assert execution.events < 25_000 / 4


# state.json of a silent machine


def word(**more: Any) -> dict[str, Any]:
    return {"Body": json.dumps({"state": "finished", "attempt": 1, "instance": "i-1", "reason": None, **more})}


def test_the_last_word_of_a_silent_machine_counts() -> None:
    execution = kept(aws := Aws(SILENT, getObject=word()))
    assert (execution.output, aws.launched) == ({"word": "finished"}, 1)
    assert aws.of("getObject")[0]["Range"] == "bytes=0-149999"


@pytest.mark.parametrize("body", [
    word(attempt=2), word(instance="i-9"), word(state="running"), word(attempt="1"), word(state=7), word(instance=None),
    {"Body": "{damaged"}, {"Body": ""}, {"Body": "[]"}, {"Body": '"finished"'}, {"Body": "{}"},
    Broken("S3.NoSuchKeyException", ""), Broken("S3.S3Exception", "no"),
], ids=range(13))  # fmt: skip
def test_a_word_of_another_or_no_word_is_silence(body: Any) -> None:
    aws = Aws(SILENT, DONE, getObject=body)
    assert kept(aws).status == "SUCCEEDED"
    assert aws.launched == 2 and aws.of("putObject", "ends")[0]["Body"]["word"] == "lost"


def test_a_machine_that_trained_and_ended_itself_without_a_word_is_not_replaced() -> None:
    ended = machine(1, "terminated", StateReason={"Code": "Client.InstanceInitiatedShutdown"})
    usual: Callable[[Aws, Any], Any] = lambda aws, words: aws._usual("describeInstances", words)  # noqa: E731
    running = word(state="running")
    aws = Aws(SILENT, DONE, describeInstances=[machine(1), ended, usual], getObject=running)
    assert (kept(aws).error, aws.launched) == ("EndedWithMachine", 1)


def test_a_failure_that_only_the_file_tells_is_not_repeated() -> None:
    assert kept(aws := Aws(SILENT, getObject=word(state="failed"))).error == "TrainingFailed"
    assert aws.launched == 1


# ending


def test_a_machine_that_cannot_be_ended_keeps_its_second_end() -> None:
    aws = Aws(DONE, describeInstances=machine(1, "running"), terminateInstances=Broken("Ec2.Ec2Exception", "403"))
    execution = kept(aws)
    assert execution.error == "StillThere" and "i-1" in execution.cause and "two deadlines" in execution.cause
    assert aws.of("deleteSchedule") == [] and aws.of("deleteRole") == []
    assert 600 < execution.now - 100 < 3 * 3600
    assert execution.events < 10_000


def test_an_order_to_end_whose_answer_was_lost_is_looked_after() -> None:
    def lost(aws: Aws, words: dict[str, Any]) -> Broken:
        aws.gone = aws.launched
        return LOST

    assert kept(Aws(DONE, terminateInstances=lost)).status == "SUCCEEDED"


def test_a_machine_that_takes_its_time_to_end_is_waited_for() -> None:
    usual: Callable[[Aws, Any], Any] = lambda aws, words: aws._usual("describeInstances", words)  # noqa: E731
    slow = [machine(1, "shutting-down")] * 30
    aws = Aws(DONE, describeInstances=[machine(1), machine(1), *slow, usual])
    assert kept(aws).status == "SUCCEEDED"
    assert len(aws.of("terminateInstances")) == 1


def test_a_machine_that_lives_though_it_was_ended_is_ended_again() -> None:
    usual: Callable[[Aws, Any], Any] = lambda aws, words: aws._usual("describeInstances", words)  # noqa: E731
    aws = Aws(DONE, describeInstances=[*[machine(1)] * 4, usual])
    assert kept(aws).status == "SUCCEEDED"
    assert len(aws.of("terminateInstances")) == 3


def test_machines_that_nobody_knows_of_are_swept() -> None:
    def living(aws: Aws, words: dict[str, Any]) -> Any:
        if words["Filters"][0]["Name"] == "instance-id":
            return aws._usual("describeInstances", words)
        assert words["Filters"][0] == {"Name": "tag:provision:resource", "Values": [LAUNCH]}
        swept = [words for words in aws.of("terminateInstances") if words["InstanceIds"] == ["i-7"]]
        return NOBODY if swept else machine(7)

    aws = Aws(DONE, describeInstances=living)
    assert kept(aws).status == "SUCCEEDED"
    assert cleared(aws)


@pytest.mark.parametrize("action", [
    "deleteSchedule", "deleteLaunchTemplate", "deleteSecurityGroup", "listRolePolicies", "deleteRolePolicy",
    "removeRoleFromInstanceProfile", "deleteInstanceProfile", "deleteRole", "publish",
])  # fmt: skip
def test_what_cannot_be_cleared_holds_up_nothing(action: str) -> None:
    aws = Aws(DONE, notify="arn:topic", **{"listRolePolicies": {"PolicyNames": ["run"]}, action: Broken("Any.Error")})
    execution = kept(aws, notify="arn:topic")
    assert execution.output == {"word": "finished"}
    assert aws.order()[-1] == "publish"
    assert aws.of("deleteRole")


def test_a_group_in_use_is_waited_for() -> None:
    busy = Broken("Ec2.Ec2Exception", "DependencyViolation")
    aws = Aws(DONE, deleteSecurityGroup=[*[busy] * 9, {}])
    assert kept(aws).status == "SUCCEEDED" and len(aws.of("deleteSecurityGroup")) == 10


def test_each_policy_of_the_role_goes() -> None:
    left = ["run", "data", "session-manager"]

    def gone(aws: Aws, words: dict[str, Any]) -> Any:
        left.remove(words["PolicyName"])
        return Broken("Iam.NoSuchEntityException") if words["PolicyName"] == "data" else {}  # its answer was lost

    kept(Aws(DONE, listRolePolicies=lambda aws, words: {"PolicyNames": list(left)}, deleteRolePolicy=gone))
    assert left == []


# telling


def test_who_wants_to_know_is_told_of_interruptions_and_of_the_end() -> None:
    aws = Aws(SPOT, DONE)
    kept(aws, notify="arn:topic")
    interrupted, over = aws.of("publish")
    assert interrupted["TopicArn"] == over["TopicArn"] == "arn:topic"
    assert interrupted["Subject"] == "provision: interrupted"
    assert interrupted["Message"] == (
        "attempt 001 of r was interrupted, and another machine is asked for: nothing is to be done. type events"
    )
    assert over["Subject"] == "provision: finished" and over["Message"] == "r: finished. type fetch"


def test_who_is_told_of_a_failure_hears_why_and_what_to_type() -> None:
    aws = Aws({**DONE, "state": "failed"})
    kept(aws, notify="arn:topic")
    [over] = aws.of("publish")
    assert over["Subject"] == "provision: failed"
    assert over["Message"] == "r: failed. the training failed by itself; it is not tried again. type resume"


def test_nobody_is_told_who_did_not_ask() -> None:
    aws = Aws(SPOT, DONE)
    kept(aws)
    assert aws.of("publish") == []
