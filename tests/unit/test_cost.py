"""What a machine has cost: prices over time, disks, and what is said where something is not known."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images.gpus import aws_types
from infra.aws import prices
from infra.aws.prices import Price, integrate
from infra.aws.types import Instance
from provision.machines import cost
from provision.machines.cost import bill
from provision.offers import budget
from tests.unit.fake_aws import LAUNCHED, FakeAws, Refused, Region

HOUR = timedelta(hours=1)
moments = st.integers(0, 100_000).map(lambda s: LAUNCHED + timedelta(seconds=s))
histories = st.lists(st.builds(Price, moments, st.floats(0.01, 100)), min_size=1, max_size=20)


def instance(market: str = "spot", state: str = "running", reason: str = "", **tags: str) -> Instance:
    marks = {"provision:disk": "100", **{f"provision:{key.replace('_', '-')}": value for key, value in tags.items()}}
    return Instance("i-1", "lab", state, "p3.8xlarge", "us-east-1a", market, None, LAUNCHED, marks, reason=reason)


def test_each_price_counts_for_its_own_time() -> None:
    past = [Price(LAUNCHED - HOUR, 1.0), Price(LAUNCHED + HOUR, 2.0), Price(LAUNCHED + 2 * HOUR, 4.0)]
    assert integrate(past, LAUNCHED, LAUNCHED + 2.5 * HOUR) == pytest.approx(1.0 + 2.0 + 2.0)


def test_the_price_in_force_at_launch_is_the_last_one_before_it() -> None:
    past = [Price(LAUNCHED - 5 * HOUR, 9.0), Price(LAUNCHED - HOUR, 1.0)]
    assert integrate(past, LAUNCHED, LAUNCHED + HOUR) == pytest.approx(1.0)


@given(histories, moments, moments, moments)
def test_a_life_costs_the_sum_of_its_parts(past: list[Price], a: datetime, b: datetime, c: datetime) -> None:
    start, middle, end = sorted((a, b, c))
    # the first price also holds before its time, whichever part it is in
    whole = integrate(past, start, end)
    assert whole == pytest.approx(integrate(past, start, middle) + integrate(past, middle, end))


@given(histories, moments, moments)
def test_it_is_never_above_the_dearest_nor_below_the_cheapest(past: list[Price], a: datetime, b: datetime) -> None:
    start, end = sorted((a, b))
    hours = (end - start) / HOUR
    low, high = min(one.hourly for one in past), max(one.hourly for one in past)
    assert low * hours * 0.999999 <= integrate(past, start, end) <= high * hours * 1.000001


@given(histories, moments, moments)
def test_the_order_of_the_rows_makes_no_difference(past: list[Price], a: datetime, b: datetime) -> None:
    unique = list({one.since: one for one in past}.values())
    mixed = list(reversed(unique))
    start, end = sorted((a, b))
    assert integrate(mixed, start, end) == pytest.approx(integrate(unique, start, end))


def test_no_prices_cost_no_guess() -> None:
    with pytest.raises(ValueError, match="no prices"):
        integrate([], LAUNCHED, LAUNCHED + HOUR)


def test_a_spot_machine_that_lives() -> None:
    past = [Price(LAUNCHED, 3.0), Price(LAUNCHED + HOUR, 4.0)]
    one = bill((instance(budget="20"), None), "us-east-1", past, None, LAUNCHED + 2 * HOUR)
    disk = 100 * 0.08 / 720
    assert one.hours == 2
    assert one.instance == pytest.approx(7.0)
    assert one.disk == pytest.approx(2 * disk)
    assert one.address == pytest.approx(2 * 0.005)
    assert one.total == pytest.approx(7.01 + 2 * disk)
    assert one.hourly == pytest.approx(4.005 + disk)
    assert one.left == pytest.approx(12.99 - 2 * disk)
    assert (one.ended, one.free, one.saved) == (None, 0.0, None)


def test_one_that_has_ended_costs_nothing_more() -> None:
    one = bill(
        (instance(state="terminated"), LAUNCHED + HOUR), "us-east-1", [Price(LAUNCHED, 3.0)], None, LAUNCHED + 9 * HOUR
    )
    assert (one.hours, one.instance, one.hourly) == (1, pytest.approx(3.0), 0.0)


def test_aws_bills_a_minute_at_least() -> None:
    one = bill(
        (instance(), LAUNCHED + timedelta(seconds=5)), "us-east-1", [Price(LAUNCHED, 36.0)], None, LAUNCHED + HOUR
    )
    assert one.instance == pytest.approx(0.6)


def test_on_demand_is_the_list_price() -> None:
    one = bill((instance("on-demand"), None), "us-east-1", [], 12.24, LAUNCHED + 2 * HOUR)
    assert one.instance == pytest.approx(24.48)


def test_a_price_that_is_not_known_is_said() -> None:
    one = bill((instance("on-demand"), None), "xx-nowhere-1", [], None, LAUNCHED + HOUR)
    assert (one.instance, one.total, one.hourly) == (None, None, None)
    assert "no price of p3.8xlarge in xx-nowhere-1" in one.note
    assert cost.dollars(one.total) == "unknown"


def test_data_volumes_are_counted() -> None:
    assert budget.disks_per_hour(instance(volumes="data:200,scratch:50:delete"), "us-east-1") == pytest.approx(
        350 * 0.08 / 720
    )


def test_what_was_saved_is_against_the_list_price() -> None:
    one = bill((instance(), None), "us-east-1", [Price(LAUNCHED, 3.0)], 12.24, LAUNCHED + 2 * HOUR)
    assert one.saved == pytest.approx(2 * 9.24)
    assert bill((instance("on-demand"), None), "us-east-1", [], 12.24, LAUNCHED + HOUR).saved is None


def test_the_most_that_an_hour_may_cost_is_the_price_at_launch_with_disks_and_address() -> None:
    extras = 100 * 0.08 / 720 + 0.005
    assert budget.most_per_hour(instance(price="12.24"), "us-east-1") == pytest.approx(12.24 + extras)
    assert budget.most_per_hour(instance(price="4", max_price="5"), "us-east-1") == pytest.approx(5 + extras)
    assert budget.most_per_hour(instance("on-demand", price="4", max_price="5"), "us-east-1") == pytest.approx(
        4 + extras
    )
    assert budget.most_per_hour(instance(), "us-east-1") is None


def test_an_unknown_price_leaves_no_more_of_a_budget_than_the_dearest_would() -> None:
    life = (instance(budget="20", price="4"), LAUNCHED + 2 * HOUR)
    one = bill(life, "us-east-1", [], None, LAUNCHED + 9 * HOUR)
    assert one.total is None
    assert one.left == pytest.approx(20 - 2 * (4 + 100 * 0.08 / 720 + 0.005))
    assert bill((instance(budget="20"), LAUNCHED + HOUR), "us-east-1", [], None, LAUNCHED + HOUR).left is None


def test_a_machine_that_aws_takes_away_in_its_first_hour_is_free() -> None:
    lost = instance(state="terminated", reason="Server.SpotInstanceTermination")
    early = bill((lost, LAUNCHED + timedelta(minutes=50)), "us-east-1", [Price(LAUNCHED, 3.0)], None, LAUNCHED + HOUR)
    later = bill((lost, LAUNCHED + 2 * HOUR), "us-east-1", [Price(LAUNCHED, 3.0)], None, LAUNCHED + 3 * HOUR)
    assert (early.instance, early.free) == (0, pytest.approx(2.5))
    assert (
        early.note == "AWS took it away in its first hour: $2.50 for it are not billed, its disks and its address are"
    )
    assert early.total == pytest.approx(early.disk + early.address)
    assert later.instance == pytest.approx(6.0)


def test_where_aws_does_not_say_the_end_it_is_the_deadline_at_most() -> None:
    gone = instance(state="terminated", deadline=(LAUNCHED + 3 * HOUR).isoformat())
    one = bill((gone, None), "us-east-1", [Price(LAUNCHED, 1.0)], None, LAUNCHED + 90 * HOUR)
    assert one.hours == 3
    assert "at most" in one.note


def test_bills_of_a_region_by_its_own_history() -> None:
    aws = Region()
    aws._terminate({"InstanceIds": ["i-1"]})
    (one,) = cost.bills(aws.cloud)
    assert one.instance == pytest.approx(6.0)  # 12:00 to 14:00 at $3
    (asked,) = aws.of("DescribeSpotPriceHistory")
    assert asked["StartTime"] == LAUNCHED
    assert asked["EndTime"] == LAUNCHED + 2 * HOUR
    assert asked["AvailabilityZone"] == "us-east-1a"


def test_a_history_that_aws_refuses_is_an_unknown_price_and_no_failure() -> None:
    aws = Region()
    aws.answers["DescribeSpotPriceHistory"] = Refused("UnauthorizedOperation")
    (one,) = cost.bills(aws.cloud)
    assert one.total is None
    assert "not allowed" in one.note


def test_history_reads_every_page() -> None:
    def answer(given: dict[str, object]) -> object:
        if given.get("NextToken"):
            return {"SpotPriceHistory": [{"SpotPrice": "1.5", "Timestamp": LAUNCHED - HOUR}]}
        return {"SpotPriceHistory": [{"SpotPrice": "2.5", "Timestamp": LAUNCHED + HOUR}], "NextToken": "more"}

    aws = FakeAws(DescribeSpotPriceHistory=answer)
    found = prices.history(aws.cloud, "p3.8xlarge", "us-east-1a", LAUNCHED, LAUNCHED + 2 * HOUR)
    assert [one.hourly for one in found] == [1.5, 2.5]


def test_the_price_file_names_types_that_we_know() -> None:
    assert set(prices.table().hourly) <= set(aws_types())
    assert prices.on_demand("p3.8xlarge", "us-east-1") == 12.24
    assert prices.on_demand("p3.8xlarge", "xx-nowhere-1") is None
    assert prices.on_demand("t2.nano", "us-east-1") is None


def test_a_region_without_a_disk_price_takes_the_dearest() -> None:
    assert prices.gb_month("xx-nowhere-1") == max(prices.table().gb_month.values())


def test_small_amounts_are_not_zero() -> None:
    assert cost.dollars(0.0123) == "$0.0123"
    assert cost.dollars(1.5) == "$1.50"
    assert cost.dollars(0.0) == "$0.00"


def test_json_holds_numbers_and_iso_times() -> None:
    row = bill((instance(), None), "us-east-1", [Price(LAUNCHED, 3.0)], None, LAUNCHED + HOUR).as_json()
    assert row["instance"] == 3.0
    assert row["launched"] == "2026-11-20T12:00:00+00:00"
    assert row["ended"] is None
    assert row["left"] is None
    assert datetime.fromisoformat(str(row["launched"])).tzinfo == timezone.utc
