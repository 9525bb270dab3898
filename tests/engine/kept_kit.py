"""What a machine that starts itself talks to, in one small server: the metadata service, S3 in a folder, Step
Functions; and an image in S3 as the laptop uploads it."""

import gzip
import hashlib
import json
import re
import tarfile
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from infra.shell import LocalShell

INSTANCE = "i-0123456789abcdef0"
KEYS = {"AccessKeyId": "A", "SecretAccessKey": "s", "Token": "t", "Expiration": "2099-01-01T00:00:00Z"}


class Aws:
    """`folder`: the bucket's objects by their keys. `said`: what Step Functions was sent. `cut`: keys whose next answer
    ends halfway; `refused`: what words to Step Functions, and the wish for a registry's token, are answered, by their
    action."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.cut: list[str] = []
        self.asked: list[str] = []
        self.refused: dict[str, str] = {}

    def put(self, key: str, data: bytes) -> None:
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(path.name + ".new").write_bytes(data)
        path.with_name(path.name + ".new").rename(path)

    def held(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())

    def answers(self) -> list[dict[str, Any]]:
        """What the keeper was told."""
        return [json.loads(value["output"]) for action, value in self.said if action == "SendTaskSuccess"]


@contextmanager
def served(folder: Path) -> Iterator[Aws]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    aws = Aws(folder, f"http://127.0.0.1:{server.server_address[1]}")
    server.aws = aws  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield aws
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    @property
    def aws(self) -> Aws:
        aws: Aws = self.server.aws  # type: ignore[attr-defined]
        return aws

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, code: int, data: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_POST(self) -> None:
        action, value = self.headers["X-Amz-Target"].partition(".")[2], json.loads(self.body())
        service = "ecr" if action == "GetAuthorizationToken" else "states"
        assert f"/{service}/aws4_request" in self.headers["Authorization"]
        if action in self.aws.refused:
            self.answer(400, json.dumps({"__type": f"x#{self.aws.refused[action]}"}).encode())
            return
        self.aws.said.append((action, value))
        self.answer(200, b"{}")

    def do_PUT(self) -> None:
        if self.path == "/latest/api/token":
            self.answer(200, b"token")
            return
        assert "/s3/aws4_request" in self.headers["Authorization"]
        self.aws.put(urllib.parse.unquote(self.path.partition("?")[0]).removeprefix("/bucket/"), self.body())
        self.answer(200, ETag='"e"')

    def do_GET(self) -> None:
        at = urllib.parse.urlsplit(self.path)
        if at.path.startswith("/latest/meta-data/"):
            known = {"instance-id": INSTANCE, "iam/security-credentials/": "role"}
            known["iam/security-credentials/role"] = json.dumps(KEYS)
            text = known.get(at.path.removeprefix("/latest/meta-data/"))
            self.answer(200 if text else 404, (text or "").encode())
            return
        public = at.path.startswith("/bucket/files/")
        assert public or "/s3/aws4_request" in self.headers["Authorization"]
        if at.path == "/bucket/":
            self.listed(urllib.parse.parse_qs(at.query)["prefix"][0])
            return
        self.object(urllib.parse.unquote(at.path).removeprefix("/bucket/"))

    def listed(self, prefix: str) -> None:
        rows = [
            f"<Contents><Key>{escape(key)}</Key><Size>{(self.aws.folder / key).stat().st_size}</Size>"
            "<LastModified>2026-11-30T00:00:00.000Z</LastModified></Contents>"
            for key in self.aws.held()
            if key.startswith(prefix)
        ]
        self.answer(200, f"<ListBucketResult>{''.join(rows)}</ListBucketResult>".encode())

    def object(self, key: str) -> None:
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        self.aws.asked.append(f"{key} {span[1]}" if span else key)
        path = self.aws.folder / key
        if not path.is_file():
            self.answer(404)
            return
        data = path.read_bytes()
        first, last = (int(span[1]), min(int(span[2]), len(data) - 1)) if span else (0, len(data) - 1)
        if first > last:
            self.answer(416)
            return
        piece = data[first : last + 1]
        self.send_response(206 if span else 200)
        if span:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(len(piece)))
        self.end_headers()
        if key in self.aws.cut:
            self.aws.cut.remove(key)
            self.wfile.write(piece[: len(piece) // 2])
            self.close_connection = True
            return
        self.wfile.write(piece)


def upload(aws: Aws, tag: str, folder: Path) -> dict[str, str]:
    """The image in S3, file by file of its `docker save`; what a capsule says of it."""
    image = LocalShell().run(["docker", "image", "inspect", "-f", "{{.Id}}", tag]).out.strip()
    saved = folder / "saved.tar"
    LocalShell().run(["docker", "save", "-o", str(saved), tag])
    blobs = []
    with tarfile.open(saved) as tar:
        for entry in tar:
            if entry.issym():
                blobs.append({"name": entry.name, "link": entry.linkname})
            if not entry.isreg():
                continue
            data = tar.extractfile(entry).read()  # type: ignore[union-attr]
            packed = gzip.compress(data, 1, mtime=0)
            key = f"images/blobs/{hashlib.sha256(packed).hexdigest()}.gz"
            aws.put(key, packed)
            blobs.append(
                {"name": entry.name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(),
                 "packed": len(packed), "key": key}
            )  # fmt: skip
    saved.unlink()
    index = f"images/sha256/{image.removeprefix('sha256:')}.json"
    aws.put(index, json.dumps({"id": image, "tag": tag, "config": "", "blobs": blobs}).encode())
    return {"id": image, "tag": tag, "index": index}
