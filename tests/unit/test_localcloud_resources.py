"""What the local cloud judges a call by: resources, tags of things and of calls, and roles that are passed on."""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from localcloud import access, operations, resources

REGION, ACCOUNT = "us-east-1", "123456789012"
RUN = {"Key": "provision:run", "Value": "digits"}


@pytest.fixture(autouse=True)
def _own_account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """moto's memory of this test alone."""
    from moto.ec2.models import ec2_backends
    from moto.iam.models import iam_backends

    account = ec2_backends[ACCOUNT]
    before = (account[REGION], iam_backends[ACCOUNT]["aws"])
    account[REGION] = type(before[0])(REGION, ACCOUNT)
    iam_backends[ACCOUNT]["aws"] = type(before[1])(REGION, ACCOUNT)
    yield
    account[REGION], iam_backends[ACCOUNT]["aws"] = before


def ec2() -> Any:
    from moto.ec2.models import ec2_backends

    return ec2_backends[ACCOUNT][REGION]


def iam() -> Any:
    from moto.iam.models import iam_backends

    return iam_backends[ACCOUNT]["aws"]


def asked(action: str, path: str = "/", body: Any = None, **form: str) -> list[resources.Asked]:
    """What a signed request with this form, or this JSON, must be allowed."""
    request = SimpleNamespace(
        _action=action,
        _service=action.split(":")[0],
        _data={name.replace("_", "."): [value] for name, value in form.items()},
        _body=json.dumps(body).encode() if body is not None else b"",
        _path=path,
        _region=REGION,
        account_id=ACCOUNT,
    )
    return resources.of(request, "*")


def tags(number: int, kind: str) -> dict[str, str]:
    before = f"TagSpecification_{number}"
    return {
        f"{before}_ResourceType": kind,
        f"{before}_Tag_1_Key": RUN["Key"],
        f"{before}_Tag_1_Value": RUN["Value"],
    }


def template(**data: Any) -> str:
    made = ec2().create_launch_template("kept", "", data, {"launch-template": {RUN["Key"]: RUN["Value"]}})
    return str(made.id)


def profile() -> str:
    role = iam().create_role("kept", "{}", "/provision/", None, "", [], "3600")
    iam().create_instance_profile("kept", "/provision/", [], [])
    iam().add_role_to_instance_profile("kept", "kept")
    return str(role.arn)


def test_a_fleet_is_judged_by_its_template_its_tags_and_the_role_that_it_passes() -> None:
    role = profile()
    specs = [{"ResourceType": kind, "Tags": [RUN]} for kind in ("instance", "volume")]
    name = template(IamInstanceProfile={"Name": "kept"}, TagSpecifications=specs, ImageId="ami-1")
    found = asked(
        "ec2:CreateFleet",
        LaunchTemplateConfigs_1_LaunchTemplateSpecification_LaunchTemplateName="kept",
        LaunchTemplateConfigs_1_LaunchTemplateSpecification_Version="$Default",
        TargetCapacitySpecification_DefaultTargetCapacityType="spot",
        **tags(1, "fleet"),
    )
    given = {(action, arn.split(":", 5)[5]): context for action, arn, context in found}
    ours = {"aws:requesttag/provision:run": ["digits"], "aws:tagkeys": ["provision:run"]}
    assert given["ec2:CreateFleet", "fleet/*"] == ours
    assert given["ec2:CreateFleet", f"launch-template/{name}"]["ec2:resourcetag/provision:run"] == ["digits"]
    assert given["ec2:RunInstances", f"launch-template/{name}"]["ec2:resourcetag/provision:run"] == ["digits"]
    assert [given["ec2:RunInstances", f"{kind}/*"] for kind in ("instance", "volume")] == [ours, ours]
    assert (
        given["ec2:RunInstances", "network-interface/*"] == given["ec2:RunInstances", "spot-instances-request/*"] == {}
    )
    assert given["ec2:RunInstances", "image/ami-1"] == {}
    assert given["iam:PassRole", "role/provision/kept"] == {"iam:passedtoservice": ["ec2.amazonaws.com"]}
    assert role.endswith("role/provision/kept")


@pytest.mark.parametrize("word", ["LaunchTemplateName", "LaunchTemplateId"])
def test_a_thing_is_judged_by_its_tags_by_whatever_word_it_is_named(word: str) -> None:
    name = template()
    [(action, arn, context)] = asked("ec2:DeleteLaunchTemplate", **{word: "kept" if "Name" in word else name})
    assert (action, arn) == ("ec2:DeleteLaunchTemplate", f"arn:aws:ec2:{REGION}:{ACCOUNT}:launch-template/{name}")
    assert context["aws:resourcetag/provision:run"] == ["digits"]
    ours = {
        "Effect": "Allow", "Action": action, "Resource": "*",
        "Condition": {"Null": {"ec2:ResourceTag/provision:run": "false"}},
    }  # fmt: skip
    assert access.allowed([ours], action, arn, context)
    assert not access.allowed([ours], action, arn, {})


def test_an_image_is_judged_by_its_tags_its_snapshots_and_the_machine_of_which_it_is_made() -> None:
    found = asked("ec2:CreateImage", InstanceId="i-1", **tags(1, "image"), **tags(2, "snapshot"))
    ours = {"aws:requesttag/provision:run": ["digits"], "aws:tagkeys": ["provision:run"]}
    assert {arn.split(":", 3)[3]: context for _, arn, context in found} == {
        f"{REGION}::image/*": ours, f"{REGION}::snapshot/*": ours, f"{REGION}:{ACCOUNT}:instance/i-1": {},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("action", "word", "name", "kind"),
    [("DeregisterImage", "ImageId", "ami-1", "image"), ("DeleteSnapshot", "SnapshotId", "snap-1", "snapshot")],
)
def test_images_and_snapshots_have_no_account_in_their_names(action: str, word: str, name: str, kind: str) -> None:
    ec2().create_tags([name], {RUN["Key"]: RUN["Value"]})
    [(asks, arn, context)] = asked(f"ec2:{action}", **{word: name})
    assert (asks, arn) == (f"ec2:{action}", f"arn:aws:ec2:{REGION}::{kind}/{name}")
    assert context["ec2:resourcetag/provision:run"] == ["digits"]


def test_a_look_is_judged_by_its_action_alone() -> None:
    assert asked("ec2:DescribeInstances", InstanceId_1="i-1") == [("ec2:DescribeInstances", "*", {})]
    assert asked("sqs:SendMessage", QueueUrl="x") == [("sqs:SendMessage", "*", {})]


def test_roles_and_profiles_have_their_paths() -> None:
    role = profile()
    assert asked("iam:DeleteRole", RoleName="kept") == [("iam:DeleteRole", role, {})]
    found = asked("iam:AddRoleToInstanceProfile", RoleName="kept", InstanceProfileName="kept")
    assert [one[:2] for one in found] == [
        ("iam:AddRoleToInstanceProfile", f"arn:aws:iam::{ACCOUNT}:instance-profile/provision/kept"),
        ("iam:PassRole", role),
    ]
    [(_, arn, context)] = asked(
        "iam:CreateRole", RoleName="new", Path="/a/", Tags_member_1_Key="k", Tags_member_1_Value="v"
    )
    assert (arn, context["aws:requesttag/k"]) == (f"arn:aws:iam::{ACCOUNT}:role/a/new", ["v"])


def test_a_schedule_and_a_state_machine_pass_on_their_role_to_their_service_alone() -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/provision-account/x"
    body = {"GroupName": "provision", "Target": {"RoleArn": role}}
    assert asked("scheduler:CreateSchedule", "/schedules/a", body) == [
        ("scheduler:CreateSchedule", f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/provision/a", {}),
        ("iam:PassRole", role, {"iam:passedtoservice": ["scheduler.amazonaws.com"]}),
    ]
    gone = asked("scheduler:DeleteSchedule", "/schedules/a?groupName=provision")
    assert gone == [("scheduler:DeleteSchedule", f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/provision/a", {})]
    made = {"name": "provision-keeper", "roleArn": role, "tags": [{"key": "k", "value": "v"}]}
    [own, passed] = asked("states:CreateStateMachine", body=made)
    assert own[:2] == ("states:CreateStateMachine", f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:provision-keeper")
    assert own[2]["aws:requesttag/k"] == ["v"]
    assert passed == ("iam:PassRole", role, {"iam:passedtoservice": ["states.amazonaws.com"]})


def test_executions_topics_and_tokens() -> None:
    arn = f"arn:aws:states:{REGION}:{ACCOUNT}:execution:keeper:run-1"
    assert asked("states:StopExecution", body={"executionArn": arn}) == [("states:StopExecution", arn, {})]
    assert asked("states:SendTaskSuccess", body={"taskToken": "x"}) == [("states:SendTaskSuccess", "*", {})]
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:told"
    assert asked("sns:Publish", TopicArn=topic) == asked("sns:Publish", TopicArn=topic)
    assert [one[1] for one in (*asked("sns:Publish", TopicArn=topic), *asked("sns:CreateTopic", Name="told"))] == [
        topic
    ] * 2


def test_a_trust_policy_names_the_service() -> None:
    def trusting(principal: Any) -> Any:
        one = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
        return SimpleNamespace(assume_role_policy_document=json.dumps({"Statement": one}))

    both = {"Service": ["ec2.amazonaws.com", "states.amazonaws.com"]}
    found = [
        access.trusts(trusting(one), "states.amazonaws.com") for one in (both, {"Service": "ec2.amazonaws.com"}, "*")
    ]
    assert found == [True, False, False]


@pytest.mark.parametrize(
    ("service", "code", "status", "told"),
    [
        ("ec2", "AccessDenied", 403, (403, b"<Code>UnauthorizedOperation</Code>")),
        ("states", "AccessDenied", 403, (400, b'"__type": "AccessDeniedException"')),
        ("states", "SignatureDoesNotMatch", 403, (400, b'"InvalidSignatureException"')),
        ("scheduler", "AccessDenied", 403, (403, b'"__type": "AccessDeniedException"')),
        ("states", "ExecutionDoesNotExist", 400, None),
        ("s3", "AccessDenied", 403, None),
        ("iam", "AccessDenied", 403, None),
    ],
)
def test_who_may_not_is_told_in_the_words_of_the_service(service: str, code: str, status: int, told: Any) -> None:
    found = operations.denial(service, status, code, "User: me is not authorized")
    if told is None:
        assert found is None
    else:
        assert found is not None and found[0] == told[0] and told[1] in found[1][1]
