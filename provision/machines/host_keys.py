"""What a machine begins with in the account's bucket, and what it tells there: its public host key.

cloud-init makes the host key on the machine, and no private half travels. The machine's role writes the public one
(`guard key`) under its own launch, and may write nothing else there: a machine can pose as itself alone.

    machines/LAUNCH/keys/INSTANCE
"""

import base64
import binascii
from collections.abc import Mapping

from infra.aws import regions, s3_bucket
from infra.aws.s3 import S3
from infra.aws.session import Cloud
from infra.aws.types import Instance
from infra.errors import DamagedError, HostKeyError
from provision.files import bundle
from provision.files.s3_to_host import allow, arn, of_account
from provision.offers import cache

_KIND = "ssh-ed25519"
_BEGINS, _LENGTH = b"\0\0\0\x0b" + _KIND.encode() + b"\0\0\0\x20", 51  # of the key as SSH packs it


def store(cloud: Cloud) -> S3:
    """The account's bucket in the cloud's region. AuthError where AWS cannot be asked whose account it is."""
    return s3_bucket.ours(cloud, cache.account(cloud))


def order(place: S3, keys: str) -> dict[str, object]:
    """What any machine's user data says of the bucket (infra/host/stub.py): where all that runs there lies, and under
    which prefix it tells its host key."""
    return {
        "bucket": place.bucket, "region": place.cloud.region, "s3": regions.s3_endpoint(place.cloud, place.bucket),
        "owner": place.owner, "bundle": bundle.pack()[0], "keys": keys,
    }  # fmt: skip


def folder(launch: str) -> str:
    """The prefix of the keys of that launch's machine."""
    return f"{s3_bucket.MACHINES}{launch}/keys/"


def policy(place: S3, launch: str) -> Mapping[str, object]:
    """The inline policy by which a machine may begin: read what runs on it, and tell its key."""
    bucket, ours = arn(place.cloud.region, place.bucket), of_account(place.owner)
    return {
        "Version": "2012-10-17",
        "Statement": [
            allow("s3:GetObject", f"{bucket}/host/*", ours),
            allow(["s3:PutObject", "s3:PutObjectTagging"], f"{bucket}/{folder(launch)}*", ours),
        ],
    }


def told(cloud: Cloud, instance: Instance) -> str | None:
    """The public host key that the machine has told; None where it has told none yet. HostKeyError for what is none."""
    try:
        raw = store(cloud).read(f"{folder(instance.launch)}{instance.id}")
    except DamagedError:
        raw = b""
    if raw is None:
        return None
    kind, _, blob = raw.decode(errors="replace").strip().partition(" ")
    try:
        key = base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if kind != _KIND or not key.startswith(_BEGINS) or len(key) != _LENGTH:
        raise HostKeyError(
            f"what {instance.name} told as its host key is none", f"end it: {cloud.hint(f'down {instance.name}')}"
        )
    return f"{kind} {blob}"
