"""Service quotas: how many vCPUs of a family the account may run at once, on the spot market and on demand.

Codes and names: the EC2 user guide's pages on spot and on-demand quotas. A family that they do not name (P6 on the spot
market) has no quota here: only AWS's refusal at the launch tells of it.
"""

import re
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from infra.aws.errors import code_of, explained
from infra.aws.regions import quota_page
from infra.aws.session import Cloud, client

_NONE = ("NoSuchResourceException", "NoSuchResource")


@dataclass(frozen=True)
class Quota:
    """A quota of EC2, counted in vCPUs: its code, the name that the console shows, and its market."""

    code: str
    name: str
    market: str

    def page(self, region: str) -> str:
        """The console's page on which a higher quota is asked for: its address, where that is known."""
        return quota_page(region, self.code) or f"Service Quotas, EC2, {self.code}"


_G_SPOT = Quota("L-3819A6DF", "All G and VT Spot Instance Requests", "spot")
_P_SPOT = Quota("L-7212CCBC", "All P4, P3 and P2 Spot Instance Requests", "spot")
_P5_SPOT = Quota("L-C4BD4855", "All P5 Spot Instance Requests", "spot")
_STANDARD_SPOT = Quota("L-34B43A08", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", "spot")
_G = Quota("L-DB2E81BA", "Running On-Demand G and VT instances", "on-demand")
_P = Quota("L-417A185B", "Running On-Demand P instances", "on-demand")
_STANDARD = Quota("L-1216C47A", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", "on-demand")

GPU_QUOTAS = (_G_SPOT, _P_SPOT, _P5_SPOT, _G, _P)

_FAMILIES: tuple[tuple[str, Quota | None, Quota], ...] = (
    (r"(g|gr|vt)\d", _G_SPOT, _G),
    (r"p[234]", _P_SPOT, _P),
    (r"p5", _P5_SPOT, _P),
    (r"p\d", None, _P),
    (r"(a|c|d|h|i|im|is|m|r|t|z)\d", _STANDARD_SPOT, _STANDARD),
)


def quota_of(type_name: str, market: str) -> Quota | None:
    """The quota that a type (p3.8xlarge) or family (p3) counts against; None where none is known."""
    for pattern, spot, on_demand in _FAMILIES:
        if re.match(pattern, type_name):
            return spot if market == "spot" else on_demand
    return None


def value(cloud: Cloud, code: str) -> int | None:
    """The account's quota in vCPUs; None where AWS knows no quota of that code. AuthError where we may not ask.

    Where the account has no quota of its own, AWS's default is in force, which another call tells.
    """
    api = client(cloud, "service-quotas")
    with explained(f"look up the quota {code}"):
        found = _asked(lambda: api.get_service_quota(ServiceCode="ec2", QuotaCode=code))
        found = found or _asked(lambda: api.get_aws_default_service_quota(ServiceCode="ec2", QuotaCode=code))
    return int(found["Quota"]["Value"]) if found else None


def _asked(call: Any) -> Any:
    try:
        return call()
    except ClientError as error:
        if code_of(error) in _NONE:
            return None
        raise


def used(running: list[tuple[str, str, int]], quota: Quota) -> int:
    """The vCPUs in use that count against a quota. `running`: (type, market, vCPUs) of each instance."""
    return sum(vcpus for name, market, vcpus in running if market == quota.market and quota_of(name, market) == quota)
