"""AWS's own list of on-demand prices, by its Price List API (GetProducts): a question for each type, free of charge.

The API answers in a few regions for all of them. The public files of the same list have hundreds of megabytes a region.
Source: https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_pricing_GetProducts.html
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

from infra.aws.errors import explained
from infra.aws.session import Cloud, client
from infra.errors import CloudError

_ANSWERS_IN = "us-east-1"
# Linux without software that costs extra, in use and not merely reserved, and not paid in advance as blocks are
_PLAIN = {
    "operatingSystem": "Linux", "preInstalledSw": "NA", "capacitystatus": "Used", "marketoption": "OnDemand",
}  # fmt: skip
_SHARED = {"tenancy": "Shared", "productFamily": "Compute Instance"}
_METAL = {"tenancy": "Dedicated", "productFamily": "Compute Instance (bare metal)"}  # a whole machine is never shared


def on_demand(cloud: Cloud, type_name: str) -> float | None:
    """What an hour of the type costs on demand in the cloud's region, US dollars; None where the list has no such.

    Where the list has several prices it is the highest. AuthError without the right `pricing:GetProducts`, CloudError
    where the list cannot be read.
    """
    api: Any = client(dataclasses.replace(cloud, region=_ANSWERS_IN), "pricing", attempts=1)
    kind = _METAL if ".metal" in type_name else _SHARED
    wanted = {"instanceType": type_name, "regionCode": cloud.region, **_PLAIN, **kind}
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    with explained(f"read AWS's price list for {type_name}"):
        pages = api.get_paginator("get_products").paginate(ServiceCode="AmazonEC2", Filters=filters)
        products = [text for page in pages for text in page["PriceList"]]
    try:
        found = [price for text in products for price in _hourly(json.loads(text))]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CloudError(f"AWS's price list for {type_name} cannot be understood: {error!r}") from error
    return max(found, default=None)


def _hourly(product: Mapping[str, Any]) -> Iterator[float]:
    """The product's prices by the hour."""
    for term in product["terms"].get("OnDemand", {}).values():
        for dimension in term["priceDimensions"].values():
            price = float(dimension["pricePerUnit"].get("USD", 0))
            if dimension["unit"] == "Hrs" and price > 0:
                yield price
