"""S3: one bucket for an account and region; objects as bytes and files."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from infra.aws.errors import code_of, explained, refusal
from infra.aws.session import Cloud, client
from infra.errors import CloudError

_CHUNK = 1 << 20
_MOST = 1000  # keys in one call


@dataclass(frozen=True)
class Stored:
    """One object: key, size in bytes, S3's mark of its content, and when it was written (seconds since 1970)."""

    key: str
    size: int
    etag: str = ""
    modified: float = 0.0


class S3:
    """One bucket of the account `owner`: one of that name that is another's is refused."""

    def __init__(self, cloud: Cloud, bucket: str, owner: str) -> None:
        self.cloud = cloud
        self.bucket = bucket
        self.owner = owner

    @property
    def _api(self) -> Any:
        return client(self.cloud, "s3")

    def ensure(self, expire_days: int, prefix: str) -> None:
        """Create the bucket on first use: private, encrypted; objects under `prefix` expire after `expire_days`."""
        if not self.exists():
            with explained(f"create the bucket {self.bucket}"):
                self._create()
        if self.expire_days() is None:  # also after a client that was killed in between
            with explained(f"set up the bucket {self.bucket}"):
                self._set_up(expire_days, prefix)

    def _create(self) -> None:
        place = (
            {}
            if self.cloud.region == "us-east-1"
            else {"CreateBucketConfiguration": {"LocationConstraint": self.cloud.region}}
        )
        self._api.create_bucket(Bucket=self.bucket, **place)

    def _set_up(self, expire_days: int, prefix: str) -> None:
        self._api.put_public_access_block(
            Bucket=self.bucket,
            PublicAccessBlockConfiguration=dict.fromkeys(
                ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
            ),
        )
        self._api.put_bucket_encryption(
            Bucket=self.bucket,
            ServerSideEncryptionConfiguration={
                "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
            },
        )
        rule = {
            "ID": "provision", "Status": "Enabled", "Filter": {"Prefix": prefix},
            "Expiration": {"Days": expire_days},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
        }  # fmt: skip
        self._api.put_bucket_lifecycle_configuration(Bucket=self.bucket, LifecycleConfiguration={"Rules": [rule]})

    def expire_days(self) -> int | None:
        """After how many days the bucket's rule deletes a run; None where there is no such rule."""
        with explained("read the bucket's expiry"):
            try:
                rules = self._api.get_bucket_lifecycle_configuration(Bucket=self.bucket)["Rules"]
            except ClientError:
                return None
        return next((rule["Expiration"]["Days"] for rule in rules if rule.get("ID") == "provision"), None)

    def exists(self) -> bool:
        with explained(f"look for the bucket {self.bucket}"):
            try:
                self._api.head_bucket(Bucket=self.bucket, ExpectedBucketOwner=self.owner)
            except ClientError as error:
                if code_of(error) in ("404", "NoSuchBucket"):
                    return False
                raise
        return True

    def objects(self, prefix: str) -> list[Stored]:
        """All objects under `prefix`, by key."""
        return list(self._pages(prefix, ""))

    def folders(self, prefix: str) -> list[str]:
        """Names of the folders right under `prefix` (which ends in a slash)."""
        with explained(f"list s3://{self.bucket}/{prefix}"):
            pages = self._api.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix, Delimiter="/"
            )
            found = [one["Prefix"] for page in pages for one in page.get("CommonPrefixes", [])]
        return [name.removeprefix(prefix).rstrip("/") for name in found]

    def _pages(self, prefix: str, after: str) -> Iterator[Stored]:
        with explained(f"list s3://{self.bucket}/{prefix}"):
            paginator = self._api.get_paginator("list_objects_v2")
            for page in paginator.paginate(Bucket=self.bucket, Prefix=prefix, StartAfter=after):
                for one in page.get("Contents", []):
                    yield Stored(one["Key"], one["Size"], one["ETag"].strip('"'), one["LastModified"].timestamp())

    def objects_after(self, prefix: str, after: str) -> list[Stored]:
        """Objects under `prefix` whose key sorts behind `after`."""
        return list(self._pages(prefix, after))

    def read(self, key: str) -> bytes | None:
        """The object's bytes; None where there is none."""
        with explained(f"read s3://{self.bucket}/{key}"):
            try:
                return bytes(self._api.get_object(Bucket=self.bucket, Key=key)["Body"].read())
            except ClientError as error:
                if code_of(error) in ("NoSuchKey", "NoSuchBucket", "404"):
                    return None
                raise

    def read_json(self, key: str) -> Any:
        """The object as JSON; None where there is none."""
        raw = self.read(key)
        if raw is None:
            return None
        try:
            return json.loads(raw)
        except ValueError as error:
            raise CloudError(f"s3://{self.bucket}/{key} is damaged: {error}", "delete that object") from error

    def write(self, key: str, data: bytes) -> None:
        with explained(f"write s3://{self.bucket}/{key}"):
            self._api.put_object(Bucket=self.bucket, Key=key, Body=data)

    def write_json(self, key: str, value: object) -> None:
        self.write(key, json.dumps(value, indent=1, sort_keys=True).encode())

    def region(self) -> str:
        """Where the bucket is, which may be another region than the cloud's."""
        with explained(f"look for the bucket {self.bucket}"):
            answer = self._api.head_bucket(Bucket=self.bucket)
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        return str(headers.get("x-amz-bucket-region") or self.cloud.region)

    def delete(self, keys: Sequence[str]) -> None:
        """Take objects away; absent ones are as good. CloudError names the first that S3 does not let go."""
        for at in range(0, len(keys), _MOST):
            listed = [{"Key": key} for key in keys[at : at + _MOST]]
            with explained(f"delete objects of s3://{self.bucket}"):
                answer = self._api.delete_objects(Bucket=self.bucket, Delete={"Objects": listed, "Quiet": True})
            for one in answer.get("Errors", []):
                raise refusal(one["Code"], one.get("Message", ""), f"delete s3://{self.bucket}/{one['Key']}")

    def download(self, key: str, target: Path) -> None:
        """The object as a file. `target` appears whole or not at all; OSError where the disk is full."""
        part = target.with_name(target.name + ".part")
        with explained(f"read s3://{self.bucket}/{key}"):
            body = self._api.get_object(Bucket=self.bucket, Key=key)["Body"]
            try:
                with part.open("wb") as out:
                    for chunk in body.iter_chunks(_CHUNK):
                        out.write(chunk)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
