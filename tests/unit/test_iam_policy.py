"""The policy that `provision iam-policy` prints: valid, narrow, and for what the code really calls."""

import ast
import json
from functools import cache
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name

import infra.aws
from infra.aws import dryrun
from localcloud.access import many
from provision import cli
from provision.account import permissions

BOUNDARY = "arn:aws:iam::111122223333:policy/provision-boundary"
CODE = Path(infra.aws.__file__).parent
PREFIX = {"service-quotas": "servicequotas", "stepfunctions": "states"}
PROVING = ("fault_injection.py", "witness.py")  # what `provision prove` alone calls
# where IAM calls an action otherwise than the API
OTHERWISE = {
    "s3:GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "s3:DeleteObjects": "s3:DeleteObject",
    "s3:CompleteMultipartUpload": "s3:PutObject",
    "s3:CreateMultipartUpload": "s3:PutObject",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "s3:ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "s3:ListParts": "s3:ListMultipartUploadParts",
    "s3:UploadPart": "s3:PutObject",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "s3:PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
    "s3:PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "sts:GetCallerIdentity": "",  # needs no permission
}
# what no method of ours is called, and AWS asks for all the same
IMPLIED = {
    "ec2:CreateTags": "tags at creation",
    "ec2:RunInstances": "CreateFleet launches with it",
    "iam:CreateServiceLinkedRole": "an account's first spot launch",
    "iam:PassRole": "giving a role to a machine, a schedule or a keeper",
    "iam:TagInstanceProfile": "tags at creation",
    "iam:TagRole": "tags at creation",
    "s3:AbortMultipartUpload": "s3transfer's own, for uploads in parts",
    "scheduler:TagResource": "tags at creation",
    "states:TagResource": "tags at creation",
}


@cache
def operations(service: str) -> dict[str, str]:
    """Method of a client → the action that it needs."""
    names = botocore.session.get_session().get_service_model(service).operation_names
    actions = {xform_name(name): f"{PREFIX.get(service, service)}:{name}" for name in names}
    return {method: OTHERWISE.get(action, action) for method, action in actions.items()}


def called(source: str) -> set[str]:
    """Actions of the calls in a module: whatever names a method of a client that the module makes."""
    tree = ast.parse(source)
    services = {
        str(node.args[1].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "client"
        and len(node.args) > 1 and isinstance(node.args[1], ast.Constant)
    }  # fmt: skip
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {
        str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)
    }  # get_paginator("list_roles")
    found = {operations(service).get(name, "") for service in services for name in names}
    return found - {""}


@cache
def all_called() -> set[str]:
    apart = {"dryrun.py", *PROVING}  # the first one's calls do nothing
    modules = [path for path in CODE.glob("*.py") if path.name not in apart]
    return {action for path in modules for action in called(path.read_text())}


def test_the_scan_sees_calls_paginators_and_functions_that_are_passed_on() -> None:
    source = """
def f(cloud, do):
    api = client(cloud, "ec2")
    api.create_volume(Size=1)
    do(api.delete_volume)
    api.get_paginator("describe_volumes")
    api.unheard_of()
"""
    assert called(source) == {"ec2:CreateVolume", "ec2:DeleteVolume", "ec2:DescribeVolumes"}
    assert all_called() > {"ec2:CreateFleet", "ec2:TerminateInstances", "iam:CreateRole", "s3:ListBucket"}


def test_every_call_of_the_code_is_allowed() -> None:
    missing = all_called() - permissions.actions()
    assert not missing, f"add to provision/account/permissions.yaml: {sorted(missing)}"


def test_nothing_is_allowed_that_the_code_does_not_call() -> None:
    more = permissions.actions() - all_called() - set(IMPLIED)
    assert not more, f"take out of provision/account/permissions.yaml: {sorted(more)}"


def test_what_prove_calls_is_allowed_with_its_own_policy_and_nothing_else_is() -> None:
    calls = {action for name in PROVING for action in called((CODE / name).read_text())}
    proving = {action for statement in permissions.proving() for action in statement.actions}
    assert {"fis:StartExperiment", "scheduler:GetSchedule"} < calls
    assert calls <= permissions.actions() | proving
    assert proving - {"fis:TagResource"} <= calls | set(IMPLIED)
    assert not (proving - set(IMPLIED) - {"iam:DeleteRole", "iam:DeleteRolePolicy"}) & permissions.actions()


def test_the_policy_of_prove_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["iam-policy", "--prove", "--region", "cn-north-1"]) == 0
    text = capsys.readouterr().out
    assert json.loads(text) == permissions.proving_policy("cn-north-1") and "arn:aws-cn:fis" in text
    assert cli.run(["iam-policy", "--prove", "--boundary"]) == 2


def test_the_doctor_tries_every_change_in_ec2_that_it_can() -> None:
    model = botocore.session.get_session().get_service_model("ec2")
    changes = [one.partition(":")[2] for one in permissions.actions() if one.startswith("ec2:")]
    changes = [name for name in changes if not name.startswith("Describe")]
    able = {name for name in changes if "DryRun" in model.operation_model(name).input_shape.members}
    assert set(dryrun.ACTIONS) == able


@pytest.mark.parametrize("action", dryrun.ACTIONS)
def test_what_the_doctor_asks_is_what_aws_takes(action: str) -> None:
    """botocore checks names and types; a wrong word would look like a finding."""
    from botocore.validate import ParamValidator

    shape = botocore.session.get_session().get_service_model("ec2").operation_model(action).input_shape
    report = ParamValidator().validate({"DryRun": True, **dryrun.ACTIONS[action]}, shape)
    assert not report.has_errors(), report.generate_report()


def test_it_is_valid_and_fits_into_one_managed_policy() -> None:
    policy = permissions.policy("us-gov-west-1", BOUNDARY)
    assert len(json.dumps(policy, separators=(",", ":"))) <= 6144
    ids = [one["Sid"] for one in policy["Statement"]]
    assert len(ids) == len(set(ids))
    assert all(one.isalnum() for one in ids)
    for one in policy["Statement"]:
        assert one["Effect"] == "Allow"
        assert one["Action"] and one["Resource"]
        assert all(":" in action and "*" not in action for action in many(one["Action"]))
        assert all(resource == "*" or len(resource.split(":")) >= 6 for resource in many(one["Resource"]))


def test_only_reading_is_allowed_on_everything() -> None:
    for one in permissions.statements():
        if "*" in one.resources:
            assert all(action.partition(":")[2].startswith(("Describe", "Get", "List")) for action in one.actions), (
                one.id
            )


def test_what_ends_or_changes_a_thing_needs_our_tag_on_it() -> None:
    """The statements that allow these in EC2 all have the condition; nothing else allows them without it."""
    words = ("Terminate", "Delete", "Revoke", "Authorize", "Attach", "Associate", "Cancel", "Release", "Deregister")
    for one in permissions.policy("us-east-1")["Statement"]:
        if any(action.startswith(tuple(f"ec2:{word}" for word in words)) for action in many(one["Action"])):
            assert one["Condition"] == {"Null": {"ec2:ResourceTag/provision:name": "false"}}, one["Sid"]


def test_what_is_made_needs_our_tag_in_the_call() -> None:
    made = {"instance", "volume", "network-interface", "spot-instances-request", "fleet"}
    seen = set()
    for one in permissions.statements():
        makes = {"ec2:RunInstances", "ec2:CreateFleet", "ec2:CreateVolume"} & set(one.actions)
        kinds = {resource.split(":")[5].partition("/")[0] for resource in one.resources} if makes else set()
        if kinds & made:
            assert one.tagged == "request", one.id
            seen |= kinds
    assert seen > made


def test_roles_buckets_and_schedules_are_ours_by_name() -> None:
    for one in permissions.statements():
        for action in one.actions:
            if action == "iam:PassRole":
                assert "iam:PassedToService" in one.when["StringEquals"]
            if action.startswith("s3:"):
                assert all(resource.startswith("arn:{partition}:s3:::provision-") for resource in one.resources)
            if action.startswith("iam:") and not {"*", "{boundary}"} & set(one.resources):
                assert all("/provision" in resource or "/aws-service-role/" in resource for resource in one.resources)
