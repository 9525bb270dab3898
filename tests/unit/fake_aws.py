"""A few of AWS's things in a dictionary, behind real botocore clients that never reach the network."""

import dataclasses
import functools
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from infra.aws import scheduler, step_functions
from infra.aws.session import Cloud, client
from infra.shell import Secret
from tests.unit.price_answers import from_table

LAUNCHED = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)
CLOUD = Cloud("fake", "us-east-1", "http://127.0.0.1:9", access_key="A", secret_key=Secret("b"))
ACCOUNTS = {"A": "111111111111", "B": "222222222222"}  # by access key
Answer = Callable[[dict[str, Any]], Any]


class Refused(Exception):
    """An error of AWS's, by its code."""

    def __init__(self, code: str, said: str = "") -> None:
        super().__init__(code)
        self.code, self.said = code, said


class FakeAws:
    """Answers by operation: a value, or a function of the call's parameters, which may raise Refused. What has no
    answer is answered with empty lists. `calls` is the log. The newest one answers: clients are dear, and made once for
    each cloud."""

    newest: "FakeAws"

    def __init__(self, cloud: Cloud = CLOUD, **answers: Any) -> None:
        _clients(cloud)
        scheduler._account.cache_clear()
        step_functions._account.cache_clear()
        self.cloud = cloud
        self.answers = dict(answers)
        self.calls: list[tuple[str, dict[str, Any]]] = []
        FakeAws.newest = self

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def of(self, operation: str) -> list[dict[str, Any]]:
        return [words for name, words in self.calls if name == operation]

    def answer(self, model: Any, params: dict[str, Any], key: str = "A") -> Any:
        self.calls.append((model.name, params))
        whose = (
            {"Account": ACCOUNTS[key], "Arn": "arn:aws:iam::1:user/me"} if model.name == "GetCallerIdentity" else None
        )
        answer = self.answers.get(model.name, from_table if model.name == "GetProducts" else whose)
        try:
            value = answer(params) if callable(answer) else answer
        except Refused as refused:
            value = refused
        if isinstance(value, Refused):
            return _Http(400), {"Error": {"Code": value.code, "Message": value.said or value.code}}
        return _Http(200), {"ResponseMetadata": {}, **_empty(model), **(value or {})}


@functools.cache
def _clients(cloud: Cloud) -> None:
    given = threading.local()

    def note(params: dict[str, Any], **_: Any) -> None:
        given.params = params

    def answer(model: Any, **_: Any) -> Any:
        return FakeAws.newest.answer(model, given.params, str(cloud.access_key))

    prices = client(dataclasses.replace(cloud, region="us-east-1"), "pricing", attempts=1)
    for api in (
        *(
            client(cloud, name)
            for name in ("ec2", "iam", "scheduler", "sts", "s3", "stepfunctions", "sns", "fis", "ecr")
        ),
        prices,
    ):
        api.meta.events.register("provide-client-params", note)
        api.meta.events.register("before-call", answer)


class _Http:
    def __init__(self, status: int) -> None:
        self.status_code = status


def _empty(model: Any) -> dict[str, Any]:
    shape = model.output_shape
    members = shape.members if shape else {}
    return {name: [] for name, member in members.items() if member.type_name == "list"}


def tags(**values: str) -> list[dict[str, str]]:
    """provision:KEY tags; `_` stands for `-`."""
    return [{"Key": f"provision:{key.replace('_', '-')}", "Value": value} for key, value in values.items()]


class Region(FakeAws):
    """One machine `lab` with all that belongs to it. What is deleted is gone; a group in use cannot be deleted."""

    LAUNCH = "provision-lab-01234567"

    def __init__(self) -> None:
        super().__init__()
        mine = tags(name="lab", resource=self.LAUNCH, deadline="2026-11-21T12:00:00+00:00", disk="100", budget="20")
        self.machines: dict[str, dict[str, Any]] = {"i-1": machine("i-1", mine)}
        self.things: dict[str, dict[str, dict[str, Any]]] = {
            "Volumes": {
                "vol-1": {"VolumeId": "vol-1", "State": "in-use", "Size": 100, "Tags": mine,
                          "Attachments": [{"InstanceId": "i-1"}]},
                "vol-2": {"VolumeId": "vol-2", "State": "in-use", "Size": 200,
                          "Tags": [*mine, *tags(keep="data")], "Attachments": [{"InstanceId": "i-1"}]},
            },
            "SecurityGroups": {
                "sg-1": {"GroupId": "sg-1", "GroupName": self.LAUNCH, "Tags": mine,
                         "IpPermissions": [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22}]},
            },
            "LaunchTemplates": {
                "lt-1": {"LaunchTemplateId": "lt-1", "LaunchTemplateName": self.LAUNCH, "Tags": mine,
                         "CreateTime": LAUNCHED},
            },
            "SpotInstanceRequests": {
                "sir-1": {"SpotInstanceRequestId": "sir-1", "State": "active", "InstanceId": "i-1", "Tags": mine},
            },
            "Schedules": {self.LAUNCH: {"Name": self.LAUNCH, "CreationDate": LAUNCHED}},
            "Roles": {self.LAUNCH: role(self.LAUNCH)},
            "InstanceProfiles": {self.LAUNCH: role(self.LAUNCH)},
        }  # fmt: skip
        self.answers |= {
            "DescribeInstances": self._machines,
            "TerminateInstances": self._terminate,
            "DescribeSpotPriceHistory": {
                "SpotPriceHistory": [{"SpotPrice": "3.0", "Timestamp": LAUNCHED, "AvailabilityZone": "us-east-1a"}]
            },
            "DeleteVolume": self._gone("Volumes", "VolumeId", "InvalidVolume.NotFound"),
            "DeleteSecurityGroup": self._gone("SecurityGroups", "GroupId", "InvalidGroup.NotFound"),
            "DeleteLaunchTemplate": self._gone(
                "LaunchTemplates", "LaunchTemplateId", "InvalidLaunchTemplateId.NotFound"
            ),
            "CancelSpotInstanceRequests": lambda given: [
                self.things["SpotInstanceRequests"].pop(one, None) for one in given["SpotInstanceRequestIds"]
            ] and None,
            "DeleteSchedule": self._gone("Schedules", "Name", "ResourceNotFoundException"),
            "DeleteRole": self._gone("Roles", "RoleName", "NoSuchEntity"),
            "DeleteInstanceProfile": self._gone("InstanceProfiles", "InstanceProfileName", "NoSuchEntity"),
        }  # fmt: skip
        lists = {
            "DescribeVolumes": "Volumes", "DescribeSecurityGroups": "SecurityGroups",
            "DescribeLaunchTemplates": "LaunchTemplates", "DescribeSpotInstanceRequests": "SpotInstanceRequests",
            "ListSchedules": "Schedules", "ListRoles": "Roles", "ListInstanceProfiles": "InstanceProfiles",
        }  # fmt: skip
        for operation, key in lists.items():
            self.answers[operation] = lambda given, key=key: {key: list(self.things[key].values())}

    def left(self) -> set[str]:
        """Ids of all that is there."""
        alive = {one for one, row in self.machines.items() if row["State"]["Name"] != "terminated"}
        return alive | {one for rows in self.things.values() for one in rows}

    def _machines(self, given: dict[str, Any]) -> Any:
        wanted = [one["Values"] for one in given.get("Filters", []) if one["Name"] == "instance-id"]
        rows = [row for id_, row in self.machines.items() if not wanted or id_ in wanted[0]]
        if (ids := given.get("InstanceIds")) and not (
            rows := [self.machines[id_] for id_ in ids if id_ in self.machines]
        ):
            raise Refused("InvalidInstanceID.NotFound")
        return {"Reservations": [{"Instances": rows}]}

    def _terminate(self, given: dict[str, Any]) -> Any:
        for one in given["InstanceIds"]:
            self.machines[one]["State"] = {"Name": "terminated"}
            self.machines[one]["StateTransitionReason"] = "User initiated (2026-11-20 14:00:00 GMT)"
        for volume in self.things["Volumes"].values():
            volume |= {"State": "available", "Attachments": []}

    def _gone(self, kind: str, key: str, absent: str) -> Answer:
        def answer(given: dict[str, Any]) -> Any:
            used = any(row["State"]["Name"] != "terminated" for row in self.machines.values())
            if kind in ("SecurityGroups", "Volumes") and used:
                raise Refused("DependencyViolation" if kind == "SecurityGroups" else "VolumeInUse")
            if self.things[kind].pop(given[key], None) is None:
                raise Refused(absent)

        return answer


def role(name: str, region: str = "us-east-1") -> dict[str, Any]:
    """A role, or an instance profile, as IAM lists it."""
    return {"RoleName": name, "InstanceProfileName": name, "Path": f"/provision/{region}/", "CreateDate": LAUNCHED}


def machine(id_: str, marks: list[dict[str, str]], **more: Any) -> dict[str, Any]:
    """An instance as DescribeInstances shows it."""
    return {
        "InstanceId": id_, "State": {"Name": "running"}, "InstanceType": "p3.8xlarge", "LaunchTime": LAUNCHED,
        "Placement": {"AvailabilityZone": "us-east-1a"}, "InstanceLifecycle": "spot", "Tags": marks, **more,
    }  # fmt: skip
