"""An instance's tags: what is written at its launch is read by any laptop, and what someone broke does no harm."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as some

from infra.aws.tags import DataVolume, TagRecord, Wish, moved, parse_volumes, parse_wish
from infra.aws.types import Instance, InstanceType, Offer, SpotRequest

AT = datetime(2036, 11, 20, 18, 40, tzinfo=timezone.utc)
FULL = TagRecord(
    "lab", "provision-lab-01234567", AT, 100, 24.0, 30.0, "ssm", 4.5, 20.0, 1.25,
    (DataVolume("data", 200), DataVolume("scratch", 50, keep=False)), "535", True, "alice@thinkpad 3f2a9c1d", True,
    Wish("p3.8xlarge", or_equivalent=True), 45.0,
)  # fmt: skip
TAGS = {
    "Name": "provision lab", "provision:name": "lab", "provision:resource": "provision-lab-01234567",
    "provision:deadline": "2036-11-20T18:40:00+00:00", "provision:disk": "100", "provision:hours": "24",
    "provision:idle": "30", "provision:via": "ssm", "provision:max-price": "4.5", "provision:budget": "20",
    "provision:price": "1.25", "provision:volumes": "data:200,scratch:50:delete", "provision:driver": "535",
    "provision:fallback": "on-demand", "provision:own-run": "yes", "provision:wish": "p3.8xlarge or-equivalent",
    "provision:keep-on-error": "45", "provision:owner": "alice@thinkpad 3f2a9c1d",
}  # fmt: skip

words = some.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=9)
prices = some.none() | some.integers(1, 99_999).map(lambda cents: cents / 100)
wishes = some.one_of(
    some.builds(Wish, some.just("g5.xlarge"), some.just(True)), some.just(Wish()),
    some.builds(Wish, some.just(""), some.just(False), some.integers(1, 16), some.sampled_from([16.0, 0.5])),
)  # fmt: skip
records = some.builds(
    TagRecord, words, words, some.none() | some.datetimes(timezones=some.just(timezone.utc)), some.integers(0, 16384),
    prices, some.integers(0, 600).map(float), some.sampled_from(["ssh", "ssm"]), prices, prices, prices,
    some.lists(some.builds(DataVolume, words, some.integers(1, 16384), some.booleans()), max_size=4).map(tuple),
    some.sampled_from(["", "470", "535"]), some.booleans(), some.sampled_from(["", "bob@pc 1"]), some.booleans(),
    wishes, prices,
)  # fmt: skip


def instance(**tags: str) -> Instance:
    return Instance("i-1", "lab", "running", "p3.8xlarge", "us-east-1a", "spot", None, AT, tags)


def test_a_record_and_its_tags() -> None:
    assert FULL.to_tags() == TAGS
    assert TagRecord.from_tags(TAGS) == FULL
    assert FULL.gigabytes == 350
    assert FULL.marks().items() <= TAGS.items()
    assert {**TAGS, **moved(AT + timedelta(hours=1))}["provision:deadline"] == "2036-11-20T19:40:00+00:00"


def test_what_is_not_set_has_no_tag() -> None:
    assert TagRecord("lab", disk_gb=100).to_tags() == {
        "Name": "provision lab", "provision:name": "lab", "provision:disk": "100", "provision:idle": "0",
        "provision:via": "ssh",
    }  # fmt: skip
    assert TagRecord.from_tags({}) == TagRecord()


@given(records)
def test_every_record_comes_back(record: TagRecord) -> None:
    assert TagRecord.from_tags(record.to_tags()) == record


@given(some.dictionaries(some.sampled_from(sorted(TAGS)), some.text()))
def test_tags_that_someone_broke_do_no_harm(broken: dict[str, str]) -> None:
    record = TagRecord.from_tags({**TAGS, **broken})
    assert record.deadline is None or record.deadline.tzinfo is not None, "it can be compared with now"
    assert record.gigabytes >= 0
    assert instance(**{**TAGS, **broken}).deadline == record.deadline


@pytest.mark.parametrize("text", ["nan", "inf", "soon", "", "1e999"])
def test_a_number_that_is_none_counts_as_not_set(text: str) -> None:
    record = TagRecord.from_tags({**TAGS, "provision:budget": text, "provision:idle": text, "provision:disk": text})
    assert (record.budget, record.idle_minutes, record.disk_gb) == (None, 0.0, 0)


def test_volumes_as_they_are_written() -> None:
    assert parse_volumes("data:200,scratch:50:delete") == FULL.volumes
    assert parse_volumes("") == parse_volumes("data,:5,data:x,data:1:keep") == ()


def test_an_instance_reads_its_record() -> None:
    machine = instance(**TAGS)
    assert machine.record == FULL
    assert (machine.launch, machine.via, machine.deadline) == (FULL.launch, FULL.via, FULL.deadline)
    assert (machine.max_price, machine.price, machine.budget, machine.idle_minutes) == (4.5, 1.25, 20.0, 30.0)


def test_a_request_becomes_its_machines_record() -> None:
    offer = Offer(InstanceType("p3.8xlarge", 32, 249856), "us-east-1a", "subnet-1", spot=0.5, on_demand=1.25)
    request = SpotRequest(
        "lab", "0123456789abcdef", "aws", "us-east-1", (offer,), "ami-1", "/dev/sda1", "spot", 100, 24.0, 30.0,
        "192.0.2.1/32", fallback=True, via="ssm", max_price=4.5, budget=20.0, volumes=FULL.volumes,
            own_run=True, wish=FULL.wish, owner=FULL.owner, keep_on_error_minutes=45.0,
    )  # fmt: skip
    assert request.record(AT, "535") == FULL


def test_a_wish_for_exactly_one_type_needs_no_tag() -> None:
    assert str(Wish("p3.8xlarge")) == str(Wish()) == ""
    assert parse_wish("gpus 4 memory 16") == Wish(gpus=4, gpu_memory_gb=16.0)
    assert parse_wish("p3.8xlarge or-equivalent") == Wish("p3.8xlarge", or_equivalent=True)
    assert parse_wish("whatever somebody wrote") == Wish()
