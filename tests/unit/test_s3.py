"""A bucket: whose it is in every call, one winner among several writers, and rules that tear nothing that lives."""

import ast
import contextlib
import inspect
from pathlib import Path
from typing import Any

import pytest

from infra.aws import prices, regions, s3, s3_bucket, s3_transfer
from infra.aws.s3 import S3, owner_if_ours
from infra.aws.session import Cloud
from infra.errors import AuthError, CloudError, DamagedError
from tests.unit.fake_aws import Refused
from tests.unit.fake_s3 import NAME, OURS, FakeS3

OLD = {
    "ID": "provision", "Status": "Enabled", "Filter": {"Prefix": "runs/"}, "Expiration": {"Days": 90},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
}  # fmt: skip


@pytest.fixture
def aws() -> FakeS3:
    return FakeS3()


@pytest.fixture
def store(aws: FakeS3) -> S3:
    return S3(aws.cloud, NAME, OURS)


def test_every_call_names_the_owner_that_the_bucket_has_to_have(aws: FakeS3, store: S3, tmp_path: Path) -> None:
    aws.owners.clear()
    s3_bucket.ensure(store, 30, "runs/")
    store.write("runs/a/x", b"1")
    store.write_new("runs/a/y", b"1")
    store.objects("runs/")
    store.objects_after("runs/", "runs/a/x")
    store.folders("runs/")
    store.read("runs/a/x")
    store.region()
    s3_bucket.expire_days(store)
    store.delete(["runs/a/x"])
    named = [words.get("ExpectedBucketOwner") for name, words in aws.calls if name != "CreateBucket"]
    assert len(named) > 10
    assert set(named) == {OURS}


def test_no_call_of_s3_is_made_without_the_owner() -> None:
    """By the source: a call that names a bucket by hand forgets whose it is. To make one is no question of owners."""
    for module in (s3, s3_bucket, s3_transfer):
        calls = [node for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.Call)]
        by_hand = [call for call in calls if any(word.arg == "Bucket" for word in call.keywords)]
        for call in by_hand:
            given = {word.arg for word in call.keywords}
            assert "ExpectedBucketOwner" in given or ast.unparse(call.func).endswith("create_bucket"), ast.unparse(call)


def test_a_bucket_that_the_user_named_may_be_anybodys(aws: FakeS3) -> None:
    aws.owners["theirs"] = "999999999999"
    aws.put("voc/a", b"1")
    assert S3(aws.cloud, "theirs", "").read("voc/a") == b"1"
    assert (owner_if_ours(aws.cloud, NAME, OURS), owner_if_ours(aws.cloud, "theirs", OURS)) == (OURS, "")
    assert owner_if_ours(aws.cloud, "nowhere", OURS) == ""


def test_a_bucket_name_that_somebody_else_took_is_told_as_that(aws: FakeS3, store: S3) -> None:
    aws.owners[NAME] = "999999999999"
    with pytest.raises(AuthError, match=f"{NAME} is not the account {OURS}'s") as refused:
        s3_bucket.ensure(store, 30, "runs/")
    assert "another --region" in refused.value.mend
    assert "provision doctor --cloud fake" in refused.value.mend
    assert aws.names() == ["HeadBucket"]


def test_of_several_who_write_at_once_one_wins(aws: FakeS3, store: S3) -> None:
    assert store.write_new("runs/a/attempts/001.json", b"mine")
    assert not store.write_new("runs/a/attempts/001.json", b"yours")
    assert store.read("runs/a/attempts/001.json") == b"mine"


def test_an_answer_that_was_lost_on_the_way_is_no_defeat(aws: FakeS3, store: S3) -> None:
    """botocore repeats a call whose answer did not come; S3 then refuses what it has already."""
    aws.put("k", b"mine")
    assert store.write_new("k", b"mine")


def test_a_call_that_met_another_one_is_made_again(aws: FakeS3, store: S3) -> None:
    put, tries = aws.answers["PutObject"], []

    def conflict(given: dict[str, Any]) -> Any:
        tries.append(given)
        if len(tries) < 3:
            raise Refused("ConditionalRequestConflict")
        return put(given)

    aws.answers["PutObject"] = conflict
    assert store.write_new("k", b"mine")
    assert len(tries) == 3


def test_other_refusals_of_a_first_write_are_errors(aws: FakeS3, store: S3) -> None:
    aws.answers["PutObject"] = Refused("NoSuchBucket")
    with pytest.raises(CloudError):
        store.write_new("k", b"mine")


def rule(aws: FakeS3, name: str) -> dict[str, Any]:
    [found] = [one for one in aws.rules if one["ID"] == name]
    return found


def test_only_what_carries_the_tag_expires(aws: FakeS3, store: S3) -> None:
    aws.owners.clear()
    assert s3_bucket.ensure(store, 30, "runs/") == 30
    assert rule(aws, "provision")["Expiration"] == {"Days": 30}
    assert rule(aws, "provision")["Filter"]["And"] == {
        "Prefix": "runs/", "Tags": [{"Key": "provision-expires", "Value": "yes"}],
    }  # fmt: skip
    assert rule(aws, "provision-uploads")["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 2}
    assert {"PutPublicAccessBlock", "PutBucketEncryption"} < set(aws.names())
    assert s3_bucket.expire_days(store) == 30


def test_the_rule_of_an_earlier_version_is_replaced_and_those_of_others_stay(aws: FakeS3, store: S3) -> None:
    """It took the manifest of a run that still trained."""
    theirs = {"ID": "reports", "Status": "Enabled", "Filter": {"Prefix": "reports/"}, "Expiration": {"Days": 7}}
    aws.rules = [OLD, theirs]
    assert s3_bucket.ensure(store, 30, "runs/") == 90
    kinds = ["provision", "provision-uploads", "provision-image-uploads", "provision-machines"]
    assert [one["ID"] for one in aws.rules] == [*kinds, "reports"]
    assert rule(aws, "provision")["Expiration"] == {"Days": 90}
    assert "Tags" in rule(aws, "provision")["Filter"]["And"]
    assert rule(aws, "reports") == theirs
    assert "PutBucketEncryption" not in aws.names()  # a bucket that was set up stays as its owner has it


def test_a_bucket_that_is_set_up_is_left_alone(aws: FakeS3, store: S3) -> None:
    s3_bucket.ensure(store, 30, "runs/")
    aws.calls.clear()
    assert s3_bucket.ensure(store, 99, "runs/") == 30
    assert aws.names() == ["HeadBucket", "GetBucketLifecycleConfiguration"]


def test_what_machines_begin_with_is_there_before_any_run(aws: FakeS3, store: S3) -> None:
    aws.owners.clear()
    s3_bucket.prepare(store)
    assert {"CreateBucket", "PutPublicAccessBlock", "PutBucketEncryption"} < set(aws.names())
    assert s3_bucket.expire_days(store) is None  # how long runs stay is said by who trains first
    told = rule(aws, "provision-machines")
    assert (told["Filter"], told["Expiration"]) == ({"Prefix": "machines/"}, {"Days": 90})
    aws.calls.clear()
    s3_bucket.prepare(store)
    assert aws.names() == ["HeadBucket", "GetBucketLifecycleConfiguration"]
    assert s3_bucket.ensure(store, 30, "runs/") == 30
    assert {one["ID"] for one in aws.rules} >= {"provision", "provision-machines"}
    rules = list(aws.rules)
    s3_bucket.prepare(store)
    assert aws.rules == rules


@pytest.mark.parametrize(("code", "error"), [("BucketAlreadyOwnedByYou", None), ("BucketAlreadyExists", CloudError)])
def test_of_two_launches_at_once_in_a_new_account_one_makes_the_bucket(
    aws: FakeS3, store: S3, code: str, error: type[Exception] | None
) -> None:
    aws.owners.clear()

    def made_meanwhile(_: Any) -> Any:
        aws.owners[NAME] = OURS
        raise Refused(code)

    aws.answers["CreateBucket"] = made_meanwhile
    with pytest.raises(error) if error else contextlib.nullcontext():
        s3_bucket.prepare(store)
    assert bool(aws.rules) is (error is None)


def test_a_refusal_to_tell_the_rules_is_not_taken_for_none(aws: FakeS3, store: S3) -> None:
    aws.answers["GetBucketLifecycleConfiguration"] = Refused("AccessDenied")
    with pytest.raises(AuthError):
        s3_bucket.ensure(store, 30, "runs/")
    assert "PutBucketLifecycleConfiguration" not in aws.names()


@pytest.mark.parametrize(
    ("region", "bucket", "endpoint", "partition"),
    [
        ("us-east-1", "lab", "", "aws"),
        ("eu-west-1", "my.old.bucket", "https://s3.eu-west-1.amazonaws.com", "aws"),
        ("us-gov-west-1", "lab", "", "aws-us-gov"),
        ("cn-north-1", "lab", "https://s3.cn-north-1.amazonaws.com.cn", "aws-cn"),
    ],
)
def test_the_guard_is_told_where_a_bucket_is(region: str, bucket: str, endpoint: str, partition: str) -> None:
    """A certificate of *.s3.REGION.amazonaws.com fits no name with dots."""
    assert regions.s3_endpoint(Cloud("aws", region), bucket) == endpoint
    assert regions.partition(region) == partition
    assert regions.s3_endpoint(Cloud("local", region, "http://127.0.0.1:9"), bucket) == "http://127.0.0.1:9"


def test_what_s3_costs_a_month() -> None:
    assert round(prices.s3_monthly(100 << 30, "us-east-1"), 4) == 2.3
    assert prices.s3_monthly(1 << 30, "mars-1") == prices.s3_monthly(1 << 30, "sa-east-1")
    assert prices.s3_monthly(0, "us-east-1") == 0


def test_transfers_name_the_owner_too(store: S3) -> None:
    from s3transfer.manager import TransferManager

    assert store.expected == {"ExpectedBucketOwner": OURS}
    assert "ExpectedBucketOwner" in TransferManager.ALLOWED_UPLOAD_ARGS
    assert "ExpectedBucketOwner" in TransferManager.ALLOWED_DOWNLOAD_ARGS


def test_what_is_larger_than_anything_of_ours_is_not_read_into_memory(aws: FakeS3, store: S3) -> None:
    aws.put("runs/a/state.json", b"{}")
    assert store.read_json("runs/a/state.json") == {}
    aws.lengths["runs/a/state.json"] = 5_000_000_000
    with pytest.raises(DamagedError, match="it has 5000000000 bytes"):
        store.read_json("runs/a/state.json")
