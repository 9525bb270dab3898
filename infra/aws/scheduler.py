"""EventBridge Scheduler: the end of an instance that needs neither the laptop nor the instance itself.

One schedule for each launch, named by its resource, in the schedule group `provision` (a schedule cannot be tagged, its
group can). It calls TerminateInstances once and deletes itself. The group, and the role that it assumes, cost nothing
and are kept. They are made only when AWS says that they are missing, so that the usual case takes one call.

The role's trust is written last: so a role that Scheduler may assume always has its rights, even where the client that
made it was killed halfway.
"""

import functools
import json
import math
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from botocore.exceptions import ClientError

from infra.aws.errors import code_of, explained
from infra.aws.iam import create_role
from infra.aws.identity import account
from infra.aws.regions import arn
from infra.aws.session import Cloud, client

GROUP = "provision"
ROLE = "provision-scheduler"
PATH = "/provision-account/"
SERVICE = "scheduler.amazonaws.com"  # in every partition
TARGET = "scheduler:::aws-sdk:ec2:terminateInstances"  # behind arn:PARTITION:
_SETTLES_S = 30.0  # how long IAM may take to tell Scheduler of a new role
SOONEST = timedelta(seconds=90)  # from now: AWS looks once a minute, and a moment that has passed never comes
_MARKS = [{"Key": "provision:account", "Value": "scheduler"}]
_account = functools.cache(account)


class Scheduler:
    """Schedules of one region. `sleep` is for tests."""

    def __init__(self, cloud: Cloud, sleep: Callable[[float], None] = time.sleep) -> None:
        self._cloud = cloud
        self._sleep = sleep

    @property
    def _api(self) -> Any:
        return client(self._cloud, "scheduler")

    def arm(self, resource: str, instance_id: str, at: datetime) -> None:
        """Schedule the instance's end for that moment (to the minute). A second call moves it."""
        target = {"Arn": arn(self._cloud.region, TARGET), "RoleArn": self._role_arn}
        words = _schedule(resource, instance_id, max(at, datetime.now(timezone.utc) + SOONEST), target)
        made: dict[str, float] = {}  # what we made → until when AWS may still call it missing
        while True:
            with explained("schedule the instance's end"):
                try:
                    self._put(words)
                    return
                except ClientError as error:
                    missing = _missing(error)
                    if not missing or time.monotonic() > made.get(missing, math.inf):
                        raise
            if missing in made:
                self._sleep(1.0)
                continue
            if missing == "group":
                self._make_group()
            else:
                self._make_role()
            made[missing] = time.monotonic() + _SETTLES_S

    def prepare(self) -> dict[str, str]:
        """Make the group and the role where they are missing, for somebody who arms without us; the group's name, and
        the ARNs of the role and of what a schedule calls."""
        self._make_group()
        self._make_role()
        return {"group": GROUP, "role": self._role_arn, "target": arn(self._cloud.region, TARGET)}

    def disarm(self, resource: str) -> None:
        """Delete the schedule; an absent one is no error."""
        with explained("take a schedule away"):
            try:
                self._api.delete_schedule(GroupName=GROUP, Name=resource)
            except ClientError as error:
                if code_of(error) != "ResourceNotFoundException":
                    raise

    def made(self, prefix: str = "provision-") -> dict[str, datetime]:
        """The names of existing schedules with that prefix → when they were made."""
        with explained("list schedules"):
            try:
                pages = self._api.get_paginator("list_schedules").paginate(GroupName=GROUP, NamePrefix=prefix)
                return {row["Name"]: row["CreationDate"] for page in pages for row in page["Schedules"]}
            except ClientError as error:
                if code_of(error) != "ResourceNotFoundException":
                    raise
                return {}  # no group, no schedules

    @property
    def _role_arn(self) -> str:
        return arn(self._cloud.region, f"iam::{_account(self._cloud)}:role{PATH}{ROLE}")

    def _put(self, words: dict[str, Any]) -> None:
        try:
            self._api.create_schedule(**words)
        except ClientError as error:
            if code_of(error) != "ConflictException":
                raise
            self._api.update_schedule(**words)

    def _make_group(self) -> None:
        with explained("make the schedule group"):
            try:
                self._api.create_schedule_group(Name=GROUP, Tags=_MARKS)
            except ClientError as error:
                if code_of(error) != "ConflictException":
                    raise

    def _make_role(self) -> None:
        iam = client(self._cloud, "iam")
        nobody = json.dumps(_trust(_account(self._cloud), "Deny"))
        trust = json.dumps(_trust(_account(self._cloud), "Allow"))
        rights = json.dumps(_rights(self._cloud.region))
        role = {"Path": PATH, "RoleName": ROLE, "AssumeRolePolicyDocument": nobody, "Tags": _MARKS}
        with explained("make the role that ends instances"):
            try:
                create_role(self._cloud, role)
            except ClientError as error:
                if code_of(error) != "EntityAlreadyExists":
                    raise
            iam.put_role_policy(RoleName=ROLE, PolicyName="terminate", PolicyDocument=rights)
            iam.update_assume_role_policy(RoleName=ROLE, PolicyDocument=trust)


def expression(at: datetime) -> str:
    """A moment as schedules have it, in UTC."""
    return f"at({at.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%S})"


def _schedule(resource: str, instance_id: str, at: datetime, target: dict[str, str]) -> dict[str, Any]:
    """The arguments of CreateSchedule. UpdateSchedule takes the same ones and replaces the whole schedule."""
    return {
        "Name": resource,
        "GroupName": GROUP,
        "ScheduleExpression": expression(at),
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {**target, "Input": json.dumps({"InstanceIds": [instance_id]})},
        "ActionAfterCompletion": "DELETE",
    }


def _missing(error: ClientError) -> str:
    """What has to be made first: "group", "role" or "" for neither. Scheduler says the same of an absent role and of
    one that IAM has not spread yet."""
    if code_of(error) == "ResourceNotFoundException":
        return "group"
    return "role" if code_of(error) == "ValidationException" and "role" in str(error).lower() else ""


def _trust(account_id: str, effect: str) -> dict[str, Any]:
    """Scheduler may assume the role for this account's schedules, and for nobody else's (the confused deputy)."""
    statement = {
        "Effect": effect,
        "Principal": {"Service": SERVICE},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"aws:SourceAccount": account_id}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def _rights(region: str) -> dict[str, Any]:
    """The role's rights: to terminate instances that carry our tag, and nothing else."""
    statement = {
        "Effect": "Allow",
        "Action": "ec2:TerminateInstances",
        "Resource": arn(region, "ec2:*:*:instance/*"),
        "Condition": {"StringLike": {"ec2:ResourceTag/provision:name": "*"}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}
