"""What AWS's price list answers, in its form: JSON in JSON."""

import json
from collections.abc import Mapping
from typing import Any

from infra.aws import prices


def product(hourly: float, unit: str = "Hrs") -> str:
    """A product of GetProducts with its terms, as far as they are read."""
    price = {"unit": unit, "pricePerUnit": {"USD": f"{hourly:.10f}"}}
    terms = {"OnDemand": {"SKU.TERM": {"priceDimensions": {"SKU.TERM.RATE": price}}}, "Reserved": {}}
    return json.dumps({"product": {"attributes": {}}, "terms": terms})


def wanted(words: Mapping[str, Any]) -> dict[str, str]:
    """The filters of a call, by field."""
    return {one["Field"]: one["Value"] for one in words["Filters"]}


def from_table(words: Mapping[str, Any]) -> dict[str, Any]:
    """GetProducts as if AWS still asked what our table says."""
    hourly = prices.on_demand(wanted(words)["instanceType"], "us-east-1")
    return {"PriceList": [] if hourly is None else [product(hourly)]}
