"""EC2: types, zones, prices, and the states of instances. Waits, retries and the clock are inside.

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
from infra.aws.tags import NAME
from infra.aws.types import Instance, InstanceType
from infra.border import nearest
from infra.errors import CapacityError, CloudError, NotFoundError, NotOfferedError
from infra.names import literal

_OURS = {"Name": "tag-key", "Values": [NAME]}
_GPU_FAMILY = re.compile(r"p[2-6]|g4dn|g5\.|g6|g7")
_UNKNOWN_S = 30.0  # how long a fresh instance may be unknown to DescribeInstances
_NOT_YET = ("InvalidParameterValue", "IncorrectState", "IncorrectInstanceState", "InvalidInstanceID.NotFound")


def filters(**values: Sequence[str] | str) -> list[dict[str, Any]]:
    """Keyword arguments as EC2 filters that mean their values literally; `_` stands for `-`."""
    texts = {key: [value] if isinstance(value, str) else value for key, value in values.items()}
    return [{"Name": key.replace("_", "-"), "Values": [literal(text) for text in some]} for key, some in texts.items()]


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
        found = self.instance_types([name])
        if name not in found:
            close = nearest(name, self.gpu_types())
            raise NotOfferedError(
                f"there is no instance type {name!r} in {self.cloud.region}",
                f"the nearest with GPUs: {', '.join(close) or 'none with a like name'}",
            )
        return found[name]

    def instance_types(self, names: Sequence[str]) -> dict[str, InstanceType]:
        """Each type that this region knows, by name; those that it does not know are left out.

        By a filter, as a list of names is refused whole for one unknown name.
        """
        with explained("look up instance types"):
            pages = self._api.get_paginator("describe_instance_types").paginate(Filters=filters(instance_type=names))
            rows = [row for page in pages for row in page["InstanceTypes"]]
        return {row["InstanceType"]: _instance_type(row) for row in rows}

    def gpu_types(self) -> list[str]:
        """Names of the GPU types offered in this region."""
        with explained("list instance types"):
            pages = self._api.get_paginator("describe_instance_type_offerings").paginate(LocationType="region")
            names = [row["InstanceType"] for page in pages for row in page["InstanceTypeOfferings"]]
        return sorted(name for name in names if _GPU_FAMILY.match(name))

    def zones(self, names: Sequence[str]) -> dict[str, set[str]]:
        """Type → zones that offer it; a type that no zone offers is left out."""
        with explained("find the zones of instance types"):
            pages = self._api.get_paginator("describe_instance_type_offerings").paginate(
                LocationType="availability-zone", Filters=filters(instance_type=names)
            )
            rows = [row for page in pages for row in page["InstanceTypeOfferings"]]
        found: dict[str, set[str]] = {}
        for row in rows:
            found.setdefault(row["InstanceType"], set()).add(row["Location"])
        return found

    def subnets(self) -> dict[str, str]:
        """Zone → its default subnet."""
        with explained("list subnets"):
            rows = self._api.describe_subnets(Filters=filters(default_for_az="true"))["Subnets"]
        return {row["AvailabilityZone"]: row["SubnetId"] for row in rows}

    def spot_prices(self, names: Sequence[str]) -> dict[tuple[str, str], float]:
        """(type, zone) → spot price now, in US dollars an hour; pairs without a price are left out."""
        with explained("ask for spot prices"):
            pages = self._api.get_paginator("describe_spot_price_history").paginate(
                InstanceTypes=list(names), ProductDescriptions=["Linux/UNIX"], StartTime=datetime.now(timezone.utc)
            )
            rows = [row for page in pages for row in page["SpotPriceHistory"]]
        rows.sort(key=lambda row: row["Timestamp"])  # the newest wins
        return {(row["InstanceType"], row["AvailabilityZone"]): float(row["SpotPrice"]) for row in rows}

    def running_vcpus(self) -> list[tuple[str, str, int]]:
        """(type, market, vCPUs) of each pending or running instance of the account here, ours or not.

        The market is spot or on-demand. This is what counts against the account's quotas.
        """
        with explained("list running instances"):
            chosen = filters(instance_state_name=("pending", "running"))
            pages = self._api.get_paginator("describe_instances").paginate(Filters=chosen)
            rows = [row for page in pages for group in page["Reservations"] for row in group["Instances"]]
        unsaid = sorted({row["InstanceType"] for row in rows if not _vcpus(row)})
        known = self.instance_types(unsaid) if unsaid else {}
        return [
            (row["InstanceType"], _market(row), _vcpus(row) or known[row["InstanceType"]].vcpus)
            for row in rows
            if _vcpus(row) or row["InstanceType"] in known
        ]

    def machine_image(self, image: str) -> tuple[str, str]:
        """Name of the machine image's root disk, such as /dev/sda1, and its own name and description. NotOfferedError
        where there is no such image."""
        gone = NotOfferedError(
            f"there is no machine image {image} in {self.cloud.region}", "correct `ami` or `amis` in the settings"
        )
        with explained(f"look up the machine image {image}"):
            try:
                images = self._api.describe_images(ImageIds=[image])["Images"]
            except ClientError as error:
                if not code_of(error).startswith("InvalidAMIID"):
                    raise
                raise gone from error
        if not images:
            raise gone
        about = f"{images[0].get('Name', '')}\n{images[0].get('Description', '')}"
        return str(images[0].get("RootDeviceName") or "/dev/sda1"), about.strip()

    def instances(self, name: str | None = None, alive: bool = True) -> list[Instance]:
        """Our instances, oldest first. With `alive` False also those that AWS still lists after their end."""
        chosen: list[dict[str, Any]] = [{"Name": f"tag:{NAME}", "Values": [literal(name)]}] if name else [_OURS]
        with explained("list instances"):
            pages = self._api.get_paginator("describe_instances").paginate(Filters=chosen)
            rows = [row for page in pages for group in page["Reservations"] for row in group["Instances"]]
        found = [instance_of(row) for row in rows]
        return sorted(
            (instance for instance in found if instance.alive or not alive), key=lambda instance: instance.launched
        )

    def instance(self, name: str) -> Instance:
        """The living instance of that name; NotFoundError that names the others."""
        found = [instance for instance in self.instances(name) if instance.state != "shutting-down"]
        if found:
            return found[-1]
        others = sorted(instance.name for instance in self.instances())
        rent = self.cloud.hint("up --instance TYPE")
        known = f"there are: {', '.join(others)}" if others else f"there are none; to rent one: {rent}"
        raise NotFoundError(f"no instance of the name {name!r} in {self.cloud.name} {self.cloud.region}", known)

    # waiting

    def wait_running(self, instance: Instance, timeout: float = 300.0) -> Instance:
        """Wait at most `timeout` s until the instance runs and, unless it is reached through SSM, has an address.

        AWS's own lists may not know a fresh instance for a while. CapacityError where the instance ends before it
        runs, CloudError where it does not start in time.
        """
        unknown_until = time.monotonic() + _UNKNOWN_S
        for _ in self._ticks(timeout, 1.0, longest=1.0):
            now = self.by_id(instance.id)
            if now is not None and now.state == "running" and (now.address or now.via == "ssm"):
                return now
            if now is not None and not now.alive:
                raise CapacityError(f"{instance.name} ended before it ran", "run the same command again")
            if now is None and time.monotonic() > unknown_until:
                break
        raise CloudError(
            f"{instance.name} did not start within {timeout:g} s", self.cloud.hint(f"down {instance.name}")
        )

    def by_id(self, instance_id: str) -> Instance | None:
        """The instance as it is now; None where AWS does not know it (yet), and for "": a keeper got none."""
        if not instance_id:
            return None
        with explained("look at an instance"):
            try:
                groups = self._api.describe_instances(InstanceIds=[instance_id])["Reservations"]
            except ClientError as error:
                if code_of(error).startswith("InvalidInstanceID"):
                    return None
                raise
        return instance_of(groups[0]["Instances"][0]) if groups else None

    # changing

    def tag(self, instance_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of an instance."""
        with explained("tag an instance"):
            self._api.create_tags(Resources=[instance_id], Tags=tag_list(tags))

    def associate(self, instance_id: str, profile: str, timeout: float = 60.0) -> None:
        """Give a running instance its profile; an instance that has one already is no error.

        Tries for up to `timeout` s: IAM needs seconds to tell EC2 of a fresh profile, and a pending instance takes
        none.
        """
        for last in self._countdown(timeout):
            with explained("give the instance its role"):
                try:
                    self._api.associate_iam_instance_profile(
                        InstanceId=instance_id, IamInstanceProfile={"Name": profile}
                    )
                    return
                except ClientError as error:
                    if code_of(error) == "IncorrectState" and "existing association" in str(error):
                        return
                    if code_of(error) not in _NOT_YET or last:
                        raise

    def group_id(self, name: str) -> str | None:
        """The id of the security group of that name, if there is one."""
        found = self.group(name)
        return str(found["GroupId"]) if found else None

    def group(self, name: str) -> dict[str, Any] | None:
        """AWS's description of the security group of that name, if there is one."""
        with explained("look for a security group"):
            groups = self._api.describe_security_groups(Filters=filters(group_name=name))["SecurityGroups"]
        return groups[0] if groups else None

    def _countdown(self, timeout: float, pause: float = 1.0) -> Iterator[bool]:
        """Yields False every `pause` s, and after `timeout` s True, once: the last try."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            yield False
            self._sleep(pause)
        yield True

    def _ticks(self, timeout: float, pause: float = 0.5, longest: float = 5.0) -> Iterator[None]:
        """Yields at once, and then after pauses that grow from `pause` to `longest` s, until `timeout` s are over."""
        until = time.monotonic() + timeout
        while True:
            yield
            if time.monotonic() >= until:
                return
            self._sleep(pause)
            pause = min(pause * 1.2, longest)


def _instance_type(row: Mapping[str, Any]) -> InstanceType:
    gpus = row.get("GpuInfo", {}).get("Gpus", [])
    return InstanceType(
        name=row["InstanceType"],
        vcpus=row["VCpuInfo"]["DefaultVCpus"],
        memory_mib=row["MemoryInfo"]["SizeInMiB"],
        gpu=gpus[0]["Name"] if gpus else "",
        gpus=sum(gpu.get("LogicalGpuCount") or gpu["Count"] for gpu in gpus),  # of a share the count is 0
        gpu_memory_mib=gpus[0]["MemoryInfo"]["SizeInMiB"] if gpus else 0,
        spot="spot" in row.get("SupportedUsageClasses", ["spot"]),
    )


def _vcpus(row: Mapping[str, Any]) -> int:
    """The vCPUs that AWS names in an instance's own description; 0 where it names none."""
    options = row.get("CpuOptions") or {}
    return int(options.get("CoreCount", 0)) * int(options.get("ThreadsPerCore", 0))


def _market(row: Mapping[str, Any]) -> str:
    return "spot" if row.get("InstanceLifecycle") == "spot" else "on-demand"


def instance_of(row: Mapping[str, Any]) -> Instance:
    tags = _tag_dict(row.get("Tags"))
    return Instance(
        id=row["InstanceId"],
        name=tags.get(NAME, ""),
        state=row["State"]["Name"],
        type=row["InstanceType"],
        zone=row.get("Placement", {}).get("AvailabilityZone", ""),
        market=_market(row),
        address=row.get("PublicIpAddress") or None,
        launched=row["LaunchTime"],
        tags=tags,
        image=row.get("ImageId", ""),
        reason=row.get("StateReason", {}).get("Code", ""),
    )
