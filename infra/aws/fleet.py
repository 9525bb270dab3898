"""What we ask of CreateFleet, and what its answer means: values alone, no calls.

An instant fleet answers at once: with the instance, or with each offer's refusal.
"""

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from decimal import ROUND_DOWN, Decimal
from typing import Any

from infra.aws.ec2 import tag_list
from infra.aws.errors import PASSING, refusal
from infra.aws.quotas import quota_of
from infra.aws.types import DataVolume, Instance, Offer, SpotRequest
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


def template_data(request: SpotRequest, market: str, user_data: bytes, group: str, profile: str = "") -> dict[str, Any]:
    """The launch template: what every offer of the launch has in common. `profile`: the instance profile that the
    machine has from its start ("": it is given one later).

    Each new data volume comes with the machine and goes with it, also one that is to be kept: `Volumes.keep` is later.
    """
    kinds = ("instance", "volume", "network-interface", *(("spot-instances-request",) if market == "spot" else ()))
    return {
        **({"IamInstanceProfile": {"Name": profile}} if profile else {}),
        "ImageId": request.image,
        "UserData": base64.b64encode(user_data).decode(),
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "HttpEndpoint": "enabled"},
        "NetworkInterfaces": [
            {"DeviceIndex": 0, "Groups": [group], "AssociatePublicIpAddress": True, "DeleteOnTermination": True}
        ],
        "BlockDeviceMappings": [
            _disk(request.root_device, request.disk_gb),
            *(
                _disk(device, volume.gb)
                for device, volume in devices(request.volumes)
                if volume.name not in request.there
            ),
        ],
        "TagSpecifications": marks(request.tags, *kinds),
    }


def fleet_words(request: SpotRequest, market: str, template: str, token: str) -> dict[str, Any]:
    """CreateFleet for one instance, with an override for each offer."""
    overrides = [
        {
            "InstanceType": offer.type.name,
            "SubnetId": offer.subnet,
            **(_limit(request, offer) if market == "spot" else {}),
        }
        for offer in request.offers
    ]
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


def _limit(request: SpotRequest, offer: Offer) -> dict[str, str]:
    """The price above which AWS is to take the machine away; rounded down, so that no more than was counted is paid."""
    cap = request.cap(offer)
    return {} if cap is None else {"MaxPrice": str(Decimal(str(cap)).quantize(Decimal("0.0001"), ROUND_DOWN))}


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

    A refusal that would be the same in every place (not allowed, quota, price) is the verdict. Where each offer lacks
    capacity, or its zone lacks the type, the verdict is CapacityError; where no zone has the type, NotOfferedError.
    """
    found = [_refusal(row, request, market) for row in errors]
    for kind in (AuthError, QuotaError, PriceError, UnsupportedError):
        if grave := [error for error in found if isinstance(error, kind)]:
            return grave[0]
    if other := [error for error in found if not isinstance(error, (CapacityError, NotOfferedError))]:
        return other[0]
    if found and all(isinstance(error, NotOfferedError) for error in found):
        return found[0]
    zones = sorted({offer.zone for offer in request.offers})
    mend = "try again later, or another --region" + (", or --fallback on-demand" if market == "spot" else " or type")
    return CapacityError(f"no {market} {request.types} is free now in {', '.join(zones)}", mend)


def _refusal(row: Mapping[str, Any], request: SpotRequest, market: str) -> ProvisionError:
    """One offer's refusal. AWS does not say which quota is full; the instance type and the market tell it."""
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
    """Whether the same fleet may succeed when it is asked for again some seconds later."""
    return type(refused) in (ThrottledError, CloudError) and any(row.get("ErrorCode") in PASSES for row in errors)


def devices(volumes: Sequence[DataVolume]) -> list[tuple[str, DataVolume]]:
    """Each data volume with the device name it is attached under: EC2 reserves /dev/sdf to /dev/sdp for us."""
    return [(f"/dev/sd{letter}", volume) for letter, volume in zip("fghijklmnop", volumes, strict=False)]


def marks(tags: Mapping[str, str], *kinds: str) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": tag_list(tags)} for kind in kinds]


def _disk(device: str, size_gb: int) -> dict[str, Any]:
    disk = {"VolumeSize": size_gb, "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}
    return {"DeviceName": device, "Ebs": disk}
