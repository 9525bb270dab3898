"""AWS Fault Injection Service: a spot notice on demand, as AWS's own spot service gives it.

A template and an experiment for each notice, and a role that the service takes on; all of that is taken away again. An
experiment costs $0.10 for each minute that its action lasts.
https://docs.aws.amazon.com/fis/latest/userguide/fis-actions-reference.html#send-spot-instance-interruptions
"""

import contextlib
import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from infra.aws.errors import code_of, explained
from infra.aws.iam import create_role
from infra.aws.identity import account
from infra.aws.regions import arn
from infra.aws.session import Cloud, client
from infra.aws.tags import NAME
from infra.errors import CloudError

ROLE = "provision-notice"
PATH = "/provision-account/"
SERVICE = "fis.amazonaws.com"  # in every partition
ACTION = "aws:ec2:send-spot-instance-interruptions"
NOTICE = "PT2M"  # from the notice to the end: the shortest, and what the spot service itself gives
DOLLARS = 0.3  # what a notice costs at most: two minutes and a bit
_SETTLES_S = 60.0  # how long IAM may take to tell the service of the role
_LASTS_S = 300.0  # for the experiment, which may last until the machine is taken
_MARKS = {"provision:account": "notice"}


class Notices:
    """Spot notices for machines of ours. `sleep` is for tests."""

    def __init__(self, cloud: Cloud, sleep: Callable[[float], None] = time.sleep) -> None:
        self._cloud = cloud
        self._sleep = sleep

    @property
    def _api(self) -> Any:
        return client(self._cloud, "fis")

    def give(self, instance_id: str) -> None:
        """Let AWS give that spot machine the notice that it will be taken in two minutes; it is taken then. It returns
        when the experiment is over, which may be as late.

        AuthError where these credentials may not ask for it; CloudError where the experiment fails. What was made for
        it is taken away.
        """
        with self._role(), self._template(instance_id) as template:
            with explained("ask for a spot notice"):
                begun = self._api.start_experiment(
                    clientToken=str(uuid.uuid4()), experimentTemplateId=template, tags=_MARKS
                )
            self._wait(begun["experiment"]["id"])

    def _wait(self, experiment: str) -> None:
        until = time.monotonic() + _LASTS_S
        while True:
            with explained("look at an experiment"):
                found = self._api.get_experiment(id=experiment)["experiment"]
            state = found["state"]
            if state["status"] in ("failed", "stopped"):
                raise CloudError(f"AWS gave no spot notice: {state.get('reason', '')}", "see the console of AWS FIS")
            if state["status"] == "completed":
                return
            if time.monotonic() > until:
                raise CloudError(f"AWS gave no spot notice within {_LASTS_S:g} s", "see the console of AWS FIS")
            self._sleep(2.0)

    @contextlib.contextmanager
    def _template(self, instance_id: str) -> Iterator[str]:
        """A template for one notice, as long as the block lasts; IAM may need its time to tell of the role."""
        made = self._made(instance_id)
        try:
            yield made
        finally:
            with explained("delete a template for a spot notice"):
                self._api.delete_experiment_template(id=made)

    def _made(self, instance_id: str) -> str:
        words = template(self._cloud.region, account(self._cloud), instance_id)
        until = time.monotonic() + _SETTLES_S
        while True:
            with explained("make a template for a spot notice"):
                try:
                    made = self._api.create_experiment_template(clientToken=str(uuid.uuid4()), **words)
                    return str(made["experimentTemplate"]["id"])
                except ClientError as error:
                    if code_of(error) != "ValidationException" or time.monotonic() > until:
                        raise
            self._sleep(2.0)

    @contextlib.contextmanager
    def _role(self) -> Iterator[None]:
        """The role that the service takes on, as long as the block lasts."""
        iam = client(self._cloud, "iam")
        owner = account(self._cloud)
        tags = [{"Key": key, "Value": value} for key, value in _MARKS.items()]
        trust = json.dumps(_trust(owner))
        words = {"Path": PATH, "RoleName": ROLE, "AssumeRolePolicyDocument": trust, "Tags": tags}
        with explained("make the role of a spot notice"):
            try:
                create_role(self._cloud, words)
            except ClientError as error:
                if code_of(error) != "EntityAlreadyExists":
                    raise
        try:
            with explained("give the role of a spot notice its rights"):
                rights = json.dumps(_rights(self._cloud.region))
                iam.put_role_policy(RoleName=ROLE, PolicyName="notice", PolicyDocument=rights)
            yield
        finally:
            self._clear(iam)

    def _clear(self, iam: Any) -> None:
        for call, words in (
            (iam.delete_role_policy, {"RoleName": ROLE, "PolicyName": "notice"}), (iam.delete_role, {"RoleName": ROLE}),
        ):  # fmt: skip
            with explained("delete the role of a spot notice"):
                try:
                    call(**words)
                except ClientError as error:
                    if code_of(error) != "NoSuchEntity":
                        raise


def template(region: str, owner: str, instance_id: str) -> dict[str, Any]:
    """What CreateExperimentTemplate is asked for: one notice to one machine of that account."""
    machine = arn(region, f"ec2:{region}:{owner}:instance/{instance_id}")
    return {
        "description": f"a spot notice for {instance_id}",
        "roleArn": arn(region, f"iam::{owner}:role{PATH}{ROLE}"),
        "stopConditions": [{"source": "none"}],
        "targets": {
            "one": {"resourceType": "aws:ec2:spot-instance", "resourceArns": [machine], "selectionMode": "ALL"}
        },
        "actions": {
            "notice": {
                "actionId": ACTION,
                "parameters": {"durationBeforeInterruption": NOTICE},
                "targets": {"SpotInstances": "one"},
            }
        },
        "tags": _MARKS,
    }


def _trust(owner: str) -> dict[str, Any]:
    """The service may take the role on for this account's experiments, and for nobody else's."""
    statement = {
        "Effect": "Allow", "Principal": {"Service": SERVICE}, "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"aws:SourceAccount": owner}},
    }  # fmt: skip
    return {"Version": "2012-10-17", "Statement": [statement]}


def _rights(region: str) -> dict[str, Any]:
    """A notice to machines of ours, and to look for them."""
    ours = {
        "Effect": "Allow", "Action": "ec2:SendSpotInstanceInterruptions",
        "Resource": arn(region, "ec2:*:*:instance/*"),
        "Condition": {"StringLike": {f"ec2:ResourceTag/{NAME}": "*"}},
    }  # fmt: skip
    looks = {"Effect": "Allow", "Action": "ec2:DescribeInstances", "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [ours, looks]}
