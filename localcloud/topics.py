"""What was published to SNS topics: the page `_local/topics`, by which tests read what a subscriber would get."""

from typing import Any


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
