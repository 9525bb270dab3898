"""STS: whose account this is."""

from infra.aws.errors import explained
from infra.aws.session import Cloud, client


def account(cloud: Cloud) -> str:
    """The account's twelve digits; AuthError where there are no good credentials."""
    with explained("ask AWS who we are"):
        return str(client(cloud, "sts").get_caller_identity()["Account"])
