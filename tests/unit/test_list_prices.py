"""On-demand prices: what is read of AWS's list, how long it is kept, and what takes its place."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from infra.aws import price_list, prices
from infra.aws.types import InstanceType, Offer
from infra.errors import AuthError, CloudError
from provision.offers import list_prices
from tests.unit.aws_region import AwsRegion, refuses, region
from tests.unit.price_answers import product, wanted

P3 = InstanceType("p3.8xlarge", 32, 249856, "V100", 4, 16384)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def asks(*products: str, name: str = "us-east-1") -> AwsRegion:
    aws = region({}, {}, name=name)
    aws.answers["GetProducts"] = {"PriceList": list(products)}
    return aws


def kept_for(folder: Path, hours: float) -> None:
    for path in folder.rglob("*.json"):
        os.utime(path, (time.time() - hours * 3600,) * 2)


def test_it_is_asked_for_linux_in_the_region_of_the_machine() -> None:
    aws, seen = asks(name="eu-west-1"), list[dict[str, str]]()

    def answer(words: Any) -> dict[str, Any]:
        seen.append(wanted(words))
        return {"PriceList": [product(13.22)]}

    aws.answers["GetProducts"] = answer
    assert price_list.on_demand(aws.cloud, "p3.8xlarge") == 13.22
    assert seen == [
        {"instanceType": "p3.8xlarge", "regionCode": "eu-west-1", "operatingSystem": "Linux", "preInstalledSw": "NA",
         "capacitystatus": "Used", "marketoption": "OnDemand", "tenancy": "Shared",
         "productFamily": "Compute Instance"},
    ]  # fmt: skip
    price_list.on_demand(aws.cloud, "g4dn.metal")
    assert (seen[1]["tenancy"], seen[1]["productFamily"]) == ("Dedicated", "Compute Instance (bare metal)")


def test_the_dearest_counts_and_what_is_not_by_the_hour_does_not() -> None:
    odd = (product(99.0, unit="Quantity"), product(0.0))
    assert price_list.on_demand(asks(product(12.0), product(12.24), *odd).cloud, "p3.8xlarge") == 12.24
    assert price_list.on_demand(asks(*odd).cloud, "p3.8xlarge") is None


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"product": {"attributes": {}}, "terms": {"OnDemand": {"a": {}}}}'])
def test_a_list_in_another_form_is_said_and_no_crash(text: str) -> None:
    with pytest.raises(CloudError, match=r"price list for p3\.8xlarge cannot be understood"):
        price_list.on_demand(asks(text).cloud, "p3.8xlarge")


def test_the_right_that_is_needed_is_named() -> None:
    aws = asks()
    aws.answers["GetProducts"] = refuses("AccessDeniedException")
    with pytest.raises(AuthError) as refused:
        price_list.on_demand(aws.cloud, "p3.8xlarge")
    assert "provision iam-policy" in refused.value.mend


def test_an_answer_is_kept_for_a_day_with_its_date(tmp_path: Path) -> None:
    aws = asks(product(12.0))
    (first,) = list_prices.ask(aws.cloud, ["p3.8xlarge", "p3.8xlarge"]).values()
    assert (first.hourly, first.why) == (12.0, "")
    assert list_prices.said({"p3.8xlarge": first}) == f"AWS's price list of {first.date}"
    aws.answers["GetProducts"] = {"PriceList": [product(13.0)]}
    kept_for(tmp_path, 23)
    assert list_prices.ask(aws.cloud, ["p3.8xlarge"])["p3.8xlarge"] == first
    assert aws.calls["GetProducts"] == 1
    kept_for(tmp_path, 25)
    assert list_prices.ask(aws.cloud, ["p3.8xlarge"])["p3.8xlarge"].hourly == 13.0


def test_an_old_answer_is_better_than_the_table_which_says_its_date_and_why(tmp_path: Path) -> None:
    aws = asks(product(12.0))
    old = list_prices.ask(aws.cloud, ["p3.8xlarge"])
    aws.answers["GetProducts"] = refuses("AccessDeniedException")
    kept_for(tmp_path, 24 * 90)
    assert list_prices.ask(aws.cloud, ["p3.8xlarge"]) == old
    (other,) = list_prices.ask(aws.cloud, ["g4dn.xlarge"]).values()
    assert (other.hourly, other.date) == (0.526, prices.table().date)
    words = list_prices.said({"g4dn.xlarge": other})
    assert words.startswith(f"provision's own list of {prices.table().date}, as AWS's does not tell: cannot read AWS's")


def test_the_table_knows_no_price_of_another_region() -> None:
    aws = asks(name="eu-west-1")
    aws.answers["GetProducts"] = refuses("AccessDeniedException")
    assert list_prices.ask(aws.cloud, ["p3.8xlarge"])["p3.8xlarge"].hourly is None


def test_a_type_that_is_not_in_the_list_may_be_in_the_table() -> None:
    found = list_prices.ask(asks().cloud, ["p3.8xlarge", "p9.huge"])
    assert (found["p3.8xlarge"].hourly, found["p9.huge"].hourly) == (12.24, None)
    assert list_prices.said(found).endswith("as AWS's does not tell: it has no p3.8xlarge in us-east-1")


def test_a_list_that_is_below_the_spot_price_is_not_believed() -> None:
    offers = [Offer(P3, "us-east-1a", "subnet-a", 3.0), Offer(P3, "us-east-1b", "subnet-b", 12.5)]
    priced, words = list_prices.priced(asks(product(12.24)).cloud, offers)
    assert [offer.on_demand for offer in priced] == [12.24, None]
    assert words.startswith("AWS's price list of 20")
