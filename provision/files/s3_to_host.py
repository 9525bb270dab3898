"""Copies between a host and S3, made by the guard with the instance's own role: nothing crosses the home line."""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from infra.aws import regions
from infra.aws.iam import Iam
from infra.aws.identity import account
from infra.aws.s3 import S3, Place, owner_if_ours
from infra.aws.session import Cloud
from infra.aws.types import Instance
from infra.errors import HostError, UsageError
from infra.ssh import SshShell
from provision.files import guard

HOST_RUNS = "/var/lib/provision/runs"
DATA_POLICY = "provision-data-"  # and until when it holds, and some letters: an inline policy of a machine's role
_HOLDS = timedelta(hours=24)  # a copy that takes longer is taken up by the next one: what is there stays
_TIME = "%Y-%m-%dT%H.%M.%SZ"  # in a policy's name, which may have no colon


def guard_words(verb: str, store: S3, prefix: str, folder: str) -> list[str]:
    """The guard's own copying, with the instance's role; it names whose the bucket has to be, too."""
    cloud = store.cloud
    place = [store.bucket, cloud.region, regions.s3_endpoint(cloud, store.bucket), store.owner]
    return [*guard.WORDS, verb, *place, prefix, folder]


def pull(shell: SshShell, store: S3, prefix: str, folder: str) -> None:
    """From S3 to a folder of the host, owned by the login user."""
    guard.install(shell)
    shell.run(guard_words("pull", store, prefix, folder))


def is_damaged(error: HostError) -> bool:
    """Whether the guard refused to pull what S3 has, because it is not what complete.json says: is damaged, is
    missing."""
    return "is damaged" in str(error) or "is missing" in str(error)


def to_host(cloud: Cloud, instance: Instance, shell: SshShell, place: Place, folder: str) -> None:
    """Let the machine fetch it by itself. Its role may read the prefix for as long as that takes, and no longer.

    Where this laptop is killed before it takes the right away, AWS honours it for a day at most, and the next copy or
    training on that machine takes it away. The guard's puller goes by name and size: an object that changed and is as
    large as before is not seen.
    """
    owner = owner_if_ours(cloud, place.bucket, account(cloud))
    near = S3(replace(cloud, region=S3(cloud, place.bucket, owner).region()), place.bucket, owner)
    iam, now = Iam(cloud), datetime.now(timezone.utc)
    forbid_outdated(iam, instance.launch, now)
    policy, document = data_policy(place, now, cloud.region, owner)
    iam.allow(instance.launch, policy, document)
    try:
        pull(shell, near, place.prefix, folder)
    finally:
        iam.forbid(instance.launch, policy)


def data_policy(place: Place, now: datetime, region: str, owner: str = "") -> tuple[str, dict[str, object]]:
    """Name and text of the policy that lets a role read the prefix from now on, and not for ever."""
    until = now + _HOLDS
    name = f"{DATA_POLICY}{until:{_TIME}}-{secrets.token_hex(4)}"
    return name, {"Version": "2012-10-17", "Statement": may_read(place, region, owner, until)}


def forbid_outdated(iam: Iam, role: str, now: datetime) -> None:
    """Take away from the role what lets it read data, and holds no longer."""
    for name in outdated(iam.policies(role), now):
        iam.forbid(role, name)


def outdated(policies: Iterable[str], now: datetime) -> list[str]:
    """Of a role's inline policies those that let it read data, and hold no longer."""
    ours = [name for name in policies if name.startswith(DATA_POLICY)]
    return [name for name in ours if name.removeprefix(DATA_POLICY) <= now.strftime(_TIME)]


def may_read(place: Place, region: str, owner: str = "", until: datetime | None = None) -> list[dict[str, object]]:
    """The statements of a policy that let a role list the prefix and read its objects, until that time.

    Where `owner` is given, only as long as the bucket is that account's. UsageError for a prefix with a wildcard.
    """
    check_plain(place)
    holds: dict[str, dict[str, str]] = {}
    if until is not None:
        holds["DateLessThan"] = {"aws:CurrentTime": f"{until:%Y-%m-%dT%H:%M:%SZ}"}
    if owner:
        holds |= of_account(owner)
    bucket = arn(region, place.bucket)
    listing = {"StringLike": {"s3:prefix": f"{place.prefix}*"}}
    return [
        allow("s3:GetObject", f"{bucket}/{place.prefix}*", holds),
        allow("s3:ListBucket", bucket, {**listing, **holds}),
    ]


def check_plain(place: Place) -> Place:
    """The same place; UsageError for one that a policy would take for more than itself: *, ? and ${ are IAM's own."""
    if any(mark in place.prefix for mark in ("*", "?", "${")):
        raise UsageError(
            f"a machine cannot be given {str(place)!r} to read: `*`, `?` and `${{` in it would stand for other places",
            "copy the data to a prefix without them: aws s3 sync",
        )
    return place


def of_account(owner: str) -> dict[str, dict[str, str]]:
    """The condition that what is used belongs to that account: a bucket's name may get into other hands."""
    return {"StringEquals": {"aws:ResourceAccount": owner}}


def arn(region: str, bucket: str) -> str:
    """The bucket's name in a policy."""
    return regions.arn(region, f"s3:::{bucket}")


def allow(actions: str | list[str], resources: str | list[str], condition: Mapping[str, object]) -> dict[str, object]:
    """One statement of a policy."""
    statement: dict[str, object] = {"Effect": "Allow", "Action": actions, "Resource": resources}
    return {**statement, "Condition": condition} if condition else statement
