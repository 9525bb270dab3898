"""AWS's price list, as far as GetProducts is asked for an instance type. moto has no such service."""

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from localcloud import hardware


def products(params: Mapping[str, Any]) -> bytes:
    """GetProducts: the product that the filters name, with its price on demand; none for a type that is not there."""
    wanted = {row["Field"]: row["Value"] for row in params.get("Filters", [])}
    kind, region = wanted.get("instanceType", ""), wanted.get("regionCode", "")
    found = [_product(kind, region)] if hardware.zones_of(kind, region) else []
    return json.dumps({"FormatVersion": "aws_v1", "PriceList": [json.dumps(product) for product in found]}).encode()


def _product(kind: str, region: str) -> dict[str, Any]:
    dimension = {
        "unit": "Hrs", "beginRange": "0", "endRange": "Inf", "description": f"On Demand Linux {kind} Instance Hour",
        "pricePerUnit": {"USD": f"{hardware.on_demand(kind):.10f}"},
    }  # fmt: skip
    return {
        "product": {
            "productFamily": "Compute Instance",
            "attributes": {"instanceType": kind, "regionCode": region, "marketoption": "OnDemand"},
        },
        "serviceCode": "AmazonEC2",
        "terms": {"OnDemand": {"LOCAL.TERM": {"priceDimensions": {"LOCAL.TERM.RATE": dimension}}}},
        "publicationDate": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
