"""The keeper's rights: enough for each call of its definition on what is ours, and for nothing else."""

import json
import re
from typing import Any

import pytest

from localcloud import access
from provision.account import permissions
from provision.engines import definition, rights

ME, REGION = "111111111111", "us-east-1"
BUCKET = f"provision-{ME}-{REGION}"
OURS = {"ec2:resourcetag/provision:run": ["r"], "ec2:resourcetag/provision:name": ["lab"]}
TAGGED = {"aws:requesttag/provision:run": ["r"], "aws:requesttag/provision:name": ["lab"]}
MINE = {"aws:resourceaccount": [ME], "aws:principalaccount": [ME]}
S3 = f"arn:aws:s3:::{BUCKET}/runs/r"
EC2 = f"arn:aws:ec2:{REGION}:{ME}"
IMAGE, SNAPSHOT = (f"arn:aws:ec2:{REGION}::{kind}" for kind in ("image", "snapshot"))
ROLE = f"arn:aws:iam::{ME}:role/provision/{REGION}/provision-lab-01234567"
PROFILE = ROLE.replace(":role/", ":instance-profile/")
SECOND = f"arn:aws:iam::{ME}:role/provision-account/provision-scheduler"
SCHEDULE = f"arn:aws:scheduler:{REGION}:{ME}:schedule/provision/provision-lab-01234567"
Need = tuple[str, str, dict[str, list[str]]]


def passes(service: str) -> dict[str, list[str]]:
    return {"iam:passedtoservice": [service]}


# what the definition calls, and what AWS asks for with that
NEEDS: list[Need] = [
    ("s3:PutObject", f"{S3}/attempts/001.json", MINE),
    ("s3:PutObject", f"{S3}/control/i-1", MINE),
    ("s3:PutObject", f"{S3}/ends/001.json", MINE),
    ("s3:GetObject", f"{S3}/attempts/001.json", MINE),
    ("s3:GetObject", f"{S3}/state.json", MINE),
    ("s3:GetObject", f"{S3}/keys/i-1", MINE),
    ("ec2:CreateFleet", f"{EC2}:fleet/*", TAGGED),
    ("ec2:CreateFleet", f"{EC2}:launch-template/lt-1", OURS),
    *(("ec2:RunInstances", f"{EC2}:{kind}/*", TAGGED)
      for kind in ("instance", "volume", "network-interface", "spot-instances-request")),
    ("ec2:RunInstances", f"{EC2}:launch-template/lt-1", OURS),
    ("ec2:RunInstances", f"{EC2}:security-group/sg-1", OURS),
    ("ec2:RunInstances", f"{EC2}:subnet/subnet-1", {}),
    ("ec2:RunInstances", f"arn:aws:ec2:{REGION}::image/ami-1", {}),
    ("ec2:CreateTags", f"{EC2}:instance/i-1", {"ec2:createaction": ["RunInstances"]}),
    ("ec2:CreateTags", f"{EC2}:fleet/fleet-1", {"ec2:createaction": ["CreateFleet"]}),
    ("ec2:DescribeInstances", "*", {}),
    ("ec2:DescribeImages", "*", {}),
    ("ec2:DescribeSnapshots", "*", {}),
    ("ec2:CreateImage", f"{EC2}:instance/i-1", OURS),
    ("ec2:CreateImage", f"{IMAGE}/*", TAGGED),
    ("ec2:CreateImage", f"{SNAPSHOT}/*", TAGGED),
    ("ec2:CreateTags", f"{IMAGE}/ami-1", {"ec2:createaction": ["CreateImage"]}),
    ("ec2:CreateTags", f"{SNAPSHOT}/snap-1", {"ec2:createaction": ["CreateImage"]}),
    ("ec2:DeregisterImage", f"{IMAGE}/ami-1", OURS),
    ("ec2:DeleteSnapshot", f"{SNAPSHOT}/snap-1", OURS),
    ("ec2:TerminateInstances", f"{EC2}:instance/i-1", OURS),
    ("ec2:DeleteLaunchTemplate", f"{EC2}:launch-template/lt-1", OURS),
    ("ec2:DeleteSecurityGroup", f"{EC2}:security-group/sg-1", OURS),
    ("iam:PassRole", ROLE, passes("ec2.amazonaws.com")),
    ("iam:PassRole", SECOND, passes("scheduler.amazonaws.com")),
    ("scheduler:CreateSchedule", SCHEDULE, {}),
    ("scheduler:UpdateSchedule", SCHEDULE, {}),
    ("scheduler:DeleteSchedule", SCHEDULE, {}),
    ("iam:ListRolePolicies", ROLE, {}),
    ("iam:DeleteRolePolicy", ROLE, {}),
    ("iam:RemoveRoleFromInstanceProfile", PROFILE, {}),
    ("iam:DeleteInstanceProfile", PROFILE, {}),
    ("iam:DeleteRole", ROLE, {}),
    ("sns:Publish", f"arn:aws:sns:{REGION}:{ME}:provision-me", {}),
]  # fmt: skip
NEVER: list[Need] = [
    ("ec2:TerminateInstances", f"{EC2}:instance/i-1", {}),
    ("ec2:TerminateInstances", f"{EC2}:instance/i-1", {"ec2:resourcetag/provision:name": ["lab"]}),  # not kept
    ("ec2:RunInstances", f"{EC2}:instance/*", {}),
    ("ec2:RunInstances", f"{EC2}:instance/*", {"aws:requesttag/provision:name": ["lab"]}),
    ("ec2:RunInstances", f"{EC2}:launch-template/lt-1", {}),
    ("ec2:CreateFleet", f"{EC2}:launch-template/lt-1", {}),
    ("ec2:CreateImage", f"{EC2}:instance/i-1", {}),
    ("ec2:CreateImage", f"{EC2}:instance/i-1", {"ec2:resourcetag/provision:name": ["lab"]}),  # a machine of `up`
    ("ec2:CreateImage", f"{IMAGE}/*", {}),
    ("ec2:CreateImage", f"{SNAPSHOT}/*", {"aws:requesttag/provision:name": ["lab"]}),
    ("ec2:DeregisterImage", f"{IMAGE}/ami-1", {"ec2:resourcetag/provision:name": ["lab"]}),  # of `ami bake`
    ("ec2:DeleteSnapshot", f"{SNAPSHOT}/snap-1", {"ec2:resourcetag/provision:name": ["lab"]}),
    ("ec2:ModifyImageAttribute", f"{IMAGE}/ami-1", OURS),  # to share it
    ("ec2:CreateTags", f"{IMAGE}/ami-1", {}),
    ("ec2:CreateTags", f"{EC2}:instance/i-1", {}),  # to make a machine ours
    ("ec2:DeleteSecurityGroup", f"{EC2}:security-group/sg-1", {}),
    ("ec2:AuthorizeSecurityGroupIngress", f"{EC2}:security-group/sg-1", OURS),
    ("iam:PassRole", f"arn:aws:iam::{ME}:role/admin", passes("ec2.amazonaws.com")),
    ("iam:PassRole", ROLE, passes("lambda.amazonaws.com")),
    ("iam:PassRole", f"arn:aws:iam::{ME}:role/provision-account/provision-keeper-1", passes("ec2.amazonaws.com")),
    ("iam:DeleteRole", f"arn:aws:iam::{ME}:role/admin", {}),
    ("iam:CreateRole", ROLE, {}),
    ("iam:PutRolePolicy", ROLE, {}),
    ("s3:GetObject", f"{S3}/snapshots/000000100-001/a.caffemodel", MINE),
    ("s3:GetObject", f"{S3}/capsules/{'5' * 64}.json", MINE),
    ("s3:PutObject", f"{S3}/manifest.json", MINE),
    ("s3:PutObject", f"{S3}/state.json", MINE),
    ("s3:PutObject", f"{S3}/keys/i-1", MINE),
    ("s3:DeleteObject", f"{S3}/attempts/001.json", MINE),
    ("s3:PutObject", f"{S3}/control/i-1", {"aws:resourceaccount": ["999999999999"], "aws:principalaccount": [ME]}),
    ("scheduler:DeleteSchedule", f"arn:aws:scheduler:{REGION}:{ME}:schedule/default/x", {}),
    ("states:StartExecution", f"arn:aws:states:{REGION}:{ME}:stateMachine:provision-keeper-1", {}),
    ("sns:Publish", f"arn:aws:sns:{REGION}:999999999999:theirs", {}),
]  # fmt: skip
IMPLIED = {"ec2:RunInstances", "ec2:CreateTags", "iam:PassRole", "iam:CreateServiceLinkedRole"}


def document() -> dict[str, Any]:
    return rights.document(REGION, ME, BUCKET)


@pytest.mark.parametrize("index", range(len(NEEDS)))
def test_what_it_needs_is_allowed(index: int) -> None:
    assert access.allowed(document()["Statement"], *NEEDS[index]), NEEDS[index]


@pytest.mark.parametrize("index", range(len(NEVER)))
def test_what_it_does_not_need_is_not(index: int) -> None:
    assert not access.allowed(document()["Statement"], *NEVER[index]), NEVER[index]


_RIGHTS = {"s3:HeadObject": "s3:GetObject"}  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html


def called() -> set[str]:
    """The rights that the definition's calls need."""
    found = re.findall(r"aws-sdk:(\w+):(\w)(\w+)", definition.text())
    names = {f"{service}:{first.upper()}{rest}" for service, first, rest in found}
    return {_RIGHTS.get(name, name) for name in names}


def test_the_rights_are_those_of_the_calls() -> None:
    allowed = {action for one in document()["Statement"] for action in one["Action"]}
    assert allowed - IMPLIED == called()
    assert {need[0] for need in NEEDS} == allowed - {"iam:CreateServiceLinkedRole"}


def test_a_boundary_leaves_the_keeper_its_work() -> None:
    statements = permissions.boundary_policy(REGION)["Statement"]
    assert [need for need in NEEDS if not access.allowed(statements, *need)] == []


def test_one_role_serves_all_regions_of_a_partition() -> None:
    other = rights.document("eu-west-1", ME, f"provision-{ME}-eu-west-1")
    assert other == document()
    china = json.dumps(rights.document("cn-north-1", ME, f"provision-{ME}-cn-north-1"))
    assert set(re.findall(r"arn:([\w-]+):", china)) == {"aws-cn"} and "ec2.amazonaws.com.cn" in china


def test_with_other_rights_the_state_machine_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is there takes no look at its role: so a right that is new must come with a machine that is new."""
    before, digest = definition.text(), rights.digest(REGION)
    assert digest in before and digest == rights.digest("eu-west-1")
    rest = rights._rest
    monkeypatch.setattr(rights, "_rest", lambda *given: rest(*given)[:-1])
    definition.text.cache_clear()
    try:
        assert definition.text() != before and rights.digest(REGION) != digest
    finally:
        definition.text.cache_clear()


def test_it_fits_into_the_policy_of_a_role() -> None:
    assert len(json.dumps(document(), separators=(",", ":"))) <= 10_240
