"""The things that we made and that still exist in one region, by kind.

EC2's things carry the tag `provision:name` from their creation on; roles, profiles and schedules, which a list cannot
find by tag, have a path or a group and the launch's name. So we find everything without any record at home.

Copies of the user's own carry our tags as well: a snapshot of a data volume with its tags copied, a backup's image of a
machine. Of snapshots and images only those are ours that say so by a tag of their own (`ami bake`), and all are kept.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from typing import Any

from infra.aws.ec2 import instance_of
from infra.aws.errors import explained
from infra.aws.iam import Iam
from infra.aws.machine_images import BAKED
from infra.aws.scheduler import Scheduler
from infra.aws.session import Cloud, client
from infra.aws.tags import NAME, OWNER, TagRecord
from infra.aws.types import Instance
from infra.aws.volumes import KEEP
from infra.concurrency import together
from infra.errors import ProvisionError
from infra.names import literal

ENDED = ("terminated",)


@dataclass(frozen=True)
class Holding:
    """One thing that we made. `name` is the name of the machine it was made for, `launch` the name of its launch.

    `state` is AWS's word, or "attached"/"unattached"; `instance` is the id of the instance it is attached to; `made` is
    None where AWS does not say. `kept` things outlive their machine on purpose. `row` is AWS's whole answer.
    """

    kind: str
    id: str
    name: str = ""
    launch: str = ""
    state: str = ""
    instance: str = ""
    made: datetime | None = None
    gb: int = 0
    kept: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    row: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def label(self) -> str:
        """The name by which a person knows the thing."""
        return self.tags.get(KEEP) or self.row.get(_NAMED.get(self.kind, ""), self.id)

    @property
    def owner(self) -> str:
        """Who launched it, as its tag says; "" for a kind that is listed without tags, and for what has no such tag."""
        return self.tags.get(OWNER, "")

    @property
    def deadline(self) -> datetime | None:
        """When it ends by itself, as its tag says; None where it has no readable tag of that kind."""
        return TagRecord.from_tags(self.tags).deadline


_NAMED = {"security groups": "GroupName", "launch templates": "LaunchTemplateName"}  # known by name, not by id


class Holdings:
    """Lists all things of ours in one region."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    @property
    def _api(self) -> Any:
        return client(self.cloud, "ec2")

    @property
    def _iam_api(self) -> Any:
        return client(self.cloud, "iam")

    @property
    def _path(self) -> str:
        return Iam(self.cloud).path

    def look(self, name: str | None = None) -> tuple[list[Holding], list[ProvisionError]]:
        """All things of the machine `name` (None: of all machines), in the order of KINDS; and an error for each kind
        that could not be listed."""
        found, errors = together([partial(look, self, name) for look in _LOOKS])
        return [holding for some in found for holding in some], errors

    def lives(self, name: str | None = None) -> list[tuple[Instance, datetime | None]]:
        """Our instances that AWS still lists, ended ones too, oldest first, each with the time of its end (or None)."""
        rows = self._machines(name)
        lives = [(instance_of(row), ended_at(row)) for row in rows]
        return sorted(lives, key=lambda life: life[0].launched)

    # looking, kind by kind

    def _machines(self, name: str | None) -> list[dict[str, Any]]:
        with explained("list instances"):
            pages = self._api.get_paginator("describe_instances").paginate(Filters=_ours(name))
            return [row for page in pages for group in page["Reservations"] for row in group["Instances"]]

    def _instances(self, name: str | None) -> list[Holding]:
        rows = [row for row in self._machines(name) if row["State"]["Name"] not in ENDED]
        return [
            _holding("instances", row, row["InstanceId"], state=row["State"]["Name"], made=row["LaunchTime"])
            for row in rows
        ]

    def _volumes(self, name: str | None) -> list[Holding]:
        with explained("list volumes"):
            pages = self._api.get_paginator("describe_volumes").paginate(Filters=_ours(name))
            rows = [row for page in pages for row in page["Volumes"]]
        return [
            _holding("volumes", row, row["VolumeId"], state=row["State"], made=row.get("CreateTime"),
                     instance=_first(row.get("Attachments"), "InstanceId"), gb=row["Size"],
                     kept=bool(_tags(row).get(KEEP)))
            for row in rows
        ]  # fmt: skip

    def _interfaces(self, name: str | None) -> list[Holding]:
        with explained("list network interfaces"):
            pages = self._api.get_paginator("describe_network_interfaces").paginate(Filters=_ours(name))
            rows = [row for page in pages for row in page["NetworkInterfaces"]]
        return [
            _holding("network interfaces", row, row["NetworkInterfaceId"], state=row.get("Status", ""),
                     instance=row.get("Attachment", {}).get("InstanceId", ""))
            for row in rows
        ]  # fmt: skip

    def _groups(self, name: str | None) -> list[Holding]:
        with explained("list security groups"):
            pages = self._api.get_paginator("describe_security_groups").paginate(Filters=_ours(name))
            rows = [row for page in pages for row in page["SecurityGroups"]]
        return [_holding("security groups", row, row["GroupId"], launch=row["GroupName"]) for row in rows]

    def _keys(self, name: str | None) -> list[Holding]:
        with explained("list key pairs"):
            rows = self._api.describe_key_pairs(Filters=_ours(name))["KeyPairs"]
        return [_holding("key pairs", row, row["KeyPairId"], made=row.get("CreateTime")) for row in rows]

    def _templates(self, name: str | None) -> list[Holding]:
        with explained("list launch templates"):
            pages = self._api.get_paginator("describe_launch_templates").paginate(Filters=_ours(name))
            rows = [row for page in pages for row in page["LaunchTemplates"]]
        return [
            _holding("launch templates", row, row["LaunchTemplateId"], launch=row["LaunchTemplateName"],
                     made=row.get("CreateTime"))
            for row in rows
        ]  # fmt: skip

    def _spots(self, name: str | None) -> list[Holding]:
        with explained("list spot requests"):
            pages = self._api.get_paginator("describe_spot_instance_requests").paginate(Filters=_ours(name))
            rows = [row for page in pages for row in page["SpotInstanceRequests"]]
        return [
            _holding("spot requests", row, row["SpotInstanceRequestId"], state=row["State"],
                     instance=row.get("InstanceId", ""), made=row.get("CreateTime"))
            for row in rows if row["State"] in ("open", "active")
        ]  # fmt: skip

    def _addresses(self, name: str | None) -> list[Holding]:
        with explained("list elastic IPs"):
            rows = self._api.describe_addresses(Filters=_ours(name))["Addresses"]
        return [
            _holding("elastic IPs", row, row["AllocationId"], instance=row.get("InstanceId", ""),
                     state="attached" if row.get("AssociationId") else "unattached")
            for row in rows
        ]  # fmt: skip

    def _snapshots(self, name: str | None) -> list[Holding]:
        with explained("list snapshots"):
            pages = self._api.get_paginator("describe_snapshots").paginate(OwnerIds=["self"], Filters=_ours(name))
            rows = [row for page in pages for row in page["Snapshots"]]
        return [
            _holding("snapshots", row, row["SnapshotId"], state=row["State"], made=row.get("StartTime"),
                     gb=row.get("VolumeSize", 0), kept=True)
            for row in rows if BAKED in _tags(row)
        ]  # fmt: skip

    def _images(self, name: str | None) -> list[Holding]:
        with explained("list machine images"):
            pages = self._api.get_paginator("describe_images").paginate(Owners=["self"], Filters=_ours(name))
            rows = [row for page in pages for row in page["Images"]]
        return [
            _holding("machine images", row, row["ImageId"], state=row.get("State", ""),
                     made=_moment(row.get("CreationDate")), kept=True)
            for row in rows if BAKED in _tags(row)
        ]  # fmt: skip

    def _schedules(self, name: str | None) -> list[Holding]:
        return _named("schedules", Scheduler(self.cloud).made(f"provision-{name}-" if name else "provision-"), name)

    def _roles(self, name: str | None) -> list[Holding]:
        with explained("list roles"):
            pages = self._iam_api.get_paginator("list_roles").paginate(PathPrefix=self._path)
            rows = [row for page in pages for row in page["Roles"]]
        return self._iam("roles", rows, "RoleName", name)

    def _profiles(self, name: str | None) -> list[Holding]:
        with explained("list instance profiles"):
            pages = self._iam_api.get_paginator("list_instance_profiles").paginate(PathPrefix=self._path)
            rows = [row for page in pages for row in page["InstanceProfiles"]]
        return self._iam("instance profiles", rows, "InstanceProfileName", name)

    def _iam(self, kind: str, rows: Sequence[Mapping[str, Any]], key: str, name: str | None) -> list[Holding]:
        """The roles or profiles of this region. The prefix lets others through; those may belong to living machines."""
        return _named(kind, {row[key]: row["CreateDate"] for row in rows if row["Path"] == self._path}, name)


_LOOKS: tuple[Callable[[Holdings, str | None], list[Holding]], ...] = (
    Holdings._instances, Holdings._volumes, Holdings._interfaces, Holdings._groups, Holdings._templates, Holdings._keys,
    Holdings._spots, Holdings._addresses, Holdings._snapshots, Holdings._images, Holdings._schedules, Holdings._roles,
    Holdings._profiles,
)  # fmt: skip
KINDS = (
    "instances", "volumes", "network interfaces", "security groups", "launch templates", "key pairs", "spot requests",
    "elastic IPs", "snapshots", "machine images", "schedules", "roles", "instance profiles",
)  # fmt: skip
BILLED = ("instances", "volumes", "elastic IPs", "snapshots")


def machine_of(launch: str) -> str:
    """The machine's name in the name of its launch (provision-NAME-01234567); "" where it is not one."""
    name, dash, token = launch.removeprefix("provision-").rpartition("-")
    return name if dash and token else ""


def ended_at(row: Mapping[str, Any]) -> datetime | None:
    """When an instance ended, as AWS says in words such as "User initiated (2026-11-20 18:40:00 GMT)"; None where it
    lives or AWS does not say."""
    said = row.get("StateTransitionReason") or ""
    if row["State"]["Name"] not in ("shutting-down", "terminated") or "(" not in said:
        return None
    try:
        at = datetime.strptime(said.rpartition("(")[2][:19], "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return None
    return at.replace(tzinfo=timezone.utc)


def _named(kind: str, found: Mapping[str, datetime], name: str | None) -> list[Holding]:
    """Things that are known by their launch's name alone. `found`: that name → when the thing was made."""
    return [
        Holding(kind, known, machine_of(known), known, made=made)
        for known, made in found.items()
        if name in (None, machine_of(known))
    ]


def _ours(name: str | None) -> list[dict[str, Any]]:
    return [{"Name": f"tag:{NAME}", "Values": [literal(name)]}] if name else [{"Name": "tag-key", "Values": [NAME]}]


def _holding(kind: str, row: Mapping[str, Any], id_: str, launch: str = "", **more: Any) -> Holding:
    tags = _tags(row)
    record = TagRecord.from_tags(tags)
    return Holding(kind, id_, record.name, record.launch or launch, tags=tags, row=row, **more)


def _tags(row: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in row.get("Tags") or row.get("TagSet") or ()}  # TagSet: interfaces


def _first(rows: Sequence[Mapping[str, Any]] | None, key: str) -> str:
    return str(rows[0].get(key, "")) if rows else ""


def _moment(text: str | None) -> datetime | None:
    """AWS gives an image's date as text, such as 2026-11-20T18:40:00.000Z."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None
