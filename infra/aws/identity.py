"""STS: whose account this is."""

from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime

from infra.aws.errors import explained
from infra.aws.session import Cloud, client


@dataclass(frozen=True)
class Caller:
    """Whom the credentials belong to, and AWS's clock when it answered (None where it does not say)."""

    account: str
    arn: str
    clock: datetime | None


def caller(cloud: Cloud) -> Caller:
    """Who AWS says that we are; AuthError where there are no good credentials."""
    with explained("ask AWS who we are"):
        found = client(cloud, "sts").get_caller_identity()
    date = found["ResponseMetadata"].get("HTTPHeaders", {}).get("date")
    return Caller(str(found["Account"]), str(found["Arn"]), parsedate_to_datetime(date) if date else None)


def account(cloud: Cloud) -> str:
    """The account's twelve digits; AuthError where there are no good credentials."""
    return caller(cloud).account
