"""EC2: types, places, prices, launch, and the end of instances. Waits, retries and the clock are inside.

Everything that is created carries the tag `provision:name` from its creation on: what is ours can be found
without any record at home.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from botocore.exceptions import ClientError, HTTPClientError

from infra.aws.errors import code_of, explained
from infra.aws.session import Cloud, client
from infra.aws.types import Instance, InstanceType, Place, SpotRequest
from infra.border import nearest
from infra.errors import CapacityError, CloudError, NotFoundError, NotOfferedError, ProvisionError

NAME = "provision:name"
_OURS = {"Name": "tag-key", "Values": [NAME]}
_PROFILE_WAIT_S = 30.0
_GPU_FAMILY = re.compile(r"p[2-6]|g4dn|g5\.|g6|g7")


def filters(**values: Sequence[str] | str) -> list[dict[str, Any]]:
    """Keyword arguments as EC2 filters; `_` stands for `-`."""
    return [
        {"Name": key.replace("_", "-"), "Values": [value] if isinstance(value, str) else list(value)}
        for key, value in values.items()
    ]


def _tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
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
        found = [_instance(row) for row in rows]
        return sorted((one for one in found if one.alive or not alive), key=lambda one: one.launched)

    def instance(self, name: str) -> Instance:
        """The living instance of that name; NotFoundError that names the others."""
        found = [one for one in self.instances(name) if one.state != "shutting-down"]
        if found:
            return found[-1]
        others = sorted(one.name for one in self.instances())
        known = f"there are: {', '.join(others)}" if others else "there are none: `provision up` starts one"
        raise NotFoundError(f"no instance of the name {name!r} in {self.cloud.name} {self.cloud.region}", known)

    # launching

    def ensure_group(self, request: SpotRequest) -> str:
        """The launch's own security group, which lets SSH in from one address alone. Its id."""
        group = self._group_id(request.resource) or self._create_group(request)
        self._let_in(group, request.address)
        return group

    def let_in(self, name: str, address: str) -> None:
        """Let SSH in from one more address: the laptop has moved."""
        if group := self._group_id(name):
            self._let_in(group, address)

    def _let_in(self, group: str, address: str) -> None:
        rule = {
            "IpProtocol": "tcp", "FromPort": 22, "ToPort": 22,
            "IpRanges": [{"CidrIp": f"{address}/32", "Description": "provision up"}],
        }  # fmt: skip
        for last in (False, True):
            with explained("let SSH in from this address"):
                try:
                    self._api.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
                    return
                except ClientError as error:
                    if code_of(error) == "InvalidPermission.Duplicate":
                        return
                    if code_of(error) != "InvalidGroup.NotFound" or last:  # a fresh group is not known everywhere
                        raise
            self._sleep(2.0)

    def _create_group(self, request: SpotRequest) -> str:
        with explained("create a security group"):
            return str(
                self._api.create_security_group(
                    GroupName=request.resource,
                    Description=f"SSH to {request.name}, of provision",
                    TagSpecifications=self._marks(request, "security-group"),
                )["GroupId"]
            )

    def _group_id(self, name: str) -> str | None:
        with explained("look for a security group"):
            groups = self._api.describe_security_groups(Filters=filters(group_name=name))["SecurityGroups"]
        return groups[0]["GroupId"] if groups else None

    def launch(self, request: SpotRequest, user_data: bytes, group: str, profile: str) -> Instance:
        """Launch in the first place that has room. The same request again gives the same instance.

        Only a lack of capacity, or a zone that has no such type, moves on to the next place; every other refusal is
        raised at once.
        """
        refused: ProvisionError | None = None
        for place in request.places:
            try:
                return self._launch_at(place, request, user_data, group, profile)
            except (CapacityError, NotOfferedError) as error:
                refused = error
        if isinstance(refused, NotOfferedError):
            raise refused
        zones = ", ".join(place.zone for place in request.places)
        raise CapacityError(
            f"no {request.instance_type.name} is free now in {zones}",
            "try again later, another --region, or --on-demand",
        )

    def _launch_at(self, place: Place, request: SpotRequest, user_data: bytes, group: str, profile: str) -> Instance:
        words = {
            "ImageId": request.image,
            "InstanceType": request.instance_type.name,
            "MinCount": 1,
            "MaxCount": 1,
            "ClientToken": f"{request.token}-{place.zone}",
            "UserData": user_data,
            "InstanceInitiatedShutdownBehavior": "terminate",
            "IamInstanceProfile": {"Name": profile},
            "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "HttpEndpoint": "enabled"},
            "NetworkInterfaces": [
                {
                    "DeviceIndex": 0, "SubnetId": place.subnet, "Groups": [group],
                    "AssociatePublicIpAddress": True, "DeleteOnTermination": True,
                }
            ],
            "BlockDeviceMappings": [_root_disk(self._root_device(request.image), request.disk_gb)],
            "TagSpecifications": self._marks(request, "instance", "volume", "network-interface"),
            **self._market(request),
        }  # fmt: skip
        return _instance(self._run(words)["Instances"][0])

    def _run(self, words: Mapping[str, Any]) -> Any:
        """RunInstances, patient with what passes: a profile that IAM has not spread yet, throttling, a broken line.

        The client token makes each try the same launch. botocore's own retries are off: they would hide a lack of
        capacity, which AWS answers with a 500, for seconds.
        """
        api = client(self.cloud, "ec2", attempts=1)
        until = time.monotonic() + _PROFILE_WAIT_S
        while True:
            with explained(f"launch a {words['InstanceType']}"):
                try:
                    return api.run_instances(**words)
                except (ClientError, HTTPClientError) as error:
                    if not _passes(error) or time.monotonic() > until:
                        raise
            self._sleep(2.0)

    def _market(self, request: SpotRequest) -> dict[str, Any]:
        if request.market != "spot":
            return {}
        options: dict[str, Any] = {
            "SpotInstanceType": "one-time",
            "InstanceInterruptionBehavior": "terminate",
        }
        if request.max_price is not None:
            options["MaxPrice"] = f"{request.max_price:.4f}"
        marks = self._marks(request, "instance", "volume", "network-interface", "spot-instances-request")
        return {
            "InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": options},
            "TagSpecifications": marks,
        }

    def _marks(self, request: SpotRequest, *kinds: str) -> list[dict[str, Any]]:
        return [{"ResourceType": kind, "Tags": _tag_list(request.tags)} for kind in kinds]

    def _root_device(self, image: str) -> str:
        with explained("look up the machine image"):
            images = self._api.describe_images(ImageIds=[image])["Images"]
        return str(images[0].get("RootDeviceName") or "/dev/sda1") if images else "/dev/sda1"

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
        return _instance(groups[0]["Instances"][0]) if groups else None

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

    def delete_group(self, name: str, timeout: float = 180.0) -> None:
        """Delete the group of that name; waits until the instance's network interface has let go of it."""
        group = self._group_id(name)
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

    def tag(self, instance_id: str, tags: Mapping[str, str]) -> None:
        with explained("tag an instance"):
            self._api.create_tags(Resources=[instance_id], Tags=_tag_list(tags))

    def _ticks(self, timeout: float, pause: float = 0.5) -> Iterator[None]:
        """One turn at once, then one each `pause` (slowly longer) until `timeout` s are over."""
        until = time.monotonic() + timeout
        while True:
            yield
            if time.monotonic() >= until:
                return
            self._sleep(pause)
            pause = min(pause * 1.2, 5.0)


def _passes(error: Exception) -> bool:
    if not isinstance(error, ClientError):
        return True
    fresh_profile = any(word in str(error) for word in ("iamInstanceProfile", "no associated IAM Roles"))
    return fresh_profile or code_of(error) in ("RequestLimitExceeded", "Unavailable", "InternalError")


def _root_disk(device: str, size_gb: int) -> dict[str, Any]:
    disk = {"VolumeSize": size_gb, "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}
    return {"DeviceName": device, "Ebs": disk}


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


def _instance(row: Mapping[str, Any]) -> Instance:
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
