"""EC2's quotas in vCPUs, as the service Service Quotas tells of them and as launches meet them.

moto knows none of EC2's. The values are set through the page `_local/quotas`: {code: vCPUs} for all regions, or
{region: {code: vCPUs}} for one.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.servicequotas.exceptions import NoSuchResource
from moto.servicequotas.models import ServiceQuotasBackend
from moto.servicequotas.responses import ServiceQuotasResponse

from localcloud import hardware
from localcloud.emulator import ACCOUNT

PLENTY = 2000.0  # vCPUs


@dataclass(frozen=True)
class Quota:
    """`families`: the types that count against it, as a pattern."""

    code: str
    name: str
    market: str
    families: str


STANDARD = r"(a|c|d|h|i|im|is|m|r|t|z)\d"
QUOTAS = (
    Quota("L-3819A6DF", "All G and VT Spot Instance Requests", "spot", r"(g|gr|vt)\d"),
    Quota("L-7212CCBC", "All P4, P3 and P2 Spot Instance Requests", "spot", r"p[234]"),
    Quota("L-C4BD4855", "All P5 Spot Instance Requests", "spot", r"p5"),
    Quota("L-34B43A08", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", "spot", STANDARD),
    Quota("L-DB2E81BA", "Running On-Demand G and VT instances", "on-demand", r"(g|gr|vt)\d"),
    Quota("L-417A185B", "Running On-Demand P instances", "on-demand", r"p\d"),
    Quota("L-1216C47A", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", "on-demand", STANDARD),
)
REFUSALS = {
    "spot": ("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded"),
    "on-demand": (
        "VcpuLimitExceeded",
        "You have requested more vCPU capacity than your current vCPU limit of {limit:g} allows for it.",
    ),
}

_values: dict[tuple[str, str], float] = {}  # region ("" for all) and code → vCPUs


def value(region: str, code: str) -> float:
    """The account's quota there, in vCPUs."""
    return _values.get((region, code), _values.get(("", code), PLENTY))


def change(payload: Mapping[str, Any]) -> dict[str, float]:
    """Set what the page `_local/quotas` was given; the values of all regions. LookupError for an unknown code."""
    for key, given in payload.items():
        regional = isinstance(given, dict)
        for code, vcpus in given.items() if regional else [(key, given)]:
            if code not in {quota.code for quota in QUOTAS}:
                raise LookupError(f"no quota has the code {code}")
            _values[key if regional else "", code] = float(vcpus)
    return {quota.code: value("", quota.code) for quota in QUOTAS}


def check(region: str, kind: str, market: str, count: int, living: Iterable[Any]) -> None:
    """EC2ClientError, in AWS's words, where `count` more of the type would exceed the account's quota.

    `living` are the moto instances of the region that are not terminated; AWS counts those that are not stopped.
    """
    quota = next((limit for limit in QUOTAS if limit.market == market and re.match(limit.families, kind)), None)
    if quota is None:
        return
    counted = [
        hardware.vcpus(instance.instance_type)
        for instance in living
        if instance.state in ("pending", "running")
        and (instance.lifecycle or "on-demand") == market
        and re.match(quota.families, instance.instance_type)
    ]
    limit = value(region, quota.code)
    if sum(counted) + count * hardware.vcpus(kind) > limit:
        code, text = REFUSALS[market]
        raise EC2ClientError(code, text.format(limit=limit))


def install() -> None:
    """Let moto answer for EC2, too."""
    moto_get = ServiceQuotasBackend.get_service_quota

    def get(self: Any, service_code: str, quota_code: str) -> Any:
        if service_code != "ec2":
            return moto_get(self, service_code, quota_code)
        found = [row for row in _rows(self.region_name) if row["QuotaCode"] == quota_code]
        if not found:
            raise NoSuchResource
        return found[0]

    def listed(self: Any) -> str:
        rows = _rows(self.region) if json.loads(self.body)["ServiceCode"] == "ec2" else []
        return json.dumps({"Quotas": rows})

    ServiceQuotasBackend.get_service_quota = get
    ServiceQuotasResponse.list_service_quotas = listed
    ServiceQuotasResponse.get_aws_default_service_quota = ServiceQuotasResponse.get_service_quota


def _rows(region: str) -> list[dict[str, Any]]:
    return [
        {
            "ServiceCode": "ec2",
            "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
            "QuotaArn": f"arn:aws:servicequotas:{region}:{ACCOUNT}:ec2/{quota.code}",
            "QuotaCode": quota.code,
            "QuotaName": quota.name,
            "Value": value(region, quota.code),
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }
        for quota in QUOTAS
    ]
