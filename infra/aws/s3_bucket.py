"""The account's bucket of a region: made on first use, private, encrypted, and so that what is left alone goes away.

Its rule for runs expires objects by their own age, and only those that carry a tag: who goes on with a run renews the
age of what he keeps. What has no tag stays until it is deleted. What machines tell of themselves goes by age alone.
"""

from typing import Any

from botocore.exceptions import ClientError

from infra.aws.errors import code_of, explained
from infra.aws.s3 import S3
from infra.aws.session import Cloud, client

TAG = ("provision-expires", "yes")
MACHINES = "machines/"
_RULE, _UPLOADS, _IMAGES, _TOLD = "provision", "provision-uploads", "provision-image-uploads", "provision-machines"
_OPEN_DAYS = 2  # a broken upload in parts is thrown away after so many
_IMAGE_DAYS = 7  # one of an image later: what it has sent over a home line is not sent again
_TOLD_DAYS = 90  # a machine has at most 30 days, and each `extend` at most 30 more


def ours(cloud: Cloud, account: str) -> S3:
    """The bucket of that account in the cloud's region, whether or not it is there."""
    return S3(cloud, f"provision-{account}-{cloud.region}", account)


def prepare(store: S3) -> None:
    """Make the bucket on first use, for what machines begin with; the rules for runs come with the first (`ensure`)."""
    _make(store)
    with explained(f"set up the bucket {store.bucket}"):
        rules = _rules(store)
        if not rules:  # also after a client that was killed in between
            _protect(store)
        _set(store, rules, [_told()])


def ensure(store: S3, expire_days: int, prefix: str) -> int:
    """Make the bucket on first use; after how many days its rule deletes what carries the tag under `prefix`.

    `expire_days` is taken for a bucket without a rule. The rule of an earlier version, which took all objects and so
    tore runs that went on, is replaced; its days and the rules of others stay.
    """
    _make(store)
    with explained(f"set up the bucket {store.bucket}"):
        rules = _rules(store)
        days = _days(rules)
        if days is None:  # also after a client that was killed in between
            _protect(store)
        _set(store, rules, [*_wanted(expire_days if days is None else days, prefix), _told()])
    return expire_days if days is None else days


def expire_days(store: S3) -> int | None:
    """After how many days the bucket's rule deletes what carries the tag; None where there is no such rule."""
    with explained("read the bucket's expiry"):
        return _days(_rules(store))


def _api(store: S3) -> Any:
    return client(store.cloud, "s3")


def _make(store: S3) -> None:
    if store.exists():
        return
    region = store.cloud.region
    place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    with explained(f"create the bucket {store.bucket}"):
        try:
            _api(store).create_bucket(Bucket=store.bucket, **place)
        except ClientError as error:
            if code_of(error) != "BucketAlreadyOwnedByYou":  # another command has just made it
                raise


def _protect(store: S3) -> None:
    blocks = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    _api(store).put_public_access_block(
        **store.named, PublicAccessBlockConfiguration=dict.fromkeys(blocks, True)
    )  # fmt: skip
    rules = [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
    _api(store).put_bucket_encryption(**store.named, ServerSideEncryptionConfiguration={"Rules": rules})


def _wanted(days: int, prefix: str) -> list[dict[str, Any]]:
    """Our rules. AWS takes no rule on uploads that asks for a tag, so that it is one of its own."""
    tags = [{"Key": TAG[0], "Value": TAG[1]}]
    return [
        {"ID": _RULE, "Status": "Enabled", "Filter": {"And": {"Prefix": prefix, "Tags": tags}},
         "Expiration": {"Days": days}},
        {"ID": _UPLOADS, "Status": "Enabled", "Filter": {"Prefix": prefix},
         "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _OPEN_DAYS}},
        {"ID": _IMAGES, "Status": "Enabled", "Filter": {"Prefix": "images/"},
         "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _IMAGE_DAYS}},
    ]  # fmt: skip


def _told() -> dict[str, Any]:
    """The rule for what machines tell of themselves."""
    return {
        "ID": _TOLD, "Status": "Enabled", "Filter": {"Prefix": MACHINES}, "Expiration": {"Days": _TOLD_DAYS},
    }  # fmt: skip


def _set(store: S3, there: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    """See to it that the bucket has these rules of ours; others stay."""
    if all(any(rule.items() <= one.items() for one in there) for rule in wanted):
        return
    named = {rule["ID"] for rule in wanted}
    others = [rule for rule in there if rule.get("ID") not in named]
    _api(store).put_bucket_lifecycle_configuration(**store.named, LifecycleConfiguration={"Rules": [*wanted, *others]})


def _rules(store: S3) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = _api(store).get_bucket_lifecycle_configuration(**store.named)["Rules"]
    except ClientError as error:
        if code_of(error) in ("NoSuchLifecycleConfiguration", "NoSuchBucket", "404"):
            return []
        raise
    return found


def _days(rules: list[dict[str, Any]]) -> int | None:
    return next((rule["Expiration"]["Days"] for rule in rules if rule.get("ID") == _RULE), None)
