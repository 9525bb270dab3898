"""SNS as its subscribers see it, which moto does not play: an address is asked first whether it wants to be told.

An https endpoint is posted a SubscriptionConfirmation, whose SubscribeURL it has to open; an e-mail address is never
heard of again here. Until then it is told nothing, and lists call it PendingConfirmation. The page `_local/topics` has
what was published, whoever heard it. PROVISION_LOCAL_CA names a file of certificates that endpoints may have.
"""

import copy
import json
import logging
import os
import secrets
import ssl
import threading
import time
import urllib.request
from typing import Any
from urllib.parse import parse_qs, urlencode

PENDING = "PendingConfirmation"
_ASKED = ("http", "https", "email")
_TRIES, _PAUSE_S, _SILENT_S = 5, 1.0, 10.0
_tokens: dict[str, Any] = {}
_endpoint = ""
log = logging.getLogger("localcloud")


def install() -> None:
    """Put our methods in the place of those of moto's classes."""
    from moto.sns.models import SNSBackend, Subscription

    moto_subscribe, moto_list, moto_publish = (
        SNSBackend.subscribe, SNSBackend.list_subscriptions_by_topic, Subscription.publish,
    )  # fmt: skip

    def subscribe(self: Any, topic_arn: str, endpoint: str, protocol: str) -> Any:
        made = moto_subscribe(self, topic_arn, endpoint, protocol)
        if not made.confirmed and protocol in ("http", "https"):
            _tokens[token := secrets.token_hex(16)] = made
            threading.Thread(target=_post, args=(endpoint, _question(topic_arn, token)), daemon=True).start()
        return _shown(made)

    def listed(self: Any, topic_arn: str, next_token: str | None = None) -> tuple[list[Any], int | None]:
        found, more = moto_list(self, topic_arn, next_token)
        return [_shown(one) for one in found], more

    def publish(self: Any, message: str, message_id: str, subject: str | None = None, **more: Any) -> None:
        if self.protocol not in _ASKED:
            moto_publish(self, message, message_id, subject, **more)
        elif self.confirmed and self.protocol != "email":
            said = self.get_post_data(message, message_id, subject)
            threading.Thread(target=_post, args=(self.endpoint, said), daemon=True).start()

    SNSBackend.subscribe, SNSBackend.list_subscriptions_by_topic = subscribe, listed
    Subscription.publish = publish


def ready(endpoint: str) -> None:
    """Where SubscribeURLs lead: the cloud's own address."""
    global _endpoint
    _endpoint = endpoint


def confirm(query: str) -> tuple[int, str, bytes]:
    """The page that a SubscribeURL opens: status, kind of text, text."""
    found = _tokens.get(parse_qs(query).get("Token", [""])[0])
    if found is None:
        return 404, "text/plain", b"no subscription waits for this token"
    found.confirmed = True
    return 200, "text/plain", found.arn.encode()


def _shown(subscription: Any) -> Any:
    if subscription.protocol not in _ASKED or subscription.confirmed:
        return subscription
    other = copy.copy(subscription)
    other.arn = PENDING
    return other


def _question(topic_arn: str, token: str) -> dict[str, str]:
    url = f"{_endpoint}/_local/confirm?{urlencode({'TopicArn': topic_arn, 'Token': token})}"
    text = f"You have chosen to subscribe to the topic {topic_arn}. To confirm, visit the SubscribeURL in this message."
    return {
        "Type": "SubscriptionConfirmation", "Token": token, "TopicArn": topic_arn, "Message": text, "SubscribeURL": url,
    }  # fmt: skip


def _post(endpoint: str, said: dict[str, Any]) -> None:
    """Post it, some times again where nobody answers. What fails is told without the address: it may hold a secret."""
    headers = {"Content-Type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": said["Type"]}
    request = urllib.request.Request(endpoint, json.dumps(said).encode(), headers)
    context = ssl.create_default_context(cafile=os.environ.get("PROVISION_LOCAL_CA"))
    for _ in range(_TRIES):
        try:
            urllib.request.urlopen(request, timeout=_SILENT_S, context=context).close()
            return
        except OSError as error:
            log.warning("%s of %s was not heard: %s", said["Type"], said["TopicArn"], type(error).__name__)
        time.sleep(_PAUSE_S)


def said() -> dict[str, list[dict[str, str]]]:
    """Topic's ARN → its messages so far, oldest first."""
    from moto.sns.models import sns_backends

    topics: list[Any] = [
        topic
        for regions in list(sns_backends.values())
        for backend in list(regions.values())
        for topic in list(backend.topics.values())
    ]
    return {topic.arn: [_message(*sent) for sent in topic.sent_notifications] for topic in topics}


def _message(number: str, text: str, subject: str | None, *_: Any) -> dict[str, str]:
    return {"id": number, "message": text, "subject": subject or ""}
