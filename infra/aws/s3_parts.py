"""One file to S3 in parts of which none is sent twice: what a killed upload left there is taken up by the next one.

S3 keeps the parts of an upload that was broken off, and tells each one's md5. The file has to be the same, byte by
byte: so this is for objects that are named by their content.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from infra.aws.errors import code_of, explained
from infra.aws.s3 import S3
from infra.aws.session import client

PART = 16 << 20  # bytes; S3 takes 10,000 of them
OnBytes = Callable[[int], None]


def send(store: S3, path: Path, key: str, pool: Executor, on_bytes: OnBytes) -> int:
    """Bring the file to its key; how many bytes were sent. `pool` sends the parts side by side, and threads of it call
    `on_bytes` with what has come, or was there."""
    size = path.stat().st_size
    if size <= PART:
        store.write(key, path.read_bytes())
        on_bytes(size)
        return size
    with explained(f"write s3://{store.bucket}/{key}"):
        try:
            return _Upload(store, path, key, on_bytes).run(pool, size)
        except ClientError as error:
            # another command went on with the same upload, and has just put it together
            there = store.head(key) if code_of(error) == "NoSuchUpload" else None
            if there is None or there.size != size:
                raise
            return 0


class _Upload:
    """The upload of one file."""

    def __init__(self, store: S3, path: Path, key: str, on_bytes: OnBytes) -> None:
        self._api: Any = client(store.cloud, "s3")
        self._named = {**store.named, "Key": key}
        self._store, self._path, self._key, self._on_bytes = store, path, key, on_bytes

    def run(self, pool: Executor, size: int) -> int:
        """Send what is missing, and put it together; the bytes that were sent."""
        upload = self._open()
        there = self._parts(upload) if upload else {}
        upload = upload or self._api.create_multipart_upload(**self._named)["UploadId"]
        count = -(-size // PART)
        waiting = [pool.submit(self._one, upload, number, there.get(number, "")) for number in range(1, count + 1)]
        try:
            done = [future.result() for future in waiting]
        finally:
            for future in waiting:
                future.cancel()
        parts = [{"PartNumber": number, "ETag": etag} for number, (etag, _) in enumerate(done, 1)]
        self._api.complete_multipart_upload(**self._named, UploadId=upload, MultipartUpload={"Parts": parts})
        return sum(sent for _, sent in done)

    def _open(self) -> str:
        """The id of the newest upload that was broken off; "" where there is none."""
        paginator = self._api.get_paginator("list_multipart_uploads")
        found = [
            (row["Initiated"], row["UploadId"])
            for page in paginator.paginate(**self._store.named, Prefix=self._key)
            for row in page.get("Uploads", [])
            if row["Key"] == self._key
        ]
        return str(max(found)[1]) if found else ""

    def _parts(self, upload: str) -> dict[int, str]:
        """The parts that are there: the ETag of each."""
        return {row["PartNumber"]: row["ETag"] for row in self._listed(upload)}

    def _listed(self, upload: str) -> Iterator[Any]:
        for page in self._api.get_paginator("list_parts").paginate(**self._named, UploadId=upload):
            yield from page.get("Parts", [])

    def _one(self, upload: str, number: int, there: str) -> tuple[str, int]:
        """The ETag of a part, which is sent where S3 has not this very one; and the bytes that were sent."""
        piece = self._piece(number)
        sent = 0
        if there.strip('"') != hashlib.md5(piece, usedforsecurity=False).hexdigest():
            answer = self._api.upload_part(**self._named, UploadId=upload, PartNumber=number, Body=piece)
            there, sent = answer["ETag"], len(piece)
        self._on_bytes(len(piece))
        return there, sent

    def _piece(self, number: int) -> bytes:
        with self._path.open("rb") as data:
            return os.pread(data.fileno(), PART, (number - 1) * PART)
