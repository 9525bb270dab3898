"""Whom AWS tells how a run goes: a topic that is there, or an address that has to confirm first."""

import json
from typing import Any

import pytest

from infra.aws import topics
from infra.errors import ProvisionError, UsageError
from tests.unit.fake_aws import CLOUD, FakeAws, Refused

ARN = "arn:aws:sns:us-east-1:111111111111:mine"
SECRET = "s3cr3t-t0ken"
HOOK = f"https://hooks.example.org/services/{SECRET}?key={SECRET}"


@pytest.mark.parametrize("text", [ARN, "alice@example.org", HOOK, "https://u:p@h:8443/x"])
def test_a_topic_and_an_address_are_taken(text: str) -> None:
    assert topics.check(text, "us-east-1") == text


@pytest.mark.parametrize(
    ("text", "said"),
    [("alice", "no SNS topic, no e-mail address and no https"), ("a b@c", "no SNS topic"),
     (ARN + ".fifo", "no SNS topic"), ("http://x.org/hook", "http://x.org/… is not encrypted"),
     ("HTTP://x.org/hook", "is not encrypted"), ("https://", "no URL that SNS can call"),
     ("https://x.org/a b", "no URL"), ("https://[::1/x", "no URL"), ("ftp://x.org/", "no URL"),
     ("https://x.org/\n", "no URL"),
     (ARN.replace("us-east-1", "eu-west-1"), "is in eu-west-1, and the run in us-east-1")],
)  # fmt: skip
def test_what_is_neither_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        topics.check(text, "us-east-1")


@pytest.mark.parametrize(
    "text", [HOOK.replace("https", "http"), HOOK + " ", HOOK.replace("https", "htps"), HOOK.replace("://", ":/")]
)
def test_the_secret_of_a_url_that_is_refused_is_not_said(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        topics.check(text, "us-east-1")
    assert SECRET not in str(refused.value)


def test_a_topic_that_is_there_is_asked_nothing() -> None:
    aws = FakeAws()
    assert topics.topic(CLOUD, ARN) == ARN
    assert set(aws.names()) <= {"GetCallerIdentity"}


def test_a_topic_that_no_keeper_may_tell_is_refused() -> None:
    """Its errors are passed over: nobody would ever be told."""
    FakeAws()
    with pytest.raises(UsageError, match="another account's"):
        topics.topic(CLOUD, ARN.replace("111111111111", "999999999999"))


def subscribing(rows: list[dict[str, Any]], **more: Any) -> FakeAws:
    return FakeAws(
        CreateTopic=lambda given: {"TopicArn": f"arn:aws:sns:us-east-1:111111111111:{given['Name']}"},
        ListSubscriptionsByTopic=lambda _: {"Subscriptions": rows}, **more,
    )  # fmt: skip


@pytest.mark.parametrize(("address", "protocol"), [("alice@example.org", "email"), (HOOK, "https")])
def test_an_address_gets_a_topic_of_its_own_and_is_asked_until_it_has_confirmed(address: str, protocol: str) -> None:
    rows: list[dict[str, Any]] = []
    aws = subscribing(rows)
    made = topics.topic(CLOUD, address)
    assert topics.ours(made) and topics.state(CLOUD, made) == topics.NOBODY
    [asked] = aws.of("Subscribe")
    assert (asked["Protocol"], asked["Endpoint"]) == (protocol, address)
    rows.append({"Endpoint": address, "SubscriptionArn": "PendingConfirmation"})
    assert topics.topic(CLOUD, address) == made and topics.state(CLOUD, made) == topics.WAITS
    rows[0]["SubscriptionArn"] = f"{made}:1"
    assert topics.topic(CLOUD, address) == made and topics.state(CLOUD, made) == topics.TELLS
    assert aws.of("Subscribe") == [asked] * 2
    assert topics.topic(CLOUD, "bob@example.org") != made
    assert not topics.ours(ARN)


def test_what_aws_says_of_a_url_does_not_repeat_its_secret() -> None:
    aws = subscribing([], Subscribe=Refused("InvalidParameter", f"Invalid parameter: Endpoint {HOOK}"))
    with pytest.raises(ProvisionError, match="hooks") as refused:
        topics.topic(CLOUD, HOOK)
    assert SECRET not in str(refused.value) and refused.value.__cause__ is None
    [made] = aws.of("CreateTopic")
    assert SECRET not in json.dumps(made)


def test_only_topics_that_were_made_here_are_listed() -> None:
    FakeAws(ListTopics={"Topics": [{"TopicArn": ARN}, {"TopicArn": ARN.replace("mine", "provision-0123")}]})
    assert topics.made(CLOUD) == [ARN.replace("mine", "provision-0123")]
