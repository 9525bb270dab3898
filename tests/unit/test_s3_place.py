"""Addresses in S3 as users write them, in recipes, on the command line and in a run's manifest."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from infra.aws.s3 import Place, parse
from infra.errors import UsageError


@pytest.mark.parametrize(
    ("url", "bucket", "prefix"),
    [
        ("s3://lab", "lab", ""),
        ("s3://lab/", "lab", ""),
        ("s3://lab//", "lab", ""),
        ("s3://lab/a", "lab", "a/"),
        ("s3://lab/a/b/", "lab", "a/b/"),
        ("s3://lab/a/b", "lab", "a/b/"),
        ("s3://lab//a//b//", "lab", "a//b/"),
        ("s3://lab/größe und mehr", "lab", "größe und mehr/"),
        ("s3://lab/no\u00a0break", "lab", "no\u00a0break/"),
        ("s3://lab/a?b#c%20d", "lab", "a?b#c%20d/"),
        ("s3://My_old.bucket-1/x", "My_old.bucket-1", "x/"),
    ],
)
def test_a_place_is_a_bucket_and_a_prefix(url: str, bucket: str, prefix: str) -> None:
    place = parse(url)
    assert place == Place(bucket, prefix)
    assert str(place) == f"s3://{bucket}/{prefix}"
    assert parse(str(place)) == place


@pytest.mark.parametrize(
    "url",
    [
        "", "lab/a", "http://lab/a", "S3://lab/a", "s3:/lab/a", "s3:lab", "s3://", "s3:///", "s3:///a", " s3://lab",
        "s3://la b/x", "s3://lab*/x", "s3://user@lab/x", "s3://lab:1/x", "s3://lab/a\n", "s3://lab/\0", "s3://lab\n/a", "s3://lab/\udcff",
        "s3://" + "b" * 256, "s3://lab/" + "a" * 1024, "s3://arn:aws:s3:us-east-1:1:accesspoint/x/a",
    ],
)  # fmt: skip
def test_what_is_none_is_refused_with_the_form(url: str) -> None:
    with pytest.raises(UsageError, match="is no place in S3") as caught:
        parse(url)
    assert caught.value.mend == "write s3://BUCKET/PREFIX"


@given(some.text() | some.text().map("s3://{}".format) | some.text().map("s3://lab/{}".format))
def test_any_text_is_a_place_or_refused(text: str) -> None:
    try:
        place = parse(text)
    except UsageError:
        return
    assert parse(str(place)) == place
    assert place.prefix == "" or place.prefix.endswith("/")
