"""What the keeper's role may do: what its definition calls, and no more, as narrow as IAM lets us say it.

Narrowed by: our tags in the call that makes a thing, or on what is ended (`provision:run`, which only things of a kept
launch have); the paths of our roles and the group of our schedules; the keys that the keeper writes and reads; the
services to which a role may be given; the account.

What IAM cannot narrow, and why that is borne:
- looking at machines, machine images and snapshots: these calls know no resources. They only read.
- one run from another: the role is one for all executions, and an execution does what its input says. So whoever may
  start an execution of ours may end, by it, any kept machine of the account; the policy of `iam-policy` lets it end
  ours in any case. The roles that it may give to machines are below /provision/, and bounded where a boundary is set.
- images that keepers made are one another's: what is tagged with any run may be deleted. No state deletes one that is
  whole, and its name and its run's tag are asked for. Images that a person made (`ami bake`) have no run's tag.
- images, snapshots, subnets: others own them, so they have no tag of ours. A launch takes them from a template of ours:
  ec2:CreateFleet is allowed with no other (a name cannot be asked for, its tag can).
- the topic of `--notify`: the user names any topic of the account. A message says a run's id and how it ended.
- regions: the role is one for the account, like IAM itself, and all regions' executions have it.

It is named by its rights (`step_functions`): with other ones it is another role, and each state machine keeps its own.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from infra.aws import regions
from infra.aws.iam import Iam
from infra.aws.scheduler import GROUP, PATH, ROLE, SERVICE

TAG = "provision:run"
_IN_CALL = {"Null": {f"aws:RequestTag/{TAG}": "false"}}
_ON_IT = {"Null": {f"ec2:ResourceTag/{TAG}": "false"}}
_SPOT = "spot.amazonaws.com"


def document(region: str, account: str, bucket: str) -> dict[str, Any]:
    """The policy of the keeper's role, for all regions of that region's partition; `bucket` is one of the account's
    buckets for runs, which have one name but for the region."""
    runs = f"{bucket.removesuffix(region)}*"
    return {"Version": "2012-10-17", "Statement": [*_machines(region, account), *_rest(region, account, runs)]}


def digest(region: str) -> str:
    """Eight hexadecimal digits that are others for other rights, whatever the account."""
    nobodys = document(region, "000000000000", f"provision-000000000000-{region}")
    return hashlib.sha256(json.dumps(nobodys, sort_keys=True).encode()).hexdigest()[:8]


def _machines(region: str, account: str) -> list[dict[str, Any]]:
    def ec2(*kinds: str) -> list[str]:
        return [regions.arn(region, f"ec2:*:{account}:{kind}/*") for kind in kinds]

    made = ec2("instance", "network-interface", "spot-instances-request", "volume")
    images, snapshots = others = [regions.arn(region, f"ec2:*::{kind}/*") for kind in ("image", "snapshot")]
    tags = {"StringEquals": {"ec2:CreateAction": ["CreateFleet", "CreateImage", "RunInstances"]}}
    return [
        _allow("Look", ["ec2:DescribeImages", "ec2:DescribeInstances", "ec2:DescribeSnapshots"], ["*"]),
        _allow("Launch", ["ec2:RunInstances"], made, _IN_CALL),
        _allow("LaunchFromOurs", ["ec2:RunInstances"], ec2("launch-template", "security-group"), _ON_IT),
        _allow("LaunchFrom", ["ec2:RunInstances"], [*others, *ec2("subnet")]),
        _allow("Fleet", ["ec2:CreateFleet"], ec2("fleet"), _IN_CALL),
        _allow("FleetFromOurs", ["ec2:CreateFleet"], ec2("launch-template"), _ON_IT),
        _allow("TagWhatIsMade", ["ec2:CreateTags"], [*ec2("fleet", *_kinds(made)), *others], tags),
        _allow("End", ["ec2:TerminateInstances"], ec2("instance"), _ON_IT),
        _allow("BakeOurs", ["ec2:CreateImage"], ec2("instance"), _ON_IT),
        _allow("Bake", ["ec2:CreateImage"], others, _IN_CALL),
        _allow("ClearHalfImage", ["ec2:DeregisterImage"], [images], _ON_IT),
        _allow("ClearItsDisk", ["ec2:DeleteSnapshot"], [snapshots], _ON_IT),
        _allow("ClearLaunch", ["ec2:DeleteLaunchTemplate"], ec2("launch-template"), _ON_IT),
        _allow("ClearGroup", ["ec2:DeleteSecurityGroup"], ec2("security-group"), _ON_IT),
    ]


def _kinds(arns: Sequence[str]) -> list[str]:
    return [arn.rsplit(":", 1)[-1].removesuffix("/*") for arn in arns]


def _rest(region: str, account: str, runs: str) -> list[dict[str, Any]]:
    def iam(kind: str, path: str) -> str:
        return regions.arn(region, f"iam::{account}:{kind}{path}")

    def keys(*patterns: str) -> list[str]:
        return [regions.arn(region, f"s3:::{runs}/runs/*/{pattern}") for pattern in patterns]

    ours = {"StringEquals": {"aws:ResourceAccount": account}}
    roles, profiles = iam("role", f"{Iam.ROOT}*"), iam("instance-profile", f"{Iam.ROOT}*")
    schedule = regions.arn(region, f"scheduler:*:{account}:schedule/{GROUP}/*")
    clear = ["iam:DeleteRole", "iam:DeleteRolePolicy", "iam:ListRolePolicies", "iam:RemoveRoleFromInstanceProfile"]
    return [
        _allow("Give", ["iam:PassRole"], [roles], _to(regions.machines_principal(region))),
        _allow("Spot", ["iam:CreateServiceLinkedRole"], [iam("role", f"/aws-service-role/{_SPOT}/*")],
               {"StringEquals": {"iam:AWSServiceName": _SPOT}}),
        _allow("ClearRole", clear, [roles]),
        _allow("ClearProfile", ["iam:DeleteInstanceProfile", "iam:RemoveRoleFromInstanceProfile"], [profiles]),
        _allow("Arm", ["scheduler:CreateSchedule", "scheduler:DeleteSchedule", "scheduler:UpdateSchedule"], [schedule]),
        _allow("GiveSchedule", ["iam:PassRole"], [iam("role", f"{PATH}{ROLE}")], _to(SERVICE)),
        _allow("Write", ["s3:PutObject"], keys("attempts/*", "control/*", "ends/*"), ours),
        _allow("Read", ["s3:GetObject"], keys("attempts/*", "keys/*", "state.json"), ours),
        _allow("Tell", ["sns:Publish"], [regions.arn(region, f"sns:*:{account}:*")]),
    ]  # fmt: skip


def _to(service: str) -> dict[str, Any]:
    return {"StringEquals": {"iam:PassedToService": service}}


def _allow(
    name: str, actions: Sequence[str], resources: Sequence[str], condition: dict[str, Any] | None = None
) -> dict[str, Any]:
    allowed: dict[str, Any] = {"Sid": name, "Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
    return {**allowed, "Condition": condition} if condition else allowed
