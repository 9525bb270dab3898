"""What stays in an account on purpose, for `audit`: images in the bucket, and topics that tell addresses."""

from functools import partial

from infra.aws import topics
from infra.aws.resources import Holding
from infra.aws.session import Cloud
from infra.concurrency import together
from infra.errors import ProvisionError
from provision import console
from provision.engines import capsule
from provision.runs import store

TOPICS, IMAGES = "topics", "images in S3"


def images(cloud: Cloud) -> list[Holding]:
    """The images that the bucket keeps for runs without a laptop, as one thing."""
    place = store.store(cloud)
    objects = place.objects(capsule.IMAGES) if place.exists() else []
    size = sum(stored.size for stored in objects)
    return [Holding(IMAGES, place.bucket, state=console.size(size), kept=True, row={"bytes": size})] if size else []


def topics_of(cloud: Cloud) -> tuple[list[Holding], list[ProvisionError]]:
    """The topics that tell addresses, and why they could not be seen."""

    def seen(arn: str) -> Holding:
        state = topics.state(cloud, arn)
        name = arn.rpartition(":")[2]
        return Holding(TOPICS, name, state=state, kept=state != topics.NOBODY, row={"TopicArn": arn})

    listed, unlisted = together([partial(topics.made, cloud)])
    found, errors = together([partial(seen, arn) for arns in listed for arn in arns], at_once=8)
    return found, [*unlisted, *errors]
