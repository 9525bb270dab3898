"""S3 in a dictionary, behind a real botocore client: buckets with owners, objects, conditional writes, rules."""

import io
from datetime import datetime, timezone
from typing import Any

from infra.aws.session import Cloud
from tests.unit.fake_aws import CLOUD, FakeAws, Refused

OURS = "111111111111"
NAME = f"provision-{OURS}-us-east-1"


class FakeS3(FakeAws):
    """`owners`: whose each bucket is. `held`: the objects of all of them by key, with the time that they were written.
    `rules`: of the lifecycle. Calls that expect another owner are refused, as S3 does."""

    def __init__(self, cloud: Cloud = CLOUD, owners: dict[str, str] | None = None) -> None:
        super().__init__(cloud)
        self.owners = {NAME: OURS} if owners is None else owners
        self.held: dict[str, tuple[bytes, datetime]] = {}
        self.lengths: dict[str, int] = {}  # of objects that are larger than what is held
        self.rules: list[dict[str, Any]] = []
        self.answers |= {
            "HeadBucket": self._for(lambda given: {"ResponseMetadata": {"HTTPHeaders": {}}}),
            "CreateBucket": lambda given: self.owners.setdefault(given["Bucket"], OURS) and None,
            "ListObjectsV2": self._for(self._list),
            "PutObject": self._for(self._put),
            "GetObject": self._for(self._get),
            "DeleteObjects": self._for(self._delete),
            "GetBucketLifecycleConfiguration": self._for(self._lifecycle),
            "PutBucketLifecycleConfiguration": self._for(self._set_rules),
            "PutPublicAccessBlock": self._for(lambda given: None),
            "PutBucketEncryption": self._for(lambda given: None),
        }

    def put(self, key: str, data: bytes, at: datetime | None = None) -> None:
        """An object that was written at that time (now)."""
        self.held[key] = data, at or datetime.now(timezone.utc)

    def _for(self, answer: Any) -> Any:
        def checked(given: dict[str, Any]) -> Any:
            if given["Bucket"] not in self.owners:
                raise Refused("404" if "Key" not in given else "NoSuchBucket")
            if given.get("ExpectedBucketOwner") not in (None, self.owners[given["Bucket"]]):
                raise Refused("403")
            return answer(given)

        return checked

    def _list(self, given: dict[str, Any]) -> Any:
        prefix, after = given.get("Prefix", ""), given.get("StartAfter", "")
        keys = [key for key in sorted(self.held) if key.startswith(prefix) and key > after]
        if "Delimiter" in given:
            names = sorted({prefix + key.removeprefix(prefix).partition("/")[0] + "/" for key in keys})
            return {"CommonPrefixes": [{"Prefix": name} for name in names], "IsTruncated": False}
        rows = [(key, *self.held[key]) for key in keys]
        found = [{"Key": key, "Size": len(data), "ETag": '"x"', "LastModified": at} for key, data, at in rows]
        return {"IsTruncated": False, "Contents": found}

    def _put(self, given: dict[str, Any]) -> Any:
        if given.get("IfNoneMatch") == "*" and given["Key"] in self.held:
            raise Refused("PreconditionFailed")
        body = given["Body"]
        self.put(given["Key"], body if isinstance(body, bytes) else body.read())

    def _get(self, given: dict[str, Any]) -> Any:
        if given["Key"] not in self.held:
            raise Refused("NoSuchKey")
        data = self.held[given["Key"]][0]
        return {"Body": io.BytesIO(data), "ContentLength": self.lengths.get(given["Key"], len(data))}

    def _delete(self, given: dict[str, Any]) -> Any:
        for one in given["Delete"]["Objects"]:
            self.held.pop(one["Key"], None)

    def _lifecycle(self, given: dict[str, Any]) -> Any:
        if not self.rules:
            raise Refused("NoSuchLifecycleConfiguration")
        return {"Rules": self.rules}

    def _set_rules(self, given: dict[str, Any]) -> Any:
        for rule in given["LifecycleConfiguration"]["Rules"]:
            filtered = rule.get("Filter", {})
            tagged = "Tag" in filtered or filtered.get("And", {}).get("Tags")
            assert not (tagged and "AbortIncompleteMultipartUpload" in rule), "S3 takes no such rule"
        self.rules = given["LifecycleConfiguration"]["Rules"]
