"""Step Functions: executions of the keeper, which keep runs to their ends without a laptop.

One state machine for each definition, named by its sum, so that an execution goes on with the definition that it began
with. Machine and role are made at first use, and cost nothing while nothing runs. One that is there takes one call.

The role's trust is written last: so a role that Step Functions may assume always has its rights, even where the client
that made it was killed halfway. It is named by the sum of its rights, and is one for all regions: an older client,
which calls less and gives less, has a role of its own, and takes nothing from that of newer machines.
"""

import functools
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from infra.aws.errors import code_of, explained
from infra.aws.iam import create_role
from infra.aws.identity import account
from infra.aws.regions import arn
from infra.aws.session import Cloud, client
from infra.errors import BusyError

PREFIX = "provision-keeper-"
PATH = "/provision-account/"
SERVICE = "states.amazonaws.com"  # in every partition
_SETTLES_S = 60.0  # how long IAM may take to tell Step Functions of a new role
_MARKS = {"provision:account": "keeper"}
_account = functools.cache(account)
_ENTERED, _EXITED = "StateEntered", "StateExited"
_FAILED = ("Failed", "TimedOut", "Aborted")


@dataclass(frozen=True)
class Execution:
    """How an execution stands. `status`: RUNNING, SUCCEEDED, FAILED, TIMED_OUT, ABORTED; "" where there is none.

    `output` is what it gave, where it succeeded, as JSON; `arn` names it.
    """

    arn: str
    status: str = ""
    error: str = ""
    cause: str = ""
    started: datetime | None = None
    stopped: datetime | None = None
    output: str = ""

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self.status == "RUNNING"


@dataclass(frozen=True)
class Step:
    """One step of an execution: the state's name, "entered" or "exited", or "failed" with the error of a call."""

    time: datetime
    state: str
    kind: str
    error: str = ""


class Keeper:
    """State machines and executions of one region. `sleep` is for tests, and for waits that must be stoppable."""

    def __init__(self, cloud: Cloud, sleep: Callable[[float], None] = time.sleep) -> None:
        self._cloud = cloud
        self._sleep = sleep

    @property
    def _api(self) -> Any:
        return client(self._cloud, "stepfunctions")

    def arn_of(self, machine: str) -> str:
        """The ARN of the state machine of that name."""
        cloud = self._cloud
        return arn(cloud.region, f"states:{cloud.region}:{_account(cloud)}:stateMachine:{machine}")

    def execution_of(self, machine: str, name: str) -> str:
        """The ARN of the machine's execution of that name."""
        return f"{self.arn_of(machine).replace(':stateMachine:', ':execution:')}:{name}"

    def ensure(self, definition: str, rights: Mapping[str, Any]) -> str:
        """The ARN of the state machine of that definition, which is made, and its role with it, unless it is there: so
        a definition names the rights that it needs (`engines.definition`).

        UsageError where the settings' permissions boundary is not there; AuthError.
        """
        machine = name_of(definition)
        where = self.arn_of(machine)
        with explained("look for the keeper"):
            try:
                if self._api.describe_state_machine(stateMachineArn=where)["status"] == "ACTIVE":
                    return where
            except ClientError as error:
                if code_of(error) != "StateMachineDoesNotExist":
                    raise
        self._make(machine, definition, self._make_role(rights))
        return where

    def start(self, machine: str, name: str, given: Mapping[str, Any]) -> str:
        """Start the execution `name` of the machine with that ARN, and give its ARN. The same again is the same one.

        BusyError where there is one of that name that was given something else, or is over.
        """
        words = {"stateMachineArn": machine, "name": name, "input": json.dumps(given, sort_keys=True)}
        with explained("start the keeper"):
            try:
                return str(self._api.start_execution(**words)["executionArn"])
            except ClientError as error:
                if code_of(error) != "ExecutionAlreadyExists":
                    raise
        raise BusyError(f"there is an execution {name} already", f"look how the run stands: {self._cloud.hint('runs')}")

    def stop(self, execution: str, cause: str) -> None:
        """Stop the execution: nothing of it goes on, and it clears nothing. One that is over or gone is no error."""
        with explained("stop the keeper"):
            try:
                self._api.stop_execution(executionArn=execution, cause=cause[:32000])
            except ClientError as error:
                if code_of(error) not in ("ExecutionDoesNotExist", "StateMachineDoesNotExist"):
                    raise

    def describe(self, execution: str) -> Execution:
        """How the execution stands; AWS forgets one 90 days after its end."""
        with explained("look how the keeper stands"):
            try:
                row = self._api.describe_execution(executionArn=execution)
            except ClientError as error:
                if code_of(error) not in ("ExecutionDoesNotExist", "StateMachineDoesNotExist"):
                    raise
                return Execution(execution)
        return Execution(
            execution, row["status"], row.get("error", ""), row.get("cause", ""), row.get("startDate"),
            row.get("stopDate"), row.get("output", ""),
        )  # fmt: skip

    def history(self, execution: str) -> list[Step]:
        """The steps of the execution, oldest first; none where AWS has forgotten it. 1,000 events are one call."""
        with explained("read what the keeper did"):
            pages = self._api.get_paginator("get_execution_history").paginate(
                executionArn=execution, includeExecutionData=False, PaginationConfig={"PageSize": 1000}
            )
            try:
                return steps([event for page in pages for event in page["events"]])
            except ClientError as error:
                if code_of(error) != "ExecutionDoesNotExist":
                    raise
                return []

    def machines(self) -> dict[str, datetime]:
        """The names of our state machines → when they were made."""
        with explained("list the keepers"):
            pages = self._api.get_paginator("list_state_machines").paginate()
            rows = [row for page in pages for row in page["stateMachines"]]
        return {row["name"]: row["creationDate"] for row in rows if row["name"].startswith(PREFIX)}

    def executions(self, machine: str) -> dict[str, datetime]:
        """The names of the machine's executions that go on → when they were started."""
        with explained("list what the keeper keeps"):
            pages = self._api.get_paginator("list_executions").paginate(
                stateMachineArn=self.arn_of(machine), statusFilter="RUNNING"
            )
            try:
                return {row["name"]: row["startDate"] for page in pages for row in page["executions"]}
            except ClientError as error:
                if code_of(error) != "StateMachineDoesNotExist":
                    raise
                return {}

    # making

    def _make(self, machine: str, definition: str, role: str) -> None:
        """Make the machine, whose executions have that role. Step Functions says AccessDenied of one that IAM has not
        spread yet."""
        tags = [{"key": key, "value": value} for key, value in _MARKS.items()]
        role_arn = arn(self._cloud.region, f"iam::{_account(self._cloud)}:role{PATH}{role}")
        until = time.monotonic() + _SETTLES_S
        while True:
            with explained("make the keeper"):
                try:
                    self._api.create_state_machine(
                        name=machine, definition=definition, roleArn=role_arn, type="STANDARD", tags=tags
                    )
                    return
                except ClientError as error:
                    if code_of(error) == "StateMachineAlreadyExists":  # made meanwhile: one name is one definition
                        return
                    if not _unsettled(error) or time.monotonic() > until:
                        raise
            self._sleep(2.0)

    def _make_role(self, rights: Mapping[str, Any]) -> str:
        """The name of the role that has those rights; it is made, or made whole."""
        name = role_of(rights)
        iam = client(self._cloud, "iam")
        marks = [{"Key": key, "Value": value} for key, value in _MARKS.items()]
        nobody, trust = (json.dumps(self._trust(effect)) for effect in ("Deny", "Allow"))
        with explained("make the keeper's role"):
            try:
                create_role(
                    self._cloud,
                    {"Path": PATH, "RoleName": name, "AssumeRolePolicyDocument": nobody, "Tags": marks},
                )
            except ClientError as error:
                if code_of(error) != "EntityAlreadyExists":
                    raise
            iam.put_role_policy(RoleName=name, PolicyName="keep", PolicyDocument=_short(rights))
            iam.update_assume_role_policy(RoleName=name, PolicyDocument=trust)
        return name

    def _trust(self, effect: str) -> dict[str, Any]:
        """Step Functions may assume the role for our state machines in this account, in any region: the role is one for
        all of them. The conditions are against the confused deputy."""
        mine = _account(self._cloud)
        where = arn(self._cloud.region, f"states:*:{mine}:stateMachine:{PREFIX}*")
        statement = {
            "Effect": effect,
            "Principal": {"Service": SERVICE},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:SourceAccount": mine}, "ArnLike": {"aws:SourceArn": where}},
        }
        return {"Version": "2012-10-17", "Statement": [statement]}


def name_of(definition: str) -> str:
    """The name of the state machine of that definition: it has the first eight digits of its sha256."""
    return PREFIX + hashlib.sha256(definition.encode()).hexdigest()[:8]


def role_of(rights: Mapping[str, Any]) -> str:
    """The name of the role that has those rights: it has the first eight digits of their sha256."""
    return PREFIX + hashlib.sha256(json.dumps(rights, sort_keys=True).encode()).hexdigest()[:8]


def steps(events: list[Mapping[str, Any]]) -> list[Step]:
    """The events that tell of states and of calls that failed; a failed call is told with the state that made it."""
    found: list[Step] = []
    now = ""
    for event in events:
        kind = str(event["type"])
        if kind.endswith(_ENTERED):
            now = str(event["stateEnteredEventDetails"]["name"])
            found.append(Step(event["timestamp"], now, "entered"))
        elif kind.endswith(_EXITED):
            found.append(Step(event["timestamp"], str(event["stateExitedEventDetails"]["name"]), "exited"))
        elif kind.endswith(_FAILED):
            found.append(Step(event["timestamp"], now, "failed", _error(event)))
    return found


def _error(event: Mapping[str, Any]) -> str:
    """The error's name in the details of an event, whose key follows from the event's kind."""
    for key, details in event.items():
        if key.endswith("EventDetails") and isinstance(details, Mapping):
            return str(details.get("error", "")) or str(event["type"])
    return str(event["type"])


def _short(rights: Mapping[str, Any]) -> str:
    """IAM counts no spaces of a policy; an inline policy of a role has 10,240 characters at most."""
    return json.dumps(rights, separators=(",", ":"))


def _unsettled(error: ClientError) -> bool:
    """Whether the role is not there yet for Step Functions, which says that it may not assume it."""
    return code_of(error) == "AccessDeniedException" and "assume" in str(error).lower()
