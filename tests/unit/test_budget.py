"""A budget is never exceeded: random price histories against what is asked of AWS, and how its words are put."""

import random
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest

from infra.aws import fleet, prices
from infra.aws.prices import Price, integrate
from infra.aws.types import DataVolume, Instance, InstanceType, Offer, SpotRequest
from infra.errors import UsageError
from provision.machines import cost
from provision.offers import budget
from tests.unit.fake_aws import FakeAws, Refused

HOUR = timedelta(hours=1)
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)
REQUEST = SpotRequest(
    name="lab", token="0" * 32, cloud="aws", region="us-east-1", image="ami-1", root_device="/dev/sda1", market="spot",
    disk_gb=100, max_hours=720.0, idle_minutes=30.0, address="192.0.2.1",
    offers=(Offer(InstanceType("p3.8xlarge", 32, 249856, "V100", 4, 16384), "us-east-1a", "subnet-a", 3.75, 12.24),),
)  # fmt: skip


def wish(dice: random.Random) -> SpotRequest:
    """A launch with a budget, as it might be asked for."""
    offers = tuple(
        replace(
            REQUEST.offers[0], spot=listed * dice.uniform(0.1, 1), on_demand=listed if dice.random() < 0.9 else None
        )
        for listed in (dice.uniform(0.1, 100) for _ in range(dice.randint(1, 4)))
    )
    return replace(
        REQUEST, offers=offers, budget=dice.uniform(0.5, 500), max_hours=dice.uniform(1, 720),
        market=dice.choice(("spot", "spot", "spot", "on-demand")), fallback=dice.random() < 0.3,
        max_price=round(dice.uniform(0.05, 120), 4) if dice.random() < 0.5 else None, disk_gb=dice.randint(8, 2000),
        volumes=(DataVolume("data", dice.randint(1, 4000)),) if dice.random() < 0.5 else (),
    )  # fmt: skip


def life(dice: random.Random, request: SpotRequest, offer: Offer, market: str) -> float:
    """What AWS bills for a machine of that offer up to the last moment that its own end leaves it.

    AWS asks whatever it likes up to its price on demand, and takes a machine away whose MaxPrice is passed.
    """
    launched = NOW + timedelta(seconds=dice.uniform(0, 900))
    end = prices.billed(launched, budget.ends_at(request, NOW) + timedelta(minutes=11))
    highest = offer.on_demand or 150.0
    if market == "on-demand":
        past = [Price(launched, highest)]
    else:
        words = fleet.fleet_words(replace(request, offers=(offer,)), "spot", "template", "token")
        most = float(words["LaunchTemplateConfigs"][0]["Overrides"][0].get("MaxPrice", highest))
        past, at = [Price(launched - HOUR, dice.uniform(0, min(most, highest)))], launched
        while at < end:
            at += timedelta(minutes=dice.uniform(1, 600))
            past.append(Price(at, dice.uniform(0, highest)))
        end = min(end, next((price.since for price in past if price.hourly > most), end))
    disks = request.disk_gb + sum(volume.gb for volume in request.volumes)
    hours = (prices.billed(launched, end) - launched) / HOUR
    return integrate(past, launched, prices.billed(launched, end)) + hours * (disks * 0.08 / 720 + 0.005)


@pytest.mark.parametrize("seed", range(10))
def test_no_price_history_exceeds_a_budget(seed: int) -> None:
    dice, tried = random.Random(seed), 0
    while tried < 200:
        request = wish(dice)
        try:
            budget.check(request)
        except UsageError:  # too small, or without a price: nothing is launched
            continue
        assert request.budget is not None
        markets = [request.market] + ["on-demand"] * (request.market == "spot" and request.fallback)
        for offer in request.offers:
            for market in markets:
                spent = life(dice, request, offer, market)
                assert spent <= request.budget + 1e-9, (seed, tried, request, market, spent)
        tried += 1


def test_no_price_history_exceeds_a_budget_that_is_extended() -> None:
    """Each end that `extend` takes keeps the budget, whatever the prices become, and whether or not AWS tells them."""
    dice = random.Random(14)
    for number in range(300):
        most, told = round(dice.uniform(0.1, 50), 4), dice.random() < 0.9
        past = [Price(NOW - HOUR, dice.uniform(0, most))]
        while past[-1].since < NOW + 720 * HOUR:
            past.append(Price(past[-1].since + timedelta(hours=dice.uniform(0.1, 40)), dice.uniform(0, most)))
        aws = FakeAws(DescribeSpotPriceHistory=partial(_told, past) if told else Refused("UnauthorizedOperation"))
        marks = {"provision:disk": "100", "provision:price": f"{most}", "provision:budget": f"{dice.uniform(1, 400):g}"}
        machine = Instance("i-1", "lab", "running", "p3.8xlarge", "us-east-1a", "spot", None, NOW, marks)
        assert machine.budget is not None
        end = now = NOW
        for _ in range(3):
            latest = cost.lasts_until(aws.cloud, machine, now)
            assert latest is not None
            end = max(end, latest)
            now += dice.uniform(0, 1) * max(end - now, timedelta(0))
        until = prices.billed(NOW, end + timedelta(minutes=11) if end > NOW else NOW)
        spent = integrate(past, NOW, until) + (until - NOW) / HOUR * (100 * 0.08 / 720 + 0.005)
        assert spent <= machine.budget + 1e-6, (number, spent, machine.budget)


def _told(past: list[Price], words: dict[str, Any]) -> dict[str, Any]:
    rows = [{"SpotPrice": f"{price.hourly}", "Timestamp": price.since} for price in past]
    return {"SpotPriceHistory": [row for row in rows if row["Timestamp"] <= words["EndTime"]]}


def test_the_budget_is_used_and_not_only_kept() -> None:
    """At the dearest price all the time, all but the minutes of its end are spent."""
    request = replace(REQUEST, budget=40.0, max_price=9.0)
    lives = budget.ends_at(request, NOW) - NOW
    assert lives / HOUR * budget.cost_per_hour(request) == pytest.approx(40 - 11 / 60 * 9.0161, abs=0.01)


@pytest.mark.parametrize(
    ("changes", "most"),
    [
        ({}, 12.24),
        ({"max_price": 9.0}, 9.0),
        ({"max_price": 20.0}, 12.24),
        ({"max_price": 9.0, "fallback": True}, 12.24),
        ({"market": "on-demand"}, 12.24),
        ({"offers": (replace(REQUEST.offers[0], on_demand=None),)}, None),
        ({"offers": (replace(REQUEST.offers[0], on_demand=None),), "max_price": 9.0}, 9.0),
        ({"offers": (replace(REQUEST.offers[0], on_demand=None),), "max_price": 9.0, "fallback": True}, None),
    ],
)
def test_the_dearest_is_what_aws_may_charge(changes: dict[str, object], most: float | None) -> None:
    assert replace(REQUEST, **changes).dearest == most  # type: ignore[arg-type]


def test_what_is_left_is_counted_at_the_dearest_and_is_nothing_without_a_price() -> None:
    assert budget.left_at_least(20, 4.0, NOW, NOW + 3 * HOUR) == pytest.approx(8.0)
    assert budget.left_at_least(20, 4.0, NOW, NOW + 9 * HOUR) == 0
    assert budget.left_at_least(20, None, NOW, NOW + HOUR) == 0
    assert budget.left_at_least(20, 60.0, NOW, NOW) == pytest.approx(19.0)  # AWS bills a minute at least


def test_a_price_is_said_as_it_is_now_and_at_most() -> None:
    assert budget.price_words(3.75, 12.24) == "$3.750/h now, at most $12.240/h"
    assert budget.price_words(12.24, 12.24) == "$12.240/h"
    assert budget.price_words(None, 9.0) == "at most $9.000/h"
    assert budget.price_words(3.75, None) == "$3.750/h now, at most AWS's price on demand"
    assert budget.price_words(None, None) == "price unknown"
    listed = replace(REQUEST, listed="AWS's price list of 2026-11-20")
    assert budget.price_of(listed, 3.75) == "$3.750/h now, at most $12.240/h (AWS's price list of 2026-11-20)"
    assert budget.price_of(replace(listed, max_price=9.0), 3.75) == "$3.750/h now, at most $9.000/h"
