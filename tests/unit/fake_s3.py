"""S3 in a dictionary, behind a real botocore client: buckets with owners, objects, conditional writes, rules."""

import hashlib
import io
from datetime import datetime, timezone
from typing import Any

from botocore.response import StreamingBody

from infra.aws.session import Cloud
from tests.unit.fake_aws import CLOUD, FakeAws, Refused

_ID = {"UploadId": "upload-1"}
OURS = "111111111111"
NAME = f"provision-{OURS}-us-east-1"


class FakeS3(FakeAws):
    """`owners`: whose each bucket is. `held`: the objects of all of them by key, with the time that they were written.
    `rules`: of the lifecycle; `parts`: of uploads that go on, by key. Calls that expect another owner are refused, as
    S3 does."""

    def __init__(self, cloud: Cloud = CLOUD, owners: dict[str, str] | None = None) -> None:
        super().__init__(cloud)
        self.owners = {NAME: OURS} if owners is None else owners
        self.held: dict[str, tuple[bytes, datetime]] = {}
        self.lengths: dict[str, int] = {}  # of objects that are larger than what is held
        self.rules: list[dict[str, Any]] = []
        self.parts: dict[str, dict[int, bytes]] = {}
        self.answers |= {
            "HeadBucket": self._for(lambda given: {"ResponseMetadata": {"HTTPHeaders": {}}}),
            "CreateBucket": lambda given: self.owners.setdefault(given["Bucket"], OURS) and None,
            "ListObjectsV2": self._for(self._list),
            "PutObject": self._for(self._put),
            "GetObject": self._for(self._get),
            "DeleteObjects": self._for(self._delete),
            "GetBucketLifecycleConfiguration": self._for(self._lifecycle),
            "PutBucketLifecycleConfiguration": self._for(self._set_rules),
            "HeadObject": self._for(self._head),
            "ListMultipartUploads": self._for(self._uploads),
            "CreateMultipartUpload": self._for(lambda given: (self.parts.setdefault(given["Key"], {}) and None) or _ID),
            "ListParts": self._for(self._parts),
            "UploadPart": self._for(self._part),
            "CompleteMultipartUpload": self._for(self._complete),
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
            rests = [key.removeprefix(prefix) for key in keys]
            names = sorted({prefix + rest.partition("/")[0] + "/" for rest in rests if "/" in rest})
            return {"CommonPrefixes": [{"Prefix": name} for name in names], "IsTruncated": False}
        rows = [(key, *self.held[key]) for key in keys]
        found = [{"Key": key, "Size": len(data), "ETag": '"x"', "LastModified": at} for key, data, at in rows]
        return {"IsTruncated": False, "Contents": found}

    def _put(self, given: dict[str, Any]) -> Any:
        there = self.held.get(given["Key"])
        if given.get("IfNoneMatch") == "*" and there is not None:
            raise Refused("PreconditionFailed")
        if given.get("IfMatch") and (there is None or given["IfMatch"] != etag(there[0])):
            raise Refused("PreconditionFailed")
        self.put(given["Key"], body(given))

    def _head(self, given: dict[str, Any]) -> Any:
        if given["Key"] not in self.held:
            raise Refused("404")
        data, at = self.held[given["Key"]]
        return {"ContentLength": len(data), "ETag": f'"{etag(data)}"', "LastModified": at}

    def _uploads(self, given: dict[str, Any]) -> Any:
        now = datetime.now(timezone.utc)
        rows = [{"Key": key, **_ID, "Initiated": now} for key in self.parts if key.startswith(given.get("Prefix", ""))]
        return {"Uploads": rows, "IsTruncated": False}

    def _parts(self, given: dict[str, Any]) -> Any:
        parts = self.parts[given["Key"]].items()
        return {"Parts": [{"PartNumber": at, "ETag": f'"{etag(data)}"', "Size": len(data)} for at, data in parts],
                "IsTruncated": False}  # fmt: skip

    def _part(self, given: dict[str, Any]) -> Any:
        data = self.parts[given["Key"]][given["PartNumber"]] = body(given)
        return {"ETag": f'"{etag(data)}"'}

    def _complete(self, given: dict[str, Any]) -> Any:
        parts = self.parts.pop(given["Key"])
        wanted = [row["PartNumber"] for row in given["MultipartUpload"]["Parts"]]
        self.put(given["Key"], b"".join(parts[number] for number in wanted))

    def _get(self, given: dict[str, Any]) -> Any:
        if given["Key"] not in self.held:
            raise Refused("NoSuchKey")
        data = self.held[given["Key"]][0]
        return {
            "Body": StreamingBody(io.BytesIO(data), len(data)),
            "ContentLength": self.lengths.get(given["Key"], len(data)),
        }

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


def body(given: dict[str, Any]) -> bytes:
    """What a call sends; botocore may have made a file of it."""
    sent = given["Body"]
    if isinstance(sent, bytes):
        return sent
    sent.seek(0)
    data: bytes = sent.read()
    sent.seek(0)
    return data


def etag(data: bytes) -> str:
    """S3's mark of an object that went in one piece."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
