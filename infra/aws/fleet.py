"""What CreateFleet is asked, and what its answer means: words and values, no calls.

An instant fleet answers at once: with the instance, or with each offer's refusal.
"""

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from infra.aws.ec2 import tag_list
from infra.aws.errors import PASSING, refusal
from infra.aws.quotas import quota_of
from infra.aws.types import DataVolume, Instance, SpotRequest
from infra.errors import (
    AuthError,
    CapacityError,
    CloudError,
    NotOfferedError,
    PriceError,
    ProvisionError,
    QuotaError,
    ThrottledError,
    UnsupportedError,
)

# a template or a group that was made a moment ago is not known everywhere yet
_FRESH = ("InvalidLaunchTemplateName.NotFoundException", "InvalidLaunchTemplateId.NotFound", "InvalidGroup.NotFound")
PASSES = frozenset((*PASSING, *_FRESH))
_VCPUS = ("MaxSpotInstanceCountExceeded", "VcpuLimitExceeded")


def template_data(request: SpotRequest, market: str, user_data: bytes, group: str) -> dict[str, Any]:
    """What every machine of ours has, wherever it is launched."""
    kinds = ("instance", "volume", "network-interface", *(("spot-instances-request",) if market == "spot" else ()))
    return {
        "ImageId": request.image,
        "UserData": base64.b64encode(user_data).decode(),
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "HttpEndpoint": "enabled"},
        "NetworkInterfaces": [
            {"DeviceIndex": 0, "Groups": [group], "AssociatePublicIpAddress": True, "DeleteOnTermination": True}
        ],
        "BlockDeviceMappings": [
            _disk(request.root_device, request.disk_gb),
            *(_disk(device, volume.gb) for device, volume in devices(request.volumes) if not volume.keep),
        ],
        "TagSpecifications": marks(request.tags, *kinds),
    }


def fleet_words(request: SpotRequest, market: str, template: str, token: str) -> dict[str, Any]:
    """CreateFleet for one instance, with an override for each offer."""
    limit = {} if market != "spot" or request.max_price is None else {"MaxPrice": f"{request.max_price:.4f}"}
    overrides = [{"InstanceType": one.type.name, "SubnetId": one.subnet, **limit} for one in request.offers]
    options: dict[str, Any] = {"OnDemandOptions": {"AllocationStrategy": "lowest-price"}}
    if market == "spot":
        options = {
            "SpotOptions": {
                "AllocationStrategy": "price-capacity-optimized", "InstanceInterruptionBehavior": "terminate",
            }
        }  # fmt: skip
    return {
        "Type": "instant",
        "ClientToken": token,
        "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": market},
        "LaunchTemplateConfigs": [
            {
                "LaunchTemplateSpecification": {"LaunchTemplateName": template, "Version": "$Default"},
                "Overrides": overrides,
            }
        ],
        "TagSpecifications": marks(request.tags, "fleet"),
        **options,
    }


def launched(answer: Mapping[str, Any], request: SpotRequest) -> Instance | None:
    """The fleet's instance, as far as its answer tells; None where it launched none."""
    rows = [row for row in answer.get("Instances", []) if row.get("InstanceIds")]
    if not rows:
        return None
    row = rows[0]
    chosen = row.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
    zones = {offer.subnet: offer.zone for offer in request.offers}
    return Instance(
        id=row["InstanceIds"][0],
        name=request.name,
        state="pending",
        type=row.get("InstanceType") or chosen.get("InstanceType") or request.offers[0].type.name,
        zone=chosen.get("AvailabilityZone") or zones.get(chosen.get("SubnetId", ""), ""),
        market="spot" if row.get("Lifecycle") == "spot" else "on-demand",
        address=None,
        launched=datetime.now(timezone.utc),
        tags=request.tags,
        image=request.image,
    )


def verdict(errors: Sequence[Mapping[str, Any]], request: SpotRequest, market: str) -> ProvisionError:
    """What the offers' refusals mean together.

    One that another place would not mend (not allowed, quota, price) is the answer. Where each lacks capacity, or its
    zone the type, there is no capacity; where AWS has the type in no zone, it is not offered.
    """
    found = [_refusal(row, request, market) for row in errors]
    for kind in (AuthError, QuotaError, PriceError, UnsupportedError):
        if grave := [one for one in found if isinstance(one, kind)]:
            return grave[0]
    if other := [one for one in found if not isinstance(one, (CapacityError, NotOfferedError))]:
        return other[0]
    if found and all(isinstance(one, NotOfferedError) for one in found):
        return found[0]
    zones = sorted({offer.zone for offer in request.offers})
    mend = "try again later, or another --region" + (", or --fallback on-demand" if market == "spot" else " or type")
    return CapacityError(f"no {market} {request.types} is free now in {', '.join(zones)}", mend)


def _refusal(row: Mapping[str, Any], request: SpotRequest, market: str) -> ProvisionError:
    """One offer's; of a quota AWS does not say which."""
    code = row.get("ErrorCode", "")
    found = refusal(code, row.get("ErrorMessage", ""), f"launch {request.types}")
    chosen = row.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
    quota = quota_of(chosen.get("InstanceType") or request.offers[0].type.name, market)
    if code not in _VCPUS or quota is None:
        return found
    return QuotaError(
        f"{found.what}: {request.region}'s quota {quota.name} ({quota.code}) has no room",
        f"ask for more at {quota.page(request.region)}, end a machine, or take a smaller type",
    )


def may_pass(errors: Sequence[Mapping[str, Any]], refused: ProvisionError) -> bool:
    """Whether the same fleet, asked for again in some seconds, may be had."""
    return type(refused) in (ThrottledError, CloudError) and any(row.get("ErrorCode") in PASSES for row in errors)


def volumes_of(tags: Mapping[str, str]) -> tuple[DataVolume, ...]:
    """The data volumes that a machine's record tells of, as `--volume` takes them: data:200,scratch:50:delete."""
    parts = [word.split(":") for word in tags.get("provision:volumes", "").split(",") if word]
    return tuple(DataVolume(part[0], int(part[1]), part[2:] != ["delete"]) for part in parts)


def devices(volumes: Sequence[DataVolume]) -> list[tuple[str, DataVolume]]:
    """Each data volume and the device that it is attached as: EC2 leaves /dev/sdf to /dev/sdp to us."""
    return [(f"/dev/sd{letter}", volume) for letter, volume in zip("fghijklmnop", volumes, strict=False)]


def marks(tags: Mapping[str, str], *kinds: str) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": tag_list(tags)} for kind in kinds]


def _disk(device: str, size_gb: int) -> dict[str, Any]:
    disk = {"VolumeSize": size_gb, "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}
    return {"DeviceName": device, "Ebs": disk}
