"""Whom AWS tells how a run goes: a topic that is there, or an address that has to confirm first."""

from typing import Any

import pytest

from infra.aws import topics
from infra.errors import UsageError
from tests.unit.fake_aws import CLOUD, FakeAws

ARN = "arn:aws:sns:us-east-1:111111111111:mine"


@pytest.mark.parametrize("text", [ARN, "alice@example.org"])
def test_a_topic_and_an_address_are_taken(text: str) -> None:
    assert topics.check(text, "us-east-1") == text


@pytest.mark.parametrize(
    ("text", "said"),
    [("alice", "no SNS topic and no e-mail address"), ("a b@c", "no SNS topic"), ("https://x.org/hook", "no SNS topic"),
     (ARN + ".fifo", "no SNS topic"),
     (ARN.replace("us-east-1", "eu-west-1"), "is in eu-west-1, and the run in us-east-1")],
)  # fmt: skip
def test_what_is_neither_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        topics.check(text, "us-east-1")


def test_a_topic_that_is_there_is_asked_nothing() -> None:
    aws = FakeAws()
    assert topics.topic(CLOUD, ARN) == (ARN, False)
    assert set(aws.names()) <= {"GetCallerIdentity"}


def test_a_topic_that_no_keeper_may_tell_is_refused() -> None:
    """Its errors are passed over: nobody would ever be told."""
    FakeAws()
    with pytest.raises(UsageError, match="another account's"):
        topics.topic(CLOUD, ARN.replace("111111111111", "999999999999"))


def test_an_address_gets_a_topic_of_its_own_once() -> None:
    rows: list[dict[str, Any]] = []
    aws = FakeAws(
        CreateTopic=lambda given: {"TopicArn": f"arn:aws:sns:us-east-1:111111111111:{given['Name']}"},
        ListSubscriptionsByTopic=lambda _: {"Subscriptions": rows},
    )
    made, waits = topics.topic(CLOUD, "alice@example.org")
    assert made.rpartition(":")[2].startswith("provision-") and waits
    [asked] = aws.of("Subscribe")
    assert (asked["Protocol"], asked["Endpoint"]) == ("email", "alice@example.org")
    rows.append({"Endpoint": "alice@example.org", "SubscriptionArn": "PendingConfirmation"})
    assert topics.topic(CLOUD, "alice@example.org") == (made, True)
    rows[0]["SubscriptionArn"] = f"{made}:1"
    assert topics.topic(CLOUD, "alice@example.org") == (made, False)
    assert len(aws.of("Subscribe")) == 1
    assert topics.topic(CLOUD, "bob@example.org")[0] != made
