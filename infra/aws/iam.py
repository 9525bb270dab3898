"""IAM: one role for each instance, which may begin (MACHINE), and no more until a run gives it the run's own prefix.

All roles and profiles live under the path /provision/REGION/, so that they can be listed without knowing their
names, and so that ending all of one region leaves the others alone: IAM knows no regions.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from infra.aws.errors import code_of, explained
from infra.aws.regions import machines_principal
from infra.aws.session import Cloud, client
from infra.errors import UsageError

BOUNDARY_MEND = (
    "make it of what `provision iam-policy --boundary` prints, or correct `permissions_boundary` in the settings"
)
_SETTLES_S = 20.0  # how long we wait for IAM to see its own changes
SESSIONS = "session-manager"
MACHINE = "machine"
# the least that Session Manager's agent needs; AWS's AmazonSSMManagedInstanceCore may read all parameters besides
# https://docs.aws.amazon.com/systems-manager/latest/userguide/getting-started-create-iam-instance-profile.html
_AGENT = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": [
                "ssm:UpdateInstanceInformation",
                "ssmmessages:CreateControlChannel",
                "ssmmessages:CreateDataChannel",
                "ssmmessages:OpenControlChannel",
                "ssmmessages:OpenDataChannel",
            ],
            "Resource": "*",
        }
    ],
}


def create_role(cloud: Cloud, words: Mapping[str, Any]) -> None:
    """Create a role with these words, and the permissions boundary of the settings. UsageError where that is not there;
    ClientError."""
    bounded = {"PermissionsBoundary": cloud.boundary} if cloud.boundary else {}
    try:
        client(cloud, "iam").create_role(**words, **bounded)
    except ClientError as error:
        if code_of(error) != "NoSuchEntity":
            raise
        raise _no_boundary(cloud) from error


def _no_boundary(cloud: Cloud) -> UsageError:
    return UsageError(f"there is no permissions boundary {cloud.boundary}", BOUNDARY_MEND)


class Iam:
    """Roles for instances. `sleep` is for tests, and for callers whose waits must be stoppable."""

    ROOT = "/provision/"

    def __init__(self, cloud: Cloud, sleep: Callable[[float], None] = time.sleep) -> None:
        self._cloud = cloud
        self._sleep = sleep
        self.path = f"{self.ROOT}{cloud.region}/"

    @property
    def _api(self) -> Any:
        return client(self._cloud, "iam")

    def ensure_role(self, name: str, tags: Mapping[str, str]) -> None:
        """Make a role and an instance profile of the same name; one that exists already is kept."""
        marks = [{"Key": key, "Value": value} for key, value in tags.items()]
        trust = json.dumps(self._trust)
        words = {"Path": self.path, "RoleName": name, "AssumeRolePolicyDocument": trust, "Tags": marks}
        self._tolerate("create a role", lambda: create_role(self._cloud, words), ("EntityAlreadyExists",), again=())
        self._unless_there(
            "create an instance profile",
            lambda: self._api.create_instance_profile(Path=self.path, InstanceProfileName=name, Tags=marks),
        )
        self._unless_there(
            "put a role into its profile",
            lambda: self._api.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name),
            ("EntityAlreadyExists", "LimitExceeded"),  # a profile holds one role: it is there already
        )

    @property
    def _trust(self) -> dict[str, Any]:
        principal = {"Service": machines_principal(self._cloud.region)}
        statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
        return {"Version": "2012-10-17", "Statement": [statement]}

    def boundary(self) -> None:
        """Look for the permissions boundary. UsageError where it is not there; AuthError where we may not look."""
        with explained("look for the permissions boundary"):
            try:
                self._api.get_policy(PolicyArn=self._cloud.boundary)
            except ClientError as error:
                if code_of(error) != "NoSuchEntity":
                    raise
                raise _no_boundary(self._cloud) from error

    def allow_sessions(self, role: str) -> None:
        """Let the instance's own agent open Session Manager's channels."""
        self.allow(role, SESSIONS, _AGENT)

    def allow(self, role: str, policy: str, document: Mapping[str, object]) -> None:
        """Set the inline policy `policy` of the role."""
        with explained("write the policy of the instance's role"):
            self._api.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))

    def policies(self, role: str) -> list[str]:
        """Names of the inline policies that runs gave the role."""
        with explained("list a role's policies"):
            names = self._api.list_role_policies(RoleName=role)["PolicyNames"]
        return [name for name in names if name not in (SESSIONS, MACHINE)]

    def forbid(self, role: str, policy: str) -> None:
        """Remove an inline policy of the role; an absent one is no error."""
        self._unless_gone("take a policy away", lambda: self._api.delete_role_policy(RoleName=role, PolicyName=policy))

    def delete_role(self, name: str) -> None:
        """Delete the role, its profile and its inline policies; absent ones are no error."""
        self._unless_gone("list a role's policies", lambda: self._delete_policies(name))
        self._unless_gone(
            "empty an instance profile",
            lambda: self._api.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=name),
        )
        self._unless_gone(
            "delete an instance profile", lambda: self._api.delete_instance_profile(InstanceProfileName=name)
        )
        self._unless_gone("delete a role", lambda: self._api.delete_role(RoleName=name))

    def roles(self) -> list[str]:
        """Names of all roles of ours."""
        with explained("list roles"):
            pages = self._api.get_paginator("list_roles").paginate(PathPrefix=self.path)
            return [role["RoleName"] for page in pages for role in page["Roles"]]

    def _delete_policies(self, role: str) -> None:
        for policy in self._api.list_role_policies(RoleName=role)["PolicyNames"]:
            self._api.delete_role_policy(RoleName=role, PolicyName=policy)

    def _unless_there(self, doing: str, call: Any, codes: tuple[str, ...] = ("EntityAlreadyExists",)) -> None:
        self._tolerate(doing, call, codes, again=("NoSuchEntity",))

    def _unless_gone(self, doing: str, call: Any) -> None:
        self._tolerate(doing, call, ("NoSuchEntity",), again=("DeleteConflict",))

    def _tolerate(self, doing: str, call: Any, codes: tuple[str, ...], again: tuple[str, ...]) -> None:
        """Make the call. Errors in `codes` count as done; after those in `again` it is made again, for 20 s at most."""
        until = time.monotonic() + _SETTLES_S
        while True:
            with explained(doing):
                try:
                    call()
                    return
                except ClientError as error:
                    if code_of(error) in codes:
                        return
                    if code_of(error) not in again or time.monotonic() > until:
                        raise
            self._sleep(1.0)
