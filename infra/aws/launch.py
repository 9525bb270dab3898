"""Launching: the security group of one launch, and RunInstances with all that a machine of ours must have.

Everything is tagged in the call that creates it; the client token makes a call that is made again the same launch.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError, HTTPClientError

from infra.aws.ec2 import Ec2, instance_of, tag_list
from infra.aws.errors import code_of, explained
from infra.aws.session import Cloud, client
from infra.aws.types import Instance, Place, SpotRequest
from infra.errors import CapacityError, NotOfferedError, ProvisionError

_PATIENCE_S = 30.0


class Launcher:
    """Launches into one region."""

    def __init__(self, cloud: Cloud, sleep: Callable[[float], None] = time.sleep) -> None:
        self.cloud = cloud
        self._ec2 = Ec2(cloud)
        self._sleep = sleep

    @property
    def _api(self) -> Any:
        return client(self.cloud, "ec2")

    def ensure_group(self, request: SpotRequest) -> str:
        """The launch's own security group, which lets SSH in from one address alone. Its id."""
        group = self._ec2.group_id(request.resource) or self._create_group(request)
        self._let_in(group, request.address)
        return group

    def let_in(self, name: str, address: str) -> None:
        """Let SSH in from one more address: the laptop has moved."""
        if group := self._ec2.group_id(name):
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
        return instance_of(self._run(words)["Instances"][0])

    def _run(self, words: Mapping[str, Any]) -> Any:
        """RunInstances, patient with what passes: a profile that IAM has not spread yet, throttling, a broken line.

        The client token makes each try the same launch. botocore's own retries are off: they would hide a lack of
        capacity, which AWS answers with a 500, for seconds.
        """
        api = client(self.cloud, "ec2", attempts=1)
        until = time.monotonic() + _PATIENCE_S
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
        return [{"ResourceType": kind, "Tags": tag_list(request.tags)} for kind in kinds]

    def _root_device(self, image: str) -> str:
        with explained("look up the machine image"):
            images = self._api.describe_images(ImageIds=[image])["Images"]
        return str(images[0].get("RootDeviceName") or "/dev/sda1") if images else "/dev/sda1"


def _passes(error: Exception) -> bool:
    if not isinstance(error, ClientError):
        return True
    fresh_profile = any(word in str(error) for word in ("iamInstanceProfile", "no associated IAM Roles"))
    return fresh_profile or code_of(error) in ("RequestLimitExceeded", "Unavailable", "InternalError")


def _root_disk(device: str, size_gb: int) -> dict[str, Any]:
    disk = {"VolumeSize": size_gb, "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}
    return {"DeviceName": device, "Ebs": disk}
