"""Times of AWS's answers are read as botocore reads them, in all forms that its services have."""

import pytest
from botocore.utils import parse_timestamp

from infra.aws.session import parse_time


@pytest.mark.parametrize(
    "value",
    [
        "2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05+00:00", "2026-01-02T05:04:05+02:00",
        "Fri, 02 Jan 2026 03:04:05 GMT", 1767323045, 1767323045.25, "1767323045", "2026-01-02T03:04:05",
    ],
)  # fmt: skip
def test_a_time_is_what_botocore_reads(value: str | float) -> None:
    assert parse_time(value) == parse_timestamp(value)
    assert parse_time(value).utcoffset() == parse_timestamp(value).utcoffset()
