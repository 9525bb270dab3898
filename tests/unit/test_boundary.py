"""The permissions boundary: given to each role that is made, asked for by the printed policy, and wide enough."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from infra.aws import s3_bucket
from infra.aws.iam import BOUNDARY_MEND, SESSIONS, Iam
from infra.aws.scheduler import Scheduler
from infra.errors import UsageError
from localcloud import access, resources
from provision import cli, clouds, settings
from provision.account import doctor, permissions
from provision.machines import host_keys
from provision.runs.policy import _WRITES
from tests.unit.fake_aws import CLOUD, FakeAws, Refused
from tests.unit.test_scheduler import AT, NO_GROUP, NO_ROLE, in_turn

REGION, ACCOUNT = "us-east-1", "111111111111"
ARN = f"arn:aws:iam::{ACCOUNT}:policy/provision-boundary"
BOUNDED = dataclasses.replace(CLOUD, boundary=ARN)
OWN_BUCKET = {"aws:resourceaccount": [ACCOUNT], "aws:principalaccount": [ACCOUNT]}
THEIR_BUCKET = {**OWN_BUCKET, "aws:resourceaccount": ["999999999999"]}
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
NAMES = {"UpdateAssumeRolePolicy", "CreateInstanceProfile", "AddRoleToInstanceProfile"}


def launch(cloud: Any) -> FakeAws:
    """What a launch, a training and the end of a machine ask of IAM, and the first schedule of an account."""
    aws = FakeAws(
        cloud, CreateSchedule=in_turn(NO_GROUP, NO_ROLE, None), ListRolePolicies={"PolicyNames": ["run", SESSIONS]}
    )
    iam = Iam(cloud, sleep=lambda _: None)
    iam.ensure_role("provision-lab-01234567", {"provision:name": "lab"})
    iam.allow_sessions("provision-lab-01234567")
    iam.allow("provision-lab-01234567", "run", {"Version": "2012-10-17", "Statement": []})
    iam.delete_role("provision-lab-01234567")
    Scheduler(cloud, sleep=lambda _: None).arm("provision-lab-01234567", "i-1", AT)
    return aws


def asked(aws: FakeAws) -> list[tuple[str, str, dict[str, list[str]]]]:
    """The calls of IAM as IAM judges them: action, resource, and the boundary of the role that the call is about."""
    found, bounds = [], {}
    for name, words in aws.calls:
        role = words.get("RoleName", "")
        path = "provision-account" if role == "provision-scheduler" else f"provision/{REGION}"
        if "Role" not in name and "InstanceProfile" not in name:
            continue
        if name == "CreateRole":
            bounds[role] = words.get("PermissionsBoundary", "")
        kind = "instance-profile" if "InstanceProfile" in name else "role"
        of = words.get("InstanceProfileName", role)
        context = {"iam:permissionsboundary": [bounds[role]]} if bounds.get(role) else {}
        found.append((f"iam:{name}", f"arn:aws:iam::{ACCOUNT}:{kind}/{path}/{of}", context))
    return found


def refused(policy: dict[str, Any], aws: FakeAws) -> set[str]:
    return {action for action, *where in asked(aws) if not access.allowed(policy["Statement"], action, *where)}


def test_every_role_that_is_made_has_the_boundary_of_the_settings() -> None:
    assert [words["PermissionsBoundary"] for words in launch(BOUNDED).of("CreateRole")] == [ARN, ARN]
    assert not any("PermissionsBoundary" in words for words in launch(CLOUD).of("CreateRole"))


def test_the_product_works_under_the_policy_with_a_boundary_and_no_role_is_made_without_it() -> None:
    policy = permissions.policy(REGION, ARN)
    assert {f"iam:{name}" for name in NAMES} < {action for action, *_ in asked(launch(BOUNDED))}
    assert refused(policy, launch(BOUNDED)) == set()
    assert refused(policy, launch(CLOUD)) == {"iam:CreateRole", "iam:PutRolePolicy"}
    other = dataclasses.replace(CLOUD, boundary=ARN + "-other")
    assert refused(policy, launch(other)) == {"iam:CreateRole", "iam:PutRolePolicy"}


def test_without_a_boundary_the_policy_is_what_it_was() -> None:
    assert refused(permissions.policy(REGION), launch(CLOUD)) == set()
    assert "iam:GetPolicy" not in json.dumps(permissions.policy(REGION))


def test_who_has_the_policy_cannot_change_the_boundary_nor_take_it_off() -> None:
    """Each of these would be a way around it."""
    ways = (
        "iam:CreatePolicyVersion", "iam:SetDefaultPolicyVersion", "iam:DeleteRolePermissionsBoundary",
        "iam:PutRolePermissionsBoundary", "iam:AttachRolePolicy", "iam:PutUserPolicy", "iam:CreateUser",
        "iam:CreateAccessKey", "iam:AttachUserPolicy", "sts:AssumeRole",
    )  # fmt: skip
    statements = permissions.policy(REGION, ARN)["Statement"]
    role = f"arn:aws:iam::{ACCOUNT}:role/provision/{REGION}/x"
    for resource in (ARN, role, f"arn:aws:iam::{ACCOUNT}:user/me"):
        assert not [way for way in ways if access.allowed(statements, way, resource, {})]


def needs() -> list[tuple[str, str, dict[str, list[str]]]]:
    """What the roles that a launch makes are given, and what a run needs: action, resource, context."""
    tagged = {"ec2:resourcetag/provision:name": ["lab"]}
    given = [json.loads(words["PolicyDocument"]) for words in launch(BOUNDED).of("PutRolePolicy")]
    rights = [one for document in given for one in document["Statement"]]
    found = [
        (action, "arn:aws:ec2:us-east-1:1:instance/i-1" if "ec2:" in action else resources.UNKNOWN, tagged)
        for one in rights for action in access.many(one["Action"])
    ]  # fmt: skip
    bucket = f"arn:aws:s3:::provision-{ACCOUNT}-{REGION}"
    writes = (*_WRITES, "s3:DeleteObject", "s3:GetObject")
    return [
        *found,
        ("s3:ListBucket", bucket, OWN_BUCKET),
        *((action, f"{bucket}/runs/net-1/snapshots/000000100-001/complete.json", OWN_BUCKET) for action in writes),
        *begins(ACCOUNT),
    ]


def begins(account: str) -> list[tuple[str, str, dict[str, list[str]]]]:
    """What any machine is allowed from its start, on an object of each place."""
    place = s3_bucket.ours(CLOUD, account)
    statements: Any = host_keys.policy(place, "provision-lab-01234567")["Statement"]
    return [
        (action, str(one["Resource"]).replace("*", "x"), OWN_BUCKET)
        for one in statements for action in access.many(one["Action"])
    ]  # fmt: skip


def test_the_boundary_lets_the_roles_do_their_work() -> None:
    statements = permissions.boundary_policy(REGION)["Statement"]
    wanted = needs()
    assert {"ec2:TerminateInstances", "ssmmessages:OpenDataChannel", "s3:PutObjectTagging"} < {one[0] for one in wanted}
    assert {action for action, *_ in begins(ACCOUNT)} == {"s3:GetObject", "s3:PutObject", "s3:PutObjectTagging"}
    assert [one for one in wanted if not access.allowed(statements, *one)] == []


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        ("iam:CreateUser", "*", {}),
        ("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/admin", {}),
        ("ec2:RunInstances", "arn:aws:ec2:us-east-1:1:instance/*", {}),  # without our tag
        ("ec2:CreateFleet", "arn:aws:ec2:us-east-1:1:launch-template/lt-1", {}),  # of somebody else
        ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/admin", {"iam:passedtoservice": ["ec2.amazonaws.com"]}),
        ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/provision/x", {"iam:passedtoservice": ["lambda.amazonaws.com"]}),
        ("iam:PutRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/provision/x", {}),
        ("states:StartExecution", f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:provision-keeper-1", {}),
        ("ec2:TerminateInstances", "arn:aws:ec2:us-east-1:1:instance/i-1", {}),  # not ours
        ("s3:GetObject", "arn:aws:s3:::salaries/2026.csv", OWN_BUCKET),
        ("s3:PutObject", "arn:aws:s3:::lab/x", OWN_BUCKET),  # named for reading
        ("s3:PutObject", f"arn:aws:s3:::provision-{ACCOUNT}-{REGION}/other", OWN_BUCKET),
        ("s3:PutObject", f"arn:aws:s3:::provision-{ACCOUNT}-{REGION}/host/a.tar.gz", OWN_BUCKET),
        ("s3:DeleteObject", f"arn:aws:s3:::provision-{ACCOUNT}-{REGION}/machines/x/keys/i-1", OWN_BUCKET),
        ("s3:PutObject", "arn:aws:s3:::provision-9-us-east-1/runs/a/log/1", THEIR_BUCKET),
        ("ssm:GetParameter", "*", {}),
        ("secretsmanager:GetSecretValue", "*", {}),
    ],
)  # fmt: skip
def test_the_boundary_lets_no_role_do_more(action: str, resource: str, context: dict[str, list[str]]) -> None:
    statements = permissions.boundary_policy(REGION, ["lab"])["Statement"]
    assert not access.allowed(statements, action, resource, context)


def test_buckets_for_data_are_read_where_they_are_named() -> None:
    read = ("s3:GetObject", "arn:aws:s3:::lab/voc/a.jpg", {"aws:resourceaccount": ["9"]})
    assert not access.allowed(permissions.boundary_policy(REGION)["Statement"], *read)
    assert access.allowed(permissions.boundary_policy(REGION, ["lab"])["Statement"], *read)


def test_buckets_of_others_with_our_names_are_out_of_reach() -> None:
    statements = permissions.policy(REGION)["Statement"]
    for action in ("s3:GetObject", "s3:PutObject"):
        where = "arn:aws:s3:::provision-of-somebody-else/x"
        assert not access.allowed(statements, action, where, THEIR_BUCKET)
        assert access.allowed(statements, action, where, OWN_BUCKET)


def test_a_boundary_that_is_not_there_is_told_and_not_waited_for() -> None:
    waits: list[float] = []
    FakeAws(BOUNDED, CreateRole=Refused("NoSuchEntity"))
    with pytest.raises(UsageError) as error:
        Iam(BOUNDED, sleep=waits.append).ensure_role("provision-lab-01234567", {})
    assert ARN in error.value.what and error.value.mend == BOUNDARY_MEND and waits == []


# the settings and the commands


@pytest.mark.parametrize(
    "arn", [ARN, "arn:aws-cn:iam::111122223333:policy/team/b", "arn:aws:iam::aws:policy/PowerUserAccess"]
)
def test_the_settings_name_the_boundary(arn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("provision.yaml").write_text(f"permissions_boundary: {arn}\n")
    assert clouds.resolve(settings.load()).boundary == arn


@pytest.mark.parametrize(
    "arn",
    [
        "provision-boundary",
        "arn:aws:iam::1:policy/x",
        "arn:aws:iam::111122223333:role/x",
        "arn:aws:iam::111122223333:policy/*",
        "arn:aws:iam::111122223333:policy/${aws:username}",
    ],
)
def test_what_is_no_boundary_is_refused(
    arn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("provision.yaml").write_text(f"permissions_boundary: '{arn}'\n")
    assert cli.run(["ls"]) == UsageError.exit_code
    assert "cannot name a permissions boundary" in capsys.readouterr().err


def test_what_the_policy_can_do_is_told_where_it_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["iam-policy"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == permissions.policy(REGION)
    assert "administrator of the account, in two calls" in err and "provision iam-policy --boundary" in err
    Path("provision.yaml").write_text(f"permissions_boundary: {ARN}\n")
    assert cli.run(["iam-policy"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == permissions.policy(REGION, ARN)
    assert ARN in err and "administrator" not in err


def test_the_boundary_is_printed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["iam-policy", "--boundary", "--bucket", "lab", "--region", "cn-north-1"]) == 0
    text = capsys.readouterr().out
    assert json.loads(text) == permissions.boundary_policy("cn-north-1", ["lab"])
    assert '"arn:aws-cn:s3:::lab/*"' in text and len(json.dumps(json.loads(text), separators=(",", ":"))) <= 6144
    assert cli.run(["iam-policy", "--bucket", "lab"]) == UsageError.exit_code
    assert "--boundary" in capsys.readouterr().err
    assert cli.run(["iam-policy", "--boundary", "--bucket", "l*"]) == UsageError.exit_code


def test_the_doctor_says_whether_there_is_a_boundary() -> None:
    (none,) = doctor._boundary(CLOUD)
    assert (none.state, "administrator" in none.found, "iam-policy --boundary" in none.mend) == ("warn", True, True)
    FakeAws(BOUNDED, GetPolicy={"Policy": {"Arn": ARN}})
    (there,) = doctor._boundary(BOUNDED)
    assert (there.state, ARN in there.found) == ("ok", True)
    FakeAws(BOUNDED, GetPolicy=Refused("NoSuchEntity"))
    (gone,) = doctor._guarded("boundary", lambda: doctor._boundary(BOUNDED))
    assert (gone.state, ARN in gone.found, gone.mend) == ("fail", True, BOUNDARY_MEND)
    FakeAws(BOUNDED, GetPolicy=Refused("AccessDenied"))
    (unseen,) = doctor._boundary(BOUNDED)
    assert unseen.state == "warn" and ARN in unseen.found
    assert "boundary" in doctor.there(clouds.Session(BOUNDED, settings.Settings()), "")


# the emulator


def call(action: str, **words: str) -> Any:
    """A signed request as moto sees it."""
    data = {name: [value] for name, value in words.items()}
    return SimpleNamespace(_action=action, _service="iam", _data=data, account_id="123456789012", _region=REGION)


def test_the_emulator_judges_roles_by_their_boundary() -> None:
    from moto.iam.models import iam_backends

    account = iam_backends["123456789012"]["aws"]
    backend = type(account)("us-east-1", "123456789012")  # of this test alone
    iam_backends["123456789012"]["aws"] = backend
    try:
        statements = permissions.policy(REGION, (arn := ARN.replace(ACCOUNT, "123456789012")))["Statement"]
        path = "/provision/us-east-1/"
        made = resources.of(call("iam:CreateRole", RoleName="a", Path=path, PermissionsBoundary=arn), "*")
        bare = resources.of(call("iam:CreateRole", RoleName="a", Path=path), "*")
        assert [access.allowed(statements, *one) for one in (*made, *bare)] == [True, False]
        document = json.dumps(permissions.boundary_policy(REGION))
        backend.create_policy("", "/", document, "provision-boundary", [])
        for name, bound in (("bounded", arn), ("bare", None)):
            backend.create_role(name, "{}", path, bound, "", [], "3600")
            backend.put_role_policy(name, "all", json.dumps(EVERYTHING))
        gives = [resources.of(call("iam:PutRolePolicy", RoleName=name), "*")[0] for name in ("bounded", "bare")]
        assert [access.allowed(statements, *one) for one in gives] == [True, False]
        may = [access.role_may(backend.get_role(name), "iam:CreateUser", "*", {}) for name in ("bounded", "bare")]
        assert may == [False, True]
    finally:
        iam_backends["123456789012"]["aws"] = account
