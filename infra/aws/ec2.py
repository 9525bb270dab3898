"""EC2: types, places, prices, launch, and the end of instances. Waits, retries and the clock are inside.

Everything that is created carries the tag `provision:name` from its creation on: what is ours can be found
without any record at home.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from botocore.exceptions import ClientError

from infra.aws.errors import code_of, explained
from infra.aws.session import Cloud, client
from infra.aws.types import Instance, InstanceType, Place
from infra.border import nearest
from infra.errors import CapacityError, CloudError, NotFoundError, NotOfferedError

NAME = "provision:name"
_OURS = {"Name": "tag-key", "Values": [NAME]}
_GPU_FAMILY = re.compile(r"p[2-6]|g4dn|g5\.|g6|g7")


def filters(**values: Sequence[str] | str) -> list[dict[str, Any]]:
    """Keyword arguments as EC2 filters; `_` stands for `-`."""
    return [
        {"Name": key.replace("_", "-"), "Values": [value] if isinstance(value, str) else list(value)}
        for key, value in values.items()
    ]


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _tag_dict(tags: Sequence[Mapping[str, str]] | None) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags or ()}


class Ec2:
    """Machines of one region. `clock` and `sleep` are for tests."""

    def __init__(self, cloud: Cloud, sleep: Callable[[float], None] = time.sleep) -> None:
        self.cloud = cloud
        self._sleep = sleep

    @property
    def _api(self) -> Any:
        return client(self.cloud, "ec2")

    # looking

    def instance_type(self, name: str) -> InstanceType:
        """The type's GPUs and memory; NotOfferedError that names the nearest types where there is none."""
        with explained(f"look up the instance type {name}"):
            try:
                row = self._api.describe_instance_types(InstanceTypes=[name])["InstanceTypes"][0]
            except ClientError as error:
                if not code_of(error).startswith("InvalidInstanceType") and code_of(error) != "InvalidParameterValue":
                    raise
                close = nearest(name, self.gpu_types())
                raise NotOfferedError(
                    f"there is no instance type {name!r} in {self.cloud.region}",
                    f"the nearest with GPUs: {', '.join(close) or 'none with a like name'}",
                ) from error
        return _instance_type(row)

    def gpu_types(self) -> list[str]:
        """Names of the GPU types offered in this region."""
        with explained("list instance types"):
            pages = self._api.get_paginator("describe_instance_type_offerings").paginate(LocationType="region")
            names = [row["InstanceType"] for page in pages for row in page["InstanceTypeOfferings"]]
        return sorted(name for name in names if _GPU_FAMILY.match(name))

    def places(self, type_name: str) -> list[Place]:
        """Zones that offer the type and have a default subnet, cheapest spot price first."""
        with explained(f"find zones with {type_name}"):
            offers = self._api.describe_instance_type_offerings(
                LocationType="availability-zone", Filters=filters(instance_type=type_name)
            )["InstanceTypeOfferings"]
            subnets = self._api.describe_subnets(Filters=filters(default_for_az="true"))["Subnets"]
        zones = {row["Location"] for row in offers}
        prices = self.spot_prices(type_name)
        found = [
            Place(row["AvailabilityZone"], row["SubnetId"], prices.get(row["AvailabilityZone"]))
            for row in subnets
            if row["AvailabilityZone"] in zones
        ]
        return sorted(found, key=lambda place: (place.price is None, place.price or 0.0, place.zone))

    def spot_prices(self, type_name: str) -> dict[str, float]:
        """Spot price now, US dollars an hour, by zone."""
        with explained(f"ask for the spot price of {type_name}"):
            rows = self._api.describe_spot_price_history(
                InstanceTypes=[type_name],
                ProductDescriptions=["Linux/UNIX"],
                StartTime=datetime.now(timezone.utc),
            )["SpotPriceHistory"]
        newest: dict[str, Any] = {}
        for row in rows:
            seen = newest.get(row["AvailabilityZone"])
            if seen is None or row["Timestamp"] > seen["Timestamp"]:
                newest[row["AvailabilityZone"]] = row
        return {zone: float(row["SpotPrice"]) for zone, row in newest.items()}

    def instances(self, name: str | None = None, alive: bool = True) -> list[Instance]:
        """Instances of ours, oldest first; those that are gone as well unless `alive`."""
        chosen: list[dict[str, Any]] = [{"Name": f"tag:{NAME}", "Values": [name]}] if name else [_OURS]
        with explained("list instances"):
            pages = self._api.get_paginator("describe_instances").paginate(Filters=chosen)
            rows = [row for page in pages for group in page["Reservations"] for row in group["Instances"]]
        found = [instance_of(row) for row in rows]
        return sorted((one for one in found if one.alive or not alive), key=lambda one: one.launched)

    def instance(self, name: str) -> Instance:
        """The living instance of that name; NotFoundError that names the others."""
        found = [one for one in self.instances(name) if one.state != "shutting-down"]
        if found:
            return found[-1]
        others = sorted(one.name for one in self.instances())
        known = f"there are: {', '.join(others)}" if others else "there are none: `provision up` starts one"
        raise NotFoundError(f"no instance of the name {name!r} in {self.cloud.name} {self.cloud.region}", known)

    # waiting

    def wait_running(self, instance: Instance, timeout: float = 300.0) -> Instance:
        """Wait until the instance runs and has an address (at most `timeout` s)."""
        for _ in self._ticks(timeout):
            now = self.by_id(instance.id)
            if now is not None and now.state == "running" and now.address:
                return now
            if now is not None and not now.alive:
                raise CapacityError(f"{instance.name} ended before it ran", "run the same command again")
        raise CloudError(f"{instance.name} did not start within {timeout:g} s", f"provision down {instance.name}")

    def by_id(self, instance_id: str) -> Instance | None:
        """The instance as it is now; None where AWS does not know it (yet)."""
        with explained("look at an instance"):
            try:
                groups = self._api.describe_instances(InstanceIds=[instance_id])["Reservations"]
            except ClientError as error:
                if code_of(error).startswith("InvalidInstanceID"):
                    return None
                raise
        return instance_of(groups[0]["Instances"][0]) if groups else None

    # ending

    def terminate(self, ids: Sequence[str], timeout: float = 300.0) -> None:
        """Terminate and wait until AWS says that they are terminated."""
        if not ids:
            return
        with explained("terminate instances"):
            self._api.terminate_instances(InstanceIds=list(ids))
        for _ in self._ticks(timeout):
            states = [self.by_id(one) for one in ids]
            if not any(one is not None and one.state != "terminated" for one in states):
                return
        raise CloudError(f"{', '.join(ids)} did not end within {timeout:g} s", "provision down --all")

    def group_id(self, name: str) -> str | None:
        """The id of the security group of that name, if there is one."""
        with explained("look for a security group"):
            groups = self._api.describe_security_groups(Filters=filters(group_name=name))["SecurityGroups"]
        return groups[0]["GroupId"] if groups else None

    def delete_group(self, name: str, timeout: float = 180.0) -> None:
        """Delete the group of that name; waits until the instance's network interface has let go of it."""
        group = self.group_id(name)
        if group is None:
            return
        for _ in self._ticks(timeout):
            with explained("delete a security group"):
                try:
                    self._api.delete_security_group(GroupId=group)
                    return
                except ClientError as error:
                    if code_of(error) == "InvalidGroup.NotFound":
                        return
                    if code_of(error) != "DependencyViolation":
                        raise
        raise CloudError(f"the security group {name} is still in use", "provision down --all")

    def delete_volumes(self, name: str | None = None) -> None:
        """Volumes that outlived their instance."""
        for volume in self._volumes(name):
            if volume["State"] == "available":
                with explained("delete a volume"):
                    self._api.delete_volume(VolumeId=volume["VolumeId"])

    def groups(self) -> dict[str, str]:
        """Security groups of ours: group name → the instance name that it was made for."""
        with explained("list security groups"):
            rows = self._api.describe_security_groups(Filters=[_OURS])["SecurityGroups"]
        return {row["GroupName"]: _tag_dict(row.get("Tags")).get(NAME, "") for row in rows}

    def leftovers(self, name: str | None = None) -> dict[str, list[str]]:
        """What still exists of ours (of `name`, or of all), by kind: ids. All lists are empty when all is gone."""
        mine = [{"Name": f"tag:{NAME}", "Values": [name]}] if name else [_OURS]
        with explained("look for what is left"):
            keys = self._api.describe_key_pairs(Filters=mine)["KeyPairs"]
            spots = self._api.describe_spot_instance_requests(Filters=mine)["SpotInstanceRequests"]
        return {
            "instances": [one.id for one in self.instances(name)],
            "volumes": [row["VolumeId"] for row in self._volumes(name)],
            "security groups": [g for g, owner in self.groups().items() if name in (None, owner)],
            "key pairs": [row["KeyPairId"] for row in keys],
            "spot requests": [r["SpotInstanceRequestId"] for r in spots if r["State"] in ("open", "active")],
        }

    def _volumes(self, name: str | None) -> list[dict[str, Any]]:
        mine = [{"Name": f"tag:{NAME}", "Values": [name]}] if name else [_OURS]
        with explained("list volumes"):
            return list(self._api.describe_volumes(Filters=mine)["Volumes"])

    def _ticks(self, timeout: float, pause: float = 0.5) -> Iterator[None]:
        """One turn at once, then one each `pause` (slowly longer) until `timeout` s are over."""
        until = time.monotonic() + timeout
        while True:
            yield
            if time.monotonic() >= until:
                return
            self._sleep(pause)
            pause = min(pause * 1.2, 5.0)


def _instance_type(row: Mapping[str, Any]) -> InstanceType:
    gpus = row.get("GpuInfo", {}).get("Gpus", [])
    return InstanceType(
        name=row["InstanceType"],
        vcpus=row["VCpuInfo"]["DefaultVCpus"],
        memory_mib=row["MemoryInfo"]["SizeInMiB"],
        gpu=gpus[0]["Name"] if gpus else "",
        gpus=sum(gpu["Count"] for gpu in gpus),
        gpu_memory_mib=gpus[0]["MemoryInfo"]["SizeInMiB"] if gpus else 0,
        instance_store_gb=row.get("InstanceStorageInfo", {}).get("TotalSizeInGB", 0),
        spot="spot" in row.get("SupportedUsageClasses", ["spot"]),
    )


def instance_of(row: Mapping[str, Any]) -> Instance:
    tags = _tag_dict(row.get("Tags"))
    return Instance(
        id=row["InstanceId"],
        name=tags.get(NAME, ""),
        state=row["State"]["Name"],
        type=row["InstanceType"],
        zone=row.get("Placement", {}).get("AvailabilityZone", ""),
        market="spot" if row.get("InstanceLifecycle") == "spot" else "on-demand",
        address=row.get("PublicIpAddress") or None,
        launched=row["LaunchTime"],
        tags=tags,
        image=row.get("ImageId", ""),
        reason=row.get("StateReason", {}).get("Code", ""),
    )
