"""`prove`: what is decided between the promises, and that all is ended; what AWS is asked, with fakes."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from infra.aws import fault_injection, witness
from infra.aws.fault_injection import Notices
from infra.aws.session import Cloud
from infra.errors import AuthError, CloudError, LeftoverError, ProvisionError, UsageError
from infra.host import script
from provision.clouds import Session
from provision.commands import prove as command
from provision.proving import machine, role
from provision.proving.promise import BrokenError, LeftOutError, Promise, Report, Trial, Verdict
from provision.proving.table import PROMISES, audited, costed, most
from provision.proving.trying import end_all, prove
from provision.runs.store import Run
from provision.settings import Settings
from tests.unit.fake_aws import CLOUD, FakeAws, Refused


@dataclass
class Purse(Trial):
    """A trial that has spent what it is told."""

    gone: float = 0.0
    unknown: bool = False
    said: list[str] = field(default_factory=list)

    @property
    def hourly(self) -> float:
        return 0.6

    def spent(self) -> float:
        if self.unknown:
            raise CloudError("AWS does not tell", "")
        return self.gone


def purse(**more: Any) -> Purse:
    said: list[str] = []
    return Purse(Session(CLOUD, Settings(), said.append), "c5.large", 1.0, None, said=said, **more)  # type: ignore[arg-type]


def promise(name: str, act: Callable[[Trial], str], **more: Any) -> Promise:
    return Promise(name, "something", "somehow", act, **more)


def raises(error: BaseException) -> Callable[[Trial], str]:
    def act(_: Trial) -> str:
        raise error

    return act


def good(_: Trial) -> str:
    return "seen"


def spends(amount: float) -> Callable[[Trial], str]:
    def act(trial: Trial) -> str:
        assert isinstance(trial, Purse)
        trial.gone += amount
        return "spent"

    return act


def words(report: Report) -> list[str]:
    return [one.word for one in report.verdicts]


def tried(trial: Trial, *table: Promise, quick: bool = False, left: tuple[str, ...] = ()) -> Report:
    return prove(trial, table, quick, lambda _: None, lambda _: list(left))


def test_a_promise_that_does_not_hold_is_told_and_the_rest_goes_on() -> None:
    told: list[Verdict] = []
    table = [
        promise("a", raises(BrokenError("two hops"))),
        promise("b", raises(CloudError("AWS is away", "later"))),
        promise("c", raises(LeftOutError("no notice"))),
        promise("d", good),
    ]
    report = prove(purse(), table, False, told.append, lambda _: [])
    assert words(report) == ["DOES NOT HOLD", "not proven", "left out", "holds"]
    assert [one.found for one in report.verdicts] == ["two hops", "AWS is away", "no notice", "seen"]
    assert told == report.verdicts
    assert [one.promise.name for one in report.broken] == ["a", "b"]


def test_what_may_not_be_asked_names_the_policy_that_a_trial_takes() -> None:
    [verdict] = tried(purse(), promise("a", raises(AuthError("not allowed", "")))).verdicts
    assert verdict.word == "not proven" and "provision iam-policy --prove --cloud fake" in verdict.found


def test_what_costs_stops_where_the_next_one_might_go_beyond_the_budget() -> None:
    table = [
        promise("first", spends(0.5), minutes=50),  # 0.6 an hour
        promise("dear", good, minutes=60),
        promise("cheap", good, minutes=1),
        promise("free", good),
    ]
    assert words(tried(purse(), *table)) == ["holds", "left out", "left out", "holds"]
    assert words(tried(replace(purse(), dollars=2.0), *table)) == ["holds"] * 4


def test_dollars_that_are_no_machines_count() -> None:
    assert words(tried(purse(), promise("notice", good, more=1.01))) == ["left out"]
    assert words(tried(purse(), promise("notice", good, more=0.99))) == ["holds"]


def test_where_nobody_tells_what_was_spent_nothing_more_is_spent() -> None:
    report = tried(purse(unknown=True), promise("paid", good, minutes=1), promise("free", good))
    assert words(report) == ["left out", "holds"]
    assert report.cost == 1.0


def test_quick_leaves_out_what_is_slow() -> None:
    table = [promise("slow", good, slow=True), promise("other", good)]
    assert words(tried(purse(), *table, quick=True)) == ["left out", "holds"]
    assert words(tried(purse(), *table)) == ["holds", "holds"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError()], ids=["ctrl-c", "a bug"])
def test_all_is_ended_whatever_happens(error: BaseException) -> None:
    trial = purse()
    ended: list[Trial] = []

    def end(one: Trial) -> list[str]:
        ended.append(one)
        return ["i-1 is there: provision down x"]

    with pytest.raises(type(error)):
        prove(trial, [promise("a", raises(error)), promise("b", good)], False, lambda _: None, end)
    assert ended == [trial]
    assert trial.said == ["NOT ENDED: i-1 is there: provision down x"]


def test_what_is_left_is_said_and_the_command_ends_with_its_own_code() -> None:
    trial = purse()
    report = tried(trial, promise("a", good), left=("x may be billed: provision down x --force",))
    assert trial.said == ["NOT ENDED: x may be billed: provision down x --force"]
    with pytest.raises(LeftoverError) as error:
        command._verdict(report)
    assert "provision down x --force" in error.value.what


def test_a_broken_promise_ends_the_command_with_an_error_and_held_ones_do_not() -> None:
    command._verdict(tried(purse(), promise("a", good), promise("b", raises(LeftOutError("no")))))
    with pytest.raises(ProvisionError) as error:
        command._verdict(tried(purse(), promise("a", good), promise("hops", raises(BrokenError("two")))))
    assert "1 of 2 promises" in error.value.what and "hops (DOES NOT HOLD)" in error.value.what


def test_what_only_an_account_shows_is_told_of_what_was_tried() -> None:
    report = tried(
        purse(), promise("a", good, only="x"), promise("b", raises(LeftOutError("no")), only="y"), promise("c", good),
        promise("d", raises(BrokenError("no")), only="z"),
    )  # fmt: skip
    assert [one.promise.only for one in report.shown] == ["x", "z"]


def test_nothing_is_rented_where_nobody_can_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: False))
    with pytest.raises(UsageError) as error:
        command._ask(purse())
    assert "prove --yes" in error.value.mend


def test_without_a_machine_or_a_run_what_needs_one_is_left_out() -> None:
    """All of the table, where the launch did not come about."""
    needs = [one for one in PROMISES if one.name not in ("permissions", "launch", "keeper", "audit", "cost")]
    assert len(needs) == 11
    assert set(words(tried(replace(purse(), dollars=9.0), *needs))) == {"left out"}


def test_nothing_was_begun_and_nothing_is_ended() -> None:
    aws = FakeAws()
    assert end_all(purse()) == []
    assert aws.calls == []


def test_the_runs_stay_for_a_look_where_something_did_not_hold() -> None:
    deleted: list[str] = []
    objects = SimpleNamespace(
        objects=lambda prefix: deleted.append(prefix) or [], cloud=CLOUD, delete=lambda keys: None
    )
    run = Run(objects, "digits-20261130-043533-47bf")  # type: ignore[arg-type]
    trial = purse(runs=[run])
    tried(trial, promise("a", good))
    assert not trial.look
    tried(trial, promise("a", raises(BrokenError("no"))))
    assert trial.look and end_all(trial) == [] and deleted == []
    assert "provision events digits-20261130-043533-47bf" in trial.said[0] and "provision rm" in trial.said[0]


def test_a_name_that_cannot_be_ended_is_left_with_its_command() -> None:
    FakeAws(DescribeInstances=Refused("UnauthorizedOperation"))
    trial = purse(names=["prove-1"])
    [left] = end_all(trial)
    assert "provision down prove-1 --force --cloud fake" in left


def test_the_table_says_what_it_costs_and_quick_costs_less() -> None:
    trial = purse()
    whole, quick = most(trial, False), most(trial, True)
    assert 0.6 < quick < whole < 2.0
    assert len({one.name for one in PROMISES}) == len(PROMISES) == 16


def test_the_cost_is_held_against_the_budget() -> None:
    assert "$0.25" in costed(purse(gone=0.25))
    with pytest.raises(BrokenError):
        costed(purse(gone=1.01))


def test_the_audit_looks_at_what_was_begun_here_alone() -> None:
    row = {
        "GroupId": "sg-1", "GroupName": "provision-prove-1-01234567",
        "Tags": [{"Key": "provision:name", "Value": "prove-1"}],
    }  # fmt: skip
    FakeAws(DescribeSecurityGroups={"SecurityGroups": [row]})
    with pytest.raises(BrokenError) as error:
        audited(purse(names=["prove-1"]))
    assert "provision-prove-1-01234567" in error.value.what
    assert "nothing of other" in audited(purse(names=["other"]))


# what AWS is asked


def test_all_that_a_group_lets_in_is_seen() -> None:
    rows = [
        {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "192.0.2.1/32"}]},
        {"IpProtocol": "-1", "Ipv6Ranges": [{"CidrIpv6": "::/0"}], "UserIdGroupPairs": [{"GroupId": "sg-2"}],
         "PrefixListIds": [{"PrefixListId": "pl-1"}]},
    ]  # fmt: skip
    machine = {
        "InstanceId": "i-1", "State": {"Name": "running"}, "InstanceLifecycle": "spot",
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 2},
        "SecurityGroups": [{"GroupId": "sg-1"}], "NetworkInterfaces": [{"Groups": [{"GroupId": "sg-3"}]}],
    }  # fmt: skip
    aws = FakeAws(
        DescribeInstances={"Reservations": [{"Instances": [machine]}]},
        DescribeSecurityGroups={"SecurityGroups": [{"GroupId": "sg-1", "IpPermissions": rows}]},
    )
    seen = witness.machine(CLOUD, "i-1")
    assert (seen.market, seen.tokens, seen.hops) == ("spot", "required", 2)
    found = {rule.source: (rule.protocol, rule.first) for rule in witness.rules(CLOUD, seen)}
    assert found == {"192.0.2.1/32": ("tcp", 22), "::/0": ("-1", None), "sg-2": ("-1", None), "pl-1": ("-1", None)}
    assert aws.of("DescribeSecurityGroups")[0]["GroupIds"] == ["sg-1", "sg-3"]


@pytest.mark.parametrize(
    ("changed", "known"),
    [
        ({}, True),
        ({"ScheduleExpression": "rate(1 days)"}, False),
        ({"ScheduleExpressionTimezone": "Asia/Tokyo"}, False),
    ],
    ids=["once", "often", "another time zone"],
)
def test_a_schedules_moment_is_told_where_it_is_one(changed: dict[str, str], known: bool) -> None:
    said = {
        "ScheduleExpression": "at(2026-11-30T12:00:00)", "State": "ENABLED",
        "Target": {"Arn": "arn:aws:scheduler:::aws-sdk:ec2:terminateInstances", "RoleArn": "arn:aws:iam::1:role/x",
                   "Input": json.dumps({"InstanceIds": ["i-1"]})},
    }  # fmt: skip
    FakeAws(GetSchedule={**said, **changed})
    found = witness.schedule(CLOUD, "provision-x")
    assert found is not None and found.instances == ("i-1",) and (found.at is not None) == known
    FakeAws(GetSchedule={**said, "Target": {**said["Target"], "Arn": "arn:aws:lambda:x"}})  # type: ignore[dict-item]
    assert witness.schedule(CLOUD, "provision-x") is None
    FakeAws(GetSchedule=Refused("ResourceNotFoundException"))
    assert witness.schedule(CLOUD, "provision-x") is None


STATES = {"status": "completed"}


def notices(**answers: Any) -> FakeAws:
    usual = {
        "CreateExperimentTemplate": {"experimentTemplate": {"id": "EXT1"}},
        "StartExperiment": {"experiment": {"id": "EXP1"}},
        "GetExperiment": {"experiment": {"id": "EXP1", "state": STATES}},
    }
    return FakeAws(**{**usual, **answers})


def test_a_notice_is_for_one_machine_and_leaves_no_role_and_no_template() -> None:
    aws = notices()
    Notices(CLOUD, sleep=lambda _: None).give("i-1")
    [made] = aws.of("CreateExperimentTemplate")
    assert made["targets"]["one"]["resourceArns"] == ["arn:aws:ec2:us-east-1:111111111111:instance/i-1"]
    assert made["actions"]["notice"]["actionId"] == fault_injection.ACTION
    assert made["roleArn"].endswith(":role/provision-account/provision-notice")
    [rights] = aws.of("PutRolePolicy")
    assert "ec2:ResourceTag/provision:name" in rights["PolicyDocument"]
    cleared = ["DeleteExperimentTemplate", "DeleteRolePolicy", "DeleteRole"]
    assert [name for name in aws.names() if name.startswith("Delete")] == cleared


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ({"StartExperiment": Refused("AccessDeniedException")}, AuthError),
        ({"GetExperiment": {"experiment": {"id": "E", "state": {"status": "failed", "reason": "no"}}}}, CloudError),
        ({"CreateExperimentTemplate": Refused("AccessDeniedException")}, AuthError),
        ({"CreateRole": Refused("AccessDenied")}, AuthError),
    ],
    ids=["start", "experiment", "template", "role"],
)
def test_a_notice_that_fails_leaves_nothing_either(answers: dict[str, Any], error: type[ProvisionError]) -> None:
    aws = notices(**answers)
    with pytest.raises(error):
        Notices(CLOUD, sleep=lambda _: None).give("i-1")
    made = {name.removeprefix("Create") for name in aws.names() if name.startswith("Create")} - {
        name.removeprefix("Create") for name in answers
    }
    assert made <= {name.removeprefix("Delete") for name in aws.names()}


def run_in(cloud: Cloud) -> Any:
    store = SimpleNamespace(cloud=cloud, bucket="provision-1-x")
    return SimpleNamespace(store=store, key=lambda *parts: "runs/digits-1/" + "/".join(parts))


@pytest.mark.parametrize(
    ("cloud", "s3", "ec2"),
    [
        (Cloud("aws", "us-east-1"), "https://provision-1-x.s3.us-east-1.amazonaws.com/", "https://ec2.us-east-1.amazonaws.com/"),
        (Cloud("aws", "cn-north-1"), "https://s3.cn-north-1.amazonaws.com.cn/provision-1-x/", "https://ec2.cn-north-1.amazonaws.com.cn/"),
        (CLOUD, "http://127.0.0.1:9/provision-1-x/", "http://127.0.0.1:9/"),
    ],
    ids=["aws", "china", "endpoint"],
)  # fmt: skip
def test_the_role_is_asked_where_its_cloud_is_and_harms_nothing(cloud: Cloud, s3: str, ec2: str) -> None:
    asked = role.calls(run_in(cloud), "i-1", "runs/other/log/probe")
    assert {call.url for call in asked.values() if call.service == "ec2"} == {ec2}
    assert all(call.url.startswith(s3) for call in asked.values() if call.service == "s3")
    assert all("DryRun=true" in call.body for call in asked.values() if call.service == "ec2")
    assert {name for name, call in asked.items() if call.may} == {
        "writing its own state.json", "reading its manifest.json",
    }  # fmt: skip
    written = {call.url.removeprefix(s3) for call in asked.values() if call.method == "PUT" and not call.may}
    assert {f"runs/digits-1/{name}" for name in ("manifest.json", "attempts/001.json", "control/i-1")} < written
    assert "machines/provision-another-01234567/keys/i-1" in written


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[]", "null", '{"a": []}', '{"a": "x"}', '{"a": [403, ""]}', "[" * 9, '{"a": null}']
)
def test_what_a_machine_answers_is_read_as_data(text: str) -> None:
    """An answer that is none, or not to all calls, is none; it ends no command with a traceback."""
    assert role.statuses(text, ["a", "b"]) == {}
    assert role.statuses("[" * 100_000, ["a", "b"]) == {}
    assert role.statuses('{"a": [403, "AccessDenied"], "b": [200, ""]}', ["a", "b"]) == {"a": 403, "b": 200}
    assert machine.moments("1796000000 x -1 99999999999999 ٣") == [datetime.fromtimestamp(1796000000, timezone.utc)]


def test_the_probe_on_the_machine_is_python_that_an_old_one_reads() -> None:
    """No walrus, no f-string's =, no positional-only parameter."""
    import ast

    ast.parse(script("role_probe.py"), feature_version=(3, 6))
