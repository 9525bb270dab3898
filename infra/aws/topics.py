"""SNS: who is told how a run goes, by somebody in AWS.

A topic for each address, made at first use and kept: it costs nothing while nothing is said. The topic's ARN is all
that is written down of an address: the URL of a webhook may hold a secret, so it is in no message and no error.
"""

import hashlib
import re
import urllib.parse
from typing import Any

from infra.aws.errors import explained
from infra.aws.identity import account
from infra.aws.session import Cloud, client
from infra.errors import ProvisionError, UsageError

PREFIX = "provision-"
NOBODY, WAITS, TELLS = "nobody", "waits", "tells"
_ARN = re.compile(r"arn:[a-z-]+:sns:(?P<region>[a-z0-9-]+):(?P<owner>\d{12}):(?P<name>[\w-]{1,256})")  # no FIFO
_MAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]{1,255}")
_URL = re.compile(r"https?://[\x21-\x7e]{1,2000}", re.IGNORECASE)


def check(text: str, region: str) -> str:
    """The same text: the ARN of a topic in this region, an e-mail address, or the https:// URL of a webhook; UsageError
    for another."""
    arn = _ARN.fullmatch(text)
    if arn and arn["region"] != region:
        raise UsageError(f"the topic {text} is in {arn['region']}, and the run in {region}", "name one in that region")
    if "://" in text:
        _check_url(text)
    elif not arn and not _MAIL.fullmatch(text):
        word = "the value of --notify" if "/" in text else repr(text)  # a URL that was mistyped may hold a secret
        raise UsageError(
            f"{word} is no SNS topic, no e-mail address and no https:// address",
            "give the topic's ARN, or an address",
        )
    return text


def _check_url(text: str) -> None:
    if not _URL.fullmatch(text) or _host(text) is None:
        raise UsageError("the address of --notify is no URL that SNS can call", "write it as https://HOST/PATH")
    if text.lower().startswith("http:"):
        raise UsageError(
            f"{shown(text)} is not encrypted: who listens on the way would read the messages", "give its https:// URL"
        )


def _host(text: str) -> str | None:
    try:
        return urllib.parse.urlsplit(text).hostname
    except ValueError:
        return None


def shown(text: str) -> str:
    """The address as people may see it: of a URL its host alone."""
    return f"{text.partition('://')[0]}://{_host(text)}/…" if "://" in text else text


def topic(cloud: Cloud, text: str) -> str:
    """The ARN of the topic that tells that address, or of the topic itself. SNS asks a new address first whether it
    wants to be told: an e-mail, or a SubscriptionConfirmation that is posted to the URL.

    UsageError for a topic of another account, AuthError where these credentials may not make one.
    """
    if arn := _ARN.fullmatch(text):
        if arn["owner"] != account(cloud):
            raise UsageError(
                f"the topic {text} is another account's, which the keeper may not tell",
                "name one of this account, or an address",
            )
        return text
    try:
        return _subscribed(client(cloud, "sns"), text)
    except ProvisionError as error:
        if text in error.what:  # AWS's own words may repeat it
            raise type(error)(error.what.replace(text, shown(text)), error.mend) from None
        raise


def _subscribed(api: Any, text: str) -> str:
    with explained(f"make a topic that tells {shown(text)}"):
        name = f"{PREFIX}{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        made = str(api.create_topic(Name=name)["TopicArn"])
        known = [row for row in _subscriptions(api, made) if row.get("Endpoint") == text]
        if not any(map(_confirmed, known)):  # who was asked before, and has not answered, is asked again
            api.subscribe(TopicArn=made, Protocol="https" if "://" in text else "email", Endpoint=text)
    return made


def _subscriptions(api: Any, arn: str) -> list[dict[str, Any]]:
    pages = api.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=arn)
    return [row for page in pages for row in page.get("Subscriptions", [])]


def _confirmed(row: dict[str, Any]) -> bool:
    return str(row["SubscriptionArn"]).startswith("arn:")


def ours(arn: str) -> bool:
    """Whether the topic was made here, for an address."""
    found = _ARN.fullmatch(arn)
    return found is not None and found["name"].startswith(PREFIX)


def state(cloud: Cloud, arn: str) -> str:
    """Whom the topic tells: TELLS somebody, WAITS for an address to confirm, or NOBODY: SNS forgets an address that has
    not confirmed after two days."""
    with explained(f"look at the topic {arn}"):
        rows = _subscriptions(client(cloud, "sns"), arn)
    if any(map(_confirmed, rows)):
        return TELLS
    return WAITS if rows else NOBODY


def made(cloud: Cloud) -> list[str]:
    """The ARNs of the topics that were made here."""
    with explained("list topics"):
        pages = client(cloud, "sns").get_paginator("list_topics").paginate()
        found = [str(row["TopicArn"]) for page in pages for row in page.get("Topics", [])]
    return [arn for arn in found if ours(arn)]


def forget(cloud: Cloud, arn: str) -> None:
    """Delete the topic; one that is gone is no error."""
    with explained(f"delete the topic {arn}"):
        client(cloud, "sns").delete_topic(TopicArn=arn)
