"""SNS: who is told how a run goes, by somebody in AWS.

A topic for each address, made at first use and kept: it costs nothing while nothing is said.
"""

import hashlib
import re

from infra.aws.errors import explained
from infra.aws.identity import account
from infra.aws.session import Cloud, client
from infra.errors import UsageError

_ARN = re.compile(r"arn:[a-z-]+:sns:(?P<region>[a-z0-9-]+):(?P<owner>\d{12}):[\w-]{1,256}")  # FIFO: it asks for more
_MAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]{1,255}")


def check(text: str, region: str) -> str:
    """The same text, the ARN of a topic in this region or an e-mail address; UsageError for another."""
    arn = _ARN.fullmatch(text)
    if arn and arn["region"] != region:
        raise UsageError(f"the topic {text} is in {arn['region']}, and the run in {region}", "name one in that region")
    if not arn and not _MAIL.fullmatch(text):
        raise UsageError(f"{text!r} is no SNS topic and no e-mail address", "give its ARN, or an address")
    return text


def topic(cloud: Cloud, text: str) -> tuple[str, bool]:
    """The ARN of the topic that tells that address, or of the topic itself; and whether the address has to confirm
    first that it wants to be told.

    UsageError for a topic of another account; AuthError where these credentials may not make one.
    """
    if arn := _ARN.fullmatch(text):
        if arn["owner"] != account(cloud):
            raise UsageError(
                f"the topic {text} is another account's, which the keeper may not tell",
                "name one of this account, or an e-mail address",
            )
        return text, False
    api = client(cloud, "sns")
    with explained(f"make a topic that tells {text}"):
        name = f"provision-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        made = str(api.create_topic(Name=name)["TopicArn"])
        pages = api.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=made)
        known = [row for page in pages for row in page.get("Subscriptions", []) if row.get("Endpoint") == text]
        if not known:
            api.subscribe(TopicArn=made, Protocol="email", Endpoint=text)
    return made, not any(row["SubscriptionArn"].startswith("arn:") for row in known)
