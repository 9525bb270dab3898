"""S3: a bucket and its objects, as bytes and files. How our own bucket is made: `infra.aws.s3_bucket`."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from infra.aws.errors import code_of, explained, refusal
from infra.aws.session import Cloud, client
from infra.errors import AuthError, UsageError
from infra.store import LARGEST, decoded, too_large
from infra.store import Stored as Stored

_BUCKET = re.compile(r"[a-zA-Z0-9._-]{1,255}")  # old buckets too; no letter is a wildcard in a policy
_CONTROLS = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # the last range: bytes that are not UTF-8
_LONGEST = 1024  # bytes of a key
_CHUNK = 1 << 20
_MOST = 1000  # keys in one call
_LOST = ("PreconditionFailed", "412", "NoSuchKey", "ConditionalRequestConflict", "409")  # another call was faster
_CONFLICTS = 5  # tries to write where another call was under way


@dataclass(frozen=True)
class Place:
    """A bucket and a prefix in it, which ends in a slash where it is not empty."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


def parse(url: str) -> Place:
    """The place of s3://BUCKET/PREFIX, with or without slashes around the prefix. UsageError where it is none."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    prefix = prefix.strip("/")
    odd = _CONTROLS.search(prefix) or len(prefix.encode()) >= _LONGEST
    if not url.startswith("s3://") or not _BUCKET.fullmatch(bucket) or odd:
        raise UsageError(f"{url!r} is no place in S3", "write s3://BUCKET/PREFIX")
    return Place(bucket, f"{prefix}/" if prefix else "")


class S3:
    """One bucket. S3 refuses each call where a bucket of that name belongs to another account than `owner`.

    `owner` "" is not checked: a bucket that the user named, which may be somebody else's.
    """

    def __init__(self, cloud: Cloud, bucket: str, owner: str) -> None:
        self.cloud = cloud
        self.bucket = bucket
        self.owner = owner

    @property
    def _api(self) -> Any:
        return client(self.cloud, "s3")

    @property
    def where(self) -> tuple[str, str, str]:
        """Cloud, account and region, each a name for a folder."""
        return self.cloud.name.replace(":", "-"), self.owner or "-", self.cloud.region

    def hint(self, command: str) -> str:
        """A command of ours as the user can type it, with the flags that lead to this cloud and region."""
        return self.cloud.hint(command)

    def url(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    @property
    def named(self) -> dict[str, str]:
        """What names the bucket in each call: its name, and whose it has to be."""
        return {"Bucket": self.bucket, **self.expected}

    @property
    def expected(self) -> dict[str, str]:
        """Whose the bucket has to be, as AWS's calls take it; nothing where that is not checked."""
        return {"ExpectedBucketOwner": self.owner} if self.owner else {}

    def exists(self) -> bool:
        with explained(f"look for the bucket {self.bucket}"):
            try:
                self._api.head_bucket(**self.named)
            except ClientError as error:
                if code_of(error) in ("404", "NoSuchBucket"):
                    return False
                if code_of(error) == "403" and self.owner:
                    raise _refused(self) from error
                raise
        return True

    def objects(self, prefix: str) -> list[Stored]:
        """All objects under `prefix`, by key."""
        return list(self._pages(prefix, ""))

    def folders(self, prefix: str) -> list[str]:
        """Names of the folders right under `prefix` (which ends in a slash)."""
        with explained(f"list s3://{self.bucket}/{prefix}"):
            pages = self._api.get_paginator("list_objects_v2").paginate(**self.named, Prefix=prefix, Delimiter="/")
            found = [row["Prefix"] for page in pages for row in page.get("CommonPrefixes", [])]
        return [name.removeprefix(prefix).rstrip("/") for name in found]

    def _pages(self, prefix: str, after: str) -> Iterator[Stored]:
        with explained(f"list s3://{self.bucket}/{prefix}"):
            paginator = self._api.get_paginator("list_objects_v2")
            for page in paginator.paginate(**self.named, Prefix=prefix, StartAfter=after):
                for entry in page.get("Contents", []):
                    yield Stored(
                        entry["Key"], entry["Size"], entry["ETag"].strip('"'), entry["LastModified"].timestamp()
                    )

    def objects_after(self, prefix: str, after: str) -> list[Stored]:
        """Objects under `prefix` whose key sorts behind `after`."""
        return list(self._pages(prefix, after))

    def read(self, key: str) -> bytes | None:
        """The object's bytes; None where there is none. DamagedError where it is larger than anything of ours: a
        machine's role may write what it likes."""
        where = f"s3://{self.bucket}/{key}"
        with explained(f"read {where}"):
            try:
                answer = self._api.get_object(**self.named, Key=key)
            except ClientError as error:
                if code_of(error) in ("NoSuchKey", "NoSuchBucket", "404"):
                    return None
                raise
            if answer["ContentLength"] > LARGEST:
                answer["Body"].close()
                raise too_large(where, answer["ContentLength"])
            return bytes(answer["Body"].read())

    def read_json(self, key: str) -> Any:
        """The object's JSON; None where there is no such object. DamagedError where it is not JSON."""
        raw = self.read(key)
        return None if raw is None else decoded(raw, self.url(key))

    def write(self, key: str, data: bytes) -> None:
        with explained(f"write s3://{self.bucket}/{key}"):
            self._api.put_object(**self.named, Key=key, Body=data)

    def write_new(self, key: str, data: bytes) -> bool:
        """Write an object that must not be there yet; False where somebody else wrote one under that key.

        Of several who do so at once S3 lets one win. An answer that was lost on the way counts as won when the object
        is ours.
        """
        with explained(f"write s3://{self.bucket}/{key}"):
            for _ in range(_CONFLICTS):
                try:
                    self._api.put_object(**self.named, Key=key, Body=data, IfNoneMatch="*")
                except ClientError as error:
                    if code_of(error) in ("ConditionalRequestConflict", "409"):  # another call was under way
                        continue
                    if code_of(error) not in ("PreconditionFailed", "412"):
                        raise
                    return self.read(key) == data
                return True
        return self.read(key) == data

    def replace(self, key: str, data: bytes, etag: str) -> bool:
        """Write an object in the place of the one of that ETag; False where another one is there by now.

        An answer that was lost on the way counts as done when the object is ours.
        """
        with explained(f"write s3://{self.bucket}/{key}"):
            try:
                self._api.put_object(**self.named, Key=key, Body=data, IfMatch=etag)
            except ClientError as error:
                if code_of(error) not in (
                    "PreconditionFailed",
                    "412",
                    "NoSuchKey",
                    "ConditionalRequestConflict",
                    "409",
                ):
                    raise
                return self.read(key) == data
        return True

    def head(self, key: str) -> Stored | None:
        """The object, without its bytes; None where there is none."""
        with explained(f"look for s3://{self.bucket}/{key}"):
            try:
                found = self._api.head_object(**self.named, Key=key)
            except ClientError as error:
                if code_of(error) in ("404", "NoSuchKey", "NoSuchBucket"):
                    return None
                raise
        return Stored(key, found["ContentLength"], found["ETag"].strip('"'), found["LastModified"].timestamp())

    def write_json(self, key: str, value: object) -> None:
        self.write(key, json.dumps(value, indent=1, sort_keys=True).encode())

    def region(self) -> str:
        """The bucket's region, which may be another than the cloud's."""
        with explained(f"look for the bucket {self.bucket}"):
            answer = self._api.head_bucket(**self.named)
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        return str(headers.get("x-amz-bucket-region") or self.cloud.region)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; absent ones are no error. CloudError names the first object that S3 does not delete."""
        for at in range(0, len(keys), _MOST):
            listed = [{"Key": key} for key in keys[at : at + _MOST]]
            with explained(f"delete objects of s3://{self.bucket}"):
                answer = self._api.delete_objects(**self.named, Delete={"Objects": listed, "Quiet": True})
            for error in answer.get("Errors", []):
                raise refusal(error["Code"], error.get("Message", ""), f"delete s3://{self.bucket}/{error['Key']}")

    def download(self, key: str, target: Path) -> None:
        """Write the object to a file. `target` appears whole or not at all. OSError where the disk is full."""
        part = target.with_name(target.name + ".part")
        with explained(f"read s3://{self.bucket}/{key}"):
            body = self._api.get_object(**self.named, Key=key)["Body"]
            try:
                with part.open("wb") as out:
                    for chunk in body.iter_chunks(_CHUNK):
                        out.write(chunk)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)


def _refused(store: S3) -> AuthError:
    """S3 says no more than that: the bucket is another account's, or these credentials may not look at it."""
    return AuthError(
        f"the bucket {store.bucket} is not the account {store.owner}'s, or these credentials may not look at it",
        f"check the credentials: {store.cloud.hint('doctor')}; if the name is somebody else's, take another --region: "
        "each has a bucket of its own",
    )


def owner_if_ours(cloud: Cloud, bucket: str, account: str) -> str:
    """The account where a bucket of that name is its own; "" for another's, and where we may not ask."""
    try:
        client(cloud, "s3").head_bucket(Bucket=bucket, ExpectedBucketOwner=account)
    except ClientError:
        return ""
    return account
