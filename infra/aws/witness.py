"""What AWS itself says of one launch, whatever we asked for: for promises that are to be held against the truth.

Only reads, and reads what no other module here does: metadata options, encryption, all rules of all groups of a
machine, and a schedule's moment.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from botocore.exceptions import ClientError

from infra.aws.errors import code_of, explained
from infra.aws.scheduler import GROUP, TARGET
from infra.aws.session import Cloud, client
from infra.errors import NotFoundError

_AT = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?)\)")


@dataclass(frozen=True)
class Disk:
    """A volume of a machine."""

    id: str
    encrypted: bool
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Rule:
    """What a security group lets in: a protocol (-1: all), ports (None: all), and from where: a network, or a group."""

    protocol: str
    first: int | None
    last: int | None
    source: str


@dataclass(frozen=True)
class Seen:
    """A machine as AWS describes it: `market` spot or on-demand, `tokens` and `hops` of its metadata service, its tags,
    and the ids of the security groups of all its network interfaces."""

    id: str
    state: str
    reason: str
    market: str
    tokens: str
    hops: int
    tags: Mapping[str, str]
    groups: Sequence[str]


@dataclass(frozen=True)
class Schedule:
    """When a schedule is due (None: it is not due once), whether it is on, and which instances it ends."""

    at: datetime | None
    on: bool
    instances: tuple[str, ...]


def machine(cloud: Cloud, instance_id: str) -> Seen:
    """The machine as AWS describes it now. NotFoundError where AWS does not know it; AuthError, CloudError."""
    with explained("look at a machine"):
        found = client(cloud, "ec2").describe_instances(InstanceIds=[instance_id])["Reservations"]
    if not found:
        raise NotFoundError(f"AWS does not know {instance_id}", cloud.hint("ls"))
    row = found[0]["Instances"][0]
    options = row.get("MetadataOptions", {})
    faces = [group for face in row.get("NetworkInterfaces", ()) for group in face.get("Groups", ())]
    return Seen(
        instance_id, row["State"]["Name"], row.get("StateReason", {}).get("Code", ""),
        "spot" if row.get("InstanceLifecycle") == "spot" else "on-demand",
        options.get("HttpTokens", ""), int(options.get("HttpPutResponseHopLimit", 0)), _tags(row),
        sorted({group["GroupId"] for group in [*row.get("SecurityGroups", ()), *faces]}),
    )  # fmt: skip


def disks(cloud: Cloud, instance_id: str) -> list[Disk]:
    """The volumes that are attached to it. AuthError, CloudError."""
    chosen = [{"Name": "attachment.instance-id", "Values": [instance_id]}]
    with explained("look at a machine's disks"):
        pages = client(cloud, "ec2").get_paginator("describe_volumes").paginate(Filters=chosen)
        rows = [row for page in pages for row in page["Volumes"]]
    return [Disk(row["VolumeId"], bool(row.get("Encrypted")), _tags(row)) for row in rows]


def rules(cloud: Cloud, seen: Seen) -> list[Rule]:
    """All that its security groups let in. AuthError, CloudError."""
    with explained("look at a machine's security groups"):
        rows = client(cloud, "ec2").describe_security_groups(GroupIds=list(seen.groups))["SecurityGroups"]
    return [rule for row in rows for one in row.get("IpPermissions", ()) for rule in _each(one)]


def _each(row: Mapping[str, Any]) -> list[Rule]:
    sources = [one["CidrIp"] for one in row.get("IpRanges", ())]
    sources += [one["CidrIpv6"] for one in row.get("Ipv6Ranges", ())]
    sources += [one["PrefixListId"] for one in row.get("PrefixListIds", ())]
    sources += [one["GroupId"] for one in row.get("UserIdGroupPairs", ())]
    return [Rule(str(row["IpProtocol"]), row.get("FromPort"), row.get("ToPort"), source) for source in sources]


def _tags(row: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in row.get("Tags") or ()}


def schedule(cloud: Cloud, name: str) -> Schedule | None:
    """The schedule of that launch; None where there is none, or it does not end instances. AuthError, CloudError."""
    with explained("look at a schedule"):
        try:
            found = client(cloud, "scheduler").get_schedule(GroupName=GROUP, Name=name)
        except ClientError as error:
            if code_of(error) != "ResourceNotFoundException":
                raise
            return None
    target = found.get("Target", {})
    if not str(target.get("Arn", "")).endswith(TARGET):
        return None
    at = _AT.fullmatch(found["ScheduleExpression"])
    moment = datetime.fromisoformat(at[1]).replace(tzinfo=timezone.utc) if at else None
    utc = found.get("ScheduleExpressionTimezone", "UTC") == "UTC"
    ids = json.loads(target.get("Input") or "{}").get("InstanceIds", ())
    return Schedule(moment if utc else None, found.get("State", "ENABLED") == "ENABLED", tuple(ids))
